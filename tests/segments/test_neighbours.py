"""Neighbours come from the same block, hearing and side, at their distance, and never from beyond a bad span."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodecode.config import ContextSettings, SegmentSettings
from neurodecode.errors import LeakageError
from neurodecode.segments.batches import BatchSource, with_neighbours
from neurodecode.segments.neighbours import NONE, audit_neighbours, find_neighbours
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.segments.fakes import FakeFeatures, FakeRecording, ramp_recording, ramp_store

FIVE = ContextSettings(windows=5, step=1.0)
SPLIT = {"seed": 3, "test": 0.3, "valid": 0.2, "block_seconds": 10.0}


def indexed(*recordings: FakeRecording, **changes) -> WindowIndex:
    values = {"split": SPLIT, "train_anchors": {"kind": "stride", "stride": 0.5}, **changes}
    return build_windows(ramp_store(*recordings), SegmentSettings.model_validate(values)).fold("fold-0")


def begins(index: WindowIndex) -> np.ndarray:
    """Second of the recording [rows] at which each window begins."""
    return index.table["start"].to_numpy() / index.sfreq


def test_neighbours_stand_at_their_distances_in_the_order_of_time_and_the_window_in_the_middle() -> None:
    index = indexed(ramp_recording())
    found, at = find_neighbours(index, FIVE), begins(index)
    rows = np.concatenate([index.rows(side) for side in ("train", "valid", "test")])
    assert (found[rows, 2] == rows).all()
    for place in (0, 1, 3, 4):
        there = found[rows, place] != NONE
        assert there.sum() > 10
        # training anchors lie half a second apart: the nearest is a quarter away, and more only where a block ends
        off = np.abs(at[found[rows[there], place]] - at[rows[there]] - (place - 2))
        assert off.max() < 0.5
        assert np.mean(off <= 0.25 + 1 / 120) > 0.9
    train = index.rows("train")
    there = found[train, 3] != NONE
    np.testing.assert_allclose(at[found[train[there], 3]] - at[train[there]], 1.0, atol=1 / 120)


def test_the_neighbours_of_a_block_are_those_that_fit_in_it() -> None:
    index = indexed(ramp_recording())
    found, at, blocks = find_neighbours(index, FIVE), begins(index), index.table["block"].to_numpy()
    train = index.rows("train")
    for row in train:
        for place in (0, 1, 3, 4):
            wanted = at[row] + place - 2
            fits = [r for r in train if blocks[r] == blocks[row] and abs(at[r] - wanted) < 0.1]
            assert found[row, place] == (fits[0] if fits else NONE)


def test_no_neighbour_crosses_the_border_of_a_block_so_none_is_of_another_side() -> None:
    index = indexed(ramp_recording("01"), ramp_recording("02", onset=5.3))
    found = find_neighbours(index, FIVE)
    block, recording = index.table["block"].to_numpy(), index.table["recording"].to_numpy()
    side_of = {b: s for b, s in zip(block, index.table["split"]) if s}
    sides = index.table["split"].to_numpy()
    for row in np.flatnonzero(sides != ""):
        for other in found[row][found[row] != NONE]:
            assert (block[other], recording[other]) == (block[row], recording[row])
            assert side_of[block[other]] == sides[row]
            assert sides[other] in ("", sides[row])
    assert audit_neighbours(index, found)["context_windows"] > 0  # training anchors in tested blocks


def test_windows_beyond_a_bad_span_are_no_neighbours() -> None:
    damaged = ramp_recording()
    damaged.bad_spans = np.array([[23.0, 23.05]])
    at_whole, at = begins(indexed(ramp_recording())), begins(indexed(damaged))
    whole, found = (find_neighbours(indexed(r), replace_windows(9)) for r in (ramp_recording(), damaged))

    def across(starts: np.ndarray, table: np.ndarray) -> int:
        first, last = starts[np.where(table == NONE, table[:, [4]], table)], starts[table[:, 4]][:, None]
        return int(((np.minimum(first, last) < 23) & (np.maximum(first, last) >= 23)).sum())

    assert across(at_whole, whole[whole[:, 4] != NONE]) > 0
    assert across(at, found[found[:, 4] != NONE]) == 0


def replace_windows(count: int) -> ContextSettings:
    return FIVE.model_copy(update={"windows": count})


def test_two_hearings_of_one_block_are_not_mixed() -> None:
    once = ramp_recording(length=14.0, sentence_starts=(0.0, 7.0))
    again = once.events.assign(onset=once.events["onset"] + 14.0)
    events = type(once.events)(np.concatenate([once.events.to_numpy(), again.to_numpy()]), columns=once.events.columns)
    twice = replace(once, events=events.astype(once.events.dtypes.to_dict()))
    others = [ramp_recording("02", stimulus=f"other{k}") for k in range(8)]
    index = indexed(twice, *others, split={**SPLIT, "unit": "stimulus"})
    heard = index.table[(index.table["recording"] == 0) & (index.table["split"] != "")]
    assert len(heard) > 20
    assert heard["stimulus_time"].duplicated().any()
    found, at = find_neighbours(index, replace_windows(9)), begins(index)
    clock = at - index.table["stimulus_start"].to_numpy()
    shown = [(row, other) for row in heard.index for other in found[row] if other != NONE]
    assert max(abs(clock[a] - clock[b]) for a, b in shown) < 0.02


def test_a_batch_holds_each_neighbour_once_and_says_where() -> None:
    neighbours = np.array([[NONE, 0, 1], [0, 1, 2], [1, 2, NONE], [NONE, 3, NONE]])
    shown, places = with_neighbours(np.array([2, 0, 2, 3]), neighbours)
    assert shown.tolist() == [2, 0, 2, 3, 1]
    assert places.tolist() == [[4, 0, -1], [-1, 1, 4], [4, 2, -1], [-1, 3, -1]]


def test_signals_of_neighbours_come_scaled_as_they_would_by_themselves() -> None:
    index = indexed(ramp_recording("01"), ramp_recording("02", onset=5.3))
    source = BatchSource(index, FakeFeatures(), context=FIVE)
    source.fit_scalers()
    rows = np.concatenate([index.rows("train")[[40, 3, 41]], index.rows("test")[:2]])
    batch, plain = source[rows], source.without_context()
    assert len(batch) == 5
    assert batch.context is not None
    assert batch.context.shape == (5, 5)
    assert batch.target.shape[0] == batch.identity.shape[0] == 5
    assert len(batch.signal) == len(batch.window) == len(batch.layout) == len(batch.subject) > 5
    for row, places in zip(rows, batch.context):
        expected = source.neighbours[row]
        assert [batch.window[p].item() if p >= 0 else NONE for p in places] == expected.tolist()
    torch.testing.assert_close(batch.signal, plain[batch.window.numpy()].signal)
    torch.testing.assert_close(batch.layout, plain[batch.window.numpy()].layout)
    alone, asked = batch.alone(), plain[rows]
    for name in ("signal", "target", "subject", "layout", "window", "identity"):
        torch.testing.assert_close(getattr(alone, name), getattr(asked, name))
    assert asked.context is None
    assert batch.to("cpu").context is not None


def test_what_stands_on_another_side_never_reaches_a_batch() -> None:
    """All samples that no window of a side covers are poisoned: its batches, neighbours included, stay the same."""
    for side in ("train", "valid", "test"):
        clean, poisoned = ramp_recording(), ramp_recording()
        before = BatchSource(indexed(clean), FakeFeatures(), context=FIVE)
        before.fit_scalers()
        index = before.index
        own = np.zeros(clean.n_samples, bool)
        blocks = set(index.table["block"][index.rows(side)])
        for start in index.table["start"][index.table["block"].isin(blocks)]:
            own[start : start + index.n_times] = True
        others = [index.table["start"].to_numpy()[index.rows(s)] for s in ("train", "valid", "test") if s != side]
        assert all(not own[start : start + index.n_times].all() for start in np.concatenate(others))
        poisoned.signal[:, ~own] = 1e9
        after = BatchSource(indexed(poisoned), FakeFeatures(), before.scalers, context=FIVE)
        rows = index.rows(side)
        assert torch.equal(before[rows].signal, after[rows].signal)
        assert torch.equal(before[rows].context, after[rows].context)


def test_a_window_that_would_be_shown_on_two_sides_is_refused() -> None:
    index = indexed(ramp_recording())
    found = find_neighbours(index, FIVE)
    found[index.rows("train")[0], 0] = index.rows("test")[0]
    with pytest.raises(LeakageError, match="stands in test and is shown as a neighbour in train"):
        audit_neighbours(index, found)
    found = find_neighbours(index, FIVE)
    unused = np.setdiff1d(np.flatnonzero(index.table["split"] == ""), found)
    tested = index.table["block"].to_numpy()[index.rows("train")]
    inside = [r for r in unused if index.table["block"][r] in set(tested)]
    found[index.rows("valid")[0], 0] = inside[0]  # a test anchor in a training block
    with pytest.raises(LeakageError, match="stands in train and valid"):
        audit_neighbours(index, found)


def test_strangers_take_the_neighbours_of_another_window_and_keep_themselves() -> None:
    index = indexed(ramp_recording())
    source = BatchSource(index, FakeFeatures(), context=FIVE)
    rows = index.rows("test")
    changed = source.with_strangers(rows, np.roll(rows, 1))
    around = [0, 1, 3, 4]
    np.testing.assert_array_equal(changed.neighbours[rows][:, 2], rows)
    np.testing.assert_array_equal(changed.neighbours[rows][:, around], source.neighbours[np.roll(rows, 1)][:, around])
    assert not np.array_equal(changed.neighbours, source.neighbours)
