"""A table for each part of a token, and what keeps parts from saying the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neurodecode.models.layers.quantizer import EmaCodebook, Quantized, Quantizer


class ProductCodebook(Quantizer):
    """Each of G equal parts of a token has an `EmaCodebook` of its own, so there are K ** G entries (BrainStratify).

    Parameters
    ----------
    codes, dimension
        Rows K of each table; D, a multiple of G.
    groups
        Tables, G.
    decorrelation
        Weight of `partial_correlation`, which keeps parts from saying the same; 0: none.
    settings
        Of every table, see `EmaCodebook`.
    """

    def __init__(
        self, codes: int, dimension: int, groups: int = 4, *, decorrelation: float = 0.0, **settings: Any
    ) -> None:
        if dimension % groups:
            raise ValueError(f"dimension is {dimension}: it must be a multiple of groups, {groups}")
        super().__init__(dimension, codes, groups)
        self.decorrelation = decorrelation
        self.tables = nn.ModuleList(EmaCodebook(codes, dimension // groups, **settings) for _ in range(groups))

    def quantize(self, z: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """[M, D] -> values [M, D], codes [M, G] and three scalars: means over the tables."""
        parts = [table.quantize(part) for table, part in zip(self._tables(), z.chunk(self.groups, 1))]
        values, codes, *scalars = zip(*parts)
        found = Quantized(torch.cat(values, 1), torch.cat(codes, 1), *(torch.stack(s).mean() for s in scalars))
        if self.decorrelation == 0 or self.groups == 1:
            return found
        return found._replace(loss=found.loss + self.decorrelation * partial_correlation(z, self.groups))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """[..., G] -> [..., D]."""
        return torch.cat([table.decode(codes[..., g : g + 1]) for g, table in enumerate(self._tables())], -1)

    def in_use(self) -> float:
        """Share of rows in use, mean over the tables; see `EmaCodebook.in_use`."""
        return sum(table.in_use() for table in self._tables()) / self.groups

    def _tables(self) -> list[EmaCodebook]:
        return [table for table in self.tables if isinstance(table, EmaCodebook)]


def partial_correlation(z: torch.Tensor, groups: int, ridge: float = 1e-3) -> torch.Tensor:
    """Mean squared partial correlation of numbers that stand in different parts of a token.

    Two numbers are compared with all others held fixed: from the inverse P of their covariance, -P_ij / sqrt(P_ii P_jj).

    Parameters
    ----------
    z
        Tokens [M, D] of a batch.
    groups
        Equal parts, 2 or more.
    ridge
        Share of the mean variance that is added to each variance: fewer tokens than numbers have no inverse.

    Returns
    -------
    torch.Tensor
        Scalar in [0, 1].
    """
    count, width = z.shape
    centred = z - z.mean(0)
    covariance = centred.T @ centred / count  # [D, D]
    level = covariance.diagonal().mean().clamp_min(torch.finfo(z.dtype).tiny ** 0.5)
    covariance = covariance / level + ridge * torch.eye(width, dtype=z.dtype, device=z.device)
    inverse = torch.linalg.inv(covariance)
    scale = inverse.diagonal().rsqrt()
    correlation = inverse * scale[:, None] * scale
    part = torch.arange(width, device=z.device) // (width // groups)
    return correlation.square()[part[:, None] != part].mean()
