"""Ranks and figures: what a hit is, what a tie is, what chance is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval import metrics as retrieval
from neurodecode.evaluation.retrieval.metrics import (
    Scores,
    examples,
    histogram,
    rank,
    rank_matrix,
    ranks,
    retrieval_metrics,
    true_columns,
)


def toy(matrix: np.ndarray, query: np.ndarray, candidate: np.ndarray, recording: np.ndarray | None = None) -> Scores:
    n = len(query)
    queries = pd.DataFrame(
        {
            "subject": ["a"] * n,
            "recording": np.zeros(n, int) if recording is None else recording,
            "run": [""] * n,
            "stimulus": ["s"] * n,
            "time": np.asarray(query, float),
            "start": np.arange(n, dtype=float),
            "label": [f"w{i}" for i in query],
            "fold": ["fold-0"] * n,
        }
    )
    candidates = pd.DataFrame(
        {
            "stimulus": ["s"] * len(candidate),
            "time": np.asarray(candidate, float),
            "label": [f"w{i}" for i in candidate],
        }
    ).assign(run="")
    return Scores(np.asarray(matrix, np.float32), np.asarray(query), np.asarray(candidate), queries, candidates)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, identities in any order."""
    n = draw(st.integers(2, 12))
    q = draw(st.integers(1, 10))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    candidate = rng.permutation(1000)[:n]
    query = rng.choice(candidate, size=q)
    matrix = rng.integers(0, draw(st.integers(1, 6)), size=(q, n)).astype(np.float32)
    return matrix, query, candidate


def test_the_best_candidate_gets_rank_one_and_the_worst_rank_n() -> None:
    matrix = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], np.float32)
    assert ranks(matrix, np.array([7, 8, 9]), np.array([7, 8, 9])).tolist() == [1, 2, 3]


def test_ties_get_the_middle_rank() -> None:
    matrix = np.array([[1.0, 1.0, 0.0, 2.0]], np.float32)
    assert ranks(matrix, np.array([0]), np.array([0, 1, 2, 3])).tolist() == [2.5]


@pytest.mark.parametrize("n", [2, 3, 10, 57, 190])
def test_constant_scores_give_chance_exactly_for_every_figure(n: int) -> None:
    identity = np.arange(n)
    metrics = retrieval_metrics(rank_matrix(np.full((n, n), 0.3, np.float32), identity, identity))
    for name, figure in metrics.items():
        assert figure["value"] == pytest.approx(figure["chance"], abs=1e-12), name
    assert metrics["top10"]["chance"] == pytest.approx(min(10, n) / n, abs=1e-15)
    assert metrics["match_mismatch"]["chance"] == 0.5


def test_a_constant_row_for_all_queries_gives_chance_when_each_segment_is_asked_for_equally_often() -> None:
    n = 40
    row = np.random.default_rng(0).normal(size=n).astype(np.float32)
    metrics = retrieval_metrics(rank_matrix(np.tile(row, (n, 1)), np.arange(n), np.arange(n)))
    for name, figure in metrics.items():
        assert figure["value"] == pytest.approx(figure["chance"], abs=1e-12), name


def test_perfect_scores_give_the_best_value_of_every_figure() -> None:
    metrics = retrieval_metrics(rank_matrix(np.eye(30, dtype=np.float32), np.arange(30), np.arange(30)))
    assert [metrics[m]["value"] for m in ("top1", "top10", "median_rank", "mrr", "match_mismatch")] == [1, 1, 1, 1, 1]
    assert metrics["percentile_rank"]["value"] == pytest.approx(1 - 0.5 / 30)


def test_chance_agrees_with_counting_all_places() -> None:
    n = 13
    places = np.arange(1, n + 1)
    chance = retrieval_metrics(rank_matrix(np.zeros((1, n), np.float32), np.array([0]), np.arange(n)))
    assert chance["mrr"]["chance"] == pytest.approx(np.mean(1 / places))
    assert chance["top5"]["chance"] == pytest.approx(np.mean(places <= 5))
    assert chance["median_rank"]["chance"] == np.median(places)


@given(problems(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_order_of_queries_and_candidates_does_not_matter(problem: tuple, seed: int) -> None:
    matrix, query, candidate = problem
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(query)), rng.permutation(len(candidate))
    shuffled = ranks(matrix[rows][:, columns], query[rows], candidate[columns])
    assert np.array_equal(shuffled, ranks(matrix, query, candidate)[rows])


@given(problems())
@settings(max_examples=60, deadline=None)
def test_an_increasing_transform_of_the_scores_changes_nothing(problem: tuple) -> None:
    matrix, query, candidate = problem
    assert np.array_equal(ranks(np.exp(matrix) * 3 - 7, query, candidate), ranks(matrix, query, candidate))


@given(problems())
@settings(max_examples=60, deadline=None)
def test_ties_are_the_average_over_all_ways_of_breaking_them(problem: tuple) -> None:
    matrix, query, candidate = problem
    ranking = rank_matrix(matrix, query, candidate)
    for row, (better, tied) in enumerate(zip(ranking.better, ranking.tied)):
        places = np.arange(better + 1, better + tied + 1)  # all equally likely
        figures = {name: value[row] for name, value in ranking.per_query().items()}
        n = len(candidate)
        assert figures["top5"] == pytest.approx(np.mean(places <= 5))
        assert figures["mrr"] == pytest.approx(np.mean(1 / places))
        assert figures["median_rank"] == pytest.approx(np.mean(places))
        assert figures["match_mismatch"] == pytest.approx(np.mean((n - places) / (n - 1)))


@given(problems())
@settings(max_examples=30, deadline=None)
def test_reading_in_small_pieces_gives_the_same_ranks(problem: tuple) -> None:
    matrix, query, candidate = problem
    whole = ranks(matrix, query, candidate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "CHUNK", 1)
        assert np.array_equal(ranks(matrix, query, candidate), whole)


def test_match_mismatch_is_the_probability_to_beat_one_random_wrong_candidate() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(20, 9)).astype(np.float32)
    query = rng.integers(0, 9, 20)
    wins = [np.mean(np.delete(line, q) < line[q]) for line, q in zip(matrix, query)]
    metrics = retrieval_metrics(rank_matrix(matrix, query, np.arange(9)))
    assert metrics["match_mismatch"]["value"] == pytest.approx(np.mean(wins))


def test_nan_scores_are_refused() -> None:
    matrix = np.eye(4, dtype=np.float32)
    matrix[2, 1] = np.nan
    with pytest.raises(NeurodecodeError, match="1 queries have NaN scores .first: query 2"):
        ranks(matrix, np.arange(4), np.arange(4))


def test_two_candidates_of_one_identity_are_refused() -> None:
    with pytest.raises(NeurodecodeError, match="identity 5 stands 2 times"):
        true_columns(np.array([5]), np.array([5, 6, 5]))


def test_a_query_without_its_candidate_is_refused() -> None:
    with pytest.raises(NeurodecodeError, match="1 of 2 queries have no true candidate"):
        true_columns(np.array([5, 99]), np.array([5, 6]))


def test_a_pool_of_one_is_refused() -> None:
    with pytest.raises(NeurodecodeError, match="at least 2 candidates"):
        ranks(np.zeros((1, 1), np.float32), np.array([0]), np.array([0]))


def test_same_run_pools_hold_only_what_was_asked_for_in_that_run() -> None:
    rng = np.random.default_rng(2)
    query = np.array([0, 1, 2, 3, 4, 5, 0])
    recording = np.array([0, 0, 0, 1, 1, 1, 1])
    matrix = rng.normal(size=(7, 6)).astype(np.float32)
    ranking = rank(toy(matrix, query, np.arange(6), recording), pools=recording)
    assert ranking.pool.tolist() == [3, 3, 3, 4, 4, 4, 4]
    assert ranking.middle[6] == 1 + (matrix[6, [3, 4, 5]] > matrix[6, 0]).sum()
    assert ranking.chance_per_query()["top1"].tolist() == [1 / 3] * 3 + [1 / 4] * 4


def test_the_rank_histogram_counts_every_query_once() -> None:
    ranking = rank_matrix(np.eye(50, dtype=np.float32), np.arange(50), np.arange(50))
    counted = histogram(ranking)
    assert sum(counted["counts"]) == 50
    assert len(counted["edges"]) == len(counted["counts"]) + 1
    assert counted["counts"][0] == 50


def test_examples_span_best_to_worst_and_mark_the_right_candidate() -> None:
    rng = np.random.default_rng(3)
    scores = toy(rng.normal(size=(20, 12)), rng.integers(0, 12, 20), np.arange(12))
    ranking = rank(scores)
    shown = examples(scores, ranking, 4)
    assert [shown[0]["rank"], shown[-1]["rank"]] == [ranking.middle.min(), ranking.middle.max()]
    for example in shown:
        assert len(example["top5"]) == 5
        marked = [c for c in example["top5"] if c["correct"]]
        assert bool(marked) == (example["rank"] <= 5)
        assert all(c["label"] == example["query"]["label"] for c in marked)
