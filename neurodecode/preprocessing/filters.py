"""Steps 3 and 4: the filters, designed by MNE, for both engines.

Settings in; what to notch and the FIR kernels (odd length, zero phase) out. The reference engine hands the same
numbers to `Raw.notch_filter` and `Raw.filter`; the streaming engine applies these kernels itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError

NOTCH_TRANSITION = 1.0  # Hz, both sides together; MNE's default
NOTCH_WIDTH = 1 / 200  # of the frequency; MNE's default


@dataclass(frozen=True)
class Filters:
    """What is filtered.

    Attributes
    ----------
    notches
        Frequencies, Hz.
    high_pass, low_pass
        Edges, Hz, or None.
    kernels
        FIR kernels in the order in which they are applied, float64, odd length, symmetric.
    """

    notches: tuple[float, ...]
    high_pass: float | None
    low_pass: float | None
    kernels: tuple[np.ndarray, ...]

    @property
    def longest(self) -> int:
        """Samples of the longest kernel; a shorter stretch cannot be filtered."""
        return max((len(kernel) for kernel in self.kernels), default=1)

    @property
    def gain(self) -> float:
        """What all kernels together make of a constant."""
        return float(np.prod([kernel.sum() for kernel in self.kernels])) if self.kernels else 1.0


def line_frequency_of(settings: PreprocessingSettings, recorded: float | None, name: str) -> float | None:
    """Mains frequency to notch, Hz, or None when none is wanted.

    Raises
    ------
    RecordingError
        If `auto` is set and the recording does not tell.
    """
    if settings.line_noise != "auto":
        return settings.line_noise
    if recorded is None:
        raise RecordingError(
            f"{name}: line_noise is auto, but neither the recording nor its card gives a mains frequency; "
            "set line_noise to 50, 60 or null"
        )
    return float(recorded)


def harmonics(frequency: float, sfreq: float) -> tuple[float, ...]:
    """The frequency and its multiples whose notch fits below half the rate."""
    upper = sfreq / 2
    count = int(upper // frequency)
    return tuple(
        k * frequency for k in range(1, count + 1) if k * frequency * (1 + NOTCH_WIDTH / 2) + NOTCH_TRANSITION < upper
    )


def design_filters(settings: PreprocessingSettings, sfreq: float, line: float | None, name: str) -> Filters:
    """Let MNE design the kernels for a recording of rate `sfreq` (Hz).

    Raises
    ------
    RecordingError
        If an edge does not lie below half the rate.
    """
    from mne.filter import create_filter

    high_pass, low_pass = settings.high_pass, settings.low_pass
    for key, edge in (("high_pass", high_pass), ("low_pass", low_pass)):
        if edge is not None and edge >= sfreq / 2:
            raise RecordingError(
                f"{name}: {key} is {edge:g} Hz, but at {sfreq:g} Hz it must lie below {sfreq / 2:g} Hz; lower it"
            )
    notches = harmonics(line, sfreq) if line else ()
    kernels = []
    if notches:
        # the same arguments that mne.filter.notch_filter passes on: stop bands of width f/200, transitions of 0.5 Hz
        half = np.array(notches) * NOTCH_WIDTH / 2 + NOTCH_TRANSITION / 2
        transition = NOTCH_TRANSITION / 2
        kernels.append(
            create_filter(
                None,
                sfreq,
                np.array(notches) + half,
                np.array(notches) - half,
                l_trans_bandwidth=transition,
                h_trans_bandwidth=transition,
                verbose="error",
            )
        )
    if high_pass is not None or low_pass is not None:
        kernels.append(create_filter(None, sfreq, high_pass, low_pass, verbose="error"))
    return Filters(notches, high_pass, low_pass, tuple(np.asarray(kernel, float) for kernel in kernels))
