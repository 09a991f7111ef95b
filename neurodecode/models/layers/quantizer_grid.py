"""A quantizer without a table: each number of a token is rounded to a few levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from neurodecode.models.layers.quantizer import Quantized, Quantizer
from neurodecode.models.layers.quantizer_rows import spread


class FiniteScalar(Quantizer):
    """Finite scalar quantization (Mentzer et al. 2024): each number of a token is bounded and rounded to a few levels.

    No table, nothing to learn, nothing to collapse. Entries are the grid points, with coordinates in [-1, 1].

    Parameters
    ----------
    levels
        Values of each of the D numbers; K is their product ((8, 8, 8, 4): 2048).
    """

    levels: torch.Tensor  # [D]
    radix: torch.Tensor  # [D]

    def __init__(self, levels: Sequence[int] = (8, 8, 8, 4)) -> None:
        super().__init__(len(levels), math.prod(levels))
        if min(levels) < 2:
            raise ValueError(f"levels are {tuple(levels)}: each must be 2 or more")
        radix = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("radix", torch.tensor(radix), persistent=False)

    def quantize(self, z: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """[M, D] -> values [M, D], codes [M, 1] and three scalars."""
        top = self.levels - 1  # [D]
        position = (torch.tanh(z) + 1) / 2 * top  # in [0, top]
        step = position.detach().round()
        index = (step.long() * self.radix).sum(1)  # [M]
        counts = self.count(index)
        exact = self._point(step, top)
        smooth = self._point(position, top)
        return Quantized(exact + (smooth - smooth.detach()), index[:, None], z.new_zeros(()), *spread(counts))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """[..., 1] -> [..., D]."""
        step = codes // self.radix % self.levels  # [..., 1] -> [..., D]
        return self._point(step.float(), self.levels - 1)

    @staticmethod
    def _point(step: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
        """Level 0..top -> coordinate in [-1, 1]."""
        return 2 * step / top - 1
