"""Published figures with what was measured beside them.

In: RUN/published.json (written by a pipeline) and the evaluation. Out: rows of a table. A figure names the label of the
run that repeats it, which is the name of the run's folder, or of the folder of its seeds; `chance` stands for the chance of
this run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodecode.evaluation.retrieval.tables import published_row
from neurodecode.files import read_json

SEED = re.compile(r"seed-\d+")  # name of the folder of a run that a pipeline trains once a seed


def published_rows(run: Path, result: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Rows `what`, `value`, `measured`, `source`, `own`; `measured` is empty where this run repeats another figure or none."""
    path = Path(run) / "published.json"
    found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    folder = Path(run).resolve()
    name = folder.parent.name if SEED.fullmatch(folder.name) else folder.name
    metrics = {} if result is None else result["metrics"]
    return [published_row(figure, name, metrics, _with_interval) for figure in found]


def _with_interval(metric: Mapping[str, Any]) -> str:
    """A figure in %, with its interval."""
    text = f"{100 * metric['value']:.1f}"
    if metric["low"] is None or metric["high"] is None:
        return text
    return f"{text} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
