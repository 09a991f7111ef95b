"""A cohort without files: noise in which each of four words has a frequency of its own; subjects differ in channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.recordings.recording import events_table
from tests.segments.fakes import FakeRecording, FakeStore

RATE, TRIAL = 100.0, 70  # Hz; samples from one onset to the next
WORDS = ("ba", "da", "ga", "ka")
FREQUENCIES = (3.0, 8.0, 14.0, 21.0)  # Hz


@dataclass
class Run(FakeRecording):
    sha256_signal: str = ""
    simulated: bool = True

    @property
    def n_channels(self) -> int:
        return len(self.signal)


def run(subject: str, number: int, channels: tuple[str, ...], trials: int) -> Run:
    rng = np.random.default_rng([int(subject), number])
    labels = rng.permutation(np.resize(WORDS, trials))
    onsets = 20 + TRIAL * np.arange(trials)  # samples
    signal = 0.3 * rng.standard_normal((len(channels), TRIAL * trials + 60))
    times = np.arange(60) / RATE
    for onset, label in zip(onsets, labels):
        wave = np.sin(2 * np.pi * FREQUENCIES[WORDS.index(label)] * times)
        for c in range(len(channels)):
            signal[c, onset - 10 : onset + 50] += wave * (1 if c % 2 == 0 else -0.5)
    rows = [{"onset": o / RATE, "duration": 0.5, "kind": "word", "label": w} for o, w in zip(onsets, labels)]
    table = pd.DataFrame({"name": channels, "x2d": np.nan, "y2d": np.nan, "bad": False})
    name = f"sub-{subject}_run-{number}"
    return Run(
        name=name,
        subject=subject,
        signal=(1e-5 * signal).astype(np.float32),
        channels=table,
        events=events_table(rows),
        sfreq=RATE,
        run=str(number),
        sha256_signal=f"signal of {name}",
    )


def cohort(subjects: dict[str, tuple[str, ...]], trials: int = 32) -> FakeStore:
    runs = [run(s, number, names, trials) for s, names in subjects.items() for number in (1, 2, 3, 4)]
    return FakeStore(runs, {}, Path("fake-store"))
