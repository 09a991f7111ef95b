"""Two clocks: that of a log of what was shown, and that of the recording whose trigger channel saw some of it.

In: times and values of rows of the log that have a trigger, and the triggers. Out: anchors [n, 2], s of the log and s of the
recording, and the times of other rows by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note

Timed = Sequence[tuple[float, int]]  # (s, value)
CLOSE = 0.5  # s by which a trigger may lie from where the log has it
OWN_CLOSE = 0.05  # s by which it may lie from where the anchor before it puts the row
FEW = 40  # anchors below which to warn
DRIFT = 1e-3  # share by which the clocks may run apart


def tie_clocks(rows: Timed, triggers: Timed, file: Path) -> tuple[np.ndarray, list[Note]]:
    """Find the triggers that go with rows of a log.

    The difference of the clocks is the one on which most pairs of equal value agree; each row is then tied to the trigger
    nearest to where that puts it. A trigger that is missing costs its own row only, which an alignment of the two sequences
    without their times does not assure.

    Parameters
    ----------
    rows
        (s of the log, value) in the order of the log.
    triggers
        (s of the recording, value).
    file
        The log, for messages.

    Returns
    -------
    tuple
        [anchors, 2] float64: s of the log, s of the recording, ascending; and notes.

    Raises
    ------
    RecordingError
        If fewer than half of the rows find a trigger, or the clocks run apart.
    """
    values = sorted({value for _, value in rows})
    known = {value: np.array([t for t, v in triggers if v == value]) for value in values}
    gaps = np.sort(np.concatenate([known[value] - time for time, value in rows] or [np.zeros(0)]))
    if not len(gaps):
        raise RecordingError(
            f"{file}: {len(rows)} rows that have a trigger, {len(triggers)} triggers, none of value "
            f"{' or '.join(map(str, values)) or 'any'}; log and recording do not belong together"
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
            f"{file}: {len(anchors)} of {len(rows)} rows find their trigger within {CLOSE} s; log and recording do not "
            "belong together"
        )
    notes = []
    if len(anchors) < len(rows):
        said = f"{len(rows) - len(anchors)} of {len(rows)} rows that should have a trigger have none"
        notes.append(Note(file.name, said, "times go by the row before", "warning"))
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


def with_own_triggers(anchors: np.ndarray, rows: Timed, triggers: Timed) -> np.ndarray:
    """Add rows that have a trigger of their own, where it is there: they then need no row before them to lie by.

    Parameters
    ----------
    anchors
        Of `tie_clocks`.
    rows, triggers
        As there.

    Returns
    -------
    ndarray
        [anchors, 2] float64, ascending.
    """
    found = [anchors]
    for time, value in rows:
        near = np.array([at for at, other in triggers if other == value])
        gaps = np.abs(near - to_recording(np.array([time]), anchors)[0])
        if len(gaps) and gaps.min() <= OWN_CLOSE:
            found.append(np.array([[time, near[int(np.argmin(gaps))]]]))
    merged = np.concatenate(found)
    return np.asarray(merged[np.lexsort((merged[:, 1], merged[:, 0]))])


def to_recording(times: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Seconds of the log -> seconds of the recording: counted from the anchor before (or the first one)."""
    before = np.clip(np.searchsorted(anchors[:, 0], times + 1e-9, side="right") - 1, 0, None)
    return np.asarray(times - anchors[before, 0] + anchors[before, 1])
