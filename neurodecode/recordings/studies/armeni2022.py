"""Adapter of datasets/armeni2022.yaml: three listeners, ten hours each of Sherlock Holmes, 275-channel CTF MEG.

In: `sub-001/ses-001/meg/sub-001_ses-001_task-compr_meg.ds` with `_events.tsv`, and `stimuli/**/01_1.wav` (session 1, run 1).
Out: one Recording a session that is there: the runs of the session one after the other (kind stimulus), words, phones.
The events table has `onset`, `duration` (s), `sample`, `type` and `value`; types are `wav_onset`, and `word_onset_01` and
`phoneme_onset_01`, where 01 is the run. `sp` is a pause. There are no sentences in it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.reading import read_raw
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    cohort_notes,
    inside,
    listed,
    refuse_unknown_options,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import number, read_table

SUBJECTS = ("001", "002", "003")
SESSIONS = tuple(f"{n:03d}" for n in range(1, 11))
TASK = "compr"
ENDINGS = (".ds", ".fif")  # as published, and as converted with MNE
RATE = 1200.0  # Hz
SPEECH = re.compile(r"(word|phoneme)_onset_0*(\d+)")
PAUSE = ("sp", "sil", "")  # values that are no word and no phone
LATE = 2 / RATE  # s by which onset and sample may differ


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a session; sessions without a file are named in a note.

    Raises
    ------
    RecordingError
        If there is no recording.
    """
    refuse_unknown_options(card, ())
    root = study_folder(card, "sub-001", "sub-002", "sub-003")
    found: list[RecordingSource] = []
    absent = []
    for subject in SUBJECTS:
        for session in SESSIONS:
            stem = f"sub-{subject}_ses-{session}_task-{TASK}"
            folder = root / f"sub-{subject}" / f"ses-{session}" / "meg"
            path = next((p for e in ENDINGS if (p := folder / f"{stem}_meg{e}").exists() or p.is_symlink()), None)
            if path is None:
                absent.append(stem)
                continue
            found.append(
                RecordingSource(
                    path,
                    "armeni2022",
                    subject=subject,
                    session=session,
                    task=TASK,
                    root=root,
                    line_frequency=card.line_frequency,
                )
            )
    if not found:
        raise RecordingError(f"{root}: no sub-001/ses-001/meg/*_meg.ds or others there; {card.how_to_get}")
    if absent:
        said = f"{len(absent)} of {len(absent) + len(found)} recordings are not there: {listed(absent)}"
        found[0] = RecordingSource(**{**vars(found[0]), "options": (("absent", said),)})
    return found


def open_recording(source: RecordingSource) -> Recording:
    """Read one session.

    Raises
    ------
    RecordingError
        If the events table is missing or holds no word, or none of the session's audio is below stimuli.
    """
    root = source.root or source.path.parents[3]
    table = source.path.with_name(f"{source.path.name.rsplit('_meg', 1)[0]}_events.tsv")
    read = read_raw(source.path)
    notes = cohort_notes(source) + read.notes
    if read.raw.info["sfreq"] != RATE:
        said = f"{read.raw.info['sfreq']:g} Hz, the study has {RATE:g} Hz"
        notes.append(Note(source.path.name, said, "read as it is", "warning"))
    seconds = len(read.raw.times) / float(read.raw.info["sfreq"])
    speech, begins, more = _events(table)
    notes += more
    audio, more = _audio(sorted(begins), int(source.session), root / "stimuli", table)
    notes += more
    heard = [(path.stem, path, begins[run], 0.0) for run, path in audio.items()]
    stimuli_rows, stimuli = stimulus_rows(heard, seconds)
    notes += _belong(speech, begins, {run: path.stem for run, path in audio.items()}, stimuli_rows, table.name)
    speech, more = inside(sorted(speech, key=lambda row: row["onset"]), seconds, table.name)
    notes += more
    return Recording(
        read.raw,
        events_table([*stimuli_rows, *speech]),
        subject=source.subject,
        session=source.session,
        task=source.task,
        stimuli=stimuli,
        notes=notes,
        files=[*read.files, table],
        line_frequency=source.line_frequency,
    )


def _events(path: Path) -> tuple[list[Row], dict[int, float], list[Note]]:
    """Words and phones with their run; the second at which the audio of each run begins; notes."""
    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: missing; without it nothing is known of what was heard")
    lines = read_table(path)
    missing = sorted({"onset", "duration", "type", "value"} - set(lines.columns))
    if missing:
        raise RecordingError(f"{path}: no column {missing[0]}; get it again")
    rows: list[Row] = []
    begins: dict[int, float] = {}
    fates: Counter[str] = Counter()
    off_grid = 0.0
    wav: float | None = None  # the last wav_onset so far: that of the run whose first word follows
    samples = lines["sample"] if "sample" in lines.columns else [None] * len(lines)
    for onset_cell, length, kind, value, sample in zip(
        lines["onset"], lines["duration"], lines["type"], lines["value"], samples
    ):
        onset = number(onset_cell)
        found = SPEECH.fullmatch(str(kind).strip())
        if onset is None:
            fates["without an onset"] += bool(found)
            continue
        if str(kind).strip() == "wav_onset":
            wav = onset
            continue
        label = str(value).strip().strip("\"'")
        if found is None or label.lower() in PAUSE:
            continue  # triggers, answers to questions, pauses
        at = number(sample)
        # a table may count samples from 0 or from 1
        off_grid = max(off_grid, 0.0 if at is None else min(abs(at / RATE - onset), abs((at - 1) / RATE - onset)))
        run = int(found[2])
        if run not in begins:
            if wav is None:
                fates["before any wav_onset"] += 1
                continue
            begins[run] = wav
        lasts = number(length)
        rows.append(
            {
                "onset": onset,
                "duration": np.nan if lasts is None or lasts < 0 else lasts,
                "kind": "word" if found[1] == "word" else "phone",
                "label": label.lower() if found[1] == "word" else label,
                "run_of_session": run,
            }
        )
    if not any(row["kind"] == "word" for row in rows):
        raise RecordingError(
            f"{path}: {len(lines)} rows, none of type word_onset_01 or later with a word; get it again"
        )
    shared = [run for run, begin in begins.items() if sum(begin == other for other in begins.values()) > 1]
    if shared:
        raise RecordingError(
            f"{path}: runs {listed(map(str, sorted(shared)))} follow one and the same wav_onset, so their audio cannot be "
            "placed; get it again"
        )
    notes = []
    if fates:
        what = ", ".join(f"{count} words or phones {fate}" for fate, count in fates.items() if count)
        notes += [Note(path.name, what, "left out", "warning")] if what else []
    if off_grid > LATE:
        said = f"onset and sample differ by up to {off_grid:.3f} s"
        notes.append(Note(path.name, said, "onset is taken", "warning"))
    return rows, begins, notes


def _audio(runs: list[int], session: int, folder: Path, table: Path) -> tuple[dict[int, Path], list[Note]]:
    """Run -> its wav, of those that are there: `01_1.wav` is run 1 of session 1, in the folder or below it."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".wav":
            files.setdefault(path.stem, path)
    names = {run: f"{session:02d}_{run}" for run in runs}
    absent = [f"{name}.wav" for name in names.values() if name not in files]
    if len(absent) == len(names):
        raise RecordingError(f"{table}: none of {listed(absent)} is in {folder}; get the stimuli of the study too")
    said = f"{len(absent)} sounds are not in {folder}: {listed(absent)}"
    notes = [Note(table.name, said, "their words belong to no stimulus", "warning")] if absent else []
    return {run: files[name] for run, name in names.items() if name in files}, notes


def _belong(
    speech: list[Row], begins: dict[int, float], names: dict[int, str], heard: list[Row], file: str
) -> list[Note]:
    """Give words and phones the audio of their run, and their second of it, in place; one outside of it belongs to none."""
    spans = {row["stimulus"]: (row["onset"], row["onset"] + row["duration"]) for row in heard}
    outside = 0
    for row in speech:
        run = row.pop("run_of_session")
        first, last = spans.get(names.get(run, ""), (np.inf, -np.inf))
        belongs = first - 1e-6 <= row["onset"] < last
        outside += run in names and not belongs
        row["stimulus"] = names[run] if belongs else ""
        row["stimulus_onset"] = row["onset"] - begins[run] if belongs else np.nan
    said = f"{outside} of {len(speech)} words and phones lie outside the wav of their run"
    return [Note(file, said, "they belong to no stimulus", "warning")] if outside else []
