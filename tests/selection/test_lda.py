"""Discriminants of many channels at once are those of scikit-learn, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from neurodecode.selection import lda


def data(n: int, d: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 4, n) * 2 + 1  # numbers that are no places
    mixing = rng.standard_normal((channels, d, d))
    return rng.standard_normal((channels, n, d)) @ mixing + 0.7 * y[:, None] * rng.standard_normal((channels, 1, d)), y


@pytest.mark.parametrize(("n", "d"), [(300, 6), (40, 90)])
def test_answers_are_those_of_the_pooled_covariance_shrunk_as_scikit_learn_shrinks_it(n: int, d: int) -> None:
    x, y = data(n, d)
    train, asked = slice(0, n - 15), slice(n - 15, n)
    model = lda.fit(x[:, train], y[train])
    for channel in range(len(x)):
        means = np.stack([x[channel, train][y[train] == label].mean(0) for label in model.classes])
        within = x[channel, train] - means[np.searchsorted(model.classes, y[train])]
        covariance, _ = ledoit_wolf(within, assume_centered=True)
        solved = np.linalg.solve(covariance, means.T)
        np.testing.assert_allclose(model.weights[channel], solved, rtol=1e-6, atol=1e-9)
        scores = x[channel, asked] @ solved - 0.5 * np.sum(means.T * solved, axis=0)
        assert (model.answers(x[:, asked])[channel] == model.classes[scores.argmax(1)]).all()


def test_with_many_windows_it_is_the_plain_discriminant() -> None:
    x, y = data(4000, 5)
    plain = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.25] * 4).fit(x[0], y)
    assert (lda.fit(x, y).answers(x)[0] == plain.predict(x[0])).mean() > 0.995


def test_balanced_accuracy_weighs_labels_not_windows() -> None:
    y = np.array([0, 0, 0, 1])
    assert lda.balanced_accuracy(np.array([[0, 0, 0, 0], [0, 0, 1, 1]]), y).tolist() == [0.5, pytest.approx(5 / 6)]


def test_a_feature_without_any_spread_does_no_harm() -> None:
    x, y = data(200, 4)
    still = np.concatenate([x, np.zeros((3, 200, 2))], axis=2)
    assert np.isfinite(lda.fit(still, y).weights).all()
    assert np.isfinite(lda.fit(np.zeros((1, 200, 3)), y).weights).all()


def test_with_one_window_of_each_label_the_nearest_mean_answers_and_nothing_overflows() -> None:
    x = np.array([[[0, 0], [3, 0], [0, 40]]], np.float32)
    with np.errstate(all="raise"):
        model = lda.fit(x, np.array([4, 5, 9]))
        new = np.array([[[1, 1], [2, 1], [5, 30], [0.4, 0.1]]], np.float32)
        assert model.answers(new).tolist() == [[4, 5, 9, 4]]
    assert np.abs(model.weights).max() == 40
