"""Warnings of many recordings become a few lines with counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.recordings.recording import Note
from neurodecode.store import notes as module
from neurodecode.store.notes import warning_lines


class Noted:
    """A store of which only the notes are asked."""

    def __init__(self, *notes: list[Note]) -> None:
        self.recordings = [type("Recording", (), {"notes": each})() for each in notes]


def test_one_line_a_kind_with_how_many_more_and_where_all_of_them_are(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Note("study", "2 of 4 recordings are not there: a, b", "the cohort goes without", "warning")
    words = [Note(f"align{n}.json", f"{n} of 9 words were not aligned", "left out", "warning") for n in (3, 4, 5)]
    harmless = Note("study", "names have blanks", "cut")
    notes = [[absent, words[0], harmless], [words[1]], [words[2]]]
    monkeypatch.setattr(module, "Store", lambda path: Noted(*notes))
    assert warning_lines(Path("store")) == [
        "warning: study: 2 of 4 recordings are not there: a, b; the cohort goes without",
        "warning: align3.json: 3 of 9 words were not aligned; left out (2 more of this kind)",
        "all of them: neurodecode inspect store",
    ]
    monkeypatch.setattr(module, "Store", lambda path: Noted([absent, harmless]))
    assert len(warning_lines(Path("store"))) == 1
    monkeypatch.setattr(module, "Store", lambda path: Noted([harmless]))
    assert warning_lines(Path("store")) == []


def test_what_is_too_much_to_show_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = [Note("f", letter, "kept", "warning") for letter in "abcdefghijklmnopq"]
    monkeypatch.setattr(module, "Store", lambda path: Noted(notes))
    lines = warning_lines(Path("store"))
    assert lines[0] == "warning: f: a; kept"
    assert len(lines) == 13
    assert lines[-1].startswith("5 further kinds of warnings; all of them: ")
