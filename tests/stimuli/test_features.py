"""Features: exact times, exact numbers, computed once, never half."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from neurodecode.config import FeatureSettings, load_settings
from neurodecode.errors import StimulusError
from neurodecode.files import sha256_of_file
from neurodecode.resources import resource_folder
from neurodecode.stimuli.arrays import array_feature, filtered
from neurodecode.stimuli.audio import read_audio
from neurodecode.stimuli.envelope import envelope
from neurodecode.stimuli.features import compute_features, feature_key
from neurodecode.stimuli.mel import log_mel
from neurodecode.store.store import StoredStimulus, hash_of_array_stimulus

MEL = FeatureSettings()


@dataclass
class SmallStore:
    path: Path
    stimuli: dict[str, StoredStimulus]


def audio_store(folder: Path, *names: str, seconds: float = 1.0) -> SmallStore:
    folder.mkdir(exist_ok=True)
    stimuli = {}
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        rng = np.random.default_rng(number)
        soundfile.write(path, 0.1 * rng.standard_normal(int(16_000 * seconds)), 16_000)
        stimuli[name] = StoredStimulus(name, path, sha256_of_file(path), "audio")
    return SmallStore(folder, stimuli)


def array_store(folder: Path, **arrays: np.ndarray) -> SmallStore:
    folder.mkdir(exist_ok=True)
    stimuli = {}
    for name, values in arrays.items():
        np.savez(folder / f"{name}.npz", values=values, rate=128.0, t0=0.25)
        digest = hash_of_array_stimulus(values, 128.0, 0.25)
        stimuli[name] = StoredStimulus(name, folder / f"{name}.npz", digest, "array")
    return SmallStore(folder, stimuli)


def click(at: float, rate: int = 16_000, seconds: float = 2.0) -> np.ndarray:
    audio = np.zeros(int(rate * seconds), np.float32)
    audio[round(at * rate)] = 1.0
    return audio


def test_log_mel_equals_torchaudio_with_the_published_settings() -> None:
    from torchaudio.transforms import MelSpectrogram

    audio = np.random.default_rng(0).standard_normal(16_000 * 3).astype(np.float32)
    ours = log_mel(audio, MEL, "noise")
    standard = torch.from_numpy((audio - audio.mean()) / audio.std())
    theirs = MelSpectrogram(16_000, n_fft=512, hop_length=128, n_mels=120, power=2.0, normalized=True)(standard)
    assert ours.values.shape == (376, 120)
    np.testing.assert_allclose(ours.values, torch.log10(theirs + 1e-5).T.numpy(), atol=2e-3)


def test_frames_lie_where_they_are_said_to_lie() -> None:
    for at in (0.0, 0.504, 1.9):
        for feature in (log_mel(click(at), MEL, "click"), envelope(click(at), MEL, "click")):
            loudest = feature.times[feature.values.sum(axis=1).argmax()]
            assert loudest == pytest.approx(at, abs=0.5 / feature.rate + 1e-9)


def test_a_long_stimulus_in_pieces_equals_the_same_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.random.default_rng(1).standard_normal(50_000).astype(np.float32)
    whole = log_mel(audio, MEL, "noise").values
    monkeypatch.setattr("neurodecode.stimuli.mel.PIECE", 37)
    np.testing.assert_array_equal(log_mel(audio, MEL, "noise").values, whole)


def test_loudness_of_the_recording_does_not_change_log_mel() -> None:
    audio = np.random.default_rng(2).standard_normal(16_000).astype(np.float32)
    np.testing.assert_allclose(log_mel(0.01 * audio, MEL, "a").values, log_mel(audio, MEL, "b").values, atol=1e-4)


def test_the_envelope_of_a_modulated_tone_is_its_modulation() -> None:
    times = np.arange(4 * 16_000) / 16_000
    depth = 1 + 0.8 * np.sin(2 * np.pi * 3 * times)
    settings = FeatureSettings(kind="envelope", bands=28, f_min=50, f_max=5000, rate=100, compression=1.0)
    feature = envelope((depth * np.sin(2 * np.pi * 440 * times)).astype(np.float32), settings, "tone")
    assert feature.rate == 100.0
    inner = (feature.times > 0.1) & (feature.times < 3.9)
    expected = 1 + 0.8 * np.sin(2 * np.pi * 3 * feature.times)
    assert np.corrcoef(feature.values[inner, 0], expected[inner])[0, 1] > 0.999


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_every_audio_format_keeps_time_when_resampled(tmp_path: Path, suffix: str) -> None:
    rate = 44_100
    times = np.arange(rate * 2) / rate
    burst = np.sin(2 * np.pi * 500 * times) * np.exp(-(((times - 1.25) / 0.01) ** 2))
    path = tmp_path / f"burst{suffix}"
    soundfile.write(path, np.stack([burst, burst], axis=1), rate)
    audio = read_audio(path, 16_000)
    energy = np.convolve(audio**2, np.ones(160) / 160, "same")
    assert energy.argmax() / 16_000 == pytest.approx(1.25, abs=0.003)


def test_what_is_no_audio_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(b"RIFF not really")
    with pytest.raises(StimulusError, match="broken.wav: cannot be read as audio"):
        read_audio(path, 16_000)
    with pytest.raises(StimulusError, match="silent from start to end"):
        log_mel(np.zeros(16_000, np.float32), MEL, "stimulus quiet")
    with pytest.raises(StimulusError, match="shorter than half of n_fft"):
        log_mel(np.ones(100, np.float32), MEL, "stimulus short")
    with pytest.raises(StimulusError, match="f_max 9000 Hz must lie in order within 0 .. 8000 Hz"):
        log_mel(np.random.default_rng(0).standard_normal(9_000), FeatureSettings(f_max=9_000), "x")


def test_a_ramp_stays_its_own_clock_when_resampled() -> None:
    ramp = (0.25 + np.arange(1280) / 128.0)[:, None]
    feature = filtered(array_feature(ramp, 128.0, 0.25, "ramp"), FeatureSettings(kind="array", rate=32), "ramp")
    assert (feature.rate, feature.t0, feature.values.shape) == (32.0, 0.25, (320, 1))
    np.testing.assert_allclose(feature.values[:, 0], feature.times, atol=2e-3)


def test_filters_of_a_feature_are_those_of_mne() -> None:
    import mne

    values = np.random.default_rng(3).standard_normal((7680, 2))
    feature = filtered(
        array_feature(values, 128.0, 0.0, "x"), FeatureSettings(kind="array", low_pass=8, high_pass=2), "x"
    )
    expected = mne.filter.filter_data(values.T, 128.0, 2, 8, verbose="error").T
    np.testing.assert_allclose(feature.values, expected, atol=1e-6)
    with pytest.raises(StimulusError, match="low_pass is 70 Hz"):
        filtered(array_feature(values, 128.0, 0.0, "x"), FeatureSettings(kind="array", low_pass=70), "x")


def test_features_are_computed_once_and_only_what_is_missing_again(tmp_path: Path) -> None:
    store = audio_store(tmp_path / "store", "one", "two")
    made = compute_features(store, MEL, progress=False)
    assert made.names == ["one", "two"]
    assert made.dimension == 120
    times = {p.name: p.stat().st_mtime_ns for p in made.path.iterdir()}
    compute_features(store, MEL, progress=False)
    assert {p.name: p.stat().st_mtime_ns for p in made.path.iterdir()} == times
    expected = np.array(made.get("two").values)
    (made.path / "two.npy").write_bytes(b"damaged")
    again = compute_features(store, MEL, progress=False)
    np.testing.assert_array_equal(again.get("two").values, expected)
    assert (made.path / "one.npy").stat().st_mtime_ns == times["one.npy"]


def test_a_changed_stimulus_is_computed_again_and_one_that_left_is_forgotten(tmp_path: Path) -> None:
    store = audio_store(tmp_path / "store", "one", "two")
    before = np.array(compute_features(store, MEL, progress=False).get("one").values)
    path = store.stimuli["one"].path
    soundfile.write(path, 0.1 * np.random.default_rng(99).standard_normal(16_000), 16_000)
    changed = SmallStore(store.path, {"one": StoredStimulus("one", path, sha256_of_file(path), "audio")})
    made = compute_features(changed, MEL, progress=False)
    assert made.names == ["one"]
    assert np.abs(made.get("one").values - before).max() > 0.1


def test_an_interrupted_run_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import neurodecode.stimuli.features as module

    whole = compute_features(audio_store(tmp_path / "a", "one", "two", "three"), MEL, progress=False)
    store = audio_store(tmp_path / "b", "one", "two", "three")
    write, calls = module._write, []

    def stops(folder, stimulus, feature):
        calls.append(stimulus.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(folder, stimulus, feature)

    monkeypatch.setattr(module, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        compute_features(store, MEL, progress=False)
    resumed = compute_features(store, MEL, progress=False)
    assert len(calls) == 4  # one done, one stopped, two made after
    for name in whole.names:
        np.testing.assert_array_equal(resumed.get(name).values, whole.get(name).values)
    assert not list(tmp_path.rglob("*.part"))


def test_arrays_come_with_their_own_clock_and_in_the_type_asked_for(tmp_path: Path) -> None:
    values = np.random.default_rng(5).standard_normal((640, 3))
    made = compute_features(
        array_store(tmp_path / "s", x=values), FeatureSettings(kind="array", dtype="float16"), False
    )
    feature = made.get("x")
    assert (feature.rate, feature.t0, feature.values.dtype) == (128.0, 0.25, np.float16)
    np.testing.assert_allclose(feature.values, values, atol=2e-3)


def test_a_kind_that_does_not_fit_the_stimulus_is_refused(tmp_path: Path) -> None:
    arrays = array_store(tmp_path / "a", x=np.ones((64, 1)))
    with pytest.raises(StimulusError, match="is an array, not audio; set features.kind to array"):
        compute_features(arrays, MEL, progress=False)
    with pytest.raises(StimulusError, match="is audio, not an array; set features.kind to mel, envelope or encoder"):
        compute_features(audio_store(tmp_path / "b", "one"), FeatureSettings(kind="array"), progress=False)
    with pytest.raises(StimulusError, match="has 2 dimensions, x has 1"):
        compute_features(
            array_store(tmp_path / "c", x=np.ones((64, 1)), y=np.ones((64, 2))), FeatureSettings(kind="array"), False
        )
    with pytest.raises(StimulusError, match="frame 3 of the array holds NaN"):
        array_feature(np.array([0, 1, 2, np.nan]), 10.0, 0.0, "x")


def test_the_key_follows_the_settings_that_count() -> None:
    assert feature_key(FeatureSettings(bands=40)) != feature_key(MEL)
    assert feature_key(FeatureSettings(compression=0.3)) == feature_key(MEL)  # mel does not read it


@pytest.mark.parametrize("preset", ["mel", "envelope", "array"])
def test_presets_load_and_describe_the_embedded_speech(preset: str, tmp_path: Path) -> None:
    settings = load_settings(FeatureSettings, preset, "configs/features")
    assert settings.kind == preset
    if preset == "array":
        return
    path = resource_folder("datasets") / "speech" / "bakery.ogg"
    stimulus = StoredStimulus("bakery", path, sha256_of_file(path), "audio")
    feature = compute_features(SmallStore(tmp_path, {"bakery": stimulus}), settings, progress=False).get("bakery")
    seconds = soundfile.info(path).duration
    assert feature.times[-1] == pytest.approx(seconds, abs=1.5 / feature.rate)
    assert np.isfinite(feature.values).all()
    assert feature.values.std() > 0.05
