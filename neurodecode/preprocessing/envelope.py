"""The envelope of a band (high gamma), between reference and resampling.

    bands = design_envelope(settings, 1000.0, "sub-01")
    envelope = envelope_reference(signal, bands, 1000.0)       # float64 [channels, samples], >= 0, same times

The band is cut into sub-bands of about 20 Hz whose gains add up to one, so that no frequency inside it counts more than
another; the magnitudes of their analytic signals are averaged. Filters have zero phase: nothing moves in time. In: a good
stretch, SI units, already re-referenced (a magnitude cannot be re-referenced). Out: the same units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError

SUB_BAND = 20.0  # Hz; the envelope of a sub-band cannot change faster than about so many times a second


@dataclass(frozen=True)
class EnvelopeBands:
    """The sub-bands.

    Attributes
    ----------
    edges
        (lower, upper) in Hz, where the gain is one half; neighbours share an edge.
    transition
        Width of each transition, Hz, centred on the edge.
    longest
        Samples of the longest kernel; a shorter stretch cannot be filtered.
    """

    edges: tuple[tuple[float, float], ...]
    transition: float
    longest: int

    def report(self) -> dict:
        """JSON-ready."""
        return {"band": [self.edges[0][0], self.edges[-1][1]], "sub_bands": [list(edge) for edge in self.edges]}


def design_envelope(settings: PreprocessingSettings, sfreq: float, name: str) -> EnvelopeBands | None:
    """Cut the band for a recording of rate `sfreq` (Hz); None when no envelope is wanted.

    Raises
    ------
    RecordingError
        If the band does not lie below half the rate.
    """
    from mne.filter import create_filter

    if settings.envelope is None:
        return None
    low, high = settings.envelope
    borders = np.linspace(low, high, max(round((high - low) / SUB_BAND), 1) + 1)
    width = float(borders[1] - borders[0])
    transition = min(width / 2, low)  # the lowest transition must not reach below 0 Hz
    if high + transition / 2 >= sfreq / 2:
        raise RecordingError(
            f"{name}: envelope ends at {high:g} Hz, but at {sfreq:g} Hz it must end below "
            f"{(sfreq - transition) / 2:g} Hz; lower it"
        )
    edges = tuple((float(a), float(b)) for a, b in pairwise(borders))
    kernel = create_filter(None, sfreq, *_pass_band(edges[0], transition), **_transitions(transition), verbose="error")
    return EnvelopeBands(edges, transition, len(kernel))


def envelope_reference(signal: np.ndarray, bands: EnvelopeBands, sfreq: float) -> np.ndarray:
    """The envelope by MNE's filter and the Hilbert transform.

    Parameters
    ----------
    signal
        [channels, samples], float64; a stretch of at least `bands.longest` samples.
    bands
        What to filter.
    sfreq
        Hz.

    Returns
    -------
    ndarray
        [channels, samples], float64, >= 0. The stretch is mirrored (odd) by half a kernel at both ends, as its filters do.
    """
    from mne.filter import filter_data
    from scipy.fft import next_fast_len
    from scipy.signal import hilbert

    margin = bands.longest // 2
    n_samples = signal.shape[1]
    n_fft = next_fast_len(n_samples + 2 * margin)
    result = np.empty(signal.shape)
    for row, channel in enumerate(signal):  # one after the other: memory of a channel, whatever their number
        padded = np.pad(channel, margin, mode="reflect", reflect_type="odd")
        magnitude = np.zeros(n_samples)
        for edge in bands.edges:
            filtered = filter_data(
                padded,
                sfreq,
                *_pass_band(edge, bands.transition),
                **_transitions(bands.transition),
                pad="reflect_limited",
                verbose="error",
            )
            magnitude += np.abs(hilbert(filtered, n_fft))[margin : margin + n_samples]
        result[row] = magnitude / len(bands.edges)
    return result


def _pass_band(edge: tuple[float, float], transition: float) -> tuple[float, float]:
    """MNE counts transitions from the pass band outwards, and its gain is one half in their middle."""
    return edge[0] + transition / 2, edge[1] - transition / 2


def _transitions(transition: float) -> dict[str, float]:
    return {"l_trans_bandwidth": transition, "h_trans_bandwidth": transition}
