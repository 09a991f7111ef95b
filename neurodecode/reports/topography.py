"""Where the network looks: one number a sensor, from the weights it learnt.

In: a trained aligner and the sensor layouts of its fold. Out: positions and maps for `figures.topography`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from neurodecode.models.aligner import Aligner
from neurodecode.training.load import StoredLayouts


@dataclass(frozen=True)
class SensorMaps:
    """Maps over the sensors of one layout.

    Attributes
    ----------
    positions
        [sensors, 2] on the unit square.
    names
        Of the sensors.
    maps
        Title -> [sensors], mean 1.
    """

    positions: np.ndarray
    names: list[str]
    maps: dict[str, np.ndarray]


@torch.inference_mode()
def sensor_maps(model: Aligner, layouts: StoredLayouts, subjects: int) -> SensorMaps | None:
    """Attention and reach of each sensor in the first recording's layout; None without spatial attention.

    Attention is the mean softmax weight over the outputs (section 4.2). Reach is the norm of the sensor's column in the
    matrix that attention, 1x1 convolution and subject layer make together, averaged over subjects: what a unit of that
    sensor's signal moves.
    """
    if model.attention is None:
        return None
    placed = layouts.placed[0].numpy()
    if placed.sum() < 3:
        return None
    number = int(model.attention.distinct[0])
    weights = model.attention.weights()[number].float().numpy()  # [O, C]
    maps = {"attention": relative(weights.mean(axis=0)[placed])}
    if model.can_fold:
        columns = [
            torch.linalg.vector_norm(model.fold(0, s)[0].float(), dim=0).numpy() for s in range(max(subjects, 1))
        ]
        maps["reach"] = relative(np.mean(columns, axis=0)[placed])
    names = [name for name, there in zip(layouts.names, placed) if there]
    return SensorMaps(layouts.positions[0].numpy()[placed], names, maps)


def relative(values: np.ndarray) -> np.ndarray:
    """Divide by the mean; all zeros stay."""
    mean = float(values.mean())
    return values / mean if mean else values
