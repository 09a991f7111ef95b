"""What a network knows about each session: a matrix in place of, or on top of, that of the subject (beyond the paper).

A head sits differently each time, caps slip, electrodes dry. In: signal [B, D, T], the subject and the recording of each
window. A session that was not trained gets the mean over the trained sessions of its subject, and a subject that was
never seen the mean over subjects, so that nothing untrained is ever used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Sessions:
    """Which recording belongs to which session.

    Attributes
    ----------
    of
        [L] int64: session of each recording.
    owner
        [R] int64: subject of each session.
    seen
        [R] bool: it has training windows.
    """

    of: torch.Tensor
    owner: torch.Tensor
    seen: torch.Tensor


class SessionLayer(nn.Module):
    """One square matrix a session: y = W x with W = own matrix, or W = matrix of the subject + deviation.

    Parameters
    ----------
    channels
        D.
    n_subjects
        S.
    sessions
        See `Sessions`.
    own
        True: in place of the subject's matrix, starting as N(0, 1) / sqrt(D); False: on top of it, starting at 0.
    """

    of: torch.Tensor
    owner: torch.Tensor
    seen: torch.Tensor

    def __init__(self, channels: int, n_subjects: int, sessions: Sessions, own: bool) -> None:
        super().__init__()
        self.n_subjects, self.own = n_subjects, own
        n = len(sessions.owner)
        start = torch.randn(n_subjects, channels, channels) / math.sqrt(channels)
        if own:  # sessions of one subject start alike
            self.sessions = nn.Parameter(start[sessions.owner])
        else:
            self.matrices = nn.Parameter(start)
            self.sessions = nn.Parameter(torch.zeros(n, channels, channels))
        self.register_buffer("of", sessions.of.clone(), persistent=False)
        self.register_buffer("owner", sessions.owner.clone(), persistent=False)
        self.register_buffer("seen", sessions.seen.clone(), persistent=False)

    def rows(self) -> torch.Tensor:
        """All matrices [R + S + 1, D, D]: of the sessions, of each subject outside of them, of anybody."""
        count = torch.zeros(self.n_subjects, device=self.owner.device).index_add(0, self.owner, self.seen.float())
        weight = self.seen / count[self.owner].clamp(min=1)  # [R]
        mean = torch.zeros(
            self.n_subjects, *self.sessions.shape[1:], device=self.sessions.device, dtype=self.sessions.dtype
        ).index_add(0, self.owner, self.sessions * weight[:, None, None].to(self.sessions.dtype))  # [S, D, D]
        known = count > 0
        if self.own:
            anybody = mean[known].mean(0, keepdim=True)  # [1, D, D]
            people = torch.where(known[:, None, None], mean, anybody)
            return torch.cat([self.sessions, people, anybody])
        people = self.matrices + mean
        return torch.cat([self.matrices[self.owner] + self.sessions, people, people.mean(0, keepdim=True)])

    def slot(self, subject: torch.Tensor | None, layout: torch.Tensor) -> torch.Tensor:
        """Row of `rows` for each window, [B]; subject None or -1 is somebody unseen."""
        n = len(self.owner)
        if subject is None:
            return torch.full_like(layout, n + self.n_subjects)
        session = self.of[layout]
        usable = self.seen[session] & (self.owner[session] == subject)
        outside = torch.where(subject == -1, n + self.n_subjects, n + subject)
        return torch.where(usable, session, outside)

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None, layout: torch.Tensor) -> torch.Tensor:
        """[B, D, T], [B] and [B] -> [B, D, T]."""
        matrices = self.rows()[self.slot(subject, layout)]  # [B, D, D]
        return torch.bmm(matrices.transpose(1, 2), x)
