"""Adapter of datasets/eegmat.yaml: people at rest and while they subtract in their heads (Zyma et al. 2019).

In: `Subject<NN>_1.edf` (rest) and `Subject<NN>_2.edf` (arithmetic), 19 EEG channels, ears and ECG, 500 Hz. Out: one
Recording a file. The state lasts as long as the recording, so its events are cuts of it: of kind `state`, labelled `rest`
or `arithmetic`, one every `options.seconds` (4 s), end to end.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table

FILE = re.compile(r"^Subject(\d+)_([12])\.edf$")
STATES = {"1": "rest", "2": "arithmetic"}
SECONDS = 4.0  # an alpha rhythm of 8 Hz turns 32 times


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a file.

    Raises
    ------
    RecordingError
        If there is none, a person lacks one of the two, or `options.seconds` is no positive number.
    """
    root = Path(card.root or ".")
    found = sorted((m.group(1), m.group(2), p) for p in root.glob("Subject*.edf") if (m := FILE.match(p.name)))
    if not found:
        raise RecordingError(
            f"{root}: no Subject00_1.edf, Subject00_2.edf, ... there; {card.how_to_get or 'point the root at them'}"
        )
    seconds = card.options.get("seconds", SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise RecordingError(
            f"{card.name}: options.seconds is {seconds!r}; give the length of a cut in s, for example 4"
        )
    there = {(person, state) for person, state, _ in found}
    for person, state in sorted(there):
        other = "21"[int(state) - 1]
        if (person, other) not in there:
            raise RecordingError(
                f"{root / f'Subject{person}_{other}.edf'}: missing, so Subject{person} has no {STATES[other]}; get it, or "
                f"take Subject{person}_{state}.edf away"
            )
    return [
        RecordingSource(
            path,
            "eegmat",
            subject=person,
            task=STATES[state],
            run=state,
            root=root,
            line_frequency=card.line_frequency,
            options=(("seconds", float(seconds)),),
        )
        for person, state, path in found
    ]


def open_recording(source: RecordingSource) -> Recording:
    """Read one file.

    Raises
    ------
    RecordingError
        If it cannot be read, or is shorter than one cut.
    """
    plain = replace(source, adapter="file", options=()).open()  # channel types, names and places as of any EDF file
    cut = float(dict(source.options).get("seconds", SECONDS))  # type: ignore[arg-type]
    seconds = len(plain.raw.times) / plain.raw.info["sfreq"]
    number = int(seconds / cut + 1e-9)
    if not number:
        raise RecordingError(
            f"{source.path}: lasts {seconds:g} s, less than options.seconds ({cut:g} s); shorten the cut"
        )
    rows: list[dict[str, Any]] = [
        {"onset": k * cut, "duration": cut, "kind": "state", "label": source.task} for k in range(number)
    ]
    said = f"the whole recording is {source.task}"
    plain.notes = [note for note in plain.notes if "states no subject" not in note.found]
    plain.notes.append(Note(source.path.name, said, f"{number} cuts of {cut:g} s carry that label"))
    plain.events = events_table(rows)
    return plain
