"""What a correlation is scaled by: the deviation of each dimension over training windows, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from neurodecode.evaluation.retrieval.scoring import DEVIATION_WINDOWS, training_deviation

WAVE = torch.tensor([1.0, -1.0, 1.0, -1.0])  # mean 0, square 1


class KnownSource:
    """Windows [F = 3, T = 4]: a wave of 2, one of the window's number, silence at 7; windows that do not train shout."""

    def __init__(self, train: np.ndarray, scalers: object = None) -> None:
        self.index = SimpleNamespace(rows=lambda side: train if side == "train" else None)
        self.train, self.n_times, self.scalers = set(train.tolist()), 4, scalers
        self.asked: list[int] = []

    def target(self, rows: np.ndarray, span: tuple[int, int]) -> torch.Tensor:
        assert span == (0, 4)
        self.asked += rows.tolist()
        loud = torch.tensor([1.0 if int(row) in self.train else 1e6 for row in rows])[:, None]
        number = torch.tensor(rows, dtype=torch.float32)[:, None]
        return torch.stack([2 * WAVE * loud, number * WAVE * loud, torch.full((len(rows), 4), 7.0) * loud], 1)


def test_the_deviation_is_that_of_each_dimension_over_training_windows_and_one_where_nothing_moves() -> None:
    source = KnownSource(np.array([1, 3, 5]))
    found = training_deviation(source, nn.Identity())  # type: ignore[arg-type]
    # 12 values around 0: sum of squares over 11
    expected = [np.sqrt(12 * 4 / 11), np.sqrt(4 * (1 + 9 + 25) / 11), 1.0]
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    assert source.asked == [1, 3, 5]


def test_the_deviation_is_that_of_scaled_targets() -> None:
    scaled = SimpleNamespace(scale_target=lambda values: values / 2 + 3)
    found = training_deviation(KnownSource(np.array([1, 3, 5]), scaled), nn.Identity())  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx([np.sqrt(12 / 11), np.sqrt((1 + 9 + 25) / 11), 1.0], rel=1e-6)


def test_of_many_training_windows_evenly_chosen_ones_give_the_deviation() -> None:
    rows = np.arange(10, 10 + 3 * DEVIATION_WINDOWS)
    source = KnownSource(rows)
    training_deviation(source, nn.Identity())  # type: ignore[arg-type]
    assert len(source.asked) == DEVIATION_WINDOWS
    assert (source.asked[0], source.asked[-1]) == (rows[0], rows[-1])
    assert set(np.diff(source.asked)) <= {3, 4}
