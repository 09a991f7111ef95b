"""Same-stimulus pooling: one answer a segment from everybody who heard it, reported apart from single trials.

In: scores of single windows. Out: scores with one row a segment, the mean over subjects and repetitions. For the scores
of the contrastive objective, which are logarithms of probabilities up to a constant a row, the mean multiplies the
probabilities that independent listeners give.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurodecode.evaluation.retrieval.metrics import Scores


def pool(scores: Scores) -> tuple[Scores, np.ndarray] | None:
    """Mean score of each segment over its queries.

    Returns
    -------
    Scores, int [groups]
        One row a distinct segment, and how many windows stand behind it; None when no segment was heard twice.
    """
    return _grouped(scores, scores.query_identity)


def pool_random_groups(scores: Scores, seed: int) -> tuple[Scores, np.ndarray] | None:
    """The control: groups of the same sizes, in which one window heard the segment and the others anything.

    Averaging alone must not help: what this scores above chance is the share of its one right member.
    """
    identity = np.asarray(scores.query_identity)
    rng = np.random.default_rng(seed)
    distinct, first, inverse, sizes = np.unique(identity, return_index=True, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        return None
    others = np.ones(len(identity), bool)
    others[first] = False
    group = inverse.copy()
    group[others] = rng.permutation(inverse[others])
    grouped = _grouped(scores, distinct[group])
    assert grouped is not None
    return grouped


def _grouped(scores: Scores, identity: np.ndarray) -> tuple[Scores, np.ndarray] | None:
    distinct, first, inverse, sizes = np.unique(identity, return_index=True, return_inverse=True, return_counts=True)
    if sizes.max() < 2:
        return None
    order = np.argsort(inverse, kind="stable")
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    mean = np.empty((len(distinct), scores.scores.shape[1]), np.float32)
    for number in range(len(distinct)):
        members = order[begin[number] : begin[number] + sizes[number]]
        mean[number] = np.asarray(scores.scores[members], np.float64).mean(0)
    queries: pd.DataFrame = scores.queries.iloc[first].assign(subject="pooled", recording="pooled")
    return Scores(mean, distinct, scores.candidate_identity, queries, scores.candidates), sizes
