"""What the sensors record when nothing is heard: coloured noise with spatial structure, or a real recording.

In: sensors or a file, a random generator. Out: [channels, samples] in V or T, and the cross-spectral density
[frequencies, channels, channels] it is drawn from, which the ideal observer uses.

The coloured background is the sum of brain noise with power 1 / (f + 1 Hz), alpha around 10 Hz, and white sensor noise.
Mains, artefacts and flat channels come on top, and the observer is not told of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from scipy.fft import irfft, next_fast_len
from scipy.signal import get_window, resample_poly
from scipy.signal.windows import tukey

from neurodecode.errors import SettingsError
from neurodecode.simulation.sensors import Sensors

KNEE = 1.0  # Hz, below which the brain's noise is flat: a recording has no infinite drift
ALPHA_FREQUENCY, ALPHA_WIDTH, ALPHA_SHARE = 10.0, 1.2, 0.3  # Hz, Hz, variance relative to brain noise
WHITE_SHARE = 0.02  # variance of sensor noise relative to brain noise
LINE_SHARE = 0.3  # root mean square of mains relative to the background
ARTEFACT_SIZE = 25.0  # peak relative to the background
CROSSFADE = 1.0  # s, between a real background and its surrogates


@dataclass(frozen=True)
class Spectrum:
    """Cross-spectral density of a background.

    Attributes
    ----------
    frequencies
        [F], Hz, ascending, from 0 to half the rate.
    density
        [F, channels, channels], real or Hermitian, V^2 or T^2: white noise has its variance at every frequency.
    """

    frequencies: np.ndarray
    density: np.ndarray

    def nearest(self, frequencies: np.ndarray) -> np.ndarray:
        """Row of `density` nearest to each frequency."""
        return np.abs(frequencies[:, None] - self.frequencies).argmin(axis=1)

    def band_power(self, low: float, high: float) -> np.ndarray:
        """Variance of each channel between two frequencies [channels]."""
        grid = np.linspace(low, high, 400)
        power = np.einsum("fcc->fc", self.density).real
        inside = np.stack([np.interp(grid, self.frequencies, channel) for channel in power.T])
        return np.asarray(np.trapezoid(inside, grid, axis=1)) / self.frequencies[-1]


def alpha_covariance(sensors: Sensors) -> np.ndarray:
    """Spatial covariance of alpha: the part of brain noise that sensors at the back see more of; mean variance 1."""
    back = np.exp(-0.5 * ((sensors.positions[:, 1] - sensors.positions[:, 1].min()) / 0.05) ** 2)
    covariance = sensors.covariance * np.outer(back, back)
    return covariance * len(covariance) / np.trace(covariance)


def _brain(frequencies: np.ndarray) -> np.ndarray:
    return 1.0 / (frequencies + KNEE)


def _alpha(frequencies: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((frequencies - ALPHA_FREQUENCY) / ALPHA_WIDTH) ** 2)


def _shapes(frequencies: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Power of brain noise and of alpha [F], whose means over all frequencies are 1 and `ALPHA_SHARE`."""
    dense = np.linspace(0, sfreq / 2, 20_001)
    brain = _brain(frequencies) / _brain(dense).mean()
    return brain, ALPHA_SHARE * _alpha(frequencies) / _alpha(dense).mean()


def coloured_spectrum(sensors: Sensors, sfreq: float) -> Spectrum:
    """What `coloured` draws from; its grid is finer where the spectrum bends."""
    grid = np.r_[np.arange(0.0, 3.0, 0.1), np.arange(3.0, 20.0, 0.25), np.arange(20.0, sfreq / 2, 1.0), sfreq / 2]
    brain, alpha = _shapes(grid, sfreq)
    density = (
        brain[:, None, None] * sensors.covariance
        + alpha[:, None, None] * alpha_covariance(sensors)
        + WHITE_SHARE * np.eye(len(sensors.covariance))
    )
    return Spectrum(grid, sensors.level**2 * density)


def coloured(sensors: Sensors, n_samples: int, sfreq: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of known spectrum and covariance, float32 [channels, samples]; size about `sensors.level`."""
    n_channels, n_fast = len(sensors.covariance), next_fast_len(n_samples, real=True)
    frequencies = np.fft.rfftfreq(n_fast, 1 / sfreq)
    brain, alpha = _shapes(frequencies, sfreq)
    brain[0] = 0.0  # no offset
    series = np.zeros((n_channels, len(frequencies)), dtype=np.complex64)
    near_alpha = np.abs(frequencies - ALPHA_FREQUENCY) < 5 * ALPHA_WIDTH  # nothing beyond
    for power, covariance, bins in (
        (brain, sensors.covariance, slice(None)),
        (alpha, alpha_covariance(sensors), near_alpha),
    ):
        # real and imaginary parts side by side, so that one real product mixes both [channels, 2 F]
        width = len(frequencies[bins])
        drawn = rng.standard_normal((n_channels, 2 * width), dtype=np.float32)
        drawn *= np.tile(np.sqrt(power[bins] * n_fast / 2), 2).astype(np.float32)
        mixed = square_root(covariance).astype(np.float32) @ drawn
        series[:, bins] += mixed[:, :width] + 1j * mixed[:, width:]
    total = irfft(series, n=n_fast, axis=1)[:, :n_samples]
    total += np.float32(np.sqrt(WHITE_SHARE)) * rng.standard_normal(total.shape, dtype=np.float32)
    return np.float32(sensors.level) * total


def square_root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root of a covariance; tiny negative eigenvalues from rounding count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def lengthened(
    signal: np.ndarray, n_samples: int, sfreq: float, surrogate_first: bool, rng: np.random.Generator
) -> np.ndarray:
    """A real recording [channels, n], made `n_samples` long by surrogates of itself, joined by fades of `CROSSFADE`.

    Surrogates have the same power and cross spectra but random phases. With `surrogate_first` there is nothing else,
    so that no two subjects share their background.
    """
    fade = int(CROSSFADE * sfreq)
    rise = np.sin(0.5 * np.pi * np.linspace(0, 1, fade))  # squares of rise and fall add to 1: power stays
    total = np.zeros((len(signal), n_samples + signal.shape[1]))
    start, piece = 0, 0
    while start < n_samples:
        values = surrogate(signal, rng) if piece or surrogate_first else signal.copy()
        if piece:
            values[:, :fade] *= rise
        values[:, -fade:] *= rise[::-1]
        total[:, start : start + values.shape[1]] += values
        start, piece = start + values.shape[1] - fade, piece + 1
    return total[:, :n_samples]


def read_background(path: Path, channels: int, sfreq: float) -> np.ndarray:
    """First `channels` data channels of a recording at `sfreq`, without its mean and slow trend.

    Raises
    ------
    SettingsError
        If it cannot be read, is too short, or has fewer channels than are simulated (repeated ones would be too easy
        to remove).
    """
    import mne

    if not path.exists():
        raise SettingsError(f"background: {path} does not exist; give a recording that MNE reads")
    try:
        raw = mne.io.read_raw(path, preload=True, verbose="error")
        raw.pick(["meg", "eeg", "seeg", "ecog", "dbs"], verbose="error")
    except Exception as error:  # MNE raises many kinds
        raise SettingsError(f"background: {path} cannot be read: {str(error).splitlines()[0]}") from None
    if len(raw.ch_names) < channels:
        raise SettingsError(
            f"background: {path} has {len(raw.ch_names)} channels, channels is {channels}; set channels to at most that"
        )
    raw.pick(raw.ch_names[:channels]).filter(0.3, None, verbose="error")
    up, down = round(sfreq * 1000), round(raw.info["sfreq"] * 1000)
    values = resample_poly(raw.get_data(), up // gcd(up, down), down // gcd(up, down), axis=1)
    if values.shape[1] < 4 * CROSSFADE * sfreq:
        seconds = values.shape[1] / sfreq
        raise SettingsError(f"background: {path} lasts {seconds:.1f} s; give at least {4 * CROSSFADE:.0f} s")
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def surrogate(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random phases, the same for all channels, which keeps spectra and cross spectra."""
    spectrum = np.fft.rfft(signal, axis=1)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape[1]))
    phases[0] = 1.0
    return np.fft.irfft(spectrum * phases, n=signal.shape[1], axis=1)


def estimate_spectrum(signal: np.ndarray, sfreq: float, seconds: float = 2.0) -> Spectrum:
    """Cross-spectral density by averaged windows, drawn toward equal, independent channels: the more, the fewer windows."""
    n = min(int(seconds * sfreq), signal.shape[1])
    window = get_window("hann", n)
    pieces = [signal[:, i : i + n] * window for i in range(0, signal.shape[1] - n + 1, n // 2)]
    ffts = np.fft.rfft(np.stack(pieces), axis=2)  # [windows, channels, F]
    density = np.einsum("wcf,wdf->fcd", ffts, ffts.conj(), optimize=True) / len(pieces) / (window**2).sum()
    shrink = len(signal) / (len(signal) + len(pieces))
    mean = np.einsum("fcc->f", density).real / len(signal)
    density = (1 - shrink) * density + shrink * mean[:, None, None] * np.eye(len(signal))
    return Spectrum(np.fft.rfftfreq(n, 1 / sfreq), density)


def add_line(signal: np.ndarray, frequency: float, sfreq: float, rng: np.random.Generator) -> None:
    """Add mains in place, another strength and phase in every channel."""
    size = LINE_SHARE * np.sqrt(np.mean(signal**2)) * np.exp(0.5 * rng.standard_normal(len(signal)))
    phase = 2 * np.pi * rng.random(len(signal))
    times = np.arange(signal.shape[1]) / sfreq
    for row, amplitude, offset in zip(signal, size, phase):
        row += np.sqrt(2) * amplitude * np.sin(2 * np.pi * frequency * times + offset)


def add_artefacts(
    signal: np.ndarray,
    per_minute: float,
    sensors: Sensors,
    sfreq: float,
    rng: np.random.Generator,
    largest: float = ARTEFACT_SIZE,
) -> list[tuple[float, float]]:
    """Add large slow deflections in place, strongest at the front; (onset, duration) in s of each.

    `largest` is the highest peak over the background.
    """
    count = rng.poisson(per_minute * signal.shape[1] / sfreq / 60)
    front = np.exp(-0.5 * ((sensors.positions[:, 1] - sensors.positions[:, 1].max()) / 0.04) ** 2)
    spans = []
    for onset in np.sort(rng.uniform(0, signal.shape[1] / sfreq - 1.0, count)):
        n = int(rng.uniform(0.3, 0.9) * sfreq)
        start = int(onset * sfreq)
        size = largest * sensors.level * rng.uniform(0.4, 1.0) * rng.choice([-1.0, 1.0])
        signal[:, start : start + n] += size * np.outer(front, tukey(n, 1.0))
        spans.append((start / sfreq, n / sfreq))
    return spans
