"""What one method is given: windows of one fold, of one subject or of all, scaled, with sides and labels.

In: a fold of a LabelIndex. Out: signals [n, C, T] on request, label numbers, and who and which run each window belongs to.
Every method reads its windows from here, so that rate, channels, windows and sides are the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from neurodecode.errors import NeurodecodeError
from neurodecode.segments.batches import Batch, BatchSource
from neurodecode.segments.labels import UNKNOWN, LabelIndex
from neurodecode.segments.scaling import Scalers

Scaling = Literal["training", "person"]
CHUNK = 64  # windows read at once


@dataclass
class Trials:
    """The windows of one question.

    Attributes
    ----------
    source
        Of the cohort's columns, scaled.
    index
        The fold.
    train, valid, test
        [n]: rows of the index. Those of training and validation have a label that training knows.
    columns
        [C]: columns that are good in every recording of these windows.
    scaling
        `person`: methods that standardise features of their own do so for each person, by all his windows.
    """

    source: BatchSource
    index: LabelIndex
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    columns: np.ndarray
    scaling: Scaling

    @property
    def n_classes(self) -> int:
        """K: labels that the fold knows."""
        return len(self.index.vocabulary)

    @property
    def n_times(self) -> int:
        """T: samples of a window."""
        return self.index.n_times

    @property
    def sfreq(self) -> float:
        """Hz."""
        return self.index.sfreq

    def all_rows(self) -> np.ndarray:
        """Rows of the three sides."""
        return np.concatenate([self.train, self.valid, self.test])

    def signal(self, rows: np.ndarray) -> torch.Tensor:
        """[n, C, T] float32, scaled."""
        return self[rows].signal

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """A batch with the columns of these windows only, as training loops want it.

        Raises
        ------
        NeurodecodeError
            If a sample is not a number.
        """
        batch = self.source[rows]
        signal = batch.signal[:, torch.as_tensor(self.columns)]
        if not torch.isfinite(signal).all():
            raise NeurodecodeError(self._broken())
        return replace(batch, signal=signal)

    def _broken(self) -> str:
        """Where the first sample is that is not a number: before scaling, by which it reaches all windows of a channel."""
        for row in self.all_rows():
            fine = torch.isfinite(self.source.baselined(np.array([row]))[0, torch.as_tensor(self.columns)]).all(-1)
            if not fine.all():
                entry = self.index.table.iloc[int(row)]
                channel = self.source.layouts.names[self.columns[int((~fine).int().argmax())]]
                return (
                    f"{self.index.recordings[entry['recording']].name}: {channel} has samples that are not numbers in the "
                    f"window at {entry['start'] / self.sfreq:.2f} s; mark the channel or the span bad and preprocess again"
                )
        return f"{self.index.fold_name}: signals are not numbers once scaled; set labels.scaling.brain to another kind"

    def in_parts(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """Signals of many rows, some at a time: yields [b, C, T]."""
        for first in range(0, len(rows), CHUNK):
            yield self.signal(rows[first : first + CHUNK])

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """[n]: numbers of labels; -1 is unknown to training."""
        return self.index.table["identity"].to_numpy()[rows]

    def people(self, rows: np.ndarray) -> np.ndarray:
        """[n]: numbers of subjects."""
        return self.index.table["subject"].to_numpy()[rows]

    def groups(self, rows: np.ndarray) -> np.ndarray:
        """[n]: what inner folds must not cut through: people, or runs where there is one person, or else ten stretches."""
        table = self.index.table.iloc[rows]
        if table["subject"].nunique() > 1:
            return table["subject"].to_numpy()
        if table["run"].nunique() > 1:
            return np.unique(table["run"].to_numpy(str), return_inverse=True)[1]
        order = np.argsort(np.argsort(table["start"].to_numpy(), kind="stable"), kind="stable")
        return order * min(10, len(rows)) // len(rows)


def trials_of(index: LabelIndex, source: BatchSource, scaling: Scaling, subject: str | None) -> Trials:
    """The windows of one subject, or of all, in one fold.

    Parameters
    ----------
    index
        A fold.
    source
        Its batches, from `scaled`.
    scaling
        As `source` was made.
    subject
        None takes all.
    """
    table = index.table
    mine = np.ones(len(table), bool)
    if subject is not None:
        mine = table["subject"].to_numpy() == index.subjects.index(subject)
    known = table["identity"].to_numpy() != UNKNOWN
    sides = {}
    for side in ("train", "valid", "test"):
        rows = index.rows(side)
        sides[side] = rows[mine[rows] & (known[rows] | (side == "test"))]
    used = np.unique(table["recording"].to_numpy()[mine & (table["split"].to_numpy() != "")])
    good = source.layouts.valid[torch.as_tensor(used)].all(0).numpy()
    return Trials(source, index, sides["train"], sides["valid"], sides["test"], np.flatnonzero(good), scaling)


def scaled(index: LabelIndex, scaling: Scaling) -> BatchSource:
    """Batches of a fold; `training` as the settings of the labels say, `person` by all windows of each person."""
    if scaling == "training":
        return index.source(fit=True)
    source = index.source()
    source.scalers = person_scalers(source)
    return source


def person_scalers(source: BatchSource) -> Scalers:
    """Mean and deviation of each channel over all windows of each person, whatever their side; labels are not looked at."""
    index = source.index
    table = index.table
    owner, used = table["subject"].to_numpy(), table["split"].to_numpy() != ""
    n, n_chans = len(index.recordings), source.layouts.n_chans
    center, scale = torch.zeros(n, n_chans), torch.full((n, n_chans), float("inf"))
    for person in np.unique(owner[used]):
        rows = np.flatnonzero((owner == person) & used)
        count, total, square = 0, torch.zeros(n_chans, dtype=torch.double), torch.zeros(n_chans, dtype=torch.double)
        unit = source.baselined(rows[:1]).abs().max().clamp(min=1e-30)  # V or T: squares of tiny numbers lose nothing
        for first in range(0, len(rows), CHUNK):
            windows = (source.baselined(rows[first : first + CHUNK]).cpu() / unit).double()  # [b, C, T]
            count += windows.shape[0] * windows.shape[2]
            total += windows.sum((0, 2))
            square += windows.square().sum((0, 2))
        mean = total / count
        spread = (square / count - mean.square()).clamp(min=0).sqrt()
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        for recording in np.unique(table["recording"].to_numpy()[rows]):
            valid = source.layouts.valid[recording]
            center[recording, valid] = (mean * unit).float()[valid]
            scale[recording, valid] = (spread * unit).float()[valid]
    return Scalers(center, scale, torch.zeros(1), torch.ones(1), index.settings.scaling.clamp)
