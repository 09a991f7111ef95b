"""What cleaning did to a recording, in numbers: an excerpt before beside the same excerpt after.

[channels, samples] at two rates in; a JSON-ready dict out.
"""

from __future__ import annotations

import numpy as np

EXCERPT = 20.0  # s, from the middle of the longest good stretch
SIDE = (1.0, 4.0)  # Hz: bands on both sides of a line that its power is compared with


def excerpt_of(good: list[tuple[int, int]], sfreq: float) -> tuple[int, int]:
    """(start, stop) in samples of the excerpt."""
    start, stop = max(good, key=lambda pair: pair[1] - pair[0])
    length = min(stop - start, int(EXCERPT * sfreq))
    first = start + (stop - start - length) // 2
    return first, first + length


def rms_by_type(signal: np.ndarray, types: list[str], good: np.ndarray) -> dict[str, float | None]:
    """Type -> median over the good channels of the standard deviation over time (SI units)."""
    spread = signal.std(axis=1, dtype=np.float64)
    kinds = np.array(types)
    return {
        kind: float(np.median(spread[(kinds == kind) & good])) if ((kinds == kind) & good).any() else None
        for kind in sorted(set(types))
    }


def line_ratio(signal: np.ndarray, sfreq: float, line: float | None, good: np.ndarray) -> float | None:
    """Power within 0.5 Hz of the mains frequency over that of its neighbourhood; 1 is no line noise.

    The median over the good channels; None when the frequency is unknown or above what the rate can show.
    """
    from scipy.signal import welch

    n_fft = int(2 * sfreq)
    if line is None or line + SIDE[1] >= sfreq / 2 or signal.shape[1] < n_fft or not good.any():
        return None
    frequencies, power = welch(signal[good].astype(np.float64), sfreq, nperseg=n_fft, axis=1)
    distance = np.abs(frequencies - line)
    beside = power[:, (distance > SIDE[0]) & (distance <= SIDE[1])].mean(axis=1)
    at = power[:, distance <= 0.5].mean(axis=1)
    ratios = at[beside > 0] / beside[beside > 0]
    return float(np.median(ratios)) if len(ratios) else None
