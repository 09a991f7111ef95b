"""Linear discriminants with a shrunk common covariance, for many channels at once.

In: features [C, n, d], one problem a channel, and labels [n]. Out: answers [C, n]. The covariance within classes is pooled and
shrunk towards a multiple of the identity by the formula of Ledoit and Wolf (2004), each channel by its own amount; classes
have equal priors. Features beyond the number of windows cost no more than the windows do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 1e-9  # of the mean variance: keeps a covariance without noise solvable


@dataclass(frozen=True)
class Discriminants:
    """Fitted discriminants.

    Attributes
    ----------
    classes
        [K] label numbers that were there.
    weights
        [C, d, K].
    offsets
        [C, K].
    """

    classes: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    def answers(self, x: np.ndarray) -> np.ndarray:
        """Label numbers [C, n] of features [C, n, d]."""
        return self.classes[(x @ self.weights + self.offsets[:, None]).argmax(2)]


def fit(x: np.ndarray, y: np.ndarray) -> Discriminants:
    """Fit one discriminant a channel.

    Parameters
    ----------
    x
        [C, n, d].
    y
        [n] label numbers, two or more different ones.
    """
    classes, code = np.unique(y, return_inverse=True)
    member = (code[None] == np.arange(len(classes))[:, None]).astype(x.dtype)  # [K, n]
    means = (member / member.sum(1, keepdims=True)) @ x  # [C, K, d]
    within = x - means[:, code]  # [C, n, d]
    solved = _solve(within, means.transpose(0, 2, 1))  # [C, d, K]
    return Discriminants(classes, solved, -0.5 * np.einsum("ckd,cdk->ck", means, solved))


def _solve(x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Shrunk covariance of centred x [C, n, d], inverted, times right [C, d, K]."""
    n, d = x.shape[1:]
    small = x @ x.transpose(0, 2, 1) if n < d else x.transpose(0, 2, 1) @ x  # [C, m, m], m = min(n, d)
    share, level = _shrinkage(x, small)  # [C], [C]
    ridge = np.maximum(share * level, LEAST * level + np.finfo(x.dtype).tiny)[:, None, None]
    scale = ((1 - share) / n)[:, None, None]
    eye = np.eye(small.shape[1], dtype=x.dtype)
    if n >= d:
        return np.linalg.solve(scale * small + ridge * eye, right)
    # Woodbury: (r I + s X'X)^-1 = (I - s X' (r I + s X X')^-1 X) / r
    inner = np.linalg.solve(ridge * eye + scale * small, x @ right)
    return (right - scale * (x.transpose(0, 2, 1) @ inner)) / ridge


def _shrinkage(x: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the identity, and mean variance, of each channel. `small` is X X' or X' X: both have the same norm."""
    n, d = x.shape[1:]
    level = (x**2).sum((1, 2)) / n / d
    level = np.where(level > 0, level, 1)  # a window a label, or silence: the nearest mean answers
    squares = (small**2).sum((1, 2)) / n**2  # ||S||^2
    fourth = ((x**2).sum(2) ** 2).sum(1) / n
    noise = (fourth - squares) / (d * n)
    distance = squares / d - level**2
    share = np.where(distance > 0, np.clip(noise, 0, None) / np.where(distance > 0, distance, 1), 1.0)
    return np.clip(share, 0, 1), level


def balanced_accuracy(answers: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean over labels of the share of their windows that are answered right; answers [..., n] -> [...]."""
    right = answers == y
    return np.mean([right[..., y == label].mean(-1) for label in np.unique(y)], axis=0)
