"""Between each subject's own channels and channels that all subjects share, by subject index.

[B, C, T] of electrodes -> [B, W, T] shared, and back. Subjects may have different numbers of channels: a batch is as
wide as the widest of them, and what lies beyond a subject's own channels is neither read nor written. Sections 4.1
(mix) and 4.2 (de-mix) of the specification; there it is a one-hot product that computes every subject for every window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from neurodecode.models.layers.transformer import WEIGHT_STD


class _Ragged(nn.Module):
    """Rows of all subjects' channels in one table [R, W], R the sum of their channels."""

    rows: torch.Tensor  # [S, C] place of each channel in the table; R where there is none
    present: torch.Tensor  # [S, C] bool

    def __init__(self, n_channels: Sequence[int], width: int) -> None:
        super().__init__()
        if not n_channels or min(n_channels) < 1:
            raise ValueError(f"each subject needs a channel or more, got {tuple(n_channels)}")
        self.n_channels, self.width = tuple(n_channels), width
        total, widest = sum(n_channels), max(n_channels)
        rows = torch.full((len(n_channels), widest), total)
        start = 0
        for s, count in enumerate(n_channels):
            rows[s, :count] = torch.arange(start, start + count)
            start += count
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("present", rows < total, persistent=False)
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(total, width), std=WEIGHT_STD))

    @property
    def ragged(self) -> bool:
        """Whether channel counts differ."""
        return min(self.n_channels) < max(self.n_channels)

    def weights(self, subject: torch.Tensor | None) -> torch.Tensor:
        """[B] -> [B, C, W]; zeros where a subject has no channel."""
        subject = checked(subject, len(self.n_channels))
        if subject is None:
            return self.weight[None]
        table = torch.cat([self.weight, self.weight.new_zeros(1, self.width)]) if self.ragged else self.weight
        return table[self.rows[subject]]

    def of(self, subject: int) -> torch.Tensor:
        """One subject's rows, [C_s, W]."""
        return self.weight[self.rows[subject, : self.n_channels[subject]]]

    def channel_weights(self, subject: int = 0) -> torch.Tensor:
        """How much each channel counts: mean |weight| over the shared channels, over the largest; [C_s].

        The channel ranking of the paper (section 5 of the specification), meant for a network trained from scratch on
        the task, with scaled channels, and on the training split only.
        """
        size = self.of(subject).detach().abs().mean(1)
        return size / size.max()


class SubjectReadIn(_Ragged):
    """Own channels -> shared channels: y[w, t] = sum over c of W_s[c, w] x[c, t] + b_s[w].

    Parameters
    ----------
    n_channels
        Channels of each subject.
    width
        Shared channels, W (paper: 16).
    """

    def __init__(self, n_channels: Sequence[int], width: int) -> None:
        super().__init__(n_channels, width)
        self.bias = nn.Parameter(torch.zeros(len(n_channels), width))

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> [B, W, T]."""
        weights = self.weights(subject)  # [B or 1, C, W]
        if subject is None:
            return weights.transpose(1, 2) @ x + self.bias[0, :, None]
        if self.ragged:  # a weight of zero does not stop the NaN of a channel that is not there
            x = x.masked_fill(~self.present[subject][:, :, None], 0)
        return weights.transpose(1, 2) @ x + self.bias[subject][:, :, None]


class SubjectReadOut(_Ragged):
    """Shared channels -> own channels: x[c, t] = sum over w of W_s[c, w] y[w, t] + b_s[c]; 0 where there is none.

    Parameters
    ----------
    n_channels, width
        As in `SubjectReadIn`.
    """

    def __init__(self, n_channels: Sequence[int], width: int) -> None:
        super().__init__(n_channels, width)
        self.bias = nn.Parameter(torch.zeros(sum(n_channels)))

    def forward(self, y: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, W, T] and [B] (None where there is one subject) -> [B, C, T]."""
        weights = self.weights(subject)  # [B or 1, C, W]
        if subject is None:
            return weights @ y + self.bias[:, None]
        bias = torch.cat([self.bias, self.bias.new_zeros(1)])[self.rows[subject]]  # [B, C]
        return weights @ y + bias[:, :, None]


def checked(subject: torch.Tensor | None, n_subjects: int) -> torch.Tensor | None:
    """Refuse windows of nobody: no subject's channels can stand for another's.

    Raises
    ------
    ValueError
        If there is no index although there are several subjects, or one that is out of range (seen on the CPU; on CUDA
        an index out of range stops the device).
    """
    if subject is None:
        if n_subjects > 1:
            raise ValueError(f"there are {n_subjects} subjects: say whose each window is")
        return None
    # reading values would make a CUDA device wait, and cut a compiled graph in two
    if subject.device.type == "cpu" and len(subject) and not torch.compiler.is_compiling():
        least, most = int(subject.min()), int(subject.max())
        if least < 0 or most >= n_subjects:
            raise ValueError(
                f"subject indices are {least} to {most}, there are {n_subjects} subjects; channels of someone unseen "
                "cannot be read in: train a read-in for them"
            )
    # a negative index would silently count from the end
    return torch.where(subject < 0, n_subjects, subject)
