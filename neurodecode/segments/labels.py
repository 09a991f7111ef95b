"""Windows with labels, for classification: around events of one kind, split by run or as published, numbered, audited.

In: a Store and LabelSettings. Out: a LabelIndex, which is a WindowIndex whose `identity` is the number of a window's label.
Every event that gave no window is counted under a reason. No signal is read here.

    index = build_labels(Store("store"), settings).fold("fold-0")
    batch = index.source(fit=True)[index.rows("train")[:32]]      # batch.signal [32, C, T], batch.identity [32]

Labels are numbered by the training windows of a fold alone, or by a vocabulary that is given. The splits are each subject's
own, except that the rule `subjects` holds out whole people. The rule `paper` is the one of the released code of Du-IN (Zheng
et al. 2024) with two departures: runs are sorted where the code takes the order of the file system, and the split is
repeatable, since its chance depends on names and seed only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.config.labels import LabelSettings
from neurodecode.errors import LeakageError, NeurodecodeError
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.layouts import natural_key
from neurodecode.segments.windows import WindowIndex
from neurodecode.stimuli.feature import Feature

if TYPE_CHECKING:
    from neurodecode.store.store import Store, StoredRecording

SIDES = ("train", "valid", "test")
UNKNOWN = -1  # number of a label that no training window has
NEAR = 1e-3  # samples: times of spans and events are seconds in floating point


@dataclass
class LabelIndex(WindowIndex):
    """All windows with a label.

    Attributes
    ----------
    table
        As in a WindowIndex, and `trial`, the number of the event among those of its kind in its recording. `stimulus` is the
        place of the label in `stimuli`, which are all labels of the cohort; `identity` is the same until a fold is
        chosen, then the number of the label in `vocabulary`, or -1.
    labels
        The settings.
    vocabulary
        Labels in the order of their numbers; empty until a fold is chosen.
    """

    labels: LabelSettings = field(default_factory=LabelSettings)
    vocabulary: list[str] = field(default_factory=list)

    def fold(self, name: str) -> LabelIndex:
        """The same windows split for one fold, numbered by its training windows, audited.

        Raises
        ------
        NeurodecodeError
            If a side is empty, or a label is unknown and the policy is to refuse it.
        LeakageError
            If a trial stands on two sides.
        """
        if name not in self.folds:
            raise NeurodecodeError(f"there is no {name}; there are {', '.join(self.folds)}")
        split = _sides(self.table, self.recordings, self.subjects, self.labels, name.removeprefix("fold-"))
        known = sorted(set(self.table["label"][split == "train"]))
        if not known:  # said before anything is called unknown
            raise NeurodecodeError(
                f"{name}: no window is left for train ({len(split)} windows in all, not taken: {self.counts}); split by run "
                "needs three runs of a subject: record more, or use rule paper or subjects"
            )
        vocabulary = list(self.labels.vocabulary) or known
        outside = sorted(set(known) - set(vocabulary))
        if outside:
            raise NeurodecodeError(f"{name}: training windows have labels that vocabulary lacks: {_some(outside)}")
        split, counts, strange = self._unknown(name, split, set(known))
        numbers = {label: number for number, label in enumerate(vocabulary)}
        identity = [UNKNOWN if label in strange else numbers.get(label, UNKNOWN) for label in self.table["label"]]
        table = self.table.assign(split=split, identity=np.array(identity, np.int64))
        chosen = replace(self, table=table, fold_name=name, vocabulary=vocabulary, counts=counts)
        empty = [side for side in SIDES if not len(chosen.rows(side))]
        if empty:
            raise NeurodecodeError(
                f"{name}: no window is left for {' and '.join(empty)} ({len(table)} windows in all, not taken: {counts}); "
                "change the split or record more"
            )
        chosen.audit = audit_labels(chosen)
        return chosen

    def _unknown(self, name: str, split: np.ndarray, known: set[str]) -> tuple[np.ndarray, dict[str, int], set[str]]:
        """Sides, counts and unknown labels once the policy has been applied."""
        labels = self.table["label"].to_numpy()
        strange = np.array([side != "" and label not in known for side, label in zip(split, labels)], bool)
        names = sorted(set(labels[strange]))
        if not names:
            return split, dict(self.counts), set()
        if self.labels.unknown == "refuse":
            raise NeurodecodeError(
                f"{name}: {int(strange.sum())} windows have labels that no training window has: {_some(names)}; set "
                "unknown to drop or wrong, or change the split"
            )
        reason = "label not in the training windows"
        if self.labels.unknown == "wrong":
            return split, self.counts | {f"{reason} (kept, always wrong)": int(strange.sum())}, set(names)
        return np.where(strange, "", split), self.counts | {reason: int(strange.sum())}, set(names)

    def source(self, *, fit: bool = False, device: str = "cpu") -> BatchSource:
        """Batches of these windows; `fit` scales them by the training windows of the chosen fold."""
        source = BatchSource(self, LabelFeatures(), device=device)  # type: ignore[arg-type]  # the same method `get`
        if fit:
            source.fit_scalers()
        return source

    def summary(self) -> dict[str, Any]:
        """Counts for `run.json`: windows, labels and trials a side, drops."""
        sides = {side: self.table.iloc[self.rows(side)] for side in SIDES}
        return {
            "rule": self.labels.split.rule,
            "seed": self.labels.split.seed,
            "event": self.labels.event,
            "counts": {side: len(rows) for side, rows in sides.items()},
            "labels": {side: int(rows["label"].nunique()) for side, rows in sides.items()},
            "vocabulary": list(self.vocabulary),
            "unknown": self.labels.unknown,
            "audit": self.audit,
            "dropped": dict(self.counts),
        }


class LabelFeatures:
    """Takes the place of a feature store where nothing was heard: one frame that holds nothing."""

    def get(self, name: str) -> Feature:
        """A feature of one dimension, 0 at every time."""
        return Feature(np.zeros((1, 1), np.float32), 1.0, 0.0)


def build_labels(store: Store, settings: LabelSettings, subjects: tuple[str, ...] = ()) -> LabelIndex:
    """Find all windows around events of one kind.

    Parameters
    ----------
    store
        Of the cohort.
    settings
        What to look for, and how to split it.
    subjects
        Only these; empty takes all.

    Raises
    ------
    NeurodecodeError
        If no recording is left, sampling rates differ, or there is no such event.
    """
    known = sorted({r.subject for r in store.recordings})
    missing = sorted(set(subjects) - set(known))
    recordings = [r for r in store.recordings if not subjects or r.subject in subjects]
    if missing or not recordings:
        raise NeurodecodeError(
            f"{store.path}: no recording of subject {', '.join(missing)}; there are {', '.join(known)}"
        )
    rates = sorted({float(r.sfreq) for r in recordings})
    if len(rates) > 1:
        raise NeurodecodeError(f"{store.path}: recordings at {rates} Hz; preprocess all of them with one sfreq")
    window = settings.window
    n_times = round((window.tmax - window.tmin) * rates[0]) + int(window.closed)
    counts: Counter[str] = Counter()
    used = sorted({r.subject for r in recordings})
    parts = [_windows(recording, settings, n_times, counts) for recording in recordings]
    table = pd.concat(
        [
            part.assign(recording=number, subject=used.index(recording.subject), run=recording.run or recording.name)
            for number, (recording, part) in enumerate(zip(recordings, parts))
        ],
        ignore_index=True,
    )
    if not len(table):
        kinds = sorted({str(kind) for r in recordings for kind in r.events["kind"]})
        raise NeurodecodeError(
            f"{store.path}: no window around an event of kind {settings.event} (not taken: {dict(counts) or 'none there'}); "
            f"there are events of kind {', '.join(kinds) or 'none'}"
        )
    labels = sorted(set(table["label"]))
    place = {label: number for number, label in enumerate(labels)}
    table["stimulus"] = table["label"].map(place).astype(np.int64)
    table["identity"] = table["stimulus"]
    table["stimulus_time"], table["stimulus_start"] = 0.0, window.tmin
    table["block"], table["anchors"] = 0, "train"
    order = ["recording", "subject", "stimulus", "start", "anchor", "stimulus_time", "stimulus_start"]
    return LabelIndex(
        table=table[[*order, "identity", "label", "trial", "block", "run", "anchors"]],
        settings=settings.segments(),
        n_times=n_times,
        sfreq=rates[0],
        recordings=recordings,
        subjects=used,
        stimuli=labels,
        contents=labels,
        blocks=[],
        counts={reason: n for reason, n in sorted(counts.items()) if n},
        folds=_folds(store, recordings, settings),
        labels=settings,
    )


def _windows(recording: StoredRecording, settings: LabelSettings, n_times: int, counts: Counter[str]) -> pd.DataFrame:
    """Rows start (sample), anchor (s), label, trial of one recording."""
    events = recording.events
    events = events[events["kind"] == settings.event].reset_index(drop=True)
    sfreq = float(recording.sfreq)
    anchor = events["onset"].to_numpy(float)
    label = events["label"].astype(str).str.strip().to_numpy(object)
    keep = np.isfinite(anchor)
    counts["event without an onset"] += int((~keep).sum())
    named = label != ""
    counts["event without a label"] += int((keep & ~named).sum())
    keep &= named
    start = np.rint((np.where(keep, anchor, 0.0) + settings.window.tmin) * sfreq).astype(np.int64)
    inside = (start >= 0) & (start + n_times <= recording.n_samples)
    counts["window leaves the recording"] += int((keep & ~inside).sum())
    keep &= inside
    bad = np.zeros(len(events), bool)
    for begin, end in np.asarray(recording.bad_spans, float).reshape(-1, 2):
        bad |= (start < end * sfreq - NEAR) & (start + n_times > begin * sfreq + NEAR)
    counts["window overlaps a bad span"] += int((keep & bad).sum())
    keep &= ~bad
    rows = pd.DataFrame({"start": start, "anchor": anchor, "label": label, "trial": np.arange(len(events))})[keep]
    doubled = rows.duplicated("start")
    counts["two events on one sample"] += int(doubled.sum())
    return rows[~doubled].sort_values("start", kind="stable")


def _runs_of(table: pd.DataFrame, subject: int) -> list[str]:
    """Runs of a subject that have windows, in natural order."""
    return sorted(set(table["run"][table["subject"] == subject]), key=natural_key)


def _folds(store: Store, recordings: list[StoredRecording], settings: LabelSettings) -> list[str]:
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


def _sides(
    table: pd.DataFrame, recordings: list[StoredRecording], subjects: list[str], settings: LabelSettings, fold: str
) -> np.ndarray:
    """`train`, `valid` or `test` for every row: each subject by itself, or whole subjects."""
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
        raise NeurodecodeError(f"split names the runs {', '.join(unknown)}; there are {_some(sorted(set(runs)))}")
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


def audit_labels(index: LabelIndex) -> dict[str, Any]:
    """Check one fold: no trial, and no sample of a recording, stands on two sides.

    Asked of the windows themselves: is an event in windows of two sides; do windows of two sides of one recording share
    samples; do recordings with one and the same signal stand on two sides; did a run of a subject, unless the rule says so;
    did a person, where people are held out.

    Returns
    -------
    dict
        `trials_shared`, `seconds_shared`, `copies_shared` (all 0), and `runs_shared`, which only the rule `paper` allows.

    Raises
    ------
    LeakageError
        Naming the first trial, second, recording or run.
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
    return {
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


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
