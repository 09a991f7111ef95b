"""Features that come as arrays, and what is done to any slow feature: zero-phase filters, exact-time resampling.

The filters are the ones that preprocessing lays over the brain signal (MNE's zero-phase FIR), so that both sides of a
comparison can be filtered alike.
"""

from __future__ import annotations

import numpy as np

from neurodecode.config import FeatureSettings
from neurodecode.errors import NeurodecodeError, StimulusError
from neurodecode.stimuli.feature import Feature


def array_feature(values: np.ndarray, rate: float, t0: float, name: str) -> Feature:
    """Check an array that came with the recording.

    Raises
    ------
    StimulusError
        If it is not [frames, dimensions], is empty, or holds NaN or infinity.
    """
    values = np.asarray(values)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or 0 in values.shape:
        raise StimulusError(f"{name}: the array has shape {values.shape}; it must be [frames, dimensions], not empty")
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise StimulusError(f"{name}: frame {bad} of the array holds NaN or infinity; repair it")
    return Feature(values.astype(np.float32), float(rate), float(t0))


def filtered(feature: Feature, settings: FeatureSettings, name: str) -> Feature:
    """Filter, then resample, as the settings say; what they leave out is left.

    Returns
    -------
    Feature
        Frame k at `t0 + k / rate` seconds, as before, with the new rate.

    Raises
    ------
    StimulusError
        If an edge does not fit the rate, or the feature is shorter than the filter, or it would be up-sampled.
    """
    values, rate = feature.values, feature.rate
    edges = (settings.high_pass, settings.low_pass)
    if any(edges):
        values = _filter(values, rate, edges, name)
    if settings.rate and abs(settings.rate / rate - 1) > 1e-9:
        values, rate = _resample(values, rate, settings.rate, name), settings.rate
    return Feature(np.ascontiguousarray(values, np.float32), rate, feature.t0)


def _filter(values: np.ndarray, rate: float, edges: tuple[float | None, float | None], name: str) -> np.ndarray:
    import mne

    for key, edge in zip(("high_pass", "low_pass"), edges):
        if edge and edge >= rate / 2:
            raise StimulusError(
                f"{name}: {key} is {edge:g} Hz, at {rate:g} frames a second it must lie below {rate / 2:g}"
            )
    kernel = mne.filter.create_filter(None, rate, *edges, verbose="error")
    if len(kernel) > len(values):
        raise StimulusError(
            f"{name}: lasts {len(values) / rate:.2f} s, the filter {edges} Hz needs {len(kernel) / rate:.2f} s; "
            "raise high_pass"
        )
    signal = values.T.astype(np.float64)  # [dimensions, frames]
    return mne.filter.filter_data(signal, rate, *edges, pad="reflect_limited", copy=True, verbose="error").T


def _resample(values: np.ndarray, rate: float, target: float, name: str) -> np.ndarray:
    from neurodecode.preprocessing.resample import rational_ratio, resample_reference

    if target > rate * (1 + 1e-9):
        raise StimulusError(
            f"{name}: has {rate:g} frames a second, rate asks for {target:g}; set rate to at most {rate:g}"
        )
    try:
        ratio = rational_ratio(rate, target, len(values) / rate, name)
    except NeurodecodeError as error:
        raise StimulusError(str(error)) from None
    return resample_reference(values.T.astype(np.float64), ratio, 0).T
