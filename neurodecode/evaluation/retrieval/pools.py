"""Candidate pools beside the full one: random ones of a stated size, the query's own story, its neighbourhood in time.

In: the ranking against all candidates, or the scores. Out: rankings whose figures have the chance of their pool.

A random pool holds the true candidate and M - 1 of the N - 1 others. How many of the better ones come along is
hypergeometric, so what the mean over all possible pools would be is computed, not sampled::

    SampledPool(rank(scores), 50).per_query()["top10"]

Story and neighbourhood are told by the candidates' stimulus and place in it, so by content and not by file names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import digamma

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import TOP, Ranking, Scores, rank_blocks, true_columns

GRACE = 1e-6  # s: places are sums of rounded seconds


@dataclass(frozen=True)
class SampledPool:
    """A ranking as it would be on average over all random pools of one size; figures as `Ranking` has them.

    Attributes
    ----------
    full
        Ranking against all N candidates, the same N for every query.
    size
        M, candidates of a pool, the true one included; 2 .. N.

    Raises
    ------
    NeurodecodeError
        If there are fewer than M candidates.
    """

    full: Ranking
    size: int

    def __post_init__(self) -> None:
        refuse_larger(self.size, self.n_candidates)

    @property
    def n_candidates(self) -> int:
        """N."""
        return int(self.full.pool[0])

    def per_query(self) -> dict[str, np.ndarray]:
        """Expectation of each figure for each query, float [Q], over pools and over the order of ties.

        `median_rank` is the expected rank of each query, so the figure of a group is the median of expected ranks.
        """
        n, m = self.n_candidates, self.size
        # a tie is any of its orders, so the true candidate has better .. better + tied - 1 candidates before it; a
        # figure is the mean of that stretch of its value for each number before
        before = np.arange(n)
        along = stats.hypergeom.pmf(
            np.arange(max(TOP)), n - 1, before[:, None], m - 1
        )  # [N, h]: h better ones come along
        values = {f"top{k}": self._over_ties(along[:, :k].sum(axis=1)) for k in TOP}
        expected = 1 + before * (m - 1) / (n - 1)
        values["median_rank"] = self._over_ties(expected)
        values["mrr"] = self._over_ties(_expected_reciprocal(n, m))
        values["match_mismatch"] = (m - values["median_rank"]) / (m - 1)
        values["percentile_rank"] = 1 - (values["median_rank"] - 0.5) / m
        return values

    def chance_per_query(self) -> dict[str, np.ndarray]:
        """What uniform guessing gives among M, float [Q]."""
        m, ones = self.size, np.ones(len(self.full.better))
        values = {f"top{k}": ones * min(k, m) / m for k in TOP}
        values["median_rank"] = ones * (m + 1) / 2
        values["mrr"] = ones * (digamma(m + 1.0) - digamma(1.0)) / m
        values["match_mismatch"] = ones * 0.5
        values["percentile_rank"] = ones * 0.5
        return values

    def _over_ties(self, value: np.ndarray) -> np.ndarray:
        """Mean [Q] of value [N] (by how many stand before) over better .. better + tied - 1."""
        total = np.concatenate([[0.0], np.cumsum(value)])
        better, tied = self.full.better, self.full.tied
        return (total[better + tied] - total[better]) / tied


def _expected_reciprocal(n: int, m: int) -> np.ndarray:
    """E[1 / rank] in a pool of m, [n], by how many of the n - 1 others are better.

    With b better ones of which H come along, E[1 / (1 + H)] = sum over h of P(H = h) / (1 + h).
    """
    place = np.arange(m)
    result = np.empty(n)
    step = max(1, (1 << 21) // m)
    for begin in range(0, n, step):
        better = np.arange(begin, min(begin + step, n))
        result[better] = stats.hypergeom.pmf(place, n - 1, better[:, None], m - 1) @ (1 / (1 + place))
    return result


def refuse_larger(size: int, n_candidates: int) -> None:
    """Stop when a pool is to hold more candidates than there are."""
    if size > n_candidates:
        raise NeurodecodeError(
            f"evaluation.pool.size: {size} candidates are wanted, there are {n_candidates}; give at most that many"
        )


def rank_in_story(scores: Scores) -> Ranking:
    """Each query among the candidates of its own stimulus; a pool of 1 asks nothing, and is left to the caller."""
    return rank_near(scores, np.inf)


def rank_near(scores: Scores, seconds: float) -> Ranking:
    """Each query among the candidates of its own stimulus that begin at most `seconds` before or after its own.

    Neighbours that overlap with the true segment are in the pool: they are what makes it hard.
    """
    column = true_columns(scores.query_identity, scores.candidate_identity)
    names = scores.candidates["stimulus"].to_numpy(str)
    story = np.unique(names, return_inverse=True)[1]
    place = scores.candidates["time"].to_numpy(float)

    def block(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = column[rows]
        inside = story[own][:, None] == story
        inside &= np.abs(place[own][:, None] - place) <= seconds + GRACE
        return np.asarray(scores.scores[rows]), inside

    return rank_blocks(block, column, scores.scores.shape[1])
