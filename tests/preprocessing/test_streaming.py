"""The streaming engine gives what MNE's own Raw methods give, in memory that does not grow with the recording."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import mne
import numpy as np
import pytest

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.preprocessing.clean import clean
from neurodecode.preprocessing.filters import design_filters, harmonics
from neurodecode.preprocessing.resample import Ratio, rational_ratio
from neurodecode.preprocessing.streaming import stream_stretch
from neurodecode.recordings.recording import Recording, empty_events

TOLERANCE = 2e-5  # largest difference of the float32 engine, in standard deviations of the channel
BAND = PreprocessingSettings(high_pass=1.0, low_pass=30.0, sfreq=100.0)


def by_mne(values: np.ndarray, sfreq: float, settings: PreprocessingSettings, line: float | None) -> np.ndarray:
    """The filters as a user of MNE would write them."""
    raw = mne.io.RawArray(values.copy(), mne.create_info(len(values), sfreq, "eeg"), verbose="error")
    if line:
        raw.notch_filter(harmonics(line, sfreq), verbose="error")
    if settings.high_pass or settings.low_pass:
        raw.filter(settings.high_pass, settings.low_pass, pad="reflect_limited", verbose="error")
    return raw.get_data()


@pytest.mark.parametrize(
    ("high_pass", "low_pass", "line"), [(1.0, None, None), (None, 30.0, None), (1.0, 30.0, 50.0), (None, None, 50.0)]
)
@pytest.mark.parametrize("block", [97, 1_000, 10_000])
def test_filters_equal_mnes_whatever_the_block(noise, high_pass, low_pass, line, block: int) -> None:
    values = noise(seconds=30.0)
    settings = PreprocessingSettings(high_pass=high_pass, low_pass=low_pass, sfreq=200.0)
    filters = design_filters(settings, 200.0, line, "noise")
    expected = by_mne(values, 200.0, settings, line)
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, TOLERANCE)):
        blocks = (values[:, i : i + block] for i in range(0, values.shape[1], block))
        result = np.concatenate(list(stream_stretch(blocks, filters, Ratio(1, 1), 0, dtype)), axis=1)
        assert result.shape == expected.shape
        assert np.abs(result - expected).max() < tolerance * expected.std()


def test_both_engines_agree_on_noise_and_offset(make_recording, noise) -> None:
    recording = make_recording(noise(seconds=30.0) + 0.1, line_frequency=50.0)  # an electrode offset of 0.1 V
    settings = BAND.model_copy(update={"line_noise": "auto"})
    streamed = clean(recording, settings).signal
    reference = clean(recording, settings.model_copy(update={"engine": "mne"})).signal
    assert np.abs(streamed - reference).max() < TOLERANCE * reference.std()


def test_the_result_does_not_depend_on_the_block_length(make_recording, noise) -> None:
    recording = make_recording(noise(seconds=30.0))
    results = [clean(recording, BAND.model_copy(update={"block_seconds": s})).signal for s in (0.35, 4.0, 60.0)]
    for other in results[1:]:
        assert np.abs(other - results[0]).max() < TOLERANCE * results[0].std()


def test_memory_does_not_grow_with_the_recording() -> None:
    filters = design_filters(BAND, 500.0, 50.0, "long")
    ratio = rational_ratio(500.0, 100.0, 60.0, "long")

    def peak(n_blocks: int) -> int:
        rng = np.random.default_rng(0)
        tracemalloc.start()
        for _ in stream_stretch((rng.standard_normal((8, 5_000)) for _ in range(n_blocks)), filters, ratio, 0):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(24) < 1.1 * peak(6)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "file",
    ["eegmat/Subject00_2.edf", "ieeg/sample_seeg.edf", "ieeg/sample_ecog.edf"],
)
def test_both_engines_agree_on_real_recordings(shared_data: Path, file: str) -> None:
    path = shared_data / file
    if not path.is_file():
        pytest.skip(f"{file} is not there")
    raw = mne.io.read_raw(path, verbose="error")
    recording = Recording(raw, empty_events(), "01", line_frequency=50.0)
    settings = PreprocessingSettings(high_pass=0.5, low_pass=40.0, line_noise=50.0, sfreq=120.0, block_seconds=7.0)
    streamed = clean(recording, settings)
    reference = clean(recording, settings.model_copy(update={"engine": "mne"}))
    spread = np.maximum(reference.signal.std(axis=1, keepdims=True), 1e-12)
    assert list(streamed.channels["name"]) == list(reference.channels["name"])
    assert (np.abs(streamed.signal - reference.signal) / spread).max() < 1e-4
