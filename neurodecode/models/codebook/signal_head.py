"""From tokens back to signal: [B, N, D] -> [B, C, T], transposed convolutions without activation and a linear map.

Nothing here is non-linear, so the layers can be multiplied with each other before they meet the tokens. For the published
head this takes a fifth of the products: the last three layers, which work on 10 frames a token, become one product a
token. Where two convolutions meet, frames beyond the ends of the window do not exist; what the product of the kernels would
add from there is taken away again. The numbers are those of the layers one after the other, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from neurodecode.models.layers.transformer import start_small

# filters, kernel and stride of a transposed convolution
Layer = tuple[int, int, int]
# matrix [C_out, C] and bias [C_out]
Map = tuple[torch.Tensor, torch.Tensor]


class SignalHead(nn.Module):
    """Tokens -> signal: [B, N, D] -> [B, C, T].

    Parameters
    ----------
    width
        D.
    n_channels
        C.
    layers
        Filters, kernel and stride of each; a frame becomes as many samples as the strides multiply to.
    frames
        Frames a token is unfolded to first.
    """

    def __init__(
        self,
        width: int,
        n_channels: int,
        layers: Sequence[Layer],
        frames: int = 1,
    ) -> None:
        super().__init__()
        self.frames, n_in = frames, width // frames
        convolutions: list[nn.Module] = []
        for filters, kernel, stride in layers:
            if kernel < stride:
                raise ValueError(f"a transposed convolution of kernel {kernel} and stride {stride} leaves gaps")
            padding = (kernel - stride + 1) // 2  # with the output padding: stride samples out for one in
            extra = 2 * padding - (kernel - stride)
            convolutions.append(nn.ConvTranspose1d(n_in, filters, kernel, stride, padding, output_padding=extra))
            n_in = filters
        self.convolutions = nn.Sequential(*convolutions)
        self.linear = nn.Linear(n_in, n_channels)
        start_small(self.linear)

    def forward(self, tokens: torch.Tensor, read_out: Map | None = None) -> torch.Tensor:
        """[B, N, D] -> [B, C, T]; with `read_out` the signal is mapped once more, to [B, C_out, T]."""
        frames = tokens.unflatten(2, (self.frames, -1)).flatten(1, 2)  # [B, N frames, D / frames]
        matrix: torch.Tensor = self.linear.weight  # [C, filters]
        bias: torch.Tensor = self.linear.bias  # [C]
        if read_out is not None:
            matrix, bias = read_out[0] @ matrix, read_out[0] @ bias + read_out[1]
        layers = [layer for layer in self.convolutions if isinstance(layer, nn.ConvTranspose1d)]
        last = _Last(layers[-1], matrix, bias)
        together = len(layers) > 2 and worth_multiplying(layers[-3:], len(matrix), frames.shape[0] * frames.shape[1])
        y = frames.transpose(1, 2)  # [B, filters, N frames]
        for layer in layers[: -3 if together else -1]:
            y = _even(y, layer)
        return _multiplied(y, layers[-3], layers[-2], last) if together else last(y)


class _Last:
    """The last transposed convolution and the linear maps after it, as one: kernels are mapped, not signals."""

    def __init__(self, layer: nn.ConvTranspose1d, matrix: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight = torch.einsum("iok,co->ick", layer.weight, matrix)  # [filters in, C, kernel]
        assert layer.bias is not None
        self.bias = matrix @ layer.bias + bias  # [C]
        self.stride, self.padding = layer.stride[0], int(layer.padding[0])
        self.kernel = self.weight.shape[-1]

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        """[B, filters, frames] -> [B, C, frames stride]."""
        return overlapped(y, self.weight, self.stride, self.padding) + self.bias[:, None].to(y.dtype)

    def whole(self, y: torch.Tensor) -> torch.Tensor:
        """All that frames spread to: [B, filters, F] -> [B, C, (F - 1) stride + kernel], without bias."""
        return functional.conv_transpose1d(y, self.weight, stride=self.stride)


def worth_multiplying(layers: Sequence[nn.ConvTranspose1d], n_out: int, tokens: int) -> bool:
    """Whether kernels of the last three layers are multiplied with each other, for so many tokens.

    They must be: one token to its frames without overlap; frames to frames; frames to samples.
    """
    (frames,), (kernel,) = layers[0].stride, layers[1].kernel_size
    if layers[0].kernel_size[0] != frames or layers[1].stride[0] != 1 or kernel % 2 == 0 or kernel // 2 > frames:
        return False
    if layers[2].kernel_size[0] > frames * layers[2].stride[0]:  # a sample must not reach beyond the next token
        return False
    n_in, inner, middle = layers[0].in_channels, layers[1].in_channels, layers[1].out_channels
    last = middle * n_out * layers[2].kernel_size[0]
    spread = frames + kernel - 1
    reach = (spread - 1) * layers[2].stride[0] + layers[2].kernel_size[0]
    apart = tokens * (n_in * inner * frames + frames * inner * middle * kernel + frames * last)
    return tokens * n_in * n_out * reach + n_in * (frames * inner * middle * kernel + spread * last) < apart


def _multiplied(y: torch.Tensor, first: nn.ConvTranspose1d, second: nn.ConvTranspose1d, last: _Last) -> torch.Tensor:
    """Three layers as one product a token: [B, filters, N] -> [B, C, N frames stride]."""
    frames, half = first.stride[0], second.kernel_size[0] // 2
    samples = frames * last.stride
    # what a token spreads to: frames -half ... frames + half - 1 of its own, then samples from -half stride - padding on
    kernel = functional.conv1d(first.weight, second.weight.transpose(0, 1).flip(2), padding=2 * half)
    signal = overlapped(y, last.whole(kernel), samples, half * last.stride + last.padding)
    signal = signal + _constant(y, first, second, last).to(signal.dtype)
    # frames before the first token and after the last one: no layer would pass them on
    before = last.whole(kernel[:, :, :half])[:, :, half * last.stride + last.padding :]  # [filters, C, few]
    after = last.whole(kernel[:, :, -half:])[:, :, : last.padding]
    length = signal.shape[-1]
    for token, surplus, place in ((y[:, :, 0], before, 0), (y[:, :, -1], after, length - after.shape[-1])):
        if surplus.shape[-1]:
            part = (token @ surplus.flatten(1)).unflatten(1, surplus.shape[1:])  # [B, C, few]
            signal = signal - functional.pad(part, (place, length - place - part.shape[-1]))
    return signal


def _constant(y: torch.Tensor, first: nn.ConvTranspose1d, second: nn.ConvTranspose1d, last: _Last) -> torch.Tensor:
    """What three layers make of silence: [1, C, T]. Tokens that are far from both ends all give the same."""
    count = y.shape[-1]
    silence = y.new_zeros(1, y.shape[1], min(count, 5))
    out = last(_even(first(silence), second))
    if count <= 5:
        return out
    left, middle, right = out.split([2 * (out.shape[-1] // 5), out.shape[-1] // 5, 2 * (out.shape[-1] // 5)], 2)
    return torch.cat([left, middle.repeat(1, 1, count - 4), right], 2)


def _even(y: torch.Tensor, layer: nn.ConvTranspose1d) -> torch.Tensor:
    """A transposed convolution; one of stride 1 as the plain convolution that it is, for which there are faster kernels."""
    (kernel,), (stride,) = layer.kernel_size, layer.stride
    if stride != 1 or kernel % 2 == 0:
        return layer(y)
    return functional.conv1d(y, layer.weight.transpose(0, 1).flip(2), layer.bias, padding=kernel // 2)


def overlapped(y: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    """Transposed convolution as one matrix product and a sum of shifted pieces: [B, I, N] -> [B, C, N stride].

    Parameters
    ----------
    y
        [B, I, N].
    weight
        [I, C, kernel].
    stride
        Samples of a frame.
    padding
        A frame's kernel begins so many samples before the frame.
    """
    count, (_, channels, kernel) = y.shape[-1], weight.shape
    spread = (y.transpose(1, 2) @ weight.flatten(1)).unflatten(2, (channels, kernel))  # [B, N, C, kernel]
    out: torch.Tensor | None = None
    for shift in range(-padding // stride, (kernel - padding - 1) // stride + 1):  # which neighbour a piece falls on
        if abs(shift) >= count:
            continue
        begin, end = max(0, shift * stride + padding), min(kernel, (shift + 1) * stride + padding)
        piece = spread[:, max(0, -shift) : count - max(0, shift), :, begin:end]
        left = begin - padding - shift * stride
        times = (left, stride - left - (end - begin))
        moved = functional.pad(piece, (*times, 0, 0, max(0, shift), max(0, -shift)))  # [B, N, C, stride]
        out = moved if out is None else out + moved
    assert out is not None
    return out.transpose(1, 2).flatten(2)
