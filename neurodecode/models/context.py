"""Context: a transformer over what the convolutions say about neighbouring windows (beyond the paper).

    encoder = ContextEncoder(320, ContextSettings(windows=5))
    y = encoder(h, context)     # [M, D, T] of M windows, [B, K] places among them -> [B, D, T] of the first B

A window becomes `pieces` tokens, the means over equal stretches of it. The tokens of K windows attend to each other; what
comes out in the middle is stretched over the window's time and added to what its convolutions said. The last map starts at
zero, so an untrained network answers as it would without context. The candidates, being speech, have no context of their own.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from neurodecode.config import ContextSettings
from neurodecode.models.layers.transformer import time_code


class ContextEncoder(nn.Module):
    """Adds to a window what its neighbours say.

    Parameters
    ----------
    channels
        D, of the convolutions' output.
    settings
        K windows, and the transformer.
    """

    code: torch.Tensor  # [K pieces, width]; recomputed, never stored

    def __init__(self, channels: int, settings: ContextSettings) -> None:
        super().__init__()
        self.windows, self.pieces, self.alone = settings.windows, settings.pieces, settings.alone
        self.enter = nn.Linear(channels, settings.width)
        block = nn.TransformerEncoderLayer(
            settings.width,
            settings.heads,
            2 * settings.width,
            settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, settings.layers, nn.LayerNorm(settings.width), enable_nested_tensor=False
        )
        self.leave = nn.Linear(settings.width, channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("code", time_code(settings.windows * settings.pieces, settings.width), persistent=False)

    def forward(self, h: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Windows with what their neighbours add.

        Parameters
        ----------
        h
            [M, D, T].
        context
            [B, K]: places in h, the window itself in the middle, -1 where there is no neighbour; None: every window
            alone, B = M.

        Returns
        -------
        torch.Tensor
            [B, D, T].
        """
        middle = self.windows // 2
        if context is None:
            context = torch.full((len(h), self.windows), -1, device=h.device)
            context[:, middle] = torch.arange(len(h), device=h.device)
        if context.shape[1] != self.windows:
            raise ValueError(f"context is of {context.shape[1]} windows, the network was built for {self.windows}")
        missing = self._missing(context)
        # [M, D, T] -> [M, D, P] -> [M, P, W]
        tokens = self.enter(functional.adaptive_avg_pool1d(h, self.pieces).transpose(1, 2))
        tokens = tokens[context.clamp(min=0)].flatten(1, 2) + self.code.to(tokens.dtype)  # [B, K P, W]
        hidden = missing.repeat_interleave(self.pieces, dim=1)  # [B, K P]
        mixed = self.blocks(tokens, src_key_padding_mask=hidden).unflatten(1, (self.windows, self.pieces))
        added = self.leave(mixed[:, middle]).transpose(1, 2)  # [B, P, W] -> [B, D, P]
        return h[context[:, middle]] + functional.interpolate(added, h.shape[-1], mode="linear")

    def _missing(self, context: torch.Tensor) -> torch.Tensor:
        """Neighbours that are not there, [B, K] bool; in training, all of those of a random share of windows."""
        missing = context < 0
        if self.training and self.alone:
            hide = torch.rand(len(context), 1, device=context.device) < self.alone
            others = torch.arange(self.windows, device=context.device) != self.windows // 2
            missing = missing | (hide & others)
        return missing
