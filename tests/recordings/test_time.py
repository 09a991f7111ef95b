"""Seconds from the first sample are the only clock, whatever first_samp and meas_date are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from neurodecode.preprocessing.stretches import find_stretches
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import bids_stem, write_tsv

SFREQ = 200.0
ONSETS = [0.0, 1.5, 19.9]


def ramp_raw(first_samp: int, dated: bool) -> mne.io.RawArray:
    """Sample value = seconds, in uV, + 100 a channel."""
    values = (np.arange(4000) / SFREQ + 100 * np.arange(4)[:, None]) * 1e-6
    raw = mne.io.RawArray(values, mne.create_info(4, SFREQ, "eeg"), first_samp=first_samp, verbose="error")
    return raw.set_meas_date(datetime(2020, 5, 4, tzinfo=UTC) if dated else None)


def value_at(recording: Recording, onset: float) -> float:
    sample = round(onset * recording.raw.info["sfreq"])
    return float(recording.raw.get_data(picks=[0], start=sample, stop=sample + 1)[0, 0] * 1e6)


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("first_samp", [0, 10_000])
class TestTime:
    def test_annotations(self, tmp_path: Path, first_samp: int, dated: bool) -> None:
        raw = ramp_raw(first_samp, dated)
        raw.set_annotations(mne.Annotations(ONSETS, [0, 0.5, 0], ["a", "b", "c"]))
        raw.save(tmp_path / "x_raw.fif", verbose="error")
        recording = expand_source(tmp_path)[0].open()
        assert recording.events["onset"].tolist() == pytest.approx(ONSETS, abs=1e-4)
        assert [value_at(recording, t) for t in recording.events["onset"]] == pytest.approx(ONSETS, abs=1e-5)

    def test_events_table(self, tmp_path: Path, first_samp: int, dated: bool) -> None:
        stem = bids_stem(tmp_path, "eeg")
        ramp_raw(first_samp, dated).save(stem.with_name(f"{stem.name}_eeg.fif"), verbose="error")
        write_tsv(stem.with_name(f"{stem.name}_events.tsv"), ["onset", "duration"], [[t, 0] for t in ONSETS])
        recording = expand_source(tmp_path)[0].open()
        assert [value_at(recording, t) for t in recording.events["onset"]] == pytest.approx(ONSETS, abs=1e-5)

    def test_after_crop_save_and_reload(self, tmp_path: Path, first_samp: int, dated: bool) -> None:
        raw = ramp_raw(first_samp, dated)
        raw.set_annotations(mne.Annotations(ONSETS, [0, 0.5, 0], ["a", "b", "c"]))
        for name in ("once_raw.fif", "twice_raw.fif"):
            if name.startswith("once"):
                raw.crop(1, 8)
            raw.save(tmp_path / name, verbose="error")
            raw = mne.io.read_raw_fif(tmp_path / name, verbose="error")
            recording = expand_source(tmp_path / name)[0].open()
            assert recording.events["label"].tolist() == ["b"]
            assert recording.events["onset"][0] == pytest.approx(0.5, abs=1e-4)
            assert value_at(recording, recording.events["onset"][0]) == pytest.approx(1.5, abs=1e-5)

    def test_triggers(self, tmp_path: Path, first_samp: int, dated: bool) -> None:
        raw = ramp_raw(first_samp, dated)
        pulses = np.zeros((1, 4000))
        pulses[0, 300:310], pulses[0, 500:501] = 5, 7
        info = mne.create_info(["STI 014"], SFREQ, "stim")
        extra = mne.io.RawArray(pulses, info, first_samp=first_samp, verbose="error")
        extra.set_meas_date(raw.info["meas_date"])
        raw.add_channels([extra], force_update_info=True).save(tmp_path / "x_raw.fif", verbose="error")
        events = expand_source(tmp_path)[0].open().events
        assert events[["onset", "label"]].values.tolist() == [[1.5, "5"], [2.5, "7"]]

    def test_bad_spans_stay_in_the_signal_and_are_no_events(self, tmp_path: Path, first_samp: int, dated: bool) -> None:
        raw = ramp_raw(first_samp, dated)
        raw.set_annotations(mne.Annotations([0, 3], [2, 0], ["BAD_ACQ_SKIP", "word"]))
        raw.save(tmp_path / "x_raw.fif", verbose="error")
        recording = expand_source(tmp_path)[0].open()
        assert recording.events["label"].tolist() == ["word"]
        assert list(recording.raw.annotations.description) == ["BAD_ACQ_SKIP", "word"]

    def test_a_boundary_becomes_an_edge_that_preprocessing_sees(
        self, tmp_path: Path, first_samp: int, dated: bool
    ) -> None:
        raw = ramp_raw(first_samp, dated)
        raw.set_annotations(mne.Annotations([0, 7, 8], [0, 0, 0], ["boundary", "boundary", "word"]))
        raw.save(tmp_path / "x_raw.fif", verbose="error")
        recording = expand_source(tmp_path)[0].open()
        assert recording.events["label"].tolist() == ["word"]
        assert find_stretches(recording.raw, 1).good == [(0, 1400), (1400, 4000)]
