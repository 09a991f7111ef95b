"""What is not as it should be in the recordings of a store, said in a few lines.

In: the folder of a store. Out: one line for each kind of warning in the notes of its recordings: what is missing, how much
of it, and its names. `neurodecode inspect STORE` shows the notes of every recording.
"""

from __future__ import annotations

import re
from pathlib import Path

from neurodecode.recordings.recording import Note
from neurodecode.store.store import Store

SHOWN = 12  # kinds of warnings


def warning_lines(store: Path) -> list[str]:
    """One line a kind of warning, in the order of the recordings; warnings that differ in numbers alone are of one kind."""
    kinds: dict[tuple[str, str], list[Note]] = {}
    for recording in Store(store).recordings:
        for note in recording.notes:
            if note.level == "warning":
                kinds.setdefault((re.sub(r"\d+", "0", note.found), note.done), []).append(note)
    lines = []
    for notes in list(kinds.values())[:SHOWN]:
        more = f" ({len(notes) - 1} more of this kind)" if len(notes) > 1 else ""
        lines.append(f"warning: {notes[0].line()}{more}")
    if lines and (len(kinds) > SHOWN or any(len(notes) > 1 for notes in kinds.values())):
        further = f"{len(kinds) - SHOWN} further kinds of warnings; " if len(kinds) > SHOWN else ""
        lines.append(f"{further}all of them: neurodecode inspect {store}")
    return lines
