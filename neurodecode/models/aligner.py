"""The contrastive speech aligner's network: brain windows of any subject and sensor layout -> speech features.

    model = Aligner(n_chans=208, n_outputs=1024, n_subjects=27, positions=positions, valid=valid)
    estimate = model(x, subject, layout)   # [B, 208, T], [B], [B] -> [B, 1024, T]

Défossez et al. 2023 (section 4 of the specification): spatial attention, a 1x1 convolution, one matrix a subject, a
stack of dilated convolutions, two 1x1 convolutions. Everything before the stack is linear, so in evaluation mode it is
folded into one matrix for each recording layout and subject (`Aligner.fold`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from neurodecode.config import ContextSettings
from neurodecode.errors import SettingsError
from neurodecode.models.context import ContextEncoder
from neurodecode.models.layers.convolution import ACTIVATIONS, ConvolutionStack
from neurodecode.models.layers.session_layer import SessionLayer, Sessions
from neurodecode.models.layers.spatial_attention import SpatialAttention
from neurodecode.models.layers.subject_layer import SubjectEmbedding, SubjectLayer
from neurodecode.models.layers.window_norm import window_norm
from neurodecode.models.positions import positions_from_chs_info

# maps [U, D, C] and bias [D] of attention and 1x1 convolution; matrices of the subject (or session) layer and, last,
# their mean [S + 1, D, D]
Folded = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


class Aligner(nn.Module):
    """Network of the contrastive aligner.

    Parameters
    ----------
    n_chans
        Channels of the signal, C.
    n_outputs
        Feature dimensions, F.
    n_times, sfreq
        Samples of a window and their rate, Hz. Kept for the braindecode contract: any length works.
    chs_info
        MNE channel dictionaries, from which positions are taken when `positions` is not given.
    n_subjects
        S.
    positions, valid
        [L, C, 2] in the unit square (or [L, C, 3], m) and [L, C]: sensor layouts, one a recording.
    good
        [L, C]: sensors that may receive weight though their position is unknown, with `unplaced` token.
    session_table
        Which recording belongs to which session; needed for `sessions` other than none.
    spatial_attention ... head
        As in `neurodecode.config.ModelSettings`; the defaults are the published configuration, with
        7,596,754 + 72,900 S parameters for F = 1024.

    Raises
    ------
    SettingsError
        If spatial attention is asked for and no sensor position is known.
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int | None = None,
        sfreq: float | None = None,
        chs_info: Sequence[Any] | None = None,
        *,
        n_subjects: int = 1,
        positions: torch.Tensor | None = None,
        valid: torch.Tensor | None = None,
        good: torch.Tensor | None = None,
        session_table: Sessions | None = None,
        instance_norm: bool = False,
        spatial_attention: bool = True,
        spatial_channels: int = 270,
        fourier_frequencies: int = 32,
        spatial_margin: float = 0.2,
        spatial_dropout: float = 0.2,
        unplaced: str = "masked",
        initial_convolution: bool = True,
        subjects: str = "layer",
        subject_dimension: int = 64,
        sessions: str = "none",
        hidden: int = 320,
        depth: int = 10,
        kernel: int = 3,
        dilation_period: int = 5,
        skip: bool = True,
        glu_every: int = 2,
        batch_norm: bool = True,
        activation: str = "gelu",
        dropout: float = 0.0,
        head: bool | str = True,
        context: ContextSettings | None = None,
    ) -> None:
        super().__init__()
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = n_chans, n_outputs, n_times, sfreq
        self.n_subjects, self.instance_norm = n_subjects, instance_norm
        width = n_chans
        self.attention: SpatialAttention | None = None
        if spatial_attention:
            if positions is None and chs_info is not None:
                positions, valid = positions_from_chs_info(chs_info)
            if positions is None:
                raise SettingsError(
                    "model.spatial_attention: no sensor positions were given; pass positions [L, C, 2] or chs_info, "
                    "or set model.spatial_attention=false"
                )
            if positions.shape[1] != n_chans:
                raise ValueError(f"positions are of {positions.shape[1]} channels, n_chans is {n_chans}")
            self.attention = SpatialAttention(
                spatial_channels,
                positions,
                torch.ones(positions.shape[:2], dtype=torch.bool) if valid is None else valid,
                frequencies=fourier_frequencies,
                margin=spatial_margin,
                dropout=spatial_dropout,
                good=good if unplaced == "token" else None,
            )
            width = spatial_channels
        self.initial: nn.Conv1d | None = None
        if initial_convolution:
            self.initial = nn.Conv1d(width, spatial_channels, 1)
            width = spatial_channels
        self.subject_layer: SubjectLayer | SessionLayer | None = None
        if sessions != "none":
            if session_table is None:
                raise ValueError(f"sessions {sessions}: give session_table")
            self.subject_layer = SessionLayer(width, n_subjects, session_table, own=sessions == "own")
        elif subjects == "layer":
            self.subject_layer = SubjectLayer(width, n_subjects)
        self.subject_embedding = SubjectEmbedding(subject_dimension, n_subjects) if subjects == "embedding" else None
        self.encoder = ConvolutionStack(
            width + (subject_dimension if subjects == "embedding" else 0),
            hidden,
            depth,
            kernel=kernel,
            dilation_period=dilation_period,
            glu_every=glu_every,
            skip=skip,
            batch_norm=batch_norm,
            activation=activation,
            dropout=dropout,
            n_out=n_outputs if head == "none" else None,
        )
        self.head = _head(head, hidden, n_outputs, activation)
        # last, so that every other weight starts as it would without
        self.context: ContextEncoder | None = None
        if context is not None and context.on:
            self.context = ContextEncoder(n_outputs if head == "none" else hidden, context)
        self._cache: tuple[tuple[Any, ...], Folded] | None = None

    def forward(
        self,
        x: torch.Tensor,
        subject: torch.Tensor | None = None,
        layout: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Estimate features.

        Parameters
        ----------
        x
            [B, C, T] scaled signal.
        subject
            [B] indices; -1, or None for all, is someone unseen and gets the mean of the subjects' parameters.
        layout
            [B] indices of recordings; None is allowed when there is one layout.
        context
            [Q, K]: for each of the first Q windows its neighbours among all of them, as in `segments.batches.Batch`; only
            for a network with context, which sees every window alone when there is none.

        Returns
        -------
        torch.Tensor
            [B, F, T], or [Q, F, T] with context.
        """
        if x.shape[1] != self.n_chans:
            raise ValueError(f"the signal has {x.shape[1]} channels, the network was built for {self.n_chans}")
        layout = self._layout(x, layout)
        if self.instance_norm:
            x = window_norm(x)
        # under torch.compile the plain path is the faster one: the fold's shapes depend on the batch
        folded = not self.training and self.can_fold and not torch.compiler.is_compiling()
        y = self._front_folded(x, subject, layout) if folded else self.front(x, subject, layout)  # [B, D, T]
        if self.subject_embedding is not None:
            y = self.subject_embedding(y, subject)
        y = self.encoder(y)
        if self.context is not None:
            y = self.context(y, context)
        elif context is not None:
            raise ValueError("neighbours were given, and the network has no model.context")
        return self.head(y)

    def front(self, x: torch.Tensor, subject: torch.Tensor | None, layout: torch.Tensor | None) -> torch.Tensor:
        """The linear part, step by step: attention, 1x1 convolution, subject matrix; [B, C, T] -> [B, D, T]."""
        layout = self._layout(x, layout)
        if self.attention is not None:
            x = self.attention(x, layout)
        if self.initial is not None:
            x = self.initial(x)
        return x if self.subject_layer is None else self.subject_layer(x, subject, layout)

    @property
    def can_fold(self) -> bool:
        """Whether the linear part has anything to fold."""
        return self.attention is not None or self.initial is not None or self.subject_layer is not None

    def fold(self, layout: int = 0, subject: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The linear part as one affine map for one recording layout and subject: matrix [D, C] and bias [D].

        Evaluation mode only: in training a random part of the sensors is left out.
        """
        maps, bias, people = self._folded()
        row = int(self.attention.distinct[layout]) if self.attention is not None else 0
        if people is None:
            return maps[row], bias
        assert self.subject_layer is not None
        who = torch.tensor([-1 if subject is None else subject], device=people.device)
        matrix = people[self.subject_layer.slot(who, torch.full_like(who, layout))[0]]  # [D, D]
        return matrix @ maps[row], matrix @ bias

    def train(self, mode: bool = True) -> Aligner:
        """Switch mode; what was folded is forgotten."""
        self._cache = None
        return super().train(mode)

    def _layout(self, x: torch.Tensor, layout: torch.Tensor | None) -> torch.Tensor:
        if layout is not None:
            return layout
        known = len(self.attention.distinct) if self.attention is not None else 1
        if isinstance(self.subject_layer, SessionLayer):
            known = len(self.subject_layer.of)
        if known > 1:
            raise ValueError(f"there are {known} layouts: say which one each window has")
        return torch.zeros(len(x), dtype=torch.long, device=x.device)

    def _folded(self) -> Folded:
        """What the linear part is made of, kept between passes while no parameter changes."""
        if self.training:
            raise RuntimeError("the linear part can be folded in evaluation mode only: call .eval() first")
        modules = (self.attention, self.initial, self.subject_layer)
        parts = [p for module in modules if module is not None for p in module.parameters()]
        basis = None if self.attention is None else self.attention.basis
        if torch.is_grad_enabled() or any(p.is_inference() for p in parts):
            return self._compute_folded()
        # the counters change with every optimiser step and every loaded state
        key = (id(basis), *((id(p), p._version, p.device, p.dtype) for p in parts))
        if self._cache is None or self._cache[0] != key:
            self._cache = (key, self._compute_folded())
        return self._cache[1]

    def _compute_folded(self) -> Folded:
        reference = next(self.parameters())
        with torch.autocast(reference.device.type, enabled=False):
            if self.attention is not None:
                maps = self.attention.weights().to(reference.dtype)  # [U, O, C]
            else:
                maps = torch.eye(self.n_chans, device=reference.device, dtype=reference.dtype)[None]  # [1, C, C]
            bias = maps.new_zeros(maps.shape[1])
            if self.initial is not None and self.initial.bias is not None:
                maps = self.initial.weight[:, :, 0] @ maps  # [D, O] x [U, O, C] -> [U, D, C]
                bias = self.initial.bias
            # each transposed, for it stands on the left here
            people = None if self.subject_layer is None else self.subject_layer.rows().transpose(1, 2)
        return maps, bias, people

    def _front_folded(self, x: torch.Tensor, subject: torch.Tensor | None, layout: torch.Tensor) -> torch.Tensor:
        maps, bias, people = self._folded()
        row = self.attention.distinct[layout] if self.attention is not None else torch.zeros_like(layout)  # [B]
        person = torch.zeros_like(row)
        if self.subject_layer is not None:
            person = self.subject_layer.slot(subject, layout)
        # one product for each pair of layout and subject that occurs, however many windows have it
        pairs, which = torch.unique(torch.stack([row, person]), dim=1, return_inverse=True)  # [2, P], [B]
        matrices, biases = maps[pairs[0]], bias.expand(pairs.shape[1], -1)  # [P, D, C], [P, D]
        if people is not None:
            with torch.autocast(x.device.type, enabled=False):
                chosen = people[pairs[1]]  # [P, D, D]
                matrices, biases = chosen @ matrices, chosen @ bias
        if len(matrices) == 1:
            return functional.conv1d(x, matrices[0][:, :, None], biases[0])
        return torch.bmm(matrices[which], x) + biases[which][:, :, None]


class AlignerClassifier(Aligner):
    """The same network read out as a classifier: class scores averaged over time, [B, C, T] -> [B, n_outputs].

    Takes part in braindecode's EEGClassifier, skorch and MOABB::

        EEGClassifier(AlignerClassifier, module__chs_info=info["chs"], module__hidden=64, ...)
    """

    def forward(
        self,
        x: torch.Tensor,
        subject: torch.Tensor | None = None,
        layout: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[B, C, T] -> [B, n_outputs]."""
        return super().forward(x, subject, layout, context).mean(-1)


def _head(kind: bool | str, hidden: int, n_outputs: int, activation: str) -> nn.Module:
    """Two 1x1 convolutions (section 4.5), one, or nothing."""
    if kind == "none":
        return nn.Identity()
    if not kind:
        return nn.Conv1d(hidden, n_outputs, 1)
    last = nn.Conv1d(2 * hidden, n_outputs, 1)
    # published as a transposed convolution of kernel 1: the same map, but its default start scales with the outputs
    for parameter in (last.weight, last.bias):
        if parameter is not None:
            nn.init.uniform_(parameter, -1 / math.sqrt(n_outputs), 1 / math.sqrt(n_outputs))
    return nn.Sequential(nn.Conv1d(hidden, 2 * hidden, 1), ACTIVATIONS[activation](), last)
