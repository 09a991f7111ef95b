"""What the sensors record when nothing is heard: coloured noise with spatial structure, or a real recording.

In: settings, sensors, a random generator. Out: float64 [channels, samples], and the noise's cross-spectral density
[frequencies, channels, channels], which the ideal observer uses.

The coloured background is the sum of brain noise with power 1 / (f + 1 Hz), alpha around 10 Hz, and white sensor noise.
Mains, artefacts and flat channels come on top, and the observer is not told of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import get_window, resample_poly
from scipy.signal.windows import tukey

from neurodecode.config.simulation import SimulationSettings
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
        [F], Hz, ascending.
    density
        [F, channels, channels], complex or real, in (V or T)^2 per bin up to one common factor.
    """

    frequencies: np.ndarray
    density: np.ndarray

    def nearest(self, frequencies: np.ndarray) -> np.ndarray:
        """Row of `density` nearest to each frequency."""
        return np.abs(frequencies[:, None] - self.frequencies).argmin(axis=1)


def alpha_covariance(sensors: Sensors) -> np.ndarray:
    """Spatial covariance of alpha: the part of brain noise that sensors at the back see more of; mean variance 1."""
    back = np.exp(-0.5 * ((sensors.positions[:, 1] - sensors.positions[:, 1].min()) / 0.05) ** 2)
    covariance = sensors.covariance * np.outer(back, back)
    return covariance * len(covariance) / np.trace(covariance)


def _shapes(frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power spectra of brain noise and alpha [F], not normalised."""
    brain = 1.0 / (np.abs(frequencies) + KNEE)
    alpha = np.exp(-0.5 * ((np.abs(frequencies) - ALPHA_FREQUENCY) / ALPHA_WIDTH) ** 2)
    return brain, alpha


def coloured(sensors: Sensors, n_samples: int, sfreq: float, rng: np.random.Generator) -> tuple[np.ndarray, Spectrum]:
    """Gaussian noise of known spectrum and covariance [channels, samples]; root mean square about `sensors.level`."""
    n_channels = len(sensors.covariance)
    frequencies = np.fft.rfftfreq(n_samples, 1 / sfreq)
    brain, alpha = _shapes(frequencies)
    brain[0] = 0.0  # no offset
    brain, alpha = brain / brain.mean(), alpha / alpha.mean() * ALPHA_SHARE
    white = np.full(len(frequencies), WHITE_SHARE)
    parts = ((brain, sensors.covariance), (alpha, alpha_covariance(sensors)), (white, np.eye(n_channels)))
    total = np.zeros((n_channels, n_samples))
    for power, covariance in parts:
        series = np.fft.rfft(rng.standard_normal((n_channels, n_samples)), axis=1) * np.sqrt(power)
        total += square_root(covariance) @ np.fft.irfft(series, n=n_samples, axis=1)
    grid = np.r_[np.arange(0.0, 3.0, 0.1), np.arange(3.0, 20.0, 0.25), np.arange(20.0, sfreq / 2, 1.0)]
    density = sum(
        np.interp(grid, frequencies[1:], power[1:])[:, None, None] * covariance for power, covariance in parts
    )
    return sensors.level * total, Spectrum(grid, sensors.level**2 * density)


def square_root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root of a covariance; tiny negative eigenvalues from rounding count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def recorded(
    settings: SimulationSettings, sensors: Sensors, n_samples: int, subject: int, rng: np.random.Generator
) -> tuple[np.ndarray, Spectrum]:
    """A real recording under the response: its channels in their order, resampled, made longer by surrogates.

    Subject 0 hears the story over the recording itself; what is longer than it, and every further subject, gets
    surrogates with the same power and cross spectra but random phases, joined by fades of `CROSSFADE`.

    Raises
    ------
    SettingsError
        If it cannot be read, or has fewer channels than are simulated (repeated ones would be too easy to remove).
    """
    signal = read_background(Path(str(settings.background)), settings.channels, settings.sfreq)
    fade = int(CROSSFADE * settings.sfreq)
    if signal.shape[1] < 4 * fade:
        raise SettingsError(
            f"background: {settings.background} lasts {signal.shape[1] / settings.sfreq:.1f} s; "
            f"give at least {4 * CROSSFADE:.0f} s"
        )
    rise = np.sin(0.5 * np.pi * np.linspace(0, 1, fade))  # squares of rise and fall add to 1: power stays
    total = np.zeros((settings.channels, n_samples + signal.shape[1]))
    start, piece = 0, 0
    while start < n_samples:
        values = signal if subject == 0 and piece == 0 else surrogate(signal, rng)
        values = values.copy()
        if piece:
            values[:, :fade] *= rise
        values[:, -fade:] *= rise[::-1]
        total[:, start : start + values.shape[1]] += values
        start, piece = start + values.shape[1] - fade, piece + 1
    total = total[:, :n_samples]
    if settings.modality == "meg":  # recordings in volts stand in for fields: bring them to the size of fields
        total *= sensors.level / np.sqrt(np.mean(total**2))
    return total, estimate_spectrum(total, settings.sfreq)


def read_background(path: Path, channels: int, sfreq: float) -> np.ndarray:
    """First `channels` data channels of a recording at `sfreq`, without its mean and slow trend."""
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
    return values - values.mean(axis=1, keepdims=True)


def surrogate(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random phases, the same for all channels, which keeps spectra and cross spectra."""
    spectrum = np.fft.rfft(signal, axis=1)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape[1]))
    phases[0] = 1.0
    return np.fft.irfft(spectrum * phases, n=signal.shape[1], axis=1)


def estimate_spectrum(signal: np.ndarray, sfreq: float, seconds: float = 4.0, shrink: float = 0.02) -> Spectrum:
    """Cross-spectral density by averaged windows, drawn a little toward its diagonal."""
    n = min(int(seconds * sfreq), signal.shape[1])
    window = get_window("hann", n)
    pieces = [signal[:, i : i + n] * window for i in range(0, signal.shape[1] - n + 1, n // 2)]
    ffts = np.fft.rfft(np.stack(pieces), axis=2)  # [windows, channels, F]
    density = np.einsum("wcf,wdf->fcd", ffts, ffts.conj(), optimize=True) / len(pieces)
    diagonal = np.einsum("fcc->fc", density).real
    density = (1 - shrink) * density + shrink * diagonal.mean(axis=1)[:, None, None] * np.eye(len(signal))
    return Spectrum(np.fft.rfftfreq(n, 1 / sfreq), density)


def add_line(signal: np.ndarray, frequency: float, sfreq: float, rng: np.random.Generator) -> bool:
    """Add mains in place, another strength and phase in every channel; False when the rate cannot hold it."""
    if frequency >= sfreq / 2:
        return False
    size = LINE_SHARE * np.sqrt(np.mean(signal**2)) * np.exp(0.5 * rng.standard_normal(len(signal)))
    phase = 2 * np.pi * rng.random(len(signal))
    times = np.arange(signal.shape[1]) / sfreq
    for row, amplitude, offset in zip(signal, size, phase):
        row += np.sqrt(2) * amplitude * np.sin(2 * np.pi * frequency * times + offset)
    return True


def add_artefacts(
    signal: np.ndarray, per_minute: float, sensors: Sensors, sfreq: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Add large slow deflections in place, strongest at the front; (onset, duration) in s of each."""
    count = rng.poisson(per_minute * signal.shape[1] / sfreq / 60)
    front = np.exp(-0.5 * ((sensors.positions[:, 1] - sensors.positions[:, 1].max()) / 0.04) ** 2)
    spans = []
    for onset in np.sort(rng.uniform(0, signal.shape[1] / sfreq - 1.0, count)):
        n = int(rng.uniform(0.3, 0.9) * sfreq)
        start = int(onset * sfreq)
        size = ARTEFACT_SIZE * sensors.level * rng.uniform(0.4, 1.0) * rng.choice([-1.0, 1.0])
        signal[:, start : start + n] += size * np.outer(front, tukey(n, 1.0))
        spans.append((start / sfreq, n / sfreq))
    return spans
