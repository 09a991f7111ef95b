"""Parts of the synthetic trees: words at known seconds, audio, ramps (sample value = seconds of the recording)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import soundfile

from neurodecode.config import CohortCard, PreprocessingSettings, TrainSettings, load_settings
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.windows import WindowIndex, build_windows
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store

# in an order whose blocks fall on all three sides of the split
SENTENCES = [
    "in march a tuner came by with a case of forks",
    "the clerk put out his pipe to hear the tune",
    "by evening the whole quay was whistling it together",
    "she read the pages slowly and hummed under her breath",
    "his ledger filled with songs that nobody could play",
    "when the wind turned north the panes began to sing",
    "the lamp stood near a window that faced the harbour",
    "an old clerk wrote down every note in pencil",
    "nobody had lit it since the ferry stopped in autumn",
    "a gull slept on the sill and dreamt of herring",
]
WORD_SECONDS = 0.4  # each word starts so long after the one before it, and lasts 0.3 s


def words_of(sentences: list[str], begin: float = 0.5) -> list[dict]:
    """One dict a word: word, onset (s), duration, sentence (number), index (in the sentence)."""
    rows = []
    for number, sentence in enumerate(sentences):
        for index, word in enumerate(sentence.split()):
            onset = round(begin + WORD_SECONDS * len(rows), 3)
            rows.append({"word": word, "onset": onset, "duration": 0.3, "sentence": number, "index": index})
    return rows


def write_wav(path: Path, seconds: float, rate: int = 22_050, seed: int = 0) -> Path:
    """Noise; another seed is another sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, values, rate)
    return path


def ramp(channels: int, seconds: float, rate: float) -> np.ndarray:
    """[channels, samples]: seconds of the recording on every channel."""
    samples = round(seconds * rate)
    return np.tile(np.arange(samples) / rate, (channels, 1))


def card_of(name: str, root: Path, **changes: object) -> CohortCard:
    """The shipped card, pointed at a folder."""
    return load_settings(CohortCard, name, "datasets").model_copy(update={"root": root, **changes})


def paper() -> TrainSettings:
    """The published training settings."""
    return load_settings(TrainSettings, "paper", "configs/training")


def windows_of(card: CohortCard, store: Path) -> WindowIndex:
    """The whole chain: recordings, preprocessing as published, windows as published."""
    settings = load_settings(PreprocessingSettings, "paper", "configs/preprocessing")
    summary = preprocess(expand_source(card), store, settings, progress=False)
    assert summary.failed == []
    return build_windows(Store(store), paper().segments)


def side_of(text: str) -> str:
    """Side of the split of a block, worked out again from the rule: hash of the text plus 12, first uniform draw."""
    draw = random.Random(int(hashlib.sha256(text.encode()).hexdigest(), 16) + 12).random()
    return "test" if draw < 0.2 else "valid" if draw < 0.3 else "train"
