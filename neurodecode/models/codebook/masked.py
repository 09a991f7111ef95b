"""Stage 2, the masked encoder: signal with hidden tokens -> which code each hidden token has.

    model = MaskedEncoder(n_chans=10)
    out = model(x, subject)                # [B, 10, 4000] -> out.logits [B, 40, 1, 2048]

A fresh encoder, one learnt vector that stands for a hidden token, one linear map (section 4.3 of the specification);
3,890,304 trained numbers for 10 channels of one subject. Targets are the codes of a frozen tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.layers.transformer import WEIGHT_STD, start_small


class MaskedPrediction(NamedTuple):
    """What the masked encoder returns."""

    logits: torch.Tensor
    """[B, N, G, K], from a view in which the token was hidden (where `predicted` says so)."""
    predicted: torch.Tensor
    """[B, N] bool: tokens that were hidden in some view; all of them with the mirrored view."""
    mask: torch.Tensor
    """[B, N] bool: tokens hidden in the first view."""


class MaskedEncoder(nn.Module):
    """Predicts codes of hidden tokens.

    Each window is seen twice, with a random part of its tokens hidden and with the other part (its mirror image). Both
    views pass the transformer as one batch, and the front runs once, on the whole signal: a token is hidden after it,
    so batch norm never sees a mask. Only hidden tokens go through the last map.

    Parameters
    ----------
    n_chans
        Channels; a list for several subjects, one number each.
    codes, groups
        Entries of a table and tables of the tokenizer (paper: 2048, 1).
    mask_ratio
        Share of tokens hidden in the first view (paper: 0.5).
    mirror
        Whether there is a second view.
    encoder
        See `encoder.SignalEncoder`.
    """

    def __init__(
        self,
        n_chans: int | Sequence[int],
        codes: int = 2048,
        groups: int = 1,
        *,
        mask_ratio: float = 0.5,
        mirror: bool = True,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.codes, self.groups, self.mask_ratio, self.mirror = codes, groups, mask_ratio, mirror
        self.encoder = SignalEncoder(n_chans, **encoder)
        self.hidden_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.encoder.width), std=WEIGHT_STD))
        self.head = nn.Linear(self.encoder.width, groups * codes)
        start_small(self.head)

    def forward(
        self,
        x: torch.Tensor,
        subject: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> MaskedPrediction:
        """Predict.

        Parameters
        ----------
        x, subject
            [B, C, T] and [B] (None where there is one subject).
        mask
            [B, N] bool, tokens to hide in the first view; by default random.
        generator
            Of random masks, on the CPU: a seeded one makes a validation repeatable.

        Returns
        -------
        MaskedPrediction
        """
        tokens = self.encoder.front(x, subject)  # [B, N, D]
        if mask is None:
            mask = random_mask(len(tokens), tokens.shape[1], self.mask_ratio, generator).to(tokens.device)
        elif mask.shape != tokens.shape[:2]:
            raise ValueError(f"the mask must be {tuple(tokens.shape[:2])}, got {tuple(mask.shape)}")
        views = torch.cat([mask, ~mask]) if self.mirror else mask  # [2 B or B, N]
        tokens = torch.cat([tokens, tokens]) if self.mirror else tokens
        tokens = torch.where(views[:, :, None], self.hidden_token.to(tokens.dtype), tokens)
        hidden = self.encoder.transformer(tokens)
        if self.mirror:
            first, second = hidden.chunk(2)
            hidden = torch.where(mask[:, :, None], first, second)  # each token from the view that hid it
        logits = self.head(hidden).unflatten(-1, (self.groups, self.codes))
        return MaskedPrediction(logits, torch.ones_like(mask) if self.mirror else mask, mask)


def random_mask(batch: int, length: int, ratio: float = 0.5, generator: torch.Generator | None = None) -> torch.Tensor:
    """Hide the same number of tokens of every window: [B, N] bool, N - floor(N (1 - ratio)) of each row true."""
    # 30 x (1 - 0.9) is 2.9999999999999996 in floating point: floor alone would keep 2 of 30
    kept = math.floor(length * (1 - ratio) + 1e-9)
    order = torch.rand(batch, length, generator=generator).argsort(1)
    return order >= kept
