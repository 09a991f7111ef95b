"""The encoder that all three stages share: signal -> tokens -> tokens that know each other.

encoder = SignalEncoder(n_chans=10)
hidden = encoder(x, subject)           # [B, 10, T], [B] -> [B, N, 160]

3,560,416 trained numbers for 10 channels of one subject. The two halves are apart, for masks go between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from neurodecode.models.codebook.front import Front, MixedFront, OwnFront
from neurodecode.models.layers.transformer import TransformerStack


class SignalEncoder(nn.Module):
    """Front and transformer.

    Parameters
    ----------
    n_chans
        Channels; a list for several subjects, one number each.
    front
        "mix": a read-in a subject to shared channels, then one stack of convolutions (single-subject model of the
        paper); "own": a stack a subject (its multi-subject model).
    mixed_channels
        Shared channels ("mix").
    patch, filters, kernels, strides
        See `front.PatchConvolution`.
    depth, heads, head_width, feed_forward, attention_dropout, dropout
        See `layers.transformer.TransformerStack`.
    """

    def __init__(
        self,
        n_chans: int | Sequence[int],
        *,
        front: str = "mix",
        mixed_channels: int = 16,
        patch: int = 100,
        filters: Sequence[int] = (128, 128, 16),
        kernels: Sequence[int] = (19, 3, 3),
        strides: Sequence[int] = (10, 1, 1),
        depth: int = 8,
        heads: int = 8,
        head_width: int = 64,
        feed_forward: int = 320,
        attention_dropout: float = 0.2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.n_channels = (n_chans,) if isinstance(n_chans, int) else tuple(n_chans)
        self.shares_channels = front == "mix"
        convolution = {"patch": patch, "filters": filters, "kernels": kernels, "strides": strides}
        if front == "mix":
            self.front: Front = MixedFront(self.n_channels, mixed_channels, **convolution)
        else:
            self.front = OwnFront(self.n_channels, **convolution)
        self.patch, self.width = patch, self.front.width
        self.transformer = TransformerStack(
            depth,
            self.width,
            heads=heads,
            head_width=head_width,
            feed_forward=feed_forward,
            attention_dropout=attention_dropout,
            dropout=dropout,
        )

    @property
    def n_subjects(self) -> int:
        """S."""
        return len(self.n_channels)

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> [B, N, D]."""
        return self.transformer(self.front(x, subject))

    def present(self, subject: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Which of the batch's channels each window's subject has, [B, C] bool."""
        counts = torch.tensor(self.n_channels)
        own = counts if subject is None else counts.to(subject.device)[subject][:, None]  # [1] or [B, 1]
        return (torch.arange(max(self.n_channels), device=own.device) < own).expand(batch, -1)

    def start_from(self, other: SignalEncoder, subjects: Sequence[int | None] | None = None) -> None:
        """Copy what another encoder learnt, batch norm's averages included.

        Parameters
        ----------
        other
            Of the same shape.
        subjects
            For each of our subjects, which of the other's it is; None for one who starts afresh. By default the
            subjects are the same ones.

        Raises
        ------
        ValueError
            If subjects or channel counts do not agree.
        RuntimeError
            If any tensor is missing, left over, or of another shape: nothing is skipped in silence.
        """
        if subjects is None:
            if self.n_channels != other.n_channels:
                raise ValueError(
                    f"the subjects' channels are {self.n_channels} here and {other.n_channels} in the pretrained "
                    "encoder; say which of its subjects each of ours is"
                )
            subjects = range(self.n_subjects)
        self.front.take(other.front, subjects)
        self.transformer.load_state_dict(other.transformer.state_dict())
