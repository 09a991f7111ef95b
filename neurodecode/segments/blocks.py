"""Blocks: the stretches of a stimulus that a split may not cut through, and the hash that assigns them.

A block is what the paper calls a segment of the recording between two sentence starts, merged until longer than 6 s
(Défossez et al. 2023; specs: section 3.3). Its identity is its text, or the stimulus' content hash and place when there
is no text, so the same words go to the same side of a split for every subject and repetition.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from neurodecode.config import SplitSettings

LONG_SENTENCE = 4  # words; shorter ones ("yes.") recur in any language and give nothing away
SAME_SENTENCE = 0.1  # s: rows of one text closer than this are one sentence, played again


@dataclass(frozen=True)
class Block:
    """A stretch of one stimulus.

    Attributes
    ----------
    uid
        Text of its sentences joined by commas, or their numbers (`named_by`), or `<content hash>@<index>` without text.
    start, stop
        Seconds of the stimulus; `stop` of the last block is infinite.
    sentences
        The sentences it holds, as written.
    """

    uid: str
    start: float
    stop: float
    sentences: tuple[str, ...] = ()


def blocks_of_stimulus(
    sentences: Sequence[tuple[float, str]], content: str, seconds: float, settings: SplitSettings
) -> list[Block]:
    """Cut one stimulus into blocks.

    Parameters
    ----------
    sentences
        (onset in the stimulus, s; text), sorted; may be empty.
    content
        Content hash of the stimulus, used where there is no text.
    seconds
        Length of the stimulus, s.
    settings
        `unit` stimulus gives one block; otherwise sentences are merged until longer than `block_seconds`, and stimuli
        without sentences are cut every `block_seconds`.
    """
    texts = tuple(text for _, text in sentences)
    if settings.unit == "stimulus":
        return [Block(",".join(texts) or f"{content}@0", 0.0, float("inf"), texts)]
    if not sentences:
        count = max(1, int(seconds // settings.block_seconds))
        edges = [i * settings.block_seconds for i in range(count)] + [float("inf")]
        return [Block(f"{content}@{i}", edges[i], edges[i + 1]) for i in range(count)]
    blocks = merged_blocks(sentences, settings.block_seconds)
    # a short rest at the end would offer no window: it joins the block before it
    if len(blocks) > 1 and max(seconds, sentences[-1][0]) - blocks[-1].start <= settings.block_seconds:
        rest = blocks.pop()
        members = blocks[-1].sentences + rest.sentences
        blocks[-1] = Block(",".join(members), blocks[-1].start, rest.stop, members)
    return blocks


def merged_blocks(sentences: Sequence[tuple[float, str]], longer_than: float) -> list[Block]:
    """Sentences merged, in their order, into blocks longer than so many seconds, as published.

    Each sentence lasts until the next one begins. The first block begins at 0, whenever the first sentence does; the last
    one has no end, so it counts as long whatever is left for it.

    Parameters
    ----------
    sentences
        (onset, s; text), sorted, at least one; the clock may be that of a stimulus or of a recording.
    longer_than
        s (paper: 6).
    """
    result: list[Block] = []
    start, members = 0.0, []
    for i, (_, text) in enumerate(sentences):
        members.append(text)
        stop = sentences[i + 1][0] if i + 1 < len(sentences) else float("inf")
        if stop - start > longer_than:
            result.append(Block(",".join(members), start, stop, tuple(members)))
            start, members = stop, []
    return result


def assign(uid: str, settings: SplitSettings) -> str:
    """Side of a block: `test`, `valid` or `train`.

    The first uniform draw of Python's generator seeded with the SHA-256 of the text plus the split seed
    (specs: section 3.3), so it depends on nothing but the text.
    """
    seed = int(hashlib.sha256(uid.encode()).hexdigest(), 16) + settings.seed
    draw = random.Random(seed).random()
    if draw < settings.test:
        return "test"
    return "valid" if draw < settings.test + settings.valid else "train"


def sides_of_blocks(blocks: Sequence[Block], settings: SplitSettings) -> list[str]:
    """Side of each block; with `repeated` together, blocks that share a sentence of four words or more share a side.

    Without a shared sentence a block's side is that of its own hash, as published. A group takes the side of the first of
    its blocks in the order of their texts, so the outcome depends on nothing but texts.
    """
    own = [assign(block.uid, settings) for block in blocks]
    if settings.repeated != "together":
        return own  # the audit refuses what is shared, or counts it
    group = list(range(len(blocks)))

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = group[group[number]]
            number = group[number]
        return number

    holder: dict[str, int] = {}
    for number, block in enumerate(blocks):
        for text in long_sentences(block):
            group[root(number)] = root(holder.setdefault(text, number))
    first: dict[int, int] = {}
    for number in sorted(range(len(blocks)), key=lambda n: (blocks[n].uid, n)):
        first.setdefault(root(number), number)
    return [own[first[root(number)]] for number in range(len(blocks))]


def long_sentences(block: Block) -> set[str]:
    """Sentences of four words or more, in lower case, letters and digits only."""
    texts = ("".join(c if c.isalnum() else " " for c in s.lower()).split() for s in block.sentences)
    return {" ".join(words) for words in texts if len(words) >= LONG_SENTENCE}


def uids_of_sentences(tables: Sequence[pd.DataFrame]) -> dict[str, str]:
    """Text of a sentence -> the number that its row states as `sequence_uid`, of those that have one in any events table.

    A text with several numbers has the least of them, so that equal sentences go by one.
    """
    found: dict[str, int] = {}
    for events in tables:
        if "sequence_uid" in events:
            rows = events[events["kind"] == "sentence"]
            for text, uid in zip(rows["label"].astype(str), pd.to_numeric(rows["sequence_uid"], errors="coerce")):
                if pd.notna(uid):
                    found[text] = min(int(uid), found.get(text, int(uid)))
    return {text: str(uid) for text, uid in found.items()}


def named_by(block: Block, uids: Mapping[str, str]) -> Block:
    """The same block with numbers of sentences in its uid; a sentence without one keeps its text, as does other content."""
    return replace(block, uid=",".join(uids.get(s, s) for s in block.sentences)) if block.sentences else block


def sentences_of_recording(events: pd.DataFrame, stimuli: Collection[str]) -> list[tuple[float, str]]:
    """(onset in the recording, text) of all sentences of the known stimuli, sorted, from an events table."""
    rows = events[(events["kind"] == "sentence") & events["stimulus"].isin(list(stimuli)) & events["onset"].notna()]
    rows = rows.sort_values("onset", kind="stable")
    return list(zip(rows["onset"].astype(float), rows["label"].astype(str)))


def sentences_of_stimulus(events: pd.DataFrame, stimulus: str) -> list[tuple[float, str]]:
    """(onset in the stimulus, text) of the sentences of one stimulus, sorted, from an events table.

    A stimulus heard twice in a recording lists its sentences twice; each counts once, so that the blocks are those of the
    stimulus and not of how often it was played.
    """
    rows = events[(events["kind"] == "sentence") & (events["stimulus"] == stimulus)]
    rows = rows[rows["stimulus_onset"].notna()].sort_values("stimulus_onset", kind="stable")
    found: list[tuple[float, str]] = []
    for onset, text in zip(rows["stimulus_onset"].astype(float), rows["label"].astype(str)):
        if not found or text != found[-1][1] or onset - found[-1][0] > SAME_SENTENCE:
            found.append((onset, text))
    return found
