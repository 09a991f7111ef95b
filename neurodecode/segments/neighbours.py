"""Neighbours of a window: which other windows of its block begin some steps earlier and later.

In: the WindowIndex of a fold, and how many neighbours at what distance. Out: a table of rows, -1 where there is none.

A neighbour is a window of the training anchors (the same grid for all sides, so that a test window meets what training
windows met) of the same recording, side, block and hearing, with no bad span between the two. Blocks stand on one side, so
nothing that is heard on another side is ever a neighbour; `audit_neighbours` looks at the windows themselves all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurodecode.config import ContextSettings
from neurodecode.errors import LeakageError
from neurodecode.segments.audit import audit_split
from neurodecode.segments.windows import SAME_PLACE, WindowIndex

NONE = -1  # no such neighbour
SIDES = ("train", "valid", "test")


def find_neighbours(index: WindowIndex, settings: ContextSettings) -> np.ndarray:
    """Rows of each window's neighbours in the order of time, itself in the middle.

    Parameters
    ----------
    index
        With a fold chosen.
    settings
        `windows` K and `step`.

    Returns
    -------
    np.ndarray
        [rows of the index, K] int64. The neighbour of place k is the nearest to k steps away, at most half a step off;
        rows that stand on no side have none.
    """
    table = index.table
    start = table["start"].to_numpy(np.int64)
    asked = np.flatnonzero(table["split"].to_numpy() != "")
    pool = _pool(index)
    group = _stretches(index)
    step = settings.step * index.sfreq  # samples
    middle = settings.windows // 2
    # one axis for all stretches, so far apart that none reaches another
    reach = int(np.ceil(step * (middle + 1)))
    axis = group * (int(start.max(initial=0)) + 4 * reach) + start
    order = pool[np.argsort(axis[pool], kind="stable")]
    result = np.full((len(table), settings.windows), NONE, np.int64)
    result[asked, middle] = asked
    if not len(order):
        return result
    for place in range(settings.windows):
        if place == middle:
            continue
        wanted = axis[asked] + (place - middle) * step
        right = np.searchsorted(axis[order], wanted)
        near = np.stack([order[np.clip(right + side, 0, len(order) - 1)] for side in (-1, 0)])  # [2, asked]
        off = np.abs(axis[near] - wanted)
        best = np.argmin(off, axis=0)
        columns = np.arange(len(asked))
        found = off[best, columns] < step / 2
        result[asked[found], place] = near[best, columns][found]
    return result


def _pool(index: WindowIndex) -> np.ndarray:
    """Rows that may be neighbours: the training anchors on any side, those in tested blocks among them."""
    table = index.table
    split, grid = table["split"].to_numpy(), table["anchors"].to_numpy() == "train"
    place = table["recording"].to_numpy(np.int64) * (len(index.blocks) + 1) + table["block"].to_numpy(np.int64)
    tested = np.isin(place, place[split == "test"])
    return np.flatnonzero(grid & ((split != "") | tested))


def _stretches(index: WindowIndex) -> np.ndarray:
    """Number [rows] of the stretch of signal: same recording, block and hearing, and no bad span inside."""
    table = index.table
    recording, block = table["recording"].to_numpy(np.int64), table["block"].to_numpy(np.int64)
    start = table["start"].to_numpy(np.int64)
    bad = np.zeros(len(table), np.int64)  # bad spans before the window; none lies inside one
    for number, stored in enumerate(index.recordings):
        here = recording == number
        begins = np.sort(np.array([begin for begin, _ in stored.bad_spans], float)) * index.sfreq
        bad[here] = np.searchsorted(begins, start[here] + 1e-3, side="right")
    # one hearing of a stimulus has one distance between the clocks; what drifts between two windows is far less
    clocks = start / index.sfreq - table["stimulus_start"].to_numpy(float)
    order = np.lexsort((start, bad, block, recording))
    new = np.ones(len(table), bool)
    same = np.ones(max(0, len(table) - 1), bool)
    for values in (recording, block, bad):
        same &= np.diff(values[order]) == 0
    new[1:] = ~same | (np.abs(np.diff(clocks[order])) > SAME_PLACE)
    result = np.empty(len(table), np.int64)
    result[order] = np.cumsum(new) - 1
    return result


def audit_neighbours(index: WindowIndex, neighbours: np.ndarray) -> dict[str, Any]:
    """The audit of the split once more, with every neighbour on the side of those it is shown with.

    Returns
    -------
    dict
        `context_windows`: windows that are no window of a side themselves.

    Raises
    ------
    LeakageError
        If a window is shown on two sides, or shares a second, block or sentence with another side.
    """
    split = index.table["split"].to_numpy().astype(object).copy()
    before = (split != "").sum()
    for side in SIDES:
        shown = np.unique(neighbours[index.rows(side)])
        shown = shown[shown != NONE]
        wrong = shown[(split[shown] != "") & (split[shown] != side)]
        if len(wrong):
            raise LeakageError(
                f"{index.fold_name}: window {int(wrong[0])} stands in {split[wrong[0]]} and is shown as a neighbour in {side}"
            )
        split[shown] = side
    audit_split(replace(index, table=index.table.assign(split=split)))
    return {"context_windows": int((split != "").sum() - before)}
