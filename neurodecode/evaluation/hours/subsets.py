"""Nested parts of the training data: whole blocks of stimulus, for all listeners alike, and the hours they hold.

In: the WindowIndex of a fold. Out: the same index with fewer training windows; test windows stay as they are.

Blocks are put into a random order once; a fraction takes the first of them, so a smaller part lies inside every larger one.
The order begins with blocks that between them reach everything that is scaled or fitted by itself (recordings, sessions or
subjects), or a small part could not be trained on at all. Fewer hours are then also fewer sentences, as in a shorter
experiment. Validation windows are taken from none and given to none: they only say when to stop.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodecode.errors import NeurodecodeError
from neurodecode.segments.windows import WindowIndex


def block_order(index: WindowIndex, seed: int) -> np.ndarray:
    """Numbers of the training blocks in a random order whose beginning reaches every recording's scope and subject."""
    rows = index.rows("train")
    blocks = index.table["block"].to_numpy()[rows]
    # random, then steadied: the same blocks whatever order they came in
    order = np.random.default_rng(seed).permutation(np.unique(blocks))
    reach = _reach(index, rows)
    heard: dict[int, set[str]] = {}
    for block, names in zip(blocks.tolist(), reach):
        heard.setdefault(block, set()).update(names)
    missing: set[str] = set().union(*heard.values())
    first: list[int] = []
    while missing:
        # the block that reaches most of what is missing; among equals the first of the random order
        best = max(order.tolist(), key=lambda block: len(heard[block] & missing))
        first.append(best)
        missing -= heard[best]
    rest = [block for block in order.tolist() if block not in set(first)]
    return np.array(first + rest, np.int64)


def smallest_count(index: WindowIndex, order: np.ndarray) -> int:
    """How many blocks of the order it takes until everything that is scaled by itself has training windows."""
    rows = index.rows("train")
    blocks = index.table["block"].to_numpy()[rows]
    reach = _reach(index, rows)
    wanted: set[str] = set().union(*reach)
    found: set[str] = set()
    for number, block in enumerate(order.tolist(), start=1):
        found |= {name for b, names in zip(blocks.tolist(), reach) if b == block for name in names}
        if found == wanted:
            return number
    return len(order)


def _reach(index: WindowIndex, rows: np.ndarray) -> list[frozenset[str]]:
    """For each row, what it gives training windows to: its subject, and the scope of its scaler."""
    scope = index.settings.scaling.scope
    names = []
    for recording in index.recordings:
        inside = {f"subject {recording.subject}"}
        if scope == "recording":
            inside.add(f"recording {recording.name}")
        elif scope == "session":
            inside.add(f"session {recording.subject} {recording.session}")
        names.append(frozenset(inside))
    return [names[r] for r in index.table["recording"].to_numpy()[rows].tolist()]


def part_of(index: WindowIndex, order: np.ndarray, fraction: float) -> WindowIndex:
    """The index with the first `fraction` of the blocks as training windows; the others are on no side.

    Raises
    ------
    NeurodecodeError
        If so few blocks leave a recording, session or subject without training windows.
    """
    count = max(1, round(fraction * len(order)))
    needed = smallest_count(index, order)
    if count < needed:
        scope = index.settings.scaling.scope
        raise NeurodecodeError(
            f"{index.fold_name}: {fraction:g} of the training data is {count} of {len(order)} blocks, but {needed} are needed "
            f"for each {scope} to have one; use larger --fractions, or segments.scaling.scope=subject"
        )
    split = index.table["split"].to_numpy().astype(object)
    left_out = (split == "train") & ~np.isin(index.table["block"].to_numpy(), order[:count])
    return replace(index, table=index.table.assign(split=np.where(left_out, "", split)))


def without_validation(index: WindowIndex) -> WindowIndex:
    """The index with no validation windows: what is fitted then reads the training windows alone."""
    split = index.table["split"].to_numpy()
    return replace(index, table=index.table.assign(split=np.where(split == "valid", "", split)))


def training_hours(index: WindowIndex) -> float:
    """Hours of brain signal a subject that training windows cover, each moment once; mean over subjects."""
    rows = index.rows("train")
    table = index.table.iloc[rows]
    recording, start = table["recording"].to_numpy(), table["start"].to_numpy()
    order = np.lexsort((start, recording))
    recording, start = recording[order], start[order]
    fresh = np.full(len(start), index.n_times)
    same = np.diff(recording) == 0
    fresh[1:][same] = np.minimum(np.diff(start)[same], index.n_times)
    subjects = max(1, table["subject"].nunique())
    return float(fresh.sum() / index.sfreq / 3600 / subjects)
