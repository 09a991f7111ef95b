"""From settings and the sizes that data have to a network.

model = build_model(settings.model, n_chans=208, n_outputs=120, n_times=343, sfreq=120.0, n_subjects=27,
                    layouts=source.layouts)
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from neurodecode.config import ModelSettings
from neurodecode.models.aligner import Aligner
from neurodecode.models.layers.session_layer import Sessions


class LayoutsLike(Protocol):
    """Sensor layouts of a cohort: `segments.layouts.Layouts`, or anything with these two tensors."""

    @property
    def positions(self) -> torch.Tensor:
        """[L, C, 2]."""

    @property
    def placed(self) -> torch.Tensor:
        """[L, C] bool: good channels whose position is known."""

    @property
    def valid(self) -> torch.Tensor:
        """[L, C] bool: good channels."""

    @property
    def places(self) -> torch.Tensor:
        """[L, C, 3], m; NaN where unknown."""


def build_model(
    settings: ModelSettings,
    *,
    n_chans: int,
    n_outputs: int,
    n_times: int | None = None,
    sfreq: float | None = None,
    n_subjects: int = 1,
    layouts: LayoutsLike | None = None,
    sessions: Sessions | None = None,
) -> nn.Module:
    """Build the network that `settings.kind` names.

    `layouts` is needed for spatial attention only, `sessions` (see `layers.session_layer`) for layers of sessions only.

    Raises
    ------
    SettingsError
        If a recording has no sensor with a position that the attention could read.
    """
    arguments = settings.model_dump(exclude={"kind", "positions", "session_unit", "context"})
    positions = valid = good = None
    if layouts is not None and settings.spatial_attention:
        positions, valid = layouts.positions, layouts.placed
        if settings.positions == "3d":
            positions, valid = layouts.places, layouts.valid & layouts.places.isfinite().all(-1)
            positions = torch.where(valid[..., None], positions, torch.zeros_like(positions))
        good = layouts.valid if settings.unplaced == "token" else None
    return Aligner(
        n_chans,
        n_outputs,
        n_times,
        sfreq,
        n_subjects=n_subjects,
        positions=positions,
        valid=valid,
        good=good,
        session_table=sessions,
        context=settings.context,
        **arguments,
    )


def count_parameters(model: nn.Module) -> int:
    """Trained numbers."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
