"""Which word was heard at the anchor: the paper's word-level figures (section 6.3 of the specification).

In: scores [Q, N] of windows anchored at word onsets, and the word at each segment's anchor. Out: figures over words.

A segment's probability is the softmax of its score over all candidates; a word's is the sum over the segments anchored at
it. So a word that stands in many segments is likely before any brain is looked at, and a decoder that knows nothing ranks
words by how many segments they have. That is the row `majority`: plain figures must be read beside it. Balanced figures,
the mean over words of each word's share of hits, give it and every other blind answer k / V.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecode.evaluation.retrieval.metrics import CHUNK, TOP, Ranking, Scores, refuse_nan, true_columns
from neurodecode.evaluation.retrieval.statistics import LEVEL, bootstrap, settled

SLACK = 1e-9  # nats: sums of the same probabilities in another order differ in the last digits and are ties
NO_WORD = -1
EDGES = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True)
class Vocabulary:
    """The words of the candidates.

    Attributes
    ----------
    words
        V distinct words, sorted.
    candidate
        int [N]: index of the word of each candidate, NO_WORD where its anchor has none.
    """

    words: list[str]
    candidate: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Segments [V] anchored at each word."""
        return np.bincount(self.candidate[self.candidate != NO_WORD], minlength=len(self.words))


def plain_word(label: str) -> str:
    """A label as it is compared: lower case, without punctuation around it; "" for marks such as `<unk>`.

    An aligner writes `<unk>` for every word that it does not know: these are not one word.
    """
    label = unicodedata.normalize("NFC", label).strip()
    if label.startswith("<") and label.endswith(">"):
        return ""
    return EDGES.sub("", label.casefold())


def vocabulary(labels: Sequence[str]) -> Vocabulary:
    """Words of the candidates' labels [N]."""
    plain = [plain_word(label) for label in labels]
    words = sorted({word for word in plain if word})
    number = {word: i for i, word in enumerate(words)}
    return Vocabulary(words, np.array([number.get(word, NO_WORD) for word in plain], np.int64))


def word_log_probabilities(scores: np.ndarray, words: Vocabulary) -> np.ndarray:
    """Log of the summed probabilities, float64 [q, V]: -log sum exp(all scores) + log sum exp(the word's scores)."""
    order = np.argsort(words.candidate, kind="stable")
    order = order[words.candidate[order] != NO_WORD]
    begin = np.concatenate([[0], np.cumsum(words.counts)[:-1]])
    scores = np.asarray(scores, np.float64)
    grouped = scores[:, order]
    highest = np.maximum.reduceat(grouped, begin, axis=1)  # [q, V]: far below the best word, exp alone would be 0
    shifted = np.exp(grouped - np.repeat(highest, words.counts, axis=1))
    sums = highest + np.log(np.add.reduceat(shifted, begin, axis=1))
    best = scores.max(axis=1, keepdims=True)
    return sums - best - np.log(np.exp(scores - best).sum(axis=1, keepdims=True))


def rank_words(scores: Scores, words: Vocabulary) -> tuple[Ranking, np.ndarray, np.ndarray]:
    """Where the true word of each query came among all words.

    Returns
    -------
    Ranking, rows, true
        Of the queries `rows` [q] whose segment has a word, with the index `true` [q] of that word.
    """
    column = true_columns(scores.query_identity, scores.candidate_identity)
    rows = np.flatnonzero(words.candidate[column] != NO_WORD)
    true = words.candidate[column[rows]]
    better, tied = np.zeros(len(rows), np.int64), np.ones(len(rows), np.int64)
    step = max(1, CHUNK // max(1, scores.scores.shape[1]))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        block = np.asarray(scores.scores[rows[part]])
        refuse_nan(block, rows[part])
        log_p = word_log_probabilities(block, words)
        better[part], tied[part] = places(log_p, true[part])
    return Ranking(better, tied, np.full(len(rows), len(words.words), np.int64)), rows, true


def rank_by_count(words: Vocabulary, true: np.ndarray) -> Ranking:
    """The blind answer: words by how many segments they have, the same for every query."""
    better, tied = places(np.broadcast_to(words.counts.astype(float), (len(true), len(words.words))), true)
    return Ranking(better, tied, np.full(len(true), len(words.words), np.int64))


def places(values: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Words [q] above the true one, and level with it, itself included; values [q, V]."""
    own = values[np.arange(len(true)), true][:, None]
    better = (values > own + SLACK).sum(axis=1)
    return better, (np.abs(values - own) <= SLACK).sum(axis=1)


def word_figures(
    scores: Scores, labels: Sequence[str], cluster: np.ndarray, over: str, *, repeats: int, seed: int
) -> dict[str, Any] | None:
    """Top-k over words, plain and balanced, beside the most frequent words and chance.

    Parameters
    ----------
    scores
        Whose softmax over candidates is a probability: those of a contrastive network.
    labels
        Label [N] of the event at each candidate's anchor.
    cluster, over
        What the bootstrap resamples, a label for each query [Q], and its name.
    repeats, seed
        Resamples, and their seed.

    Returns
    -------
    dict or None
        `n_words`, `n_queries`, `without_word` (queries that were left out), `most_frequent` (`word`, `share` of
        segments), `over`, `metrics` (`top1` ... `balanced_top10`, each `value`, `chance`, `low`, `high`), `majority` (the
        same figures, `value` only), `against_majority` (`difference`, `low`, `high` of the plain figures). None when
        there are fewer than two words.
    """
    words = vocabulary(labels)
    if len(words.words) < 2:
        return None
    ranking, rows, true = rank_words(scores, words)
    blind = rank_by_count(words, true)
    size, cluster = len(words.words), np.asarray(cluster)[rows]
    hits = {f"top{k}": ranking.top(k) for k in TOP}
    blind_hits = {f"top{k}": blind.top(k) for k in TOP}
    plain = bootstrap(hits, cluster, repeats=repeats, seed=seed)
    gained = {name: settled(hits[name] - blind_hits[name]) for name in hits}
    gains = bootstrap(gained, cluster, repeats=repeats, seed=seed)
    metrics: dict[str, dict[str, float]] = {}
    majority: dict[str, dict[str, float]] = {}
    for name, k in zip(hits, TOP):
        low, high = plain[name]
        chance = min(k, size) / size
        metrics[name] = {"value": float(hits[name].mean()), "chance": chance, "low": low, "high": high}
        majority[name] = {"value": float(blind_hits[name].mean())}
    for name, k in zip(hits, TOP):
        low, high = _balanced_interval(hits[name], true, cluster, repeats=repeats, seed=seed)
        value, chance = balanced(hits[name], true), min(k, size) / size
        metrics[f"balanced_{name}"] = {"value": value, "chance": chance, "low": low, "high": high}
        majority[f"balanced_{name}"] = {"value": balanced(blind_hits[name], true)}
    counts = words.counts
    return {
        "n_words": size,
        "n_queries": len(rows),
        "without_word": len(scores.query_identity) - len(rows),
        "most_frequent": {"word": words.words[int(counts.argmax())], "share": float(counts.max() / len(labels))},
        "over": over,
        "metrics": metrics,
        "majority": majority,
        "against_majority": {
            name: {"difference": float(gained[name].mean()), "low": low, "high": high}
            for name, (low, high) in gains.items()
        },
    }


def balanced(hits: np.ndarray, true: np.ndarray) -> float:
    """Mean over words of each word's mean: hits [q] of queries whose word is `true` [q]."""
    asked, codes = np.unique(true, return_inverse=True)
    return float(np.mean(np.bincount(codes, weights=hits, minlength=len(asked)) / np.bincount(codes)))


def _balanced_interval(
    hits: np.ndarray, true: np.ndarray, cluster: np.ndarray, *, repeats: int, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap of `balanced` over whole clusters; a resample's words are those it asks for."""
    labels, codes = np.unique(cluster, return_inverse=True)
    asked, word = np.unique(true, return_inverse=True)
    n, v = len(labels), len(asked)
    place = codes * v + word
    sizes = np.bincount(place, minlength=n * v).reshape(n, v).astype(float)
    sums = np.bincount(place, weights=hits, minlength=n * v).reshape(n, v)
    rng = np.random.default_rng(seed)
    draws = []
    step = max(1, CHUNK // max(n, v))
    for begin in range(0, repeats, step):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(step, repeats - begin)).astype(float)  # [b, n]
        total = weights @ sizes  # [b, V]
        share = np.divide(weights @ sums, total, out=np.full_like(total, np.nan), where=total > 0)
        draws.append(np.nanmean(share, axis=1))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return float(low), float(high)
