"""The type that leaves this room: one stimulus as a feature array whose frames have exact times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Feature:
    """A feature of one stimulus.

    Attributes
    ----------
    values
        [frames, dimensions] float32 or float16.
    rate
        Frames a second; never rounded.
    t0
        Time of the centre of frame 0, s from the start of the stimulus. Frame k is centred at `t0 + k / rate`.
    silent
        Seconds at which pieces begin that hold no sound at all; their frames have one value that stands for silence.
    """

    values: np.ndarray
    rate: float
    t0: float
    silent: tuple[float, ...] = ()

    @property
    def times(self) -> np.ndarray:
        """Centre of each frame, s."""
        return self.t0 + np.arange(len(self.values)) / self.rate
