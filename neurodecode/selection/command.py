"""`neurodecode channels STORE --config METHOD --out FOLDER`: rank, draw, and say in short what came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from neurodecode.channels.selection import FILE
from neurodecode.config import load_settings
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import SettingsError
from neurodecode.files import plain
from neurodecode.selection.rank import rank_channels

Table = tuple[str, list[str], list[list[str]], list[str]]  # title, columns, rows, notes
SHOWN = 12  # channels of a subject in a table
KIND = "configs/selection"


def rank_command(
    config: str | None, store: Path, out: Path | None, overrides: list[str], progress: bool
) -> tuple[Path, dict[str, Any]]:
    """Rank by a preset or file and write the selection; its folder and content.

    Raises
    ------
    SettingsError
        If the command names no method or no folder.
    """
    if config is None:
        raise SettingsError("--config: must be given to rank channels: region, weights, decodability or groups")
    if out is None:
        raise SettingsError("--out: must be given to rank channels: the folder of the ranking and its maps")
    settings = load_settings(SelectionSettings, config, KIND, overrides)

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    return out, plain(rank_channels(settings, store, out, say if progress else None))


def selection_tables(selection: dict[str, Any], out: Path) -> list[Table]:
    """One table a subject and fold, all text."""
    return [
        _table(selection, fold, subject, entry, out)
        for fold, inside in selection["folds"].items()
        for subject, entry in inside["subjects"].items()
    ]


def _table(selection: dict[str, Any], fold: str, subject: str, entry: dict[str, Any], out: Path) -> Table:
    title = (
        f"{selection['method']}, {fold}, subject {subject}: {len(entry['chosen'])} of {len(entry['channels'])} chosen"
    )
    if entry["n_windows"]:
        title += f", ranked on {entry['n_windows']} training windows, {entry['n_labels']} labels"
    rows = entry["channels"]
    scored = [key for key in ("score", "mean_rank", "rank_sd", "top_share", "group", "before") if key in rows[0]]
    heads = {
        "mean_rank": "mean rank",
        "rank_sd": "s.d.",
        "top_share": f"in top {entry['stability']['k'] if entry['stability'] else ''}",
        "before": "before onset",
    }
    chosen = set(entry["chosen"])
    lines = [
        [str(row["rank"]), row["name"], row.get("region") or "", *(_text(row[key]) for key in scored)]
        + ["yes" if row["name"] in chosen else ""]
        for row in rows[:SHOWN]
    ]
    notes = []
    if len(rows) > SHOWN:
        notes.append(f"{len(rows) - SHOWN} more in {out / 'channels.tsv'}.")
    if entry["curve"]:
        points = ", ".join(f"{point['k']}: {point['accuracy']:.3f}" for point in entry["curve"])
        notes.append(
            f"Best channels together, balanced accuracy on inner folds: {points}; chance {entry['chance']:.3f}."
        )
    if entry["stability"]:
        notes.append(_stability(entry["stability"]))
    if entry["control"]:
        control = entry["control"]
        notes.append(
            f"Before onset ({control['seconds']:g} s up to {control['gap']:g} s before it, {control['n_windows']} windows): "
            f"{control['chosen_above']} of {control['n_chosen']} chosen channels above {control['bound']:.3f}, which chance "
            f"exceeds somewhere in one of 20 subjects; rank correlation with the ranking {control['spearman']:.2f}."
        )
    for reason, count in entry["counts"].items():
        notes.append(f"Not taken: {count} x {reason}.")
    if selection["simulated"]:
        notes.append("Simulated recordings: this says nothing about a brain.")
    notes.append(f"To train on them: --set channels.file={out / FILE}")
    return title, ["rank", "channel", "region", *(heads.get(key, key) for key in scored), "chosen"], lines, notes


def _stability(figures: dict[str, Any]) -> str:
    if figures["rankings"] < 2:
        return "One ranking: nothing says how stable it is; raise seeds or folds."
    text = (
        f"Between {figures['rankings']} rankings of other windows and seeds: top {figures['k']} in common (Jaccard) "
        f"{figures['jaccard']:.2f}"
    )
    if figures["kuncheva"] is not None:
        text += f", over chance (Kuncheva, 0 to 1) {figures['kuncheva']:.2f}"
    text += f", rank correlation {figures['spearman']:.2f}"
    if "same_groups" in figures:
        text += f", same groups (adjusted Rand) {figures['same_groups']:.2f}"
    return text + "."


def _text(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3g}"
