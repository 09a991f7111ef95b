"""The envelope of a modulated carrier comes back, at its time, and is made after the reference."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest

from neurodecode.config import apply_overrides, load_settings
from neurodecode.config.base import validate
from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError, SettingsError
from neurodecode.preprocessing.clean import clean
from neurodecode.preprocessing.envelope import design_envelope, envelope_reference
from neurodecode.recordings.recording import Recording, empty_events

HIGH_GAMMA = PreprocessingSettings(envelope=(70.0, 150.0), engine="mne", sfreq=100.0, find_bads=False)
SUB_BANDS = 4


def modulation(times: np.ndarray) -> np.ndarray:
    """A slow wave and one bump of 0.1 s at 7 s, V."""
    return 1e-5 * (1 + 0.5 * np.sin(2 * np.pi * 1.3 * times) + 2 * np.exp(-0.5 * ((times - 7) / 0.1) ** 2))


def carried(frequency: float, sfreq: float = 1000.0, seconds: float = 20.0) -> np.ndarray:
    times = np.arange(round(seconds * sfreq)) / sfreq
    return modulation(times) * np.cos(2 * np.pi * frequency * times + 0.7)


# a carrier on the edge of two sub-bands has its side bands in both: the bump of 0.1 s comes back a little higher
@pytest.mark.parametrize(("carrier", "tolerance"), [(80.0, 0.005), (97.0, 0.005), (140.0, 0.005), (110.0, 0.06)])
def test_the_modulation_of_a_carrier_comes_back_at_its_times(make_recording, carrier: float, tolerance: float) -> None:
    result = clean(make_recording(carried(carrier)[None], sfreq=1000.0, types="seeg"), HIGH_GAMMA)
    times = np.arange(2000) / 100
    assert result.signal.shape == (1, 2000)
    middle = (times > 0.5) & (times < 19.5)
    error = result.signal[0] * SUB_BANDS - modulation(times)
    assert np.abs(error[middle]).max() < tolerance * modulation(times).max()
    true = modulation(times)
    lags = {lag: np.corrcoef(result.signal[0, 50 + lag : 1950 + lag], true[50:1950])[0, 1] for lag in range(-5, 6)}
    assert max(lags, key=lags.get) == 0  # samples of 10 ms
    assert np.abs(error).max() < 0.4 * modulation(times).max()  # at the ends the carrier is mirrored


@pytest.mark.parametrize("carrier", [40.0, 55.0, 165.0, 200.0])
def test_nothing_outside_the_band_comes_through(make_recording, carrier: float) -> None:
    result = clean(make_recording(carried(carrier)[None] + 0.1, sfreq=1000.0, types="seeg"), HIGH_GAMMA)
    assert np.abs(result.signal[0, 50:-50]).max() * SUB_BANDS < 0.01 * 3e-5


def test_every_frequency_of_the_band_counts_alike() -> None:
    bands = design_envelope(HIGH_GAMMA, 1000.0, "tone")
    assert bands.edges == ((70.0, 90.0), (90.0, 110.0), (110.0, 130.0), (130.0, 150.0))
    times = np.arange(4000) / 1000
    tones = np.stack([np.sin(2 * np.pi * f * times) for f in range(76, 145, 4)])
    gains = SUB_BANDS * envelope_reference(tones, bands, 1000.0)[:, 1000:3000].mean(axis=1)
    assert np.abs(gains - 1).max() < 0.02


def test_it_is_what_a_user_of_mne_would_write(noise) -> None:
    values = noise(sfreq=500.0)
    settings = HIGH_GAMMA.model_copy(update={"envelope": (80.0, 100.0)})
    bands = design_envelope(settings, 500.0, "noise")
    raw = mne.io.RawArray(values, mne.create_info(len(values), 500.0, "seeg"), copy="both", verbose="error")
    raw.filter(85, 95, l_trans_bandwidth=10, h_trans_bandwidth=10, picks="all", verbose="error")
    expected = raw.apply_hilbert(envelope=True, picks="all", verbose="error").get_data()
    result = envelope_reference(values, bands, 500.0)
    assert bands.edges == ((80.0, 100.0),)
    assert np.abs(result - expected)[:, 500:-500].max() < 2e-3 * expected.max()


def test_the_reference_comes_first(make_recording) -> None:
    shared, own = carried(80.0), carried(120.0)
    values = np.stack([shared + own, shared, shared - own])
    recording = make_recording(values, sfreq=1000.0, types="seeg", names=["A1", "A2", "A3"])
    pairs = clean(recording, HIGH_GAMMA.model_copy(update={"reference": "bipolar"}))
    alone = clean(make_recording(own[None], sfreq=1000.0, types="seeg"), HIGH_GAMMA)
    assert pairs.channels["name"].tolist() == ["A1-A2", "A2-A3"]
    assert np.abs(pairs.signal - alone.signal).max() < 1e-5 * alone.signal.max()
    assert pairs.report["envelope"]["band"] == [70.0, 150.0]
    lines = [note.line() for note in pairs.notes]
    assert "sub-01: envelope of 70-150 Hz in 4 sub-bands; stored in place of the signal" in lines
    assert any("but no notch; mains may lie in it" in line for line in lines)


def test_bad_contacts_are_found_before_pairs_are_made_of_their_neighbours(make_recording, noise) -> None:
    values = noise(n_channels=6, sfreq=1000.0)
    values[2, 5_000:5_100] = np.nan
    values[3] = 0.0
    names = [f"A{k}" for k in range(1, 7)]
    recording = make_recording(values, sfreq=1000.0, types="seeg", names=names)
    result = clean(recording, HIGH_GAMMA.model_copy(update={"reference": "bipolar", "find_bads": True}))
    assert result.channels["name"].tolist() == ["A1-A2", "A5-A6"]
    assert set(result.report["bads"]) == {"A3", "A4"}
    assert np.isnan(recording.raw.get_data()[2]).sum() == 100  # the source stays as it was
    assert np.array_equal(np.nan_to_num(recording.raw.get_data()), np.nan_to_num(values))
    marked = clean(recording, HIGH_GAMMA.model_copy(update={"find_bads": True}))
    assert marked.channels["bad"].tolist() == [False, False, True, True, False, False]
    assert not marked.signal[2].any()


def test_each_good_stretch_has_its_envelope_alone(make_recording) -> None:
    values = carried(100.0)[None].copy()
    values[:, 10_000:] += 5e-3  # a step across the skip
    skip = [(9.0, 1.0, "BAD_ACQ_SKIP")]
    result = clean(make_recording(values, sfreq=1000.0, types="seeg", annotations=skip), HIGH_GAMMA)
    alone = clean(make_recording(values[:, :9_000], sfreq=1000.0, types="seeg", seconds=9.0), HIGH_GAMMA)
    assert np.array_equal(result.signal[:, :900], alone.signal)
    assert not result.signal[:, 900:1000].any()
    assert result.signal[:, 1000:].max() * SUB_BANDS < 2 * modulation(np.array([20.0]))[0] + 1e-5  # no ringing


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["engine=streaming"], "envelope is made by the engine mne alone, not by streaming: set engine to mne"),
        (["high_pass=1"], "envelope makes its own band: set high_pass and low_pass to null"),
        (["envelope=[150, 70]"], r"envelope [150, 70] Hz: the first edge must lie below the second"),
        (["bads=interpolate"], "an envelope cannot be interpolated from its neighbours"),
    ],
)
def test_settings_that_do_not_fit_an_envelope_are_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(PreprocessingSettings, "high_gamma", "configs/preprocessing", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert validate(PreprocessingSettings, apply_overrides({}, []), "defaults").envelope is None


def test_a_band_above_half_the_rate_and_a_stretch_below_the_kernel_are_refused(make_recording) -> None:
    with pytest.raises(
        RecordingError, match=r"envelope ends at 150 Hz, but at 300 Hz it must end below 145 Hz; lower it"
    ):
        clean(make_recording(sfreq=300.0, types="seeg"), HIGH_GAMMA)
    short = make_recording(np.ones((1, 300)), sfreq=1000.0, types="seeg")
    settings = HIGH_GAMMA.model_copy(update={"minimum_seconds": 0.1})
    with pytest.raises(RecordingError, match=r"lasts 0.3 s, but the envelope's filters need 0.331 s; widen"):
        clean(short, settings)


@pytest.mark.shared_data
def test_the_high_gamma_preset_runs_on_real_contacts(shared_data: Path) -> None:
    raw = mne.io.read_raw(shared_data / "ieeg" / "sample_seeg.edf", verbose="error")
    raw.pick([name for name in raw.ch_names if not name.startswith(("DC", "EKG"))])
    raw.set_channel_types(dict.fromkeys(raw.ch_names, "seeg"), verbose="error")
    settings = load_settings(PreprocessingSettings, "high_gamma", "configs/preprocessing", ["line_noise=60"])
    result = clean(Recording(raw, empty_events(), "01"), settings)
    assert result.signal.shape == (len(result.channels), 2000)
    assert (result.signal.mean(axis=1) > 0).all()
    assert 1e-7 < np.median(result.signal) < 1e-4  # V
