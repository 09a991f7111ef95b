"""What recordings hold, as plain values: for `neurodecode inspect`.

In: a path. Out: one JSON-ready dict a recording, `{"file", "error"}` for one that is refused.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from neurodecode.errors import RecordingError
from neurodecode.files import plain
from neurodecode.recordings.recording import Recording, RecordingSource
from neurodecode.recordings.sources import expand_source


def describe_source(path: Path) -> list[dict[str, Any]]:
    """Describe every recording at a path; one that cannot be read is an entry with its error, not an exception."""
    try:
        sources = expand_source(Path(path))
    except RecordingError as error:
        return [{"file": str(path), "error": str(error)}]
    return [_described(source) for source in sources]


def _described(source: RecordingSource) -> dict[str, Any]:
    try:
        recording = source.open()
        return plain(describe(recording, source))  # type: ignore[no-any-return]
    except RecordingError as error:
        return {"file": str(source.path), "error": str(error)}


def describe(recording: Recording, source: RecordingSource) -> dict[str, Any]:
    """One recording: name, file, format, entities, channels by type, rate (Hz), length (s), events, stimuli, notes."""
    from neurodecode.recordings.formats import sniff

    raw, sfreq = recording.raw, float(recording.raw.info["sfreq"])
    channels = Counter(raw.get_channel_types())
    try:
        name = sniff(source.path).name
    except RecordingError:  # a study keeps its recordings in a layout of its own
        name = source.adapter
    placed = sum(bool((c["loc"][:3] != 0).any() and (c["loc"][:3] == c["loc"][:3]).all()) for c in raw.info["chs"])
    return {
        "name": recording.name,
        "file": str(source.path),
        "format": name,
        "subject": recording.subject,
        "session": recording.session,
        "task": recording.task,
        "run": recording.run,
        "channels": dict(sorted(channels.items())),
        "placed": placed,
        "regions": dict(sorted(Counter(recording.regions.values()).items())),
        "bads": list(raw.info["bads"]),
        "sfreq": sfreq,
        "seconds": len(raw.times) / sfreq,
        "line_frequency": recording.line_frequency or raw.info.get("line_freq"),
        "events": dict(sorted(Counter(recording.events["kind"]).items())),
        "stimuli": sorted(recording.stimuli),
        "simulated": recording.simulated,
        "notes": [vars(note) for note in recording.notes],
    }
