"""Scalers: fitted on training windows only, applied to batches on the device that holds them.

Robust scaling a channel (median, interquartile range; zero scale becomes 1), then a clamp; features get one mean and
one deviation, or one a dimension (Défossez et al. 2023; specs: section 3.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurodecode.config import ScalingSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.files import atomic_path

if TYPE_CHECKING:
    from neurodecode.segments.batches import BatchSource

PIECE = 64  # windows at once, where features are summed over many


@dataclass
class Scalers:
    """Centre and scale.

    Attributes
    ----------
    center, scale
        [recordings, C] float32: brain, SI units.
    feature_mean, feature_std
        [F] float32.
    clamp
        Scaled brain values are cut at plus and minus this; None leaves them.
    """

    center: torch.Tensor
    scale: torch.Tensor
    feature_mean: torch.Tensor
    feature_std: torch.Tensor
    clamp: float | None

    def scale_signal(self, signal: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """[B, C, T] in SI units -> scaled and clamped; `layout` [B] is the recording of each window."""
        layout = layout.to(self.center.device)
        center = self.center[layout].to(signal.device)[:, :, None]
        scale = self.scale[layout].to(signal.device)[:, :, None]
        scaled = (signal - center) / scale
        # channels a recording lacks have scale inf, hence exactly 0 here
        return scaled if self.clamp is None else scaled.clamp(-self.clamp, self.clamp)

    def scale_target(self, target: torch.Tensor) -> torch.Tensor:
        """[B, F, T] -> scaled."""
        mean, std = (v.to(target.device)[None, :, None] for v in (self.feature_mean, self.feature_std))
        return (target - mean) / std

    def save(self, path: Path) -> None:
        """Write as npz, atomically."""
        arrays = {k: getattr(self, k).numpy() for k in ("center", "scale", "feature_mean", "feature_std")}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, clamp=np.array(np.nan if self.clamp is None else self.clamp))

    @classmethod
    def load(cls, path: Path) -> Scalers:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            clamp = float(stored["clamp"])
            tensors = {k: torch.from_numpy(stored[k]) for k in ("center", "scale", "feature_mean", "feature_std")}
        return cls(**tensors, clamp=None if np.isnan(clamp) else clamp)

    @classmethod
    def fit(cls, source: BatchSource, seed: int = 1234) -> Scalers:
        """Fit on random training windows of the chosen fold.

        Raises
        ------
        NeurodecodeError
            If a recording's scope (recording, session, subject or cohort) has no training window.
        """
        settings: ScalingSettings = source.index.settings.scaling
        table = source.index.table
        train = source.index.rows("train")
        generator = np.random.default_rng(seed)
        recordings = source.index.recordings
        n = len(recordings)
        center = torch.zeros(n, source.layouts.n_chans)
        scale = torch.full((n, source.layouts.n_chans), float("inf"))
        used = np.unique(table["recording"].to_numpy()[table["split"].to_numpy() != ""])
        groups: dict[Any, list[int]] = {}
        for i in used:
            groups.setdefault(_scope(recordings[i], settings.scope), []).append(int(i))
        for members in groups.values():
            rows = train[np.isin(table["recording"].to_numpy()[train], members)]
            if not len(rows):
                raise NeurodecodeError(
                    f"{recordings[members[0]].name}: no training window in its {settings.scope}, so nothing to "
                    "scale it by; set segments.scaling.scope to session, subject or cohort"
                )
            rows = np.sort(generator.permutation(rows)[: settings.fit_windows])
            middle, spread = _statistics(source, rows, settings.brain)
            for i in members:
                valid = source.layouts.valid[i]
                center[i, valid] = middle[valid]
                scale[i, valid] = spread[valid]
        mean, std = torch.zeros(source.dimension), torch.ones(source.dimension)
        if settings.feature != "none":
            rows = np.sort(generator.permutation(train)[: settings.feature_windows])
            mean, std = _feature_statistics(source, rows, settings)
        return cls(center, scale, mean, std, settings.clamp)


def _feature_statistics(
    source: BatchSource, rows: np.ndarray, settings: ScalingSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation [F] over windows, of each dimension or of all together; the shift is not yet cut (section 3.5)."""
    count = 0
    total, squares = (torch.zeros(source.dimension, dtype=torch.float64) for _ in range(2))
    middle: torch.Tensor | None = None  # sums are taken around it, so that a mean far from zero costs no digits
    for first in range(0, len(rows), PIECE):
        part = rows[first : first + PIECE]
        values = source.target(part).transpose(1, 2)  # [n, F, T] -> [n, T, F]
        if settings.feature_where == "word":
            values = values[torch.from_numpy(source.sounding(part)).to(values.device)]
        values = values.reshape(-1, source.dimension).cpu().double()
        if not len(values):
            continue
        middle = values.mean(0) if middle is None else middle
        count += len(values)
        total += (values - middle).sum(0)
        squares += (values - middle).square().sum(0)
    if middle is None:
        raise NeurodecodeError(
            "segments.scaling.feature_where: word, but no word with a duration sounds in the training windows; use everywhere"
        )
    mean = middle + total / count
    around = squares - count * (mean - middle).square()  # sum of squares around each dimension's own mean
    if settings.feature == "global":
        n = count * source.dimension
        whole = mean.mean()
        spread = ((around + count * (mean - whole).square()).sum() / max(n - 1, 1)).sqrt()
        mean, std = whole.expand(source.dimension), spread.expand(source.dimension)
    else:
        std = (around / max(count - 1, 1)).clamp(min=0).sqrt()
    std = torch.where(std > 0, std, torch.ones_like(std))
    return mean.float().clone(), std.float().clone()


def _scope(recording: Any, scope: str) -> tuple[str, ...]:
    if scope == "cohort":
        return ()
    if scope == "subject":
        return (recording.subject,)
    return (recording.subject, recording.session) if scope == "session" else (recording.name,)


def _statistics(source: BatchSource, rows: np.ndarray, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre and scale of each column over training windows, [C] each."""
    windows = source.baselined(rows).cpu()  # [n, C, T]
    values = windows.transpose(0, 1).reshape(windows.shape[1], -1)  # [C, n T]
    if kind == "none":
        return torch.zeros(len(values)), torch.ones(len(values))
    if kind == "standard":
        middle, spread = values.double().mean(1).float(), values.double().std(1).float()
    else:
        # section 3.5: the values at 25, 50 and 75 % of the sorted samples, index int(q n)
        ordered = values.sort(1).values
        low, middle, high = (ordered[:, int(q * ordered.shape[1])] for q in (0.25, 0.5, 0.75))
        spread = high - low
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    return middle, spread
