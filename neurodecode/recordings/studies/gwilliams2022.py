"""Adapter of datasets/gwilliams2022.yaml (MEG-MASC): 27 listeners, 208-channel KIT MEG, four English stories, twice.

In: `participants.tsv`, `sub-01/ses-0/meg/sub-01_ses-0_task-0_meg.con` with `_events.tsv` and `_channels.tsv`, and
`stimuli/audio/<story>_<k>.wav`. Out: one Recording a file that is there: several wav files one after the other (kind
stimulus), words, phones, sentences. Times in `trial_type` (`start`) are seconds of the wav; `onset` is seconds of the
recording.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    meg_notes,
    refuse_unknown_options,
    sentence_rows,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import number, read_table, read_text

if TYPE_CHECKING:
    from mne.io import BaseRaw

STORIES = {"0": "lw1", "1": "cable_spool_fort", "2": "easy_money", "3": "The_Black_Willow"}
SESSIONS = ("0", "1")
ENDINGS = (".con", ".fif")  # as published, and as converted with MNE
CHANNELS = 208  # axial gradiometers; 16 further ones are references
RATE = 1000.0  # Hz
KINDS = {"sound": "sound", "word": "word", "phoneme": "phone"}
TOLERANCE = 0.05  # s by which the clock of the recording and that of a wav may part before it is worth a warning
FAR = 0.5  # s: a word farther than this from where its wav says belongs to another sound row


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a file; combinations of participant, session and story without a file are named in a note.

    Raises
    ------
    RecordingError
        If there is no participants.tsv or no recording.
    """
    refuse_unknown_options(card, ())
    root = study_folder(card, "participants.tsv")
    table = read_table(root / "participants.tsv")
    if "participant_id" not in table:
        raise RecordingError(f"{root / 'participants.tsv'}: no column participant_id; get it again")
    subjects = [str(name).split("-")[-1] for name in table["participant_id"]]
    found: list[RecordingSource] = []
    absent = []
    for subject in sorted(set(subjects)):
        for session in SESSIONS:
            for task in STORIES:
                stem = f"sub-{subject}_ses-{session}_task-{task}"
                folder = root / f"sub-{subject}" / f"ses-{session}" / "meg"
                path = next((p for e in ENDINGS if _there(p := folder / f"{stem}_meg{e}")), None)
                if path is None:
                    absent.append(stem)
                    continue
                found.append(
                    RecordingSource(
                        path,
                        "gwilliams2022",
                        subject=subject,
                        session=session,
                        task=task,
                        root=root,
                        line_frequency=card.line_frequency,
                    )
                )
    if not found:
        raise RecordingError(f"{root}: participants.tsv lists {len(subjects)} participants, no recording is there")
    unlisted = sorted(p.name for p in root.glob("sub-*") if p.name.split("-")[-1] not in subjects)
    said = [f"{len(absent)} of {len(absent) + len(found)} recordings are not there: {listed(absent)}"] if absent else []
    said += [f"folders of nobody in participants.tsv: {listed(unlisted)}"] if unlisted else []
    if said:
        found[0] = RecordingSource(**{**vars(found[0]), "options": (("absent", "; ".join(said)),)})
    return found


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()  # a link whose content was not fetched is refused when opened


def open_recording(source: RecordingSource) -> Recording:
    """Read one story.

    Raises
    ------
    RecordingError
        If the events table is missing, or none of its sounds is in stimuli/audio.
    """
    root = source.root or source.path.parents[3]
    stem = source.path.name.rsplit("_meg", 1)[0]
    table = source.path.with_name(f"{stem}_events.tsv")
    read = read_raw(source.path)
    notes = cohort_notes(source) + read.notes + meg_notes(read.raw, source.path.name, CHANNELS, RATE)
    files, more = _mark_bads(read.raw, source.path.with_name(f"{stem}_channels.tsv"))
    notes += more
    seconds = len(read.raw.times) / float(read.raw.info["sfreq"])

    rows, more = _events(table)
    notes += more
    sounds = [row for row in rows if row["kind"] == "sound" and 0 <= row["onset"] < seconds]
    audio, more = _audio(sounds, root / "stimuli" / "audio", table)
    notes += more
    heard = [(row["sound"], audio[row["sound"]], row["onset"], row["start"]) for row in sounds if row["sound"] in audio]
    stimuli_rows, stimuli = stimulus_rows(heard, seconds)
    speech = [row for row in rows if row["kind"] != "sound"]
    spoken, more = _belong(speech, sounds, set(stimuli), table.name)
    notes += more
    sentences, joined = sentence_rows(spoken)
    speech, more = inside(sorted(speech, key=lambda row: row["onset"]), seconds, table.name)
    notes += more
    if joined:
        said = f"{joined} sequences without a word of index 0"
        notes.append(Note(table.name, said, "joined to the sequence before"))
    return Recording(
        read.raw,
        events_table([*stimuli_rows, *sentences, *({k: v for k, v in r.items() if k not in DROPPED} for r in speech)]),
        subject=source.subject,
        session=source.session,
        task=source.task,
        stimuli=stimuli,
        notes=notes,
        files=[*read.files, table, *files],
        line_frequency=source.line_frequency,
    )


DROPPED = ("sound", "start")  # stand in stimulus and stimulus_onset


def _mark_bads(raw: BaseRaw, path: Path) -> tuple[list[Path], list[Note]]:
    """Take the bad channels that channels.tsv states, if it does."""
    if not path.is_file():
        return [], [Note(path.name, "missing", "no channel is marked bad by it")]
    table = read_table(path)
    if "status" not in table or "name" not in table:
        return [path], []
    bad = [str(n) for n, s in zip(table["name"], table["status"]) if str(s).lower() == "bad"]
    raw.info["bads"] = [name for name in raw.ch_names if name in bad]
    unknown = [name for name in bad if name not in raw.ch_names]
    said = f"bad channels that the recording does not have: {listed(unknown)}"
    return [path], [Note(path.name, said, "passed over", "warning")] if unknown else []


def _events(path: Path) -> tuple[list[Row], list[Note]]:
    """Rows of the events table: kind, label, onset, duration, start, sound, and for words sequence and condition."""
    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: missing; without it nothing is known of what was heard")
    # quoted by some writers, because words with an apostrophe are written between double quotes
    lines = list(csv.DictReader(read_text(path).splitlines(), delimiter="\t"))
    missing = {"onset", "duration", "trial_type"} - set(lines[0] if lines else {})
    if missing:
        raise RecordingError(f"{path}: no rows with the columns onset, duration and trial_type; get it again")
    rows: list[Row] = []
    fates: Counter[str] = Counter()
    off_grid = 0.0
    for line in lines:
        onset = number(line["onset"])
        try:
            said = parse_trial_type(str(line["trial_type"]))
        except ValueError:
            fates["with a trial_type that is no dict"] += 1
            continue
        kind = KINDS.get(str(said.get("kind")))
        if kind is None or onset is None:
            fates["without an onset" if kind else f"of kind {said.get('kind')}"] += 1
            continue
        sample = number(line.get("sample"))
        if sample is not None:
            off_grid = max(off_grid, abs(sample / RATE - onset))
        try:
            rows.append(_row(kind, onset, number(line["duration"]), said))
        except (KeyError, TypeError, ValueError):
            fates["that lack a field"] += 1
    if not rows:
        raise RecordingError(f"{path}: {len(lines)} rows, none can be read ({dict(fates)}); get it again")
    notes = []
    if fates:
        what = ", ".join(f"{count} {fate}" for fate, count in fates.items())
        notes.append(Note(path.name, f"{len(lines)} rows: {what}", "left out", "warning"))
    if off_grid > 2 / RATE:
        said_off = f"onset and sample differ by up to {off_grid:.3f} s"
        notes.append(Note(path.name, said_off, "onset is taken", "warning"))
    return rows, notes


def _row(kind: str, onset: float, duration: float | None, said: dict[str, Any]) -> Row:
    """One event; the position suffix of a phone (`dh_B`) goes into a column of its own."""
    row: Row = {
        "onset": onset,
        "duration": np.nan if duration is None or duration < 0 else duration,
        "kind": kind,
        "start": float(said["start"]),
        "sound": sound_name(str(said["sound"])),
    }
    if kind == "sound":
        return row
    row |= {
        "condition": str(said.get("condition", "")),
        "sequence_id": float(said.get("sequence_id", np.nan)),
        "voice": str(said.get("voice", "")),
        "speech_rate": float(said.get("speech_rate", np.nan)),
    }
    if kind == "word":
        return row | {"label": str(said["word"]), "word_index": float(said["word_index"])}
    phone, _, position = str(said["phoneme"]).partition("_")
    return row | {"label": phone, "position": position}


def sound_name(text: str) -> str:
    """Name of the wav a row speaks of: `stimuli/audio/The_Black_Willow_0.0.wav` is the_black_willow_0."""
    name = text.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return re.sub(r"(\.0)?\.wav$", "", name)


def parse_trial_type(text: str) -> dict[str, Any]:
    """The Python dict that stands as text in a cell, read as literals; `nan` is a number.

    Raises
    ------
    ValueError
        If it is anything else than a dict of literals.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                node.values = [_number_of(value) for value in node.values]
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a dict of literals: {text[:60]}") from error
    if not isinstance(value, dict):
        raise ValueError(f"not a dict: {text[:60]}")
    return value


def _number_of(node: ast.expr) -> ast.expr:
    return ast.Constant(float("nan")) if isinstance(node, ast.Name) and node.id == "nan" else node


def _audio(sounds: list[Row], folder: Path, table: Path) -> tuple[dict[str, Path], list[Note]]:
    """Name -> file of the sounds that are there; names are compared in lower case."""
    wanted = sorted({row["sound"] for row in sounds})
    files = {path.stem.lower(): path for path in sorted(folder.glob("*")) if path.suffix.lower() == ".wav"}
    absent = [name for name in wanted if name not in files]
    if len(absent) == len(wanted):
        if not wanted:
            raise RecordingError(f"{table}: no row of kind sound lies inside the recording; get both again")
        raise RecordingError(f"{table}: none of {listed(wanted)} is in {folder}; download the stimuli of the study too")
    said = f"{len(absent)} sounds are not in {folder}: {listed(absent)}"
    notes = [Note(table.name, said, "their words belong to no stimulus", "warning")] if absent else []
    return {name: files[name] for name in wanted if name in files}, notes


def _belong(speech: list[Row], sounds: list[Row], known: set[str], file: str) -> tuple[list[Row], list[Note]]:
    """Give words and phones the stimulus they name and their second of it, in place.

    A row must lie where its wav says, counted from a sound row of that name; else it belongs to none.

    Returns
    -------
    tuple
        All words of the sounds that are known, in the order in which the wav files have them, and notes.
    """
    begins: dict[str, list[float]] = {}
    for row in sounds:
        begins.setdefault(row["sound"], []).append(row["onset"] - row["start"])
    spoken: list[Row] = []
    astray, parted = 0, 0.0
    for row in speech:
        row |= {"stimulus": "", "stimulus_onset": np.nan}
        if row["sound"] not in known:
            continue
        stated = min((begin + row["start"] for begin in begins[row["sound"]]), key=lambda at: abs(row["onset"] - at))
        gap = abs(row["onset"] - stated)
        belongs = {"stimulus": row["sound"], "stimulus_onset": row["start"]}
        if gap > FAR:
            astray += 1
        else:
            parted = max(parted, gap)
            row |= belongs
        if row["kind"] == "word":
            spoken.append({**row, **belongs, "onset": stated if gap > FAR else row["onset"]})
    notes = []
    if astray:
        said = f"{astray} of {len(speech)} words and phones lie more than {FAR} s from where their wav has them"
        notes.append(Note(file, said, "they belong to no stimulus", "warning"))
    if parted > TOLERANCE:
        said = f"times in the recording and in the wav part by up to {parted:.3f} s"
        notes.append(Note(file, said, "each is taken as stated", "warning"))
    return sorted(spoken, key=lambda row: row["onset"]), notes
