"""Step 6: polyphase resampling that keeps time exactly.

Stored sample k lies k / sfreq seconds from the first recorded sample, whatever the rates and wherever a stretch
starts. Two things are done differently from a plain `raw.resample(method="polyphase")`, which uses the ratio of the
*rounded lengths* (so its clock is off by up to half an output sample at the end) and a kernel that is at -6 dB on the
new Nyquist frequency (so mains at 60 Hz folds back when 120 Hz is asked for):

- the ratio is a fraction of integers whose error over the whole recording stays below `TOLERANCE`;
- the kernel is a Hann-windowed sinc with its -6 dB point at 0.945 of the new Nyquist frequency and 24 zero crossings
  on each side, the response that the contrastive speech paper's preprocessing has (section 3.1 of its specification).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from neurodecode.errors import RecordingError

TOLERANCE = 5e-5  # s that the clock may be off at the end of a recording, through a rational approximation of the rates
LARGEST = 100_000  # largest numerator or denominator: the kernel has about 50 times as many taps
ZEROS = 24  # zero crossings on each side
ROLLOFF = 0.945  # -6 dB point relative to the new Nyquist frequency


@dataclass(frozen=True)
class Ratio:
    """Output rate over input rate as `up / down`, in lowest terms."""

    up: int
    down: int

    @property
    def half_length(self) -> int:
        """Taps on each side of the kernel's middle, at the rate `up` x input."""
        return math.ceil(ZEROS * max(self.up, self.down) / ROLLOFF)

    @property
    def reach(self) -> int:
        """Input samples on each side that an output sample depends on."""
        return self.half_length // self.up + 1

    def first_output(self, sample: int) -> int:
        """Index of the first output sample at or after an input sample."""
        return -((-sample * self.up) // self.down)


def rational_ratio(sfreq: float, target: float, seconds: float, name: str) -> Ratio:
    """Smallest fraction that stands for `target / sfreq` over a recording of this length.

    Raises
    ------
    RecordingError
        If the target lies above the rate, or no fraction with terms up to 100,000 is good enough.
    """
    if target > sfreq * (1 + 1e-9):
        raise RecordingError(
            f"{name}: sampled at {sfreq:g} Hz, but sfreq asks for {target:g} Hz; up-sampling adds nothing, "
            f"set sfreq to at most {sfreq:g}"
        )
    exact = Fraction(target) / Fraction(sfreq)
    limit = 1
    while limit <= LARGEST:
        fraction = exact.limit_denominator(limit)
        if fraction > 0 and abs(float(fraction / exact - 1)) * seconds <= TOLERANCE:
            return Ratio(fraction.numerator, fraction.denominator)
        limit = max(limit + 1, limit * 5 // 4)
    raise RecordingError(
        f"{name}: no fraction with terms up to {LARGEST} takes {sfreq!r} Hz to {target!r} Hz within {TOLERANCE:g} s "
        f"over {seconds:g} s; choose an sfreq that divides the rate"
    )


@lru_cache(maxsize=4)
def kernel(ratio: Ratio) -> np.ndarray:
    """The anti-aliasing kernel at the rate `up` x input, float64 [2 half_length + 1]; each phase sums to 1 / up."""
    from scipy.signal import firwin

    taps = firwin(2 * ratio.half_length + 1, ROLLOFF / max(ratio.up, ratio.down), window="hann")
    # a phase whose taps do not sum to 1 / up would turn a constant (an electrode offset) into a tone
    phases = np.pad(taps, (0, -len(taps) % ratio.up)).reshape(-1, ratio.up)
    taps = (phases / (phases.sum(axis=0) * ratio.up)).ravel()[: len(taps)]
    taps.setflags(write=False)  # shared through the cache
    return taps


def resample_reference(signal: np.ndarray, ratio: Ratio, start: int) -> np.ndarray:
    """Resample a stretch with `mne.filter.resample(method="polyphase")` onto the recording's own output grid.

    Parameters
    ----------
    signal
        [channels, samples], float64; the stretch.
    ratio
        Output over input rate.
    start
        Index of the stretch's first sample in the recording. The stretch is mirrored (odd) on both sides up to
        multiples of `down`, so that the ratio of lengths is exact and output 0 of MNE falls on the grid.

    Returns
    -------
    ndarray
        [channels, outputs]: the outputs from `first_output(start)` up to `first_output(start + samples)`, excluded.
    """
    import mne

    if ratio.up == ratio.down:
        return signal.copy()
    stop = start + signal.shape[1]
    left = ratio.reach + (start - ratio.reach) % ratio.down
    right = ratio.reach + (-(stop + ratio.reach)) % ratio.down
    padded = np.pad(signal, [(0, 0), (left, right)], mode="reflect", reflect_type="odd")
    out = mne.filter.resample(
        padded,
        up=float(ratio.up),
        down=float(ratio.down),
        method="polyphase",
        window=np.array(kernel(ratio)),
        pad="edge",
        verbose="error",
    )
    origin = (start - left) // ratio.down * ratio.up  # output index of padded sample 0; exact by the choice of left
    first, last = ratio.first_output(start), ratio.first_output(stop)
    return out[:, first - origin : last - origin]
