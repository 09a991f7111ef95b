"""What the public speech studies share: where the tree begins, audio that was heard, sentences out of words, MATLAB files.

In: rows and paths of an adapter of recordings/studies. Out: rows of the events table (seconds from the first sample), and
one line for each thing that is not as the study's layout has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.events import audio_seconds
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, RecordingSource, Stimulus

if TYPE_CHECKING:
    from mne.io import BaseRaw

Row = dict[str, Any]
SHOWN = 8  # names listed in a message before "and n more"


def meg_notes(raw: BaseRaw, file: str, channels: int, rate: float) -> list[Note]:
    """Whether number of MEG channels and rate (Hz) are those of the study."""
    notes = []
    count = sum(kind in ("mag", "grad") for kind in raw.get_channel_types())
    if count != channels:
        notes.append(Note(file, f"{count} MEG channels, the study has {channels}", "read as it is", "warning"))
    if raw.info["sfreq"] != rate:
        notes.append(Note(file, f"{raw.info['sfreq']:g} Hz, the study has {rate:g} Hz", "read as it is", "warning"))
    return notes


def study_folder(card: CohortCard, *inside: str) -> Path:
    """The folder that holds a study: the card's root, or `download` below it.

    Parameters
    ----------
    card
        With its root.
    inside
        Names of which the folder must hold one at least.

    Raises
    ------
    RecordingError
        If neither holds any of them.
    """
    root = Path(card.root or ".")
    for folder in (root, root / "download"):
        if any((folder / name).exists() for name in inside):
            return folder
    raise RecordingError(
        f"{root}: holds none of {', '.join(inside)}, nor does {root / 'download'}; "
        f"{card.how_to_get or 'point the root at the study'}"
    )


def listed(names: Iterable[str]) -> str:
    """`a, b, c and 5 more`."""
    known = list(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more


def positive(card: CohortCard, key: str, default: float) -> float:
    """A number from 0 among the card's options.

    Raises
    ------
    RecordingError
        If it is none.
    """
    value = card.options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise RecordingError(f"{card.name}: options.{key} is {value!r}, allowed are numbers from 0")
    return float(value)


def option(card: CohortCard, key: str, default: str, allowed: Sequence[str]) -> str:
    """A named choice among the card's options.

    Raises
    ------
    RecordingError
        If it is none of those allowed.
    """
    value = card.options.get(key, default)
    if value not in allowed:
        raise RecordingError(f"{card.name}: options.{key} is {value!r}, allowed are {', '.join(allowed)}")
    return str(value)


def refuse_unknown_options(card: CohortCard, known: Sequence[str]) -> None:
    """Raise when the card has an option that its adapter does not know."""
    unknown = sorted(set(card.options) - set(known))
    if unknown:
        raise RecordingError(
            f"{card.name}: options.{unknown[0]} is not an option of {card.adapter}; "
            f"allowed are {', '.join(known) or 'none'}"
        )


def cohort_notes(source: RecordingSource) -> list[Note]:
    """What the cohort lacks, which `recordings` put into the options of one source as `absent`."""
    text = dict(source.options).get("absent")
    return (
        [Note((source.root or source.path.parent).name, str(text), "the cohort goes without", "warning")]
        if text
        else []
    )


def load_mat(path: Path, *keys: str, simplify: bool = False) -> dict[str, Any]:
    """Variables of a MATLAB file (version 5).

    Parameters
    ----------
    path
        Of the file.
    keys
        Variables that must be there.
    simplify
        Structs as objects with attributes, without axes of length 1.

    Raises
    ------
    RecordingError
        If it is missing, not readable, or lacks a variable.
    """
    import scipy.io

    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; get it again")
    try:
        values = scipy.io.loadmat(path, variable_names=list(keys), struct_as_record=not simplify, squeeze_me=simplify)
    except Exception as error:  # scipy raises what its parser happens on
        text = " ".join(str(error).split())
        raise RecordingError(f"{path}: not readable as a MATLAB file of version 5 ({text}); get it again") from error
    for key in keys:
        if key not in values:
            held = sorted(name for name in values if not name.startswith("__"))
            raise RecordingError(f"{path}: holds no {key} (but {listed(held) or 'nothing else'}); get it again")
    return values


def stimulus_rows(
    heard: Sequence[tuple[str, Path, float, float]], seconds: float, silence: float = 0.0
) -> tuple[list[Row], dict[str, Stimulus]]:
    """Rows of kind stimulus.

    Parameters
    ----------
    heard
        (name, audio file, s of the recording at which the file begins, s into the file) in any order. A file that begins
        before the recording gives a row at 0 s, so much further into the file.
    seconds
        Length of the recording.
    silence
        So many s after a file still count as part of it.

    Returns
    -------
    tuple
        Rows sorted by onset, each cut where the file (and the silence after it), the recording, or the time to the next row
        ends; and the stimuli.
    """
    rows: list[Row] = []
    stimuli: dict[str, Stimulus] = {}
    for name, audio, onset, inside in sorted(heard, key=lambda item: item[2]):
        late = max(-onset, 0.0)
        left = audio_seconds(audio) - inside - late
        begin = onset + late
        if left <= 0 or begin >= seconds:
            continue
        stimuli[name] = Stimulus(name, audio=audio)
        rows.append(
            {
                "onset": begin,
                "duration": left,
                "kind": "stimulus",
                "label": name,
                "stimulus": name,
                "stimulus_onset": inside + late,
            }
        )
    for row, following in zip(rows, [*(later["onset"] for later in rows[1:]), seconds]):
        row["duration"] = float(min(row["duration"] + silence, following - row["onset"]))
    return rows, stimuli


def sentence_rows(words: Sequence[Row], texts: dict[tuple[str, float], str] | None = None) -> tuple[list[Row], int]:
    """Sentences out of words.

    A sentence begins at its first word (`word_index` 0). One whose first word has no row begins nowhere that is known: it is
    joined to the sentence before it in the same stimulus, so that no border of a split can cut through the missing word.

    All words that a sound holds must be given, also those that the recording ends before: blocks, and with them the split,
    must be the same for everyone who heard a part of it.

    Parameters
    ----------
    words
        Sorted by onset, with `onset`, `duration`, `label`, `stimulus`, `stimulus_onset`, `sequence_id`, `word_index`;
        words without a stimulus are passed over.
    texts
        Text of a sentence by `stimulus` and `sequence_id`; without it the words that are there, joined by spaces.

    Returns
    -------
    tuple
        Rows of kind sentence, and how many sentences were joined to the one before.
    """
    rows: list[Row] = []
    joined = 0
    last: tuple[Any, Any] | None = None
    for word in words:
        if not word["stimulus"]:
            continue
        key = (word["stimulus"], word["sequence_id"])
        first = word["word_index"] == 0
        end = word["onset"] + (word["duration"] if np.isfinite(word["duration"]) else 0.0)
        text = str(word["label"]) if texts is None else texts[key]
        if first or not rows or rows[-1]["stimulus"] != word["stimulus"]:
            rows.append(
                {
                    "onset": word["onset"],
                    "duration": end - word["onset"],
                    "kind": "sentence",
                    "label": text,
                    "stimulus": word["stimulus"],
                    "stimulus_onset": word["stimulus_onset"],
                    "sequence_id": word["sequence_id"],
                    "condition": word.get("condition", ""),
                }
            )
        else:
            joined += key != last
            if texts is None or key != last:
                rows[-1]["label"] += f" {text}"
            rows[-1]["duration"] = max(rows[-1]["duration"], end - rows[-1]["onset"])
        last = key
    return rows, joined


def inside(rows: Sequence[Row], seconds: float, file: str) -> tuple[list[Row], list[Note]]:
    """Rows that begin inside the recording, and a note of how many do not."""
    kept = [row for row in rows if 0 <= row["onset"] < seconds]
    lost = len(rows) - len(kept)
    said = f"{lost} of {len(rows)} events lie outside the recording of {seconds:g} s"
    return kept, [Note(file, said, "they are left out", "warning")] if lost else []


def belong_by_time(speech: Sequence[Row], heard: Sequence[Row], file: str) -> list[Note]:
    """Give words and phones the stimulus that is heard at their onset, and their second of it, in place.

    Parameters
    ----------
    speech
        Rows with `onset`; `stimulus_onset` is kept where it is stated.
    heard
        Of `stimulus_rows`.
    file
        For the note.

    Returns
    -------
    list of Note
        One, when rows lie where nothing is heard; they belong to no stimulus.
    """
    silent = 0
    for row in speech:
        found = next((h for h in heard if h["onset"] - 1e-6 <= row["onset"] < h["onset"] + h["duration"]), None)
        if found is None:
            silent += 1
            row |= {"stimulus": "", "stimulus_onset": np.nan}
            continue
        row["stimulus"] = found["stimulus"]
        row.setdefault("stimulus_onset", row["onset"] - found["onset"] + found["stimulus_onset"])
    said = f"{silent} of {len(speech)} words and phones lie where nothing is heard"
    return [Note(file, said, "they belong to no stimulus", "warning")] if silent else []
