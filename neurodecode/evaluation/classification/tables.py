"""A table of baselines as text: title, columns, rows, notes."""

from __future__ import annotations

import math
from typing import Any

from neurodecode.evaluation.classification.differences import comparison_columns, comparison_notes
from neurodecode.evaluation.classification.figures import FIGURES

FEWEST_PEOPLE = 6  # below, an interval over people is too short to lean on


def baselines_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, columns, rows and notes of baselines.json, all text."""
    data = "SIMULATED data" if result["simulated"] else "recorded data"
    people = len(result["subjects"])
    title = f"{result['name']}: {result['n_windows']} test windows, {result['n_classes']} labels, {people} subject(s), {data}"
    keys = [key for key in FIGURES if any(_there(row["metrics"].get(key, {}).get("value")) for row in result["rows"])]
    several = len({row["scaling"] for row in result["rows"]} - {None}) > 1
    columns = ["method", *(["scaled by"] if several else []), "seeds", *(FIGURES[key] for key in keys)]
    comparison = result.get("comparison")
    more, cells = ([], {}) if comparison is None else comparison_columns(comparison)
    columns += more
    rows = []
    for row in result["rows"]:
        scaling = [] if not several else [{"training": "training", "person": "own windows*"}.get(row["scaling"], "-")]
        seeds = str(row["seeds"]) if row["kind"] in ("network", "codebook") else "-"
        rows.append([row["method"], *scaling, seeds, *(_text(row["metrics"][key]) for key in keys)])
        if comparison is not None:
            rows[-1] += cells.get(row["name"], ["reference" if row["name"] == comparison["reference"] else "-", "-"])
    return title, columns, rows, _notes(result, several)


def _notes(result: dict[str, Any], several: bool) -> list[str]:
    split, settings = result["split"], result["settings"]
    what = "whole people held out" if split["rule"] == "subjects" else f"split by rule {split['rule']}"
    models = "a model a subject" if result["one_model_a_subject"] else "one model for all"
    notes = [
        f"{what}, {len(split['folds'])} fold(s), {models}; {result['sfreq']:g} Hz, {result['n_times']} samples a window, the "
        "same for all.",
        "Figures are means over people [95 % interval over people]; of networks, each person's is the mean over seeds.",
        "Epochs and penalties are chosen on validation or inner training windows; test windows choose nothing.",
    ]
    if any(_there(row["metrics"].get("pooled_auc", {}).get("value")) for row in result["rows"]):
        notes.append(
            "AUC compares windows of one person; pooled, those of all people: whether one threshold serves them."
        )
    if result.get("comparison") is not None:
        notes += comparison_notes(result["comparison"])
    if any(row["scaling"] == "person" for row in result["rows"]):
        star = "* " if several else "Scaled by own windows: "
        notes.append(
            f"{star}transductive: each person is scaled by all of his own windows, those of test too, without their labels."
        )
    if settings["class_weight"] == "balanced":
        notes.append("Fitted as if labels were equally frequent, so accuracy may lie below majority's.")
    if any(row["kind"] == "ridge" for row in result["rows"]):
        notes.append("Ridge gives scores, not probabilities: it has no cross-entropy.")
    people = len(result["subjects"])
    if 1 < people < FEWEST_PEOPLE:
        notes.append(f"Only {people} people: intervals over people are too short to lean on.")
    if people == 1:
        notes.append("One person: intervals are over seeds, and say nothing about others.")
    if split["rule"] == "paper":
        notes.append("Rule paper cuts through runs: test trials come from runs that were trained on.")
    if result["simulated"]:
        notes.insert(0, "Simulated recordings: this says nothing about a brain.")
    return notes


def _there(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _text(figure: dict[str, Any]) -> str:
    if not _there(figure["value"]):
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
