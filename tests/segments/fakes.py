"""A cohort of ramps: sample value = seconds of the recording + 100 x channel, feature = seconds of the stimulus."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.recordings.recording import events_table


@dataclass
class FakeRecording:
    name: str
    subject: str
    signal: np.ndarray
    channels: pd.DataFrame
    events: pd.DataFrame
    sfreq: float = 120.0
    session: str = ""
    task: str = ""
    run: str = ""
    language: str = ""
    bad_spans: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def n_samples(self) -> int:
        return self.signal.shape[1]


@dataclass
class FakeStimulus:
    name: str
    sha256: str


@dataclass
class FakeStore:
    recordings: list[FakeRecording]
    stimuli: dict[str, FakeStimulus]
    path: Path = Path("fake-store")


@dataclass
class FakeFeature:
    values: np.ndarray
    rate: float
    t0: float


class FakeFeatures:
    """Every stimulus' feature is its own clock: frame k holds t0 + k / rate."""

    def __init__(self, seconds: float = 100.0, rate: float = 50.0, t0: float = 0.0125) -> None:
        times = t0 + np.arange(int(seconds * rate)) / rate
        self.feature = FakeFeature(times[:, None].astype(np.float32), rate, t0)
        self.dimension = 1

    def get(self, name: str) -> FakeFeature:
        return self.feature


def channel_table(names: list[str], bad: tuple[str, ...] = ()) -> pd.DataFrame:
    places = np.linspace(0, 1, len(names))
    return pd.DataFrame({"name": names, "x2d": places, "y2d": places[::-1], "bad": [n in bad for n in names]})


def ramp_recording(
    subject: str = "01",
    names: tuple[str, ...] = ("A1", "A2", "A3"),
    seconds: float = 80.0,
    sfreq: float = 120.0,
    onset: float = 2.0,
    stimulus: str = "story",
    sentence_starts: tuple[float, ...] = (0.0, 7.0, 14.0, 21.0, 28.0, 35.0, 42.0, 49.0, 56.0, 63.0),
    length: float = 70.0,
    run: str = "",
    bad: tuple[str, ...] = (),
) -> FakeRecording:
    """`stimulus` is heard from `onset`; each sentence holds a word every 0.7 s."""
    times = np.arange(round(seconds * sfreq)) / sfreq
    values = {n: int(n[1:]) - 1 for n in names}
    signal = np.stack([times + 100 * values[n] for n in names]).astype(np.float32)
    rows = [dict(onset=onset, duration=length, kind="stimulus", label=stimulus, stimulus=stimulus, stimulus_onset=0.0)]
    for start in sentence_starts:
        text = f"{stimulus} sentence number {start:g} of them"
        rows.append(dict(onset=onset + start, kind="sentence", label=text, stimulus=stimulus, stimulus_onset=start))
        for k in range(10):
            at = start + 0.7 * k
            label = f"word{at:.1f}"
            rows.append(dict(onset=onset + at, kind="word", label=label, stimulus=stimulus, stimulus_onset=at))
    table = channel_table(list(names), bad)
    name = f"sub-{subject}" + (f"_run-{run}" if run else "")
    return FakeRecording(name, subject, signal, table, events_table(rows), sfreq=sfreq, run=run)


def ramp_store(*recordings: FakeRecording) -> FakeStore:
    names = {r.events.loc[r.events["kind"] == "stimulus", "stimulus"].iloc[0] for r in recordings}
    return FakeStore(list(recordings), {n: FakeStimulus(n, f"hash-of-{n}") for n in sorted(names)})
