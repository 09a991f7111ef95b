"""From rows of a window index to a stream of batches whose order is a function of seed and epoch alone.

A restarted run therefore sees exactly the batches that an undisturbed one would have seen, and no random state needs to
be carried from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from neurodecode.segments.batches import Batch


class Source(Protocol):
    """Rows -> scaled batch: `segments.batches.BatchSource`, or anything that answers like it."""

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """Batch of these rows of the index, in this order."""


def seed_of(*parts: int) -> int:
    """One 63-bit seed out of several numbers; a change of any of them changes all of it."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class RowBatches(Sampler[np.ndarray]):
    """Row numbers of each batch of an epoch.

    In training, rows are shuffled anew each epoch and a last batch that is not full is left out, since with the
    contrastive loss the number of candidates is part of the task; which rows that hits changes from epoch to epoch. In
    validation the order is one fixed shuffle (neighbours in time must not be each other's only negatives) and no row is
    left out, but for the last that several processes cannot share; shares of batches differ by one at most.

    Parameters
    ----------
    rows
        Row numbers of one side of the split.
    batch_size
        Windows a batch, over all processes.
    seed
        Of the order.
    training
        See above.
    limit
        At most so many batches an epoch.
    rank, world
        This process and their number: each takes its equal share of every batch.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        training: bool,
        limit: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows, self.batch_size, self.seed, self.training = np.asarray(rows), batch_size, seed, training
        self.limit, self.rank, self.world = limit, rank, world
        self.epoch = 0
        if not len(self.rows):
            raise ValueError("there are no rows to make batches of")
        if len(self.rows) < world:
            raise ValueError(f"{len(self.rows)} rows cannot be shared by {world} processes; use fewer devices")

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        n = len(self.rows)
        shared = n // self.world * self.world
        count = max(1, n // self.batch_size) if self.training else -(-shared // self.batch_size)
        return min(count, self.limit) if self.training and self.limit is not None else count

    def __iter__(self) -> Iterator[np.ndarray]:
        epoch = self.epoch if self.training else 0
        rows = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        if self.training:
            parts = [rows[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
        else:
            # whole shares, else each batch would lose the rows that its processes cannot share
            shares = rows[: len(rows) // self.world * self.world].reshape(-1, self.world)
            parts = [part.ravel() for part in np.array_split(shares, len(self))]
        for part in parts:
            share = max(1, len(part) // self.world)
            yield part[self.rank * share : (self.rank + 1) * share]


class WindowBatches(Dataset[Batch]):
    """Batches of a source, changed as a control asks for.

    Parameters
    ----------
    source
        Rows -> Batch.
    control
        none; noise: Gaussian noise stands in place of every window's signal, always the same for one window; shuffled:
        every window faces the target of another one of its side, always the same one.
    sides
        Rows of each side of the split; shuffled pairs stay within a side.
    seed
        Of the control.
    """

    def __init__(
        self, source: Source, control: str = "none", sides: tuple[np.ndarray, ...] = (), seed: int = 0
    ) -> None:
        self.source, self.control, self.seed = source, control, seed
        self.partner: dict[int, int] = {}
        if control == "shuffled":
            for number, rows in enumerate(sides):
                order = np.random.default_rng([seed, number]).permutation(rows)
                # half a turn of a random order: nobody meets itself
                self.partner |= dict(zip(order.tolist(), np.roll(order, max(1, len(order) // 2)).tolist()))

    def __getitem__(self, rows: np.ndarray) -> Batch:
        batch = self.source[rows]
        if self.control == "noise":
            return replace(batch, signal=noise_like(batch, self.seed))
        if self.control == "shuffled":
            other = self.source[np.array([self.partner[int(row)] for row in rows])]
            return replace(batch, target=other.target, identity=other.identity, place=other.place)
        return batch


def noise_like(batch: Batch, seed: int) -> torch.Tensor:
    """Standard Gaussian noise in place of the signal, [B, C, T]: a function of seed and window, whatever the batch.

    Channels that a recording lacks stay 0, so that the noise knows what the signal would have told by its shape.
    """
    generator = torch.Generator()
    noise = torch.empty(batch.signal.shape)
    for i, window in enumerate(batch.window.tolist()):
        generator.manual_seed(seed_of(seed, window))
        noise[i] = torch.randn(batch.signal.shape[1:], generator=generator)
    present = (batch.signal != 0).any(-1, keepdim=True)  # [B, C, 1]
    return noise.to(batch.signal.device) * present


def loader(dataset: WindowBatches, batches: RowBatches, workers: int = 0) -> DataLoader:
    """DataLoader that asks the dataset for whole batches."""
    # its own generator: the loader draws a seed for its workers, which must not move the global random state
    return DataLoader(
        dataset,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        persistent_workers=False,
    )
