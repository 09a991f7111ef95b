"""Which of N segments was heard: questions, scores, ranks, figures and how sure they are."""
