"""Published figures with what was measured beside them.

In: RUN/published.json (written by a pipeline) and the evaluation. Out: rows of a table. A figure names the label of the
run that repeats it, which is the name of the run's folder, or of the folder of its seeds; `chance` stands for the chance of
this run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from neurodecode.config.pipeline import CHANCE
from neurodecode.files import read_json

SEED = re.compile(r"seed-\d+")  # name of the folder of a run that a pipeline trains once a seed


def published_rows(run: Path, result: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Rows `what`, `value`, `measured`, `source`, `own`; `measured` is empty where this run repeats another figure or none."""
    path = Path(run) / "published.json"
    found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    folder = Path(run).resolve()
    name = folder.parent.name if SEED.fullmatch(folder.name) else folder.name
    return [
        {
            "what": str(figure["what"]),
            "value": str(figure["value"]),
            "measured": "" if result is None else _measured(figure, name, result),
            "source": str(figure["source"]),
            "own": figure.get("label") == name,
        }
        for figure in found
    ]


def _measured(figure: dict[str, Any], name: str, result: dict[str, Any]) -> str:
    """The run's figure in %, with its interval, if it is the one that was published."""
    label, metric = figure.get("label"), result["metrics"].get(figure.get("metric", "top10"))
    if metric is None or label not in (name, CHANCE):
        return ""
    if label == CHANCE:
        return f"{100 * metric['chance']:.1f}"
    if metric["low"] is None or metric["high"] is None:
        return f"{100 * metric['value']:.1f}"
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
