"""Word repeats: one answer a word from all occasions at which a subject heard it, reported apart from single trials.

In: scores [Q, N] of windows anchored at words. Out: figures over the words that a subject heard in two segments or more.

Each window gives every word a probability (`words`); the logarithms are averaged over the windows of one subject whose
anchor is the same word. Beside it stand the same windows one by one (the mean over words of each word's share of hits), the
most frequent words, and groups of the same sizes in which one window heard the word and the others anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.evaluation.retrieval.metrics import CHUNK, TOP, Ranking, Scores, refuse_nan, true_columns
from neurodecode.evaluation.retrieval.statistics import bootstrap
from neurodecode.evaluation.speech.words import NO_WORD, places, rank_by_count, vocabulary, word_log_probabilities


def word_repeats(
    scores: Scores, labels: Sequence[str], subjects: np.ndarray, *, repeats: int, seed: int
) -> dict[str, Any] | None:
    """Figures of word-repeat pooling.

    Parameters
    ----------
    scores
        Whose softmax over candidates is a probability: those of a contrastive network.
    labels
        Label [N] of the event at each candidate's anchor.
    subjects
        [Q].
    repeats, seed
        Bootstrap resamples, and the seed of these and of the random groups.

    Returns
    -------
    dict or None
        `n_words` (vocabulary), `n_queries` (pairs of subject and word), `windows_per_word`, `over`, `metrics` (`top1` ..:
        `value`, `chance`, `low`, `high`), `controls` (`single`: the same windows one by one; `majority`;
        `random-groups`), `against_single` (`difference`, `low`, `high`). None when no subject heard a word in two segments.
    """
    words = vocabulary(labels)
    if len(words.words) < 2:
        return None
    column = true_columns(scores.query_identity, scores.candidate_identity)
    word = words.candidate[column]
    table = pd.DataFrame({"subject": subjects, "word": word, "segment": column, "row": np.arange(len(column))})
    table = table[table["word"] != NO_WORD]
    segments = table.groupby(["subject", "word"])["segment"].transform("nunique")
    table = table[segments >= 2]
    if table.empty:
        return None
    keys = pd.MultiIndex.from_frame(table[["subject", "word"]])
    group, pairs = pd.factorize(keys)
    true = np.array([pair[1] for pair in pairs], np.int64)
    sizes = np.bincount(group)
    rows = table["row"].to_numpy()
    mean, random_mean, single = _means(scores, rows, group, words, seed)
    size = len(words.words)
    found, control = (_ranking(values, true) for values in (mean, random_mean))
    blind = rank_by_count(words, true)
    subject = np.array([str(pair[0]) for pair in pairs])
    several = len(np.unique(subject)) > 1
    cluster = subject if several else np.arange(len(true)).astype(str)
    draws: dict[str, Any] = {"repeats": repeats, "seed": seed}
    result: dict[str, Any] = {
        "n_words": size,
        "n_queries": len(true),
        "windows_per_word": float(sizes.mean()),
        "over": "subjects" if several else "words",
        "controls": {},
    }
    hits = {f"top{k}": found.top(k) for k in TOP}
    one_by_one = {f"top{k}": np.bincount(group, single[f"top{k}"]) / sizes for k in TOP}
    result["metrics"] = _figures(hits, size, cluster, draws)
    result["controls"]["single"] = {"metrics": _figures(one_by_one, size, cluster, draws)}
    result["controls"]["random-groups"] = {
        "metrics": _figures({f"top{k}": control.top(k) for k in TOP}, size, cluster, draws)
    }
    result["controls"]["majority"] = {"metrics": {f"top{k}": {"value": float(blind.top(k).mean())} for k in TOP}}
    gains = {name: hits[name] - one_by_one[name] for name in hits}
    intervals = bootstrap(gains, cluster, **draws)
    result["against_single"] = {
        name: {"difference": float(gain.mean()), "low": intervals[name][0], "high": intervals[name][1]}
        for name, gain in gains.items()
    }
    return result


def _means(
    scores: Scores, rows: np.ndarray, group: np.ndarray, words: Any, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Mean log probabilities [G, V] of the groups, of random groups, and top-k of each window by itself [q]."""
    n, size = int(group.max()) + 1, len(words.words)
    column = true_columns(scores.query_identity, scores.candidate_identity)[rows]
    true = words.candidate[column]
    first = np.unique(group, return_index=True)[1]
    others = np.ones(len(group), bool)
    others[first] = False
    mixed = group.copy()
    mixed[others] = np.random.default_rng(seed).permutation(group[others])
    mean, random_mean = np.zeros((n, size)), np.zeros((n, size))
    better, tied = np.zeros(len(rows), np.int64), np.ones(len(rows), np.int64)
    step = max(1, CHUNK // max(1, scores.scores.shape[1]))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        block = np.asarray(scores.scores[rows[part]])
        refuse_nan(block, rows[part])
        log_p = word_log_probabilities(block, words)
        np.add.at(mean, group[part], log_p)
        np.add.at(random_mean, mixed[part], log_p)
        better[part], tied[part] = places(log_p, true[part])
    ranking = Ranking(better, tied, np.full(len(rows), size, np.int64))
    sizes = np.bincount(group)[:, None]
    return mean / sizes, random_mean / sizes, {f"top{k}": ranking.top(k) for k in TOP}


def _ranking(values: np.ndarray, true: np.ndarray) -> Ranking:
    better, tied = places(values, true)
    return Ranking(better, tied, np.full(len(true), values.shape[1], np.int64))


def _figures(
    hits: dict[str, np.ndarray], size: int, cluster: np.ndarray, draws: dict[str, Any]
) -> dict[str, dict[str, float]]:
    intervals = bootstrap(hits, cluster, **draws)
    return {
        f"top{k}": {
            "value": float(hits[f"top{k}"].mean()),
            "chance": min(k, size) / size,
            "low": intervals[f"top{k}"][0],
            "high": intervals[f"top{k}"][1],
        }
        for k in TOP
    }
