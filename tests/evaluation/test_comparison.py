"""Two runs are compared on the same queries only, in pairs, and what cannot be compared is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from neurodecode.cli import main
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.ranks import ranks_path
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.side_by_side.comparison import compare_runs, comparison_table
from neurodecode.files import write_json
from tests.evaluation.runs import FAST, toy_folds, toy_run

SUBJECTS, EACH, POOL = 8, 25, 40


def queries() -> pd.DataFrame:
    """Eight subjects hear the same 25 segments of a pool of 40."""
    subject = np.repeat(np.arange(SUBJECTS), EACH)
    segment = np.tile(np.arange(EACH), SUBJECTS)
    return pd.DataFrame(
        {
            "subject": [f"s{i}" for i in subject],
            "recording": [f"sub-s{i}" for i in subject],
            "run": "1",
            "stimulus": "story",
            "time": segment * 2.0,
            "start": 5 + segment * 2.0,
            "word": [f"word{k}" for k in segment],
            "label": [f"word{k} and more" for k in segment],
            "fold": "fold-0",
            "identity": segment,
            "unit": segment,
            "pool": POOL,
            "tied": 1,
        }
    )


def written(run: Path, better: np.ndarray, table: pd.DataFrame | None = None, **result: Any) -> Path:
    """What an evaluation leaves, as far as a comparison reads it."""
    path = ranks_path(run, "test")
    path.parent.mkdir(parents=True)
    (queries() if table is None else table).assign(better=better).to_csv(path, index=False)
    about = {"name": run.name, "window_seconds": 3.0, "n_candidates": POOL, "simulated": False}
    write_json(run / "evaluation" / "test.json", about | result)
    return run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Subjects differ much, the second run is a few ranks better for each of them."""
    rng = np.random.default_rng(0)
    second = np.repeat(rng.integers(0, 20, SUBJECTS), EACH) + rng.integers(0, 5, SUBJECTS * EACH)
    shift = np.repeat([4, 3, 5, 4, 2, 6, 4, 1], EACH)
    first = np.clip(second + shift, 0, POOL - 1)
    return written(tmp_path / "one", first), written(tmp_path / "two", second), first, second


def test_the_difference_is_the_plain_mean_over_queries_and_p_is_wilcoxons(
    pair: tuple[Path, Path, np.ndarray, np.ndarray],
) -> None:
    one, two, first, second = pair
    result = compare_runs(one, two, metric="mrr")
    expected = 1 / (second + 1) - 1 / (first + 1)
    assert result["difference"] == pytest.approx(expected.mean())
    assert result["second"]["value"] - result["first"]["value"] == pytest.approx(result["difference"])
    means = expected.reshape(SUBJECTS, EACH).mean(1)
    assert result["wilcoxon_p"] == pytest.approx(wilcoxon(means).pvalue)
    assert result["wilcoxon_p"] < 0.05
    assert 0 < result["low"] < result["difference"] < result["high"]
    assert (result["over"], result["n_subjects"], result["n_queries"]) == ("subjects", SUBJECTS, SUBJECTS * EACH)
    back = compare_runs(two, one, metric="mrr")
    assert (back["difference"], back["low"]) == (-result["difference"], pytest.approx(-result["high"], abs=0.01))


def test_a_run_against_itself_differs_by_nothing(pair: tuple[Path, Path, np.ndarray, np.ndarray]) -> None:
    result = compare_runs(pair[0], pair[0])
    assert (result["difference"], result["low"], result["high"], result["wilcoxon_p"]) == (0, 0, 0, None)
    assert any("do not tell the runs apart" in note for note in comparison_table(result)[3])


def test_the_order_of_rows_does_not_matter_and_small_shifts_of_clocks_neither(
    pair: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    one, two, _, second = pair
    order = np.random.default_rng(1).permutation(len(second))
    table = queries().assign(start=lambda t: t["start"] + 0.012, identity=lambda t: 1000 - t["identity"])
    other = written(tmp_path / "three", second[order], table.iloc[order])
    assert compare_runs(one, other)["difference"] == compare_runs(one, two)["difference"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": lambda t: t["time"] + 0.03}, "200 of 200 windows differ in time"),
        ({"start": lambda t: np.where(t.index == 3, 11.5, t["start"])}, "1 of 200 windows differ in start"),
        ({"word": lambda t: np.where(t.index == 30, "other", t["word"])}, "1 of 200 windows differ in word"),
        ({"stimulus": "tale"}, "windows differ in stimulus"),
        ({"pool": 41}, "windows differ in pool"),
        ({"identity": lambda t: np.where(t.index == 30, 0, t["identity"])}, "windows differ in identity"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_questions_are_refused_in_one_line_that_names_the_first(
    change: dict[str, Any], message: str, pair: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    other = written(tmp_path / "three", pair[3], queries().assign(**change))
    with pytest.raises(NeurodecodeError) as error:
        compare_runs(pair[0], other)
    assert "were not asked the same" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_fewer_windows_or_windows_of_another_length_are_refused(
    pair: tuple[Path, Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    fewer = written(tmp_path / "three", pair[3][1:], queries().iloc[1:])
    with pytest.raises(NeurodecodeError, match="200 windows against 199"):
        compare_runs(pair[0], fewer)
    longer = written(tmp_path / "four", pair[3], window_seconds=5.0)
    with pytest.raises(NeurodecodeError, match="windows of 3 s against 5 s"):
        compare_runs(pair[0], longer)


def test_no_such_figure_or_no_evaluation_is_refused(pair: tuple[Path, Path, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(NeurodecodeError, match="no metric top3; there are top1, top5, top10"):
        compare_runs(pair[0], pair[1], metric="top3")
    with pytest.raises(NeurodecodeError, match="not evaluated on valid; run: neurodecode evaluate"):
        compare_runs(pair[0], pair[1], split="valid")


def test_the_table_says_which_run_is_better_also_for_ranks(pair: tuple[Path, Path, np.ndarray, np.ndarray]) -> None:
    for metric in ("mrr", "median_rank", "percentile_rank"):
        result = compare_runs(pair[0], pair[1], metric=metric)
        title, columns, rows, notes = comparison_table(result)
        assert "On these windows the second run is better." in notes, metric
        assert rows[0][1].endswith("one")
        assert len({len(row) for row in [columns, *rows]}) == 1
        assert "200 windows" in title
    assert (
        "On these windows the first run is better." in comparison_table(compare_runs(pair[1], pair[0], metric="mrr"))[3]
    )


def test_evaluated_runs_are_compared_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    settings = FAST.model_copy(update={"controls": ()})
    for name, noise in (("noisy", 30.0), ("clean", 3.0)):
        evaluate(toy_run(tmp_path / name, toy_folds(noise=noise), monkeypatch), settings, progress=False)
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["compare", str(tmp_path / "noisy"), str(tmp_path / "clean"), "--metric", "match_mismatch"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json"])
    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["low"] > 0
    assert result["wilcoxon_p"] is None  # two subjects
    with pytest.raises(SystemExit):
        main(arguments)
    shown = capsys.readouterr().out
    assert f"{result['difference']:+.3f} [{result['low']:+.3f}, {result['high']:+.3f}]" in shown
    assert "On these windows the second run is better." in shown
    assert "Simulated" in shown
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(tmp_path / "noisy"), str(tmp_path / "absent")])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
