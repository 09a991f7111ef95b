"""Tab-separated tables and JSON sidecars as people write them: byte-order marks, CRLF, stray spaces, n/a, Latin-1.

In: a path. Out: a DataFrame of text (nothing is converted here), or a dict; None where there is no value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer

MISSING = frozenset({"", "n/a", "na", "nan", "none", "null", "-", "n.a."})


def read_table(path: Path) -> pd.DataFrame:
    """Read a .tsv as text, one column each; cells are stripped, column names too. Empty lines are skipped.

    Raises
    ------
    RecordingError
        If a row holds more cells than the header names, or the file is not downloaded.
    """
    refuse_pointer(path)
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        return pd.DataFrame()
    header = [name.strip().strip('"') for name in lines[0].split("\t")]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = [cell.strip().strip('"').strip() for cell in line.split("\t")]
        if len(cells) > len(header):
            if any(cells[len(header) :]):
                raise RecordingError(
                    f"{path}: line {number} has {len(cells)} cells under {len(header)} column names; "
                    "separate columns by tabs, one name each"
                )
            cells = cells[: len(header)]
        rows.append(cells + [""] * (len(header) - len(cells)))
    return pd.DataFrame(rows, columns=header, dtype=object)


def read_text(path: Path) -> str:
    """UTF-8 with or without a byte-order mark, else Latin-1 (which older exports use for the micro sign)."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_sidecar(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    RecordingError
        If it is no JSON object; the message names line and column.
    """
    refuse_pointer(path)
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise RecordingError(f"{path}: not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    if not isinstance(value, dict):
        raise RecordingError(f"{path}: holds a {type(value).__name__}, a sidecar is a JSON object")
    return value


def is_missing(cell: object) -> bool:
    """Whether a cell says that there is no value."""
    return cell is None or (isinstance(cell, float) and cell != cell) or str(cell).strip().lower() in MISSING


def number(cell: object, comma: bool = False) -> float | None:
    """A finite number, or None when the cell holds none; `comma` takes a decimal comma."""
    text = str(cell).strip()
    if comma:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) != float("inf") and value == value else None
