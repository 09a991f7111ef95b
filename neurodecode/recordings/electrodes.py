"""Electrode positions and regions: electrodes.tsv with the frame and unit that coordsystem.json states.

In: an MNE Raw and a place in a BIDS tree. Out: positions in metres inside `raw.info`, regions by channel name, notes.
A position that is n/a or 0 0 0 is unknown. A unit that the values contradict stops; a unit is never guessed between two.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.errors import RecordingError
from neurodecode.recordings.bids_names import datatype_of_file, entities_of, sidecars
from neurodecode.recordings.channel_types import scalp_names, template_1005
from neurodecode.recordings.recording import Note
from neurodecode.recordings.tables import is_missing, number, read_sidecar, read_table

if TYPE_CHECKING:
    from mne.io import BaseRaw

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
# m, of the electrode farthest from the origin: no frame of a head has all of them nearer or one of them farther
FARTHEST = {"eeg": (0.04, 0.3), "ieeg": (0.004, 0.6)}
PLACED_TYPES = ("eeg", "seeg", "ecog", "dbs")
REGION_COLUMNS = (
    "region", "brainregion", "anatomicallabel", "anatomicallocation", "anatomy", "roi", "desikankilliany",
    "destrieux", "destriuex", "aal", "lobe",
)  # fmt: skip
HEAD_FRAMES = frozenset({"captrak", "elektaneuromag", "head"})
UNKNOWN_REGIONS = frozenset({"unknown", "out", "outside", "outside brain"})
PLACE_NUMBER = re.compile(r"^(.*?)0*(\d+)$")


def place_electrodes(raw: BaseRaw, path: Path, root: Path) -> tuple[dict[str, str], list[Note], list[Path]]:
    """Put the positions of a recording's electrodes into `raw`.

    Returns
    -------
    tuple
        Channel name -> region; notes; the files that were used.

    Raises
    ------
    RecordingError
        If the values contradict the unit that coordsystem.json states.
    """
    names = [n for n, kind in zip(raw.ch_names, raw.get_channel_types()) if kind in PLACED_TYPES]
    tables = sidecars(path, root, "electrodes", ".tsv")
    if not tables or not names:
        return {}, [], []
    file, system_file, system = _choose(tables, sidecars(path, root, "coordsystem", ".json"))
    table = read_table(file)
    if not {"name", "x", "y", "z"} <= set(table.columns):
        said = Note(file.name, f"columns {', '.join(map(str, table.columns))}", "no positions taken", "warning")
        return {}, [said], [file]
    table = table[~table["name"].map(is_missing)].reset_index(drop=True)
    rows, notes = match_names(names, table["name"].astype(str).tolist(), file.name, scalp=_is_scalp(path))
    places = np.array([_place(row) for _, row in table.iterrows()], np.float64).reshape(-1, 3)
    used = [file] + ([system_file] if system_file else [])
    places, said_of_unit = to_metres(places, system, file, system_file, "eeg" if _is_scalp(path) else "ieeg")
    notes += said_of_unit
    known = {name: places[row] for name, row in rows.items() if np.isfinite(places[row]).all()}
    turned = _set_positions(raw, known, system, _is_scalp(path))
    frame = _system_name(system)
    if known and _is_scalp(path) and not turned and frame.lower() not in HEAD_FRAMES:
        found = f"coordinates in the frame {frame or 'that nothing states'}, without landmarks to turn it by"
        notes.append(Note(file.name, found, "taken as the head frame (x right, y front)", "warning"))
    lacking = [name for name in names if name not in known]
    if lacking:
        shown = ", ".join(lacking[:5]) + (" ..." if len(lacking) > 5 else "")
        notes.append(Note(file.name, f"no position for {len(lacking)} of {len(names)} channels: {shown}", "unknown"))
    return _regions(table, rows), notes, used


def _is_scalp(path: Path) -> bool:
    return datatype_of_file(path) != "ieeg"


def _choose(tables: list[Path], systems: list[Path]) -> tuple[Path, Path | None, dict[str, Any]]:
    """The table to use, with its coordsystem: one in a common brain space first, then one with a stated unit."""
    by_space = {entities_of(file.name).get("space", ""): file for file in systems}

    def of(table: Path) -> tuple[Path | None, dict[str, Any]]:
        space = entities_of(table.name).get("space", "")
        file = by_space.get(space)
        return file, (read_sidecar(file) if file else {})

    def rank(table: Path) -> tuple[bool, bool]:
        space = entities_of(table.name).get("space", "").lower()
        return space.startswith(("mni", "fsaverage")), _unit(of(table)[1]) in METRES

    best = max(range(len(tables)), key=lambda i: (*rank(tables[i]), i))  # the nearest of equals
    return tables[best], *of(tables[best])


def _unit(system: dict[str, Any]) -> str:
    """Unit of the coordinates, "" when not stated."""
    for key, value in system.items():
        if key.endswith("CoordinateUnits") and not key.startswith(("Anatomical", "Fiducials", "HeadCoil")):
            return "" if is_missing(value) else str(value).strip().lower()
    return ""


def _system_name(system: dict[str, Any]) -> str:
    for key, value in system.items():
        if key.endswith("CoordinateSystem") and not key.startswith(("Anatomical", "Fiducials", "HeadCoil")):
            return str(value)
    return ""


def _place(row: pd.Series) -> list[float]:
    """x, y, z as written; NaN where a value is missing, and where all three are zero."""
    values = [number(row[axis]) for axis in "xyz"]
    if any(value is None for value in values) or not any(values):
        return [np.nan] * 3
    return [float(value) for value in values if value is not None]


def to_metres(
    places: np.ndarray, system: dict[str, Any], file: Path, system_file: Path | None, datatype: str
) -> tuple[np.ndarray, list[Note]]:
    """Bring [electrodes, 3] to metres.

    Raises
    ------
    RecordingError
        If a unit is stated and no head has that size in it.
    """
    norms = np.linalg.norm(places, axis=1)
    if not np.isfinite(norms).any():
        return places, []
    farthest = float(np.nanmax(norms))
    unit = _unit(system)
    low, high = FARTHEST[datatype]
    where = system_file.name if system_file else "coordsystem.json (there is none)"
    if unit in METRES:
        metres = farthest * METRES[unit]
        if not low <= metres <= high:
            fitting = [other for other, scale in METRES.items() if low <= farthest * scale <= high]
            raise RecordingError(
                f"{file}: the electrode farthest from the origin is at {farthest:.4g}, and {where} says {unit}: that is "
                f"{metres:.3g} m, allowed are {low} to {high} m"
                + (f" (in {' or '.join(fitting)} it would fit)" if fitting else "")
                + "; correct the unit or the values"
            )
        return places * METRES[unit], []
    if unit:
        return np.full_like(places, np.nan), [
            Note(file.name, f"coordinates in {unit} ({where})", "positions unknown: no unit of length", "warning")
        ]
    # metres and millimetres differ a thousandfold and cannot be taken for each other; centimetres are never assumed
    fitting = [other for other in ("m", "mm") if low <= farthest * METRES[other] <= high and farthest not in (0.0,)]
    if len(fitting) == 1 and not 2 <= farthest < 25:
        said = f"no unit stated ({where}); the farthest electrode is at {farthest:.4g}"
        return places * METRES[fitting[0]], [Note(file.name, said, f"read as {fitting[0]}", "warning")]
    said = f"no unit stated ({where}), and values up to {farthest:.4g} fit none for certain"
    return np.full_like(places, np.nan), [Note(file.name, said, "positions unknown", "warning")]


def match_names(
    channels: list[str], rows: list[str], file: str, scalp: bool, without: str = "positions unknown"
) -> tuple[dict[str, int], list[Note]]:
    """Channel -> row of a table of electrodes or channels.

    As written first; then with leading zeros of the number left out (`A'02` is `A'2`) and, on the scalp, upper case
    taken for lower. A way of matching is used only for names that it leaves distinct on both sides. `A'1` and `A1` stay
    two electrodes.
    """
    notes = []
    doubled = [name for name, count in Counter(rows).items() if count > 1]
    if doubled:
        notes.append(Note(file, f"{', '.join(doubled[:5])} stand in more than one row", without, "warning"))
    found = {name: rows.index(name) for name in channels if rows.count(name) == 1}
    ways = [_without_zeros] + ([str.upper, lambda name: _without_zeros(name).upper()] if scalp else [])
    loose: list[str] = []
    for way in ways:
        mine = Counter(way(name) for name in channels)
        theirs = Counter(way(name) for name in rows)
        for name in channels:
            key = way(name)
            if name not in found and mine[key] == 1 and theirs[key] == 1:
                found[name] = [way(row) for row in rows].index(key)
                loose.append(f"{rows[found[name]]} is {name}")
    if loose:
        shown = ", ".join(loose[:3]) + (f" and {len(loose) - 3} more" if len(loose) > 3 else "")
        notes.append(Note(file, f"names written in another way: {shown}", "matched"))
    return found, notes


def _without_zeros(name: str) -> str:
    name = re.sub("[\u2019\u02bc\u2032`]", "'", name.strip())
    match = PLACE_NUMBER.match(name)
    return f"{match.group(1)}{int(match.group(2))}" if match else name


def _set_positions(raw: BaseRaw, known: dict[str, np.ndarray], system: dict[str, Any], scalp: bool) -> bool:
    """Positions in metres; turned into the head frame when landmarks are stated (then True), else as they are."""
    import mne

    if not known:
        return False
    marks = _landmarks(system) if scalp else {}
    montage = mne.channels.make_dig_montage(known, coord_frame="unknown" if marks else "head", **marks)
    raw.set_montage(montage, on_missing="ignore", verbose="error")
    return bool(marks)


def _landmarks(system: dict[str, Any]) -> dict[str, np.ndarray]:
    """Nasion and ears in metres, or nothing unless all three are stated with a unit that suits a head."""
    marks = system.get("AnatomicalLandmarkCoordinates")
    unit = str(system.get("AnatomicalLandmarkCoordinateUnits", "")).strip().lower()
    if not isinstance(marks, dict) or unit not in METRES:
        return {}
    upper = {str(key).upper(): value for key, value in marks.items()}
    result = {}
    for name, key in (("nasion", "NAS"), ("lpa", "LPA"), ("rpa", "RPA")):
        values = upper.get(key)
        if not isinstance(values, list) or len(values) != 3 or any(number(v) is None for v in values):
            return {}
        result[name] = np.array(values, float) * METRES[unit]
    sizes = [float(np.linalg.norm(place)) for place in result.values()]
    return result if 0.03 < max(sizes) < 0.3 else {}


def _regions(table: pd.DataFrame, rows: dict[str, int]) -> dict[str, str]:
    """Channel -> region, from the first column that names regions."""
    plain = {re.sub(r"[^a-z]", "", str(column).lower()): column for column in table.columns}
    for wanted in REGION_COLUMNS:
        if wanted in plain:
            column = table[plain[wanted]].tolist()
            stated = {name: str(column[row]) for name, row in rows.items() if not is_missing(column[row])}
            stated = {name: region for name, region in stated.items() if region.lower() not in UNKNOWN_REGIONS}
            if stated:
                return stated
    return {}


def place_by_name(raw: BaseRaw, file: str) -> list[Note]:
    """Give EEG channels with 10-05 names the place of that system's template, when the recording holds no place at all."""
    import mne

    known = scalp_names()
    channels = [
        (channel["ch_name"], channel["loc"][:3])
        for channel, kind in zip(raw.info["chs"], raw.get_channel_types())
        if kind == "eeg"
    ]
    if any(np.isfinite(place).all() and np.any(place != 0) for _, place in channels):
        return []
    named = {name: known[name.upper()] for name, _ in channels if name.upper() in known}
    # a few names of the system among many others (`C1` of a grid) are a coincidence
    if len(named) <= len(channels) / 2 or len(set(named.values())) < len(named):
        return []
    template = template_1005().get_positions()
    montage = mne.channels.make_dig_montage(
        {name: template["ch_pos"][standard] for name, standard in named.items()},
        nasion=template["nasion"],
        lpa=template["lpa"],
        rpa=template["rpa"],
        coord_frame=template["coord_frame"],
    )
    raw.set_montage(montage, on_missing="ignore", verbose="error")
    said = f"no electrode positions; {len(named)} of {len(channels)} EEG channels have 10-05 names"
    return [Note(file, said, "places of MNE's 10-05 template")]
