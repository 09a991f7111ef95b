"""What single channels are decoded from: log band power in bins of time, and the mean signal in finer bins.

In: the training side of a fold, windows [n, C, T] in SI units. Out: float32 [n, C, d], computed once for all rankings. A
channel that a recording lacks or that is flat gives NaN, which `scaled` turns into the mean.
"""

from __future__ import annotations

import warnings

import numpy as np

from neurodecode.config.selection import BandPowerSettings
from neurodecode.errors import SettingsError
from neurodecode.selection.windows import TrainingSide

BATCH = 64  # windows read at once


def features_of(side: TrainingSide, settings: BandPowerSettings) -> np.ndarray:
    """Features of all rows of a side, [n, C, d] float32.

    Raises
    ------
    SettingsError
        If a band has no frequency in a bin, or a bin is longer than the window.
    """
    source = side.source()
    parts = [
        band_power(source[side.rows[first : first + BATCH]].signal.numpy(), side.index.sfreq, settings)
        for first in range(0, len(side.rows), BATCH)
    ]
    return np.concatenate(parts)


def band_power(signal: np.ndarray, sfreq: float, settings: BandPowerSettings) -> np.ndarray:
    """Features [n, C, d] of windows [n, C, T]; what does not fill a last bin is left out."""
    parts = []
    if settings.bands:
        step = _samples(settings.step, sfreq, signal.shape[-1], "step")
        bins = signal[..., : signal.shape[-1] // step * step].reshape(*signal.shape[:2], -1, step)
        taper = np.hanning(step + 2)[1:-1].astype(signal.dtype)
        power = np.abs(np.fft.rfft((bins - bins.mean(-1, keepdims=True)) * taper)) ** 2  # [n, C, bins, frequencies]
        frequencies = np.fft.rfftfreq(step, 1 / sfreq)
        for low, high in settings.bands:
            if low >= sfreq / 2:
                continue
            inside = (frequencies >= low - 1e-9) & (frequencies < high - 1e-9)
            if not inside.any():
                raise SettingsError(
                    f"features.bands: no multiple of {sfreq / step:g} Hz lies in [{low:g}, {high:g}]; raise features.step, "
                    f"{settings.step:g} s, or widen the band"
                )
            summed = power[..., inside].sum(-1)
            with np.errstate(divide="ignore"):
                parts.append(np.where(summed > 0, np.log(summed), np.nan))
    if settings.waveform is not None:
        step = _samples(settings.waveform, sfreq, signal.shape[-1], "waveform")
        bins = signal[..., : signal.shape[-1] // step * step].reshape(*signal.shape[:2], -1, step)
        flat = ~signal.any(-1, keepdims=True)
        parts.append(np.where(flat, np.nan, bins.mean(-1)))
    if not parts:
        raise SettingsError(f"features.bands: all lie above half of {sfreq:g} Hz; give lower bands or a waveform")
    return np.concatenate(parts, axis=-1).astype(np.float32)


def scaled(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Features with mean 0 and variance 1 over the rows of `train`; unknown ones become 0. [n, C, d] each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that is unknown in all rows
        mean = np.nan_to_num(np.nanmean(train, axis=0, dtype=np.float64))
        spread = np.nan_to_num(np.nanstd(train, axis=0, dtype=np.float64))
    spread = np.where(spread > 0, spread, 1)
    return [np.nan_to_num((values - mean) / spread).astype(np.float32) for values in (train, *others)]


def _samples(seconds: float, sfreq: float, n_times: int, key: str) -> int:
    step = max(1, round(seconds * sfreq))
    if step > n_times:
        raise SettingsError(
            f"features.{key}: {seconds:g} s is longer than the window of {n_times / sfreq:g} s; lower it"
        )
    return step
