"""One recipe under several seeds: mean and standard deviation over seeds, beside chance and what was published.

In: folders of evaluated runs that differ in their seed alone. Out: a plain dict, its tables as text, and for a pipeline
RUNS/<label>/seeds.json::

    summarise_seeds("aligner", [Path("runs/aligner/seed-1"), Path("runs/aligner/seed-2")])

The deviation says how much training by chance matters. It is none over people: intervals over those stand with each run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.tables import COLUMNS, ROWS, figure_text, published_row
from neurodecode.files import plain, read_json

SCHEMA = 1
KIND = "retrieval-seeds"
FILE = "seeds.json"


def summarise_seeds(
    label: str, runs: Sequence[Path], published: Sequence[Mapping[str, Any]] = (), split: str = "test"
) -> dict[str, Any]:
    """Figures of a label over its seeds.

    Parameters
    ----------
    label
        Shown, and the label that published figures name.
    runs
        Evaluated on one and the same windows and candidates.
    published
        As `config.PublishedFigure` has them.
    split
        test or valid.

    Returns
    -------
    dict
        `seeds`, `runs`, `n_queries`, `n_candidates`, `score`; `metrics`: figure -> `value` (mean over seeds), `sd` (over seeds,
        n - 1 in the denominator; None for one), `each`, `chance`; `controls`: row -> the same; `published`: `what`, `value`,
        `measured` (the mean, as text; empty where this label repeats another figure), `source`, `own`.

    Raises
    ------
    NeurodecodeError
        If a run is not evaluated, or was asked something else.
    """
    results = []
    for run in runs:
        path = Path(run) / "evaluation" / f"{split}.json"
        if not path.is_file():
            raise NeurodecodeError(f"{run}: not evaluated on {split}; run: neurodecode evaluate {run} --split {split}")
        results.append(read_json(path))
    first = results[0]
    for run, result in zip(runs, results):
        for what in ("n_queries", "n_candidates", "score"):
            if result[what] != first[what]:
                raise NeurodecodeError(
                    f"{run}: {what} is {result[what]}, of {runs[0]} {first[what]}; a mean over seeds needs the same questions"
                )
    metrics = _over_seeds([result["metrics"] for result in results])
    controls = {
        name: _over_seeds([result["controls"][name]["metrics"] for result in results])
        for name in first["controls"]
        if all(name in result["controls"] for result in results)
    }

    def own(metric: Mapping[str, Any]) -> str:
        deviation = "" if metric["sd"] is None else f" ± {100 * metric['sd']:.1f}"
        return f"{100 * metric['value']:.1f}{deviation} ({len(runs)} seed{'s' * (len(runs) != 1)})"

    return plain(
        {
            "schema": SCHEMA,
            "kind": KIND,
            "name": first["name"],
            "label": label,
            "split": split,
            "simulated": any(result["simulated"] for result in results),
            "seeds": [result["provenance"]["settings"]["seed"] for result in results],
            "runs": [Path(run).name for run in runs],
            **{what: first[what] for what in ("n_queries", "n_candidates", "score")},
            "metrics": metrics,
            "controls": controls,
            "published": [published_row(figure, label, metrics, own) for figure in published],
        }
    )


def _over_seeds(each: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Figure -> mean and deviation, of figures that all have."""
    found = {}
    for name in each[0]:
        values = [v for figures in each if (v := figures.get(name, {}).get("value")) is not None]
        if len(values) < len(each):
            continue
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = {"value": float(np.mean(values)), "sd": sd, "each": values, "chance": each[0][name].get("chance")}
    return found


def seeds_tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, columns, rows and notes, all text: the seeds and their mean, and what was published."""
    columns = {name: title for name, title in COLUMNS.items() if name in result["metrics"]}
    n = len(result["seeds"])
    rows = [
        [f"seed {seed}", *(figure_text(m, result["metrics"][m]["each"][k]) for m in columns)]
        for k, seed in enumerate(result["seeds"])
    ]
    rows.append(["mean ± s.d.", *(_plus_minus(m, result["metrics"][m]) for m in columns)])
    for name in ROWS:
        if name in result["controls"]:
            figures = result["controls"][name]
            rows.append([name, *(_plus_minus(m, figures[m]) if m in figures else "-" for m in columns)])
    rows.append(["chance", *(figure_text(m, result["metrics"][m]["chance"]) for m in columns)])
    notes = [
        f"Mean ± standard deviation over {n} seed{'s' * (n != 1)} of training; ± is no interval over people: each run's report "
        "has those.",
        f"{result['n_queries']} windows, {result['n_candidates']} candidates, score {result['score']}.",
    ]
    if result["simulated"]:
        notes.insert(0, "Simulated recordings: this says nothing about a brain.")
    title = f"{result['label']}: {result['split']} split, {n} seed{'s' * (n != 1)}"
    tables = [(title, ["", *columns.values()], rows, notes)]
    if result["published"]:
        shown = [[f["what"], f["value"], f["measured"] or "-", f["source"]] for f in result["published"]]
        note = "Top-k depends on the number of candidates: published and measured figures compare only where chance agrees."
        heads = ["published figure", "published", "measured here", "source"]
        tables.append((f"{result['label']} beside what was published", heads, shown, [note]))
    return tables


def _plus_minus(metric: str, figure: Mapping[str, Any]) -> str:
    text = figure_text(metric, figure["value"])
    return text if figure["sd"] is None else f"{text} ± {figure_text(metric, figure['sd'])}"
