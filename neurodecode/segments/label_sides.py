"""On which side of a split each labelled window stands: by run, as published, or by whole people.

In: the rows of a LabelIndex and LabelSettings. Out: `train`, `valid` or `test` a row. Chance depends on names and a seed only,
so a split is the same whatever order files are found in.

The splits are each subject's own, except that the rule `subjects` holds out whole people. The rule `paper` is the one of the
released code of Du-IN (Zheng et al. 2024) with two departures: runs are sorted where the code takes the order of the file
system, and the split is repeatable.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurodecode.config.labels import LabelSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.segments.layouts import natural_key

if TYPE_CHECKING:
    from neurodecode.store.store import Store, StoredRecording


def _runs_of(table: pd.DataFrame, subject: int) -> list[str]:
    """Runs of a subject that have windows, in natural order."""
    return sorted(set(table["run"][table["subject"] == subject]), key=natural_key)


def fold_names(store: Store, recordings: list[StoredRecording], settings: LabelSettings) -> list[str]:
    """Names of the folds that the rule makes.

    Raises
    ------
    NeurodecodeError
        If there are too few people or runs for it.
    """
    if settings.split.rule == "subjects":
        people = sorted({r.subject for r in recordings}, key=natural_key)
        parts = settings.split.parts or len(people)
        if len(people) < max(3, parts):
            raise NeurodecodeError(
                f"{store.path}: {len(people)} subjects cannot be dealt into {max(3, parts)} parts (train, validate, test); "
                "use a split by run"
            )
        return [f"fold-{part}" for part in range(parts)]
    if settings.split.rule != "leave-one-run-out":
        return ["fold-0"]
    runs = sorted({r.run or r.name for r in recordings}, key=natural_key)
    if len(runs) < 3:
        raise NeurodecodeError(
            f"{store.path}: leave-one-run-out needs at least 3 runs (train, validate, test), found {len(runs)}"
        )
    return [f"fold-{run}" for run in runs]


def parts_of_subjects(subjects: list[str], parts: int | None, seed: int) -> list[list[str]]:
    """People dealt into parts: in natural order with one person a part, else by a chance that depends on names and seed."""
    if parts is None:
        return [[name] for name in sorted(subjects, key=natural_key)]
    order = sorted(subjects, key=lambda name: (_draw(f"{seed}|subject|{name}"), name))
    return [order[part::parts] for part in range(parts)]


def sides_of(
    table: pd.DataFrame, recordings: list[StoredRecording], subjects: list[str], settings: LabelSettings, fold: str
) -> np.ndarray:
    """`train`, `valid` or `test` for every row: each subject by itself, or whole subjects.

    Parameters
    ----------
    table
        Rows of a LabelIndex.
    recordings, subjects
        Of the index.
    settings
        Whose split it is.
    fold
        Name of the run that is tested (rule leave-one-run-out), or number of the part (rule subjects).

    Raises
    ------
    NeurodecodeError
        If the split names a run that is not there.
    """
    sides = np.full(len(table), "train", dtype=object)
    split = settings.split
    if split.rule == "subjects":
        dealt = parts_of_subjects(subjects, split.parts, split.seed)
        part, owner = int(fold), np.array(subjects, object)[table["subject"].to_numpy()]
        sides[np.isin(owner, dealt[(part + 1) % len(dealt)])] = "valid"
        sides[np.isin(owner, dealt[part])] = "test"
        return sides
    runs = table["run"].to_numpy()
    unknown = sorted({*split.test_runs, *split.valid_runs} - set(runs), key=natural_key)
    if unknown:
        raise NeurodecodeError(f"split names the runs {', '.join(unknown)}; there are {some_of(sorted(set(runs)))}")
    for subject in sorted(set(table["subject"])):
        mine = (table["subject"] == subject).to_numpy()
        names = _runs_of(table, subject)
        if split.rule == "paper":
            sides[mine] = _as_published(table[mine], recordings, split.train, split.seed)
            continue
        if split.rule == "leave-one-run-out":
            test = [fold] if fold in names else []  # a subject without this run trains with all it has
            valid = [names[(names.index(fold) + 1) % len(names)]] if test and len(names) > 1 else []
        else:
            test = list(split.test_runs) or names[-1:]
            rest = [name for name in names if name not in test]
            valid = list(split.valid_runs) or rest[-1:]
        sides[mine & np.isin(runs, valid)] = "valid"
        sides[mine & np.isin(runs, test)] = "test"
    return sides


def _as_published(table: pd.DataFrame, recordings: list[StoredRecording], train: float, seed: int) -> np.ndarray:
    """Sides of one subject's rows: of each label, in the order of runs and by chance inside a run, the first train."""
    names = [recordings[number].name for number in table["recording"]]
    draw = [_draw(f"{seed}|{name}|{trial}") for name, trial in zip(names, table["trial"])]
    later = [_draw(f"{seed}|side|{name}|{trial}") for name, trial in zip(names, table["trial"])]
    rank = {run: number for number, run in enumerate(sorted(set(table["run"]), key=natural_key))}
    frame = pd.DataFrame(
        {"label": table["label"].to_numpy(), "run": [rank[run] for run in table["run"]], "draw": draw, "later": later}
    )
    sides = np.full(len(frame), "train", dtype=object)
    for _, group in frame.groupby("label", sort=True):
        ordered = group.sort_values(["run", "draw"], kind="stable")
        rest = ordered.iloc[int(train * len(ordered) + 1e-9) :].sort_values("later", kind="stable").index.to_numpy()
        half = len(rest) // 2
        sides[rest[:half]], sides[rest[half:]] = "valid", "test"
    return sides


def _draw(text: str) -> int:
    """A number by chance that depends on a text only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def some_of(names: list[str]) -> str:
    """The first eight names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
