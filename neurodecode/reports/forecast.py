"""The figure of a forecast: accuracy against hours, the curve through it, and what it says about more hours.

In: the dict of `evaluation.hours.forecast`. Out: DIR/forecast.svg, which needs nothing else and takes the page's ink.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.evaluation.hours.extrapolation import PowerLaw
from neurodecode.evaluation.hours.forecast import NAMES
from neurodecode.files import write_text
from neurodecode.reports.figures import CONTROL, DECODER, LINEAR, WIDTH, draw

COLOURS = {"ridge": LINEAR, "network": DECODER}
CURVE = 50  # points of a drawn curve


def write_figure(result: dict[str, Any], out: Path) -> Path:
    """Write `forecast.svg` into the folder of a forecast."""
    path = Path(out) / "forecast.svg"
    write_text(path, forecast_figure(result) + "\n")
    return path


def forecast_figure(result: dict[str, Any]) -> str:
    """Points with intervals, the curve through them, and forecasts as open marks, dashed beyond the data."""
    name = NAMES[result["metric"]]

    def plot(figure: Any, axes: Any) -> None:
        ticks: set[float] = set()
        for decoder, found in result["decoders"].items():
            colour = COLOURS[decoder]
            points, ahead = found["points"], found["forecasts"]
            hours = np.array([p["hours"] for p in points])
            _marks(axes, points, colour, full=True, label=decoder)
            _marks(axes, ahead, colour, full=False, label=f"{decoder}, forecast")
            law = PowerLaw(np.array(found["law"]["intercept"]), np.array(found["law"]["slope"]))
            for begin, end, style in ((hours[0], hours[-1], "-"), (hours[-1], ahead[-1]["hours"], "--")):
                x = np.geomspace(begin, end, CURVE)
                axes.plot(x, law.at(x), color=colour, linewidth=1.5, linestyle=style)
            axes.axhline(found["chance"], color=CONTROL, linewidth=1, linestyle=":", label=None if ticks else "chance")
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
