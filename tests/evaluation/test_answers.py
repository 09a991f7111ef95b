"""Classifiers side by side: paired over the windows both answered, averaged over seeds, refused when not asked the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurodecode.cli import main
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.side_by_side.answers import compare_answers, read_answers, runs_below
from neurodecode.evaluation.side_by_side.comparison import compare_any, comparison_table
from neurodecode.evaluation.side_by_side.summary import (
    over_seeds,
    over_subjects,
    subjects_table,
    summarise,
    summary_table,
)
from neurodecode.files import write_json
from neurodecode.training.classification import figures

LABELS = ("ba", "da", "ga", "ka")


def write(run: Path, right: np.ndarray, *, subjects=("1",), seed: int = 1, start: str | None = None, **more) -> Path:
    """A finished classifier that answered each window rightly or wrongly; windows are dealt to the subjects in turn."""
    n = len(right)
    label = np.array([LABELS[k % 4] for k in range(n)])
    answer = np.where(right, label, np.array([LABELS[(k + 1) % 4] for k in range(n)]))
    subject = np.array([subjects[k % len(subjects)] for k in range(n)])
    table = pd.DataFrame(
        {
            "fold": "fold-0",
            "recording": [f"sub-{s}_run-3" for s in subject],
            "start": 100 * np.arange(n) + more.get("late", 0),
            "subject": subject,
            "label": label,
            "answer": answer,
            "majority_answer": "ba",
            "classes": 4,
            "right": right,
            "top5": True,
            "loss": np.where(right, 0.1, 2.0),
            "majority_right": label == "ba",
            "majority_top5": True,
            "majority_loss": 1.4,
        }
    )
    (run / "evaluation").mkdir(parents=True)
    table.to_csv(run / "evaluation" / "test_answers.csv.gz", index=False)
    sizes = {"sfreq": 100, "n_times": more.get("n_times", 60)}
    settings = {"task": "classify", "seed": seed}
    write_json(run / "run.json", {"schema": 1, "finished": True, "settings": settings, "sizes": sizes})
    entries = [{"subject": s, "metrics": figures(rows)} for s, rows in table.groupby("subject")]
    result = {
        "kind": "classification",
        "name": run.name,
        "simulated": True,
        "split": {"rule": "run"},
        "start_from": start and {"task": start},
        "n_classes": 4,
        "subjects": entries,
    }
    write_json(run / "evaluation" / "test.json", result)
    return run


def pattern(n: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < share


def test_two_runs_of_one_subject_are_compared_by_mcnemar_and_over_windows(tmp_path: Path) -> None:
    first, second = pattern(200, 0.4, 0), pattern(200, 0.7, 1)
    a, b = write(tmp_path / "a", first), write(tmp_path / "b", second)
    found = compare_answers([a], [b])
    assert found["difference"] == pytest.approx(second.mean() - first.mean())
    assert found["low"] < found["difference"] < found["high"]
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    assert (found["exact"]["only_first"], found["exact"]["only_second"]) == (only_first, only_second)
    assert found["exact"]["p"] == pytest.approx(
        min(1, 2 * stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5))
    )
    assert (found["over"], found["wilcoxon_p"], found["chance"]) == ("windows", None, 0.25)
    same = compare_answers([a], [a])
    assert (same["difference"], same["exact"]["p"]) == (0, 1)
    loss = compare_answers([a], [b], "cross_entropy")
    assert loss["difference"] == pytest.approx(1.9 * (first.mean() - second.mean()))
    assert loss["exact"] is None


def test_seeds_are_averaged_and_six_subjects_give_a_signed_rank_test(tmp_path: Path) -> None:
    people = tuple("123456")
    for label, share in (("weak", 0.3), ("strong", 0.6)):
        for seed in (1, 2, 3):
            right = pattern(600, share, seed + int(100 * share))
            write(tmp_path / label / f"seed-{seed}", right, subjects=people, seed=seed)
    weak, strong = runs_below(tmp_path / "weak"), runs_below(tmp_path / "strong")
    assert [run.name for run in weak] == ["seed-1", "seed-2", "seed-3"]
    table, facts = read_answers(weak)
    assert (len(table), facts["n_runs"], set(table["answered"])) == (600, 3, {3})
    assert set(np.round(3 * table["right"])) <= {0, 1, 2, 3}
    found = compare_answers(weak, strong)
    assert (found["over"], found["n_subjects"], found["exact"]) == ("subjects", 6, None)
    assert found["wilcoxon_p"] == pytest.approx(2 / 2**6)
    assert 0.2 < found["low"] < found["difference"] < found["high"] < 0.4
    title, _, rows, notes = comparison_table(compare_any([tmp_path / "weak", tmp_path / "strong"]))
    assert "the same 600 windows" in title
    assert rows[2][2].startswith("+0.")
    assert any("Runs behind the two sides: 3 and 3" in note for note in notes)


def test_what_was_asked_otherwise_is_not_compared(tmp_path: Path) -> None:
    right = pattern(40, 0.5, 0)
    a = write(tmp_path / "a", right)
    for name, more, message in (
        ("fewer", {}, "40 windows against 39"),
        ("later", {"late": 7}, "first that only the first answered"),
        ("longer", {"n_times": 80}, "windows of 0.6 s against 0.8 s"),
    ):
        other = write(tmp_path / name, right[:-1] if name == "fewer" else right, **more)
        with pytest.raises(NeurodecodeError, match=message) as error:
            compare_answers([a], [other])
        assert "\n" not in str(error.value)
    with pytest.raises(NeurodecodeError, match="use accuracy, top5, cross_entropy"):
        compare_answers([a], [a], "mrr")
    with pytest.raises(NeurodecodeError, match="no such folder"):
        compare_any([a, tmp_path / "absent"])


def test_a_mean_over_seeds_has_students_interval_and_a_mean_over_subjects_a_standard_error() -> None:
    rows = [{"value": v, "chance": 0.1, "majority": 0.2} for v in (0.4, 0.5, 0.6)]
    found = over_seeds(rows)
    assert (found["value"], found["sd"], found["n_seeds"]) == (pytest.approx(0.5), pytest.approx(0.1), 3)
    assert found["high"] - found["value"] == pytest.approx(4.302653 * 0.1 / np.sqrt(3))
    assert over_seeds(rows[:1])["low"] is None
    apart = [{"value": v, "chance": 0.1, "majority": 0.2} for v in (0.1, 0.9)]
    assert (over_seeds(apart)["low"], over_seeds(apart)["high"]) == (0, 1)  # no share lies outside
    assert over_seeds(apart, share=False)["high"] > 1
    assert over_subjects(rows)["se"] == pytest.approx(0.1 / np.sqrt(3))
    assert over_subjects(rows[:1])["se"] is None


def test_several_labels_stand_in_one_table_and_each_is_compared_with_the_one_from_scratch(
    tmp_path: Path, capsys
) -> None:
    for label, share, start in (("tuned", 0.8, "masked"), ("plain", 0.5, None), ("codes", 0.6, "tokenizer")):
        for person in ("2", "10"):
            for seed in (1, 2):
                right = pattern(80, share, seed + 10 * int(person))
                write(
                    tmp_path / label / f"sub-{person}" / f"seed-{seed}",
                    right,
                    subjects=(person,),
                    seed=seed,
                    start=start,
                )
    write(tmp_path / "tuned" / "sub-2" / "seed-1.before-1", pattern(80, 0, 0), subjects=("2",))
    folders = [tmp_path / label for label in ("tuned", "plain", "codes")]
    summary = summarise(
        "three", folders, {"tuned": {"source": "a book", "cohort": "99 ± 1", "subjects": {"2": "98 ± 2"}}}
    )
    assert summary["subjects"] == ["2", "10"]
    assert len(summary["labels"]["tuned"]["runs"]) == 4
    assert [(c["base"], c["label"]) for c in summary["comparisons"]] == [("plain", "tuned"), ("plain", "codes")]
    assert summary["comparisons"][0]["difference"] > 0.1
    _, columns, rows, notes = summary_table(summary)
    assert columns[1:3] == ["accuracy, %", "published, %"]
    assert [row[0] for row in rows] == ["tuned", "plain", "codes", "majority", "chance"]
    assert (rows[0][2], rows[1][2], rows[-1][1]) == ("99 ± 1", "-", "25.0")
    assert any(note.startswith("Published, not measured here: a book") for note in notes)
    assert any(note.startswith("tuned - plain: +") for note in notes)
    _, heads, people = subjects_table(summary)
    assert heads == ["subject", "tuned", "tuned, published", "plain", "codes", "chance"]
    assert [row[2] for row in people] == ["98 ± 2", "-"]
    for arguments, said in ((folders, "standard error over subjects"), (folders[:2], "second - first")):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *map(str, arguments)])
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
