"""What keeps the tables of several processes the same, where torch.distributed runs; alone, all of it does nothing."""

from __future__ import annotations

import torch
from torch import distributed
from torch.nn import functional


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def in_step(x: torch.Tensor) -> torch.Tensor:
    """Sum over all processes."""
    if _several():
        x = x.clone()
        distributed.all_reduce(x)
    return x


def from_first(x: torch.Tensor) -> None:
    """Overwrite with what the first process has."""
    if _several():
        distributed.broadcast(x, 0)


def from_all(x: torch.Tensor) -> torch.Tensor:
    """Rows [M, D] of all processes, whose M may differ, in one tensor that is the same everywhere."""
    if not _several():
        return x
    sizes = [torch.zeros(1, dtype=torch.long, device=x.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    longest = int(max(sizes))
    padded = functional.pad(x, (0, 0, 0, longest - len(x)))
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes)])
