"""Which channels carry the labels: rankings, on the training side of a fold alone, and how far they can be trusted."""
