"""Small cohorts of this room: one story, few channels, so that each takes a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest

from neurodecode.config import SimulationSettings

ENDINGS = {"meg": "meg/*_meg.fif", "eeg": "eeg/*_eeg.vhdr", "seeg": "ieeg/*_ieeg.edf"}


def small(**changes: object) -> SimulationSettings:
    """Settings of a cohort of one 55 s story."""
    values = {"subjects": 1, "channels": 16, "sfreq": 100, "stories": 1, "line_noise": None, "seed": 3} | changes
    return SimulationSettings.model_validate(values)


def data_files(root: Path, modality: str = "meg") -> list[Path]:
    """Data files of a cohort, by subject and run."""
    return sorted(root.glob(f"sub-*/{ENDINGS[modality]}"))


def read(path: Path) -> np.ndarray:
    """Signal [channels, samples] in V or T, read by MNE."""
    return np.asarray(mne.io.read_raw(path, preload=True, verbose="error").get_data())


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a small cohort, each of a set of settings once."""
    from neurodecode.simulation.simulate import simulate

    made: dict[str, Path] = {}

    def of(**changes: object) -> Path:
        settings = small(**changes)
        key = settings.model_dump_json()
        if key not in made:
            made[key] = simulate(settings, tmp_path_factory.mktemp("simulated") / "cohort")
        return made[key]

    return of
