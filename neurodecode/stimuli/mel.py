"""Audio -> spectra on the mel scale, and from them log-mel (Défossez et al. 2023, specification section 4.8).

In: float32 [samples]. Out: a Feature; frame k is centred at k hop / rate seconds, since the audio is mirrored by half a
window at both ends. Work is done in pieces, so an hour of audio needs no more memory than its result.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from neurodecode.config import FeatureSettings
from neurodecode.errors import StimulusError
from neurodecode.stimuli.feature import Feature

PIECE = 4096  # frames at once


def log_mel(audio: np.ndarray, settings: FeatureSettings, name: str) -> Feature:
    """Base-10 logarithm of mel power, [frames, bands].

    Raises
    ------
    StimulusError
        If the settings do not fit the rate.
    """
    power = mel_power(audio, settings, settings.hop, name)
    power += settings.log_floor
    return Feature(np.log10(power, out=power), settings.audio_rate / settings.hop, 0.0)


def mel_power(audio: np.ndarray, settings: FeatureSettings, hop: int, name: str) -> np.ndarray:
    """Power in mel bands, float32 [1 + samples // hop, bands].

    Hann window; the spectrum is divided by the norm of the window, so that white noise of variance 1 has power 1 in each
    bin whatever the window's length.
    """
    n_fft = settings.n_fft
    if len(audio) <= n_fft // 2:
        raise StimulusError(
            f"{name}: lasts {len(audio) / settings.audio_rate:.3f} s, shorter than half of n_fft ({n_fft} samples)"
        )
    if settings.standardize_audio:
        spread = audio.std(dtype=np.float64)
        if spread == 0:
            raise StimulusError(f"{name}: the audio is silent from start to end; replace it, or leave the run out")
        audio = ((audio - audio.mean(dtype=np.float64)) / spread).astype(np.float32)
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)  # periodic
    window /= np.sqrt((window.astype(np.float64) ** 2).sum())
    bank = mel_bank(settings.audio_rate, n_fft, settings.bands, settings.f_min, settings.f_max)
    padded = np.pad(audio, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]  # [frames, n_fft], a view
    result = np.empty((len(frames), settings.bands), np.float32)
    for begin in range(0, len(frames), PIECE):
        spectrum = np.fft.rfft(frames[begin : begin + PIECE] * window, axis=1)
        result[begin : begin + PIECE] = (spectrum.real**2 + spectrum.imag**2) @ bank
    return result


@lru_cache(maxsize=8)
def mel_bank(rate: float, n_fft: int, bands: int, f_min: float, f_max: float) -> np.ndarray:
    """Triangles of height 1 whose corners are evenly spaced on the mel scale 2595 log10(1 + f / 700), [bins, bands].

    Raises
    ------
    StimulusError
        If the band does not lie within 0 .. rate / 2.
    """
    if not 0 <= f_min < f_max <= rate / 2:
        raise StimulusError(
            f"features: f_min {f_min:g} Hz and f_max {f_max:g} Hz must lie in order within 0 .. {rate / 2:g} Hz"
        )
    low, high = (2595 * np.log10(1 + f / 700) for f in (f_min, f_max))
    corners = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)  # Hz
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    bank = np.clip(np.minimum(rising, falling), 0, None)
    bank.setflags(write=False)  # shared through the cache
    return bank
