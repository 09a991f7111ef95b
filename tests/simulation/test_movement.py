"""Heads that move between runs, and artefacts as large as those of real sensors."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from neurodecode.config import validate
from neurodecode.errors import SettingsError
from neurodecode.files import read_json
from neurodecode.simulation.cohort import plan_cohort
from tests.simulation.conftest import data_files, read, small

TWO_RUNS = {"stories": 2, "run_seconds": 60}


@pytest.mark.parametrize("modality", ["meg", "eeg"])
def test_a_head_that_moves_is_seen_otherwise_by_the_later_runs_only(modality) -> None:
    still = plan_cohort(small(modality=modality, **TWO_RUNS)).subjects[0]
    moving = plan_cohort(small(modality=modality, movement=0.01, **TWO_RUNS)).subjects[0]
    assert still.moved == ()
    assert len(moving.runs) == 2
    assert len(moving.moved) == 1
    np.testing.assert_array_equal(moving.sensors.gain, still.sensors.gain)
    assert moving.at(0, 100).sensors is moving.sensors
    before, after = moving.sensors.gain, moving.at(1, 100).sensors.gain
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(before.T, after.T)]
    assert 0.3 < np.mean(alike) < 0.99  # it moved, but it is the same head


def test_only_the_first_run_is_as_it_would_be_without_movement(make) -> None:
    still = make(snr=2, **TWO_RUNS)
    moving = make(snr=2, movement=0.01, **TWO_RUNS)
    one, two = ([read(path) for path in data_files(root)] for root in (still, moving))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5, atol=1e-20)
    assert np.abs(one[1] - two[1]).max() > 0.1 * np.abs(one[1]).max()
    stated = [mne.io.read_info(path, verbose="error")["dev_head_t"]["trans"] for path in data_files(moving)]
    np.testing.assert_array_equal(stated[0], stated[1])
    assert read_json(moving / "simulation.json")["ceiling"]["ideal"]["top10"] > 0.5  # the observer knows where it moved


def test_artefacts_are_as_large_as_asked_for(make) -> None:
    peaks = [np.abs(read(data_files(make(artefacts=30, artefact_size=size))[0])).max() for size in (25, 1000)]
    assert 30 < peaks[1] / peaks[0] < 45


def test_contacts_cannot_move() -> None:
    with pytest.raises(SettingsError, match="movement must be 0 for seeg"):
        validate(type(small()), small(modality="seeg").model_dump() | {"movement": 0.01}, "x.yaml")
