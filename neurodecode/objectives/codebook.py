"""The objective of the tokenizer: reconstruct the signal, with tokens near their codes (section 4.2).

Reconstruction and target [B, C, T] and the quantizer's own loss -> one scalar.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class TokenizerLosses(NamedTuple):
    """What the tokenizer minimises, and its parts (unweighted)."""

    total: torch.Tensor
    reconstruction: torch.Tensor
    quantizer: torch.Tensor


class TokenizerLoss(nn.Module):
    """Squared error of the signal plus the quantizer's loss.

    Parameters
    ----------
    sums
        "released": the squared error is averaged over the samples of each channel that is there, and then over those
        channels of the batch, so it is 1 for a silent reconstruction of standardised signals whatever the sizes.
        "paper" (equation 5): both terms are summed over a window and averaged over the batch.
    reconstruction, quantizer
        Weights of the two terms (paper: 1 and 1).
    """

    def __init__(self, sums: str = "released", reconstruction: float = 1.0, quantizer: float = 1.0) -> None:
        super().__init__()
        self.sums, self.reconstruction, self.quantizer = sums, reconstruction, quantizer

    def forward(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        quantizer_loss: torch.Tensor,
        present: torch.Tensor | None = None,
        token_numbers: int | None = None,
    ) -> TokenizerLosses:
        """Loss; float32 also under autocast.

        Parameters
        ----------
        reconstruction, target
            [B, C, T]; the target is the scaled signal.
        quantizer_loss
            Scalar, a mean over the numbers of tokens.
        present
            [B, C] bool: channels that a window's subject has; others do not count, whatever they hold.
        token_numbers
            Numbers of a window's tokens in the quantizer, N x D: needed for sums "paper".

        Raises
        ------
        ValueError
            If shapes differ (broadcasting would hide a mistake), or `token_numbers` is missing.
        """
        if reconstruction.shape != target.shape:
            raise ValueError(
                f"reconstruction {tuple(reconstruction.shape)} and target {tuple(target.shape)} differ in shape"
            )
        if present is None:
            present = torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
        elif present.shape != target.shape[:2]:
            raise ValueError(f"present must be {tuple(target.shape[:2])}, got {tuple(present.shape)}")
        # before the square: the gradient of a masked NaN squared would be 0 x NaN
        difference = torch.where(present[:, :, None], reconstruction.float() - target.float(), 0)  # [B, C, T]
        error = difference.square()
        if self.sums == "paper":
            if token_numbers is None:
                raise ValueError("sums 'paper' needs token_numbers, the numbers of a window's tokens in the quantizer")
            signal = error.sum((1, 2)).mean()
            quantizer_loss = quantizer_loss * token_numbers
        else:
            signal = error.mean(2).sum() / present.sum()
        total = self.reconstruction * signal + self.quantizer * quantizer_loss
        return TokenizerLosses(total, signal, quantizer_loss)
