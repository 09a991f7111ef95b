"""Two classifiers, or two sets of them, side by side on the windows that both answered.

In: runs of task classify, each with evaluation/test_answers.csv.gz. Out: a plain dict::

    compare_answers([Path("runs/scratch")], [Path("runs/mae")], metric="accuracy")

A set of runs (seeds of one subject, subjects of one cohort) counts as one answerer: what its seeds answered to a window is
averaged first, so that a window counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.statistics import FEWEST_FOR_WILCOXON, bootstrap
from neurodecode.files import plain
from neurodecode.training.classification import read_classification
from neurodecode.training.run_folder import read_run

COLUMNS = {"accuracy": "right", "top5": "top5", "cross_entropy": "loss"}  # figure -> column of the answers
GRAIN = 1e-3  # s: starts of windows in stores of different rates differ by less


def runs_below(folder: Path) -> list[Path]:
    """Runs of classifiers at or below a folder, without those that a pipeline put aside.

    Raises
    ------
    NeurodecodeError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NeurodecodeError(f"{folder}: no such folder; give a run, or a folder of runs")
    if (folder / "run.json").is_file():
        return [folder]
    found = []
    for path in sorted(folder.glob("**/run.json")):
        below = path.parent.relative_to(folder).parts
        if (
            not any(".before-" in part for part in below)
            and read_run(path.parent)["settings"].get("task") == "classify"
        ):
            found.append(path.parent)
    return found


def is_classification(folder: Path) -> bool:
    """Whether a folder is a run of a codebook stage, or holds runs of classifiers."""
    folder = Path(folder)
    if (folder / "run.json").is_file():
        return "task" in read_run(folder)["settings"]
    return folder.is_dir() and bool(runs_below(folder))


def read_answers(runs: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What a set of runs answered: one row a window, averaged over runs that answered it.

    Returns
    -------
    table
        Sorted by recording and start: `recording`, `time` (start, s), `subject`, `label`, `classes`, `answered` (runs),
        and the columns of COLUMNS.
    facts
        `name`, `seconds` (length of a window), `simulated`.

    Raises
    ------
    NeurodecodeError
        If a run is of another stage or not finished, or windows of the set differ in length.
    """
    parts, lengths, names, simulated = [], set(), [], False
    for run in runs:
        result, info = read_classification(run), read_run(run)
        path = run / "evaluation" / "test_answers.csv.gz"
        if not path.is_file():
            raise NeurodecodeError(f"{path}: gone; delete {run / 'evaluation'} and train again, which only scores")
        table = pd.read_csv(
            path,
            dtype={"recording": str, "subject": str, "label": str},
            keep_default_na=False,
            na_values={"loss": [""]},
        )
        sfreq = float(info["sizes"]["sfreq"])
        parts.append(table.assign(time=table["start"] / sfreq, grain=np.rint(table["start"] / sfreq / GRAIN)))
        lengths.add(round(info["sizes"]["n_times"] / sfreq, 6))
        names.append(result["name"])
        simulated |= result["simulated"]
    if len(lengths) > 1:
        raise NeurodecodeError(
            f"{runs[0]}: windows of {' and '.join(f'{v:g}' for v in sorted(lengths))} s among runs that are to be averaged; "
            "give runs of one window"
        )
    whole = pd.concat(parts, ignore_index=True)
    first = ["time", "subject", "label", "classes"]
    table = whole.groupby(["recording", "grain"], sort=True).agg(
        **{name: (name, "first") for name in first},
        answered=("right", "size"),
        **{column: (column, "mean") for column in COLUMNS.values()},
    )
    facts = {"name": names[0], "seconds": lengths.pop(), "simulated": simulated, "n_runs": len(runs)}
    return table.reset_index(), facts


def compare_answers(
    first: Sequence[Path], second: Sequence[Path], metric: str = "accuracy", *, repeats: int = 1_000, seed: int = 0
) -> dict[str, Any]:
    """Second minus first, paired over windows.

    Parameters
    ----------
    first, second
        Runs of each side.
    metric
        accuracy, top5 or cross_entropy.
    repeats, seed
        Bootstrap resamples, and their seed.

    Returns
    -------
    dict
        `metric`, `n_queries`, `n_candidates` (labels), `first` and `second` (`name`, `value`, `runs`), `chance`,
        `difference` with `low`, `high` (95 %; subjects are drawn, or windows of one subject), `over`, `n_subjects`;
        `wilcoxon_p` over subjects' means (None with fewer than 6); `exact`: for one answer a window a side, the windows that
        only one got right and McNemar's exact two-sided `p`, else None; `simulated`.

    Raises
    ------
    NeurodecodeError
        If windows, labels or classes differ, or there is no such figure.
    """
    if metric not in COLUMNS:
        raise NeurodecodeError(
            f"--metric {metric}: classifiers are compared window by window; use {', '.join(COLUMNS)}"
        )
    (a, one), (b, other) = read_answers(first), read_answers(second)
    _refuse_other_windows(a, b, one, other, f"{first[0]} and {second[0]}")
    column = COLUMNS[metric]
    x, y = a[column].to_numpy(float), b[column].to_numpy(float)
    known = np.isfinite(x) & np.isfinite(y)  # a label that training lacked has no cross-entropy
    difference, subjects = (y - x)[known], a["subject"].to_numpy(str)[known]
    names = np.unique(subjects)
    over = "subjects" if len(names) > 1 else "windows"
    cluster = subjects if over == "subjects" else np.arange(len(difference))
    low, high = bootstrap({"d": difference}, cluster, repeats=repeats, seed=seed)["d"]
    means = np.array([difference[subjects == s].mean() for s in names])
    p_value = None
    if len(names) >= FEWEST_FOR_WILCOXON and np.any(means != 0):
        p_value = float(stats.wilcoxon(means).pvalue)
    exact = None
    if column != "loss" and a["answered"].max() == b["answered"].max() == 1:
        only = [int(((x > y) & known).sum()), int(((y > x) & known).sum())]
        exact = {"only_first": only[0], "only_second": only[1], "p": _mcnemar(*only)}
    chance = {"accuracy": (1 / a["classes"]).mean(), "top5": (5 / a["classes"]).clip(upper=1).mean()}
    sides = [
        {"name": facts["name"], "value": float(values[known].mean()), "runs": [str(run) for run in runs]}
        for facts, values, runs in ((one, x, first), (other, y, second))
    ]
    return plain(
        {
            "metric": metric,
            "n_queries": int(known.sum()),
            "n_candidates": int(a["classes"].max()),
            "first": sides[0],
            "second": sides[1],
            "chance": float(chance.get(metric, np.log(a["classes"]).mean())),
            "difference": float(difference.mean()),
            "low": low,
            "high": high,
            "over": over,
            "n_subjects": len(names),
            "wilcoxon_p": p_value,
            "exact": exact,
            "simulated": one["simulated"] or other["simulated"],
        }
    )


def _mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of a fair coin: windows that both got right, or neither, say nothing about a difference."""
    total = only_first + only_second
    return 1.0 if total == 0 else float(stats.binomtest(only_first, total, 0.5).pvalue)


def _refuse_other_windows(a: pd.DataFrame, b: pd.DataFrame, one: dict, other: dict, between: str) -> None:
    """Stop unless both sides answered the same windows with the same labels among as many classes."""
    start, advice = (
        f"{between} were not asked the same",
        "train both with the same labels settings on the same recordings",
    )
    if one["seconds"] != other["seconds"]:
        raise NeurodecodeError(f"{start}: windows of {one['seconds']:g} s against {other['seconds']:g} s; {advice}")
    keys = [set(zip(table["recording"], table["grain"])) for table in (a, b)]
    odd = sorted(keys[0] ^ keys[1])
    if odd:
        side = "first" if odd[0] in keys[0] else "second"
        raise NeurodecodeError(
            f"{start}: {len(keys[0])} windows against {len(keys[1])} (first that only the {side} answered: {odd[0][0]} at "
            f"{odd[0][1] * GRAIN:.3f} s); {advice}"
        )
    for column in ("label", "subject", "classes"):
        wrong = np.flatnonzero(a[column].to_numpy() != b[column].to_numpy())
        if len(wrong):
            row = wrong[0]
            raise NeurodecodeError(
                f"{start}: {len(wrong)} of {len(a)} windows differ in {column} (first: {a['recording'][row]} at "
                f"{a['time'][row]:.3f} s, {a[column][row]} against {b[column][row]}); {advice}"
            )
