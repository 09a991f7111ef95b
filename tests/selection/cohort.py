"""Runs of labelled noise in which chosen contacts alone carry the label: a burst of 20 Hz whose size tells the word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.recordings.recording import events_table
from tests.segments.fakes import FakeStore
from tests.training.codebook_cohort import Run

RATE, TRIAL, LENGTH = 100.0, 100, 60  # Hz, samples from one onset to the next, samples of a window
WORDS = ("ba", "da", "ga")
NAMES = ("A'1", "A'2", "A'3", "B1", "B2", "B3", "C1", "C2")
REGIONS = ("wm-lh-precentral", "ctx-lh-precentral", "ctx-lh-precentral", "insula", "insula", "", "STG", "right STG")


def labelled_run(
    number: int,
    carriers: Sequence[int],
    *,
    subject: str = "01",
    trials: int = 30,
    early: bool = False,
    artefact: int | None = None,
    names: Sequence[str] = NAMES,
) -> Run:
    """One run; `carriers` tell the word after the onset (`early`: before it, too), and so does `artefact` after it only."""
    rng = np.random.default_rng([int(subject), number])
    labels = rng.permutation(np.resize(WORDS, trials))
    onsets = 60 + TRIAL * np.arange(trials)
    signal = rng.standard_normal((len(names), TRIAL * trials + 60))
    wave = np.sin(2 * np.pi * 20 * np.arange(40) / RATE)
    for onset, label in zip(onsets, labels):
        size = 1.5 * WORDS.index(label)
        for channel in [*carriers, *([] if artefact is None else [artefact])]:
            signal[channel, onset + 5 : onset + 45] += size * wave
        for channel in carriers if early else ():
            signal[channel, onset - 45 : onset - 5] += size * wave
    rows = [{"onset": o / RATE, "duration": 0.4, "kind": "word", "label": w} for o, w in zip(onsets, labels)]
    table = pd.DataFrame(
        {
            "name": list(names),
            "x": np.arange(len(names)) / 100,
            "y": 0.01,
            "z": np.arange(len(names)) % 3 / 100,
            "x2d": np.nan,
            "y2d": np.nan,
            "shaft": [name.rstrip("0123456789") for name in names],
            "region": REGIONS[: len(names)],
            "bad": False,
        }
    )
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


def store_of(*runs: Run) -> FakeStore:
    """Runs of any subjects."""
    return FakeStore(list(runs), {}, Path("fake-store"))


def four_runs(carriers: Sequence[int], subject: str = "01", **changes: object) -> list[Run]:
    """Runs 1 and 2 train, 3 validates, 4 tests."""
    return [labelled_run(number, carriers, subject=subject, **changes) for number in (1, 2, 3, 4)]  # type: ignore[arg-type]
