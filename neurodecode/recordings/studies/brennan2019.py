"""Adapter of datasets/brennan2019.yaml: chapter one of Alice's Adventures in Wonderland, 60-channel EEG, 12 sound files.

In: `S01.mat` (FieldTrip `raw`: one trial, 500 Hz, uV), `proc/S01.mat` (`proc`: `trl`, `varnames`, bad channels),
`AliceChapterOne-EEG.csv` (a row a word) and `audio/DownTheRabbitHoleFinal_SoundFile1.wav` .. `12.wav`. Out: one Recording a
listener. Each segment's sound begins so long before its words as the table says they come after its start.

`trl` is in samples counted from 1: begin of the epoch, its end, and `offset` = begin of the epoch - word onset, which is -150
(0.3 s) in the scripts of those who recorded the data. The released code of the published system takes the begin of the epoch
for the onset of the word; here the onset is the onset, unless the card's option `trl_offset` is `ignored`.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    cohort_notes,
    inside,
    listed,
    load_mat,
    option,
    positive,
    refuse_unknown_options,
    sentence_rows,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import number, read_text

TABLE = "AliceChapterOne-EEG.csv"
AUDIO = "DownTheRabbitHoleFinal_SoundFile{}.wav"
STIMULUS = "alice-{:02d}"
FILE = re.compile(r"^S(\d+)\.mat$")
WORDS = 2129
ELECTRODES = tuple(str(n) for n in range(1, 62) if n != 29)  # 29 is the reference of the recording
TYPES = {"VEOG": "eog", "AUD": "misc", "AUX5": "misc"}
UNITS = {"uv": 1e-6, "µv": 1e-6, "mv": 1e-3, "v": 1.0}
# of the 42 listeners in proc, those that the published system leaves out
UNPUBLISHED = {
    "02": "bad trl",
    "24": "fewer words",
    **dict.fromkeys(("26", "27", "30", "32", "34", "35", "36"), "bad trl"),
}
# those that the article of the data set analyses
AUTHORS = frozenset(
    f"{n:02d}" for n in (1, 3, 4, 5, 6, 8, *range(10, 23), 25, 26, *range(34, 43), 44, 45, 48)
)  # fmt: skip
SELECTIONS = ("published", "authors", "all")
NEAR = 0.05  # s by which words of a segment may part from their sound before it is worth a warning
FAR = 0.5  # s: a word farther from where its sound says belongs to no sound


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a listener of the selection; those left out are named in a note.

    Raises
    ------
    RecordingError
        If there is no recording, or no table of words.
    """
    refuse_unknown_options(card, ("selection", "trl_offset", "bads", "words"))
    selection = option(card, "selection", "published", SELECTIONS)
    offset = option(card, "trl_offset", "applied", ("applied", "ignored"))
    bads = option(card, "bads", "ignored", ("ignored", "marked"))
    words = int(positive(card, "words", WORDS))
    root = study_folder(card, TABLE, "proc")
    if not (root / TABLE).is_file():
        raise RecordingError(f"{root / TABLE}: missing; without it no word is known")
    names = {m.group(1): p for p in sorted((root / "proc").glob("S*.mat")) if (m := FILE.match(p.name))}
    signals = {m.group(1) for p in root.glob("S*.mat") if (m := FILE.match(p.name))}
    chosen = [s for s in sorted(names, key=int) if s in signals and _selected(s, selection)]
    if not chosen:
        raise RecordingError(
            f"{root}: no listener of the selection {selection} has both S<nn>.mat and proc/S<nn>.mat; {card.how_to_get}"
        )
    said = []
    refused = [
        f"S{s} ({UNPUBLISHED[s]})" if selection == "published" else f"S{s}"
        for s in sorted(names)
        if s in signals and not _selected(s, selection)
    ]
    for what, who in (
        ("without proc", [f"S{s}" for s in sorted(signals - set(names))]),
        ("without recording", [f"S{s}" for s in sorted(set(names) - signals)]),
        (f"not in the selection {selection}", refused),
    ):
        said += [f"{len(who)} listeners {what}: {', '.join(who)}"] if who else []
    options: tuple[tuple[str, object], ...] = (("trl_offset", offset), ("bads", bads), ("words", words))
    return [
        RecordingSource(
            root / f"S{subject}.mat",
            "brennan2019",
            subject=subject,
            task="alice",
            root=root,
            line_frequency=card.line_frequency,
            options=options + ((("absent", "; ".join(said)),) if said and subject == chosen[0] else ()),
        )
        for subject in chosen
    ]


def _selected(subject: str, selection: str) -> bool:
    if selection == "published":
        return subject not in UNPUBLISHED
    return selection == "all" or subject in AUTHORS


def open_recording(source: RecordingSource) -> Recording:
    """Read one listener.

    Raises
    ------
    RecordingError
        If a file is missing or not laid out as described above, or words and table do not agree.
    """
    root = source.root or source.path.parent
    options = dict(source.options)
    proc_file, table = root / "proc" / source.path.name, root / TABLE
    notes = cohort_notes(source)
    raw, first, more = _signal(source.path)
    notes += more
    seconds = len(raw.times) / float(raw.info["sfreq"])
    proc = load_mat(proc_file, "proc", simplify=True)["proc"]
    notes += _bads(raw, proc, proc_file.name, str(options.get("bads", "ignored")))

    story = _story(table, int(str(options.get("words", WORDS))))
    applied = options.get("trl_offset", "applied") == "applied"
    words, more = _words(proc, proc_file, story, float(raw.info["sfreq"]), first, applied)
    notes += more
    heard, more = _sounds(words, root / "audio", table, proc_file.name)
    notes += more
    stimuli_rows, stimuli = stimulus_rows([(n, p, onset, 0.0) for n, p, onset in heard], seconds)
    # out of all words of the table, also those without a time here: its sentences are those of all listeners
    begins = {name: onset for name, _, onset in heard if name in stimuli}
    sentences, joined = sentence_rows(_spoken(story, begins))
    words, more = inside(words, seconds, proc_file.name)
    notes += more
    if joined:
        said = f"{joined} sentences without their first word"
        notes.append(Note(table.name, said, "joined to the sentence before"))
    return Recording(
        raw,
        events_table([*stimuli_rows, *sentences, *words]),
        subject=source.subject,
        task=source.task,
        stimuli=stimuli,
        notes=notes,
        files=[source.path, proc_file, table],
        line_frequency=source.line_frequency,
    )


def _signal(path: Path) -> tuple[Any, int, list[Note]]:
    """MNE Raw, the number of its first sample in the counting of `trl`, and notes."""
    import mne

    struct = load_mat(path, "raw", simplify=True)["raw"]
    for name in ("label", "trial", "fsample"):
        if not hasattr(struct, name):
            raise RecordingError(f"{path}: its struct raw has no field {name}; it is no FieldTrip raw data")
    labels = _texts(struct.label)
    trial = np.asarray(struct.trial)
    if trial.dtype == object:
        if trial.size != 1:
            raise RecordingError(f"{path}: raw.trial holds {trial.size} trials, a continuous recording has 1")
        trial = np.asarray(trial.ravel()[0])
    if trial.ndim != 2 or len(trial) != len(labels):
        raise RecordingError(f"{path}: raw.trial is {trial.shape} for {len(labels)} labels, not [channels, samples]")
    types = ["eeg" if name in ELECTRODES else TYPES.get(name.upper(), "misc") for name in labels]
    notes = []
    absent = [name for name in ELECTRODES if name not in labels]
    if absent:
        notes.append(Note(path.name, f"no electrode {listed(absent)}", "the recording goes without", "warning"))
    unknown = [name for name in labels if name not in ELECTRODES and name.upper() not in TYPES]
    if unknown:
        notes.append(Note(path.name, f"channels not known: {listed(unknown)}", "typed misc", "warning"))
    units = _texts(getattr(getattr(struct, "hdr", None), "chanunit", []))
    eeg_units = {unit.lower() for unit, kind in zip(units, types) if kind == "eeg"}
    if len(eeg_units) > 1 or not eeg_units <= set(UNITS):
        raise RecordingError(f"{path}: hdr.chanunit is {listed(sorted(eeg_units))}; allowed is one of uV, mV, V")
    if not eeg_units:
        notes.append(Note(path.name, "no unit stated", "read as uV"))
    info = mne.create_info(labels, float(struct.fsample), types)
    raw = mne.io.RawArray(trial.astype(float) * UNITS[eeg_units.pop() if eeg_units else "uv"], info, verbose="error")
    raw.set_montage(mne.channels.make_standard_montage("easycap-M10"), on_missing="ignore", verbose="error")
    start = np.ravel(np.asarray(getattr(struct, "sampleinfo", 1), float))
    return raw, int(start[0]) if len(start) else 1, notes


def _texts(value: Any) -> list[str]:
    """Text of a cell array of MATLAB, however scipy gives it."""
    return [str(text).strip() for text in np.ravel(np.asarray(value, dtype=object)) if np.size(text)]


def _bads(raw: Any, proc: Any, file: str, wanted: str) -> list[Note]:
    """Channels that those who recorded the data found bad; ignored as published, or marked."""
    found: set[str] = set()
    for group, field in (("impedence", "bads"), ("rejections", "badchans")):
        found |= set(_texts(getattr(getattr(proc, group, None), field, [])))
    names = [name for name in raw.ch_names if name in found]
    if not names:
        return []
    if wanted == "marked":
        raw.info["bads"] = names
    done = "marked bad" if wanted == "marked" else "not taken, as published; options.bads=marked takes it"
    return [Note(file, f"states {len(names)} bad channels: {listed(names)}", done)]


def _story(path: Path, expected: int) -> dict[int, Row]:
    """Order -> word, segment, onset and offset in its wav (s), sentence, position."""
    refuse_pointer(path)
    lines = list(csv.DictReader(read_text(path).splitlines()))
    wanted = ("Word", "Segment", "onset", "offset", "Order", "Position", "Sentence")
    missing = [name for name in wanted if not lines or name not in lines[0]]
    if missing:
        raise RecordingError(f"{path}: no column {listed(missing)}; get it again")
    if len(lines) != expected:
        raise RecordingError(
            f"{path}: {len(lines)} words, the story has {expected}; get it again, or set options.words"
        )
    story: dict[int, Row] = {}
    for count, line in enumerate(lines, start=2):
        values = {name: number(line[name]) for name in wanted[1:]}
        if any(value is None for value in values.values()):
            raise RecordingError(
                f"{path}: line {count} has no number in {listed(n for n, v in values.items() if v is None)}"
            )
        story[int(values["Order"] or 0)] = {"word": line["Word"].strip(), **values}
    if len(story) != len(lines):
        raise RecordingError(f"{path}: {len(lines) - len(story)} values of Order occur twice; get it again")
    return story


def _words(
    proc: Any, path: Path, story: dict[int, Row], rate: float, first: int, applied: bool
) -> tuple[list[Row], list[Note]]:
    """Word rows with onsets in seconds of the recording, sorted; `segment` and `inside` (s in the wav) go with them."""
    trl = np.atleast_2d(np.asarray(getattr(proc, "trl", np.zeros((0, 0))), float))
    names = _texts(getattr(proc, "varnames", []))
    if len(names) + 3 == trl.shape[1]:
        names = ["start_sample", "stop_sample", "offset", *names]
    if len(names) != trl.shape[1] or not {"start_sample", "offset"} <= set(names):
        raise RecordingError(
            f"{path}: proc.trl has {trl.shape[1]} columns for the {len(names)} names {listed(names)}, which must be "
            "as many, or three fewer"
        )
    column = {name: trl[:, k] for k, name in enumerate(names)}
    if "Order" in column:
        orders = column["Order"].astype(int)
        strange = [int(k) for k in orders if k not in story]
        if strange or len(set(orders)) != len(orders):
            raise RecordingError(
                f"{path}: proc.trl names words twice or words that {TABLE} does not have ({strange[:5]})"
            )
    elif len(trl) == len(story):
        orders = np.array(sorted(story))
    else:
        raise RecordingError(f"{path}: proc.trl has {len(trl)} rows without Order for {len(story)} words")
    notes = []
    if len(trl) < len(story):
        notes.append(
            Note(path.name, f"{len(trl)} of {len(story)} words have a time", "the others are left out", "warning")
        )
    if applied:
        # samples count from 1, and `offset` is negative when the epoch begins before the word
        onsets = (column["start_sample"] - column["offset"] - first) / rate
    else:
        onsets = column["start_sample"] / rate
        early = float(np.median(-column["offset"])) / rate
        if early:
            said = f"epochs begin {early:g} s before their word, which trl_offset=ignored takes for its onset"
            notes.append(Note(path.name, said, "as in the released code", "warning"))
    rows: list[Row] = []
    parted = 0
    for k, order in enumerate(orders):
        word = story[int(order)]
        parted += "tmin" in column and abs(column["tmin"][k] - word["onset"]) > NEAR
        rows.append(
            {
                "onset": float(onsets[k]),
                "duration": max(word["offset"] - word["onset"], 0.0),
                "kind": "word",
                "label": word["word"],
                "stimulus": "",
                "stimulus_onset": np.nan,
                "sequence_id": word["Sentence"],
                "word_index": word["Position"] - 1,
                "order": float(order),
                "segment": word["Segment"],
            }
        )
    if parted > len(rows) / 2:
        raise RecordingError(
            f"{path}: {parted} of {len(rows)} words have another tmin than {TABLE}; one is of another story"
        )
    if parted:
        said = f"{parted} of {len(rows)} words have another tmin than {TABLE}"
        notes.append(Note(path.name, said, "the table is taken", "warning"))
    for row in rows:
        row["inside"] = story[int(row["order"])]["onset"]
    return sorted(rows, key=lambda row: row["onset"]), notes


def _spoken(story: dict[int, Row], begins: dict[str, float]) -> list[Row]:
    """All words of the sounds that are known, at the second at which the table has them, sorted."""
    rows = []
    for order in sorted(story):
        word = story[order]
        name = STIMULUS.format(int(word["Segment"]))
        if name in begins:
            rows.append(
                {
                    "onset": begins[name] + word["onset"],
                    "duration": max(word["offset"] - word["onset"], 0.0),
                    "label": word["word"],
                    "stimulus": name,
                    "stimulus_onset": word["onset"],
                    "sequence_id": word["Sentence"],
                    "word_index": word["Position"] - 1,
                }
            )
    return sorted(rows, key=lambda row: float(row["onset"]))


def _sounds(words: list[Row], folder: Path, table: Path, file: str) -> tuple[list[tuple[str, Path, float]], list[Note]]:
    """(name, file, s of the recording at which it begins) of each segment; words get their stimulus, in place.

    The begin of a sound is the median over its words of onset - second in the wav.
    """
    heard, absent, silent = [], [], []
    astray, parted = 0, 0.0
    for segment in sorted({row["segment"] for row in words}):
        members = [row for row in words if row["segment"] == segment]
        begin = float(np.median([row["onset"] - row["inside"] for row in members]))
        path = folder / AUDIO.format(int(segment))
        name = STIMULUS.format(int(segment))
        if path.is_file():
            heard.append((name, path, begin))
        else:
            absent.append(path.name)
            silent.append(segment)
        for row in members:
            gap = abs(row["onset"] - row["inside"] - begin)
            if gap > FAR:
                astray += 1
            else:
                parted = max(parted, gap)
                if segment not in silent:
                    row |= {"stimulus": name, "stimulus_onset": row["inside"]}
    for row in words:
        del row["inside"]
    if not heard:
        raise RecordingError(f"{folder}: holds none of {listed(absent)}; put the sound files of the study there")
    notes = []
    if absent:
        said = f"{len(absent)} sounds are not in {folder}: {listed(absent)}"
        notes.append(Note(table.name, said, "their words belong to no stimulus", "warning"))
    if astray:
        said = f"{astray} words lie more than {FAR} s from where their sound has them"
        notes.append(Note(file, said, "they belong to no stimulus", "warning"))
    if parted > NEAR:
        said = f"times in the recording and in the wav part by up to {parted:.3f} s"
        notes.append(Note(file, said, "each is taken as stated", "warning"))
    return heard, notes
