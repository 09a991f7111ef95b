"""Step 7: bad channels interpolated from their neighbours, by MNE.

Signal [channels, samples] at the stored rate in, changed in place. A channel that holds NaN or is flat has been zeros
until here; its neighbours do not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurodecode.errors import RecordingError

if TYPE_CHECKING:
    from mne import Info


def interpolate_bads(signal: np.ndarray, info: Info, bads: list[str], name: str) -> None:
    """Replace the bad rows of `signal` (EEG: spherical splines; MEG: field mapping).

    Parameters
    ----------
    signal
        [channels, samples].
    info
        Its channels, with positions.
    bads
        Names of the channels to replace.
    name
        Of the recording, for messages.

    Raises
    ------
    RecordingError
        For types that MNE does not interpolate, and without positions.
    """
    import mne

    if not bads:
        return
    types = dict(zip(info["ch_names"], info.get_channel_types()))
    refused = sorted({types[channel] for channel in bads} - {"eeg", "mag", "grad"})
    if refused:
        raise RecordingError(f"{name}: {refused[0]} channels are not interpolated; set bads to mark or drop")
    info = info.copy()
    info["bads"] = list(bads)
    raw = mne.io.RawArray(signal.astype(np.float64), info, verbose="error")
    try:
        raw.interpolate_bads(reset_bads=False, verbose="error")
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(
            f"{name}: the bad channels {', '.join(bads[:4])} cannot be interpolated ({reason}); "
            "give positions (electrodes.tsv or a montage), or set bads to mark or drop"
        ) from None
    rows = [info["ch_names"].index(channel) for channel in bads]
    values = raw.get_data(picks=bads)
    if not np.isfinite(values).all():
        raise RecordingError(
            f"{name}: the bad channels {', '.join(bads[:4])} have no usable position; set bads to mark or drop"
        )
    signal[rows] = values
