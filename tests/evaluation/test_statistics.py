"""Intervals cover, p-values are honest under the null, comparisons are paired."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Ranking, rank_matrix
from neurodecode.evaluation.retrieval.statistics import (
    bootstrap,
    clusters,
    compare,
    metrics_with_intervals,
    permutation_p_value,
)
from tests.evaluation.test_retrieval import toy


def test_noise_stands_inside_its_interval_around_chance() -> None:
    rng = np.random.default_rng(0)
    ranking = rank_matrix(rng.normal(size=(400, 60)).astype(np.float32), rng.integers(0, 60, 400), np.arange(60))
    metrics = metrics_with_intervals(ranking, np.arange(400), repeats=500, seed=0)
    for name, figure in metrics.items():
        assert figure["low"] <= figure["chance"] <= figure["high"], name
        assert figure["low"] <= figure["value"] <= figure["high"], name


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        subject = rng.normal(size=20)
        value = np.repeat(subject, 5) + 0.1 * rng.normal(size=100)
        low, high = bootstrap({"x": value}, np.repeat(np.arange(20), 5), repeats=200, seed=trial)["x"]
        covered += low <= 0 <= high
    assert 0.86 <= covered / 200 <= 0.99  # percentile intervals of 20 subjects are a little short


def test_resampling_subjects_is_wider_than_resampling_queries_when_subjects_differ() -> None:
    rng = np.random.default_rng(2)
    value = np.repeat(rng.normal(size=8), 50) + 0.1 * rng.normal(size=400)
    by_subject = bootstrap({"x": value}, np.repeat(np.arange(8), 50), repeats=300, seed=0)["x"]
    by_query = bootstrap({"x": value}, np.arange(400), repeats=300, seed=0)["x"]
    assert np.diff(by_subject) > 2 * np.diff(by_query)


def test_the_median_is_resampled_as_a_median() -> None:
    value = np.array([1.0, 2.0, 3.0, 100.0, 200.0])
    low, high = bootstrap({"median_rank": value}, np.arange(5), repeats=400, seed=0)["median_rank"]
    rng = np.random.default_rng(0)
    weights = rng.multinomial(5, np.full(5, 0.2), size=400)
    reference = [np.median(np.repeat(value, w)) for w in weights]
    assert [low, high] == pytest.approx(np.quantile(reference, [0.025, 0.975]).tolist())


def test_one_subject_is_resampled_by_segment_and_several_by_subject() -> None:
    assert clusters(np.array(["a", "a"]), np.array([1, 2]))[1] == "segments"
    labels, over = clusters(np.array(["a", "b"]), np.array([1, 1]))
    assert (labels.tolist(), over) == (["a", "b"], "subjects")


def test_the_p_value_is_uniform_under_the_null_by_counting_all_pairings() -> None:
    """Score any matrix under every true pairing: the share of pairings with p <= a must not exceed a."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(5, 5))
    p_values = []
    for pairing in itertools.permutations(range(5)):
        p_values.append(permutation_p_value(toy(matrix, np.array(pairing), np.arange(5)), repeats=199, seed=7))
    p_values = np.array(p_values)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert (p_values <= level).mean() <= level + 0.05  # 199 redraws leave +-0.03
    assert 0.45 < p_values.mean() < 0.6  # uniform has 0.5; ties between pairings only raise it


def test_a_planted_pairing_has_the_smallest_p_value() -> None:
    p_value = permutation_p_value(toy(np.eye(30), np.arange(30), np.arange(30)), repeats=99, seed=0)
    assert p_value == pytest.approx(0.01)


def test_a_predictor_that_ignores_the_brain_is_not_significant_whatever_it_prefers() -> None:
    row = np.random.default_rng(4).normal(size=25)
    asked = np.r_[np.argsort(-row)[:20]]  # asked only for what the constant row likes best: every rank is good
    assert permutation_p_value(toy(np.tile(row, (20, 1)), asked, np.arange(25)), repeats=99, seed=0) == 1.0


def test_turning_in_time_keeps_slow_drift_from_looking_certain() -> None:
    """Smooth scores without any pairing: free pairings are too sure of themselves more often than turns are."""
    rng = np.random.default_rng(5)
    n, width = 60, 15
    free, shift = [], []
    for _ in range(40):
        kernel = np.ones(width) / np.sqrt(width)
        a, b = (np.convolve(rng.normal(size=n + width - 1), kernel, "valid") for _ in range(2))
        scores = toy(np.outer(a, b), np.arange(n), np.arange(n))
        free.append(permutation_p_value(scores, repeats=99, seed=0, scheme="free"))
        shift.append(permutation_p_value(scores, repeats=99, seed=0, scheme="shift"))
    assert np.mean(np.array(free) <= 0.05) > 0.15
    assert np.mean(np.array(shift) <= 0.05) < np.mean(np.array(free) <= 0.05)


def test_pairings_never_leave_a_recording() -> None:
    """Right recording, random segment inside it: better than chance overall, but no evidence of pairing."""
    rng = np.random.default_rng(6)
    recording = np.repeat([0, 1], 20)
    matrix = 10.0 * (recording[:, None] == recording[None, :]) + rng.normal(size=(40, 40))
    scores = toy(matrix, np.arange(40), np.arange(40), recording)
    assert permutation_p_value(scores, repeats=199, seed=0) > 0.05


def test_a_comparison_is_paired_over_subjects() -> None:
    rng = np.random.default_rng(7)
    n = 160
    subjects = np.repeat([f"s{i}" for i in range(8)], 20)
    hard = np.repeat(rng.integers(0, 30, 8), 20) + rng.integers(0, 5, n)  # subjects differ a lot
    one, pool = np.ones(n, np.int64), np.full(n, 60)
    result = compare(Ranking(hard + 4, one, pool), Ranking(hard, one, pool), subjects, np.arange(n), metric="mrr")
    assert 0 < result["low"] <= result["difference"] <= result["high"]
    assert result["wilcoxon_p"] == pytest.approx(2 / 2**8)
    assert (result["over"], result["n_subjects"]) == ("subjects", 8)


def test_a_comparison_of_different_queries_is_refused() -> None:
    one = Ranking(np.zeros(3, int), np.ones(3, int), np.full(3, 5))
    with pytest.raises(NeurodecodeError, match="3 queries against 2"):
        compare(one, one.take(np.arange(2)), np.array(["a"] * 3), np.arange(3))


def test_what_rounding_leaves_of_nothing_is_no_difference() -> None:
    """0.1 + 0.2 is not 0.3: an interval of [4e-17, 6e-17] would say "above"."""

    class Same:
        def __init__(self, value: float) -> None:
            self.value = value

        def per_query(self) -> dict[str, np.ndarray]:
            return {"top10": np.full(20, self.value)}

        def chance_per_query(self) -> dict[str, np.ndarray]:
            return self.per_query()

    subjects = np.repeat(["a", "b"], 10)
    found = compare(Same(0.3), Same(0.1 + 0.2), subjects, np.arange(20), repeats=50)
    assert (found["difference"], found["low"], found["high"]) == (0.0, 0.0, 0.0)
