"""A cohort whose brain is a delayed linear mixture of what was heard, plus noise, so that a ridge can solve it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from neurodecode.config import SegmentSettings
from neurodecode.recordings.recording import events_table
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.segments.fakes import FakeFeature, FakeRecording, FakeStimulus, FakeStore, channel_table

SFREQ = 40.0
SECONDS = 60.0
DELAY = 0.15
STIMULI = ("alpha", "beta", "gamma", "delta")


class ToyFeatures:
    """Three smooth random dimensions for each stimulus, 50 frames a second."""

    dimension = 3

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.values = {
            name: gaussian_filter1d(rng.normal(size=(int(SECONDS * 50), 3)), 3, axis=0).astype(np.float32) * 4
            for name in STIMULI
        }

    def get(self, name: str) -> FakeFeature:
        return FakeFeature(self.values[name], 50.0, 0.0)


def toy_store(features: ToyFeatures, noise: float, subjects: int = 2, channels: int = 6, seed: int = 1) -> FakeStore:
    """Each subject hears each stimulus once, each in a run of its own; `noise` 0 is a perfect recording."""
    rng = np.random.default_rng(seed)
    recordings = []
    for subject in range(subjects):
        mixing = rng.normal(size=(channels, 3))
        for run, name in enumerate(STIMULI):
            times = np.arange(round((SECONDS + 2) * SFREQ)) / SFREQ - 1.0 - DELAY  # heard from second 1 on
            frames = np.arange(len(features.values[name])) / 50.0
            heard = np.stack([np.interp(times, frames, v, left=0, right=0) for v in features.values[name].T])
            signal = mixing @ heard + noise * rng.normal(size=(channels, len(times)))
            rows = [dict(onset=1.0, duration=SECONDS, kind="stimulus", label=name, stimulus=name, stimulus_onset=0.0)]
            for start in np.arange(0, SECONDS, 6.0):
                text = f"{name} says a sentence at {start:g}"
                rows.append(dict(onset=1 + start, kind="sentence", label=text, stimulus=name, stimulus_onset=start))
                for k in range(12):
                    at = start + 0.5 * k
                    word = f"word{int(at * 2) % 7}"
                    rows.append(dict(onset=1 + at, kind="word", label=word, stimulus=name, stimulus_onset=at))
            recordings.append(
                FakeRecording(
                    f"sub-{subject}_run-{run}",
                    f"{subject}",
                    signal.astype(np.float32) * 1e-6,
                    channel_table([f"A{i + 1}" for i in range(channels)]),
                    events_table(rows),
                    sfreq=SFREQ,
                    run=f"{run}",
                )
            )
    for recording in recordings:
        recording.simulated = True  # type: ignore[attr-defined]
        recording.sha256_signal = recording.name * 2  # type: ignore[attr-defined]
    return FakeStore(recordings, {n: FakeStimulus(n, f"hash-{n}") for n in STIMULI})


def toy_settings(rule: str = "content", shift: float = 0.15, **window: object) -> SegmentSettings:
    anchors = {"kind": "stride", "stride": 1.0}
    return SegmentSettings.model_validate(
        {
            "window": {"tmin": 0.0, "tmax": 3.0, "closed": False, "baseline": None, "shift": shift, **window},
            "train_anchors": anchors,
            "test_anchors": anchors if rule != "content" else {"kind": "event", "event": "word"},
            "split": {"rule": rule, "valid": 0.15, "test": 0.3, "block_seconds": 5.0, "seed": 3},
            "scaling": {"scope": "subject"},
        }
    )


def toy_source(
    noise: float, rule: str = "content", shift: float = 0.15, fold: int = 0, seed: int = 0, **store: int
) -> tuple[BatchSource, WindowIndex]:
    """A source with fitted scalers for one fold."""
    features = ToyFeatures(seed)
    index = build_windows(toy_store(features, noise, seed=seed + 1, **store), toy_settings(rule, shift))
    chosen = index.fold(index.folds[fold])
    source = BatchSource(chosen, features)
    source.fit_scalers()
    return source, chosen
