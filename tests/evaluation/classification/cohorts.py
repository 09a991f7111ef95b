"""Cohorts without files: noise in which each word has a frequency of its own, in every person or in none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config.base import validate
from neurodecode.config.baselines import BaselineSettings
from tests.segments.fakes import FakeStore
from tests.training.codebook_cohort import run

WINDOW = {"tmin": -0.1, "tmax": 0.5, "closed": False, "baseline": None, "shift": 0.0}  # 60 samples at 100 Hz
COHORT = {"scope": "cohort", "brain": "standard", "feature": "none"}
BANDS = {"bands": [[1, 5], [5, 11], [11, 17], [17, 30]]}
CHANNELS = ("A1", "A2", "A3")


def cohort(people: int = 1, trials: int = 32, runs: tuple[int, ...] = (1, 2, 3, 4)) -> FakeStore:
    made = [run(str(person), number, CHANNELS, trials) for person in range(1, people + 1) for number in runs]
    return FakeStore(made, {}, Path("fake-store"))


def noise(people: int = 1, trials: int = 32) -> FakeStore:
    """The same labels at the same times, and signals that know nothing of them."""
    store = cohort(people, trials)
    for number, recording in enumerate(store.recordings):
        recording.signal = 1e-5 * np.random.default_rng(number).standard_normal(recording.signal.shape).astype(
            np.float32
        )
    return store


def coloured(store: FakeStore) -> FakeStore:
    """Each person's amplifier passes each frequency with a gain of its own."""
    for recording in store.recordings:
        spectrum = np.fft.rfft(recording.signal)
        frequencies = np.fft.rfftfreq(recording.signal.shape[1], 1 / recording.sfreq)
        log_gain = np.random.default_rng(int(recording.subject)).uniform(-0.7, 0.7, 5)
        gain = 10.0 ** np.interp(frequencies, [3, 8, 14, 21, 30], log_gain)
        recording.signal = np.fft.irfft(spectrum * gain, recording.signal.shape[1]).astype(np.float32)
    return store


def settings(methods: dict[str, Any], **changes: Any) -> BaselineSettings:
    labels = {"window": WINDOW} | changes.pop("labels", {})
    return validate(BaselineSettings, {"labels": labels, "methods": methods, "seeds": [0]} | changes, "test")


def people_held_out() -> dict[str, Any]:
    return {"split": {"rule": "subjects"}, "scaling": COHORT}
