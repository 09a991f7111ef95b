"""The regression objective: the published baseline that the contrastive loss is compared with (table 1.2, first row).

Estimates and targets [B, F, T] -> mean squared error over all of them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class RegressionLoss(nn.Module):
    """Mean squared error, computed in float32 also under autocast."""

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """[B, F, T] and [B, F, T] -> scalar; 1 for an estimate of zeros and standardised targets.

        Raises
        ------
        ValueError
            If the shapes differ: broadcasting would hide a mistake.
        """
        if estimate.shape != target.shape:
            raise ValueError(f"estimate {tuple(estimate.shape)} and target {tuple(target.shape)} differ in shape")
        return functional.mse_loss(estimate.float(), target.float())
