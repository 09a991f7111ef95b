"""Skips and joins split a recording; nothing is filtered across them, and nothing is lost in silence."""

from __future__ import annotations

import numpy as np
import pytest

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.preprocessing.clean import clean
from neurodecode.preprocessing.stretches import find_stretches, merge_spans, uncovered_spans

SKIPS = [(0.0, 2.0, "BAD_ACQ_SKIP"), (10.0, 2.0, "bad_acq_skip")]
HIGH = PreprocessingSettings(high_pass=0.5, line_noise=50.0, sfreq=100.0, find_bads=False)


def test_a_recording_that_begins_with_a_skip_has_two_good_stretches(make_recording) -> None:
    stretches = find_stretches(make_recording(annotations=SKIPS).raw, minimum=10)
    assert stretches.good == [(400, 2000), (2400, 4000)]
    assert stretches.bad_spans == [(0.0, 2.0), (10.0, 12.0)]


@pytest.mark.parametrize("first_samp", [0, 10_000])
@pytest.mark.parametrize("meas_date", [None, 1e9])
def test_annotations_are_counted_from_the_first_sample(make_recording, first_samp: int, meas_date) -> None:
    raw = make_recording(annotations=SKIPS, first_samp=first_samp, meas_date=meas_date).raw
    assert find_stretches(raw, minimum=10).good == [(400, 2000), (2400, 4000)]


@pytest.mark.parametrize("engine", ["mne", "streaming"])
def test_each_good_stretch_is_filtered_as_if_it_were_a_file_of_its_own(make_recording, noise, engine: str) -> None:
    values = noise()
    values[:, 2000:] += 2e-4  # a step of 200 uV inside the second skip
    settings = HIGH.model_copy(update={"engine": engine})
    whole = clean(make_recording(values, annotations=SKIPS), settings)
    for start, stop in ((400, 2000), (2400, 4000)):
        alone = clean(make_recording(values[:, start:stop]), settings)
        part = whole.signal[:, start // 2 : stop // 2]
        assert np.abs(part - alone.signal).max() < 1e-5 * alone.signal.std()
    assert not whole.signal[:, :200].any()
    assert not whole.signal[:, 1000:1200].any()
    assert whole.bad_spans.tolist() == [[0.0, 2.0], [10.0, 12.0]]


@pytest.mark.parametrize("engine", ["mne", "streaming"])
def test_a_joins_step_of_500_uv_does_not_ring(make_recording, engine: str) -> None:
    values = np.zeros((2, 8000))
    values[:, 4001:] = 5e-4
    joined = make_recording(values, annotations=[(4001 / 200, 0.0, "EDGE boundary"), (4001 / 200, 0.0, "BAD boundary")])
    result = clean(joined, HIGH.model_copy(update={"engine": engine, "sfreq": 70.0}))
    assert np.abs(result.signal).max() < 1e-8
    (span,) = result.bad_spans
    assert span[0] < span[1]
    assert span[0] <= 4001 / 200 < span[1]


def test_stretches_shorter_than_the_filter_are_dropped_with_a_count(make_recording) -> None:
    skips = [(3.0, 1.0, "BAD_ACQ_SKIP")]  # 0-3 s is shorter than the 6.6 s of a 0.5 Hz high-pass
    result = clean(make_recording(annotations=skips, events=[{"onset": 1.0}, {"onset": 3.5}, {"onset": 9.0}]), HIGH)
    assert result.report["stretches"] == 1
    assert result.report["stretches_dropped"] == 1
    assert result.report["seconds_dropped"] == 3.0
    assert result.bad_spans.tolist() == [[0.0, 4.0]]
    assert result.report["events_lost"] == 2
    assert len(result.events) == 3
    assert any("1 good stretches shorter than 6.605 s" in note.line() for note in result.notes)


def test_nothing_left_is_refused_with_the_cause(make_recording) -> None:
    with pytest.raises(RecordingError, match=r"longest good stretch lasts 5 s, but the longest filter needs 6.6"):
        clean(make_recording(seconds=5.0), HIGH)
    with pytest.raises(RecordingError, match=r"lasts 5 s, but minimum_seconds asks for 30 s; lower it"):
        clean(make_recording(seconds=5.0), PreprocessingSettings(sfreq=100.0, minimum_seconds=30.0))


def test_other_bad_spans_are_recorded_and_not_cut_out(make_recording) -> None:
    recording = make_recording(annotations=[(5.0, 1.0, "BAD_blink"), (7.0, 1.0, "word"), (19.5, 0.5, "bad")])
    result = clean(recording, PreprocessingSettings(sfreq=100.0))
    assert result.bad_spans.tolist() == [[5.0, 6.0], [19.5, 20.0]]
    assert result.report["stretches"] == 1
    assert result.signal[0, 550] == pytest.approx(5.5e-6)


def test_spans_are_merged_sorted_and_completed() -> None:
    assert merge_spans([(3.0, 4.0), (1.0, 2.0), (1.5, 3.0)]).tolist() == [[1.0, 4.0]]
    assert merge_spans([]).shape == (0, 2)
    assert uncovered_spans([(10, 20), (20, 30)], 40, 10.0) == [(0.0, 1.0), (3.0, 4.0)]
