"""The ridge solves what is linear, finds nothing where nothing is, and never looks at a test window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from neurodecode.config.evaluation import RidgeSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Ranking, rank_matrix, retrieval_metrics
from neurodecode.evaluation.retrieval.ridge import (
    Moments,
    bin_average,
    lag_bins,
    lagged,
    solve,
    valid_bins,
    window_correlation,
)
from neurodecode.evaluation.runs.baseline import RidgeBaseline, _fresh_bins, fit_ridge, fit_ridges, inner_groups
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import WindowIndex
from tests.evaluation.toys import toy_source

PENALTIES = RidgeSettings().penalties


def ranking_of(source: BatchSource, index: WindowIndex, ridge: RidgeBaseline | None = None) -> tuple[Ranking, float]:
    """Ranking of all test windows among all test segments, and the mean correlation with the true one."""
    ridge = ridge or fit_ridge(source, RidgeSettings())
    rows = index.rows("test")
    identity = index.table["identity"].to_numpy()[rows]
    distinct, first = np.unique(identity, return_index=True)
    batch = source[rows]
    scores = ridge.score(ridge.estimate(batch), ridge.prepare(source[rows[first]].target)).numpy()
    own = scores[np.arange(len(rows)), np.searchsorted(distinct, identity)]
    return rank_matrix(scores, identity, distinct), float(own.mean())


@contextmanager
def rows_read() -> Iterator[list[np.ndarray]]:
    """Rows of which signal or features are read meanwhile."""
    read: list[np.ndarray] = []
    signal, target = BatchSource.signal, BatchSource.target

    def watched_signal(self: BatchSource, rows: np.ndarray, samples: tuple[int, int] | None = None) -> torch.Tensor:
        read.append(np.asarray(rows))
        return signal(self, rows, samples)

    def watched_target(self: BatchSource, rows: np.ndarray, samples: tuple[int, int] | None = None) -> torch.Tensor:
        read.append(np.asarray(rows))
        return target(self, rows, samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchSource, "signal", watched_signal)
        patch.setattr(BatchSource, "target", watched_target)
        yield read


def test_lags_are_true_seconds_whatever_the_shift_of_the_windows() -> None:
    assert list(lag_bins((0.0, 0.25), 0.0, 32.0)) == list(range(9))
    assert list(lag_bins((0.0, 0.25), 0.15, 40.0)) == list(range(-6, 5))
    assert list(lag_bins((0.1, 0.1), 0.0, 40.0)) == [4]


def test_lags_between_two_samples_are_refused() -> None:
    with pytest.raises(NeurodecodeError, match=r"ridge.lags 0.01..0.02 s hold no multiple of 0.031 s"):
        lag_bins((0.01, 0.02), 0.0, 32.0)


@pytest.mark.parametrize("lags", [range(3), range(-2, 3), range(-3, -1), range(1, 4)])
def test_a_lagged_signal_is_the_signal_that_many_bins_later_and_zero_outside(lags: range) -> None:
    signal = torch.arange(1.0, 11.0).repeat(2, 1, 1)  # [2, 1, 10]
    result = lagged(signal, lags)
    assert result.shape == (2, 1, len(lags), 10)
    for i, lag in enumerate(lags):
        for k in range(10):
            assert result[0, 0, i, k] == (k + lag + 1 if 0 <= k + lag < 10 else 0)
    inside = valid_bins(10, lags)
    assert (result[..., inside] > 0).all()


def test_bins_are_means_of_whole_steps() -> None:
    assert bin_average(torch.arange(7.0)[None], 3).tolist() == [[1.0, 4.0]]


def test_weights_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 12)), rng.normal(size=(300, 2))
    y += x[:, :2] * 2 + 5
    moments = Moments.empty(12, 2)
    moments.add(torch.tensor(x), torch.tensor(y))
    (model,) = solve([moments], [0.1], range(1), 1)
    z = (x - x.mean(0)) / x.std(0)
    # eigenvalues of the standardised sum of products have mean n
    reference = Ridge(alpha=0.1 * 300).fit(z, y)
    assert model.weights[:, :, 0].numpy() == pytest.approx(reference.coef_, abs=1e-5)
    predicted = model.predict(torch.tensor(x.T[None], dtype=torch.float32))[0].T.numpy()
    assert predicted == pytest.approx(reference.predict(z), abs=1e-4)


def test_the_score_with_one_dimension_is_pearson_r() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 1, 50)), rng.normal(size=(3, 1, 50))
    scores = window_correlation(torch.tensor(a), torch.tensor(b), torch.full((1,), 7.0, dtype=torch.float64))
    assert scores.numpy() == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[:4, 4:], abs=1e-9)


def test_a_silent_candidate_scores_zero_and_not_nan() -> None:
    scores = window_correlation(torch.randn(2, 3, 20), torch.full((1, 3, 20), 0.7), torch.ones(3))
    assert scores.tolist() == [[0.0], [0.0]]


def test_sets_of_features_solved_together_get_what_each_gets_alone() -> None:
    rng = np.random.default_rng(5)
    xs = [torch.tensor(rng.normal(size=(60, 40)), dtype=torch.float32) for _ in range(3)]
    noise = [torch.tensor(rng.normal(size=(60, 4)) * [0.1, 0.1, 9.0, 9.0], dtype=torch.float32) for _ in xs]
    targets = [x[:, [0, 1, 0, 1]] + n for x, n in zip(xs, noise)]

    def parts(columns: slice) -> list[Moments]:
        result = []
        for x, y in zip(xs, targets):
            result.append(Moments.empty(40, y[:, columns].shape[1]))
            result[-1].add(x, y[:, columns])
        return result

    together = solve(parts(slice(0, 4)), PENALTIES, range(1), 1, sets=2)
    alone = [solve(parts(slice(2 * k, 2 * k + 2)), PENALTIES, range(1), 1)[0] for k in range(2)]
    assert together[0].penalty != together[1].penalty
    for both, one in zip(together, alone):
        assert both.penalty == one.penalty
        assert both.inner == pytest.approx(one.inner, abs=1e-9)
        assert torch.allclose(both.weights, one.weights, atol=1e-6)
        assert torch.equal(both.intercept, one.intercept)


def test_more_noise_asks_for_more_penalty() -> None:
    chosen = []
    for noise in (0.1, 30.0):
        rng = np.random.default_rng(2)
        parts = []
        for _ in range(4):
            x = rng.normal(size=(80, 40)).astype(np.float32)
            y = x[:, :1] + noise * rng.normal(size=(80, 1)).astype(np.float32)
            parts.append(Moments.empty(40, 1))
            parts[-1].add(torch.tensor(x), torch.tensor(y))
        chosen.append(solve(parts, PENALTIES, range(1), 1)[0].penalty)
    assert chosen[0] < chosen[1]


def test_a_penalty_at_the_edge_of_the_grid_is_told() -> None:
    rng = np.random.default_rng(3)
    parts = []
    for _ in range(3):
        x = rng.normal(size=(50, 5)).astype(np.float32)
        parts.append(Moments.empty(5, 1))
        parts[-1].add(torch.tensor(x), torch.tensor(x[:, :1]))
    assert solve(parts, [10.0, 100.0], range(1), 1)[0].at_edge
    assert not solve(parts, [10.0], range(1), 1)[0].at_edge


def test_choosing_a_penalty_needs_two_parts() -> None:
    part = Moments.empty(2, 1)
    part.add(torch.randn(20, 2), torch.randn(20, 1))
    with pytest.raises(NeurodecodeError, match="1 part"):
        solve([part], PENALTIES, range(1), 1)


def test_scoring_the_validation_split_the_ridge_reads_training_windows_only() -> None:
    source, index = toy_source(noise=1.0)
    with rows_read() as read:
        fit_ridges(source, RidgeSettings(), split="valid", turned=(None, 1))
    assert set(np.concatenate(read)) <= set(index.rows("train"))


@pytest.mark.parametrize("rule", ["content", "leave-one-run-out"])
@pytest.mark.parametrize("shift", [0.0, 0.15])
def test_a_planted_linear_response_is_solved(rule: str, shift: float) -> None:
    ranking, mean_r = ranking_of(*toy_source(noise=1.0, rule=rule, shift=shift))
    metrics = retrieval_metrics(ranking)
    assert metrics["top1"]["value"] > 0.7 > 10 * metrics["top1"]["chance"]
    assert mean_r > 0.6


def test_without_a_response_the_ridge_is_at_chance() -> None:
    """The 77 segments overlap, so one cohort alone lies 0.04 about chance: six of them lie 0.017 about it."""
    found = [ranking_of(*toy_source(noise=1e6, seed=seed)) for seed in range(6)]
    values = [retrieval_metrics(ranking)["match_mismatch"]["value"] for ranking, _ in found]
    assert 0.44 < np.mean(values) < 0.56
    assert abs(np.mean([mean_r for _, mean_r in found])) < 0.03


def test_with_features_turned_in_time_the_ridge_is_at_chance_on_average_over_turns() -> None:
    """A strong response of three dimensions through wrong weights is a random mixture: right by luck, or wrong by it.

    A cohort of four short stimuli has few different turns, so several cohorts are averaged.
    """
    values, mean_r = [], []
    for seed in range(6):
        source, index = toy_source(noise=3.0, seed=seed)
        for ridge in fit_ridges(source, RidgeSettings(), turned=range(8)):
            ranking, r = ranking_of(source, index, ridge)
            values.append(retrieval_metrics(ranking)["match_mismatch"]["value"])
            mean_r.append(r)
    assert np.std(values) > 0.1  # one turn alone says nothing
    assert 0.4 < np.mean(values) < 0.6
    assert abs(np.mean(mean_r)) < 0.1


def test_the_ridge_never_reads_a_test_window() -> None:
    """Signal and features of every test window become NaN: the fitted weights stay what they were."""
    source, index = toy_source(noise=1.0)
    before = fit_ridge(source, RidgeSettings())
    for row in index.rows("test"):
        start, recording = index.table["start"][row], index.recordings[index.table["recording"][row]]
        recording.signal[:, start : start + index.n_times] = np.nan
    with rows_read() as read:
        after = fit_ridge(source, RidgeSettings())
    assert set(np.concatenate(read)) <= set(index.rows("train")) | set(index.rows("valid"))
    for subject, model in before.models.items():
        assert torch.equal(model.weights, after.models[subject].weights)
        assert torch.isfinite(model.weights).all()


def test_each_moment_of_a_recording_is_counted_once() -> None:
    recording = np.array([0, 0, 0, 1])
    start = np.array([0, 4, 40, 0])
    fresh = _fresh_bins(recording, start, bins=10, step=1, inside=slice(1, 9))
    assert fresh[0].nonzero()[0].tolist() == list(range(1, 9))  # samples 1..8
    assert fresh[1].nonzero()[0].tolist() == [5, 6, 7, 8]  # samples 9..12: 5..8 were there
    assert fresh[2].sum() == fresh[3].sum() == 8


def test_parts_for_the_penalty_share_no_block_and_no_run() -> None:
    for rule, unit in (("content", "block"), ("leave-one-run-out", "run")):
        source, index = toy_source(noise=1.0, rule=rule)
        rows = np.sort(np.concatenate([index.rows("train"), index.rows("valid")]))
        group = inner_groups(source, rows, 5)
        units = index.table[unit].to_numpy()[rows]
        assert 2 <= group.max() + 1 <= 5
        for name in np.unique(units):
            assert len(np.unique(group[units == name])) == 1


def test_one_model_for_the_cohort_serves_all_subjects() -> None:
    source, _ = toy_source(noise=1.0)
    ridge = fit_ridge(source, RidgeSettings(scope="cohort"))
    assert list(ridge.models) == [-1]


def test_lags_longer_than_the_window_are_refused() -> None:
    source, _ = toy_source(noise=1.0)
    with pytest.raises(NeurodecodeError, match="do not fit into a window of 2.85 s"):
        fit_ridge(source, RidgeSettings(lags=(0.0, 4.0)))
