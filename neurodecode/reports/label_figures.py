"""Figures of classifiers and codebook stages, as SVG text (see `figures`): curves, subjects, confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurodecode.reports.figures import CONTROL, DECODER, FOLDS, HALF, INK, LINEAR, WIDTH, draw, whole_epochs

NAMES = {
    "valid_reconstruction": "reconstruction",
    "valid_zero": "silence",
    "valid_mean": "each channel's mean",
    "valid_accuracy": "network",
    "valid_majority": "most frequent code",
    "valid_cosine": "network",
    "valid_mean_embedding": "mean embedding",
    "valid_loss": "network",
    "usage": "share of the table",
    "perplexity": "perplexity",
    "chance": "chance",
}
BESIDE = {
    "valid_zero": CONTROL,
    "valid_mean": LINEAR,
    "valid_majority": CONTROL,
    "valid_mean_embedding": CONTROL,
    "chance": CONTROL,
}
READABLE = 90  # labels whose names can still be read beside a matrix


def metric_curves(folds: Mapping[str, Mapping[str, np.ndarray]], columns: Sequence[str], title: str) -> str:
    """Columns of metrics.csv over epochs; the first is drawn in the fold's colour, what it stands beside in greys."""

    def plot(figure: Any, axes: Any) -> None:
        for number, (name, table) in enumerate(folds.items()):
            epochs = table["epoch"] + 1
            for column in columns:
                colour = BESIDE.get(column, FOLDS[number % len(FOLDS)])
                label = NAMES.get(column, column) if number == 0 else None
                if len(folds) > 1 and column not in BESIDE:
                    label = name
                dashed = (0, (4, 2)) if column in BESIDE else "-"
                axes.plot(epochs, table[column], color=colour, linewidth=1.6, linestyle=dashed, label=label)
                if len(epochs) == 1:
                    axes.plot(epochs, table[column], "o", color=colour)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(title)
        whole_epochs(axes)
        if len(columns) > 1 or len(folds) > 1:
            axes.legend(fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))

    return draw(HALF, 3.0, plot, title)


def subject_dots(
    values: Mapping[str, Mapping[str, Mapping[str, Any]]],
    published: Mapping[str, Mapping[str, float]],
    figure_name: str = "accuracy",
) -> str:
    """A figure of each subject: a dot a label with its interval, a ring where it was published, chance as a line.

    Parameters
    ----------
    values
        Label -> subject -> {"value", "chance", and "low", "high" where known}.
    published
        Label -> subject -> share.
    figure_name
        What the figure is called.
    """
    subjects = list(dict.fromkeys(subject for rows in values.values() for subject in rows))

    def plot(figure: Any, axes: Any) -> None:
        step = 0.7 / max(len(values), 1)
        for number, (label, rows) in enumerate(values.items()):
            colour = DECODER if len(values) == 1 else FOLDS[number % len(FOLDS)]
            for place, subject in enumerate(subjects):
                if subject not in rows:
                    continue
                row, x = rows[subject], place + (number - (len(values) - 1) / 2) * step
                if row.get("low") is not None:
                    axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=4, alpha=0.35)
                axes.plot([x], [row["value"]], "o", color=colour, markersize=5)
                known = published.get(label, {}).get(subject, math.nan)
                if not math.isnan(known):
                    axes.plot([x], [known], "o", color=colour, markersize=8, fillstyle="none")
            axes.plot([], [], "o", color=colour, label=label)
        if any(published.get(label) for label in values):
            axes.plot([], [], "o", color=INK, fillstyle="none", markersize=8, label="published")
        chance = [row["chance"] for rows in values.values() for row in rows.values()]
        axes.axhline(float(np.mean(chance)), color=INK, linewidth=1, linestyle=(0, (3, 3)), label="chance")
        axes.set_xticks(range(len(subjects)), subjects, rotation=0 if len(subjects) <= 16 else 90)
        axes.set_xlim(-0.6, max(len(subjects) - 0.4, 1.6))
        axes.set_ylim(0, 1.06 * axes.get_ylim()[1])  # whole dots where the highest stands on the last tick
        axes.set_xlabel("subject")
        axes.set_ylabel(figure_name)
        axes.legend(fontsize=9, ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0))

    return draw(WIDTH, 3.4, plot, f"{figure_name} of each subject")


def confusion_matrix(share: np.ndarray, labels: Sequence[str]) -> str:
    """Share of each shown label's windows by answer, [shown, answered]; the side grows with the labels."""
    n = len(labels)
    side = float(np.clip(1.6 + 0.16 * n, 3.2, 10.5))
    size = float(np.clip(9.5 - 0.06 * n, 5.5, 9))

    def plot(figure: Any, axes: Any) -> None:
        drawn = axes.pcolormesh(
            np.arange(n + 1) - 0.5,
            np.arange(n + 1) - 0.5,
            share,
            cmap="viridis",
            vmin=0,
            vmax=max(share.max(), 1e-9),
            edgecolors="face",
            linewidth=0.4,
        )  # cells that only touch would show the page between them
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_aspect("equal")
        if n <= READABLE:
            axes.set_xticks(range(n), labels, rotation=90, fontsize=size)
            axes.set_yticks(range(n), labels, fontsize=size)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        if n <= 10:
            for i in range(n):
                for j in range(n):
                    if share[i, j]:
                        ink = "black" if share[i, j] > 0.6 * share.max() else "white"
                        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=9)
        axes.tick_params(length=0)
        axes.set_xlabel("answered")
        axes.set_ylabel("shown")
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, label="share of the windows shown")
        bar.outline.set_visible(False)

    return draw(side + 1.2, side, plot, "confusions")
