"""A cohort without files whose words are an onset and a vowel: each is a frequency in one half of the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.recordings.recording import events_table
from tests.segments.fakes import FakeStore
from tests.training.codebook_cohort import RATE, TRIAL, Run

ONSETS = {"p": 4.0, "t": 11.0, "k": 20.0}  # Hz
VOWELS = {"a": 4.0, "i": 11.0, "u": 20.0}  # Hz
WORDS = [onset + vowel for onset in ONSETS for vowel in VOWELS]
CHANNELS = ("A1", "A2", "A3")
TABLE = "word\tonset\tvowel\n" + "".join(f"{word}\t{word[0]}\t{word[1]}\n" for word in WORDS)


def run(subject: str, number: int, trials: int, noise: float) -> Run:
    rng = np.random.default_rng([int(subject), number])
    labels = rng.permutation(np.resize(WORDS, trials))
    onsets = 20 + TRIAL * np.arange(trials)  # samples
    signal = noise * rng.standard_normal((len(CHANNELS), TRIAL * trials + 60))
    times = np.arange(30) / RATE
    for onset, label in zip(onsets, labels):
        for half, frequency in enumerate((ONSETS[label[0]], VOWELS[label[1]])):
            first = onset - 10 + 30 * half
            signal[:, first : first + 30] += np.sin(2 * np.pi * frequency * times) * np.array([[1.0], [-0.5], [0.7]])
    rows = [{"onset": o / RATE, "duration": 0.5, "kind": "word", "label": w} for o, w in zip(onsets, labels)]
    name = f"sub-{subject}_run-{number}"
    return Run(
        name=name,
        subject=subject,
        signal=(1e-5 * signal).astype(np.float32),
        channels=pd.DataFrame({"name": CHANNELS, "x2d": np.nan, "y2d": np.nan, "bad": False}),
        events=events_table(rows),
        sfreq=RATE,
        run=str(number),
        sha256_signal=f"signal of {name}",
    )


def cohort(subjects: tuple[str, ...] = ("1",), trials: int = 54, noise: float = 0.3) -> FakeStore:
    return FakeStore([run(s, n, trials, noise) for s in subjects for n in (1, 2, 3, 4)], {}, Path("fake-store"))
