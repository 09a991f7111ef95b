"""A line through a learning curve: accuracy against the logarithm of training hours, and what lies beyond its end.

In: figures of every test query for each part of the training data. Out: gain a doubling, forecasts at 2 and 4 times the
hours with 95 % intervals, and plain cautions where the line is no good guide.

The interval resamples test subjects (or stretches of the stimulus) and the draws of each part together, and refits. It says
how sure the line is; that accuracy goes on along a line at all is an assumption, tested only by forecasting the last point
from those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecode.evaluation.statistics import LEVEL

TIMES = (2, 4)
STRAIGHT = 0.9  # R squared of the line below which points are said not to lie on it
CEILING = 0.95  # accuracies above it have little room left
FLAT = 0.01  # a forecast of the last point that misses by less is no caution, whatever its interval


@dataclass(frozen=True)
class Curve:
    """Points of one decoder.

    Attributes
    ----------
    hours
        [P] ascending: training hours a subject of each part.
    values
        For each part, the draws of it: float [draws, Q], a figure of every test query.
    chance
        Of the figure.
    """

    hours: np.ndarray
    values: Sequence[np.ndarray]
    chance: float

    @property
    def means(self) -> np.ndarray:
        """[P]."""
        return np.array([float(v.mean()) for v in self.values])


def fit_line(hours: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(intercept, slope) [..] of means [.., P] against log2 of hours [P]: the slope is the gain a doubling."""
    x = np.log2(hours)
    centred = x - x.mean()
    slope = (means * centred).sum(-1) / (centred**2).sum()
    return means.mean(-1) - slope * x.mean(), slope


def resampled_means(curve: Curve, cluster: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """Means [repeats, P] with test clusters (the same for all parts) and draws of each part drawn with replacement."""
    rng = np.random.default_rng(seed)
    labels, codes = np.unique(cluster, return_inverse=True)
    n = len(labels)
    sizes = np.bincount(codes, minlength=n).astype(float)
    sums = [np.stack([np.bincount(codes, row, minlength=n) for row in v]) for v in curve.values]  # each [draws, n]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=repeats).astype(float)  # [repeats, n]
    total = weights @ sizes
    out = np.empty((repeats, len(sums)))
    for part, values in enumerate(sums):
        means = weights @ values.T / total[:, None]  # [repeats, draws]
        drawn = rng.integers(len(values), size=(repeats, len(values)))
        out[:, part] = np.take_along_axis(means, drawn, axis=1).mean(axis=1)
    return out


def extrapolate(curve: Curve, cluster: np.ndarray, *, repeats: int, seed: int) -> dict[str, Any]:
    """Fit, forecast, and say what is wrong with it.

    Returns
    -------
    dict
        `points` (`hours`, `value`, `low`, `high`, `draws`), `slope` (gain a doubling: `value`, `low`, `high`), `r2`,
        `forecasts` (`times`, `hours`, `value`, `low`, `high`; never above 1), `check` (the last point forecast from the others:
        `observed`, `value`, `low`, `high`; None with fewer than four points), `cautions`.
    """
    x, means = curve.hours, curve.means
    drawn = resampled_means(curve, cluster, repeats, seed)
    intercept, slope = fit_line(x, means)
    intercepts, slopes = fit_line(x, drawn)
    residual = means - (intercept + slope * np.log2(x))
    spread = ((means - means.mean()) ** 2).sum()
    r2 = float(1 - (residual**2).sum() / spread) if spread > 0 else 0.0
    points = [
        {"hours": float(h), "value": float(m), **_ends(drawn[:, i]), "draws": len(curve.values[i])}
        for i, (h, m) in enumerate(zip(x, means))
    ]
    forecasts = [
        {
            "times": times,
            "hours": float(x[-1] * times),
            "value": float(min(1.0, intercept + slope * np.log2(x[-1] * times))),
            **_ends(np.minimum(1.0, intercepts + slopes * np.log2(x[-1] * times))),
        }
        for times in TIMES
    ]
    check = None
    if len(x) >= 4:
        before, gain = fit_line(x[:-1], means[:-1])
        befores, gains = fit_line(x[:-1], drawn[:, :-1])
        wrong = drawn[:, -1] - (befores + gains * np.log2(x[-1]))
        expected = float(before + gain * np.log2(x[-1]))
        # interval of the difference, around what was forecast: both move with the resample
        low, high = np.quantile(expected + wrong - wrong.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        check = {"observed": float(means[-1]), "value": expected, "low": float(low), "high": float(high)}
    found: dict[str, Any] = {
        "points": points,
        "chance": curve.chance,
        "slope": {"value": float(slope), **_ends(slopes)},
        "r2": r2,
        "forecasts": forecasts,
        "check": check,
    }
    found["cautions"] = cautions(found)
    return found


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a forecast, in plain words."""
    result = []
    points, slope, check = found["points"], found["slope"], found["check"]
    last = points[-1]
    if last["low"] <= found["chance"]:
        result.append(
            "With all the data the figure is not above chance: there is no curve to go on with, and the forecast means nothing."
        )
    if slope["low"] <= 0:
        result.append("The interval of the gain a doubling holds 0: these data do not show that more hours help.")
    if found["r2"] < STRAIGHT:
        result.append(f"The points do not lie on a line (R squared {found['r2']:.2f}): the forecast is a guess.")
    if check is not None and abs(check["observed"] - check["value"]) > FLAT:
        outside = not check["low"] <= check["observed"] <= check["high"]
        if outside and check["observed"] < check["value"]:
            result.append(
                f"The curve is flattening: the smaller parts forecast {check['value']:.3f} for all the data, it is "
                f"{check['observed']:.3f}; expect less than the forecast."
            )
        elif outside:
            result.append(
                f"The curve is rising faster than a line: the smaller parts forecast {check['value']:.3f} for all the data, "
                f"it is {check['observed']:.3f}; the smallest parts may be too small to say anything."
            )
    if found["forecasts"][-1]["value"] > CEILING or last["value"] > CEILING:
        result.append("The figure is near its ceiling of 1, where no line goes on; take top-1, or a larger pool.")
    return result


def _ends(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}
