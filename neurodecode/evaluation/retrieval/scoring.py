"""Scores of all queries against all candidates, in bounded memory.

In: a Decoder (network or ridge) for each fold and Questions. Out: float32 [Q, N]. Candidates are taken in parts that fit
into the stated memory; each part is one pass over the queries. The score of a query never depends on the batch it is in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from neurodecode.config import EvaluationSettings, TrainSettings
from neurodecode.evaluation.retrieval.ridge import standardised
from neurodecode.models.deep_mel import embed
from neurodecode.objectives.siglip import contrastive_scores
from neurodecode.training.data import noise_like
from neurodecode.training.load import estimate

if TYPE_CHECKING:
    from neurodecode.segments.batches import Batch, BatchSource

GIB = 1 << 30
DEVIATION_WINDOWS = 512  # training windows that give the deviation of each feature dimension


class Decoder(Protocol):
    """What a fold answers with."""

    def estimate(self, batch: Batch) -> Tensor:
        """What the brain says, one row a window."""

    def prepare(self, target: Tensor) -> Tensor:
        """Scaled candidate features [N, F, T] -> what `score` compares with."""

    def score(self, estimate: Tensor, prepared: Tensor) -> Tensor:
        """[B, N], higher is better."""


@dataclass
class NetworkDecoder:
    """The network of a fold.

    Attributes
    ----------
    model, settings
        As `training.load.load_fold` gives them.
    feature_scale
        [F]: score by correlation, each dimension divided by this; None: by the score of the contrastive objective.
    noise
        Seed of Gaussian noise that takes the place of the brain; None leaves the brain.
    """

    model: nn.Module
    settings: TrainSettings
    feature_scale: Tensor | None = None
    noise: int | None = None

    @property
    def dimension(self) -> int:
        """Dimensions of a prepared candidate, or 0 when they are those of the features."""
        return getattr(getattr(self.model, "speech", None), "n_outputs", 0)

    def estimate(self, batch: Batch) -> Tensor:
        """Predicted features [B, F, T]."""
        if self.noise is not None:
            batch = replace(batch, signal=noise_like(batch, self.noise))
        return estimate(self.model, batch, self.settings)

    def prepare(self, target: Tensor) -> Tensor:
        """[N, F, T], or [N, F T] standardised for the correlation."""
        target = embed(self.model, target)
        return target if self.feature_scale is None else standardised(target, self.feature_scale.to(target.device))

    def score(self, estimate: Tensor, prepared: Tensor) -> Tensor:
        """[B, N]."""
        if self.feature_scale is None:
            return contrastive_scores(self.model, estimate, prepared)
        return standardised(estimate, self.feature_scale.to(estimate.device)) @ prepared.T


def by_correlation(settings: EvaluationSettings, training: TrainSettings) -> bool:
    """Whether a network is scored by correlation: what its objective trained, unless the settings say otherwise."""
    if settings.score != "auto":
        return settings.score == "correlation"
    return training.objective.kind == "mse"


@torch.no_grad()
def training_deviation(source: BatchSource, model: nn.Module) -> Tensor:
    """Deviation [F] over training windows, evenly chosen, of what the model's estimates are compared with."""
    rows = source.index.rows("train")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, DEVIATION_WINDOWS).round().astype(int))]
    deviation = embed(model, targets(source, rows)).double().std((0, 2)).float()
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def targets(source: BatchSource, rows: np.ndarray) -> Tensor:
    """Scaled features [b, F, T] that face the brain of these windows, without reading the brain."""
    values = source.target(rows, (0, source.n_times))
    return values if source.scalers is None else source.scalers.scale_target(values)


@torch.inference_mode()
def fill_scores(
    outs: Sequence[np.ndarray],
    decoders: Sequence[Decoder],
    source: BatchSource,
    rows: np.ndarray,
    candidate_rows: np.ndarray,
    settings: EvaluationSettings,
    advance: Callable[[int], None] = lambda n: None,
) -> None:
    """Write the scores of some queries by each decoder into its array [len(rows), len(candidate_rows)].

    Parameters
    ----------
    outs, decoders
        One array a decoder; the brain is read once for all of them.
    advance
        Told how many queries were done, in shares of all candidates.
    """
    dimension = max([source.dimension, *(getattr(decoder, "dimension", 0) for decoder in decoders)])
    width = max(1, int(settings.memory * GIB / (4 * dimension * source.n_times * len(decoders))))
    size = settings.batch_size
    for left in range(0, len(candidate_rows), width):
        part = candidate_rows[left : left + width]
        pieces = [targets(source, part[i : i + size]) for i in range(0, len(part), size)]
        prepared = [torch.cat([decoder.prepare(piece) for piece in pieces]) for decoder in decoders]
        del pieces
        for begin in range(0, len(rows), size):
            batch = source[rows[begin : begin + size]]
            for out, decoder, candidates in zip(outs, decoders, prepared):
                scores = decoder.score(decoder.estimate(batch), candidates)
                out[begin : begin + size, left : left + width] = scores.float().cpu().numpy()
            if left + width >= len(candidate_rows):
                advance(len(batch))


def matrix(n_queries: int, n_candidates: int, memory: float) -> np.ndarray:
    """Room for scores [Q, N] float32: in memory, or in an unnamed file when it is larger than `memory` GiB."""
    shape = (n_queries, n_candidates)
    if 4 * n_queries * n_candidates <= memory * GIB:
        return np.zeros(shape, np.float32)
    # the memory map keeps the unnamed file open; both vanish with the array
    return np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=shape)
