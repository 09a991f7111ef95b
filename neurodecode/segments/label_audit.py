"""Does any trial, second, signal, run or person of labelled windows stand on two sides? Asked of the windows themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.errors import LeakageError

if TYPE_CHECKING:
    from neurodecode.segments.labels import LabelIndex


def audit_labels(index: LabelIndex) -> dict[str, Any]:
    """Check one fold: no trial, and no sample of a recording, stands on two sides.

    Asked of the windows themselves: is an event in windows of two sides; do windows of two sides of one recording share
    samples; do recordings with one and the same signal stand on two sides; did a run of a subject, unless the rule says so;
    did a person, where people are held out; does a held-out label train or validate.

    Returns
    -------
    dict
        `trials_shared`, `seconds_shared`, `copies_shared` (all 0), `runs_shared`, which only the rule `paper` allows, and
        `held_out_trained` (0) where labels are held out.

    Raises
    ------
    LeakageError
        Naming the first trial, second, recording, run, person or label.
    """
    table = index.table[index.table["split"] != ""]
    twice = _on_two_sides(table, "recording", "trial")
    if twice:
        number, trial = twice[0]
        raise LeakageError(
            f"{index.fold_name}: trial {trial} of {index.recordings[number].name} stands on two sides; "
            "one event must give one window"
        )
    held: dict[str, tuple[str, set[str]]] = {}  # signal -> the first recording that has it, and its sides
    for number in np.unique(table["recording"]):
        recording = index.recordings[number]
        rows = table[table["recording"] == number].sort_values("start", kind="stable")
        start, side = rows["start"].to_numpy(), rows["split"].to_numpy()
        # windows are of one length: if two of different sides overlap, then two neighbours of different sides do
        close = np.flatnonzero((np.diff(start) < index.n_times) & (side[1:] != side[:-1]))
        if len(close):
            k = int(close[0])
            raise LeakageError(
                f"{index.fold_name}: second {start[k + 1] / index.sfreq:.2f} of {recording.name} stands in {side[k]} and "
                f"{side[k + 1]}; split by run, or take shorter windows"
            )
        first, sides = held.setdefault(recording.sha256_signal, (recording.name, set()))
        sides |= set(side)
        if first != recording.name and len(sides) > 1:
            raise LeakageError(
                f"{index.fold_name}: {first} and {recording.name} hold the same signal and stand on different sides; "
                "leave one of them out"
            )
    shared = _on_two_sides(table, "subject", "run")
    if shared and index.labels.split.rule != "paper":
        subject, run = shared[0]
        raise LeakageError(
            f"{index.fold_name}: run {run} of {index.subjects[subject]} stands on two sides; the rule "
            f"{index.labels.split.rule} must not cut through a run"
        )
    people = table.groupby("subject", sort=True)["split"].nunique()
    if index.labels.split.rule == "subjects" and (people > 1).any():
        raise LeakageError(
            f"{index.fold_name}: {index.subjects[people[people > 1].index[0]]} stands on two sides; the rule subjects must "
            "hold out whole people"
        )
    only_test = index.labels.split.held_out
    trained = table[table["label"].isin(only_test) & (table["split"] != "test")]
    if len(trained):
        row = trained.iloc[0]
        raise LeakageError(
            f"{index.fold_name}: the held-out label {row['label']} stands in {row['split']}; held-out labels may only test"
        )
    clean = {"held_out_trained": 0} if only_test else {}
    return clean | {
        "trials_shared": 0,
        "seconds_shared": 0,
        "copies_shared": 0,
        "runs_shared": len(shared),
        "trials_compared": len(table),
    }


def _on_two_sides(table: pd.DataFrame, *columns: str) -> list[Any]:
    """Values of some columns whose rows stand on more than one side."""
    sides = table.groupby(list(columns), sort=True)["split"].nunique()
    return list(sides[sides > 1].index)
