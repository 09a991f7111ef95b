"""How sure: bootstrap intervals, permutation p-values, and paired comparison of two runs.

In: rankings (and scores, for the permutation test) with the subject or segment each query belongs to. Out: plain
numbers. Queries of one subject are not independent, so intervals resample subjects with all their queries; with one
subject, they resample distinct segments with all their repeats.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import stats

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Ranked, Scores, refuse_nan, retrieval_metrics, true_columns

LEVEL = 0.95
CHUNK = 1 << 23  # numbers held at once
ROUNDING = 1e-12  # smaller differences of shares are none
FEWEST_SUBJECTS = 6  # below, an interval over subjects is too short: 3 subjects give 10 different resamples
FEWEST_FOR_WILCOXON = 6  # with 5 pairs the two-sided p-value cannot fall below 0.0625


def clusters(subjects: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, str]:
    """What a comparison of two runs resamples: (label of each query [Q], `subjects` or `segments`)."""
    if len(np.unique(subjects)) > 1:
        return np.asarray(subjects), "subjects"
    return np.asarray(identities), "segments"


def bootstrap(
    values: dict[str, np.ndarray], cluster: np.ndarray, *, repeats: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap interval (95 %) of each figure's mean over queries (median for `median_rank`).

    Parameters
    ----------
    values
        Figure -> float [Q].
    cluster
        Label [Q]; whole clusters are drawn with replacement.
    repeats, seed
        Number of resamples, and the seed of the draw: all figures use the same resamples.
    """
    labels, codes = np.unique(cluster, return_inverse=True)
    rng = np.random.default_rng(seed)
    n = len(labels)
    draws: dict[str, list[np.ndarray]] = {name: [] for name in values}
    sizes = np.bincount(codes, minlength=n).astype(float)
    sums = {name: np.bincount(codes, weights=v, minlength=n) for name, v in values.items() if name != "median_rank"}
    step = max(1, CHUNK // max(n, len(codes)))
    for begin in range(0, repeats, step):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(step, repeats - begin))  # [b, n]
        total = weights @ sizes
        for name, value in values.items():
            if name == "median_rank":
                draws[name].append(_weighted_median(value, weights[:, codes]))
            else:
                draws[name].append((weights @ sums[name]) / total)
    tail = (1 - LEVEL) / 2
    return {
        name: tuple(float(x) for x in np.quantile(np.concatenate(parts), [tail, 1 - tail]))  # type: ignore[misc]
        for name, parts in draws.items()
    }


def _weighted_median(value: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median [b] of values [Q] repeated by integer weights [b, Q]."""
    order = np.argsort(value, kind="stable")
    cumulated = np.cumsum(weights[:, order], axis=1)
    total = cumulated[:, -1:]
    low = (cumulated >= (total + 1) // 2).argmax(axis=1)
    high = (cumulated >= total // 2 + 1).argmax(axis=1)
    return (value[order][low] + value[order][high]) / 2


def metrics_with_intervals(ranking: Ranked, cluster: np.ndarray, *, repeats: int, seed: int) -> dict[str, dict]:
    """`retrieval_metrics` with `low` and `high` added to each figure."""
    metrics = retrieval_metrics(ranking)
    for name, (low, high) in bootstrap(ranking.per_query(), cluster, repeats=repeats, seed=seed).items():
        metrics[name] |= {"low": low, "high": high}
    return metrics


def permutation_p_value(
    scores: Scores,
    *,
    repeats: int,
    seed: int,
    scheme: Literal["free", "shift"] = "free",
) -> float:
    """One-sided p-value of the mean rank, against pairings of query and segment redrawn within each recording.

    Scores stay as they are, and only who belongs to whom is redrawn, so a segment that scores high with every query, or
    rows that resemble each other, cannot make a result significant.

    Parameters
    ----------
    scores
        Queries must carry `recording` and `start` (s).
    repeats
        Redrawn pairings; the smallest possible value is 1 / (repeats + 1).
    scheme
        free: any pairing. shift: the order in time is kept and turned by a random number of queries; needed when
        windows overlap in time, because neighbours then resemble each other and free pairings look too certain.
    """
    column = true_columns(scores.query_identity, scores.candidate_identity)
    groups = _by_recording(scores)
    rng = np.random.default_rng(seed)
    observed, drawn = 0.0, np.zeros(repeats)
    for rows in groups:
        share = _shares(scores.scores, rows, column[rows])  # [q, q]: row i, segment of query j
        n = len(rows)
        here = np.arange(n)
        observed += share[here, here].sum()
        for number in range(repeats):
            other = rng.permutation(n) if scheme == "free" else (here + rng.integers(n)) % n
            drawn[number] += share[here, other].sum()
    # a pairing that ties with the observed one counts against it; sums of the same terms differ in the last digits
    slack = 1e-9 * max(1.0, abs(observed))
    return float((1 + (drawn >= observed - slack).sum()) / (1 + repeats))


def _by_recording(scores: Scores) -> list[np.ndarray]:
    recordings = scores.queries["recording"].to_numpy()
    start = scores.queries["start"].to_numpy(float)
    rows = [np.flatnonzero(recordings == r) for r in dict.fromkeys(recordings)]
    return [r[np.argsort(start[r], kind="stable")] for r in rows]


def _shares(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Share of candidates [q, q] that the segment of query j beats in the row of query i (ties half)."""
    result = np.empty((len(rows), len(columns)))
    step = max(1, CHUNK // matrix.shape[1])
    for begin in range(0, len(rows), step):
        block = np.asarray(matrix[rows[begin : begin + step]])
        refuse_nan(block, rows[begin : begin + step])
        ordered = np.sort(block, axis=1)
        for i, line in enumerate(ordered):
            wanted = block[i, columns]
            lower, upper = np.searchsorted(line, wanted, "left"), np.searchsorted(line, wanted, "right")
            result[begin + i] = (lower + upper) / (2 * len(line))
    return result


def settled(differences: np.ndarray) -> np.ndarray:
    """Differences without what rounding leaves of zero: shares of ties are sums of fractions, and 1e-17 is no gain."""
    return np.where(np.abs(differences) < ROUNDING, 0.0, differences)


def compare(
    first: Ranked,
    second: Ranked,
    subjects: np.ndarray,
    identities: np.ndarray,
    *,
    metric: str = "top10",
    repeats: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Paired comparison of two rankings of the same queries in the same order: second minus first.

    Returns
    -------
    dict
        `difference` with bootstrap `low` and `high` (over subjects, or segments when there is one subject), `over`,
        and `wilcoxon_p`: two-sided signed-rank over subjects' means (None with fewer than 6 subjects, which cannot
        reach 0.05).

    Raises
    ------
    NeurodecodeError
        If the two do not rank the same number of queries, or the metric is unknown.
    """
    a, b = first.per_query(), second.per_query()
    if metric not in a:
        raise NeurodecodeError(f"compare: no metric {metric}; there are {', '.join(a)}")
    if len(a[metric]) != len(b[metric]):
        raise NeurodecodeError(
            f"compare: {len(a[metric])} queries against {len(b[metric])}; both runs must answer the same queries"
        )
    difference = settled(b[metric] - a[metric])
    cluster, over = clusters(subjects, identities)
    # differences are averaged: the median of a difference is not the difference of medians
    low, high = bootstrap({"difference": difference}, cluster, repeats=repeats, seed=seed)["difference"]
    names = np.unique(subjects)
    per_subject = np.array([difference[subjects == s].mean() for s in names])
    p_value = None
    if len(names) >= FEWEST_FOR_WILCOXON and np.any(per_subject != 0):
        p_value = float(stats.wilcoxon(per_subject).pvalue)
    return {
        "metric": metric,
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "over": over,
        "n_subjects": len(names),
        "wilcoxon_p": p_value,
    }
