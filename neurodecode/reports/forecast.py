"""The figure of a forecast: accuracy against hours, the line, and what it says about more hours.

In: the dict of `evaluation.forecast`. Out: DIR/forecast.svg, which needs nothing else and takes the page's ink.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.evaluation.forecast import NAMES
from neurodecode.files import write_text
from neurodecode.reports.figures import CONTROL, DECODER, LINEAR, WIDTH, draw

COLOURS = {"ridge": LINEAR, "network": DECODER}


def write_figure(result: dict[str, Any], out: Path) -> Path:
    """Write `forecast.svg` into the folder of a forecast."""
    path = Path(out) / "forecast.svg"
    write_text(path, forecast_figure(result) + "\n")
    return path


def forecast_figure(result: dict[str, Any]) -> str:
    """Points with intervals, the line through them, and forecasts as open marks, dashed beyond the data."""
    name = NAMES[result["metric"]]

    def plot(figure: Any, axes: Any) -> None:
        ticks: set[float] = set()
        for decoder, found in result["decoders"].items():
            colour = COLOURS[decoder]
            points, ahead = found["points"], found["forecasts"]
            hours = np.array([p["hours"] for p in points])
            _marks(axes, points, colour, full=True, label=decoder)
            _marks(axes, ahead, colour, full=False, label=f"{decoder}, forecast")
            x = np.log2([*hours, *(f["hours"] for f in ahead)])
            middle = np.mean([p["value"] for p in points])
            line = np.clip(middle + found["slope"]["value"] * (x - np.log2(hours).mean()), 0, 1)
            axes.plot(2 ** x[: len(hours)], line[: len(hours)], color=colour, linewidth=1.5)
            axes.plot(2 ** x[len(hours) - 1 :], line[len(hours) - 1 :], color=colour, linewidth=1.5, linestyle="--")
            axes.axhline(found["chance"], color=CONTROL, linewidth=1, linestyle=":")
            ticks |= {*hours.tolist(), *(f["hours"] for f in ahead)}
        axes.set_xscale("log", base=2)
        places = sorted(ticks)
        axes.set_xticks(places, [f"{t:.2g}" for t in places])
        axes.minorticks_off()
        axes.set_xlabel("hours of training data a subject")
        data = ", simulated" if result["simulated"] else ""
        axes.set_ylabel(f"{name}{data}")
        axes.legend(loc="upper left", fontsize=9)

    return draw(WIDTH, 3.4, plot, f"Forecast of {name} with more hours")


def _marks(axes: Any, points: list[dict[str, Any]], colour: str, *, full: bool, label: str) -> None:
    values = np.array([p["value"] for p in points])
    ends = np.array([[p["value"] - p["low"], p["high"] - p["value"]] for p in points]).T
    axes.errorbar(
        [p["hours"] for p in points],
        values,
        yerr=np.maximum(ends, 0),
        fmt="o",
        color=colour,
        markerfacecolor=colour if full else "none",
        capsize=3,
        linewidth=1,
        label=label,
    )
