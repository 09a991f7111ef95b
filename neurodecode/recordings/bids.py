"""BIDS trees: which recordings there are, and what the tables and sidecars beside each say of it.

In: a root, or a folder or file below one. Out: RecordingSource objects, and Recordings. Files are found by mne-bids and
read by the rooms' own readers: the tables are often not what the standard asks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodecode.errors import RecordingError
from neurodecode.recordings.bids_names import DATATYPES, datatype_of_file, entities_of, is_companion, sidecars
from neurodecode.recordings.channel_types import set_types
from neurodecode.recordings.electrodes import place_by_name, place_electrodes
from neurodecode.recordings.events import attach_stimuli, events_of_raw, read_events
from neurodecode.recordings.formats import RECORDING_ENDINGS, RECORDING_FOLDERS
from neurodecode.recordings.reading import name_and_type, read_raw
from neurodecode.recordings.recording import Note, Recording, RecordingSource
from neurodecode.recordings.tables import number, read_sidecar, read_table

if TYPE_CHECKING:
    from mne.io import BaseRaw

LONG = {"sub": "subject", "ses": "session", "task": "task", "run": "run"}
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
    kept = []
    for path in sorted(paths):
        parts = path.relative_to(root).parts
        if not parts[0].startswith("sub-") or (below and not path.is_relative_to(below)):
            continue
        if not is_companion(path):
            kept.append(source_of(path, root))
    return kept


def source_of(path: Path, root: Path) -> RecordingSource:
    """Source of one file of a tree."""
    entities = entities_of(path.name)
    if "sub" not in entities:
        raise RecordingError(f"{path}: the name states no sub-, which a file of a BIDS tree needs")
    values = {LONG[key]: value for key, value in entities.items() if key in LONG}
    return RecordingSource(path, "bids", root=root, **values)


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
    root = source.root or source.path.parent
    raw, files, notes = read_raw(source.path)
    values, used = sidecar_values(source.path, root)
    files += used
    for table in sidecars(source.path, root, "channels", ".tsv")[-1:]:
        notes += apply_channels(raw, table, datatype_of_file(source.path))
        files.append(table)
    regions, said, used = place_electrodes(raw, source.path, root)
    notes += said
    files += used
    tables = sidecars(source.path, root, "events", ".tsv")[-1:]
    if tables:
        events, said = read_events(tables[0])
        files += tables
    else:
        events, said = events_of_raw(raw, source.path.name)
    notes += said
    events, stimuli, said = attach_stimuli(
        events, root / "stimuli", len(raw.times) / raw.info["sfreq"], source.path.name
    )
    notes += said
    renamed, said = name_and_type(raw, source.path.name)
    regions = {renamed.get(name, name): region for name, region in regions.items()}
    notes += said + place_by_name(raw, source.path.name)
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


def apply_channels(raw: BaseRaw, path: Path, datatype: str) -> list[Note]:
    """Take types and bad channels from channels.tsv, by name, never by place."""
    table = read_table(path)
    if "name" not in table:
        return [Note(path.name, "no column name", "not used", "warning")]
    notes = []
    rows = {str(row["name"]): row for row in table.to_dict("records")}
    missing = [name for name in rows if name not in raw.ch_names]
    if missing:
        notes.append(Note(path.name, f"{len(missing)} channels are not in the recording: {_few(missing)}", "left out"))
    types = {}
    for name in raw.ch_names:
        stated = str(rows.get(name, {}).get("type", "")).strip().lower()
        kind = CHANNEL_TYPES.get(stated)
        if kind is not None:
            types[name] = kind
    now = dict(zip(raw.ch_names, raw.get_channel_types()))
    set_types(raw, {name: kind for name, kind in types.items() if now[name] != kind})
    bad = [name for name in raw.ch_names if str(rows.get(name, {}).get("status", "")).strip().lower() == "bad"]
    raw.info["bads"] = [name for name in raw.ch_names if name in {*raw.info["bads"], *bad}]
    return notes


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
