"""Audio files -> one channel at the rate of the analysis: soundfile reads, soxr resamples.

In: wav, flac, ogg or mp3 of any rate and number of channels. Out: float32 [samples]. Sample k of the output lies k / rate
seconds after the start of the file (soxr's filter is linear in phase and its delay is taken out).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodecode.errors import StimulusError


def read_audio(path: Path, rate: float) -> np.ndarray:
    """Read an audio file as mono.

    Parameters
    ----------
    path
        Audio file.
    rate
        Rate of the result, Hz.

    Returns
    -------
    ndarray
        [samples] float32, mean of the channels, full scale 1.

    Raises
    ------
    StimulusError
        If it is not audio, empty, or holds NaN or infinity.
    """
    import soundfile
    import soxr

    try:
        values, recorded = soundfile.read(path, dtype="float32", always_2d=True)  # [samples, channels]
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise StimulusError(f"{path}: cannot be read as audio ({' '.join(str(error).split())}); convert it") from None
    if not len(values):
        raise StimulusError(f"{path}: holds no samples; replace the file")
    if not np.isfinite(values).all():
        raise StimulusError(f"{path}: holds NaN or infinity; repair the file")
    mono = values.mean(axis=1)
    return mono if recorded == rate else np.asarray(soxr.resample(mono, recorded, rate, quality="HQ"), np.float32)
