"""Sensor positions from braindecode's `chs_info`, for networks that are used without a store.

A list of MNE channel dictionaries -> positions in the unit square, as spatial attention reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

UNKNOWN = -0.1  # section 4.1: the position written where there is none; such sensors are masked


def positions_from_chs_info(chs_info: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Project 3-D sensor positions on a plane and scale each axis to [0, 1].

    The projection keeps the azimuth and puts the angle from the vertical on the radius, as MNE's automatic layouts do.

    Parameters
    ----------
    chs_info
        One mapping a channel; `loc[:3]` is its position in metres.

    Returns
    -------
    positions, valid
        [1, C, 2] float32 and [1, C] bool; channels whose position is missing, not finite or all zero are not valid.
    """
    places = np.array([np.asarray(ch.get("loc", [np.nan] * 3), float)[:3] for ch in chs_info]).reshape(-1, 3)
    valid = np.isfinite(places).all(1) & (places != 0).any(1)
    x, y, z = places[valid].T
    angle = np.arctan2(np.hypot(x, y), z)  # from the vertical, 0 at the crown
    azimuth = np.arctan2(y, x)
    flat = np.stack([angle * np.cos(azimuth), angle * np.sin(azimuth)], axis=1)  # [valid, 2]
    positions = np.full((len(places), 2), UNKNOWN, np.float32)
    if len(flat):
        low, high = flat.min(0), flat.max(0)
        spread = np.where(high > low, high - low, 1.0)
        positions[valid] = (flat - low) / spread
    return torch.from_numpy(positions)[None], torch.from_numpy(valid)[None]
