"""Adapter of datasets/libribrain.yaml: one listener, more than 50 hours of Sherlock Holmes, 306-channel MEG, as serialised.

In, for each book (`Sherlock1` ..): `derivatives/serialised/sub-0_ses-1_task-Sherlock1_run-1_proc-..._meg.h5` with `data`
[channels, samples] in T and T/m and attributes `sample_frequency`, `channel_names`, `channel_types`;
`derivatives/events/..._events.tsv`; and beside the books `metadata/sensor_xyz.json`, [channels, 3] in m. Out: one Recording a
file that is there: words, phones and, where the audio is known, sentences.

The events table has `kind` (word, phoneme, silence), `segment`, `sentenceidx`, `wordidx`, `timemeg` (s of the recording),
`timechapter` (s of the chapter's audio) and `duration`. How the files in `stimuli/audio` are named is not known here:
`options.audio` says it, for example `{task}_{session}.wav`. Without it words have no stimulus; `required` stops at once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError, SettingsError
from neurodecode.recordings.events import audio_seconds
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    cohort_notes,
    inside,
    meg_notes,
    refuse_unknown_options,
    sentence_rows,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import read_table

if TYPE_CHECKING:
    from mne.io import BaseRaw

PROCESSING = "bads+headpos+sss+notch+bp+ds"  # what was done before the release serialised it
NAME = re.compile(
    r"sub-(?P<subject>[^_]+)_ses-(?P<session>[^_]+)_task-(?P<task>[^_]+)_run-(?P<run>[^_]+)_proc-(?P<proc>.+)_meg"
)
CHANNELS, RATE = 306, 250.0
COLUMNS = ("kind", "segment", "sentenceidx", "wordidx", "timemeg", "duration")
NO_SPEECH = ("", "sil", "oov_S", "spn", "nan")  # segments that are no word and no phone
PARTED = 0.05  # s by which the clocks of a recording and a chapter may part
COILS = {"mag": 3024, "grad": 3012}  # FIFF numbers of Vectorview magnetometers and planar gradiometers


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a serialised file, in the order of books and sessions.

    Raises
    ------
    RecordingError
        If there is none of the processing that is asked for, or `options.audio` is no pattern.
    SettingsError
        If `options.audio` is `required`.
    """
    refuse_unknown_options(card, ("audio", "processing"))
    wanted, audio = str(card.options.get("processing") or PROCESSING), str(card.options.get("audio") or "")
    if audio == "required":
        raise SettingsError(
            f"{card.name}: how the audio of a session is named is not known; look into */stimuli/audio of the release and say "
            "it, for example --set \"cohort.options.audio='{task}_{session}.wav'\" (docs/studies.md)"
        )
    root = study_folder(card, *(f"Sherlock{n}" for n in range(1, 10)), "TIMIT", "MOCHATIMIT", "TheMoth")
    found: list[tuple[tuple[Any, ...], RecordingSource]] = []
    others: set[str] = set()
    for path in root.glob("*/derivatives/serialised/*_meg.h5"):
        named = NAME.fullmatch(path.stem)
        if named is None or named["proc"] != wanted:
            others.add(named["proc"] if named else path.name)
            continue
        if audio:
            _audio_name(card.name, audio, named["task"], named["session"], named["run"])  # refused before any work
        order = (named["subject"].zfill(3), named["task"], named["session"].zfill(3), named["run"])
        found.append(
            (
                order,
                RecordingSource(
                    path,
                    "libribrain",
                    subject=named["subject"],
                    session=named["session"],
                    task=named["task"],
                    run=named["run"],
                    root=root,
                    line_frequency=card.line_frequency,
                    options=(("audio", audio),),
                ),
            )
        )
    if not found:
        there = f"; there are {', '.join(sorted(others)[:5])}" if others else ""
        raise RecordingError(
            f"{root}: no */derivatives/serialised/*_proc-{wanted}_meg.h5{there}; set options.processing, or get them"
        )
    return [source for _, source in sorted(found, key=lambda pair: pair[0])]


def open_recording(source: RecordingSource) -> Recording:
    """Read one session of one book.

    Raises
    ------
    RecordingError
        If the file is not as serialised, or its events are missing.
    """
    root = source.root or source.path.parents[3]
    stem = source.path.name.split("_proc-")[0]
    table = source.path.parents[1] / "events" / f"{stem}_events.tsv"
    raw, notes = _raw(source.path)
    notes = cohort_notes(source) + notes + meg_notes(raw, source.path.name, CHANNELS, RATE)
    places = root / "metadata" / "sensor_xyz.json"
    notes += _place(raw, places)
    seconds = len(raw.times) / float(raw.info["sfreq"])
    speech, more = _events(table)
    notes += more
    pattern = str(dict(source.options).get("audio") or "")
    stimuli_rows, stimuli, more = _stimulus(source, pattern, speech, root, table, seconds)
    notes += more
    name = next(iter(stimuli), "")
    for row in speech:
        row["stimulus"] = name if np.isfinite(row["stimulus_onset"]) else ""
        row["stimulus_onset"] = row["stimulus_onset"] if name else np.nan
    sentences, _ = sentence_rows([row for row in speech if row["kind"] == "word"])
    speech, more = inside(speech, seconds, table.name)
    notes += more
    return Recording(
        raw,
        events_table([*stimuli_rows, *sentences, *speech]),
        subject=source.subject,
        session=source.session,
        task=source.task,
        run=source.run,
        stimuli=stimuli,
        notes=notes,
        files=[source.path, table, *([places] if places.is_file() else [])],
        line_frequency=source.line_frequency,
    )


def _raw(path: Path) -> tuple[BaseRaw, list[Note]]:
    """The serialised signal; it is float32 and read as a whole."""
    import h5py
    import mne

    refuse_pointer(path)
    try:
        with h5py.File(path, "r") as file:
            data = np.asarray(file["data"][()], np.float64)  # MNE holds nothing else
            attributes = {key: file.attrs[key] for key in file.attrs}
    except (OSError, KeyError) as error:
        text = " ".join(str(error).split())
        raise RecordingError(f"{path}: not a serialised recording ({text}); get it again") from None
    missing = sorted({"sample_frequency", "channel_names", "channel_types"} - set(attributes))
    if missing:
        raise RecordingError(f"{path}: has no attribute {missing[0]}; get it again")
    names, kinds = (
        [part.strip() for part in str(attributes[key]).split(",")] for key in ("channel_names", "channel_types")
    )
    if data.ndim != 2 or not len(data) == len(names) == len(kinds):
        raise RecordingError(
            f"{path}: data is {data.shape} for {len(names)} names and {len(kinds)} types of channels; get it again"
        )
    unknown = sorted(set(kinds) - set(COILS))
    if unknown:
        raise RecordingError(f"{path}: channels of type {unknown[0]}, allowed are mag and grad; get it again")
    info = mne.create_info(names, float(attributes["sample_frequency"]), kinds)
    for channel, kind in zip(info["chs"], kinds):
        channel["coil_type"] = COILS[kind]
    notes = [Note(path.name, "filtered before its release", "the stored bands are those of the release")]
    return mne.io.RawArray(data, info, verbose="error"), notes


def _place(raw: BaseRaw, path: Path) -> list[Note]:
    """Give channels the positions of the shared table, in its order, m."""
    if not path.is_file():
        return [Note(path.name, "missing", "channels have no positions", "warning")]
    try:
        places = np.array(json.loads(path.read_text(encoding="utf-8")), float)
    except (ValueError, TypeError):
        places = np.zeros(())
    if places.shape != (len(raw.ch_names), 3) or not np.isfinite(places).all():
        said = f"positions are {places.shape}, the recording has {len(raw.ch_names)} channels"
        return [Note(path.name, said, "channels have no positions", "warning")]
    for channel, place in zip(raw.info["chs"], places):
        channel["loc"][:3] = place
    return []


def _events(path: Path) -> tuple[list[Row], list[Note]]:
    """Words and phones, sorted; `stimulus_onset` is the second of the chapter, NaN where it is not stated."""
    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: missing; without it nothing is known of what was heard")
    lines = read_table(path)
    missing = [name for name in COLUMNS if name not in lines.columns]
    if missing:
        raise RecordingError(f"{path}: no column {missing[0]}; get it again")
    numbers = {
        key: pd.to_numeric(lines[key], errors="coerce")
        for key in ("timemeg", "timechapter", "duration", "sentenceidx", "wordidx")
        if key in lines.columns
    }
    kinds, segments = lines["kind"].astype(str), lines["segment"].astype(str)
    spoken = kinds.isin(["word", "phoneme"]) & ~segments.isin(NO_SPEECH)
    timed = spoken & numbers["timemeg"].notna()
    rows: list[Row] = []
    for k in np.flatnonzero(timed.to_numpy()):
        values = {key: float(column.iloc[k]) for key, column in numbers.items()}
        lasts, label = values["duration"], segments.iloc[k]
        row: Row = {
            "onset": values["timemeg"],
            "duration": lasts if lasts >= 0 else np.nan,
            "kind": "word" if kinds.iloc[k] == "word" else "phone",
            "label": label,
            "stimulus_onset": values.get("timechapter", np.nan),
            "sequence_id": values["sentenceidx"],
        }
        if row["kind"] == "word":
            row["word_index"] = values["wordidx"]
        else:
            row["label"], _, row["position"] = label.partition("_")
        rows.append(row)
    if not any(row["kind"] == "word" for row in rows):
        raise RecordingError(f"{path}: {len(lines)} rows, none of kind word with a time; get it again")
    notes: list[Note] = []
    untimed, backwards = int((spoken & ~timed).sum()), int((numbers["duration"][timed] < 0).sum())
    if untimed:
        notes.append(Note(path.name, f"{untimed} words or phones without a time", "left out", "warning"))
    if backwards:
        said = f"{backwards} words or phones end before they begin"
        notes.append(Note(path.name, said, "their duration is not known", "warning"))
    rows.sort(key=lambda row: row["onset"])
    # numbers of words begin anew in each sentence, from 0 or from 1: the first one that is there begins it
    seen: set[float] = set()
    for row in rows:
        if row["kind"] == "word":
            row["word_index"] = 0.0 if row["sequence_id"] not in seen else max(row["word_index"], 1.0)
            seen.add(row["sequence_id"])
    return rows, notes


def _stimulus(
    source: RecordingSource, pattern: str, speech: list[Row], root: Path, table: Path, seconds: float
) -> tuple[list[Row], dict[str, Any], list[Note]]:
    """The chapter's audio where its file is known: it begins where most words say, and must last as long as they do."""
    if not pattern:
        said = "how stimuli/audio names its files is not known"
        return (
            [],
            {},
            [Note(table.name, said, "no stimulus; set options.audio, for example {task}_{session}.wav", "warning")],
        )
    name = _audio_name("libribrain", pattern, source.task, source.session, source.run)
    path = root / source.task / "stimuli" / "audio" / name
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; correct options.audio ({pattern})")
    words = [row for row in speech if row["kind"] == "word" and np.isfinite(row["stimulus_onset"])]
    if not words:
        raise RecordingError(
            f"{table}: no word states its timechapter, so {name} cannot be placed; leave options.audio out"
        )
    begins = np.array([row["onset"] - row["stimulus_onset"] for row in words])
    begin = float(np.median(begins))
    length = audio_seconds(path)
    last = max(row["stimulus_onset"] for row in words)
    if last > length or np.any(np.diff([row["stimulus_onset"] for row in words]) < -1.0):
        why = (
            f"lasts {length:.1f} s, words go on to {last:.1f} s"
            if last > length
            else "holds one chapter, words are of several"
        )
        raise RecordingError(f"{path}: {why} of {table.name}; correct options.audio ({pattern})")
    rows, stimuli = stimulus_rows([(f"{source.task}_{path.stem}", path, begin, 0.0)], seconds)
    parted = float(np.abs(begins - begin).max())
    said = f"times in the recording and in the chapter part by up to {parted:.3f} s"
    notes = [Note(table.name, said, "each is taken as stated", "warning")] if parted > PARTED else []
    return rows, stimuli, notes


def _audio_name(card: str, pattern: str, task: str, session: str, run: str) -> str:
    """Name of an audio file after `options.audio`."""
    try:
        name = pattern.format(task=task, session=session, run=run)
    except (KeyError, IndexError, ValueError):
        name = ""
    if not name or "/" in name or ".." in name:
        raise RecordingError(
            f"{card}: options.audio is {pattern!r}; allowed is a file name with {{task}}, {{session}} and {{run}} in it"
        )
    return name
