"""Pictures of a ranking: contacts along their shafts, three views of where they lie, sensors on a plane, and the top-k curve.

In: a selection (`channels.selection`). Out: one PNG a subject and fold::

    draw_selection(read_selection(Path("ranking")), Path("ranking"))     # ranking/fold-0_sub-01.png

Colour is the score; a ring marks the channels that are chosen. Views look from above, from the front and from the side, in mm
of the frame that the recording states; no brain is drawn behind them, since the frame may be anyone's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.channels.shafts import contact_of
from neurodecode.files import atomic_path

MAP = "viridis"
RING = "#d2372c"
VIEWS = (("from above", 0, 1, "x", "y"), ("from the front", 0, 2, "x", "z"), ("from the side", 1, 2, "y", "z"))
NAMED = 3  # best channels whose names are written into maps


def draw_selection(selection: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every subject and fold; nothing is drawn of what has neither shafts nor positions nor a curve."""
    made = []
    for fold, inside in selection["folds"].items():
        for subject, entry in inside["subjects"].items():
            by = "" if selection["method"] in selection["name"] else f" (by {selection['method']})"
            title = f"{selection['name']}{by}, subject {subject}, {fold}"
            if selection["simulated"]:
                title += " (simulated)"
            path = folder / f"{fold}_sub-{subject}.png"
            label = "weight, over the largest" if selection["method"] == "weights" else "balanced accuracy"
            if draw_subject(entry, title, path, label):
                made.append(path)
    return made


def draw_subject(entry: dict[str, Any], title: str, path: Path, label: str) -> bool:
    """Draw one subject.

    Parameters
    ----------
    entry
        Of a subject in a selection.
    title
        Above all panels.
    path
        PNG to write.
    label
        What scores are.

    Returns
    -------
    bool
        Whether there was anything to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = entry["channels"]
    shafts = along_shafts(rows)
    solid, flat = places(rows, ("x", "y", "z")), places(rows, ("x2d", "y2d"))
    upper = [kind for kind, there in (("shafts", shafts), ("curve", entry["curve"])) if there]
    if np.isfinite(solid).all(1).sum() >= 2 and shafts:
        lower = [f"view{number}" for number in range(3)]
    else:  # sensors outside the head lie on a plane
        lower = ["plane"] if np.isfinite(flat).all(1).sum() >= 3 and not shafts else []
    if not upper and not lower:
        return False
    if lower == ["plane"]:
        upper, lower = [*lower, *upper], []
    panels = [row for row in (upper, lower) if row]
    wide = max(len(row) for row in panels)
    height = (1.4 + 0.3 * len(shafts) if shafts else 3.6) if upper else 0
    heights = [max(3.2, height)] * bool(upper) + [3.6] * bool(lower)
    figure = Figure(figsize=(3.9 * max(wide, 2), sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    colours = _colours(rows)
    for number, (parts, share) in enumerate(
        zip(figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0], panels)
    ):
        ratios = [2.0 if kind == "shafts" and len(share) > 1 else 1.0 for kind in share]
        axes = parts.subplots(1, len(share), squeeze=False, width_ratios=ratios)[0]
        for panel, kind in zip(axes, share):
            if kind == "shafts":
                _draw_shafts(panel, rows, shafts, entry["chosen"], colours)
            elif kind == "curve":
                _draw_curve(panel, entry)
            elif kind == "plane":
                _draw_plane(panel, rows, flat, entry["chosen"], colours)
            else:
                _draw_view(panel, rows, solid, entry["chosen"], colours, VIEWS[int(kind[-1])])
        if number == len(panels) - 1 and colours is not None:
            parts.colorbar(colours, ax=list(axes), label=label, shrink=0.8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    return True


def along_shafts(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, int]]]:
    """Shaft -> (contact number, row), for channels whose name states both; shafts in natural order."""
    found: dict[str, list[tuple[int, int]]] = {}
    for number, row in enumerate(rows):
        contact = contact_of(row["name"]) if row.get("shaft") else None
        if contact is not None:
            found.setdefault(contact.shaft, []).append((contact.number, number))
    return {shaft: sorted(found[shaft]) for shaft in sorted(found)}


def places(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> np.ndarray:
    """[channels, axes]; NaN where unknown."""
    return np.array([[np.nan if row.get(k) is None else float(row[k]) for k in keys] for row in rows]).reshape(
        len(rows), len(keys)
    )


def _colours(rows: list[dict[str, Any]]) -> Any:
    """Score -> colour, or None where channels were not scored."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scores = [row["score"] for row in rows if row.get("score") is not None]
    if not scores:
        return None
    return ScalarMappable(Normalize(min(scores), max(max(scores), min(scores) + 1e-9)), MAP)


def _styles(rows: list[dict[str, Any]], numbers: list[int], chosen: list[str], colours: Any) -> dict[str, Any]:
    """Face, edge and width of the marks of some rows."""
    inside = set(chosen)
    names = [rows[n]["name"] for n in numbers]
    face = ["#b9bdc4"] * len(names) if colours is None else [colours.to_rgba(rows[n]["score"]) for n in numbers]
    return {
        "facecolors": face,
        "edgecolors": [RING if name in inside else "#00000030" for name in names],
        "linewidths": [1.8 if name in inside else 0.5 for name in names],
    }


def _draw_shafts(
    panel: Any, rows: list[dict[str, Any]], shafts: dict[str, list[tuple[int, int]]], chosen: list[str], colours: Any
) -> None:
    for height, contacts in enumerate(shafts.values()):
        along = [number for number, _ in contacts]
        numbers = [number for _, number in contacts]
        panel.plot([min(along), max(along)], [height, height], color="#b9bdc4", linewidth=3, zorder=1)
        styles = _styles(rows, numbers, chosen, colours)
        panel.scatter(along, [height] * len(along), s=95, zorder=2, **styles)
    panel.set_yticks(range(len(shafts)), list(shafts))
    panel.set_ylim(len(shafts) - 0.4, -0.6)
    most = max(number for contacts in shafts.values() for number, _ in contacts)
    least = min(number for contacts in shafts.values() for number, _ in contacts)
    panel.set_xticks(range(least, most + 1, 1 if most - least < 12 else 2))
    panel.set_xlabel("number of the contact")
    panel.set_title("along the shafts; red rings are chosen", fontsize=9)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)


def _draw_curve(panel: Any, entry: dict[str, Any]) -> None:
    ks = [point["k"] for point in entry["curve"]]
    mean, spread = (np.array([point[key] for point in entry["curve"]]) for key in ("accuracy", "sd"))
    panel.fill_between(ks, mean - spread, mean + spread, color="#2f78c4", alpha=0.2, linewidth=0)
    panel.plot(ks, mean, "o-", color="#2f78c4", markersize=4)
    panel.axhline(entry["chance"], color="#555555", linewidth=1, linestyle=(0, (3, 3)))
    panel.annotate("chance", (ks[0], entry["chance"]), (0, 2), textcoords="offset points", fontsize=8, color="#555555")
    panel.set_xscale("log")
    panel.set_xticks(ks, [str(k) for k in ks])
    panel.minorticks_off()
    panel.set_ylim(bottom=0)
    panel.set_xlabel("best channels together")
    panel.set_ylabel("balanced accuracy")
    panel.set_title("inner validation (band: s.d.)", fontsize=9)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _draw_view(
    panel: Any, rows: list[dict[str, Any]], solid: np.ndarray, chosen: list[str], colours: Any, view: tuple[Any, ...]
) -> None:
    title, across, up, first, second = view
    known = np.flatnonzero(np.isfinite(solid).all(1))[::-1]  # the best are drawn last, on top
    points = 1e3 * solid[known]
    panel.scatter(points[:, across], points[:, up], s=42, **_styles(rows, known.tolist(), chosen, colours))
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_xlabel(f"{first}, mm")
    panel.set_ylabel(f"{second}, mm")
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _draw_plane(panel: Any, rows: list[dict[str, Any]], flat: np.ndarray, chosen: list[str], colours: Any) -> None:
    known = np.flatnonzero(np.isfinite(flat).all(1))[::-1]
    points = flat[known]
    if colours is not None and len(known) > 3 and np.ptp(points[:, 0]) > 0 and np.ptp(points[:, 1]) > 0:
        scores = [rows[n]["score"] for n in known]
        panel.tricontourf(*points.T, scores, levels=12, cmap=MAP, norm=colours.norm, alpha=0.7)
    panel.scatter(*points.T, s=42, **_styles(rows, known.tolist(), chosen, colours))
    for number in known[::-1][:NAMED]:
        panel.annotate(rows[number]["name"], flat[number], xytext=(5, 5), textcoords="offset points", fontsize=8)
    panel.set_aspect("equal")
    panel.set_xlim(-0.08, 1.08)
    panel.set_ylim(-0.08, 1.08)
    panel.set_title("sensors on a plane; red rings are chosen", fontsize=9)
    panel.axis("off")
