"""What the page of a table of baselines shows: the table, and each person's figures.

In: baselines.json. Out: values for the template baselines.html.j2; no figure is computed here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.classification.figures import FIGURES
from neurodecode.evaluation.classification.tables import baselines_table
from neurodecode.files import read_json
from neurodecode.reports import label_figures
from neurodecode.reports.codebook import RULES


def baselines_content(folder: Path) -> dict[str, Any]:
    """Everything the template shows of FOLDER/baselines.json.

    Raises
    ------
    NeurodecodeError
        If the file is damaged.
    """
    path = Path(folder) / "baselines.json"
    try:
        result = read_json(path)
    except ValueError:
        raise NeurodecodeError(f"{path}: damaged; run neurodecode baselines again, answers are kept") from None
    title, columns, rows, notes = baselines_table(result)
    figure = shown_figure(result)
    chance = {entry["subject"]: entry["metrics"][figure]["value"] for entry in result["rows"][0]["subjects"]}
    methods = [row for row in result["rows"] if row["kind"] not in ("chance", "majority")]
    values = {
        row["name"]: {
            entry["subject"]: entry["metrics"][figure] | {"chance": chance[entry["subject"]]}
            for entry in row["subjects"]
            if _there(entry["metrics"][figure]["value"])
        }
        for row in methods
    }
    people = [
        [subject, *(f"{values[name][subject]['value']:.3f}" if subject in values[name] else "-" for name in values)]
        for subject in result["subjects"]
    ]
    return {
        "result": result,
        "rule_meaning": RULES.get(result["split"]["rule"], ""),
        "table": {"title": title, "columns": columns, "rows": rows, "notes": notes},
        "figure": Markup(label_figures.subject_dots(values, {}, FIGURES[figure])) if any(values.values()) else None,
        "figure_name": FIGURES[figure],
        "people": {"columns": ["subject", *values], "rows": people},
        "facts": _facts(result),
    }


def shown_figure(result: dict[str, Any]) -> str:
    """The figure that rows are compared by; else AUC of two labels, accuracy of more."""
    if result.get("comparison"):
        return str(result["comparison"]["figure"])
    return "auc" if result["n_classes"] == 2 else "accuracy"


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    counts = result["split"]["counts"]
    labels = result["vocabulary"]
    return [
        ("windows", f"{counts['train']} train, {counts['valid']} validate, {counts['test']} test, summed over folds"),
        ("labels", f"{len(labels)}: {', '.join(labels[:12])}{' ...' * (len(labels) > 12)}"),
        ("window", f"{result['n_times'] / result['sfreq']:g} s at {result['sfreq']:g} Hz"),
        ("dropped", ", ".join(f"{n} x {reason}" for reason, n in result["split"]["dropped"].items()) or "nothing"),
        ("command", result["provenance"]["command"]),
    ]


def _there(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
