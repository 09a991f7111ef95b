"""A source without a store: the target of a window is a fixed mixture of its signal, so a small network can learn it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from neurodecode.config import TrainSettings
from neurodecode.segments.batches import Batch
from neurodecode.training.fit import FoldData

N, C, F, T, S, L = 96, 6, 4, 20, 2, 2
SMALL = {"spatial_channels": 8, "fourier_frequencies": 3, "hidden": 16, "depth": 2, "dropout": 0.1}


@dataclass
class ToyLayouts:
    positions: torch.Tensor
    placed: torch.Tensor


class ToySource:
    """Window k: noise of seed k; its target is the same noise, mixed."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.signal = torch.randn(N, C, T, generator=generator)
        mixing = torch.randn(F, C, generator=generator)
        self.target = torch.einsum("fc,nct->nft", mixing, self.signal)
        self.layouts = ToyLayouts(torch.rand(L, C, 2, generator=generator), torch.ones(L, C, dtype=torch.bool))
        self.asked: list[list[int]] = []

    def __getitem__(self, rows: np.ndarray) -> Batch:
        index = torch.as_tensor(np.asarray(rows), dtype=torch.long)
        self.asked.append(index.tolist())
        return Batch(self.signal[index], self.target[index], index % S, index % L, index, index // 2)


def toy_data() -> FoldData:
    source = ToySource()
    rows = np.arange(N)
    return FoldData(source, rows[:72], rows[72:], source.layouts, C, F, T, 50.0, S)


def toy_settings(**training) -> TrainSettings:
    values = {"epochs": 4, "batch_size": 16, "learning_rate": 3e-3, "accelerator": "cpu", **training}
    return TrainSettings.model_validate({"model": SMALL, "training": values, "seed": 1})
