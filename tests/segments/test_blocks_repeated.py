"""Blocks belong to a stimulus, not to how often it was played."""

from __future__ import annotations

from neurodecode.config import SplitSettings
from neurodecode.recordings.recording import events_table
from neurodecode.segments.blocks import Block, assign, sentences_of_stimulus, sides_of_blocks


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
