"""Every window by itself: each channel to mean 0 and deviation 1 over its own time (beyond the paper).

What a recording's scaler cannot follow (a gain that drifts within it) is taken out; how strong a window is, is lost.
"""

from __future__ import annotations

import torch

SMALL = 1e-5  # of the scaled signal: a channel that is flat in a window stays at 0


def window_norm(x: torch.Tensor) -> torch.Tensor:
    """[B, C, T] -> the same, standardised along time."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + SMALL).sqrt()
