"""BIDS trees: which recordings there are, and what the tables and sidecars beside each say of it.

In: a root, or a folder or file below one. Out: RecordingSource objects, and Recordings. Files are found by mne-bids and
read by the rooms' own readers: the tables are often not what the standard asks for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodecode.errors import RecordingError
from neurodecode.recordings.bids_names import DATATYPES, datatype_of_file, entities_of, is_companion, sidecars
from neurodecode.recordings.channel_types import set_types
from neurodecode.recordings.electrodes import match_names, place_by_name, place_electrodes
from neurodecode.recordings.events import attach_stimuli, events_of_raw, read_events
from neurodecode.recordings.formats import RECORDING_ENDINGS, RECORDING_FOLDERS, is_recording_folder
from neurodecode.recordings.reading import Read, name_and_type, read_raw
from neurodecode.recordings.recording import Note, Recording, RecordingSource
from neurodecode.recordings.tables import is_missing, number, read_sidecar, read_table
from neurodecode.recordings.units import plausibility, settle_units

if TYPE_CHECKING:
    import pandas as pd

SAME_RATE = 1e-3  # relative: sidecars round 999.41 Hz to 999 or 1000
CHANNEL_TYPES = {
    "eeg": "eeg", "seeg": "seeg", "ecog": "ecog", "dbs": "dbs", "ieeg": "seeg", "meg": None, "megmag": None,
    "meggradaxial": None, "meggradplanar": None, "megrefmag": None, "megrefgradaxial": None, "megrefgradplanar": None,
    "eog": "eog", "veog": "eog", "heog": "eog", "ecg": "ecg", "ekg": "ecg", "emg": "emg", "trig": "stim",
    "misc": "misc", "audio": "misc", "ref": "misc", "resp": "misc", "gsr": "misc", "ppg": "misc", "temp": "misc",
    "adc": "misc", "dac": "misc", "photo": "misc", "pupil": "misc", "eyegaze": "misc", "sysclock": "misc",
    "other": "misc", "pd": "misc", "mic": "misc", "fitcurr": "misc", "hlu": None,
}  # fmt: skip


def find_recordings(root: Path, below: Path | None = None) -> list[RecordingSource]:
    """Recordings of a BIDS tree, in natural order; derivatives, source data and split parts are left out."""
    from mne_bids import find_matching_paths

    endings = [*RECORDING_ENDINGS, *RECORDING_FOLDERS]
    found = find_matching_paths(root, datatypes=list(DATATYPES), suffixes=list(DATATYPES), extensions=endings)
    paths = {Path(item.fpath) for item in found}
    for datatype in DATATYPES:  # mne-bids looks for files, and recordings may be folders
        for folder in (*root.glob(f"sub-*/{datatype}/sub-*"), *root.glob(f"sub-*/ses-*/{datatype}/sub-*")):
            if is_recording_folder(folder):
                paths.add(folder)
    kept = []
    for path in sorted(paths):
        parts = path.relative_to(root).parts
        if not parts[0].startswith("sub-") or (below and not path.is_relative_to(below)):
            continue
        if not is_companion(path):
            kept.append(source_of(path, root))
    return _told_apart(kept)


def _told_apart(sources: list[RecordingSource]) -> list[RecordingSource]:
    """Files that only an entity such as `acq` tells apart get its value added to their task: a name says four entities."""
    names = Counter((s.subject, s.session, s.task, s.run) for s in sources)
    result = []
    for source in sources:
        if names[source.subject, source.session, source.task, source.run] > 1:
            others = [
                v for k, v in entities_of(source.path.name).items() if k not in ("sub", "ses", "task", "run", "split")
            ]
            source = replace(source, task=source.task + "".join(others))
        result.append(source)
    return result


def source_of(path: Path, root: Path) -> RecordingSource:
    """Source of one file of a tree."""
    entities = entities_of(path.name)
    if "sub" not in entities:
        raise RecordingError(f"{path}: the name states no sub-, which a file of a BIDS tree needs")
    return RecordingSource(
        path,
        "bids",
        subject=entities["sub"],
        session=entities.get("ses", ""),
        task=entities.get("task", ""),
        run=entities.get("run", ""),
        root=root,
    )


def sidecar_values(path: Path, root: Path) -> tuple[dict[str, Any], list[Path]]:
    """The *_eeg.json (or _meg, _ieeg) values that hold for a recording, and the files they came from."""
    datatype = datatype_of_file(path)
    values: dict[str, Any] = {}
    files = sidecars(path, root, datatype, ".json")
    for file in files:
        values |= read_sidecar(file)
    return values, files


def open_recording(source: RecordingSource) -> Recording:
    """Read one recording of a tree with all that belongs to it.

    Raises
    ------
    RecordingError
        One line.
    """
    root, file = source.root or source.path.parent, source.path.name
    intracranial = datatype_of_file(source.path) == "ieeg"
    read = read_raw(source.path)
    raw, files, notes = read.raw, read.files, read.notes
    values, used = sidecar_values(source.path, root)
    files += used
    tables = sidecars(source.path, root, "events", ".tsv")[-1:]
    # the file's own triggers are looked for before a table types analogue channels as triggers
    events, said = read_events(tables[0]) if tables else events_of_raw(raw, file)
    files += tables
    notes += said
    stated: set[str] = set()
    for table in sidecars(source.path, root, "channels", ".tsv")[-1:]:
        stated, said = apply_channels(read, table, not intracranial)
        notes += said
        files.append(table)
    regions, said, used = place_electrodes(raw, source.path, root)
    notes += said
    files += used
    seconds = len(raw.times) / float(raw.info["sfreq"])
    events, stimuli, said = attach_stimuli(events, root / "stimuli", seconds, file)
    notes += said
    files += [t for s in stimuli.values() if s.audio and (t := s.audio.with_suffix(".tsv")).is_file()]
    renamed, said = name_and_type(read, file, intracranial, stated)
    regions = {renamed.get(name, name): region for name, region in regions.items()}
    notes += said + place_by_name(raw, file) + plausibility(raw, file)
    if source.task != entities_of(file).get("task", ""):
        notes.append(Note(file, "another file has the same subject, session, task and run", f"task is {source.task}"))
    rate = number(values.get("SamplingFrequency"))
    if rate and abs(rate / float(raw.info["sfreq"]) - 1) > SAME_RATE:
        found = f"{raw.info['sfreq']:g} Hz in the file, {rate:g} Hz in the sidecar"
        notes.append(Note(file, found, "the file's rate is used", "warning"))
    line = number(values.get("PowerLineFrequency")) or source.line_frequency
    return Recording(
        raw,
        events,
        subject=source.subject,
        session=source.session,
        task=source.task,
        run=source.run,
        stimuli=stimuli,
        notes=notes,
        files=sorted(set(files)),
        line_frequency=line,
        simulated=(root / "simulation.json").is_file(),
        regions=regions,
    )


def apply_channels(read: Read, path: Path, scalp: bool) -> tuple[set[str], list[Note]]:
    """Take types, units and bad channels from channels.tsv, by name, never by place.

    Returns
    -------
    tuple
        Channels whose type the table states, and notes.

    Raises
    ------
    RecordingError
        If the table and the file's header state different units.
    """
    raw, table = read.raw, read_table(path)
    if "name" not in table:
        return set(), [Note(path.name, "no column name", "not used", "warning")]
    names = table["name"].astype(str).tolist()
    found, notes = match_names(raw.ch_names, names, path.name, scalp, "not used")
    rows = {name: table.iloc[row] for name, row in found.items()}
    missing = [name for i, name in enumerate(names) if i not in found.values()]
    if missing:
        level = "note" if rows else "warning"
        said = f"{len(missing)} of {len(names)} channels are not in the recording: {_few(missing)}"
        notes.append(Note(path.name, said, "left out", level))
    types = {}
    for name, row in rows.items():
        kind = CHANNEL_TYPES.get(_cell(row, "type").lower())
        if kind is not None:
            types[name] = kind
    now = dict(zip(raw.ch_names, raw.get_channel_types()))
    set_types(raw, {name: kind for name, kind in types.items() if now[name] != kind})
    units = {name: _cell(row, "units") for name, row in rows.items()}
    notes += settle_units(raw, read.units, units, read.files[0].name, path.name)
    read.units |= {name: units[name] for name in units if is_missing(read.units.get(name))}
    bad = {name for name, row in rows.items() if _cell(row, "status").lower() == "bad"}
    raw.info["bads"] = [name for name in raw.ch_names if name in {*raw.info["bads"], *bad}]
    return set(types), notes


def _cell(row: pd.Series, column: str) -> str:
    return str(row[column]).strip() if column in row.index else ""


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
