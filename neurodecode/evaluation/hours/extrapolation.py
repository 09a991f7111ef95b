"""A curve through accuracies at several amounts of training data, and what lies beyond its end.

In: figures of every test query for each part of the training data. Out: gain of the next doubling, forecasts at 2 and 4 times
the hours with 95 % intervals, and plain cautions where the curve is no good guide.

The curve is a power law of the errors, 1 - accuracy = a h^-b: each doubling of the hours h leaves the same share of them. It is
fitted as a line of log(1 - accuracy) on log2 h. A straight line of accuracy itself forecasts too much (docs/evaluation.md).

The interval resamples test subjects (or stretches of the stimulus) and the draws of each part together, and refits. It says
how sure the curve is; that accuracy goes on along it at all is an assumption, tested only by forecasting the last point
from those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecode.evaluation.retrieval.statistics import LEVEL

TIMES = (2, 4)
STRAIGHT = 0.9  # R squared of the fit below which points are said not to lie on the curve
CEILING = 0.95  # accuracies above it have little room left
FEWEST_ERRORS = 0.5  # that an accuracy of 1 is taken for, of all queries: a logarithm has no place for none
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


@dataclass(frozen=True)
class PowerLaw:
    """1 - accuracy = 2^-(intercept + slope log2 hours); both [..], one for each curve."""

    intercept: np.ndarray
    slope: np.ndarray

    @classmethod
    def fit(cls, hours: np.ndarray, means: np.ndarray, n_queries: int) -> PowerLaw:
        """Through accuracies [.., P] at hours [P], by least squares of the logarithms."""
        x, y = np.log2(hours), halvings(means, n_queries)
        centred = x - x.mean()
        slope = (y * centred).sum(-1) / (centred**2).sum()
        return cls(y.mean(-1) - slope * x.mean(), slope)

    def at(self, hours: float | np.ndarray) -> np.ndarray:
        """Accuracies [..]."""
        return 1 - np.exp2(-(self.intercept + self.slope * np.log2(hours)))


def halvings(accuracy: np.ndarray, n_queries: int) -> np.ndarray:
    """How often the errors are halved, -log2(1 - accuracy)."""
    return -np.log2(np.maximum(1 - accuracy, FEWEST_ERRORS / n_queries))


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
        `points` (`hours`, `value`, `low`, `high`, `draws`), `gain` (of the next doubling: `value`, `low`, `high`), `law`
        (`intercept`, `slope` of `PowerLaw`), `r2` (of the fit), `forecasts` (`times`, `hours`, `value`, `low`, `high`), `check`
        (the last point forecast from the others: `observed`, `value`, `low`, `high`; None with fewer than four points),
        `cautions`.
    """
    x, means = curve.hours, curve.means
    drawn = resampled_means(curve, cluster, repeats, seed)
    n = curve.values[0].shape[1]
    law, laws = PowerLaw.fit(x, means, n), PowerLaw.fit(x, drawn, n)
    fitted = halvings(means, n)
    residual = fitted - (law.intercept + law.slope * np.log2(x))
    spread = ((fitted - fitted.mean()) ** 2).sum()
    r2 = float(1 - (residual**2).sum() / spread) if spread > 0 else 0.0
    points = [
        {"hours": float(h), "value": float(m), **_ends(drawn[:, i]), "draws": len(curve.values[i])}
        for i, (h, m) in enumerate(zip(x, means))
    ]
    forecasts = [
        {
            "times": times,
            "hours": float(x[-1] * times),
            "value": float(law.at(x[-1] * times)),
            **_ends(laws.at(x[-1] * times)),
        }
        for times in TIMES
    ]
    check = None
    if len(x) >= 4:
        wrong = drawn[:, -1] - PowerLaw.fit(x[:-1], drawn[:, :-1], n).at(x[-1])
        expected = float(PowerLaw.fit(x[:-1], means[:-1], n).at(x[-1]))
        # interval of the difference, around what was forecast: both move with the resample
        low, high = np.quantile(expected + wrong - wrong.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        check = {"observed": float(means[-1]), "value": expected, "low": float(low), "high": float(high)}
    found: dict[str, Any] = {
        "points": points,
        "chance": curve.chance,
        "gain": {
            "value": float(law.at(2 * x[-1]) - law.at(x[-1])),
            **_ends(laws.at(2 * x[-1]) - laws.at(x[-1])),
        },
        "law": {"intercept": float(law.intercept), "slope": float(law.slope)},
        "r2": r2,
        "forecasts": forecasts,
        "check": check,
    }
    found["cautions"] = cautions(found)
    return found


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a forecast, in plain words."""
    result = []
    points, gain, check = found["points"], found["gain"], found["check"]
    last = points[-1]
    if last["low"] <= found["chance"]:
        result.append(
            "With all the data the figure is not above chance: there is no curve to go on with, and the forecast means nothing."
        )
    if gain["low"] <= 0:
        result.append("The interval of the gain of a doubling holds 0: these data do not show that more hours help.")
    if found["r2"] < STRAIGHT:
        result.append(f"The points do not lie on the curve (R squared {found['r2']:.2f}): the forecast is a guess.")
    if check is not None and abs(check["observed"] - check["value"]) > FLAT:
        outside = not check["low"] <= check["observed"] <= check["high"]
        if outside and check["observed"] < check["value"]:
            result.append(
                f"Accuracy is flattening: the smaller parts forecast {check['value']:.3f} for all the data, it is "
                f"{check['observed']:.3f}; expect less than the forecast."
            )
        elif outside:
            result.append(
                f"Accuracy is rising faster than the curve: the smaller parts forecast {check['value']:.3f} for all the data, "
                f"it is {check['observed']:.3f}; the smallest parts may be too small to say anything."
            )
    if found["forecasts"][-1]["value"] > CEILING or last["value"] > CEILING:
        result.append(
            "The figure is near its ceiling of 1, where few errors are left to count; take top-1, or a larger pool."
        )
    return result


def _ends(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}
