"""Retrieval: which of N segments was heard, scored so that nothing but the scores can help.

In: scores float32 [queries, candidates] and the identity of every row and column. Out: for each query how many
candidates score higher and how many tie, and from these every figure beside what pure guessing gives::

    ranking = rank(scores)
    retrieval_metrics(ranking)["top10"]     # {"value": 0.41, "chance": 0.0073}

What is counted: every query once, against every candidate of its pool once. Ties are resolved by expectation over
random tie-breaking, so a predictor whose scores are all equal gets chance exactly, not 0 and not 1. Nothing is averaged
over subjects or repeats here; see `pooled`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.special import digamma

from neurodecode.errors import NeurodecodeError

TOP = (1, 5, 10)  # paper section 6.1
CHUNK = 1 << 23  # scores looked at together; bounds memory whatever the number of candidates


@dataclass
class Scores:
    """Scores of all queries against all candidates.

    Attributes
    ----------
    scores
        float32 [Q, N], higher is better; may be a memory map.
    query_identity, candidate_identity
        int [Q] and [N]; equal = same stimulus content at the same place. Candidates are distinct.
    queries
        One row a query: `subject`, `recording`, `run`, `stimulus`, `time` (s in the stimulus), `start` (s in the
        recording), `label`, `fold`, `sentence`.
    candidates
        One row a candidate: `stimulus`, `time`, `label`, `run`, `word` (label of the event at its anchor, or ""),
        `sentence` (number; -1 where the stimulus has no sentences).
    """

    scores: np.ndarray
    query_identity: np.ndarray
    candidate_identity: np.ndarray
    queries: pd.DataFrame
    candidates: pd.DataFrame


class Ranked(Protocol):
    """What figures are made of: a value and a chance level for each query."""

    def per_query(self) -> dict[str, np.ndarray]:
        """Figure -> float [Q]."""

    def chance_per_query(self) -> dict[str, np.ndarray]:
        """Figure -> float [Q]."""


@dataclass(frozen=True)
class Ranking:
    """Where the true candidate of each query came.

    Attributes
    ----------
    better
        int [Q], candidates with a higher score than the true one.
    tied
        int [Q], candidates with exactly its score, itself included (so at least 1).
    pool
        int [Q], candidates in the query's pool (at least 2).
    """

    better: np.ndarray
    tied: np.ndarray
    pool: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Middle rank, float [Q], 1 is best."""
        return self.better + (self.tied + 1) / 2

    def top(self, k: int) -> np.ndarray:
        """Probability [Q] of standing among the first k under random tie-breaking."""
        return np.clip((k - self.better) / self.tied, 0.0, 1.0)

    def per_query(self) -> dict[str, np.ndarray]:
        """Each figure for each query, float [Q]; the figure of a group is its mean (its median for `median_rank`)."""
        middle = self.middle
        # expectation of 1/rank over the tied places: (H(better + tied) - H(better)) / tied
        reciprocal = (digamma(self.better + self.tied + 1) - digamma(self.better + 1)) / self.tied
        values = {f"top{k}": self.top(k) for k in TOP}
        values["median_rank"] = middle
        values["mrr"] = reciprocal
        values["match_mismatch"] = (self.pool - middle) / (self.pool - 1)
        values["percentile_rank"] = 1 - (middle - 0.5) / self.pool
        return values

    def chance_per_query(self) -> dict[str, np.ndarray]:
        """What uniform guessing gives on average, float [Q], exactly."""
        pool = self.pool.astype(float)
        values = {f"top{k}": np.minimum(k, pool) / pool for k in TOP}
        values["median_rank"] = (pool + 1) / 2
        values["mrr"] = (digamma(pool + 1) - digamma(1.0)) / pool
        values["match_mismatch"] = np.full(len(pool), 0.5)
        values["percentile_rank"] = np.full(len(pool), 0.5)
        return values

    def take(self, rows: np.ndarray) -> Ranking:
        """The same for some of the queries."""
        return Ranking(self.better[rows], self.tied[rows], self.pool[rows])


def true_columns(query_identity: np.ndarray, candidate_identity: np.ndarray) -> np.ndarray:
    """Column [Q] of each query's true candidate.

    Raises
    ------
    NeurodecodeError
        If two candidates share an identity (a hit would be counted twice), or a query has none (it could not be right).
    """
    candidate_identity = np.asarray(candidate_identity)
    query_identity = np.asarray(query_identity)
    order = np.argsort(candidate_identity, kind="stable")
    ordered = candidate_identity[order]
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise NeurodecodeError(
            f"candidates: identity {twice[0]} stands {int((ordered == twice[0]).sum())} times, allowed is once; "
            "keep the first occurrence of each segment"
        )
    place = np.minimum(np.searchsorted(ordered, query_identity), max(len(ordered) - 1, 0))
    missing = ordered[place] != query_identity if len(ordered) else np.ones(len(query_identity), bool)
    if missing.any():
        raise NeurodecodeError(
            f"candidates: {int(missing.sum())} of {len(query_identity)} queries have no true candidate "
            f"(first identity: {query_identity[missing][0]}); the pool must hold every segment that is asked for"
        )
    return order[place]


def rank(scores: Scores, pools: np.ndarray | None = None) -> Ranking:
    """Rank the true candidate of every query.

    Parameters
    ----------
    scores
        Scores against all candidates.
    pools
        Any label [Q], such as the recording of each query: a query then competes only with the segments asked for under
        its own label. None: with all candidates.
    """
    if pools is None:
        return rank_matrix(scores.scores, scores.query_identity, scores.candidate_identity)
    codes = pd.factorize(np.asarray(pools))[0]
    column = true_columns(scores.query_identity, scores.candidate_identity)
    n = len(codes)
    better, tied, pool = np.zeros(n, np.int64), np.ones(n, np.int64), np.ones(n, np.int64)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        columns = np.unique(column[rows])
        part = _rank(scores.scores, rows, columns, np.searchsorted(columns, column[rows]))
        better[rows], tied[rows], pool[rows] = part.better, part.tied, part.pool
    return Ranking(better, tied, pool)


def rank_matrix(scores: np.ndarray, query_identity: np.ndarray, candidate_identity: np.ndarray) -> Ranking:
    """Rank from a bare matrix [Q, N], in bounded memory.

    Raises
    ------
    NeurodecodeError
        If shapes disagree, fewer than two candidates exist, or a score is NaN.
    """
    expected = (len(query_identity), len(candidate_identity))
    if scores.shape != expected:
        raise NeurodecodeError(f"scores have shape {scores.shape}, expected {expected} (queries, candidates)")
    column = true_columns(query_identity, candidate_identity)
    if scores.shape[1] < 2:
        raise NeurodecodeError(f"retrieval needs at least 2 candidates, found {scores.shape[1]}")
    return _rank(scores, np.arange(len(column)), None, column)


def ranks(scores: np.ndarray, query_identity: np.ndarray, candidate_identity: np.ndarray) -> np.ndarray:
    """Middle rank [Q] of each query's true candidate; 1 is best."""
    return rank_matrix(scores, query_identity, candidate_identity).middle


def rank_columns(scores: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Ranking:
    """Rank candidate `columns[i]` in row `rows[i]` of a matrix [Q, N], whoever that row belongs to."""
    return _rank(scores, rows, None, columns)


def rank_blocks(
    block_of: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]], columns: np.ndarray, width: int
) -> Ranking:
    """Rank candidate `columns[i]` in row i of scores that are made some rows at a time.

    Parameters
    ----------
    block_of
        Rows -> scores [q, N], and which candidates are in each row's pool, bool [q, N] (None: all).
    columns
        True candidate [Q], which must be in its pool.
    width
        N.
    """
    n = len(columns)
    better, tied, pool = np.zeros(n, np.int64), np.ones(n, np.int64), np.full(n, width, np.int64)
    step = max(1, CHUNK // max(1, width))
    for begin in range(0, n, step):
        rows = np.arange(begin, min(begin + step, n))
        block, inside = block_of(rows)
        refuse_nan(block, rows)
        own = block[np.arange(len(rows)), columns[rows]][:, None]
        above, equal = block > own, block == own
        if inside is not None:
            above, equal = above & inside, equal & inside
            pool[rows] = inside.sum(axis=1)
        better[rows], tied[rows] = above.sum(axis=1), equal.sum(axis=1)
    return Ranking(better, tied, pool)


def stack(rankings: Sequence[Ranking]) -> Ranking:
    """Rankings one after the other."""
    parts = [np.concatenate([getattr(r, name) for r in rankings]) for name in ("better", "tied", "pool")]
    return Ranking(*parts)


def _rank(scores: np.ndarray, rows: np.ndarray, columns: np.ndarray | None, true: np.ndarray) -> Ranking:
    width = scores.shape[1] if columns is None else len(columns)
    better, tied = np.zeros(len(rows), np.int64), np.ones(len(rows), np.int64)
    step = max(1, CHUNK // max(1, scores.shape[1]))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        block = np.asarray(scores[rows[part]])  # [q, N]
        if columns is not None:
            block = block[:, columns]
        refuse_nan(block, rows[part])
        own = block[np.arange(len(block)), true[part]][:, None]
        better[part] = (block > own).sum(axis=1)
        tied[part] = (block == own).sum(axis=1)
    return Ranking(better, tied, np.full(len(rows), width, np.int64))


def refuse_nan(block: np.ndarray, rows: np.ndarray) -> None:
    """Stop on NaN: every comparison with NaN is false, which would turn a broken model into a perfect one."""
    broken = np.isnan(block).any(axis=1)
    if broken.any():
        raise NeurodecodeError(
            f"scores: {int(broken.sum())} queries have NaN scores (first: query {rows[broken][0]}); the model's output "
            "or a feature is not a number: look at the training loss and the scalers"
        )


def summarise(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each figure over queries; the median for `median_rank`."""
    return {
        name: float(np.median(value) if name == "median_rank" else np.mean(value)) if len(value) else float("nan")
        for name, value in values.items()
    }


def retrieval_metrics(ranking: Ranked) -> dict[str, dict[str, float]]:
    """Each figure of a group of queries beside its chance level.

    `top1`, `top5`, `top10`: share of queries whose true segment is among the k best. `median_rank`. `mrr`: mean of
    1 / rank. `match_mismatch`: probability that the true segment beats one wrong segment drawn at random.
    `percentile_rank`: share of the pool at or below the true segment, half of itself counted. Chance of the last two
    is 0.5.
    """
    value, chance = summarise(ranking.per_query()), summarise(ranking.chance_per_query())
    return {name: {"value": value[name], "chance": chance[name]} for name in value}


def histogram(ranking: Ranking, bins: int = 20) -> dict[str, list]:
    """Counts of middle ranks in equal bins of the share of the pool (0 is best, 1 worst)."""
    share = (ranking.middle - 0.5) / ranking.pool
    counts, edges = np.histogram(share, bins=bins, range=(0, 1))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def examples(scores: Scores, ranking: Ranking, number: int) -> list[dict]:
    """Queries spread evenly over the range of ranks, best to worst, each with its five best candidates."""
    number = min(number, len(ranking.middle))
    order = np.argsort(ranking.middle, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, number).round().astype(int))] if number else order[:0]
    result = []
    for row in chosen:
        line = np.asarray(scores.scores[row])
        best = np.argsort(-line, kind="stable")[:5]
        result.append(
            {
                "query": _fields(scores.queries.iloc[row], ("subject", "recording", "stimulus", "time", "label")),
                "rank": float(ranking.middle[row]),
                "top5": [
                    _fields(scores.candidates.iloc[c], ("stimulus", "time", "label"))
                    | {
                        "score": float(line[c]),
                        "correct": bool(scores.candidate_identity[c] == scores.query_identity[row]),
                    }
                    for c in best
                ],
            }
        )
    return result


def _fields(row: pd.Series, names: Sequence[str]) -> dict:
    return {name: row[name] for name in names}
