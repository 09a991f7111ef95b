"""Confusions are counted from answers, and drawn from the label named best to the one named worst."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurodecode.reports.codebook import confusion
from neurodecode.reports.label_figures import confusion_matrix


def test_labels_stand_from_best_to_worst_and_an_answer_that_was_never_shown_stands_last() -> None:
    answers = pd.DataFrame({"label": ["b", "b", "a", "a", "c"], "answer": ["b", "b", "a", "b", "x"]})
    labels, counts = confusion(answers)
    assert labels == ["b", "a", "c", "x"]
    assert counts.tolist() == [[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_sixty_one_words_are_named_beside_the_matrix() -> None:
    words = [f"word{k}" for k in range(61)]
    svg = confusion_matrix(np.eye(61), words)
    assert [word for word in words if svg.count(f">{word}<") != 2] == []
