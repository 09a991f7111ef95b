"""Adapter of datasets/schoffelen2019.yaml (MOUS): 96 listeners, 273-channel CTF MEG, Dutch sentences and word lists.

In: `sub-A2002/meg/sub-A2002_task-auditory_meg.ds`, the Presentation log `sourcedata/meg_task/A2002-2-MEG-MOUS-Aud.log`,
`stimuli/audio_files/EQ_Ramp_Int2_Int1LPF186.wav`, `stimuli/stimuli.txt` and the forced alignments
`derivatives/phonemes/EQ_Ramp_Int2_Int1LPF186.TextGrid`. Out: one Recording a listener, with one stimulus a sentence.

The log knows when each sound began, on its own clock; fixation crosses and announcements of a condition stand in the log and in
the trigger channel of the MEG, and tie the two clocks together. Rows that begin with the value of a trigger of their own
(`14 Start File 186.wav`) lie where that trigger does.

In the script that presented the sounds, `Start File` is the begin of the wav and `Audio onset` the begin of speech in it. The
released code of the published system takes the latter for the begin of the wav; the card's option `sound_onset` says which.

Rows of sentences carry the number of their line in stimuli.txt (`sequence_uid`), which the published split hashes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.clocks import tie_clocks, to_recording, with_own_triggers
from neurodecode.recordings.presentation_log import LogRow, read_log
from neurodecode.recordings.reading import read_raw
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    cohort_notes,
    inside,
    listed,
    meg_notes,
    option,
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
OWN = re.compile(r"^(\d+)\s+(start file|audio onset|end of file)", re.IGNORECASE)  # rows with a trigger of their own
LEAD = 0.15  # s by which the begin of speech may differ between log and alignment before it is worth a warning


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a listener; those without a recording, and those left out, are named in a note.

    Raises
    ------
    RecordingError
        If there is no recording, or no folder of stimuli.
    """
    refuse_unknown_options(card, ("silence", "sound_onset"))
    begin = option(card, "sound_onset", "start_file", ("start_file", "audio_onset"))
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
            options=(
                ("silence", silence),
                ("sound_onset", begin),
                *((("absent", "; ".join(said)),) if said and listener == first else ()),
            ),
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
    notes = cohort_notes(source) + read.notes + meg_notes(read.raw, source.path.name, CHANNELS, RATE)
    log, more = read_log(log_file)
    notes += more
    triggers = _triggers(read.raw, source.path)
    shown = [(row.time, value) for row in log if (value := _anchor_value(row)) is not None]
    anchors, more = tie_clocks(shown, triggers, log_file)
    notes += more
    own = [(row.time, int(match.group(1))) for row in log if (match := OWN.match(row.code))]
    anchors = with_own_triggers(anchors, own, triggers)
    begin = str(dict(source.options).get("sound_onset", "start_file"))
    sounds, more = _sounds(log, anchors, root / "stimuli" / "audio_files", log_file, begin)
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


def _sounds(
    log: list[LogRow], anchors: np.ndarray, folder: Path, file: Path, begin: str
) -> tuple[list[Row], list[Note]]:
    """Rows with onset, stimulus, number of the wav, audio, condition and `lead` (s from its begin to that of speech)."""
    rows: list[Row] = []
    absent: list[str] = []
    silent = started = 0
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
        spoken = following.time if following is not None and ONSET in following.code.lower() else np.nan
        name = NAME.format(int(match.group(1)))
        audio = folder / f"{name}.wav"
        silent += bool(np.isnan(spoken))
        if begin == "audio_onset" and np.isnan(spoken):
            continue
        if not audio.is_file():
            absent.append(audio.name)
            continue
        time = entry.time if begin == "start_file" else spoken
        rows.append(
            {
                "onset": float(to_recording(np.array([time]), anchors)[0]),
                "stimulus": name,
                "number": int(match.group(1)),
                "audio": audio,
                "condition": condition,
                "lead": spoken - entry.time,
            }
        )
    if not rows:
        raise RecordingError(
            f"{file}: {started} rows 'Start File', {silent} without an audio onset, {len(absent)} whose wav is not in "
            f"{folder}; no sound is left"
        )
    notes = []
    if silent:
        said = f"{silent} of {started} sounds without a row 'Audio onset' after them"
        left = begin == "audio_onset"
        notes.append(Note(file.name, said, "left out" if left else "not needed", "warning" if left else "note"))
    if absent:
        said = f"{len(absent)} sounds are not in {folder}: {listed(absent)}"
        notes.append(Note(file.name, said, "left out", "warning"))
    if begin == "audio_onset":
        said = "sounds begin at 'Audio onset', which is the begin of speech in them"
        notes.append(Note(file.name, said, "as in the released code", "warning"))
    return rows, notes


def _speech(sounds: list[Row], root: Path, file: str) -> tuple[list[Row], list[Row], list[Path], list[Note]]:
    """Words and phones, sentences, the files they come from, and notes."""
    numbered, known, uids, notes = _texts(root / "stimuli" / "stimuli.txt")
    words: list[Row] = []
    phones: list[Row] = []
    files: list[Path] = []
    absent: list[str] = []
    unknown = 0
    texts: dict[tuple[str, float], str] = {}
    leads: list[float] = []
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
        begun = [start for start, _, text in tiers.get(WORDS, []) if text != "<p:>"]
        if begun and np.isfinite(sound["lead"]):
            leads.append(sound["lead"] - begun[0])
        said = " ".join(text for _, _, text in tiers.get(WORDS, []) if text != "<p:>")
        own = numbered.get(int(sound["number"]), "")
        found = own if own and _key(own) == _key(said) else known.get(_key(said), "")
        unknown += not found
        texts[str(sound["stimulus"]), float(sequence)] = found or said
    if absent:
        said = f"{len(absent)} alignments are not there: {listed(absent)}"
        notes.append(Note(file, said, "no words of these sounds", "warning"))
    if unknown and known:
        said = f"{unknown} of {len(texts)} sentences are not in stimuli.txt"
        notes.append(Note(file, said, "named by their aligned words"))
    if leads and abs(np.median(leads)) > LEAD:
        said = f"speech begins {np.median(leads):+.3f} s later in the log than in the alignments (median)"
        notes.append(Note(file, said, "times of words may be off by it", "warning"))
    words.sort(key=lambda row: row["onset"])
    sentences, _ = sentence_rows(words, texts)
    for row in sentences:
        row["sequence_uid"] = float(uids.get(_key(str(row["label"])), np.nan))
    return [*words, *phones], sentences, sorted(set(files)), notes


def _texts(path: Path) -> tuple[dict[int, str], dict[str, str], dict[str, int], list[Note]]:
    """Number of a line -> sentence; its first 45 characters -> sentence, without those with which two begin, and -> number.

    Where several lines begin alike, the last one gives the number, so that equal sentences have one.
    """
    if not path.is_file():
        return {}, {}, {}, [Note(path.name, "missing", "sentences are named by their aligned words")]
    numbered: dict[int, str] = {}
    found: dict[str, str] = {}
    uids: dict[str, int] = {}
    twice: set[str] = set()
    for line in read_text(path).splitlines():
        match = re.match(r"^\s*(\d+)\s+(\S.*)$", line)
        if match and int(match.group(1)) > 0:
            text = " ".join(match.group(2).split())
            numbered[int(match.group(1))] = text
            twice |= {_key(text)} & {key for key, other in found.items() if other != text}
            found[_key(text)] = text
            uids[_key(text)] = int(match.group(1))
    return numbered, {key: text for key, text in found.items() if key not in twice}, uids, []


def _key(text: str) -> str:
    """What tells a sentence apart: lower case, without punctuation, cut."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())[:PREFIX].strip()
