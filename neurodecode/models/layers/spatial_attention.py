"""Spatial attention: sensors at any positions become a fixed number of virtual channels.

Signal [B, C, T] and the layout each window was recorded with -> [B, O, T]. A head's weight on a sensor is a softmax
over sensors of a learnt Fourier series of the sensor's position (Défossez et al. 2023, section 4.2 of the
specification), so it depends on the layout alone: it is computed once for each distinct layout and forward pass, never
once a window.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from neurodecode.errors import SettingsError

SPAN = 0.25  # m, that the unit cube stands for: a head, with room for where its frame has its origin


def fourier_basis(positions: torch.Tensor, frequencies: int = 32, margin: float = 0.2) -> torch.Tensor:
    """Cosines and sines of all combinations of frequencies at each position.

    Parameters
    ----------
    positions
        [..., 2], in the unit square, or [..., 3], in the unit cube.
    frequencies
        Frequencies an axis, K (paper: 32).
    margin
        The series has period 1 + 2 margin, so that opposite edges of the square do not coincide (paper: 0.2).

    Returns
    -------
    torch.Tensor
        [..., 2 K²]: K² cosines, then K² sines; the frequency along x is the slow index, that along y the fast one. In a
        cube likewise [..., 2 K³], z being the fastest.
    """
    order = torch.arange(frequencies, dtype=torch.float64, device=positions.device)
    # float64: 31 turns in float32 would cost the phase three digits, and this runs once a layout
    angle = 2 * math.pi * (positions.double() + margin) / (1 + 2 * margin)  # [..., 2]
    along_x = angle[..., 0, None] * order  # [..., K]
    along_y = angle[..., 1, None] * order  # [..., K]
    phase = (along_x[..., :, None] + along_y[..., None, :]).flatten(-2)  # [..., K, K] -> [..., K²]
    if positions.shape[-1] == 3:
        along_z = angle[..., 2, None] * order  # [..., K]
        phase = (phase[..., :, None] + along_z[..., None, :]).flatten(-2)  # [..., K², K] -> [..., K³]
    return torch.cat([phase.cos(), phase.sin()], dim=-1).to(positions.dtype)


class SpatialAttention(nn.Module):
    """Learnt weighted means over sensors, as a function of where the sensors are.

    Parameters
    ----------
    n_outputs
        Virtual channels, O (paper: 270).
    positions
        [L, C, 2] float, in the unit square, or [L, C, 3], m; one row a recording. Rows that agree share one computation.
    valid
        [L, C] bool: sensors that may receive weight, their position being known.
    frequencies, margin
        See `fourier_basis`.
    dropout
        In training, sensors within this distance of one random point of the unit square get no weight; the point is
        drawn once a forward pass. A layout that would lose all of its sensors keeps them. 0 turns it off. In a cube, most
        of which is empty, the point is that of a random sensor, and the distance is in units of 0.25 m.
    good
        [L, C] bool: of these, those that are not valid share one learnt score a head in place of a series.

    Raises
    ------
    SettingsError
        If a layout has no valid sensor: its softmax would be over nothing; if positions in m are not those of a head.
    """

    positions: torch.Tensor  # [U, C, 2], distinct layouts
    valid: torch.Tensor  # [U, C], may receive weight
    placed: torch.Tensor  # [U, C], position known
    basis: torch.Tensor  # [U, C, 2 K²], or [U, C, 2 K³]
    distinct: torch.Tensor  # [L], the distinct layout of each recording

    def __init__(
        self,
        n_outputs: int,
        positions: torch.Tensor,
        valid: torch.Tensor,
        *,
        frequencies: int = 32,
        margin: float = 0.2,
        dropout: float = 0.2,
        good: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.frequencies, self.margin, self.dropout = frequencies, margin, dropout
        self.axes = int(positions.shape[-1])
        n_basis = 2 * frequencies**self.axes
        self.heads = nn.Parameter(torch.randn(n_outputs, n_basis) / math.sqrt(n_basis))
        self.token = None if good is None else nn.Parameter(torch.zeros(n_outputs))
        self.set_layouts(positions, valid, good)

    def set_layouts(self, positions: torch.Tensor, valid: torch.Tensor, good: torch.Tensor | None = None) -> None:
        """Use other layouts with the same heads: [L, C, axes] and [L, C]. They are not part of the state dict."""
        positions = torch.as_tensor(positions, dtype=torch.float32)
        valid = torch.as_tensor(valid, dtype=torch.bool)
        if positions.ndim != 3 or positions.shape[-1] not in (2, 3) or valid.shape != positions.shape[:2]:
            raise ValueError(
                f"positions must be [L, C, 2] or [L, C, 3] and valid [L, C], got {tuple(positions.shape)} and "
                f"{tuple(valid.shape)}"
            )
        if positions.shape[-1] != self.axes:
            raise ValueError(f"the heads read {self.axes} axes, the positions have {positions.shape[-1]}")
        if self.axes == 3:
            positions = _in_cube(positions, valid, self.margin)
        placed = valid
        if good is not None:  # where a sensor without a position is does not matter: its score is the token
            valid = valid | torch.as_tensor(good, dtype=torch.bool)
        empty = (~valid.any(1)).nonzero().flatten().tolist()
        if empty:
            raise SettingsError(
                f"model.spatial_attention: recording {empty[0] + 1} of {len(valid)} has no good sensor with a known "
                "position; give positions (electrodes.tsv or a montage), or set model.spatial_attention=false"
            )
        # where is irrelevant if masked; the last column tells good sensors without a position from masked ones
        known = torch.where(placed[..., None], positions, torch.full_like(positions, -1.0))
        known = torch.cat([known, (valid & ~placed)[..., None].float()], dim=-1)
        rows, distinct = torch.unique(known.flatten(1), dim=0, return_inverse=True)
        first = torch.stack([(distinct == u).nonzero()[0, 0] for u in range(len(rows))])
        device = self.heads.device
        # buffers that follow the device but not the state dict: weights learnt on one layout serve another
        self.register_buffer("positions", positions[first].to(device), persistent=False)
        self.register_buffer("valid", valid[first].to(device), persistent=False)
        self.register_buffer("placed", placed[first].to(device), persistent=False)
        self.register_buffer(
            "basis", fourier_basis(positions[first], self.frequencies, self.margin).to(device), persistent=False
        )
        self.register_buffer("distinct", distinct.to(device), persistent=False)

    @property
    def n_layouts(self) -> int:
        """Distinct layouts, U."""
        return len(self.valid)

    def allowed(self, chosen: torch.Tensor | None = None) -> torch.Tensor:
        """Sensors that get weight in this pass, [U, C] bool; in training a random disc of them does not."""
        valid = self.valid if chosen is None else self.valid[chosen]
        if not self.training or self.dropout == 0:
            return valid
        positions = self.positions if chosen is None else self.positions[chosen]
        placed = self.placed if chosen is None else self.placed[chosen]
        if self.axes == 2:
            point = torch.rand(2, device=positions.device)
        elif not placed.any():
            return valid
        else:
            sensors = positions[placed]  # [sensors, 3]
            point = sensors[torch.randint(len(sensors), (), device=positions.device)]
        near = placed & ((positions - point).square().sum(-1) <= self.dropout**2)
        kept = valid & ~near
        # a small or one-sided layout may lie inside the disc: softmax over nothing is NaN, so its ban is lifted
        return torch.where(kept.any(1, keepdim=True), kept, valid)

    def weights(self, chosen: torch.Tensor | None = None) -> torch.Tensor:
        """Attention weights of the distinct layouts (or of those `chosen`), [U, O, C]; each row sums to 1."""
        basis = self.basis if chosen is None else self.basis[chosen]
        allowed = self.allowed(chosen)
        # at least float32, also under autocast: sums over 2048 products decide a softmax, and it is one product a layout
        dtype = torch.promote_types(self.heads.dtype, torch.float32)
        with torch.autocast(basis.device.type, enabled=False):
            scores = self.heads.to(dtype) @ basis.to(dtype).transpose(1, 2)  # [O, 2K²] x [U, 2K², C] -> [U, O, C]
            if self.token is not None:
                placed = self.placed if chosen is None else self.placed[chosen]
                scores = torch.where(placed[:, None], scores, self.token.to(dtype)[:, None])
            return scores.masked_fill(~allowed[:, None], -math.inf).softmax(-1)

    def forward(self, x: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """[B, C, T] and [B] -> [B, O, T]."""
        row = self.distinct[layout]  # [B]
        if self.n_layouts == 1:
            return torch.matmul(self.weights().to(x.dtype).expand(len(x), -1, -1), x)
        if self.n_layouts > len(x):  # many layouts (every sEEG implant is one): only those in the batch
            chosen, row = torch.unique(row, return_inverse=True)
            return torch.bmm(self.weights(chosen)[row].to(x.dtype), x)
        return torch.bmm(self.weights()[row].to(x.dtype), x)


def _in_cube(positions: torch.Tensor, valid: torch.Tensor, margin: float) -> torch.Tensor:
    """Metres to units of `SPAN` around the origin of their frame, at 0.5; [L, C, 3]."""
    reach = SPAN * (0.5 + margin)  # beyond, the series repeats
    far = valid & (positions.abs() > reach).any(-1)
    if far.any():
        recording, sensor = far.nonzero()[0].tolist()
        place = ", ".join(f"{v:.3g}" for v in positions[recording, sensor].tolist())
        raise SettingsError(
            f"model.positions: recording {recording + 1} has a sensor at ({place}) m, more than {reach:.3g} m from the "
            "origin of its frame along an axis; check its unit, or use 2d"
        )
    return positions / SPAN + 0.5
