"""The transformer of the codebook-guided masked encoder: [B, N, D] tokens -> [B, N, D].

Post-norm blocks whose queries and keys are normalised a head at a time, after a fixed code of each token's place in
time (section 4.1 of the specification). Softmax subtracts the maximum, so no score overflows. Attention is torch's own, but
in training with dropout on a CPU, where writing it out takes fewer copies, and dropout fewer random numbers.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

WEIGHT_STD = 0.02  # section 4.1: of the truncated normal start of linear maps


def time_code(length: int, width: int) -> torch.Tensor:
    """Sines (even columns) and cosines (odd ones) of each place, wavelengths from 2 pi to 10000 x 2 pi.

    Returns
    -------
    torch.Tensor
        [length, width] float32; width is even.
    """
    place = torch.arange(length, dtype=torch.float64)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000) / width))
    angle = place * rate  # [length, width / 2]
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


class TransformerStack(nn.Module):
    """Time code, then blocks.

    Parameters
    ----------
    depth
        Blocks.
    width
        Numbers of a token, D.
    heads, head_width
        Their product may exceed D (paper: 8 x 64 for D = 160).
    feed_forward
        Hidden numbers between the two linear maps of a block.
    attention_dropout, dropout
        Of attention weights, and after the first linear map.
    """

    table: torch.Tensor  # [N, D]; recomputed, never stored

    def __init__(
        self,
        depth: int,
        width: int,
        *,
        heads: int = 8,
        head_width: int = 64,
        feed_forward: int = 320,
        attention_dropout: float = 0.2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width,
                heads=heads,
                head_width=head_width,
                feed_forward=feed_forward,
                attention_dropout=attention_dropout,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        for number, block in enumerate(self.blocks, start=1):
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    start_small(module)
                    with torch.no_grad():
                        module.weight.div_(math.sqrt(2 * number))  # later blocks start nearer to the identity
        self.register_buffer("table", time_code(64, width), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D], any N."""
        length, width = tokens.shape[1:]
        if length > len(self.table):
            self.table = time_code(2 * length, width).to(self.table)
        tokens = tokens + self.table[:length]
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class TransformerBlock(nn.Module):
    """Attention, sum, LayerNorm; two linear maps with ReLU between, sum, LayerNorm. See `TransformerStack`."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        head_width: int,
        feed_forward: int,
        attention_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.head_width, self.attention_dropout = heads, head_width, attention_dropout
        self.qkv = nn.Linear(width, 3 * heads * head_width)
        self.norm_query = nn.LayerNorm(head_width)
        self.norm_key = nn.LayerNorm(head_width)
        self.project = nn.Linear(heads * head_width, width)
        self.norm_attention = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.ReLU(), Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.norm_feed_forward = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]."""
        tokens = self.norm_attention(tokens + self.attend(tokens))
        return self.norm_feed_forward(tokens + self.feed_forward(tokens))

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, D] -> [B, N, D]."""
        batch, length, _ = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        if (
            self.training
            and self.attention_dropout
            and tokens.device.type == "cpu"
            and not torch.compiler.is_compiling()
        ):
            mixed = self._attend_with_dropout(*qkv.reshape(3, batch * self.heads, length, -1))
            mixed = mixed.unflatten(0, (batch, self.heads))
        else:
            query, key, value = qkv  # each [B, heads, N, head_width]
            mixed = functional.scaled_dot_product_attention(
                self.norm_query(query).to(value.dtype),
                self.norm_key(key).to(value.dtype),
                value,
                dropout_p=self.attention_dropout if self.training else 0.0,
            )
        return self.project(mixed.transpose(1, 2).reshape(batch, length, -1))

    def _attend_with_dropout(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Each [B heads, N, head_width] -> the same shape."""
        scale, norm = self.head_width**-0.5, self.norm_query  # the scale goes into the gain of the query's norm
        query = functional.layer_norm(query, (self.head_width,), norm.weight * scale, norm.bias * scale, norm.eps)
        score = query.to(value.dtype) @ self.norm_key(key).to(value.dtype).transpose(1, 2)  # [B heads, N, N]
        return dropped(score.softmax(-1).to(value.dtype), self.attention_dropout) @ value


class Dropout(nn.Module):
    """As torch's, with fewer random numbers on a CPU.

    Parameters
    ----------
    p
        Share of numbers that become zero in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return dropped(x, self.p) if self.training else x


def dropped(x: torch.Tensor, p: float) -> torch.Tensor:
    """Set a random share p to zero and scale the others to the same mean.

    On a CPU a 64-bit random number decides over four values, so the share is rounded to a multiple of 2 ** -16, and the
    scale is that of the rounded share: torch's own draws one number a value, which took a tenth of a training step.
    """
    kept = round((1 - p) * 2**16)
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not 0 < kept < 2**16:
        return functional.dropout(x, p)
    numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    mask = (numbers.view(torch.int16)[: x.numel()] < kept - 2**15).view(x.shape)
    return x * mask.to(x.dtype).mul_(2**16 / kept)


def start_small(linear: nn.Linear) -> None:
    """Truncated normal weights and no bias, as every linear map of this model starts."""
    nn.init.trunc_normal_(linear.weight, std=WEIGHT_STD)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
