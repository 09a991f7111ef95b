"""Blocks belong to a stimulus, not to how often it was played."""

from __future__ import annotations

import pytest

from neurodecode.config import SegmentSettings, SplitSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.recordings.recording import events_table
from neurodecode.segments.blocks import Block, assign, sentences_of_stimulus, sides_of_blocks, uids_of_sentences
from neurodecode.segments.windows import build_windows
from tests.segments.fakes import ramp_recording, ramp_store


def test_a_stimulus_heard_twice_lists_each_sentence_once() -> None:
    rows = [
        dict(onset=begin + at, kind="sentence", label=text, stimulus="story", stimulus_onset=at + jitter)
        for begin, jitter in ((0.0, 0.0), (100.0, 0.003))
        for at, text in ((0.0, "one"), (3.0, "two"), (6.0, "one"))
    ]
    assert [text for _, text in sentences_of_stimulus(events_table(rows), "story")] == ["one", "two", "one"]


def block(*sentences: str) -> Block:
    return Block(",".join(sentences), 0.0, 1.0, sentences)


def test_blocks_that_share_a_long_sentence_stand_on_one_side_and_the_others_where_their_hash_puts_them() -> None:
    refrain = "the sea gives and the sea takes"
    blocks = [block(f"sentence number {k} of a long story", *([refrain] if k % 5 == 0 else [])) for k in range(60)]
    blocks += [block(f"and another story told in part {k}", "Yes.") for k in range(40)]
    settings = SplitSettings()
    own = [assign(b.uid, settings) for b in blocks]
    sides = sides_of_blocks(blocks, settings)
    sharing = [refrain in b.sentences for b in blocks]
    assert len({own[k] for k in range(100) if sharing[k]}) > 1
    assert len({sides[k] for k in range(100) if sharing[k]}) == 1
    assert [sides[k] for k in range(100) if not sharing[k]] == [own[k] for k in range(100) if not sharing[k]]
    assert sides_of_blocks(blocks, SplitSettings(repeated="error")) == own


def test_sides_do_not_depend_on_the_order_of_blocks_and_groups_join_through_a_chain() -> None:
    blocks = [
        block("a quiet morning on the quay", "he rowed out past the light"),
        block("He rowed out, past the light!", "nobody saw him come back"),
        block("nobody saw him come back", "the gulls went on crying"),
        block("something else altogether was said"),
    ]
    for seed in range(20):
        settings = SplitSettings(seed=seed)
        sides = sides_of_blocks(blocks, settings)
        assert sides[0] == sides[1] == sides[2]
        assert sides_of_blocks(blocks[::-1], settings) == sides[::-1]
        assert sides[3] == assign(blocks[3].uid, settings)


def test_blocks_go_by_the_numbers_of_their_sentences_on_request() -> None:
    recording = ramp_recording()
    sentences = recording.events.index[recording.events["kind"] == "sentence"]
    numbers = [40, 7, 7, 12, 3, 88, 5, 61, 9, 10]
    recording.events.loc[sentences, "sequence_uid"] = [float(n) for n in numbers]
    settings = SegmentSettings.model_validate({"split": {"hashed": "uid", "block_seconds": 10.0}})
    index = build_windows(ramp_store(recording), settings)
    assert [block.uid for block in index.blocks] == ["40,7", "7,12", "3,88", "5,61", "9,10"]
    assert sides_of_blocks(index.blocks, settings.split) == [assign(b.uid, settings.split) for b in index.blocks]
    # a text goes by one number in all recordings, also where a row states none
    other = ramp_recording("02", onset=4.0)
    both = build_windows(ramp_store(other, recording), settings)
    assert {block.uid for block in both.blocks} == {block.uid for block in index.blocks}
    recording.events.loc[sentences[0], "sequence_uid"] = float("nan")
    with pytest.warns(
        UserWarning, match="1 sentences have no sequence_uid, for example 'story sentence number 0 of them'"
    ):
        index = build_windows(ramp_store(recording), settings)
    assert index.blocks[0].uid == "story sentence number 0 of them,7"
    with pytest.raises(
        NeurodecodeError, match="hashed is uid, and no row of kind sentence has a sequence_uid"
    ) as error:
        build_windows(ramp_store(other), settings)
    assert "\n" not in str(error.value)


def test_a_text_with_two_numbers_goes_by_the_least() -> None:
    rows = [
        dict(onset=float(k), kind="sentence", label=text, stimulus="a", stimulus_onset=float(k), sequence_uid=uid)
        for k, (text, uid) in enumerate([("x", 9.0), ("y", 2.0), ("x", 10.0)])
    ]
    tables = [events_table(rows[2:]), events_table(rows[:2])]
    assert uids_of_sentences(tables) == uids_of_sentences(tables[::-1]) == {"x": "9", "y": "2"}
