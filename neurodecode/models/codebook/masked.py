"""Stage 2, the masked encoder: signal with hidden tokens -> what each hidden token is.

    model = MaskedEncoder(n_chans=10)
    out = model(x, subject)                # [B, 10, 4000] -> out.logits [B, 40, 1, 2048]

A fresh encoder, one learnt vector that stands for a hidden token, one linear map (section 4.3 of the specification);
3,890,304 trained numbers for 10 channels of one subject. Targets are the codes of a frozen tokenizer, or what table 13 of
the paper compares them with: rows of its table, or the signal itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.codebook.front import by_subject, in_order
from neurodecode.models.codebook.read_in import checked
from neurodecode.models.layers.transformer import WEIGHT_STD, start_small


class MaskedPrediction(NamedTuple):
    """What the masked encoder returns."""

    answer: torch.Tensor
    """From a view in which the token was hidden (where `predicted` says so): logits of codes [B, N, G, K], embeddings
    [B, N, D], or patches [B, N, C, samples]."""
    predicted: torch.Tensor
    """[B, N] bool: tokens that were hidden in some view; all of them with the mirrored view."""
    mask: torch.Tensor
    """[B, N] bool: tokens hidden in the first view."""

    @property
    def logits(self) -> torch.Tensor:
        """The answer where codes are predicted."""
        return self.answer


class MaskedEncoder(nn.Module):
    """Predicts what hidden tokens are.

    Each window is seen twice, with a random part of its tokens hidden and with the other part (its mirror image). Both
    views pass the transformer as one batch, and the front runs once, on the whole signal: a token is hidden after it,
    so batch norm never sees a mask. Only hidden tokens go through the last map.

    Parameters
    ----------
    n_chans
        Channels; a list for several subjects, one number each.
    codes, groups
        Entries of a table and tables of the tokenizer (paper: 2048, 1); they do not matter to patches.
    target
        "codes"; "embeddings"; or "patches", for which each subject has a last map of its own, since channels differ.
    dimension
        Numbers of an embedding, D ("embeddings" only).
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
        target: str = "codes",
        dimension: int | None = None,
        mask_ratio: float = 0.5,
        mirror: bool = True,
        **encoder: Any,
    ) -> None:
        super().__init__()
        if target == "embeddings" and dimension is None:
            raise ValueError("target embeddings needs the dimension of the tokenizer's table")
        self.codes, self.groups, self.mask_ratio, self.mirror = codes, groups, mask_ratio, mirror
        self.target = target
        self.encoder = SignalEncoder(n_chans, **encoder)
        self.hidden_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.encoder.width), std=WEIGHT_STD))
        self.head: nn.Linear | None = None
        self.patch_heads: nn.ModuleList | None = None
        width = self.encoder.width
        if target == "patches":
            patch = self.encoder.patch
            self.patch_heads = nn.ModuleList(nn.Linear(width, count * patch) for count in self.encoder.n_channels)
        else:
            self.head = nn.Linear(width, groups * codes if dimension is None or target == "codes" else dimension)
        for module in [self.head] if self.patch_heads is None else self.patch_heads:
            assert isinstance(module, nn.Linear)
            start_small(module)

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
        return MaskedPrediction(self._answer(hidden, subject), torch.ones_like(mask) if self.mirror else mask, mask)

    def present(self, subject: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Which channels each window's subject has, [B, C] bool: those whose patches are judged."""
        return self.encoder.present(subject, batch)

    def _answer(self, hidden: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """Tokens [B, N, width] -> see `MaskedPrediction.answer`."""
        if self.head is not None:
            out = self.head(hidden)
            return out if self.target == "embeddings" else out.unflatten(-1, (self.groups, self.codes))
        assert self.patch_heads is not None
        patch, widest = self.encoder.patch, max(self.encoder.n_channels)
        subject = checked(subject, self.encoder.n_subjects)
        if subject is None:
            return self.patch_heads[0](hidden).unflatten(-1, (widest, patch))
        parts = by_subject(subject)
        found = [self.patch_heads[s](hidden[rows]).unflatten(-1, (-1, patch)) for s, rows in parts]
        padded = [nn.functional.pad(y, (0, 0, 0, widest - y.shape[2])) for y in found]  # each [b, N, C, patch]
        return in_order(padded, [rows for _, rows in parts])


def random_mask(batch: int, length: int, ratio: float = 0.5, generator: torch.Generator | None = None) -> torch.Tensor:
    """Hide the same number of tokens of every window: [B, N] bool, N - floor(N (1 - ratio)) of each row true."""
    # 30 x (1 - 0.9) is 2.9999999999999996 in floating point: floor alone would keep 2 of 30
    kept = math.floor(length * (1 - ratio) + 1e-9)
    order = torch.rand(batch, length, generator=generator).argsort(1)
    return order >= kept
