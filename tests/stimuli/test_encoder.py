"""Speech encoders: exact times, long audio without seams, the model's own input, errors in one line. Small random models."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from neurodecode.config import FeatureSettings, load_settings
from neurodecode.errors import SettingsError, StimulusError
from neurodecode.files import read_json, sha256_of_file
from neurodecode.stimuli.encoder import encode, fingerprint, load_encoder, passes
from neurodecode.stimuli.features import compute_feature, compute_features, feature_key
from neurodecode.stimuli.frames import FrameGrid
from neurodecode.store.store import StoredStimulus

transformers = pytest.importorskip("transformers")

RATE = 16_000
BLOCKS: dict[str, Any] = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": 16}
WAVEFORM: dict[str, Any] = {
    **BLOCKS,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 9,
    "num_conv_pos_embedding_groups": 2,
}
NOISE = 0.1 * np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32)


def save(folder: Path, kind: str, seed: int = 0) -> Path:
    """A small model with random weights, saved as the hub would hold it."""
    from transformers import (
        HubertConfig,
        HubertModel,
        SeamlessM4TFeatureExtractor,
        Wav2Vec2BertConfig,
        Wav2Vec2BertModel,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Model,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperModel,
    )

    torch.manual_seed(seed)
    if kind == "wav2vec2":
        # the family of the published model: layer norm in the convolutions, which knows no other time
        config = Wav2Vec2Config(**WAVEFORM, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
        model, extractor = Wav2Vec2Model(config), Wav2Vec2FeatureExtractor(do_normalize=True)
    elif kind == "hubert":
        model, extractor = HubertModel(HubertConfig(**WAVEFORM)), Wav2Vec2FeatureExtractor(do_normalize=False)
    elif kind == "bert":
        model, extractor = Wav2Vec2BertModel(Wav2Vec2BertConfig(**BLOCKS)), SeamlessM4TFeatureExtractor()
    else:
        config = WhisperConfig(
            vocab_size=40,
            d_model=16,
            encoder_layers=3,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_source_positions=100,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
        model, extractor = WhisperModel(config), WhisperFeatureExtractor(chunk_length=2)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: save(folder / kind, kind) for kind in ("wav2vec2", "hubert", "bert", "whisper")}


def settings(model: Path | str, **values: Any) -> FeatureSettings:
    return FeatureSettings(
        **{"kind": "encoder", "encoder": str(model), "layers": (1, 2), "context": None, "overlap": 0.6} | values
    )


def states(audio: np.ndarray, model: Path, **values: Any) -> np.ndarray:
    chosen = settings(model, **values)
    return encode(audio, load_encoder(chosen), chosen, "noise").values


@torch.no_grad()
def reference(audio: np.ndarray, model: Path, layers: tuple[int, ...]) -> np.ndarray:
    """What transformers says when it is asked directly."""
    network = transformers.AutoModel.from_pretrained(model).eval()
    network = network.encoder if network.config.is_encoder_decoder else network
    extractor = transformers.AutoFeatureExtractor.from_pretrained(model)
    inputs = extractor(audio, sampling_rate=RATE, return_tensors="pt")
    inputs.pop("attention_mask", None)
    hidden = network(**inputs, output_hidden_states=True).hidden_states
    return sum(hidden[layer][0] for layer in layers).numpy() / len(layers)


@dataclass
class SmallStore:
    path: Path
    stimuli: dict[str, StoredStimulus]


def store(folder: Path, *names: str, seconds: float = 0.5) -> SmallStore:
    folder.mkdir()
    stimuli = {}
    for number, name in enumerate(names):
        path = folder / f"{name}.wav"
        audio = 0.1 * np.random.default_rng(number).standard_normal(int(44_100 * seconds))
        soundfile.write(path, audio, 44_100)
        stimuli[name] = StoredStimulus(name, path, sha256_of_file(path), "audio")
    return SmallStore(folder, stimuli)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "bert"])
@pytest.mark.parametrize("layers", [(1, 2), (0,), (3,), (-1, -2)])
def test_hidden_states_are_those_of_the_model_with_its_own_input(
    models: dict[str, Path], kind: str, layers: tuple[int, ...]
) -> None:
    audio = NOISE[: 2 * RATE]  # an even number of filter bank frames
    ours, theirs = states(audio, models[kind], layers=layers), reference(audio, models[kind], layers)
    assert ours.shape == theirs.shape == (99, 16)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_whisper_pads_as_it_learnt_to_and_is_cut_to_the_true_length(models: dict[str, Path]) -> None:
    audio = NOISE[: int(1.3 * RATE)]
    ours, theirs = states(audio, models["whisper"], layers=(1, 3)), reference(audio, models["whisper"], (1, 3))
    assert (ours.shape, theirs.shape) == ((65, 16), (100, 16))
    np.testing.assert_allclose(ours, theirs[:65], atol=1e-5)


def test_times_follow_from_kernels_and_strides(models: dict[str, Path]) -> None:
    # a frame of wav2vec 2.0 sees 400 samples; of Whisper, 320 more on both sides than its window of 400
    for kind, t0, field, frames in (
        ("wav2vec2", 0.0125, 400, 299),
        ("hubert", 0.0125, 400, 299),
        ("bert", 0.0175, 560, 299),
        ("whisper", 0.0, 1040, 300),
    ):
        chosen = settings(models[kind])
        encoder = load_encoder(chosen)
        feature = encode(NOISE, encoder, chosen, "noise")
        assert (feature.rate, feature.t0, encoder.intake.grid.field) == (50.0, t0, field)
        assert len(feature.values) == frames
    other = FrameGrid.of(8_000, [(10, 4, 0), (3, 2, 1)])
    assert (other.step, other.field, other.begin, other.rate) == (8, 18, -4, 1000.0)
    assert other.t0 == (-4 + 9) / 8_000
    assert (other.count(17), other.count(18), other.count(5)) == (1, 2, 0)  # as the layers count: 2 -> 1, 3 -> 2


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_a_click_is_where_it_should_be(models: dict[str, Path], kind: str, tmp_path: Path) -> None:
    model = shutil.copytree(models[kind], tmp_path / "model")
    extractor = read_json(model / "preprocessor_config.json")
    (model / "preprocessor_config.json").write_text(json.dumps(extractor | {"do_normalize": False}))
    chosen = settings(model, layers=(0,))
    encoder = load_encoder(chosen)
    quiet = encode(NOISE[: 2 * RATE], encoder, chosen, "quiet")
    for at in (0.31, 0.5, 1.234, 1.7):
        clicked = NOISE[: 2 * RATE].copy()
        clicked[round(at * RATE) - 8 : round(at * RATE) + 8] += 1.0
        change = np.abs(encode(clicked, encoder, chosen, "click").values - quiet.values).sum(1)
        assert quiet.times[change.argmax()] == pytest.approx(at, abs=0.0125)


def test_long_audio_in_passes_equals_one_pass(models: dict[str, Path]) -> None:
    whole = states(NOISE, models["wav2vec2"], layers=(0,))
    parts = states(NOISE, models["wav2vec2"], layers=(0,), context=1.0, overlap=0.4)
    np.testing.assert_allclose(parts, whole, atol=1e-5)  # what enters the first block depends on 0.1 s at most
    whole, parts = (states(NOISE, models["wav2vec2"], **p) for p in ({}, {"context": 2.0, "overlap": 0.6}))
    assert np.abs(parts - whole).max() < 0.02 * whole.std()  # attention sees all of a pass
    for kind in ("hubert", "bert"):
        whole, parts = (states(NOISE, models[kind], layers=(0,), **p) for p in ({}, {"context": 2.0, "overlap": 0.6}))
        assert np.corrcoef(parts.ravel(), whole.ravel())[0, 1] > 0.99


def test_there_is_no_step_where_passes_meet(models: dict[str, Path]) -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(6 * RATE) / RATE).astype(np.float32)  # every frame hears the same
    values = states(tone, models["whisper"], layers=(1, 2), context=2.0, overlap=1.0)
    steps = np.abs(np.diff(values, axis=0)).sum(1)[10:-10]
    # Whisper's states hang on the place in its window, so passes that were merely put together would jump
    hard = states(tone, models["whisper"], layers=(1, 2), context=2.0, overlap=0.0)
    jump = np.abs(np.diff(hard, axis=0)).sum(1)[[99, 199]]
    assert steps.max() < 0.5 * jump.min()


@pytest.mark.parametrize(
    ("n_frames", "width", "overlap"), [(1000, 150, 30), (151, 150, 75), (150, 150, 30), (47, 10, 0)]
)
def test_passes_cover_every_frame_once_and_use_no_end_of_a_pass(n_frames: int, width: int, overlap: int) -> None:
    total, uses = np.zeros(n_frames), np.zeros(n_frames, int)
    for first, last, weight in passes(n_frames, width, overlap):
        assert last - first == min(width, n_frames) == len(weight)
        assert weight.min() >= 0
        total[first:last] += weight
        uses[first:last] += weight > 0
        margin = overlap // 4 - 1
        if first and margin > 0:
            assert not weight[:margin].any()
        if last < n_frames and margin > 0:
            assert not weight[-margin:].any()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert uses.max() <= 2


def test_random_weights_are_another_model_and_always_the_same(models: dict[str, Path], tmp_path: Path) -> None:
    trained = states(NOISE[:RATE], models["wav2vec2"])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = states(NOISE[:RATE], models["wav2vec2"], random_weights=True)
    assert torch.equal(torch.rand(1), expected)  # nobody else's numbers move
    for name in ("config.json", "preprocessor_config.json"):  # weights are not needed
        (tmp_path / name).write_bytes((models["wav2vec2"] / name).read_bytes())
    np.testing.assert_array_equal(states(NOISE[:RATE], tmp_path, random_weights=True), first)
    assert np.abs(first - trained).max() > 0.1


def test_features_are_resampled_audio_and_cached_as_float16(models: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(models["wav2vec2"], dtype="float16")
    made = compute_features(store(tmp_path / "s", "one", "two"), chosen, progress=False)
    feature = made.get("two")
    assert (feature.values.dtype, feature.values.shape, feature.rate, feature.t0) == (
        np.float16,
        (24, 16),
        50.0,
        0.0125,
    )
    assert made.dimension == 16
    precise = compute_feature(store(tmp_path / "t", "one", "two").stimuli["two"], settings(models["wav2vec2"]))
    np.testing.assert_allclose(feature.values, precise.values, atol=2e-3)


def test_the_key_follows_what_counts_for_an_encoder() -> None:
    base = settings("a/b")
    for change in ({"encoder": "a/c"}, {"layers": (2,)}, {"random_weights": True}, {"context": 20.0}, {"overlap": 5.0}):
        assert feature_key(base.model_copy(update=change)) != feature_key(base)
    assert feature_key(base.model_copy(update={"bands": 7, "audio_rate": 8_000.0})) == feature_key(base)


def test_cached_features_need_no_model_and_another_model_in_its_place_is_noticed(tmp_path: Path) -> None:
    model = save(tmp_path / "model", "wav2vec2")
    heard, chosen = store(tmp_path / "s", "one", "two"), settings(model)
    before = np.array(compute_features(heard, chosen, progress=False).get("one").values)
    model.rename(tmp_path / "away")
    np.testing.assert_array_equal(compute_features(heard, chosen, progress=False).get("one").values, before)
    save(model, "wav2vec2", seed=1)
    assert fingerprint(str(model)) != fingerprint(str(tmp_path / "away"))
    made = compute_features(heard, chosen, progress=False)
    assert np.abs(made.get("one").values - before).max() > 0.1
    makers = {entry["maker"] for entry in read_json(made.path / "index.json")["stimuli"].values()}
    assert makers == {fingerprint(str(model))}


def test_a_missing_model_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StimulusError, match="there is no folder .*nowhere; give a folder that holds config.json"):
        load_encoder(settings(tmp_path / "nowhere"))
    with pytest.raises(StimulusError, match="holds no config.json, so it is not a saved speech model"):
        load_encoder(settings(tmp_path))
    tried: list[bool] = []

    def offline(source: str, *, local_files_only: bool, **_: Any) -> None:
        tried.append(local_files_only)
        raise OSError("not among what was downloaded")

    def unreachable(self: Any, name: str, **_: Any) -> None:
        raise OSError("Name or service not known.\nCheck your connection")

    monkeypatch.setattr(transformers.AutoFeatureExtractor, "from_pretrained", offline)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(StimulusError, match="hf download some/model --local-dir FOLDER") as error:
        load_encoder(settings("some/model"))
    assert tried == [True]  # a hub that does not answer is not asked for file after file
    assert "(Name or service not known)" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, models: dict[str, Path]) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StimulusError, match=r"pip install 'neurodecode\[speech\]'"):
        load_encoder(settings(models["wav2vec2"]))


def test_a_damaged_model_or_one_without_all_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = save(tmp_path / "model", "wav2vec2")
    weights = load_file(model / "model.safetensors")
    gone = "encoder.layers.1.attention.k_proj.weight"
    save_file({k: v for k, v in weights.items() if k != gone}, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StimulusError, match=f"1 weights are missing from it .first: {gone}"):
        load_encoder(settings(model))
    (model / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(StimulusError, match=r"model cannot be loaded \(.+\); save it anew") as error:
        load_encoder(settings(model))
    assert "\n" not in str(error.value)


def test_an_encoder_whose_frames_cannot_be_timed_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    from transformers import SEWConfig, SEWModel, Wav2Vec2FeatureExtractor

    SEWModel(SEWConfig(**WAVEFORM | {"conv_dim": (8,) * 13})).save_pretrained(tmp_path / "sew")  # pools in between
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "sew")
    with pytest.raises(StimulusError, match="gives 24 frames where its kernels and strides say 49"):
        states(NOISE[:RATE], tmp_path / "sew")
    text = transformers.BertModel(transformers.BertConfig(vocab_size=9, **BLOCKS))
    text.save_pretrained(tmp_path / "text")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "text")
    with pytest.raises(StimulusError, match="is a bert model; give wav2vec 2.0, HuBERT"):
        load_encoder(settings(tmp_path / "text"))


def test_what_does_not_fit_the_encoder_is_refused(models: dict[str, Path]) -> None:
    with pytest.raises(StimulusError, match=r"features.layers: 14; .* has the hidden states 0..3"):
        load_encoder(settings(models["wav2vec2"], layers=(14,)))
    with pytest.raises(StimulusError, match="context: 30 s, .* takes at most 2 s; lower it, or set it to null"):
        states(NOISE, models["whisper"], context=30.0)
    with pytest.raises(StimulusError, match="overlap: 6 s; at most 1 s for this encoder"):
        states(NOISE, models["whisper"], context=None, overlap=6.0)
    with pytest.raises(StimulusError, match="lasts 0.019 s, a frame of the encoder sees 0.025 s"):
        states(NOISE[:300], models["wav2vec2"])
    with pytest.raises(StimulusError, match="silent from start to end"):
        states(np.zeros(RATE, np.float32), models["wav2vec2"])
    with pytest.raises(SettingsError, match="overlap 20 s must be at most half of context .15 s"):
        load_settings(FeatureSettings, "wav2vec2", "configs/features", ["overlap=20"])


def test_states_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = save(tmp_path / "model", "wav2vec2")
    weights = load_file(model / "model.safetensors")
    weights["feature_projection.projection.bias"] += 1e6
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StimulusError, match="leave the range of float16; set features.dtype to float32"):
        states(NOISE[:RATE], model, dtype="float16", layers=(0,))
    assert np.isfinite(states(NOISE[:RATE], model, layers=(0,))).all()


@pytest.mark.parametrize(
    ("preset", "layers"), [("wav2vec2", (14, 15, 16, 17, 18)), ("wav2vec2_last4", (-4, -3, -2, -1))]
)
def test_both_published_choices_of_layers_are_presets(preset: str, layers: tuple[int, ...]) -> None:
    loaded = load_settings(FeatureSettings, preset, "configs/features")
    assert (loaded.kind, loaded.encoder, loaded.layers) == ("encoder", "facebook/wav2vec2-large-xlsr-53", layers)
    assert loaded.dtype == "float16"


def test_without_position_whispers_states_no_longer_tell_their_place(models: dict[str, Path]) -> None:
    places = np.linspace(0, 4 * RATE, 12).astype(int)

    def place_in_states(**values: Any) -> float:
        """Share of the variance of states, over windows of 2 s, that their place in the window explains."""
        chosen = settings(models["whisper"], overlap=0.0, **values)
        encoder = load_encoder(chosen)
        windows = np.stack([encode(NOISE[p : p + 2 * RATE], encoder, chosen, "noise").values for p in places])
        centred = windows - windows.mean((0, 1))
        return float((centred.mean(0) ** 2).mean() / (centred**2).mean())

    kept, removed = place_in_states(), place_in_states(remove_position=True)
    assert kept > 0.5
    assert removed < kept / 2
    with pytest.raises(StimulusError, match="remove_position: .* only Whisper does"):
        load_encoder(settings(models["wav2vec2"], remove_position=True))
    base = settings("a/b")
    assert feature_key(base.model_copy(update={"remove_position": True})) != feature_key(base)
