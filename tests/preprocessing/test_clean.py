"""All steps together: what comes out, in what order, with what report."""

from __future__ import annotations

import json

import mne
import numpy as np
import pytest

from neurodecode.config import PreprocessingSettings, load_settings
from neurodecode.errors import RecordingError
from neurodecode.preprocessing.clean import clean
from neurodecode.preprocessing.filters import design_filters
from neurodecode.preprocessing.resample import rational_ratio
from neurodecode.preprocessing.streaming import stream_stretch
from neurodecode.resources import resource_folder

PRESETS = sorted(path.stem for path in (resource_folder("configs") / "preprocessing").glob("*.yaml"))


@pytest.mark.parametrize("engine", ["mne", "streaming"])
@pytest.mark.parametrize("first_samp", [0, 10_000])
@pytest.mark.parametrize("meas_date", [None, 1e9])
def test_sample_k_of_a_ramp_is_its_time_whatever_the_first_sample(
    make_recording, engine, first_samp, meas_date
) -> None:
    recording = make_recording(first_samp=first_samp, meas_date=meas_date, events=[{"onset": 0.0}, {"onset": 1.5}])
    result = clean(recording, PreprocessingSettings(sfreq=120.0, engine=engine))
    assert result.signal.shape == (4, 2400)
    assert result.signal.dtype == np.float32
    expected = (np.arange(2400) / 120 + 100 * np.arange(4)[:, None]) * 1e-6
    assert np.abs(result.signal - expected).max() < 1e-10  # V; 1e-6 V is a second
    assert result.events["onset"].tolist() == [0.0, 1.5]
    assert result.report["events_lost"] == 0


def test_close_events_stay_three_events_in_order_with_their_labels(make_recording) -> None:
    events = [{"onset": t, "label": str(i)} for i, t in enumerate([1.0, 1.003, 1.007])]
    result = clean(make_recording(sfreq=1000.0, first_samp=500, events=events), PreprocessingSettings(sfreq=100.0))
    assert result.events["label"].tolist() == ["0", "1", "2"]
    assert result.events["onset"].tolist() == [1.0, 1.003, 1.007]


@pytest.mark.parametrize("engine", ["mne", "streaming"])
def test_the_source_is_left_as_it_was(make_recording, noise, engine: str) -> None:
    recording = make_recording(noise())
    before = recording.raw.get_data().copy()
    clean(recording, PreprocessingSettings(high_pass=1.0, line_noise=50.0, sfreq=100.0, engine=engine))
    assert np.array_equal(recording.raw.get_data(), before)
    assert recording.raw.info["sfreq"] == 200.0


def test_only_the_wanted_types_are_kept_in_the_order_of_the_file(make_recording, noise) -> None:
    types = ["ecg", "mag", "eeg", "stim", "grad", "ref_meg"]
    recording = make_recording(noise(n_channels=6), types=types)
    result = clean(recording, PreprocessingSettings(picks=("meg",), exclude=("E9",), sfreq=100.0))
    assert list(result.channels["name"]) == ["E1", "E4"]
    assert result.datatype == "meg"
    assert result.notes[0].line() == "sub-01: no channel named E9; nothing to exclude there"
    with pytest.raises(RecordingError, match=r"no channel of the types seeg \(there are: 1 ecg, 1 eeg, 1 grad"):
        clean(recording, PreprocessingSettings(picks=("seeg",)))


def test_the_report_shows_mains_before_and_none_after(make_recording, noise) -> None:
    recording = make_recording(noise(sfreq=250.0, seconds=60.0), sfreq=250.0, line_frequency=50.0)
    settings = PreprocessingSettings(line_noise="auto", sfreq=125.0)
    report = clean(recording, settings).report
    assert report["notches"] == [50.0, 100.0]
    assert report["line_noise_before"] > 100
    assert report["line_noise_after"] < 0.8  # 1 is no line noise; the notch takes a part of the band beside it too
    assert report["rms_after"]["eeg"] < 0.5 * report["rms_before"]["eeg"]
    json.dumps(report, allow_nan=False)


def test_unknown_mains_are_asked_for(make_recording) -> None:
    with pytest.raises(RecordingError, match="line_noise is auto, but neither .* set line_noise to 50, 60 or null"):
        clean(make_recording(), PreprocessingSettings(line_noise="auto", sfreq=100.0))


def test_an_edge_above_half_the_rate_is_refused(make_recording) -> None:
    with pytest.raises(RecordingError, match=r"low_pass is 50 Hz, but at 100 Hz it must lie below 50 Hz"):
        clean(make_recording(sfreq=100.0), PreprocessingSettings(low_pass=50.0, sfreq=100.0))


def test_a_bad_channel_is_interpolated_from_its_neighbours_as_mne_does_it(make_recording, noise) -> None:
    montage = mne.channels.make_standard_montage("standard_1020")
    names = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz"]
    recording = make_recording(noise(n_channels=13), names=names, bads=["Cz"])
    recording.raw.set_montage(montage)
    settings = PreprocessingSettings(bads="interpolate", sfreq=100.0, find_bads=False)
    result = clean(recording, settings)
    expected = recording.raw.copy().interpolate_bads(verbose="error")
    plain = clean(type(recording)(expected, recording.events, "01"), settings)
    assert not result.channels["bad"].any()
    assert np.abs(result.signal - plain.signal).max() < 1e-5 * plain.signal.std()
    assert result.report["bads_are"] == "interpolated"


def test_interpolation_without_positions_or_of_contacts_is_refused(make_recording, noise) -> None:
    settings = PreprocessingSettings(bads="interpolate", sfreq=100.0)
    with pytest.raises(RecordingError, match=r"E1.* (cannot be interpolated|no usable position).* set bads to mark"):
        clean(make_recording(noise(n_channels=8), bads=["E1"]), settings)
    with pytest.raises(RecordingError, match="seeg channels are not interpolated; set bads to mark or drop"):
        clean(make_recording(noise(n_channels=8), types="seeg", bads=["E1"]), settings)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_runs(make_recording, noise, preset: str) -> None:
    settings = load_settings(PreprocessingSettings, preset, kind="configs/preprocessing")
    types = {"meg": "mag", "seeg": "seeg"}.get(settings.picks[0], "eeg")
    if "eeg" in settings.picks:
        types = "eeg"
    sfreq = 128.0 if settings.sfreq < 128 and types != "seeg" else 1024.0
    names = ["A1", "A2", "M1", "M2"]
    recording = make_recording(noise(sfreq=sfreq), sfreq=sfreq, names=names, types=types, line_frequency=50.0)
    result = clean(recording, settings)
    assert result.sfreq == settings.sfreq
    assert np.isfinite(result.signal).all()
    assert result.signal.shape[1] == 20 * settings.sfreq


@pytest.mark.parametrize("types", ["eeg", "seeg", "mag"])
def test_the_default_preset_gives_to_the_bit_what_its_steps_give_one_by_one(make_recording, noise, types: str) -> None:
    values = noise(seconds=70.0, sfreq=250.0)
    settings = load_settings(PreprocessingSettings, "default", kind="configs/preprocessing")
    filters, ratio = design_filters(settings, 250.0, None, "noise"), rational_ratio(250.0, 120.0, 70.0, "noise")
    blocks = [values[:, start : start + 7_500] for start in range(0, values.shape[1], 7_500)]  # of 30 s
    expected = np.concatenate(list(stream_stretch(blocks, filters, ratio, 0)), axis=1)
    result = clean(make_recording(values, sfreq=250.0, types=types), settings)
    assert result.signal.tobytes() == expected.tobytes()


def test_the_identity_of_the_default_preset_is_the_one_that_stores_hold() -> None:
    settings = load_settings(PreprocessingSettings, "default", kind="configs/preprocessing")
    assert settings.identity() == {
        "picks": ["meg", "eeg", "seeg", "ecog"],
        "exclude": [],
        "bads": "mark",
        "find_bads": True,
        "bad_deviation": 8.0,
        "line_noise": None,
        "high_pass": 0.5,
        "low_pass": 40.0,
        "reference": "none",
        "sfreq": 120.0,
        "engine": "streaming",
        "minimum_seconds": 1.0,
        "schema_version": 1,
    }


def test_the_presets_are_the_four_that_pipelines_name() -> None:
    assert {"default", "paper", "cocktail_eeg", "demo"} <= set(PRESETS)


def test_the_paper_preset_neither_filters_nor_references() -> None:
    paper = load_settings(PreprocessingSettings, "paper", kind="configs/preprocessing")
    assert (paper.high_pass, paper.low_pass, paper.line_noise, paper.reference) == (None, None, None, "none")
    assert paper.sfreq == 120
