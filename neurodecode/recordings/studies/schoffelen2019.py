"""Adapter of datasets/schoffelen2019.yaml (MOUS): 96 listeners, 273-channel CTF MEG, Dutch sentences and word lists.

In: `sub-A2002/meg/sub-A2002_task-auditory_meg.ds`, the Presentation log `sourcedata/meg_task/A2002-2-MEG-MOUS-Aud.log`,
`stimuli/audio_files/EQ_Ramp_Int2_Int1LPF186.wav`, `stimuli/stimuli.txt` and the forced alignments
`derivatives/phonemes/EQ_Ramp_Int2_Int1LPF186.TextGrid`. Out: one Recording a listener, with one stimulus a sentence.

The log knows when each sound began, on its own clock; fixation crosses and announcements of a condition stand in the log and in
the trigger channel of the MEG, and tie the two clocks together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.presentation_log import LogRow, read_log
from neurodecode.recordings.reading import read_raw
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    cohort_notes,
    inside,
    listed,
    positive,
    refuse_unknown_options,
    sentence_rows,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import read_text
from neurodecode.recordings.textgrid import read_textgrid

if TYPE_CHECKING:
    from mne.io import BaseRaw

LISTENERS = range(2002, 2126)
NEVER = frozenset(
    (
        2012,
        2018,
        2022,
        2023,
        2026,
        2043,
        2044,
        2045,
        2048,
        2054,
        2060,
        2074,
        2081,
        2082,
        2087,
        2093,
        2100,
        2107,
        2112,
        2115,
    )
    + (2118, 2123)
)  # numbers that were given to nobody
SKIPPED = frozenset((2011, 2036, 2062, 2063, 2076, 2084))  # two runs, or NaN, as the published system says
CHANNELS = 273
RATE = 1200.0  # Hz
FIXATION, CONTEXT = 20, 10  # trigger values
SENTENCE, WORD_LIST = "ZINNEN", "WOORDEN"  # in codes of the log: what the next sounds are
START = re.compile(r"Start File\s+0*(\d+)\.wav", re.IGNORECASE)
ONSET = "audio onset"
NAME = "EQ_Ramp_Int2_Int1LPF{:03d}"
WORDS, PHONES = "ORT-MAU", "MAU"  # tiers
PREFIX = 45  # characters of a sentence that tell it apart, since last words are missing in some (as published)
SILENCE = 2.5  # s after a sound: a window 2.5 s long from its last word on ends there at the latest
CLOSE = 0.5  # s by which a trigger may lie from where the log has it
FEW = 40  # anchors below which the published system warns
DRIFT = 1e-3  # share by which the clocks of log and MEG may run apart


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a listener; those without a recording, and those left out, are named in a note.

    Raises
    ------
    RecordingError
        If there is no recording, or no folder of stimuli.
    """
    refuse_unknown_options(card, ("silence",))
    silence = positive(card, "silence", SILENCE)
    root = study_folder(card, "stimuli", "sourcedata")
    if not (root / "stimuli" / "audio_files").is_dir():
        raise RecordingError(
            f"{root / 'stimuli' / 'audio_files'}: missing; nothing is known of what was heard without it"
        )
    found: dict[int, Path] = {}
    absent, left_out = [], []
    for listener in LISTENERS:
        if listener in NEVER:
            continue
        path = _recording_of(root / f"sub-A{listener}" / "meg")
        if listener in SKIPPED:
            left_out += [f"A{listener}"] if path else []
        elif path is None:
            absent.append(f"A{listener}")
        else:
            found[listener] = path
    if not found:
        raise RecordingError(f"{root}: no sub-A2002/meg/*.ds or others there; {card.how_to_get}")
    said = [f"{len(absent)} listeners are not there: {listed(absent)}"] if absent else []
    said += [f"left out for two runs or NaN, as published: {', '.join(left_out)}"] if left_out else []
    first = min(found)
    return [
        RecordingSource(
            path,
            "schoffelen2019",
            subject=f"A{listener}",
            task="auditory",
            root=root,
            line_frequency=card.line_frequency,
            options=(("silence", silence), *((("absent", "; ".join(said)),) if said and listener == first else ())),
        )
        for listener, path in sorted(found.items())
    ]


def _recording_of(folder: Path) -> Path | None:
    """The last recording of a folder that is no resting state; a FIF in the place of a .ds is one converted with MNE."""
    found = sorted(p for p in folder.glob("*") if p.suffix in (".ds", ".fif") and "rest" not in p.name.lower())
    return found[-1] if found else None


def open_recording(source: RecordingSource) -> Recording:
    """Read one listener.

    Raises
    ------
    RecordingError
        If the log is missing or does not fit the triggers, or no sound of it is there.
    """
    root = source.root or source.path.parents[2]
    log_file = _log_of(root / "sourcedata" / "meg_task", source.subject)
    read = read_raw(source.path)
    seconds = len(read.raw.times) / float(read.raw.info["sfreq"])
    notes = cohort_notes(source) + read.notes + _of_signal(read.raw, source.path.name)
    log, more = read_log(log_file)
    notes += more
    anchors, more = tie_clocks(log, _triggers(read.raw, source.path), log_file)
    notes += more

    sounds, more = _sounds(log, anchors, root / "stimuli" / "audio_files", log_file)
    notes += more
    sounds, more = inside(sounds, seconds, log_file.name)
    notes += more
    silence = float(str(dict(source.options).get("silence", SILENCE)))
    heard = [(str(row["stimulus"]), Path(row["audio"]), float(row["onset"]), 0.0) for row in sounds]
    stimuli_rows, stimuli = stimulus_rows(heard, seconds, silence)
    if silence:
        said = f"windows may reach {silence:g} s into the silence after a sound, but not to the next one"
        notes.append(Note(log_file.name, said, "the feature keeps its last value there"))
    speech, sentences, files, more = _speech(sounds, root, log_file.name)
    notes += more
    speech, more = inside(speech, seconds, log_file.name)
    notes += more
    return Recording(
        read.raw,
        events_table([*stimuli_rows, *sentences, *speech]),
        subject=source.subject,
        task=source.task,
        stimuli=stimuli,
        notes=notes,
        files=[*read.files, log_file, *files],
        line_frequency=source.line_frequency,
    )


def _log_of(folder: Path, subject: str) -> Path:
    found = sorted(folder.glob(f"*{subject}*.log"))
    listening = [path for path in found if "aud" in path.name.lower()]
    if len(listening or found) != 1:
        raise RecordingError(
            f"{folder}: {len(listening or found)} logs of {subject} ({listed(p.name for p in found) or 'none'}), it must "
            f"hold one, such as {subject}-2-MEG-MOUS-Aud.log"
        )
    return (listening or found)[0]


def _of_signal(raw: BaseRaw, file: str) -> list[Note]:
    """Whether rate and number of channels are those of the study."""
    notes = []
    count = sum(kind in ("mag", "grad") for kind in raw.get_channel_types())
    if count != CHANNELS:
        notes.append(Note(file, f"{count} MEG channels, the study has {CHANNELS}", "read as it is", "warning"))
    if raw.info["sfreq"] != RATE:
        notes.append(Note(file, f"{raw.info['sfreq']:g} Hz, the study has {RATE:g} Hz", "read as it is", "warning"))
    return notes


def _triggers(raw: BaseRaw, path: Path) -> list[tuple[float, int]]:
    """(s, value) of the triggers."""
    import mne

    channels = [name for name, kind in zip(raw.ch_names, raw.get_channel_types()) if kind == "stim"]
    if not channels:
        raise RecordingError(f"{path}: no trigger channel; the log cannot be tied to it")
    channel = next((name for name in channels if name.startswith("UPPT001")), channels[0])
    found = mne.find_events(raw, channel, shortest_event=1, verbose="error")
    return [(float(sample - raw.first_samp) / float(raw.info["sfreq"]), int(value)) for sample, _, value in found]


def _anchor_value(row: LogRow) -> int | None:
    """Trigger that goes with a row of the log."""
    code = row.code.upper()
    if SENTENCE in code or WORD_LIST in code:
        return CONTEXT
    return FIXATION if "FIX" in code else None


def tie_clocks(log: list[LogRow], triggers: list[tuple[float, int]], file: Path) -> tuple[np.ndarray, list[Note]]:
    """Find the triggers that go with fixations and announcements of the log.

    The difference of the clocks is the one on which most pairs of equal value agree; each row is then tied to the trigger
    nearest to where that puts it. A trigger that is missing costs its own row only, which an alignment of the two sequences
    without their times (as published) does not assure.

    Returns
    -------
    tuple
        [anchors, 2] float64: s of the log, s of the MEG, ascending; and notes.

    Raises
    ------
    RecordingError
        If fewer than half of the rows find a trigger, or the clocks run apart.
    """
    rows = [(row.time, value) for row in log if (value := _anchor_value(row)) is not None]
    known = {value: np.array([t for t, v in triggers if v == value]) for value in (FIXATION, CONTEXT)}
    gaps = np.sort(np.concatenate([known[value] - time for time, value in rows] or [np.zeros(0)]))
    if not len(gaps):
        raise RecordingError(
            f"{file}: {len(rows)} fixations and announcements, {len(triggers)} triggers, none of value {FIXATION} or "
            f"{CONTEXT}; log and recording do not belong together"
        )
    votes = np.searchsorted(gaps, gaps + CLOSE, side="right") - np.arange(len(gaps))
    best = int(np.argmax(votes))
    shift = float(np.median(gaps[best : best + int(votes[best])]))
    pairs: list[tuple[float, float]] = []
    for time, value in rows:
        if len(known[value]):
            nearest = float(known[value][np.argmin(np.abs(known[value] - time - shift))])
            if abs(nearest - time - shift) <= CLOSE:
                pairs.append((time, nearest))
                shift = nearest - time  # follows the clocks when they drift
    anchors = np.array(sorted(pairs)).reshape(-1, 2)
    if len(anchors) < max(len(rows) / 2, 1):
        raise RecordingError(
            f"{file}: {len(anchors)} of {len(rows)} fixations and announcements find their trigger within {CLOSE} s; log "
            "and recording do not belong together"
        )
    notes = []
    if len(anchors) < len(rows):
        said = f"{len(rows) - len(anchors)} of {len(rows)} fixations and announcements have no trigger"
        notes.append(Note(file.name, said, "times go by the one before", "warning"))
    if len(anchors) < FEW:
        said = f"only {len(anchors)} triggers tie the log to the recording (fewer than {FEW})"
        notes.append(Note(file.name, said, "times go by them", "warning"))
    if len(anchors) > 1:
        log_span, span = np.ptp(anchors, axis=0)
        if abs(span - log_span) > DRIFT * log_span + CLOSE:
            raise RecordingError(
                f"{file}: {log_span:.1f} s of the log are {span:.1f} s of the recording; they do not belong together"
            )
    return anchors, notes


def to_recording(times: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Seconds of the log -> seconds of the recording: counted from the anchor before (or the first one)."""
    before = np.clip(np.searchsorted(anchors[:, 0], times + 1e-9, side="right") - 1, 0, None)
    return np.asarray(times - anchors[before, 0] + anchors[before, 1])


def _sounds(log: list[LogRow], anchors: np.ndarray, folder: Path, file: Path) -> tuple[list[Row], list[Note]]:
    """Rows with onset, stimulus, number of the wav, audio and condition, in the order of the log."""
    rows: list[Row] = []
    absent: list[str] = []
    no_onset = started = 0
    condition = ""
    for number, entry in enumerate(log):
        code = entry.code.upper()
        if SENTENCE in code or WORD_LIST in code:
            condition = "sentence" if SENTENCE in code else "word_list"
        match = START.search(entry.code)
        if not match:
            continue
        started += 1
        following = log[number + 1] if number + 1 < len(log) else None
        if following is None or ONSET not in following.code.lower():
            no_onset += 1  # the row itself only says that the file was asked for
            continue
        name = NAME.format(int(match.group(1)))
        audio = folder / f"{name}.wav"
        if not audio.is_file():
            absent.append(audio.name)
            continue
        onset = float(to_recording(np.array([following.time]), anchors)[0])
        rows.append(
            {
                "onset": onset,
                "stimulus": name,
                "number": int(match.group(1)),
                "audio": audio,
                "condition": condition,
            }
        )
    if not rows:
        raise RecordingError(
            f"{file}: {started} rows 'Start File', {no_onset} without an audio onset, {len(absent)} whose wav is not in "
            f"{folder}; no sound is left"
        )
    notes = []
    if no_onset:
        said = f"{no_onset} of {started} sounds without a row 'Audio onset' after them"
        notes.append(Note(file.name, said, "left out", "warning"))
    if absent:
        said = f"{len(absent)} sounds are not in {folder}: {listed(absent)}"
        notes.append(Note(file.name, said, "left out", "warning"))
    return rows, notes


def _speech(sounds: list[Row], root: Path, file: str) -> tuple[list[Row], list[Row], list[Path], list[Note]]:
    """Words and phones, sentences, the files they come from, and notes."""
    known, notes = _texts(root / "stimuli" / "stimuli.txt")
    words: list[Row] = []
    phones: list[Row] = []
    files: list[Path] = []
    absent: list[str] = []
    unknown = 0
    texts: dict[tuple[str, float], str] = {}
    for sequence, sound in enumerate(sounds):
        path = root / "derivatives" / "phonemes" / f"{sound['stimulus']}.TextGrid"
        if not path.exists() and not path.is_symlink():
            absent.append(path.name)
            continue
        tiers = read_textgrid(path)
        files.append(path)
        for tier, kind, rows in ((WORDS, "word", words), (PHONES, "phone", phones)):
            spoken = [interval for interval in tiers.get(tier, []) if interval[2] != "<p:>"]
            for index, (begin, end, label) in enumerate(spoken):
                rows.append(
                    {
                        "onset": sound["onset"] + begin,
                        "duration": end - begin,
                        "kind": kind,
                        "label": label,
                        "stimulus": sound["stimulus"],
                        "stimulus_onset": begin,
                        "condition": sound["condition"],
                        "sequence_id": float(sequence),
                        **({"word_index": float(index)} if kind == "word" else {}),
                    }
                )
        said = " ".join(text for _, _, text in tiers.get(WORDS, []) if text != "<p:>")
        found = known.get(_key(said), "")
        unknown += not found
        texts[str(sound["stimulus"]), float(sequence)] = found or said
    if absent:
        said = f"{len(absent)} alignments are not there: {listed(absent)}"
        notes.append(Note(file, said, "no words of these sounds", "warning"))
    if unknown and known:
        said = f"{unknown} of {len(texts)} sentences are not in stimuli.txt"
        notes.append(Note(file, said, "named by their aligned words"))
    words.sort(key=lambda row: row["onset"])
    sentences, _ = sentence_rows(words, texts)
    return [*words, *phones], sentences, sorted(set(files)), notes


def _texts(path: Path) -> tuple[dict[str, str], list[Note]]:
    """First 45 characters in lower case -> sentence, of stimuli.txt; what two sentences begin with is left out."""
    if not path.is_file():
        return {}, [Note(path.name, "missing", "sentences are named by their aligned words")]
    found: dict[str, str] = {}
    twice: set[str] = set()
    for line in read_text(path).splitlines():
        match = re.match(r"^\s*(\d+)\s+(\S.*)$", line)
        if match and int(match.group(1)) > 0:
            text = " ".join(match.group(2).split())
            twice |= {_key(text)} & {key for key, other in found.items() if other != text}
            found[_key(text)] = text
    return {key: text for key, text in found.items() if key not in twice}, []


def _key(text: str) -> str:
    """What tells a sentence apart: lower case, without punctuation, cut."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())[:PREFIX].strip()
