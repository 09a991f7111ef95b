"""Presets and cards: valid, commented, and what the cards expect is what the presets make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.config import CohortCard, SimulationSettings, load_settings
from neurodecode.resources import resource_folder
from neurodecode.simulation.cohort import order_runs
from neurodecode.simulation.speech import load_speech

PRESETS = sorted((resource_folder("configs") / "simulation").glob("*.yaml"))
CARDS = sorted(resource_folder("datasets").glob("simulated_*.yaml"))


def test_the_presets_are_those_that_the_docs_name() -> None:
    assert [path.stem for path in PRESETS] == [
        "ablations",
        "demo",
        "easy",
        "eeg",
        "noise",
        "seeg",
        "seeg_words",
        "tiny",
    ]
    assert [path.stem for path in CARDS] == ["simulated_eeg", "simulated_meg", "simulated_seeg", "simulated_seeg_words"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_is_valid_and_every_key_is_commented(path: Path) -> None:
    load_settings(SimulationSettings, path, "configs/simulation")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all("#" in line for line in lines if line.strip())


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_a_card_expects_the_recordings_that_its_preset_makes(path: Path) -> None:
    card = load_settings(CohortCard, path, "datasets")
    settings = load_settings(SimulationSettings, card.simulate, "configs/simulation")
    assert (card.name, card.expected_subjects, card.line_frequency) == (
        settings.name,
        settings.subjects,
        settings.line_noise,
    )
    if settings.words is not None:
        files = settings.words.runs + bool(settings.words.conversation_seconds)
        assert card.expected_recordings == settings.subjects * files
        return
    runs = order_runs(settings, load_speech(settings.speech, settings.stories), np.random.default_rng(0))
    assert card.expected_recordings == settings.subjects * len(runs)
    assert all(120 < run.n_samples / settings.sfreq < 300 for run in runs)
