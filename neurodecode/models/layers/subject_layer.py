"""What a network knows about each subject: a matrix of its own, or an embedding beside the signal.

Subjects are indices 0..S-1; -1, or None for a whole batch, stands for someone the network never saw and gets the mean
of all subjects' parameters.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class SubjectLayer(nn.Module):
    """One square matrix a subject, without bias (section 4.3): y[d, t] = sum over c of x[c, t] W_s[c, d].

    Parameters
    ----------
    channels
        D; the matrices start as N(0, 1) / sqrt(D).
    n_subjects
        S.
    """

    def __init__(self, channels: int, n_subjects: int) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(n_subjects, channels, channels) / math.sqrt(channels))

    def rows(self) -> torch.Tensor:
        """All matrices and, last, their mean: [S + 1, D, D]."""
        return torch.cat([self.matrices, self.matrices.mean(0, keepdim=True)])

    def slot(self, subject: torch.Tensor | None, layout: torch.Tensor) -> torch.Tensor:
        """Row of `rows` for each window, [B]; the layout says only how many there are."""
        if subject is None:
            return torch.full_like(layout, len(self.matrices))
        return slot(subject, len(self.matrices))

    def forward(
        self, x: torch.Tensor, subject: torch.Tensor | None, layout: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[B, D, T] and [B] -> [B, D, T]; which recording it is makes no difference."""
        if subject is None:
            return self.matrices.mean(0).T @ x
        matrices = self.rows()[slot(subject, len(self.matrices))]  # [B, D, D]
        return torch.bmm(matrices.transpose(1, 2), x)


class SubjectEmbedding(nn.Module):
    """One vector a subject, laid beside the channels as constants in time (ablation in table 1.3).

    Parameters
    ----------
    width
        Numbers a subject (paper: 64).
    n_subjects
        S.
    """

    def __init__(self, width: int, n_subjects: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_subjects, width))

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """[B, D, T] and [B] -> [B, D + width, T]."""
        mean = self.vectors.mean(0, keepdim=True)  # [1, width]
        if subject is None:
            vectors = mean.expand(len(x), -1)
        else:
            vectors = torch.cat([self.vectors, mean])[slot(subject, len(self.vectors))]  # [B, width]
        return torch.cat([x, vectors[:, :, None].expand(-1, -1, x.shape[-1]).to(x.dtype)], dim=1)


def slot(subject: torch.Tensor, n_subjects: int) -> torch.Tensor:
    """Row of a table whose last row is the mean: -1 becomes S, all else stays."""
    return torch.where(subject == -1, n_subjects, subject)
