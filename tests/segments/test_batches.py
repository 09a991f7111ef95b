"""A batch holds exactly the samples, frames and channels that its rows name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurodecode.config import SegmentSettings, TrainSettings, load_settings
from neurodecode.errors import NeurodecodeError
from neurodecode.objectives.clip import copies_of
from neurodecode.segments.batches import BatchSource, apart, batch_rows
from neurodecode.segments.layouts import build_layouts
from neurodecode.segments.scaling import Scalers
from neurodecode.segments.windows import build_windows
from tests.segments import fakes
from tests.segments.fakes import ramp_recording, ramp_store


def source(*recordings, **changes) -> BatchSource:
    values = {"split": {"seed": 3, "test": 0.3, "valid": 0.2}, **changes}
    index = build_windows(ramp_store(*recordings), SegmentSettings.model_validate(values)).fold("fold-0")
    return BatchSource(index, fakes.FakeFeatures())


def test_a_window_starts_at_the_sample_of_its_anchor_for_any_order_of_rows() -> None:
    batches = source(ramp_recording("01"), ramp_recording("02", onset=5.5))
    rows = np.array([30, 3, len(batches.index.table) - 1, 3])
    signal = batches.signal(rows)
    expected = batches.index.table["anchor"].to_numpy()[rows] - 0.5
    np.testing.assert_allclose(signal[:, 0, 0], expected, atol=0.5 / 120 + 1e-4)
    np.testing.assert_allclose(signal[:, 2, 0] - signal[:, 0, 0], 200, atol=1e-3)
    np.testing.assert_allclose(signal[:, 0, -1] - signal[:, 0, 0], 3.0, atol=1e-3)


@pytest.mark.parametrize(("interpolation", "tolerance"), [("linear", 1e-4), ("nearest", 0.0101)])
def test_target_frames_face_the_stimulus_second_of_their_sample(interpolation: str, tolerance: float) -> None:
    batches = source(ramp_recording("01", onset=2.0041), interpolation=interpolation)
    rows = np.arange(0, len(batches.index.table), 7)
    seconds = batches.signal(rows)[:, 0] - 2.0041  # the ramp tells the recording's second
    target = batches.target(rows)[:, 0]
    np.testing.assert_allclose(target, seconds.clamp(min=0.0125), atol=tolerance)


def test_brain_lags_sound_by_the_shift() -> None:
    batches = source(
        ramp_recording(onset=2.0),
        window={"baseline": None},
        scaling={"brain": "none", "clamp": None, "feature": "none"},
    )
    batches.fit_scalers()
    batch = batches[batches.index.rows("train")[:5]]
    assert batch.signal.shape == (5, 3, 343)
    assert batch.target.shape == (5, 1, 343)
    lag = (batch.signal[:, 0] - 2.0) - batch.target[:, 0]
    np.testing.assert_allclose(lag[:, 5:], 0.150, atol=1e-4)


def test_the_baseline_is_the_mean_of_its_interval() -> None:
    batches = source(ramp_recording())
    rows = np.array([0, 9])
    signal, baselined = batches.signal(rows), batches.baselined(rows)
    np.testing.assert_allclose(baselined, signal - signal[:, :, :61].mean(-1, keepdim=True), atol=1e-5)


def test_columns_are_lined_up_by_name_whatever_the_order_of_channels() -> None:
    plain = ramp_recording("01", names=("A1", "A2", "A10"))
    mixed = ramp_recording("02", names=("A10", "A1", "A2"))
    batches = source(plain, mixed)
    assert batches.layouts.names == ["A1", "A2", "A10"]
    table = batches.index.table
    for recording in (0, 1):
        row = np.flatnonzero(table["recording"] == recording)[:1]
        signal = batches.signal(row)[0, :, 0]
        np.testing.assert_allclose(signal - signal[0], [0, 100, 900], atol=1e-3)


def test_missing_and_bad_channels_are_masked_and_never_infinite() -> None:
    full = ramp_recording("01", names=("A1", "A2", "A3"), bad=("A2",))
    full.signal[1] = np.nan
    part = ramp_recording("02", names=("A1", "A3"))
    batches = source(full, part)
    assert batches.layouts.valid.tolist() == [[True, False, True], [True, False, True]]
    batches.fit_scalers()
    batch = batches[np.arange(0, len(batches.index.table), 11)]
    assert torch.isfinite(batch.signal).all()
    assert (batch.signal[:, 1] == 0).all()


def test_a_flat_channel_is_scaled_by_one() -> None:
    recording = ramp_recording()
    recording.signal[1] = 5.0
    batches = source(recording)
    batches.fit_scalers()
    batch = batches[batches.index.rows("test")]
    assert torch.isfinite(batch.signal).all()
    np.testing.assert_allclose(batch.signal[:, 1], 0, atol=1e-6)


def test_numbered_channels_are_not_lined_up_with_named_ones() -> None:
    named, numbered = fakes.channel_table(["Fz", "Cz"]), fakes.channel_table(["EEG1", "EEG2"])
    with pytest.raises(NeurodecodeError, match="segments.columns=recording"):
        build_layouts([named, numbered])
    layouts = build_layouts([named, numbered], by="recording")
    assert layouts.valid.all()
    assert build_layouts([numbered, numbered]).names == ["EEG1", "EEG2"]


def test_scalers_see_training_windows_only() -> None:
    clean = source(ramp_recording())
    expected = clean.fit_scalers()
    poisoned = ramp_recording()
    batches = source(poisoned)
    train = batches.index.table.iloc[batches.index.rows("train")]
    used = np.zeros(poisoned.n_samples, bool)
    for start in train["start"]:
        used[start : start + 361] = True
    poisoned.signal[:, ~used] = 1e9
    scalers = source(poisoned).fit_scalers()
    torch.testing.assert_close(scalers.center, expected.center)
    torch.testing.assert_close(scalers.scale, expected.scale)


def test_robust_scaling_takes_the_sorted_values_at_the_quartiles() -> None:
    batches = source(ramp_recording(), scaling={"fit_windows": 4})
    scalers = batches.fit_scalers(seed=1)
    rows = np.sort(np.random.default_rng(1).permutation(batches.index.rows("train"))[:4])
    values = np.sort(batches.baselined(rows).numpy().transpose(1, 0, 2).reshape(3, -1), axis=1)
    n = values.shape[1]
    np.testing.assert_allclose(scalers.center[0], values[:, n // 2], rtol=1e-6)
    np.testing.assert_allclose(scalers.scale[0], values[:, int(0.75 * n)] - values[:, int(0.25 * n)], rtol=1e-6)


def test_values_are_clamped_after_scaling() -> None:
    recording = ramp_recording()
    recording.signal[0, 3000:3010] += 1e6
    batches = source(recording, scaling={"clamp": 20.0})
    batches.fit_scalers()
    batch = batches[np.flatnonzero(batches.index.table["split"] != "")]
    assert batch.signal.abs().max() == 20.0


def test_scalers_survive_a_round_trip_to_disk(tmp_path: Path) -> None:
    batches = source(ramp_recording())
    scalers = batches.fit_scalers()
    scalers.save(tmp_path / "scalers.npz")
    again = Scalers.load(tmp_path / "scalers.npz")
    for name in ("center", "scale", "feature_mean", "feature_std"):
        torch.testing.assert_close(getattr(again, name), getattr(scalers, name), rtol=0, atol=0)
    assert again.clamp == 20.0


def test_a_recording_without_training_windows_in_its_scope_is_an_error_not_a_guess() -> None:
    runs = [ramp_recording("01", stimulus=f"story{k}", run=f"{k}") for k in range(3)]
    with pytest.raises(NeurodecodeError, match="segments.scaling.scope"):
        source(*runs, split={"rule": "leave-one-run-out"}).fit_scalers()
    source(*runs, split={"rule": "leave-one-run-out"}, scaling={"scope": "subject"}).fit_scalers()


def test_shuffled_batches_cover_every_row_once_and_depend_on_the_seed_only() -> None:
    rows = np.arange(100, 170)
    first, again, other = (batch_rows(rows, 16, seed) for seed in (1, 1, 2))
    assert sorted(np.concatenate(first)) == sorted(np.concatenate([*first]))
    assert len(np.unique(np.concatenate(first))) == 64  # the rest of 6 would have too few negatives
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))
    assert np.array_equal(np.concatenate(batch_rows(rows, 16)), rows)


def test_the_resident_path_gives_the_same_windows_as_the_memory_map() -> None:
    batches = source(ramp_recording("01"), ramp_recording("02", names=("A3", "A1")))
    rows = np.arange(0, len(batches.index.table), 5)
    mapped = batches.signal(rows)
    batches._resident = [torch.from_numpy(np.array(r.signal)) for r in batches.index.recordings]
    torch.testing.assert_close(batches.signal(rows), mapped, rtol=0, atol=0)


class TestCopies:
    """Which windows of a batch stand for one segment."""

    @staticmethod
    def heard_by_twelve() -> BatchSource:
        rng = np.random.default_rng(4)
        onsets = [2.0, *rng.uniform(2, 9, 11)]  # strides that count from the recording have twelve phases
        recordings = [ramp_recording(f"{k:02}", names=("A1",), onset=float(onset)) for k, onset in enumerate(onsets)]
        paper = load_settings(TrainSettings, "paper", "configs/training").segments
        split = paper.split.model_copy(update={"seed": 3, "test": 0.3, "valid": 0.2})
        index = build_windows(ramp_store(*recordings), paper.model_copy(update={"split": split})).fold("fold-0")
        batches = BatchSource(index, fakes.FakeFeatures())
        scaling = index.settings.scaling.model_copy(update={"feature_where": "everywhere"})
        index.settings = index.settings.model_copy(update={"scaling": scaling})
        batches.fit_scalers()
        return batches

    def test_windows_of_twelve_phases_are_copies_when_nine_tenths_of_the_speech_is_the_same(self) -> None:
        batches = self.heard_by_twelve()
        rows = batches.index.rows("train")
        batch = batches[rows]
        begin = batches.index.table["stimulus_start"].to_numpy()[rows]
        seconds = 343 / 120
        shared = (seconds - np.abs(begin[:, None] - begin)) / seconds
        found = copies_of(batch.place, batch.place, apart(0.9, seconds)).numpy()
        np.testing.assert_array_equal(found, shared >= 0.9)
        others = found.sum(1) - 1
        assert 8 < others.mean() < 14  # of twelve, two windows a second each: 13.7 lie within 0.286 s, fewer at borders
        same_number = copies_of(batch.identity, batch.identity).numpy().sum(1) - 1
        assert same_number.mean() < 1.0
        narrow = copies_of(batch.place, batch.place, apart(1.0, seconds)).numpy()
        np.testing.assert_array_equal(narrow, np.abs(begin[:, None] - begin) <= 0.02)

    def test_the_same_second_of_other_sounds_is_no_copy_and_of_the_same_sound_under_another_name_is(self) -> None:
        store = ramp_store(*(ramp_recording(f"{k}", stimulus=name) for k, name in enumerate(("one", "two", "three"))))
        store.stimuli["three"].sha256 = store.stimuli["one"].sha256
        index = build_windows(store, SegmentSettings())
        batches = BatchSource(index, fakes.FakeFeatures(), scalers=None)
        rows = np.flatnonzero(np.isclose(index.table["stimulus_time"], 14.5) & (index.table["anchors"] == "train"))
        assert index.table["recording"].iloc[rows].tolist() == [0, 1, 2]
        place = batches[rows].place
        assert copies_of(place, place, apart(0.01, 3.0)).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
