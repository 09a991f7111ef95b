"""Many classifiers in one table: mean and interval over seeds for each subject, mean and standard error over subjects.

In: folders, each a run of a classifier or a folder of such runs (one a subject, a seed, or both). Out: a plain dict, and its
tables as text::

    summarise("duin2024", [Path("runs/scratch"), Path("runs/mae")])

Seeds say how much training by chance matters for one person's recordings; subjects say what to expect of another person.
The two are never mixed: a seed is no further person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.side_by_side.answers import compare_answers, runs_below
from neurodecode.files import plain, read_json
from neurodecode.segments.layouts import natural_key
from neurodecode.training.classification import FIGURES, read_classification
from neurodecode.training.run_folder import read_run

SCHEMA = 1
BASELINES = "test_baselines.json"  # in the evaluation folder of a run
KIND = "classification-summary"
LEVEL = 0.95
SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "top5")  # shown in %


def summarise(
    name: str,
    folders: Sequence[Path],
    published: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    keep: Sequence[Path] | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Figures of several labels, each over its seeds and subjects.

    Parameters
    ----------
    name
        Shown above the table.
    folders
        One a label; the label is the folder's name.
    published
        Label -> `source`, `cohort`, `subjects` (accuracies in %, as text).
    keep
        Only runs in these folders; none takes all.
    title
        The question, in words.

    Returns
    -------
    dict
        `labels`: label -> `start` (what the encoder came from), `runs`, `seeds`, `cohort` and `subjects`. `cohort`: figure
        -> `value` (mean over subjects), `se` (standard error over subjects; None for one), `chance`, `majority`. `subjects`:
        subject -> figure -> `value` (mean over seeds), `low`, `high` (95 %, Student's t), `sd`, `n_seeds`, `chance`,
        `majority`.
        `baselines`: method -> `cohort` and `subjects` likewise, of linear methods that were evaluated beside a run.
        `comparisons`: each label against the one from scratch, paired over windows, where both answered the same.

    Raises
    ------
    NeurodecodeError
        If a folder holds no classifier.
    """
    labels: dict[str, Any] = {}
    found: dict[str, list[Path]] = {}
    for folder in folders:
        runs = [run for run in runs_below(folder) if keep is None or run in keep]
        if not runs:
            raise NeurodecodeError(
                f"{folder}: holds no trained classifier; give a run of task classify or a folder of such"
            )
        label = folder.name if folder.name not in labels else folder.as_posix()
        found[label] = runs
        labels[label] = _label(runs) | {"published": dict((published or {}).get(label, {}))}
    return plain(
        {
            "schema": SCHEMA,
            "kind": KIND,
            "name": name,
            "title": title,
            "simulated": any(entry["simulated"] for entry in labels.values()),
            "rules": sorted({entry["rule"] for entry in labels.values()}),
            "subjects": sorted({s for entry in labels.values() for s in entry["subjects"]}, key=natural_key),
            "labels": labels,
            "baselines": _baselines([run for runs in found.values() for run in runs]),
            "comparisons": _comparisons(labels, found),
        }
    )


def _label(runs: list[Path]) -> dict[str, Any]:
    """All of one label."""
    results = [read_classification(run) for run in runs]
    seeds = [int(read_run(run)["settings"]["seed"]) for run in runs]
    values: dict[str, dict[str, list[dict[str, float]]]] = {}
    for result in results:
        for entry in result["subjects"]:
            mine = values.setdefault(entry["subject"], {figure: [] for figure in FIGURES})
            for figure, row in entry["metrics"].items():
                mine[figure].append(row)
    subjects = {
        subject: {figure: over_seeds(rows, figure in SHARES) for figure, rows in mine.items() if rows}
        for subject, mine in sorted(values.items(), key=lambda item: natural_key(item[0]))
    }
    cohort = {
        figure: over_subjects([mine[figure] for mine in subjects.values() if figure in mine])
        for figure in FIGURES
        if any(figure in mine for mine in subjects.values())
    }
    starts = {None if r["start_from"] is None else r["start_from"]["task"] for r in results}
    return {
        "start": starts.pop() if len(starts) == 1 else "several",
        "runs": [run.as_posix() for run in runs],
        "seeds": sorted(set(seeds)),
        "rule": results[0]["split"]["rule"],
        "simulated": any(result["simulated"] for result in results),
        "n_classes": max(result["n_classes"] for result in results),
        "cohort": cohort,
        "subjects": subjects,
    }


def _baselines(runs: Sequence[Path]) -> dict[str, Any]:
    """Linear methods that stand beside any of the runs, each subject once: they have no seed."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        path = run / "evaluation" / BASELINES
        if not path.is_file():
            continue
        result = read_classification(run)
        for method, entry in read_json(path)["baselines"].items():
            mine = found.setdefault(method, {})
            for subject in result["subjects"]:
                name, alone = subject["subject"], len(result["subjects"]) == 1
                # over several subjects a file has only the accuracy of each
                values = entry["metrics"] if alone else {"accuracy": entry["subjects"].get(name)}
                rows = {f: [subject["metrics"][f] | {"value": values[f]}] for f in FIGURES if values.get(f) is not None}
                mine.setdefault(name, {f: over_seeds(row) for f, row in rows.items()})
    return {
        method: {
            "cohort": {
                f: over_subjects([row[f] for row in mine.values()])
                for f in FIGURES
                if all(f in row for row in mine.values())
            },
            "subjects": mine,
        }
        for method, mine in found.items()
    }


def over_seeds(rows: Sequence[Mapping[str, float]], share: bool = True) -> dict[str, Any]:
    """Mean, deviation and 95 % interval of the mean (Student's t) of one figure of one subject.

    Parameters
    ----------
    rows
        `value`, `chance`, `majority` of each seed.
    share
        The figure lies between 0 and 1, and so does its interval.
    """
    values = np.array([row["value"] for row in rows], float)
    n = len(values)
    sd = float(values.std(ddof=1)) if n > 1 else None
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n) if sd is not None else None
    mean = float(values.mean())
    low, high = (None, None) if half is None else (mean - half, mean + half)
    if share and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    return {
        "value": mean,
        "low": low,
        "high": high,
        "sd": sd,
        "n_seeds": n,
        "chance": float(np.mean([row["chance"] for row in rows])),
        "majority": float(np.mean([row["majority"] for row in rows])),
    }


def over_subjects(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over subjects, each by its mean over seeds."""
    values = np.array([row["value"] for row in rows], float)
    n = len(values)
    return {
        "value": float(values.mean()),
        "se": float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
        "n_subjects": n,
        "chance": float(np.mean([row["chance"] for row in rows])),
        "majority": float(np.mean([row["majority"] for row in rows])),
    }


def _comparisons(labels: Mapping[str, Any], found: Mapping[str, list[Path]]) -> list[dict[str, Any]]:
    """Each label minus the first from scratch, or the first of all."""
    scratch = [label for label, entry in labels.items() if entry["start"] is None]
    if len(labels) < 2:
        return []
    base = (scratch or list(labels))[0]
    done = []
    for label in labels:
        if label == base:
            continue
        try:
            done.append({"base": base, "label": label} | compare_answers(found[base], found[label]))
        except NeurodecodeError as error:
            done.append({"base": base, "label": label, "refused": str(error)})
    return done


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary that a pipeline wrote.

    Raises
    ------
    SettingsError
        If there is none.
    """
    path = Path(folder) / "summary.json"
    if not path.is_file():
        raise SettingsError(f"{folder}: no summary.json in it; neurodecode run PIPELINE --out {folder} writes one")
    return read_json(path)


def summary_table(summary: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Labels by figures: title, columns, rows and notes, all text."""
    labels = summary["labels"]
    shown = [figure for figure in FIGURES if any(figure in entry["cohort"] for entry in labels.values())]
    published = any(entry["published"] for entry in labels.values())
    heads = [f"{FIGURES[f]}, %" if f in SHARES else FIGURES[f] for f in shown]
    rows = []
    for label, entry in labels.items():
        cells = [_plus_minus(f, entry["cohort"].get(f), "se") for f in shown]
        rows.append([label, cells[0], *([entry["published"].get("cohort", "-")] if published else []), *cells[1:]])
    for method, entry in summary["baselines"].items():
        cells = [_plus_minus(f, entry["cohort"].get(f), "se") for f in shown]
        rows.append([f"{method} (linear)", cells[0], *(["-"] if published else []), *cells[1:]])
    first = next(iter(labels.values()))["cohort"]
    for name in ("majority", "chance"):
        cells = [_number(f, first[f][name]) for f in shown]
        rows.append([name, cells[0], *(["-"] if published else []), *cells[1:]])
    n = len(summary["subjects"])
    title = f"{summary['name']}: {n} subject{'s' * (n != 1)}, {'SIMULATED' if summary['simulated'] else 'recorded'}"
    columns = ["", heads[0], *(["published, %"] if published else []), *heads[1:]]
    return title, columns, rows, _notes(summary)


def subjects_table(summary: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    """Subjects by labels: title, columns and rows of the accuracy in %, mean and 95 % interval over seeds."""
    columns, rows = ["subject"], [[subject] for subject in summary["subjects"]]
    for label, entry in summary["labels"].items():
        published = entry["published"].get("subjects", {})
        columns += [label, *([f"{label}, published"] if published else [])]
        for row in rows:
            figure = entry["subjects"].get(row[0], {}).get("accuracy")
            row.append(_with_interval(figure))
            if published:
                row.append(published.get(row[0], "-"))
    for method, entry in summary["baselines"].items():
        columns.append(f"{method} (linear)")
        for row in rows:
            row.append(_with_interval(entry["subjects"].get(row[0], {}).get("accuracy")))
    chance = [e["subjects"].get(s, {}).get("accuracy") for s in summary["subjects"] for e in summary["labels"].values()]
    title = "accuracy, %, of each subject: mean [95 % interval over seeds]"
    if any(entry["published"].get("subjects") for entry in summary["labels"].values()):
        title += "; published: mean ± deviation over seeds"
    columns.append("chance")
    for number, row in enumerate(rows):
        mine = chance[number * len(summary["labels"]) : (number + 1) * len(summary["labels"])]
        known = [figure["chance"] for figure in mine if figure]
        row.append(f"{100 * known[0]:.1f}" if known else "-")
    return title, columns, rows


def comparison_lines(summary: dict[str, Any]) -> list[str]:
    """One line a comparison of labels."""
    lines = []
    for found in summary["comparisons"]:
        start = f"{found['label']} - {found['base']}: "
        if "refused" in found:
            lines.append(f"{start}not compared: {found['refused']}")
            continue
        p_value = "" if found["wilcoxon_p"] is None else f", Wilcoxon p = {found['wilcoxon_p']:.2g}"
        exact = found["exact"]
        p_value += "" if exact is None else f", McNemar exact p = {exact['p']:.2g}"
        lines.append(
            f"{start}{100 * found['difference']:+.1f} points of accuracy [{100 * found['low']:+.1f}, "
            f"{100 * found['high']:+.1f}] over {found['over']}{p_value} ({found['n_queries']} windows, paired)"
        )
    return lines


def _notes(summary: dict[str, Any]) -> list[str]:
    counts = sorted({len(entry["seeds"]) for entry in summary["labels"].values()})
    several = len(summary["subjects"]) > 1
    notes = [
        "Mean ± standard error over subjects, each by its mean over seeds."
        if several
        else "One subject: no error over subjects."
    ]
    if counts == [1]:
        notes.append("One seed: how much training by chance matters is not known.")
    else:
        notes.append(
            f"Seeds: {' to '.join(map(str, counts))} a label, of the classifier only; pretraining was done once."
        )
    notes.append(f"Split by rule {', '.join(summary['rules'])}.")
    if "paper" in summary["rules"]:
        notes.append("Rule paper cuts through runs: test trials come from runs that were trained on.")
    if any(entry["published"] for entry in summary["labels"].values()):
        sources = sorted({e["published"]["source"] for e in summary["labels"].values() if e["published"]})
        notes.append(f"Published, not measured here: {'; '.join(sources)}.")
    if summary["simulated"]:
        notes.insert(0, "Simulated recordings: this says nothing about a brain.")
    return notes + comparison_lines(summary)


def _number(figure: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:.1f}" if figure in SHARES else f"{value:.3f}"


def _plus_minus(figure: str, row: Mapping[str, Any] | None, error: str) -> str:
    if row is None:
        return "-"
    text = _number(figure, row["value"])
    return text if row[error] is None else f"{text} ± {_number(figure, row[error])}"


def _with_interval(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["low"] is None:
        return f"{100 * row['value']:.1f}"
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
