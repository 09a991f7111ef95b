"""Resampling keeps time: on a ramp, the value of stored sample k is k / sfreq."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecode.errors import RecordingError
from neurodecode.preprocessing.filters import Filters
from neurodecode.preprocessing.resample import TOLERANCE, Ratio, kernel, rational_ratio, resample_reference
from neurodecode.preprocessing.streaming import stream_stretch

NO_FILTERS = Filters((), None, None, ())


def streamed(signal, ratio, start, block=1_000, dtype=np.float64):
    blocks = (signal[:, i : i + block] for i in range(0, signal.shape[1], block))
    return np.concatenate(list(stream_stretch(blocks, NO_FILTERS, ratio, start, dtype)), axis=1)


@pytest.mark.parametrize(
    ("sfreq", "target"),
    [(1000.0, 120.0), (1000.0, 128.0), (500.0, 120.0), (999.41, 120.0), (999.4121, 120.0), (128.0, 32.0)],
)
@pytest.mark.parametrize("start", [0, 137])
def test_on_a_ramp_each_output_is_its_own_time(sfreq: float, target: float, start: int) -> None:
    n = 20_011  # prime: no ratio of lengths is ever right by luck
    ratio = rational_ratio(sfreq, target, n / sfreq, "ramp")
    ramp = (start + np.arange(n))[None] / sfreq
    expected = np.arange(ratio.first_output(start), ratio.first_output(start + n)) / target
    for result in (resample_reference(ramp, ratio, start), streamed(ramp, ratio, start)):
        assert result.shape == (1, len(expected))
        assert np.abs(result[0] - expected).max() < TOLERANCE


def test_there_is_no_drift_after_ten_minutes() -> None:
    ratio = rational_ratio(1000.0, 128.0, 600.0, "ramp")
    result = streamed(np.arange(600_000)[None] / 1000, ratio, 0, block=30_000)
    assert result.shape == (1, 76_800)
    assert np.abs(result[0] - np.arange(76_800) / 128).max() < 1e-6  # the bound asked for is 1/256 s


@settings(max_examples=30, deadline=None)
@given(
    up=st.integers(1, 40),
    down=st.integers(1, 60),
    start=st.integers(0, 500),
    n=st.integers(600, 900),
    block=st.integers(1, 900),
    seed=st.integers(0, 99),
)
def test_streaming_equals_mne_wherever_the_stretch_starts_and_the_blocks_are_cut(
    up: int, down: int, start: int, n: int, block: int, seed: int
) -> None:
    ratio = rational_ratio(float(max(up, down)), float(min(up, down)), 1.0, "noise")
    signal = np.random.default_rng(seed).standard_normal((2, n))
    reference = resample_reference(signal, ratio, start)
    result = streamed(signal, ratio, start, block)
    assert result.shape == reference.shape
    assert np.allclose(result, reference, atol=1e-10)


@pytest.mark.parametrize(("frequency", "gain"), [(50, 0.998), (55, 0.82), (57, 0.44), (58, 0.24), (59, 0.10)])
def test_the_response_is_that_of_the_papers_resampling(frequency: float, gain: float) -> None:
    ratio = Ratio(3, 25)  # 1000 -> 120 Hz
    taps = kernel(ratio)
    position = np.arange(len(taps)) - ratio.half_length
    response = abs(np.sum(taps * np.exp(-2j * np.pi * frequency * position / 3000)))
    assert response == pytest.approx(gain, abs=0.005)


def test_mains_at_the_new_nyquist_frequency_do_not_fold_back() -> None:
    times = np.arange(20_000) / 1000
    for phase in (0.0, 0.7, 1.5):
        wave = np.cos(2 * np.pi * 61 * times + phase)[None]  # folds to 59 Hz
        assert np.abs(streamed(wave, Ratio(3, 25), 0)[:, 100:-100]).max() < 0.01


def test_a_constant_stays_exactly_what_it_is() -> None:
    constant = np.full((1, 5_000), 0.1)
    for dtype in (np.float32, np.float64):
        assert np.abs(streamed(constant, Ratio(3, 25), 0, dtype=dtype) - 0.1).max() < 1e-8


def test_up_sampling_is_refused_with_the_next_move() -> None:
    with pytest.raises(RecordingError, match=r"sub-9: sampled at 100 Hz, but sfreq asks for 120 Hz.*at most 100"):
        rational_ratio(100.0, 120.0, 60.0, "sub-9")


def test_a_ratio_that_no_fraction_meets_is_refused() -> None:
    with pytest.raises(RecordingError, match="no fraction with terms up to 100000"):
        rational_ratio(1000 * np.pi, 120.0, 1e8, "sub-9")


@pytest.mark.parametrize("sfreq", [1000.0, 999.41, 999.4121, 1017.2526, 610.3515625, 2048.0])
def test_the_clock_of_a_fraction_is_right_over_an_hour(sfreq: float) -> None:
    ratio = rational_ratio(sfreq, 120.0, 3600.0, "long")
    assert abs(ratio.up / ratio.down * sfreq / 120.0 - 1) * 3600 <= TOLERANCE
    assert max(ratio.up, ratio.down) < 100_001
