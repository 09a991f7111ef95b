"""The training side of a fold, and nothing else: the only windows that a ranking can reach.

In: a fold of labelled windows, a subject. Out: a `TrainingSide`, whose table has no row of a validation or test window, its
inner folds, and the record of what was read. Everything in this room reads signals through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.channels.selection import merged
from neurodecode.config.selection import OnsetSettings, SelectionSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.files import sha256_of_value
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.labels import NEAR, LabelFeatures, LabelIndex
from neurodecode.training.codebook_data import SubjectSource

BLOCKS = 4  # stretches of windows for each inner fold


@dataclass
class TrainingSide:
    """Training windows of one subject.

    Attributes
    ----------
    index
        Of this subject's recordings; every row of its table trains.
    units
        [n] int: rows of one number stay together in inner folds.
    blocks
        [n] int: finer stretches, for rows that all belong to one unit.
    counts
        Windows that were not taken, by reason.
    chosen
        Names of the only channels that are looked at; None looks at all.
    """

    index: LabelIndex
    units: np.ndarray
    blocks: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)
    chosen: list[str] | None = None

    @property
    def labels(self) -> np.ndarray:
        """[n] int, number of each window's label."""
        return self.index.table["identity"].to_numpy(int)

    @property
    def rows(self) -> np.ndarray:
        """All rows, [n]."""
        return np.arange(len(self.index.table))

    def source(self, rows: np.ndarray | None = None) -> SubjectSource:
        """Batches in SI units; with `rows`, scaled by these rows alone."""
        features: Any = LabelFeatures()
        chosen = None if self.chosen is None else {self.index.subjects[0]: self.chosen}
        if rows is None:
            return SubjectSource(BatchSource(self.index, features), chosen)
        sides = np.full(len(self.index.table), "", object)
        sides[rows] = "train"
        source = BatchSource(replace(self.index, table=self.index.table.assign(split=sides)), features)
        source.fit_scalers()
        return SubjectSource(source, chosen)

    def folds(
        self, rows: np.ndarray, n: int, rng: np.random.Generator, units: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inner folds of some rows: (rows left to learn from, rows held out), which share no sample.

        Units are dealt to `n` folds by chance, so that folds have about as many windows; rows of one unit alone are dealt
        by blocks.
        """
        units = (self.units if units is None else units)[rows]
        if len(np.unique(units)) < 2:
            units = self.blocks[rows]
        names, sizes = np.unique(units, return_counts=True)
        n = min(n, len(names))
        load, fold = np.zeros(n), {}
        for unit in rng.permutation(len(names)):
            lightest = int(load.argmin())
            fold[names[unit]] = lightest
            load[lightest] += sizes[unit]
        of = np.array([fold[unit] for unit in units])
        for number in range(n if n > 1 else 0):
            held = rows[of == number]
            yield self._apart(rows[of != number], held), held

    def _apart(self, rows: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Those of `rows` that share no sample with `held`."""
        table, n_times = self.index.table, self.index.n_times
        recording, start = table["recording"].to_numpy(int), table["start"].to_numpy(int)
        keep = np.ones(len(rows), bool)
        for number in np.unique(recording[held]):
            theirs = np.sort(start[held[recording[held] == number]])
            mine = np.flatnonzero(recording[rows] == number)
            first = np.searchsorted(theirs, start[rows[mine]] - n_times, side="right")
            keep[mine] = ~(first < np.searchsorted(theirs, start[rows[mine]] + n_times, side="left"))
        return rows[keep]

    def seen(self) -> list[dict[str, Any]]:
        """What windows cover: recording, sha256 of its signal, spans in s."""
        table, sfreq = self.index.table, self.index.sfreq
        length = self.index.n_times / sfreq
        found = []
        for number in np.unique(table["recording"]):
            recording = self.index.recordings[number]
            starts = table["start"][table["recording"] == number].to_numpy() / sfreq
            found.append(
                {"recording": recording.name, "sha256": recording.sha256_signal, "spans": merged(starts, length)}
            )
        return found

    def digest(self) -> str:
        """SHA-256 of which samples of which signals were read as which label."""
        table = self.index.table
        hashes = [self.index.recordings[number].sha256_signal for number in table["recording"]]
        rows = sorted(zip(hashes, table["start"].tolist(), table["label"].tolist()))
        return sha256_of_value({"windows": [list(row) for row in rows], "n_times": self.index.n_times})


def training_side(fold: LabelIndex, subject: str, settings: SelectionSettings) -> TrainingSide:
    """The training windows of one subject in a fold.

    Parameters
    ----------
    fold
        A fold of an index of labels.
    subject
        Its name.
    settings
        Inner folds.

    Raises
    ------
    NeurodecodeError
        If there are too few windows or labels to rank on.
    """
    return _side(_only(fold, subject), subject, settings)


def before_onset(fold: LabelIndex, subject: str, settings: SelectionSettings, onset: OnsetSettings) -> TrainingSide:
    """Control windows of the same trials that end before the voice.

    A trial without an onset, and a control window that leaves the recording, overlaps a bad span or reaches into a window of
    another side, are left out and counted.

    Parameters
    ----------
    fold, subject, settings
        As in `training_side`.
    onset
        Where the voice begins.

    Raises
    ------
    NeurodecodeError
        As `training_side`.
    """
    index = _only(fold, subject)
    table, sfreq = index.table, index.sfreq
    length = max(1, round(onset.seconds * sfreq))
    begins = np.full(len(table), np.nan)
    for number in np.unique(table["recording"]):
        mine = (table["recording"] == number).to_numpy()
        anchors = table["anchor"][mine].to_numpy(float)
        begins[mine] = anchors if not onset.event else _following(index, int(number), anchors, onset.event)
    known = np.isfinite(begins)
    start = np.rint((np.where(known, begins, 0.0) - onset.gap) * sfreq).astype(int) - length
    others = fold.table[fold.table["split"].isin(["valid", "test"])]
    outside, bad, shared = (np.zeros(len(table), bool) for _ in range(3))
    for number in np.unique(table["recording"]):
        mine = (table["recording"] == number).to_numpy()
        recording = index.recordings[number]
        outside |= mine & ((start < 0) | (start + length > recording.n_samples))
        for begin, end in np.asarray(recording.bad_spans, float).reshape(-1, 2):
            bad |= mine & (start < end * sfreq - NEAR) & (start + length > begin * sfreq + NEAR)
        there = fold.recordings.index(recording)
        for other in others["start"][others["recording"] == there].to_numpy(int):
            shared |= mine & (start < other + fold.n_times) & (start + length > other)
    counts = {
        "trial without an onset": ~known,
        "control window leaves the recording": known & outside,
        "control window overlaps a bad span": known & ~outside & bad,
        "control window reaches into a window of another side": known & ~outside & ~bad & shared,
    }
    keep = known & ~outside & ~bad & ~shared
    chosen = replace(index, table=table.assign(start=start)[keep].reset_index(drop=True), n_times=length)
    window = chosen.settings.window.model_copy(update={"tmin": 0.0, "tmax": length / sfreq, "baseline": None})
    chosen.settings = chosen.settings.model_copy(update={"window": window})
    side = _side(chosen, subject, settings)
    side.counts = {reason: int(rows.sum()) for reason, rows in counts.items() if rows.any()}
    return side


def _only(fold: LabelIndex, subject: str) -> LabelIndex:
    """Training rows of one subject; no other row is left in the table."""
    place = fold.subjects.index(subject)
    table = fold.table[(fold.table["split"] == "train") & (fold.table["subject"] == place)]
    mine = [i for i, recording in enumerate(fold.recordings) if recording.subject == subject]
    numbers = {old: new for new, old in enumerate(mine)}
    table = table.assign(subject=0, recording=table["recording"].map(numbers).astype(np.int64))
    table = table.sort_values(["recording", "start"], kind="stable").reset_index(drop=True)
    return replace(fold, table=table, recordings=[fold.recordings[i] for i in mine], subjects=[subject])


def _following(index: LabelIndex, number: int, anchors: np.ndarray, kind: str) -> np.ndarray:
    """First onset of a kind at or after each anchor and inside its window, s; NaN where there is none."""
    events = index.recordings[number].events
    onsets = np.sort(events["onset"][events["kind"] == kind].to_numpy(float))
    if not len(onsets):
        return np.full(len(anchors), np.nan)
    place = np.searchsorted(onsets, anchors - 1e-9)
    found = onsets[np.minimum(place, len(onsets) - 1)]
    inside = (place < len(onsets)) & (found < anchors + index.settings.window.tmax)
    return np.where(inside, found, np.nan)


def _side(index: LabelIndex, subject: str, settings: SelectionSettings) -> TrainingSide:
    table = index.table
    where = f"{index.fold_name}, subject {subject}"
    n_labels = table["label"].nunique()
    if n_labels < 2:
        raise NeurodecodeError(
            f"{where}: {len(table)} training windows with {n_labels} label(s); a ranking needs two labels or more"
        )
    runs = pd.factorize(table["run"])[0]
    blocks = _blocks(runs, len(table), BLOCKS * settings.folds)
    by_run = settings.inner == "run" or (settings.inner == "auto" and runs.max() >= 2)
    if settings.inner == "run" and runs.max() < 1:
        raise NeurodecodeError(f"{where}: inner run needs two training runs, there is one; set inner to block")
    return TrainingSide(index, runs if by_run else blocks, blocks)


def _blocks(runs: np.ndarray, n: int, wanted: int) -> np.ndarray:
    """Stretches of neighbouring rows, none across runs, about `wanted` in all."""
    size = max(1, n // wanted)
    place = np.concatenate([np.arange(count) for count in np.bincount(runs)]) if n else np.zeros(0, int)
    order = np.argsort(runs, kind="stable")
    within = np.empty(n, int)
    within[order] = place // size
    return pd.factorize(pd.Series(zip(runs.tolist(), within.tolist())))[0]
