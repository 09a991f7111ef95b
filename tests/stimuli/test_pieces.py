"""Each block's audio alone: cut where stated, timed exactly, and deaf to the other blocks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.config import FeatureSettings, SegmentSettings, validate
from neurodecode.errors import LeakageError, SettingsError, StimulusError
from neurodecode.files import sha256_of_file
from neurodecode.segments.audit import audit_features
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import WindowIndex, build_windows
from neurodecode.stimuli.encoder import encode, load_encoder
from neurodecode.stimuli.feature import Feature
from neurodecode.stimuli.features import FeatureStore, compute_feature, compute_features, feature_key
from neurodecode.stimuli.mel import log_mel
from neurodecode.stimuli.pieces import cuts, describe_pieces
from neurodecode.store.store import StoredStimulus
from tests.segments.fakes import ramp_recording, ramp_store
from tests.stimuli.test_encoder import RATE, SmallStore, save, settings

MEL = FeatureSettings(extent="block")


def test_audio_is_cut_at_borders_that_leave_a_tenth_of_a_second_on_both_sides() -> None:
    assert cuts([7.0, 14.0], 21.0) == [7.0, 14.0]
    assert cuts([0.05, 7.0, 20.95], 21.0) == [7.0]  # next to the begin and to the end
    assert cuts([0.1, 7.0, 20.9], 21.0) == [0.1, 7.0]  # more than 0.1 s must be left after the last, as published
    assert cuts([7.0, 7.05, 7.2], 21.0) == [7.0, 7.2]
    assert cuts([14.0, 7.0, 30.0], 21.0) == [7.0, 14.0]
    assert cuts([], 21.0) == []


@given(st.lists(st.floats(0.0, 12.0), max_size=8), st.floats(0.5, 10.0), st.sampled_from([128, 160, 320]))
def test_every_frame_of_the_grid_is_there_and_knows_its_own_piece_only(borders, seconds, step) -> None:
    rate = 16_000
    audio = np.arange(round(seconds * rate), dtype=np.float64)  # each sample is its own number

    def describe(piece: np.ndarray, name: str) -> Feature:
        # a frame knows the first and the last sample of its piece, and where its own centre is
        count = max(1, (len(piece) - step) // step + 1)
        rows = [[piece[0], piece[-1], piece[min(k * step + step // 2, len(piece) - 1)]] for k in range(count)]
        return Feature(np.array(rows), rate / step, step / 2 / rate)

    feature = describe_pieces(audio, rate, step, borders, describe, "x")
    assert feature.rate == rate / step
    whole = describe(audio, "x")
    assert len(whole.values) - 1 <= len(feature.values) <= len(whole.values) + 1
    edges = [0.0, *cuts(borders, len(audio) / rate), np.inf]
    for time, (first, last, centre) in zip(feature.times, feature.values):
        # the frame before a border stands for the piece after it
        piece = max(k for k in range(len(edges) - 1) if time >= edges[k] - 1 / feature.rate - 0.01 - 1e-9 or k == 0)
        assert edges[piece] <= first / rate + 1e-9 < edges[piece] + step / rate
        assert last / rate < edges[piece + 1] + 1e-9
        inside = edges[piece] + step / rate < time < min(edges[piece + 1], len(audio) / rate) - 2 * step / rate
        if inside:
            assert centre / rate == pytest.approx(time, abs=1e-9)


def test_mel_of_a_block_is_that_of_its_audio_alone() -> None:
    audio = np.random.default_rng(0).standard_normal(16_000 * 5).astype(np.float32)
    audio[32_000:] *= 30  # each piece is standardised alone
    stops = (2.0, 3.5)
    made = describe_pieces(audio, 16_000, 128, stops, lambda a, n: log_mel(a, MEL, n), "x")
    whole = log_mel(audio, MEL, "x")
    assert (made.rate, made.t0, len(made.values)) == (whole.rate, whole.t0, len(whole.values))
    second = log_mel(audio[32_000:56_000], MEL, "x")  # 2 s is frame 250 of 125 a second
    np.testing.assert_array_equal(made.values[250:435], second.values[:185])
    np.testing.assert_array_equal(made.values[:248], log_mel(audio[:32_000], MEL, "x").values[:248])
    np.testing.assert_array_equal(made.values[248:250], second.values[[0, 0]])  # held, for windows of the second block
    assert np.abs(made.values[300] - whole.values[300]).max() > 0.1


def test_an_encoder_of_a_block_hears_its_audio_alone(tmp_path: Path) -> None:
    model = save(tmp_path / "model", "wav2vec2")
    chosen = settings(model, extent="block")
    encoder = load_encoder(chosen)
    path = tmp_path / "x.wav"
    audio = (0.1 * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    stimulus = StoredStimulus("x", path, sha256_of_file(path), "audio")
    feature = compute_feature(stimulus, chosen, encoder, (1.013,))
    assert (feature.rate, feature.t0, len(feature.values)) == (50.0, 0.0125, 149)
    # 1.013 s lies between frames 50 and 51 of the grid: the piece begins at 51 x 320 samples
    alone = encode(audio[51 * 320 :], encoder, chosen, "x").values
    np.testing.assert_array_equal(feature.values[51:], alone)
    before = encode(audio[: round(1.013 * RATE)], encoder, chosen, "x").values
    assert len(before) == 50
    np.testing.assert_array_equal(feature.values[:49], before[:49])
    whole = compute_feature(stimulus, chosen, encoder)
    assert np.abs(feature.values[55:] - whole.values[55:]).max() > 1e-4  # attention reaches over the border
    np.testing.assert_array_equal(whole.values, encode(audio, encoder, chosen, "x").values)


def index_of_story(shift: float = 0.15) -> WindowIndex:
    values = {"split": {"seed": 3, "test": 0.3, "valid": 0.2, "repeated": "error"}, "window": {"shift": shift}}
    recordings = (ramp_recording("01", onset=2.0), ramp_recording("02", onset=5.003))
    return build_windows(ramp_store(*recordings), SegmentSettings.model_validate(values)).fold("fold-0")


def story(folder: Path, loud: tuple[float, float] | None = None) -> SmallStore:
    """70 s of noise; `loud` seconds are changed."""
    folder.mkdir()
    audio = 0.1 * np.random.default_rng(7).standard_normal(70 * RATE)
    if loud:
        span = slice(round(loud[0] * RATE), round(loud[1] * RATE))
        audio[span] = 0.3 * np.random.default_rng(8).standard_normal(span.stop - span.start)
    soundfile.write(folder / "story.wav", audio, RATE, subtype="FLOAT")
    path = folder / "story.wav"
    return SmallStore(folder, {"story": StoredStimulus("story", path, sha256_of_file(path), "audio")})


@pytest.mark.parametrize("kind", ["mel", "encoder"])
def test_windows_never_face_features_that_another_block_changes(kind: str, tmp_path: Path) -> None:
    index = index_of_story()
    assert index.borders == {"story": [7.0 * k for k in range(1, 10)]}
    chosen = FeatureSettings(extent="block")
    if kind == "encoder":
        chosen = settings(save(tmp_path / "model", "wav2vec2"), extent="block", layers=(3,))
    changed = (21.0, 28.0)  # the fourth block
    made = [
        BatchSource(index, compute_features(story(tmp_path / name, loud), chosen, False, index.borders))
        for name, loud in (("a", None), ("b", changed))
    ]
    rows = np.arange(len(index.table))
    targets = [source.target(rows, (0, source.n_times)).numpy() for source in made]
    same = (targets[0] == targets[1]).all((1, 2))
    of_it = np.array([index.blocks[b].start == changed[0] for b in index.table["block"]])
    begin = index.table["stimulus_start"].to_numpy()[of_it]
    assert begin.min() < changed[0]  # by rounding to a sample: such a window, too, faces its own block only
    np.testing.assert_array_equal(same, ~of_it)
    assert 10 < of_it.sum() < len(rows) / 4
    # with whole stimuli, neighbours know of the change
    if kind == "mel":
        whole = FeatureSettings()
        other = [
            BatchSource(index, compute_features(SmallStore(tmp_path / n, story_of(tmp_path / n)), whole, False))
            for n in "ab"
        ]
        targets = [source.target(rows).numpy() for source in other]
        assert (targets[0] != targets[1]).any((1, 2)).sum() > of_it.sum()


def story_of(folder: Path) -> dict[str, StoredStimulus]:
    path = folder / "story.wav"
    return {"story": StoredStimulus("story", path, sha256_of_file(path), "audio")}


def test_the_folder_follows_extent_and_borders_and_the_audit_says_which(tmp_path: Path) -> None:
    index = index_of_story()
    store = story(tmp_path / "s")
    whole = compute_features(store, FeatureSettings(), False)
    blocks = compute_features(store, MEL, False, index.borders)
    other = compute_features(store, MEL, False, {"story": [7.0, 14.0]})
    assert len({whole.path, blocks.path, other.path}) == 3
    assert (FeatureStore(whole.path).extent, FeatureStore(blocks.path).extent) == ("stimulus", "block")
    assert audit_features(index, whole) == {"feature_extent": "stimulus"}
    assert audit_features(index, blocks) == {"feature_extent": "block", "feature_borders": 9}
    with pytest.raises(LeakageError, match=r"shift: 0.000 s; with features.extent=block and 125 frames a second"):
        audit_features(index_of_story(shift=0.0), blocks)
    assert feature_key(MEL, {"story": [7.0]}) == feature_key(MEL, {"story": [7.0001]})
    assert feature_key(FeatureSettings(), {"story": [7.0]}) == feature_key(FeatureSettings())


def test_a_split_that_cuts_no_stimulus_has_no_borders() -> None:
    runs = [ramp_recording("01", stimulus=f"story{k}", run=f"{k}") for k in range(3)]
    settings_ = SegmentSettings.model_validate({"split": {"rule": "leave-one-run-out"}})
    assert build_windows(ramp_store(*runs), settings_).borders == {}


def test_what_cannot_be_cut_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="block needs the blocks of a split") as error:
        compute_features(story(tmp_path / "s"), MEL, False)
    assert "\n" not in str(error.value)
    for kind in ("envelope", "array"):
        with pytest.raises(
            SettingsError, match=f"extent block is for mel and encoder; {kind} must have extent stimulus"
        ):
            validate(FeatureSettings, {"kind": kind, "extent": "block"}, "test")
    for whole in (np.zeros(64_000, np.float32), np.full(64_000, 0.25, np.float32)):
        for borders in ([], [2.0]):
            with pytest.raises(StimulusError, match=r"stimulus x.*: the audio is silent from start to end"):
                describe_pieces(whole, 16_000, 128, borders, lambda a, n: log_mel(a, MEL, n), "stimulus x")


@pytest.mark.parametrize("quiet", [(0.0, 0.3), (2.0, 2.3), (4.7, 5.0)])
def test_a_silent_piece_of_a_sounding_stimulus_is_the_floor_and_all_other_frames_are_as_they_were(quiet) -> None:
    audio = np.random.default_rng(0).standard_normal(16_000 * 5).astype(np.float32)
    borders = [t for t in quiet if 0 < t < 5]

    def made(samples: np.ndarray) -> Feature:
        return describe_pieces(samples, 16_000, 128, borders, lambda a, n: log_mel(a, MEL, n), "x", -5.0)

    sounding = made(audio)
    assert sounding.silent == ()
    begin, end = (round(t * 16_000) for t in quiet)
    for level in (0.0, 0.1):  # a constant is no sound either
        audio[begin:end] = level
        feature = made(audio)
        assert feature.silent == (quiet[0],)
        assert len(feature.values) == len(sounding.values) == 626
        silent = (feature.values == np.float32(-5)).all(1)
        # as at any border, the frames just before it are those of the piece after it
        inside = (feature.times >= quiet[0] - 0.02) & (feature.times <= quiet[1])
        assert silent[(feature.times >= quiet[0]) & (feature.times < quiet[1] - 0.02)].all()
        assert not silent[~inside].any()
        np.testing.assert_array_equal(feature.values[~silent], sounding.values[~silent])
        assert 0.26 * 125 < silent.sum() < 0.33 * 125


@pytest.mark.parametrize(("kind", "floor"), [("mel", -5.0), ("encoder", 0.0)])
def test_a_silent_block_does_not_stop_the_features_and_is_told_once(kind: str, floor: float, tmp_path: Path) -> None:
    index = index_of_story()
    chosen = MEL if kind == "mel" else settings(save(tmp_path / "model", "wav2vec2"), extent="block")
    store = story(tmp_path / "s")
    audio, _ = soundfile.read(tmp_path / "s" / "story.wav", dtype="float32")
    for block in (2, 5):
        audio[block * 7 * RATE : (block + 1) * 7 * RATE] = 0
    soundfile.write(tmp_path / "s" / "story.wav", audio, RATE, subtype="FLOAT")
    told = rf"features {kind}: 2 blocks of 1 stimuli hold no sound at all \(first: story, second 14.00 on\); .* are {floor:g},"
    with pytest.warns(UserWarning, match=told) as warned:
        features = compute_features(store, chosen, False, index.borders)
    assert len(warned) == 1
    feature = features.get("story")
    inner = ((feature.times > 14.0) & (feature.times < 20.9)) | ((feature.times > 35.0) & (feature.times < 41.9))
    assert (feature.values[inner] == floor).all()
    others = (feature.times < 13.9) | ((feature.times > 21.0) & (feature.times < 34.9)) | (feature.times > 42.0)
    assert not (feature.values[others] == floor).all(1).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_features(store, chosen, False, index.borders)  # nothing is computed again, and nothing is said
