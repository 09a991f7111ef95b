"""A cohort with other recordings or people than its card expects is told, not refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from neurodecode.config import CohortCard
from neurodecode.pipeline.cohort import find_cohort
from neurodecode.recordings import sources
from neurodecode.recordings.recording import RecordingSource


@pytest.mark.parametrize(
    ("recordings", "subjects", "told"),
    [
        (3, 2, []),
        (None, None, []),
        (4, 2, ["some: 3 recordings found, the card expects 4"]),
        (3, 3, ["some: 2 subjects found, the card expects 3"]),
        (2, 1, ["some: 3 recordings found, the card expects 2", "some: 2 subjects found, the card expects 1"]),
    ],
)
def test_other_numbers_of_recordings_and_subjects_are_told(recordings, subjects, told, monkeypatch) -> None:
    found = [RecordingSource(Path(f"{k}.edf"), subject=name) for k, name in enumerate(("a", "b", "b"))]
    monkeypatch.setattr(sources, "expand_source", lambda card: found)
    card = CohortCard(name="some", expected_recordings=recordings, expected_subjects=subjects)
    said: list[str] = []
    assert find_cohort(card, Path("out"), SimpleNamespace(say=said.append))[0] == found
    assert said == told
