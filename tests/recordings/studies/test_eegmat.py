"""Rest and arithmetic: labels from file names, cuts end to end, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.sources import expand_source


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    for state in "12":
        shutil.copy(shared_data / "eegmat" / f"Subject00_{state}.edf", tmp_path)
    return tmp_path


def card(root: Path, **options: object) -> CohortCard:
    return CohortCard(name="eegmat", adapter="eegmat", root=root, options=options)


@pytest.mark.shared_data
def test_labels_come_from_file_names_and_cuts_lie_end_to_end(folder: Path) -> None:
    rest, arithmetic = [source.open() for source in expand_source(card(folder, seconds=5))]
    assert (rest.name, arithmetic.name) == ("sub-00_task-rest_run-1", "sub-00_task-arithmetic_run-2")
    assert rest.raw.times[-1] == pytest.approx(182, abs=0.01)
    assert rest.events["onset"].tolist() == [5.0 * k for k in range(36)]
    assert set(rest.events["label"]) == {"rest"}
    assert set(arithmetic.events["label"]) == {"arithmetic"}
    assert set(arithmetic.events["kind"]) == {"state"}
    assert len(arithmetic.events) == 12  # of 62 s
    assert rest.raw.get_channel_types().count("eeg") == 19
    assert any("36 cuts of 5 s" in note.line() for note in rest.notes)


@pytest.mark.shared_data
def test_a_person_without_one_of_the_states_and_odd_cuts_are_refused(folder: Path) -> None:
    for wrong in (0, -1, "four", True):
        with pytest.raises(RecordingError, match=r"options.seconds is .*; give the length of a cut in s"):
            expand_source(card(folder, seconds=wrong))
    with pytest.raises(RecordingError, match="Subject00_2.edf: lasts 62 s, less than options.seconds"):
        expand_source(card(folder, seconds=100))[1].open()
    (folder / "Subject00_1.edf").unlink()
    with pytest.raises(RecordingError, match="Subject00_1.edf: missing, so Subject00 has no rest"):
        expand_source(card(folder))


def test_a_folder_without_files_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no Subject00_1.edf"):
        expand_source(card(tmp_path))
