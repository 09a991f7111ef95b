"""Sentence pooling: what all windows of a sentence say together is added to the scores of each of them.

In: scores [Q, N] with the sentence of every query and candidate. Out: rankings, with the control beside.

A window's evidence for a sentence is the mean probability (softmax of its scores) of that sentence's candidates, as a
logarithm. The bias of a query towards a sentence is the mean evidence of all windows that one listener heard of one
sentence, at one hearing; it is added to the scores of that sentence's candidates. So the answer to one window leans on the
windows around it, which is fair where the borders of sentences are known, and is never a single-trial figure.

The control takes the same number of windows from anywhere, the query's own among them: whatever this gains does not come
from what the windows of a sentence have in common.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurodecode.evaluation.retrieval.metrics import CHUNK, Ranking, Scores, rank_blocks, refuse_nan, true_columns
from neurodecode.evaluation.retrieval.questions import NO_SENTENCE

SAME_HEARING = 1.0  # s: a sentence heard again lies further away; clocks of brain and audio drift by less


def hearings(queries: pd.DataFrame) -> np.ndarray:
    """Number [Q] of the group of each query: windows of one sentence at one hearing. A query without a sentence is alone."""
    sentence = queries["sentence"].to_numpy()
    recording = pd.factorize(queries["recording"])[0]
    # second of the recording at which the stimulus began: the same for all windows of a hearing
    began = queries["start"].to_numpy(float) - queries["time"].to_numpy(float)
    order = np.lexsort((began, sentence, recording))
    new = np.ones(len(order), bool)
    new[1:] = (
        (np.diff(recording[order]) != 0)
        | (np.diff(sentence[order]) != 0)
        | (np.diff(began[order]) > SAME_HEARING)
        | (sentence[order][1:] == NO_SENTENCE)
    )
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    return number


def evidence(scores: Scores, standardise: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What each window says about each sentence.

    Parameters
    ----------
    standardise
        For scores that are no logarithms of probabilities, such as correlations: each row is first divided by its
        deviation.

    Returns
    -------
    float32 [Q, S], int [N]
        Logarithm of the mean probability of the candidates of a sentence, up to a constant a row; and the sentence of each
        candidate, 0 .. S - 1 (one without a sentence is a sentence of its own).
    """
    sentence = scores.candidates["sentence"].to_numpy().copy()
    lone = sentence == NO_SENTENCE
    sentence[lone] = sentence.max() + 1 + np.arange(lone.sum())
    codes = np.unique(sentence, return_inverse=True)[1]
    sizes = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    begin = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    out = np.empty((len(scores.query_identity), len(sizes)), np.float32)
    step = max(1, CHUNK // max(1, len(codes)))
    for left in range(0, len(out), step):
        rows = np.arange(left, min(left + step, len(out)))
        block = np.asarray(scores.scores[rows], np.float64)
        refuse_nan(block, rows)
        grouped = (scaled(block) if standardise else block)[:, order]
        highest = np.maximum.reduceat(grouped, begin, axis=1)  # [q, S]
        sums = np.add.reduceat(np.exp(grouped - np.repeat(highest, sizes, axis=1)), begin, axis=1)
        out[rows] = highest + np.log(sums / sizes)
    return out, codes


def scaled(block: np.ndarray) -> np.ndarray:
    """Rows [q, N] divided by their deviation."""
    deviation = block.std(axis=1, keepdims=True)
    return block / np.where(deviation > 0, deviation, 1.0)


def sentence_bias(said: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean evidence [Q, S] of all windows of each query's group."""
    sizes = np.bincount(group)
    mean = np.zeros((len(sizes), said.shape[1]), np.float64)
    np.add.at(mean, group, said)
    return (mean / sizes[:, None])[group].astype(np.float32)


def random_bias(said: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """The control: each query's own evidence, and as many others from anywhere as its group has."""
    rng = np.random.default_rng(seed)
    others = np.bincount(group)[group] - 1
    total = said.astype(np.float64)
    for number in range(int(others.max())):
        more = np.flatnonzero(others > number)
        total[more] += said[rng.integers(len(said), size=len(more))]
    return (total / (1 + others)[:, None]).astype(np.float32)


def rank_with_bias(scores: Scores, bias: np.ndarray, codes: np.ndarray, standardise: bool = False) -> Ranking:
    """Rank by scores plus the bias [Q, S] of each candidate's sentence [N]."""
    column = true_columns(scores.query_identity, scores.candidate_identity)

    def block(rows: np.ndarray) -> tuple[np.ndarray, None]:
        own = np.asarray(scores.scores[rows], np.float64)
        return (scaled(own) if standardise else own) + bias[rows][:, codes], None

    return rank_blocks(block, column, scores.scores.shape[1])
