"""Figures of the report, as SVG text that takes its colours for ink from the page.

Numbers in; `<svg ...>` out, without scripts, fonts or references to anything outside. Ink is written as `currentColor`, so a
figure follows the page between light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

INK = "#010203"  # stands for the page's own colour of text until the figure is written
DECODER, LINEAR, CONTROL = "#2f78c4", "#d9822b", "#8a8f98"  # apart in hue and in lightness
FOLDS = ("#2f78c4", "#d9822b", "#3a9d6e", "#b05cc6", "#c9a227", "#56b4d3", "#a0522d", "#7f7f7f")
PIXELS_A_POINT = 46 * 16 / (7.2 * 72)  # a figure of full width fills the column of 46 rem; text is the same size in all
WIDTH, HALF = 7.2, 4.8  # inches, over the page and beside another figure: text is the same size in both


def draw(width: float, height: float, plot: Callable[[Any, Any], None], title: str) -> str:
    """Let `plot(figure, axes)` draw, and return the SVG with `title` for screen readers."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",  # text stays text: it can be read, searched and scaled
        "svg.hashsalt": title,  # the same numbers give the same bytes
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.8,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # text stays text: a browser has glyphs (Chinese words) that the font measured here lacks
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        plot(figure, axes)
        buffer = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return embedded(buffer.getvalue().decode("utf-8"), title)


def embedded(svg: str, title: str) -> str:
    """Strip what stands before `<svg`, let the page set the ink and a smaller size, and name the figure."""
    svg = svg[svg.index("<svg") :]
    head, rest = svg.split(">", 1)
    width = re.search(r'\swidth="([\d.]+)pt"', head)
    widest = f' style="max-width: {float(width[1]) * PIXELS_A_POINT:.0f}px"' if width else ""
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    # identifiers of several figures on one page must not meet
    mark = re.sub(r"\W+", "-", title.lower())
    rest = re.sub(r'id="([^"]+)"', rf'id="{mark}-\1"', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\1{mark}-", rest)
    rest = rest.replace(INK, "currentColor").replace("font: 10px 'sans-serif'", "font: 10px sans-serif")
    label = title.replace("&", "&amp;").replace('"', "&quot;")
    return f'{head}{widest} role="img" aria-label="{label}">{rest}'


def intervals(rows: Sequence[tuple[str, dict[str, Any], str]], chance: float, label: str) -> str:
    """Each row's figure with its 95 % interval, and chance as a line.

    Parameters
    ----------
    rows
        (name, {"value", "low", "high"}, colour), from top to bottom.
    """

    def plot(figure: Any, axes: Any) -> None:
        for place, (_, figures, colour) in enumerate(rows):
            value = figures["value"]
            low, high = figures.get("low"), figures.get("high")
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=colour, linewidth=4, alpha=0.35, solid_capstyle="butt")
            axes.plot([value], [place], "o", color=colour, markersize=7)
            right = max(value, high or value)
            axes.annotate(f"{value:.3f}", (right, place), xytext=(7, 0), textcoords="offset points", va="center")
        axes.axvline(chance, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate("chance", (chance, -0.75), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -1.1)
        highest = max(max(f["value"], f.get("high") or 0) for _, f, _ in rows)
        axes.set_xlim(0, min(1.12, max(highest * 1.15, chance * 1.6)))
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    return draw(WIDTH, 0.9 + 0.36 * len(rows), plot, label)


def whole_epochs(axes: Any) -> None:
    """Let an axis of epochs show whole numbers only, one epoch too, and values as they are."""
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", useOffset=False)


def learning_curves(folds: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Training and validation loss over epochs, one colour a fold; a ring marks the epoch that was kept."""

    def plot(figure: Any, axes: Any) -> None:
        for number, (name, table) in enumerate(folds.items()):
            colour = FOLDS[number % len(FOLDS)]
            epochs = np.asarray(table["epoch"], float) + 1
            valid = np.asarray(table["valid_loss"], float)
            axes.plot(epochs, table["train_loss"], color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
            axes.plot(epochs, valid, color=colour, linewidth=1.8, label=name if len(folds) > 1 else None)
            best = int(np.nanargmin(valid))
            axes.plot([epochs[best]], [valid[best]], "o", color=colour, markersize=8, fillstyle="none")
        axes.plot([], [], color=INK, linewidth=1.8, label="validation (ring: kept)")
        axes.plot([], [], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), label="training")
        axes.set_ylabel("loss")
        whole_epochs(axes)
        axes.legend(fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))

    return draw(HALF, 3.0, plot, "learning curves")


def rank_histogram(histogram: dict[str, Sequence[float]]) -> str:
    """Share of windows by where their own segment came among the candidates."""

    def plot(figure: Any, axes: Any) -> None:
        edges = 100 * np.asarray(histogram["edges"], float)
        counts = np.asarray(histogram["counts"], float)
        share = 100 * counts / max(counts.sum(), 1)
        axes.bar(edges[:-1], share, np.diff(edges), align="edge", color=DECODER, alpha=0.85, linewidth=0)
        axes.axhline(100 / len(counts), color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.annotate(
            "chance", (100, 100 / len(counts)), xytext=(0, 4), textcoords="offset points", ha="right", fontsize=9
        )
        axes.set_xlim(0, 100)
        axes.set_xlabel("place of the true segment, % of candidates (0 is best)")
        axes.set_ylabel("windows, %")

    return draw(HALF, 3.0, plot, "rank histogram")


def subject_bars(values: dict[str, float], beside: dict[str, float], chance: float, label: str) -> str:
    """One pair of bars a subject: the decoder, and ridge where it is known."""

    def plot(figure: Any, axes: Any) -> None:
        names = sorted(values, key=lambda name: -values[name])
        places = np.arange(len(names))
        wide = 0.38 if beside else 0.6
        shift = wide / 2 if beside else 0.0
        axes.bar(places - shift, [values[n] for n in names], wide, color=DECODER, label="decoder")
        if beside:
            axes.bar(places + shift, [beside.get(n, np.nan) for n in names], wide, color=LINEAR, label="ridge")
        axes.axhline(chance, color=INK, linewidth=1, linestyle=(0, (3, 3)), label="chance")
        axes.set_xticks(places, names, rotation=0 if len(names) <= 12 else 90)
        axes.set_xlabel("subject")
        axes.set_ylabel(label)
        axes.set_xlim(-0.6, max(len(names) - 0.4, 1.6))
        axes.legend(fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))

    return draw(HALF, 3.0, plot, f"{label} of each subject")


def topography(positions: np.ndarray, maps: dict[str, np.ndarray]) -> str:
    """Sensor maps side by side: colour is the value of each sensor relative to the mean over sensors.

    Parameters
    ----------
    positions
        [sensors, 2] on the unit square.
    maps
        Title -> [sensors]; 1 is the mean.
    """

    def plot(figure: Any, axes: Any) -> None:
        axes.remove()
        highest = max(float(np.max(values)) for values in maps.values())
        for number, (title, values) in enumerate(maps.items()):
            panel = figure.add_subplot(1, len(maps), number + 1)
            panel.patch.set_alpha(0)
            if len(positions) > 3 and np.ptp(positions[:, 0]) > 0 and np.ptp(positions[:, 1]) > 0:
                panel.tricontourf(*positions.T, values, levels=12, vmin=0, vmax=highest, cmap="viridis", alpha=0.8)
            drawn = panel.scatter(*positions.T, c=values, vmin=0, vmax=highest, cmap="viridis", s=22, edgecolors=INK)
            drawn.set_linewidth(0.5)
            panel.set_title(title, fontsize=10)
            panel.set_aspect("equal")
            panel.set_xlim(-0.08, 1.08)
            panel.set_ylim(-0.08, 1.08)
            panel.axis("off")
        bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.7, label="mean sensor = 1")
        bar.outline.set_visible(False)

    return draw(HALF, 2.6, plot, "sensor weights")
