"""Step 5: the EEG reference.

Signal [channels, samples] in, changed in place. Only EEG channels are touched. Filtering and resampling treat all
channels alike, so the reference may be taken after them with the same result, at the low rate.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note


def reference_names(settings: PreprocessingSettings, types: dict[str, str], name: str) -> list[str]:
    """Channels whose mean is subtracted when `reference` names some; empty otherwise.

    Raises
    ------
    RecordingError
        If one is not in the recording, or there is no EEG channel besides them.
    """
    if isinstance(settings.reference, str):
        return []
    absent = [channel for channel in settings.reference if channel not in types]
    if absent:
        raise RecordingError(
            f"{name}: the reference channel {absent[0]} is not in the recording "
            f"(EEG channels: {_some([c for c, t in types.items() if t == 'eeg'])}); correct reference"
        )
    if not any(kind == "eeg" for channel, kind in types.items() if channel not in settings.reference):
        raise RecordingError(f"{name}: reference names channels, but there are no other EEG channels; set it to none")
    return list(settings.reference)


def apply_reference(
    signal: np.ndarray,
    names: list[str],
    types: list[str],
    bads: Collection[str],
    settings: PreprocessingSettings,
    recording: str,
) -> list[Note]:
    """Subtract the reference from the EEG rows of `signal`, in place.

    The average is that of the good EEG channels; it is subtracted from the bad ones too, so that all keep one
    reference. Named reference channels must be good. They are not removed here.

    Raises
    ------
    RecordingError
        If a named reference channel is bad, or too few good channels are left for an average.
    """
    if settings.reference == "none":
        return []
    eeg = [i for i, kind in enumerate(types) if kind == "eeg"]
    if isinstance(settings.reference, tuple):
        broken = [channel for channel in settings.reference if channel in bads]
        if broken:
            raise RecordingError(
                f"{recording}: the reference channel {broken[0]} is bad ({_reason(bads, broken[0])}); name another one"
            )
        rows = [names.index(channel) for channel in settings.reference]
    else:
        if not eeg:
            return [Note(recording, "reference is average, but there is no EEG channel", "nothing re-referenced")]
        rows = [i for i in eeg if names[i] not in bads]
        if len(rows) < 2:
            raise RecordingError(
                f"{recording}: {len(rows)} good EEG channels of {len(eeg)} give no average reference; "
                "set reference to none"
            )
    # accumulated in float64: the mean of many float32 rows must not depend on their order
    mean = signal[rows].mean(axis=0, dtype=np.float64)
    for row in eeg:
        signal[row] -= mean.astype(signal.dtype)
    return []


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") or "none"


def _reason(bads: Collection[str], name: str) -> str:
    return str(bads[name]) if isinstance(bads, dict) else "marked"
