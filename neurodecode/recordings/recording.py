"""The type that leaves this room: one recording, its events, its stimuli, and all that was odd about it.

Times are seconds from the first sample of the recording; nothing else is a clock here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from mne.io import BaseRaw

EVENT_COLUMNS = ("onset", "duration", "kind", "label", "stimulus", "stimulus_onset")


@dataclass(frozen=True)
class Note:
    """Something odd, and what was done about it."""

    file: str
    found: str
    done: str
    level: str = "note"  # note: repaired or harmless; warning: look at it

    def line(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.found}; {self.done}"


@dataclass(frozen=True)
class Stimulus:
    """What was heard: an audio file, or an array that stands for it.

    Attributes
    ----------
    name
        Unique inside a cohort; the events table refers to it.
    audio
        Audio file (wav, flac, ogg, mp3), or None.
    values
        Array [frames, dimensions] that came in place of audio, or None.
    rate
        Frames a second of `values`.
    t0
        Time of the centre of frame 0 of `values`, s from the start of the stimulus.
    """

    name: str
    audio: Path | None = None
    values: np.ndarray | None = None
    rate: float | None = None
    t0: float = 0.0


@dataclass
class Recording:
    """One recording, ready for preprocessing.

    Attributes
    ----------
    raw
        MNE Raw, not loaded; its times start at 0 whatever `first_samp` is.
    events
        One row an event. Columns: `onset` (s from the first sample), `duration` (s, NaN when unknown), `kind`
        (stimulus, word, phone, sentence, event, ...), `label`, `stimulus` (name of the stimulus it belongs to, or ""),
        `stimulus_onset` (s from the start of that stimulus, or NaN). A row of kind `stimulus` says: from `onset`, for
        `duration`, `stimulus` was heard from its second `stimulus_onset` on. Further columns are kept. Sorted by onset.
    subject, session, task, run
        BIDS entities without their prefix; empty when there is none.
    stimuli
        Name -> Stimulus for every name in `events.stimulus`.
    notes
        What was odd.
    files
        Source files, for provenance.
    line_frequency
        Mains frequency, Hz, when known.
    simulated
        Whether it belongs to a simulated cohort; said wherever a figure of it is shown.
    regions
        Channel name -> brain region, as an electrodes table states it.
    language
        ISO 639-1 code of the speech that was heard or said; empty when not known.
    """

    raw: BaseRaw
    events: pd.DataFrame
    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    stimuli: dict[str, Stimulus] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    line_frequency: float | None = None
    simulated: bool = False
    regions: dict[str, str] = field(default_factory=dict)
    language: str = ""

    @property
    def name(self) -> str:
        """BIDS-like name, for example `sub-01_ses-02_task-story_run-1`."""
        parts = [("sub", self.subject), ("ses", self.session), ("task", self.task), ("run", self.run)]
        return "_".join(f"{key}-{value}" for key, value in parts if value)


def empty_events() -> pd.DataFrame:
    """An events table without rows."""
    return events_table([])


def events_table(rows: list[dict] | pd.DataFrame) -> pd.DataFrame:
    """Bring rows to the canonical columns and types, sorted by onset (stable)."""
    table = pd.DataFrame(rows)
    for column, default in zip(EVENT_COLUMNS, (np.nan, np.nan, "event", "", "", np.nan)):
        if column not in table:
            table[column] = pd.Series([default] * len(table), dtype=object if isinstance(default, str) else float)
    for column in ("onset", "duration", "stimulus_onset"):
        table[column] = table[column].astype(float)
    for column in ("kind", "label", "stimulus"):
        table[column] = table[column].astype(object).where(table[column].notna(), "").astype(str)
    others = [c for c in table.columns if c not in EVENT_COLUMNS]
    return table[[*EVENT_COLUMNS, *others]].sort_values("onset", kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class RecordingSource:
    """A recording that can be opened: what a SOURCE is expanded into, before anything is read.

    `open()` returns the Recording or raises RecordingError. It is picklable, so workers open their own.
    """

    path: Path
    adapter: str = "file"  # file, bids, or the name of a module in recordings/studies
    subject: str = ""
    session: str = ""
    task: str = ""
    run: str = ""
    root: Path | None = None
    line_frequency: float | None = None
    options: tuple[tuple[str, object], ...] = ()
    language: str = ""

    def open(self) -> Recording:
        """Read it."""
        from neurodecode.recordings.sources import open_source

        return open_source(self)
