"""Blocks belong to a stimulus, not to how often it was played."""

from __future__ import annotations

from neurodecode.recordings.recording import events_table
from neurodecode.segments.blocks import sentences_of_stimulus


def test_a_stimulus_heard_twice_lists_each_sentence_once() -> None:
    rows = [
        dict(onset=begin + at, kind="sentence", label=text, stimulus="story", stimulus_onset=at + jitter)
        for begin, jitter in ((0.0, 0.0), (100.0, 0.003))
        for at, text in ((0.0, "one"), (3.0, "two"), (6.0, "one"))
    ]
    assert [text for _, text in sentences_of_stimulus(events_table(rows), "story")] == ["one", "two", "one"]
