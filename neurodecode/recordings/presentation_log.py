"""Log files of Presentation (Neurobehavioral Systems): the table of events, with times in seconds.

In: a .log. Out: one row an event (event type, code, time in s on the clock of the log), and what was odd. A log may stand twice
in its file, a row may be broken after a full stop, and a second table repeats some events; all three occur in public data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note
from neurodecode.recordings.tables import number, read_text

TICK = 1e-4  # s; the log counts in tenths of a millisecond
BEGIN = "Scenario -"
REPEATED = ("Picture", "Sound", "Nothing")  # event types of which the second table has rows


@dataclass(frozen=True)
class LogRow:
    """One event: its type, its code, its time (s on the clock of the log)."""

    event_type: str
    code: str
    time: float


def read_log(path: Path) -> tuple[list[LogRow], list[Note]]:
    """Read the table of events.

    Raises
    ------
    RecordingError
        If it is missing, or holds no table with the columns Event Type, Code and Time.
    """
    refuse_pointer(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such file; get it again")
    notes: list[Note] = []
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    parts = text.split(BEGIN)
    if len(parts) < 2:
        raise RecordingError(f"{path}: no line begins with '{BEGIN}'; it is no log file of Presentation")
    if len(parts) > 2:
        notes.append(Note(path.name, f"{len(parts) - 1} logs in one file", "the first is read"))
    lines = re.sub(r"\.\n", ".", parts[1]).split("\n")
    heads = [k for k, line in enumerate(lines) if line.count("Uncertainty") >= 2]
    if not heads:
        raise RecordingError(f"{path}: no table of events in it; get it again")
    ends = [*heads[1:], len(lines)]
    rows, odd = _table(lines[heads[0] : ends[0]], path)
    notes += odd
    if len(heads) > 1:
        again, _ = _table(lines[heads[1] : ends[1]], path)
        first = [row.code for row in rows if row.event_type in REPEATED]
        second = [row.code for row in again]
        if first != second:
            said = f"its two tables do not agree ({len(first)} and {len(second)} pictures, sounds and pauses)"
            notes.append(Note(path.name, said, "the first is taken", "warning"))
    return rows, notes


def _table(lines: list[str], path: Path) -> tuple[list[LogRow], list[Note]]:
    """Rows below a header."""
    names = [name.strip() for name in lines[0].split("\t")]
    missing = [name for name in ("Event Type", "Code", "Time") if name not in names]
    if missing:
        raise RecordingError(f"{path}: the table of events has no column {', '.join(missing)}; get it again")
    kind, code, time = (names.index(name) for name in ("Event Type", "Code", "Time"))
    rows: list[LogRow] = []
    unreadable = negative = 0
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        ticks = number(cells[time]) if len(cells) > time else None
        if ticks is None:
            unreadable += 1
            continue
        negative += ticks < 0
        rows.append(LogRow(cells[kind], cells[code], max(ticks, 0.0) * TICK))
    notes = []
    if unreadable:
        notes.append(Note(path.name, f"{unreadable} rows without a time", "left out", "warning"))
    if negative:
        notes.append(Note(path.name, f"{negative} negative times", "taken as 0", "warning"))
    return rows, notes
