"""The order of batches, and what the controls do to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecode.training.data import RowBatches, WindowBatches, loader, noise_like
from tests.training.toy import ToySource


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), size=st.integers(1, 20), epoch=st.integers(0, 3))
def test_training_batches_are_full_and_hold_no_row_twice(n, size, epoch) -> None:
    batches = RowBatches(np.arange(n) + 5, size, 1, training=True)
    batches.set_epoch(epoch)
    parts = list(batches)
    assert len(parts) == len(batches)
    seen = np.concatenate(parts)
    assert len(set(seen)) == len(seen) == (n if n < size else n // size * size)
    assert set(seen) <= set(range(5, n + 5))
    assert {len(p) for p in parts} == {min(n, size)}


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), size=st.integers(1, 20), epoch=st.integers(0, 3))
def test_validation_leaves_no_row_out_and_never_changes(n, size, epoch) -> None:
    batches = RowBatches(np.arange(n), size, 1, training=False)
    first = [p.tolist() for p in batches]
    batches.set_epoch(epoch)
    assert [p.tolist() for p in batches] == first
    assert sorted(row for batch in first for row in batch) == list(range(n))
    lengths = [len(p) for p in first]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= size


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 60), share=st.integers(1, 8), world=st.integers(1, 4))
def test_processes_validate_on_all_rows_but_those_that_they_cannot_share(n, share, world) -> None:
    each = [list(RowBatches(np.arange(n), share * world, 1, training=False, rank=r, world=world)) for r in range(world)]
    seen = np.concatenate([part for parts in each for part in parts])
    assert len(set(seen.tolist())) == len(seen) == n // world * world
    for parts in zip(*each, strict=True):  # processes gather, so all bring as many, and none brings too many
        assert len({len(part) for part in parts}) == 1
        assert 1 <= len(parts[0]) <= share


def test_fewer_rows_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be shared by 3 processes; use fewer devices"):
        RowBatches(np.arange(2), 6, 1, training=False, world=3)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = RowBatches(np.arange(40), 10, seed, training=True)
        batches.set_epoch(epoch)
        return np.concatenate(list(batches)).tolist()

    assert order(1, 3) == order(1, 3)
    assert len({tuple(order(s, e)) for s in (1, 2) for e in (0, 1)}) == 4


def test_processes_share_each_batch_without_overlap() -> None:
    whole = list(RowBatches(np.arange(40), 10, 0, training=True))
    shares = [list(RowBatches(np.arange(40), 10, 0, training=True, rank=r, world=2)) for r in (0, 1)]
    for batch, one, two in zip(whole, *shares):
        assert np.concatenate([one, two]).tolist() == batch.tolist()


def test_the_limit_cuts_an_epoch_and_another_part_is_seen_next() -> None:
    batches = RowBatches(np.arange(100), 10, 0, training=True, limit=3)
    first = np.concatenate(list(batches))
    batches.set_epoch(1)
    assert len(batches) == 3
    assert set(first) != set(np.concatenate(list(batches)))
    with pytest.raises(ValueError, match="no rows"):
        RowBatches(np.array([], int), 10, 0, training=True)


def test_the_limit_of_an_epoch_leaves_no_row_out_of_validation() -> None:
    batches = RowBatches(np.arange(100), 10, 0, training=False, limit=3)
    assert sorted(np.concatenate(list(batches))) == list(range(100))
    assert len(batches) == 10


def test_the_loader_hands_out_batches_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    (batch, *_) = loader(WindowBatches(ToySource()), RowBatches(np.arange(8), 4, 0, training=True))
    assert batch.signal.shape == (4, 6, 20)
    assert torch.equal(torch.get_rng_state(), state)


def test_shuffled_pairs_are_wrong_fixed_and_stay_on_their_side() -> None:
    source = ToySource()
    train, valid = np.arange(0, 61), np.arange(61, 96)
    data = WindowBatches(source, "shuffled", (train, valid), seed=1)
    for side in (train, valid):
        batch = data[side]
        assert torch.equal(batch.signal, source[side].signal)
        partners = [int((source.target == t).all((1, 2)).nonzero()[0, 0]) for t in batch.target]
        assert sorted(partners) == side.tolist()
        assert all(a != b for a, b in zip(partners, side))
        assert torch.equal(batch.identity, torch.tensor(partners) // 2)
    one = WindowBatches(source, "shuffled", (train, valid), seed=1)[np.array([7])]
    assert torch.equal(one.target[0], data[train].target[7])


def test_noise_depends_on_the_window_alone_and_keeps_absent_channels_absent() -> None:
    source = ToySource()
    source.signal[5, 2] = 0.0
    whole = noise_like(source[np.arange(10)], seed=4)
    assert torch.equal(noise_like(source[np.array([5, 1])], seed=4), whole[[5, 1]])
    assert (whole[5, 2] == 0).all()
    assert (whole[4] != 0).all()
    assert abs(whole[:5].mean().item()) < 0.1
    assert whole[:5].std().item() == pytest.approx(1, abs=0.1)
    batch = WindowBatches(source, "noise", seed=4)[np.arange(10)]
    assert torch.equal(batch.signal, whole)
    assert torch.equal(batch.target, source[np.arange(10)].target)
