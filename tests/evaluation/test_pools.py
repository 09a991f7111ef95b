"""Pools of stated size are expectations over all pools, and story and neighbourhood are told by content."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from neurodecode.config import EvaluationSettings, validate
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.retrieval.metrics import Ranking, Scores, rank, rank_matrix
from neurodecode.evaluation.retrieval.pools import SampledPool, rank_in_story, rank_near
from neurodecode.evaluation.runs.evaluate import score_folds
from tests.evaluation.runs import FAST, toy_folds


def scores_of(matrix: np.ndarray, stimulus: list[str], time: list[float]) -> Scores:
    n = len(stimulus)
    queries = pd.DataFrame({"subject": ["a"] * n, "recording": ["a"] * n, "start": time})
    return Scores(matrix, np.arange(n), np.arange(n), queries, pd.DataFrame({"stimulus": stimulus, "time": time}))


def test_a_sampled_pool_is_the_mean_over_every_pool_of_that_size() -> None:
    """All 3-of-6 pools written out, ties included."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 4, size=(7, 7)).astype(np.float32)
    identity = np.arange(7)
    got = SampledPool(rank_matrix(matrix, identity, identity), 4).per_query()
    for query in range(7):
        others = [c for c in range(7) if c != query]
        figures: dict[str, list[float]] = {}
        for chosen in combinations(others, 3):
            columns = [query, *chosen]
            one = rank_matrix(matrix[query : query + 1, columns], np.array([query]), np.array(columns))
            for name, value in one.per_query().items():
                figures.setdefault(name, []).append(value[0])
        for name, values in figures.items():
            assert got[name][query] == pytest.approx(np.mean(values)), (query, name)


def test_a_pool_of_all_candidates_is_the_full_ranking() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 9, size=(12, 12)).astype(np.float32)
    full = rank_matrix(matrix, np.arange(12), np.arange(12))
    sampled, exact = SampledPool(full, 12).per_query(), full.per_query()
    for name in exact:
        assert sampled[name] == pytest.approx(exact[name]), name


def test_equal_scores_give_the_chance_of_the_pool_exactly() -> None:
    n, m = 40, 15
    equal = Ranking(np.zeros(3, int), np.full(3, n), np.full(3, n))
    pool = SampledPool(equal, m)
    value, chance = pool.per_query(), pool.chance_per_query()
    assert chance["top10"][0] == pytest.approx(10 / 15)
    for name in chance:
        assert value[name] == pytest.approx(chance[name]), name


def test_smaller_pools_are_easier_and_match_mismatch_stays() -> None:
    full = Ranking(np.array([0, 3, 30]), np.ones(3, int), np.full(3, 100))
    small, large = SampledPool(full, 10).per_query(), SampledPool(full, 50).per_query()
    assert (small["top1"][1:] > large["top1"][1:]).all()
    assert small["top1"][0] == 1.0
    assert small["match_mismatch"] == pytest.approx(full.per_query()["match_mismatch"])
    assert large["match_mismatch"] == pytest.approx(full.per_query()["match_mismatch"])


def test_a_pool_larger_than_the_candidates_is_refused_before_any_work() -> None:
    with pytest.raises(NeurodecodeError, match="pool.size: 13 candidates are wanted, there are 12"):
        SampledPool(Ranking(np.zeros(1, int), np.ones(1, int), np.full(1, 12)), 13)
    settings = FAST.model_copy(update={"pool": FAST.pool.model_copy(update={"size": (5000,)})})
    with pytest.raises(NeurodecodeError, match="5000 candidates are wanted, there are"):
        score_folds(toy_folds(noise=1.0), settings, "test")


def test_sizes_are_one_number_or_an_ascending_list() -> None:
    assert validate(EvaluationSettings, {"pool": {"size": 50}}, "x").pool.size == (50,)
    assert validate(EvaluationSettings, {"pool": {"size": [10, 50]}}, "x").pool.size == (10, 50)
    for wrong in ([50, 10], [1], [10, 10]):
        with pytest.raises(SettingsError):
            validate(EvaluationSettings, {"pool": {"size": wrong}}, "x")


def test_a_story_pool_holds_the_candidates_of_the_querys_stimulus_only() -> None:
    matrix = np.array([[1, 0, 9, 9], [2, 1, 9, 9], [9, 9, 1, 2], [9, 9, 0, 0]], np.float32)
    ranking = rank_in_story(scores_of(matrix, ["x", "x", "y", "y"], [0, 1, 0, 1]))
    assert ranking.pool.tolist() == [2, 2, 2, 2]
    assert ranking.middle.tolist() == [1, 2, 2, 1.5]


def test_a_near_pool_holds_what_begins_within_the_stated_seconds() -> None:
    matrix = np.zeros((4, 4), np.float32)
    matrix[0, 2] = 5  # better, but 20 s away
    matrix[1, 2] = 5  # better, and 10 s away
    ranking = rank_near(scores_of(matrix, ["x", "x", "x", "y"], [0.0, 10.0, 20.0, 10.0]), 10.0)
    assert ranking.pool.tolist() == [2, 3, 2, 1]
    assert ranking.better.tolist() == [0, 1, 0, 0]


def test_pools_stand_apart_in_the_result_each_with_its_chance_and_ridge() -> None:
    pool = FAST.pool.model_copy(update={"size": (10, 50), "story": True, "near": 10.0})
    settings = FAST.model_copy(update={"pool": pool, "controls": ("ridge",)})
    outcome = score_folds(toy_folds(noise=12.0, rule="leave-one-run-out"), settings, "test")
    pools = outcome.result["pools"]
    assert [p["kind"] for p in pools] == ["random", "random", "story", "near"]
    assert [p["metrics"]["top1"]["chance"] for p in pools[:2]] == [pytest.approx(1 / 10), pytest.approx(1 / 50)]
    assert pools[2]["n_candidates"] == 58
    assert pools[2]["metrics"]["top10"]["chance"] == pytest.approx(10 / 58)
    assert pools[3]["n_candidates"] == 21  # 10 s before and after, a window a second
    for entry in pools:
        assert entry["metrics"]["top1"]["low"] <= entry["metrics"]["top1"]["high"]
        assert entry["controls"]["ridge"]["metrics"]["top1"]["chance"] == entry["metrics"]["top1"]["chance"]
    by_hand = SampledPool(rank(outcome.scores), 10).per_query()["top1"].mean()
    assert pools[0]["metrics"]["top1"]["value"] == pytest.approx(by_hand)


def test_no_further_pool_is_scored_unless_it_is_asked_for() -> None:
    result = score_folds(toy_folds(noise=1.0), FAST.model_copy(update={"controls": ()}), "test").result
    assert result["pools"] == []
    assert result["sentence_pooled"] is None
    assert result["word_repeats"] is None
