"""Figures by hand: accuracy of each kind, area, top five, cross-entropy, and intervals over people and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from neurodecode.config.baselines import BandPowerSettings
from neurodecode.evaluation.classification.figures import (
    Answers,
    chance,
    figures,
    pooled_area,
    summarise,
    summarise_chance,
)
from neurodecode.evaluation.classification.linear import band_power, inner_folds


def answers(n: int, n_classes: int, seed: int = 0, people: int = 1, folds: int = 1) -> Answers:
    rng = np.random.default_rng(seed)
    identity = rng.integers(n_classes, size=n)
    scores = rng.standard_normal((n, n_classes)) + 1.2 * np.eye(n_classes)[identity]
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    person = np.array([str(k % people) for k in range(n)], object)
    fold = np.array([f"fold-{k % folds}" for k in range(n)], object)
    return Answers(scores, identity, person, fold, True)


def test_figures_agree_with_scikit_learn() -> None:
    two, seven = answers(300, 2), answers(300, 7)
    for given in (two, seven):
        found, answer = figures(given), given.scores.argmax(1)
        assert found["accuracy"] == (answer == given.identity).mean()
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(given.identity, answer))
        assert found["macro_f1"] == pytest.approx(f1_score(given.identity, answer, average="macro"))
        assert found["cross_entropy"] == pytest.approx(log_loss(given.identity, np.exp(given.scores)), abs=1e-3)
    assert figures(two)["auc"] == pytest.approx(roc_auc_score(two.identity, two.scores[:, 1] - two.scores[:, 0]))
    assert np.isnan(figures(two)["top5"])
    assert np.isnan(figures(seven)["auc"])
    top = np.argsort(-seven.scores, 1)[:, :5]
    assert figures(seven)["top5"] == pytest.approx((top == seven.identity[:, None]).any(1).mean())


def test_scores_of_different_folds_are_not_compared_and_ties_count_half() -> None:
    given = answers(400, 2, folds=2)
    before = figures(given)["auc"]
    shift = np.where(given.fold == "fold-0", 100.0, 0.0)
    given.scores = given.scores + np.stack([0 * shift, shift], 1)
    assert figures(given)["auc"] == pytest.approx(before)
    given.scores = np.zeros((400, 2))
    assert figures(given)["auc"] == 0.5


def test_unknown_labels_are_wrong_and_have_no_cross_entropy_and_scores_are_no_probabilities() -> None:
    given = answers(100, 3)
    all_known = figures(given)
    given.identity[:20] = -1
    found = figures(given)
    assert found["accuracy"] < all_known["accuracy"]
    assert np.isfinite(found["cross_entropy"])
    given.probabilities = False
    assert np.isnan(figures(given)["cross_entropy"])


def test_a_label_that_was_called_impossible_costs_much_but_not_infinity() -> None:
    scores = np.array([[0.0, -np.inf], [np.log(0.5), np.log(0.5)]])
    given = Answers(scores, np.array([1, 0]), np.array(["a", "a"]), np.array(["f", "f"]), True)
    assert figures(given)["cross_entropy"] == pytest.approx((-np.log(5e-5) - np.log(0.5)) / 2, abs=1e-3)


def test_chance_is_what_random_answers_get() -> None:
    given = answers(20_000, 8)
    given.scores = np.random.default_rng(1).standard_normal(given.scores.shape)
    expected, found = chance(given), figures(given)
    for figure in ("accuracy", "balanced_accuracy", "top5", "macro_f1"):
        assert found[figure] == pytest.approx(expected[figure], abs=0.01)
    assert expected["cross_entropy"] == np.log(8)
    assert summarise_chance(given)["metrics"]["top5"]["value"] == 5 / 8


def test_a_figure_is_the_mean_over_people_and_its_interval_resamples_them() -> None:
    seeds = [answers(300, 3, seed, people=5) for seed in (0, 1, 2)]
    for later in seeds[1:]:
        later.identity = seeds[0].identity
    found = summarise(seeds, repeats=500)
    each = [[figures(a.of(str(p)))["accuracy"] for p in range(5)] for a in seeds]
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(np.mean(each))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["seed_deviation"] == pytest.approx(np.std(np.mean(each, 1), ddof=1))
    own = found["subjects"][2]["metrics"]["accuracy"]
    half = 4.302653 * np.std(np.array(each)[:, 2], ddof=1) / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (own["value"], own["high"] - own["value"]) == (
        pytest.approx(np.mean(each, 0)[2]),
        pytest.approx(half, rel=1e-5),
    )
    assert np.sum(found["confusion"]) == pytest.approx(300)
    alone = summarise(seeds[:1], repeats=10)
    assert alone["subjects"][0]["metrics"]["accuracy"]["low"] is None


def test_pooled_area_compares_people_with_each_other_and_the_mean_of_their_own_does_not() -> None:
    given = answers(300, 2, people=5)
    margin = given.scores[:, 1] - given.scores[:, 0]
    found = summarise([given], repeats=400, pooled=True)["metrics"]
    assert found["pooled_auc"]["value"] == pytest.approx(roc_auc_score(given.identity, margin))
    assert found["pooled_auc"]["low"] < found["pooled_auc"]["value"] < found["pooled_auc"]["high"]
    given.scores[given.person == "3", 1] += 5.0  # someone whose scores are all high
    moved = summarise([given], repeats=400, pooled=True)["metrics"]
    assert moved["auc"]["value"] == pytest.approx(found["auc"]["value"])
    assert moved["pooled_auc"]["value"] < found["pooled_auc"]["value"] - 0.05
    margin = given.scores[:, 1] - given.scores[:, 0]
    brute = []
    for draw in np.random.default_rng(0).integers(5, size=(100, 5)):
        rows = np.concatenate([np.flatnonzero(given.person == str(k)) for k in draw])
        brute.append(roc_auc_score(given.identity[rows], margin[rows]))
    area = pooled_area([given], 100)
    assert area is not None
    assert [area["low"], area["high"]] == pytest.approx(np.quantile(brute, [0.025, 0.975]))
    given.scores[:] = 0
    assert summarise([given], repeats=10, pooled=True)["metrics"]["pooled_auc"]["value"] == 0.5
    assert pooled_area([given.of("3")], 10) is None
    assert pooled_area([answers(50, 3, people=5)], 10) is None
    assert np.isnan(summarise([given], repeats=10)["metrics"]["pooled_auc"]["value"])  # a model each: not compared
    assert summarise_chance(given, pooled=True)["metrics"]["pooled_auc"]["value"] == 0.5


def test_band_power_of_a_sine_lies_in_its_band_and_bin() -> None:
    times = torch.arange(200) / 100
    sine = torch.sin(2 * torch.pi * 10 * times)
    signal = torch.stack([sine * (times >= 1), torch.zeros(200)])[None]  # second channel flat
    powers = band_power(signal, 100.0, BandPowerSettings(bands=((1, 4), (8, 13), (60, 90)), bins=2)).reshape(2, 2, 2)
    assert powers[0, 1, 1] - powers[0, 0, 1] > 15  # channel 0: the second bin, the second band
    assert powers[0, 1, 1] - powers[0, 1, 0] > 5
    np.testing.assert_allclose(powers[1], np.log(1e-10))


def test_inner_folds_keep_groups_whole_and_no_label_is_lost() -> None:
    groups = np.repeat([0, 1, 2, 3], 5)
    y = np.tile([0, 1, 0, 1, 0], 4)
    folds = inner_folds(groups, y, 3, "ridge", "penalty")
    assert len(folds) == 3
    for train, out in folds:
        assert not set(groups[train]) & set(groups[out])
        assert len(train) + len(out) == 20
    y[groups == 3] = 2  # only group 3 has label 2: it cannot be held out
    assert all(3 not in groups[out] for _, out in inner_folds(groups, y, 4, "ridge", "penalty"))
