"""Events: of a BIDS events.tsv, or of the annotations and trigger channels of a file; and which stimulus each belongs to.

In: tables of text. Out: the canonical events table (s from the first sample) and the stimuli it names. Every row that
is left out is counted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import EVENT_COLUMNS, Note, Stimulus, empty_events, events_table
from neurodecode.recordings.tables import is_missing, number, read_table

if TYPE_CHECKING:
    from mne.io import BaseRaw

SPEECH_KINDS = {"word": "word", "phone": "phone", "phoneme": "phone", "sentence": "sentence", "syllable": "syllable"}
DECIMAL_COMMA = re.compile(r"^[+-]?\d+,\d+$")
NO_ONSET, UNREADABLE, KEPT = "no onset", "unreadable", "kept"
SHORTEST = 1e-6  # s: what is heard for less was not heard
ROUNDED = 0.01  # share by which a wav file may be smaller than its header says; some writers count carelessly
STREAMED = 0x7FFF0000  # bytes; headers of sounds that were written as they came say so much, or more


def read_events(path: Path) -> tuple[pd.DataFrame, list[Note]]:
    """Read a BIDS events.tsv; stimuli are named, not yet looked for.

    Returns
    -------
    tuple
        Events (column `stim_file` kept as written), and notes with the count of rows left out.

    Raises
    ------
    RecordingError
        If there is no column `onset`.
    """
    table = read_table(path)
    if table.empty and "onset" not in table:
        return empty_events(), [Note(path.name, "no rows", "no events")]
    if "onset" not in table:
        raise RecordingError(
            f"{path}: columns are {', '.join(map(str, table.columns))}; an events table needs a column onset (s)"
        )
    comma = _comma_decides(table)
    rows: list[dict[str, Any]] = []
    fates = []
    for record in records(table):
        fate, row = _row(record, comma)
        fates.append(fate)
        if fate == KEPT:
            rows.append(row)
    notes = _counted(path, fates)
    if comma and any(DECIMAL_COMMA.match(str(cell)) for cell in table["onset"]):
        notes.append(Note(path.name, "onsets with decimal commas", "read as decimal points"))
    return events_table(rows), notes


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dicts."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _comma_decides(table: pd.DataFrame) -> bool:
    """Whether a comma is a decimal comma in all of onset and duration: it is when no number is written with a point."""
    cells = [str(cell) for column in ("onset", "duration") if column in table for cell in table[column]]
    stated = [cell for cell in cells if not is_missing(cell)]
    return any(DECIMAL_COMMA.match(cell) for cell in stated) and not any("." in cell for cell in stated)


def _row(record: dict[str, Any], comma: bool) -> tuple[str, dict[str, Any]]:
    """One row: what became of it, and its values."""
    if is_missing(record["onset"]):
        return NO_ONSET, {}
    onset = number(record["onset"], comma)
    if onset is None:
        return UNREADABLE, {}
    duration = number(record.get("duration"), comma)
    stimulus_onset = number(record.get("stimulus_onset"), comma)
    row: dict[str, Any] = {
        **{name: value for name, value in record.items() if name not in EVENT_COLUMNS},
        "onset": onset,
        "duration": np.nan if duration is None or duration < 0 else duration,
        "stimulus_onset": np.nan if stimulus_onset is None else stimulus_onset,
        "stimulus": "" if is_missing(record.get("stimulus")) else str(record["stimulus"]),
    }
    row["kind"], row["label"] = _kind_and_label(record)
    return KEPT, row


def _kind_and_label(record: dict[str, Any]) -> tuple[str, str]:
    """The kind a row states or implies, and its label; label falls back from label over trial_type to value."""
    stated = {name: str(record[name]) for name in ("kind", "label", "trial_type", "value") if name in record}
    stated = {name: text for name, text in stated.items() if not is_missing(text)}
    trial = stated.get("trial_type", "")
    speech = SPEECH_KINDS.get(trial.lower())
    if "kind" in stated:
        kind = SPEECH_KINDS.get(stated["kind"].lower(), stated["kind"].lower())
    elif not is_missing(record.get("stim_file")):
        kind = "stimulus"
    elif speech and ("value" in stated or "label" in stated):
        return speech, stated.get("label") or stated["value"]
    else:
        kind = "event"
    if speech and kind == speech:  # trial_type only repeats the kind
        trial = ""
    return kind, stated.get("label") or trial or stated.get("value", "")


def _counted(path: Path, fates: list[str]) -> list[Note]:
    """`6 rows: 2 kept, 3 no onset, 1 unreadable`, when any row is left out."""
    lost = {fate: fates.count(fate) for fate in (NO_ONSET, UNREADABLE) if fate in fates}
    if not lost:
        return []
    parts = [f"{fates.count(KEPT)} kept"] + [f"{count} {fate}" for fate, count in lost.items()]
    return [Note(path.name, f"{len(fates)} rows: {', '.join(parts)}", "the others are left out", "warning")]


def attach_stimuli(
    events: pd.DataFrame, folder: Path, seconds: float, file: str
) -> tuple[pd.DataFrame, dict[str, Stimulus], list[Note]]:
    """Find the audio that rows of kind stimulus name, and fill in the words and phones heard.

    Parameters
    ----------
    events
        With `stim_file` where a stimulus begins.
    folder
        ROOT/stimuli: audio, and beside it `<name>.tsv` with onset, duration, kind, label in s from the start of the audio.
    seconds
        Length of the recording.
    file
        For messages.

    Raises
    ------
    RecordingError
        If one name stands for two files, or a timing table is unreadable.
    """
    notes: list[Note] = []
    rows = records(events)
    stimuli: dict[str, Stimulus] = {}
    where: dict[str, str] = {}
    absent: set[str] = set()
    for row in rows:
        stated = row.get("stim_file")
        if row["kind"] != "stimulus" or is_missing(stated):
            continue
        relative = str(stated).replace("\\", "/").removeprefix("stimuli/").lstrip("/")
        name = Path(relative).stem
        if where.setdefault(name, relative) != relative:
            raise RecordingError(
                f"{file}: the stimulus name {name} stands for {where[name]} and {relative}; give the files two names"
            )
        audio = folder / relative
        if name not in stimuli and name not in absent:
            if audio.is_file():
                stimuli[name] = Stimulus(name, audio=audio)
            else:
                absent.add(name)
        if name in absent:
            row["kind"] = "event"  # nothing can be computed from what is not there
            row["label"] = row["label"] or name
            continue
        row["stimulus"] = name
        if np.isnan(row["stimulus_onset"]):
            row["stimulus_onset"] = 0.0
        left = audio_seconds(audio) - row["stimulus_onset"]
        if np.isnan(row["duration"]) or row["duration"] == 0:
            row["duration"] = left
    for name in sorted(absent):
        notes.append(
            Note(file, f"stim_file {where[name]} is not below {folder}", "its rows are plain events", "warning")
        )
    heard = [row for row in rows if row["kind"] == "stimulus" and row["stimulus"] in stimuli]
    _cut_at_next(heard, seconds)
    have = {row["kind"] for row in rows}
    for row in heard:
        for timing in _timings(folder, where[row["stimulus"]]):
            if timing["kind"] not in have:
                placed = _placed(timing, row)
                if placed:
                    rows.append(placed)
    table = events_table(rows)
    _belong(table, heard)
    return table, stimuli, notes


def audio_seconds(path: Path) -> float:
    """Length of an audio file, s.

    Raises
    ------
    RecordingError
        If it is not audio, or a wav file that ends well before its header says.
    """
    import soundfile

    try:
        length = float(soundfile.info(str(path)).duration)
        announced, there = _announced_bytes(path), path.stat().st_size
    except (RuntimeError, OSError) as error:
        raise RecordingError(f"{path}: not readable as audio ({error}); convert it to wav or flac") from error
    if announced is not None and there < (1 - ROUNDED) * announced:
        raise RecordingError(f"{path}: announces {announced} bytes and holds {there}; it is cut off: get it again")
    return length


def _announced_bytes(path: Path) -> int | None:
    """Size of a wav file by its own header, which soundfile does not hold against it; None for other files."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    size = int.from_bytes(head[4:8], "little") + 8
    return size if size < STREAMED else None


def _cut_at_next(heard: list[dict[str, Any]], seconds: float) -> None:
    """A stimulus ends where the next begins, or with the recording."""
    heard.sort(key=lambda row: row["onset"])
    for row, following in zip(heard, [*(later["onset"] for later in heard[1:]), seconds]):
        row["duration"] = float(max(min(row["duration"], following - row["onset"]), 0.0))


def _timings(folder: Path, relative: str) -> list[dict[str, Any]]:
    """Rows of the timing table beside an audio file, s from its start."""
    path = (folder / relative).with_suffix(".tsv")
    if not path.is_file():
        return []
    events, _ = read_events(path)
    return records(events[list(EVENT_COLUMNS)])


def _placed(timing: dict[str, Any], heard: dict[str, Any]) -> dict[str, Any] | None:
    """A timing in seconds of the recording, clipped to what was heard; None outside."""
    begin = max(timing["onset"], heard["stimulus_onset"])
    stop = heard["stimulus_onset"] + heard["duration"]
    if np.isnan(timing["duration"]):
        if not heard["stimulus_onset"] <= timing["onset"] < stop:
            return None
        duration = np.nan
    else:
        duration = min(timing["onset"] + timing["duration"], stop) - begin
        # a timing of no length that begins inside was heard
        if duration < SHORTEST and not (timing["duration"] == 0 and heard["stimulus_onset"] <= timing["onset"] < stop):
            return None
        duration = max(duration, 0.0)
    return {
        "onset": begin - heard["stimulus_onset"] + heard["onset"],
        "duration": duration,
        "kind": timing["kind"],
        "label": timing["label"],
        "stimulus": heard["stimulus"],
        "stimulus_onset": begin,
    }


def _belong(table: pd.DataFrame, heard: list[dict[str, Any]]) -> None:
    """Events inside the span of a stimulus that name none get it, in place."""
    for row in heard:
        inside = (table["onset"] >= row["onset"] - SHORTEST) & (table["onset"] < row["onset"] + row["duration"])
        mine = inside & (table["stimulus"] == "") & (table["kind"] != "stimulus")
        table.loc[mine, "stimulus"] = row["stimulus"]
        known = inside & (table["stimulus"] == row["stimulus"]) & table["stimulus_onset"].isna()
        table.loc[known, "stimulus_onset"] = table["onset"][known] - row["onset"] + row["stimulus_onset"]


def events_of_raw(raw: BaseRaw, file: str) -> tuple[pd.DataFrame, list[Note]]:
    """Events that the file itself holds: annotations, or else the values of its trigger channel.

    Annotations that begin with BAD or EDGE speak of the signal and stay in `raw`.
    """
    rows = []
    for onset, duration, text in zip(raw.annotations.onset, raw.annotations.duration, raw.annotations.description):
        if not str(text).lower().startswith(("bad", "edge")):
            # MNE counts onsets of a Raw from before its first sample
            rows.append({"onset": float(onset) - raw.first_time, "duration": float(duration), "label": str(text)})
    if rows:
        return events_table(rows), []
    return _triggers(raw, file)


def _triggers(raw: BaseRaw, file: str) -> tuple[pd.DataFrame, list[Note]]:
    """Rises of the first trigger channel; lower 16 bits where the format keeps its own flags above them."""
    import mne

    channels = [n for n, k in zip(raw.ch_names, raw.get_channel_types()) if k == "stim"]
    if not channels:
        return empty_events(), []
    preferred = [n for n in ("STI101", "STI 014", "STI014", "Status") if n in channels]
    channel = (preferred or channels)[0]
    found = mne.find_events(
        raw, channel, shortest_event=1, mask=0xFFFF, mask_type="and", initial_event=True, verbose="error"
    )
    rows = [
        {"onset": (sample - raw.first_samp) / raw.info["sfreq"], "duration": np.nan, "label": str(code)}
        for sample, _, code in found
    ]
    said = [Note(file, f"{len(rows)} trigger values in channel {channel}", "taken as events")] if rows else []
    return events_table(rows), said
