"""From signal to tokens, one for each patch of time: [B, C, T] -> [B, N, D], N = T / patch.

Either all subjects' channels are mixed into shared ones and one stack of convolutions reads those (`MixedFront`, the
published single-subject model), or each subject has a stack of its own (`OwnFront`, the published multi-subject one).

Nothing here is non-linear, so in evaluation mode the front of a subject is one affine map of a patch: one convolution
whose kernel and stride are a patch. `fold` computes it, and evaluation without gradients uses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from neurodecode.models.codebook.read_in import SubjectReadIn, checked

# matrix [D, W, patch] and bias [D]
Affine = tuple[torch.Tensor, torch.Tensor]


class PatchConvolution(nn.Module):
    """Convolutions with batch norm over each patch alone: [B, W, T] -> [B, N, D].

    Each patch is padded with zeros, so no token knows its neighbours. There is no activation (section 4.1). The paper
    calls the convolutions depthwise; the released weights are full ones, and so are these.

    Parameters
    ----------
    n_channels
        W.
    patch
        Samples of a token (paper: 100, 0.1 s).
    filters, kernels, strides
        Of each convolution. D is the frames that are left of a patch times the last filters, frame by frame.
    """

    def __init__(
        self,
        n_channels: int,
        *,
        patch: int = 100,
        filters: Sequence[int] = (128, 128, 16),
        kernels: Sequence[int] = (19, 3, 3),
        strides: Sequence[int] = (10, 1, 1),
    ) -> None:
        super().__init__()
        self.patch = patch
        convolutions, widths = [], [n_channels, *filters]
        for n_in, n_out, kernel, stride in zip(widths[:-1], filters, kernels, strides, strict=True):
            convolutions.append(nn.Conv1d(n_in, n_out, kernel, stride, padding=kernel // 2))
        self.convolutions = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(nn.BatchNorm1d(n_out) for n_out in filters)
        if any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels are {tuple(kernels)}: an even one would move time by half a sample")
        frames = patch
        for stride in strides:
            if frames % stride:
                raise ValueError(f"strides {tuple(strides)} do not divide a patch of {patch} samples")
            frames //= stride
        self.frames, self.width = frames, frames * filters[-1]
        self._cache: tuple[tuple[Any, ...], Affine] | None = None

    def forward(self, x: torch.Tensor, mix: Affine | None = None) -> torch.Tensor:
        """[B, W, T] -> [B, N, D].

        With `mix`, a matrix [C, W] and a bias [W], x is [B, C, T] and what is convolved is mix^T x + bias: the same numbers
        with fewer products, because kernels and matrix are multiplied instead of signals.
        """
        if self.may_fold() and mix is None:
            return strided(x, *self.folded())
        batch, _, samples = x.shape
        count = samples // self.patch
        (first, norm), *others = self.layers()
        kernel = first.weight  # [filters, W, kernel]
        if mix is not None:
            # a channel of ones carries the bias: outside a patch there is no signal, so no bias either
            x = torch.cat([x, x.new_ones(batch, 1, samples)], 1)
            kernel = torch.einsum("fwk,cw->fck", kernel, torch.cat([mix[0], mix[1][None]]))
        (size,), (stride,) = first.kernel_size, first.stride
        patches = functional.pad(x.unflatten(2, (count, self.patch)), (size // 2, size // 2))
        columns = patches.unfold(3, size, stride).permute(0, 2, 3, 1, 4)  # [B, N, frames, channels, kernel]
        y = functional.linear(columns.reshape(-1, kernel[0].numel()), kernel.flatten(1), first.bias)
        y = norm(y).view(batch * count, -1, first.out_channels).transpose(1, 2)  # [B N, filters, frames]
        for convolution, norm in others:
            y = norm(convolution(y))
        return y.transpose(1, 2).reshape(batch, count, self.width)  # frames first

    def layers(self) -> list[tuple[nn.Conv1d, nn.BatchNorm1d]]:
        """Each convolution with its norm."""
        pairs = zip(self.convolutions, self.norms)
        return [(c, n) for c, n in pairs if isinstance(c, nn.Conv1d) and isinstance(n, nn.BatchNorm1d)]

    def may_fold(self) -> bool:
        """Whether a forward pass may use the fold: batch norm does not learn, and no gradient is asked for."""
        return not self.training and not torch.is_grad_enabled() and not torch.compiler.is_compiling()

    def folded(self) -> Affine:
        """What `affine` gives, kept while nothing changes."""
        parts = [*self.parameters(), *self.buffers()]
        if any(part.is_inference() for part in parts):  # these do not count their changes
            return self.affine()
        key = tuple((id(part), part._version, part.device, part.dtype) for part in parts)
        if self._cache is None or self._cache[0] != key:
            self._cache = (key, self.affine())
        return self._cache[1]

    @torch.no_grad()
    def affine(self) -> Affine:
        """The stack as one map of a patch: matrix [D, W, patch] and bias [D], computed in float64.

        Raises
        ------
        RuntimeError
            In training mode, where batch norm depends on the batch.
        """
        if self.training:
            raise RuntimeError("the front can be folded in evaluation mode only: call .eval() first")
        first, _ = self.layers()[0]
        width = first.in_channels
        impulses = torch.eye(self.patch, dtype=torch.float64, device=first.weight.device)[:, None]  # [patch, 1, patch]
        constant = impulses.new_zeros(1, width, self.patch)
        y = impulses
        with torch.autocast(first.weight.device.type, enabled=False):
            for number, (convolution, norm) in enumerate(self.layers()):
                weight, bias = _merged(convolution, norm)
                stride, padding = convolution.stride, convolution.padding
                constant = functional.conv1d(constant, weight, bias, stride, padding)
                if number == 0:
                    # an impulse on one channel meets that channel's part of the kernels only
                    alone = weight.flatten(0, 1)[:, None]  # [filters W, 1, kernel]
                    y = functional.conv1d(y, alone, None, stride, padding)  # [patch, filters W, frames]
                    y = y.unflatten(1, (-1, width)).permute(2, 0, 1, 3).flatten(0, 1)  # [W patch, filters, frames]
                else:
                    y = functional.conv1d(y, weight, None, stride, padding)
        matrix = y.transpose(1, 2).flatten(1).T.unflatten(1, (width, self.patch))  # [D, W, patch]
        return matrix.to(first.weight.dtype), constant.transpose(1, 2).flatten().to(first.weight.dtype)

    def train(self, mode: bool = True) -> PatchConvolution:
        """Switch mode; what was folded is forgotten in training."""
        if mode:
            self._cache = None
        return super().train(mode)


class Front(nn.Module, ABC):
    """What both fronts have in common.

    Parameters
    ----------
    n_channels
        Channels of each subject.
    patches
        Whose sizes the tokens have.
    """

    def __init__(self, n_channels: Sequence[int], patches: PatchConvolution) -> None:
        super().__init__()
        self.n_channels = tuple(n_channels)
        self.patch, self.frames, self.width = patches.patch, patches.frames, patches.width

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> [B, N, D].

        Raises
        ------
        ValueError
            If channels or samples do not fit, or a subject is missing.
        """
        widest = max(self.n_channels)
        if x.ndim != 3 or x.shape[1] != widest:
            raise ValueError(f"the signal must be [B, {widest}, T], got {tuple(x.shape)}")
        if x.shape[2] == 0 or x.shape[2] % self.patch:
            raise ValueError(f"{x.shape[2]} samples are not a whole number of patches of {self.patch}: cut the windows")
        return self.tokens(x, checked(subject, len(self.n_channels)))

    @abstractmethod
    def tokens(self, x: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """[B, C, T] -> [B, N, D]."""

    @abstractmethod
    def fold(self, subject: int = 0) -> Affine:
        """One subject's front as one strided convolution: weight [D, C_s, patch] and bias [D]; evaluation mode only."""

    @abstractmethod
    def take(self, other: Front, subjects: Sequence[int | None]) -> None:
        """Copy from another front: our subject i is its subject `subjects[i]`, or starts afresh (None)."""


class MixedFront(Front):
    """Subject read-in to shared channels, then one `PatchConvolution` for all.

    Parameters
    ----------
    n_channels
        Channels of each subject.
    mixed_channels
        Shared channels (paper: 16).
    convolution
        See `PatchConvolution`.
    """

    def __init__(self, n_channels: Sequence[int], mixed_channels: int = 16, **convolution: Any) -> None:
        patches = PatchConvolution(mixed_channels, **convolution)
        super().__init__(n_channels, patches)
        self.read_in = SubjectReadIn(n_channels, mixed_channels)
        self.patches = patches

    def tokens(self, x: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """[B, C, T] -> [B, N, D]."""
        # one product instead of two, where that is less work
        if len(self.n_channels) > 1:
            return self.patches(self.read_in(x, subject))
        if not self.patches.may_fold():
            return self.patches(x, (self.read_in.weight, self.read_in.bias[0]))
        if self.n_channels[0] <= self.read_in.width:
            return strided(x, *self.fold())
        return self.patches(self.read_in(x))

    def fold(self, subject: int = 0) -> Affine:
        """Weight [D, C_s, patch] and bias [D]."""
        matrix, bias = self.patches.folded()
        with torch.autocast(matrix.device.type, enabled=False):
            weight = torch.einsum("cw,dwp->dcp", self.read_in.of(subject), matrix)
            return weight, bias + matrix.sum(2) @ self.read_in.bias[subject]

    @torch.no_grad()
    def take(self, other: Front, subjects: Sequence[int | None]) -> None:
        """See `Front.take`; the convolutions are always copied."""
        if not isinstance(other, MixedFront):
            raise ValueError("a front with shared channels cannot start from one with own convolutions")
        self.patches.load_state_dict(other.patches.state_dict())
        for mine, theirs in _pairs(self, other, subjects):
            rows = self.read_in.rows[mine, : self.n_channels[mine]]
            self.read_in.weight[rows] = other.read_in.of(theirs).to(self.read_in.weight)
            self.read_in.bias[mine] = other.read_in.bias[theirs].to(self.read_in.bias)


class OwnFront(Front):
    """A `PatchConvolution` for each subject, on its own channels.

    A window passes its own subject's convolutions only, so batch norm never mixes subjects and the cost does not grow
    with their number (the released code sends every window through all of them).

    Parameters
    ----------
    n_channels
        Channels of each subject.
    convolution
        See `PatchConvolution`.
    """

    def __init__(self, n_channels: Sequence[int], **convolution: Any) -> None:
        patches = [PatchConvolution(count, **convolution) for count in n_channels]
        super().__init__(n_channels, patches[0])
        self.patches = nn.ModuleList(patches)

    def tokens(self, x: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """[B, C, T] -> [B, N, D]."""
        if subject is None:
            return self.patches[0](x)
        parts = by_subject(subject)
        out = [self.patches[s](x[rows, : self.n_channels[s]]) for s, rows in parts]
        return in_order(out, [rows for _, rows in parts])

    def fold(self, subject: int = 0) -> Affine:
        """Weight [D, C_s, patch] and bias [D]."""
        patches = self.patches[subject]
        assert isinstance(patches, PatchConvolution)
        return patches.folded()

    def take(self, other: Front, subjects: Sequence[int | None]) -> None:
        """See `Front.take`."""
        if not isinstance(other, OwnFront):
            raise ValueError("a front with own convolutions cannot start from one with shared channels")
        for mine, theirs in _pairs(self, other, subjects):
            self.patches[mine].load_state_dict(other.patches[theirs].state_dict())


def strided(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Apply a folded front: [B, C, T] -> [B, N, D]."""
    patches = x.unflatten(2, (-1, weight.shape[-1])).transpose(1, 2).flatten(2)  # [B, N, C patch]
    return functional.linear(patches, weight.flatten(1), bias)


def by_subject(subject: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """Each subject that occurs in [B], with its rows."""
    return [(s, (subject == s).nonzero().flatten()) for s in subject.unique().tolist()]


def in_order(parts: list[torch.Tensor], rows: list[torch.Tensor]) -> torch.Tensor:
    """Parts of a batch, put back where their rows were."""
    return torch.cat(parts)[torch.cat(rows).argsort()]


def _pairs(mine: Front, theirs: Front, subjects: Sequence[int | None]) -> list[tuple[int, int]]:
    if len(subjects) != len(mine.n_channels):
        raise ValueError(f"{len(subjects)} subjects are named for a front of {len(mine.n_channels)}")
    pairs = [(i, s) for i, s in enumerate(subjects) if s is not None]
    for i, s in pairs:
        if mine.n_channels[i] != theirs.n_channels[s]:
            raise ValueError(
                f"subject {i} has {mine.n_channels[i]} channels, the pretrained subject {s} has {theirs.n_channels[s]}"
            )
    return pairs


def _merged(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> Affine:
    """A convolution with its batch norm in evaluation mode: weight and bias, float64."""
    assert convolution.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # [filters]
    weight = convolution.weight.double() * scale[:, None, None]
    return weight, (convolution.bias.double() - norm.running_mean.double()) * scale + norm.bias.double()
