"""The convolution stack of the aligner: dilated residual convolutions with gated ones between them.

[B, C, T] -> [B, hidden (or n_out), T]; time is never shortened (zero padding on both sides). Section 4.4 of the specification.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class DilatedBlock(nn.Module):
    """Convolution, batch norm, activation; plus the input where the shape is unchanged. `bare`: the convolution alone."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        kernel: int,
        dilation: int,
        batch_norm: bool,
        activation: str,
        dropout: float,
        skip: bool,
        bare: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)  # of an odd kernel: as many samples out as in
        self.convolution = nn.Conv1d(n_in, n_out, kernel, padding=padding, dilation=dilation)
        self.norm = nn.BatchNorm1d(n_out) if batch_norm and not bare else nn.Identity()
        self.activation = nn.Identity() if bare else ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout) if dropout and not bare else nn.Identity()
        self.skip = skip and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, n_in, T] -> [B, n_out, T]."""
        y = self.dropout(self.activation(self.norm(self.convolution(x))))
        return x + y if self.skip else y


class GatedBlock(nn.Module):
    """Convolution to twice the channels, one half gating the other (GLU); not residual."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2)
        self.gate = nn.GLU(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, channels, T] -> [B, channels, T]."""
        return self.gate(self.convolution(x))


class ConvolutionStack(nn.Sequential):
    """`depth` dilated convolutions; after every `glu_every` of them a gated one.

    Parameters
    ----------
    n_in
        Channels that enter.
    hidden
        Channels of every layer (paper: 320).
    depth
        Dilated convolutions (paper: 10).
    kernel
        Samples, odd (paper: 3).
    dilation_period
        Dilation of convolution k is 2 ** (k mod dilation_period) (paper: 5, hence 1, 2, 4, 8, 16, 1, ...).
    glu_every
        0 for no gated convolution (paper: 2).
    skip, batch_norm, activation, dropout
        See `DilatedBlock`.
    n_out
        Channels of the last dilated convolution, which then has neither norm nor activation, and of the gated one after it;
        None: `hidden`, and it is like the others.
    """

    def __init__(
        self,
        n_in: int,
        hidden: int = 320,
        depth: int = 10,
        *,
        kernel: int = 3,
        dilation_period: int = 5,
        glu_every: int = 2,
        skip: bool = True,
        batch_norm: bool = True,
        activation: str = "gelu",
        dropout: float = 0.0,
        n_out: int | None = None,
    ) -> None:
        layers: list[nn.Module] = []
        for k in range(depth):
            last = n_out is not None and k == depth - 1
            width = n_out if n_out is not None and last else hidden
            layers.append(
                DilatedBlock(
                    n_in if k == 0 else hidden,
                    width,
                    kernel=kernel,
                    dilation=2 ** (k % dilation_period),
                    batch_norm=batch_norm,
                    activation=activation,
                    dropout=dropout,
                    # no sum around the first convolution, as published, even where the widths happen to agree
                    skip=skip and k > 0,
                    bare=last,
                )
            )
            if glu_every and (k + 1) % glu_every == 0:
                layers.append(GatedBlock(width, kernel))
        super().__init__(*layers)
