"""The bar shows itself to people only, and counts what was done."""

from __future__ import annotations

import io
import sys

import pytest

from neurodecode.progress import Bar, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar(wanted=True) as bar:
        bar.stage("work", 3)(2)
    assert list(watched([1, 2], "work", wanted=True)) == [1, 2]
    assert stream.getvalue() == ""


def test_a_bar_that_is_not_wanted_is_silent_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(watched([1, 2], "work", wanted=False)) == [1, 2]
    assert stream.getvalue() == ""


def test_on_a_terminal_stages_are_named_and_steps_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar(wanted=True) as bar:
        step = bar.stage("first", 4)
        step()
        step(2)
        bar.stage("second", None)(1)
        assert [(task.description, task.completed) for task in bar.progress.tasks] == [("first", 3), ("second", 1)]
    assert "first" in stream.getvalue()
    assert "second" in stream.getvalue()


def test_watched_items_are_counted_and_an_empty_list_opens_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(watched(["a", "b"], "items", wanted=True)) == ["a", "b"]
    assert "100%" in stream.getvalue()
    assert list(watched([], "nothing", wanted=True)) == []
    assert "nothing" not in stream.getvalue()
