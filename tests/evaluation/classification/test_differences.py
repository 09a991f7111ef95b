"""Rows against a reference row: differences, intervals and p-values by hand, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neurodecode.errors import SettingsError
from neurodecode.evaluation.classification.differences import compare_rows, holm
from neurodecode.evaluation.classification.table import _joined
from neurodecode.evaluation.classification.tables import baselines_table
from neurodecode.segments.labels import build_labels
from tests.evaluation.classification.cohorts import BANDS, cohort, noise, people_held_out, settings
from tests.evaluation.classification.test_table import LDA, RIDGE, row, run, value


def made_row(name: str, values: list[float], figure: str = "auc") -> dict:
    subjects = [{"subject": str(k), "metrics": {figure: {"value": v}}} for k, v in enumerate(values)]
    return {"name": name, "method": name, "scaling": "training", "subjects": subjects}


def compared(rows: list[dict], right: dict | None = None, people: int = 8, figure: str = "auc") -> dict:
    person = np.repeat(
        [str(k) for k in range(people)], 10 if right is None else len(next(iter(right.values()))) // people
    )
    return compare_rows(rows, right or {}, person, reference="lda", figure=figure, repeats=500)


def test_holm_is_the_step_down_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


def test_eight_people_have_a_signed_rank_test_of_their_figures_and_an_interval_of_their_mean() -> None:
    lda = np.array([0.6, 0.55, 0.7, 0.52, 0.64, 0.58, 0.61, 0.66])
    better, other = (
        lda + [0.1, 0.2, 0.05, 0.15, 0.01, 0.12, 0.03, 0.08],
        lda + [0.1, -0.1, 0.02, -0.3, 0.2, -0.2, 0.3, -0.04],
    )
    rows = [made_row("lda", [*lda]), made_row("better", [*better]), made_row("other", [*other])]
    found = compared(rows)
    assert (found["test"], found["over"], found["n_people"]) == ("wilcoxon", "people", 8)
    first, second = found["rows"]
    assert first["row"] == "better"
    assert first["difference"] == pytest.approx((better - lda).mean())
    assert first["low"] < first["difference"] < first["high"]
    assert first["low"] > 0 > second["low"]
    assert first["p"] == pytest.approx(2 / 2**8)
    assert first["p_holm"] == pytest.approx(4 / 2**8)
    assert second["p"] == pytest.approx(stats.wilcoxon(other - lda).pvalue)
    assert second["p_holm"] == pytest.approx(second["p"])
    assert (first["better"], first["worse"], second["better"], second["worse"]) == (8, 0, 4, 4)


def test_less_cross_entropy_is_better_and_a_person_without_the_figure_is_left_out() -> None:
    rows = [made_row("lda", [1.0] * 7, "cross_entropy"), made_row("less", [0.5] * 6 + [float("nan")], "cross_entropy")]
    entry = compared(rows, people=7, figure="cross_entropy")["rows"][0]
    assert (entry["difference"], entry["better"], entry["worse"], entry["n"]) == (-0.5, 6, 0, 6)
    assert entry["p"] == pytest.approx(2 / 2**6)


def test_few_people_are_tested_over_windows_that_only_one_row_has_right() -> None:
    lda, it = np.zeros(40), np.zeros(40)
    lda[:10], it[2:20] = 1, 1  # two only the first, ten only the second
    rows = [made_row("lda", [0.25] * 2, "accuracy"), made_row("it", [0.45] * 2, "accuracy")]
    found = compared(rows, {"lda": lda, "it": it}, people=2, figure="accuracy")
    entry = found["rows"][0]
    assert (found["test"], found["over"]) == ("sign", "people")
    assert (entry["better"], entry["worse"], entry["n"]) == (10, 2, 40)
    assert entry["p"] == pytest.approx(2 * stats.binom.cdf(2, 12, 0.5))


def test_one_person_has_an_interval_over_windows_of_accuracy_alone() -> None:
    lda, it = np.zeros(40), np.zeros(40)
    it[:20] = 1
    rows = [made_row("lda", [0.0], "accuracy"), made_row("it", [0.5], "accuracy")]
    found = compared(rows, {"lda": lda, "it": it}, people=1, figure="accuracy")
    assert found["over"] == "windows"
    assert found["rows"][0]["low"] == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(40), abs=0.03)
    rows = [made_row("lda", [0.4]), made_row("it", [0.5])]
    entry = compared(rows, {"lda": lda, "it": it}, people=1)["rows"][0]
    assert (entry["difference"], entry["low"]) == (pytest.approx(0.1), None)


def test_the_table_holds_the_paired_difference_of_each_method(tmp_path) -> None:
    poor = {"kind": "lda", "power": BANDS | {"bands": [[30, 45]]}}
    result = run(cohort(people=2), tmp_path / "out", {"lda": LDA, "poor": poor, "ridge": RIDGE}, reference="poor")
    comparison = result["comparison"]
    assert [entry["row"] for entry in comparison["rows"]] == ["lda", "ridge"]
    assert comparison["figure"] == "accuracy"
    entry = comparison["rows"][0]
    assert entry["difference"] == pytest.approx(value(result, "lda") - value(result, "poor"))
    assert entry["difference"] > 0.3
    # windows that only one has right, counted from confusions: their difference is that of the right ones
    right = [np.trace(np.array(row(result, name)["confusion"])) for name in ("lda", "poor")]
    assert entry["better"] - entry["worse"] == right[0] - right[1]
    assert entry["p_holm"] < 0.01
    _, columns, rows, notes = baselines_table(result)
    assert columns[-2:] == ["accuracy - poor", "p (Holm)"]
    assert [r[-2] for r in rows[:2]] == ["-", "-"]
    assert rows[3][-2] == "reference"
    assert rows[2][-2].startswith(f"{entry['difference']:+.3f} [")
    assert any("2 people are too few" in note for note in notes)


def test_rows_are_paired_window_by_window(tmp_path) -> None:
    store = noise(people=3)
    result = run(store, tmp_path / "out", {"a": {"kind": "lda", "power": BANDS}}, reference="majority")
    fold = build_labels(store, settings({}).labels).fold("fold-0")  # type: ignore[arg-type]
    table, better, worse = fold.table, 0, 0
    for number, person in enumerate(fold.subjects):
        mine = table[(table["subject"] == number) & (table["split"] == "train")]["identity"]
        usual = np.bincount(mine, minlength=4).argmax()
        answers = np.load(tmp_path / "out" / "answers" / "a.training" / f"{person}.fold-0.seed-0.npz")
        truth = table["identity"].to_numpy()[answers["rows"]]
        a, majority = answers["scores"].argmax(1) == truth, truth == usual
        better, worse = better + int((a & ~majority).sum()), worse + int((majority & ~a).sum())
    entry = result["comparison"]["rows"][0]
    assert (entry["better"], entry["worse"], entry["n"]) == (better, worse, 96)


def test_answers_given_person_by_person_stand_in_the_order_of_windows() -> None:
    fold = build_labels(noise(people=2), settings({}).labels).fold("fold-0")  # type: ignore[arg-type]
    rows = fold.rows("test")
    scores = np.arange(4.0 * len(rows)).reshape(-1, 4)
    parts = [{"rows": rows[k], "scores": scores[k], "fold": "fold-0"} for k in (slice(40, None), slice(0, 40))]
    found = _joined(parts, {"fold-0": fold}, probabilities=True)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.identity, fold.table["identity"].to_numpy()[rows])


def test_six_people_held_out_are_tested_over_people_and_the_note_says_what_can_be_reached(tmp_path) -> None:
    store = cohort(people=6, trials=8, runs=(1, 2))
    poor = {"kind": "lda", "power": BANDS | {"bands": [[30, 45]]}}
    changes = {"labels": people_held_out(), "reference": "lda.person", "scaling": ["training", "person"]}
    result = run(store, tmp_path / "out", {"lda": LDA, "poor": poor}, **changes)
    assert [entry["row"] for entry in result["comparison"]["rows"]] == ["lda.training", "poor.training", "poor.person"]
    entry = result["comparison"]["rows"][2]
    assert (entry["worse"], entry["n"]) == (6, 6)
    assert entry["p"] == pytest.approx(0.03125)
    assert result["comparison"]["rows"][0]["p"] == 1.0  # both are always right
    note = next(n for n in baselines_table(result)[3] if n.startswith("p: "))
    assert "0.031, corrected 0.094 for the first of 3" in note


def test_a_reference_that_is_no_row_is_refused() -> None:
    with pytest.raises(SettingsError, match="reference is ridge: the rows are chance, majority, lda$"):
        settings({"lda": LDA}, reference="ridge")
    with pytest.raises(SettingsError, match=r"the rows are chance, majority, lda\.training, lda\.person"):
        settings({"lda": LDA}, reference="lda", scaling=["training", "person"], labels=people_held_out())
