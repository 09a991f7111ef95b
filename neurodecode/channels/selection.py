"""The file that says which channels were ranked how, and on what: independent of the store that it was made from.

    selection = read_selection(Path("ranking/selection.json"))
    selection["folds"]["fold-0"]["subjects"]["01"]["chosen"]        # ["T'3", "T'4", ...]

In and out: `selection.json` with the keys below, and `channels.tsv` with one row a channel for people.

    schema, kind "channel-selection", method, name, settings, store, simulated, versions, command, sha256
    folds.<fold>: rule, seed, subjects.<subject>:
      channels   best first: name, rank, score, mean_rank, rank_sd, top_share, group, before, before_rank, shaft, region
      chosen     names
      n_windows, n_labels, chance, counts (what was not taken, by reason)
      digest     SHA-256 of the training windows: signals, first samples, length, labels
      seen       what was read: [{recording, sha256, spans [[s, s], ...]}], merged, in seconds of the recording
      stability, curve, control

`sha256` is that of `folds`: a file that was edited by hand no longer says what its channels were chosen by, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.errors import SettingsError
from neurodecode.files import atomic_path, plain, read_json, sha256_of_value, write_json

SCHEMA = 1
KIND = "channel-selection"
FILE = "selection.json"
TABLE = "channels.tsv"
GRAIN = 1e-6  # s: times are multiples of samples in floating point


def write_selection(folder: Path, selection: dict[str, Any]) -> Path:
    """Write selection.json and channels.tsv.

    Parameters
    ----------
    folder
        Made if it is not there.
    selection
        All keys but `schema`, `kind` and `sha256`.

    Returns
    -------
    Path
        Of selection.json.
    """
    whole = plain(selection)
    whole = {"schema": SCHEMA, "kind": KIND, **whole, "sha256": sha256_of_value(whole["folds"])}
    with atomic_path(folder / TABLE) as temporary:
        rows_of(whole).to_csv(temporary, sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    write_json(folder / FILE, whole)
    return folder / FILE


def read_selection(path: Path) -> dict[str, Any]:
    """Read selection.json, or the folder that holds it.

    Raises
    ------
    SettingsError
        If there is none, it is damaged, of another schema, or was edited.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise SettingsError(
            f"{path}: no such selection; make one with: neurodecode channels STORE --config METHOD --out FOLDER"
        )
    try:
        selection = read_json(path)
        kind, schema, folds, digest = (selection[key] for key in ("kind", "schema", "folds", "sha256"))
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: not a selection ({' '.join(str(error).split())}); rank again") from None
    if kind != KIND or schema != SCHEMA:
        raise SettingsError(
            f"{path}: {kind} of schema {schema}, this version reads {KIND} of schema {SCHEMA}; rank again"
        )
    if sha256_of_value(folds) != digest:
        raise SettingsError(
            f"{path}: was edited after it was written, so nothing tells what its channels were chosen by; rank again, or name "
            "channels in channels.names"
        )
    return selection


def rows_of(selection: dict[str, Any]) -> pd.DataFrame:
    """One row a channel, best first: fold, subject, chosen, and the keys of `channels`."""
    rows = []
    for fold, inside in selection["folds"].items():
        for subject, entry in inside["subjects"].items():
            chosen = set(entry["chosen"])
            rows += [
                {"fold": fold, "subject": subject, **channel, "chosen": channel["name"] in chosen}
                for channel in entry["channels"]
            ]
    return pd.DataFrame(rows)


def merged(starts: np.ndarray, length: float) -> list[list[float]]:
    """Spans [[begin, end], ...] in seconds that windows of one length cover, put together where they touch."""
    spans: list[list[float]] = []
    for start in sorted(np.asarray(starts, float).tolist()):
        if spans and start <= spans[-1][1] + GRAIN:
            spans[-1][1] = max(spans[-1][1], start + length)
        else:
            spans.append([start, start + length])
    return [[round(begin, 6), round(end, 6)] for begin, end in spans]


def first_seen(seen: Iterable[Iterable[float]], starts: np.ndarray, length: float) -> float | None:
    """The first of some windows (starts, one length; s) that reaches into a span of `seen`, or None."""
    spans = np.array([list(span) for span in seen], float).reshape(-1, 2)
    for start in np.sort(np.asarray(starts, float)):
        if ((spans[:, 0] < start + length - GRAIN) & (spans[:, 1] > start + GRAIN)).any():
            return float(start)
    return None
