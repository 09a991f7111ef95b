"""Backward ridge regression: brain at several lags -> features of the sound, as mathematics on tensors.

In: lagged brain [n, D] and features [n, F], accumulated as moments (sums of products), so that any amount of data needs
D x D memory. Out: a RidgeModel and how its penalty was chosen. No windows, folds or files here; see `baseline`.

The penalty is in units of the mean eigenvalue of the brain's covariance (channels standardised), so one grid fits every
number of channels, lags and minutes. Score of a predicted window against a candidate window: Pearson correlation over
time, pooled over dimensions (`window_correlation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodecode.errors import NeurodecodeError


def bin_average(values: Tensor, step: int) -> Tensor:
    """Mean of every `step` samples, [..., T] -> [..., T // step]; a rest shorter than `step` is left out."""
    if step == 1:
        return values
    n = values.shape[-1] // step
    return values[..., : n * step].unflatten(-1, (n, step)).mean(-1)


def lag_bins(lags: tuple[float, float], shift: float, rate: float) -> range:
    """Offsets in bins of brain against sound for lags in true seconds.

    Parameters
    ----------
    lags
        First and last lag after the sound, s.
    shift
        By how much the brain of a batch is already moved against its features, s: bin 0 faces lag `shift`.
    rate
        Bins a second.
    """
    first = int(np.ceil((lags[0] - shift) * rate - 1e-6))
    last = int(np.floor((lags[1] - shift) * rate + 1e-6))
    if last < first:
        raise NeurodecodeError(
            f"ridge.lags {lags[0]}..{lags[1]} s hold no multiple of {1 / rate:.3f} s; widen them or raise ridge.rate"
        )
    return range(first, last + 1)


def lagged(signal: Tensor, lags: range) -> Tensor:
    """[B, C, K] -> [B, C, L, K]: entry (l, k) is the signal at bin k + lags[l], zero outside the window."""
    n = signal.shape[-1]
    left, right = max(0, -lags[0]), max(0, lags[-1])
    padded = functional.pad(signal, (left, right))
    begin = lags[0] + left
    return padded[..., begin : begin + n + len(lags) - 1].unfold(-1, n, 1)


def valid_bins(n: int, lags: range) -> slice:
    """Bins of a window of `n` bins for which every lag lies inside the window."""
    return slice(max(0, -lags[0]), n - max(0, lags[-1]))


@dataclass
class Moments:
    """Sums over n frames of x [D], y [F] and their products; float64."""

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def empty(cls, inputs: int, outputs: int, device: torch.device | str = "cpu") -> Moments:
        """Nothing seen yet."""
        sizes = ((inputs,), (outputs,), (inputs, inputs), (inputs, outputs), (outputs,))
        return cls(0, *(torch.zeros(s, dtype=torch.float64, device=device) for s in sizes))

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add frames, x [n, D], y [n, F]. Products are taken in float32 of one batch and summed in float64."""
        self.n += len(x)
        self.x += x.sum(0, dtype=torch.float64)
        self.y += y.sum(0, dtype=torch.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += y.square().sum(0, dtype=torch.float64)

    def plus(self, other: Moments, sign: int = 1) -> Moments:
        """The moments of both together, or of the rest when `sign` is -1."""
        names = ("x", "y", "xx", "xy", "yy")
        parts = [getattr(self, a) + sign * getattr(other, a) for a in names]
        return Moments(self.n + sign * other.n, *parts)

    def centred(self) -> tuple[Tensor, Tensor, Tensor]:
        """Products about the mean: xx [D, D], xy [D, F], yy [F]."""
        x, y = self.x / self.n, self.y / self.n
        return (
            self.xx - self.n * torch.outer(x, x),
            self.xy - self.n * torch.outer(x, y),
            (self.yy - self.n * y.square()).clamp_min(0),
        )


@dataclass
class RidgeModel:
    """Weights that turn a window of brain into a window of features.

    Attributes
    ----------
    weights
        [F, C, L] float32, on channels divided by `scale`.
    center, scale
        [C] mean and deviation of the training signal.
    intercept
        [F] mean of the training features.
    feature_scale
        [F] deviation of the training features; the score divides by it.
    lags, step
        Offsets in bins, and samples averaged into a bin.
    penalty
        Chosen, in units of the mean eigenvalue.
    at_edge
        Whether the penalty is the first or last of several: the grid may be too short.
    inner
        Mean correlation on held-out parts of the training data for each penalty tried.
    """

    weights: Tensor
    center: Tensor
    scale: Tensor
    intercept: Tensor
    feature_scale: Tensor
    lags: range
    step: int
    penalty: float
    at_edge: bool
    inner: list[float] = field(default_factory=list)

    def predict(self, signal: Tensor) -> Tensor:
        """[B, C, T] -> features [B, F, T // step]; what lies outside the window counts as the mean."""
        binned = (bin_average(signal, self.step) - self.center[:, None]) / self.scale[:, None]  # [B, C, K]
        n = binned.shape[-1]
        left, right = max(0, -self.lags[0]), max(0, self.lags[-1])
        padded = functional.pad(binned, (left, right))
        begin = self.lags[0] + left
        padded = padded[..., begin : begin + n + len(self.lags) - 1]
        return functional.conv1d(padded, self.weights) + self.intercept[:, None]


def solve(
    parts: Sequence[Moments], penalties: Sequence[float], lags: range, step: int, sets: int = 1
) -> list[RidgeModel]:
    """Choose the penalty by leaving out each part in turn, then fit on all parts.

    Parameters
    ----------
    parts
        Moments of disjoint parts of the training data (runs, groups of blocks); at least two unless there is only one
        penalty.
    penalties
        Ascending, in units of the mean eigenvalue.
    sets
        The features are so many sets of equal size, one after the other; each gets its own penalty and its own model.
        The eigenvalues of the brain, which take the time, are the same for all.

    Raises
    ------
    NeurodecodeError
        If there is too little data to choose or to fit.
    """
    parts = [part for part in parts if part.n > 1]
    if not parts or (len(parts) < 2 and len(penalties) > 1):
        raise NeurodecodeError(
            f"ridge: {len(parts)} part(s) of training data with frames, and choosing among {len(penalties)} penalties "
            "needs 2; give one penalty, shorten ridge.lags, or train on more"
        )
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    curves = np.zeros((sets, len(penalties)))
    if len(penalties) > 1:
        held_out = [_held_out_correlation(total.plus(part, -1), part, penalties, len(lags), sets) for part in parts]
        curves = np.mean(held_out, axis=0)
    xx, xy, yy = total.centred()
    scale = _channel_scale(xx, total.n, len(lags))
    spectrum = _Spectrum(xx, xy, scale)
    channels = len(scale) // len(lags)
    deviation = (yy / total.n).sqrt()
    mean_x = (total.x / total.n).reshape(channels, len(lags))
    models = []
    for mine, curve in zip(_sets(len(yy), sets), curves):
        chosen = int(curve.argmax())
        weights = spectrum.weights(penalties[chosen], mine)  # [D, F] on standardised columns
        models.append(
            RidgeModel(
                weights=weights.T.reshape(-1, channels, len(lags)).float().contiguous(),
                center=mean_x.mean(1).float(),
                scale=scale.reshape(channels, len(lags))[:, 0].float(),
                intercept=(total.y[mine] / total.n).float(),
                feature_scale=torch.where(deviation[mine] > 0, deviation[mine], 1.0).float(),
                lags=lags,
                step=step,
                penalty=float(penalties[chosen]),
                at_edge=len(penalties) > 1 and chosen in (0, len(penalties) - 1),
                inner=curve.tolist() if len(penalties) > 1 else [],
            )
        )
    return models


@contextmanager
def _one_thread() -> Iterator[None]:
    """On a busy machine the threads of an eigendecomposition wait for each other: 1152 x 1152 took 6.6 s, alone 0.5 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Spectrum:
    """One eigendecomposition of the standardised covariance; every penalty after it is a division."""

    def __init__(self, xx: Tensor, xy: Tensor, scale: Tensor) -> None:
        with _one_thread():
            values, self.vectors = torch.linalg.eigh(xx / torch.outer(scale, scale))
        self.values = values.clamp_min(0)
        self.unit = self.values.mean().clamp_min(torch.finfo(torch.float64).tiny)
        self.projected = self.vectors.T @ (xy / scale[:, None])  # [D, F]

    def shrink(self, penalty: float) -> Tensor:
        """Factor [D] from `projected` to weights in the basis of eigenvectors."""
        return 1 / (self.values + penalty * self.unit)

    def weights(self, penalty: float, columns: slice) -> Tensor:
        """Weights [D, F] of some features, on standardised columns."""
        return self.vectors @ (self.shrink(penalty)[:, None] * self.projected[:, columns])


def _channel_scale(xx: Tensor, n: int, n_lags: int) -> Tensor:
    """Deviation of each column [D], the same for all lags of a channel; 1 for a channel that is constant."""
    variance = (xx.diagonal() / n).reshape(-1, n_lags).mean(1, keepdim=True).expand(-1, n_lags).reshape(-1)
    return torch.where(variance > 0, variance.clamp_min(0).sqrt(), torch.ones_like(variance))


def _held_out_correlation(
    train: Moments, held_out: Moments, penalties: Sequence[float], n_lags: int, sets: int
) -> np.ndarray:
    """Correlation of prediction and truth on the held-out part, pooled over the dimensions of a set: [sets, penalties]."""
    xx, xy, yy = train.centred()
    scale = _channel_scale(xx, train.n, n_lags)
    spectrum = _Spectrum(xx, xy, scale)
    out_xx, out_xy, out_yy = held_out.centred()
    rotated_xx = spectrum.vectors.T @ (out_xx / torch.outer(scale, scale)) @ spectrum.vectors
    rotated_xy = spectrum.vectors.T @ (out_xy / scale[:, None])
    variance = torch.where(yy > 0, yy, torch.ones_like(yy))  # dimensions count alike, as in the score
    shrink = torch.stack([spectrum.shrink(penalty) for penalty in penalties])  # [penalties, D]
    result = []
    for mine in _sets(len(yy), sets):
        projected, scaled = spectrum.projected[:, mine], spectrum.projected[:, mine] / variance[mine]
        # weights are shrink x projected: what does not depend on the penalty is summed over features once
        shared = shrink @ (scaled * rotated_xy[:, mine]).sum(1)
        predicted = ((shrink @ (rotated_xx * (scaled @ projected.T))) * shrink).sum(1)
        norm = (predicted * (out_yy / variance)[mine].sum()).clamp_min(0).sqrt()
        result.append(torch.where(norm > 0, shared / norm.clamp_min(1e-300), torch.zeros_like(norm)))
    return torch.stack(result).cpu().numpy()


def _sets(n: int, sets: int) -> list[slice]:
    """Cut n features into sets of equal size."""
    size = n // sets
    return [slice(number * size, (number + 1) * size) for number in range(sets)]


def standardised(features: Tensor, feature_scale: Tensor) -> Tensor:
    """[N, F, K] -> [N, F K]: each dimension divided by its deviation and centred over the window, then norm 1."""
    values = features / feature_scale[:, None]
    size = values.flatten(1).norm(dim=1, keepdim=True)
    values = (values - values.mean(-1, keepdim=True)).flatten(1)
    norm = values.norm(dim=1, keepdim=True)
    # a window in which nothing moves (silence) has no correlation with anything: 0; what is left of it after the mean
    # is taken off is rounding, some 1e-7 of its size
    moves = norm > torch.clamp(1e-6 * size, min=1e-12)
    return torch.where(moves, values / norm.clamp_min(1e-12), torch.zeros_like(values))


def window_correlation(predicted: Tensor, candidate: Tensor, feature_scale: Tensor) -> Tensor:
    """Correlation [B, N] over time of predicted [B, F, K] and candidate [N, F, K] windows, pooled over dimensions.

    Each dimension is centred over the window and divided by its training deviation; then covariance and variances are
    summed over dimensions before the division. With one dimension this is Pearson's r. Summing first lets dimensions
    that the brain predicts (whose prediction varies) count more than those it does not, where a mean of per-dimension
    r would weigh pure noise the same.
    """
    return standardised(predicted, feature_scale) @ standardised(candidate, feature_scale).T
