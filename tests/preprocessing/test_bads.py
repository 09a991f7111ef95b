"""Bad channels are found for a reason that is written down, whatever the blocks, and never spread to good ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.preprocessing.bads import BadChannelScan
from neurodecode.preprocessing.clean import clean

PLAIN = PreprocessingSettings(sfreq=100.0)


def found(values: np.ndarray, blocks: list[int] = (), deviation: float | None = 8.0) -> dict[str, str]:
    scan = BadChannelScan(len(values), 200.0)
    for part in np.split(values, blocks, axis=1) if blocks else [values]:
        scan.add(part)
    scan.end_stretch()
    return scan.found([f"E{i}" for i in range(len(values))], ["eeg"] * len(values), deviation)


def test_flat_nan_and_far_out_channels_are_named_with_their_reason(noise) -> None:
    values = noise(n_channels=8)
    values[1] = 3e-6
    values[2, 500] = np.nan
    values[3] *= 100
    values[4] /= 100
    bad = found(values)
    assert list(bad) == ["E2", "E1", "E3", "E4"]
    assert bad["E2"] == "1 of 4000 samples are NaN or infinite"
    assert bad["E1"] == "flat in 100% of the seconds"
    assert "times that of the median eeg channel" in bad["E3"]


def test_good_channels_are_not_named_however_alike_they_are(noise) -> None:
    values = np.repeat(noise(n_channels=1), 8, axis=0) * np.linspace(1, 3, 8)[:, None]
    assert found(values) == {}


def test_a_few_artefacts_do_not_make_a_channel_bad(noise) -> None:
    values = noise(n_channels=6)
    values[0, 1000:1400] += 5e-3
    assert found(values) == {}


def test_without_looking_only_nan_counts(noise) -> None:
    values = noise(n_channels=6)
    values[1], values[2, 7] = 0.0, np.inf
    assert list(found(values, deviation=None)) == ["E2"]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 3_999), max_size=8))
def test_what_is_found_does_not_depend_on_the_blocks(cuts: list[int]) -> None:
    values = np.random.default_rng(0).standard_normal((6, 4_000))
    values[1], values[2] = 0.0, 40 * values[2]
    values[3, ::900] = np.nan
    assert found(values, sorted(set(cuts))) == found(values)


@pytest.mark.parametrize("engine", ["mne", "streaming"])
def test_a_nan_channel_is_marked_zero_and_does_not_reach_its_neighbours(make_recording, noise, engine: str) -> None:
    values = noise(n_channels=6)
    broken = values.copy()
    broken[2, 100:150] = np.nan
    settings = PLAIN.model_copy(update={"engine": engine, "reference": "average", "low_pass": 40.0})
    result = clean(make_recording(broken), settings)
    without = clean(make_recording(np.delete(values, 2, axis=0)), settings)
    assert result.channels["bad"].tolist() == [False, False, True, False, False, False]
    assert not result.signal[2].any()
    assert np.abs(np.delete(result.signal, 2, axis=0) - without.signal).max() < 1e-6 * without.signal.std()
    assert any(note.line().startswith("sub-01: channel E2: 50 of 4000 samples are NaN") for note in result.notes)


def test_marked_channels_stay_marked_and_dropped_ones_go(make_recording, noise) -> None:
    recording = make_recording(noise(n_channels=6), bads=["E4"])
    marked = clean(recording, PLAIN)
    assert marked.channels["bad"].tolist() == [False] * 4 + [True, False]
    assert marked.report["bads"] == {"E4": "marked in the recording"}
    dropped = clean(recording, PLAIN.model_copy(update={"bads": "drop"}))
    assert list(dropped.channels["name"]) == ["E0", "E1", "E2", "E3", "E5"]
    assert dropped.signal.shape == (5, 2000)
    assert np.array_equal(dropped.signal, np.delete(marked.signal, 4, axis=0))


def test_a_recording_without_a_good_channel_is_refused(make_recording) -> None:
    with pytest.raises(RecordingError, match=r"sub-01: all 4 channels are bad \(for example E0: flat in 100%"):
        clean(make_recording(np.zeros((4, 4000))), PLAIN)
    holes = np.ones((4, 4000))
    holes[:, 5] = np.nan
    with pytest.raises(RecordingError, match="all 4 channels are bad .* mark gaps with BAD_ACQ_SKIP"):
        clean(make_recording(holes), PLAIN)
