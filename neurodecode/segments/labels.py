"""Windows with labels, for classification: around events of one kind, split by run or as published, numbered, audited.

In: a Store and LabelSettings. Out: a LabelIndex, which is a WindowIndex whose `identity` is the number of a window's label.
Every event that gave no window is counted under a reason. No signal is read here.

    index = build_labels(Store("store"), settings).fold("fold-0")
    batch = index.source(fit=True)[index.rows("train")[:32]]      # batch.signal [32, C, T], batch.identity [32]

Labels are numbered by the training windows of a fold alone, or by a vocabulary that is given. `label_sides` says which side
a window stands on, `label_audit` checks that nothing stands on two sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.config.labels import LabelSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.label_audit import audit_labels
from neurodecode.segments.label_sides import fold_names, sides_of, some_of
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
            If a side is empty, a label is unknown and the policy is to refuse it, or no window has a held-out label.
        LeakageError
            If a trial stands on two sides.
        """
        if name not in self.folds:
            raise NeurodecodeError(f"there is no {name}; there are {', '.join(self.folds)}")
        split = sides_of(self.table, self.recordings, self.subjects, self.labels, name.removeprefix("fold-"))
        split, counts = self._hold_out(split)
        known = sorted(set(self.table["label"][split == "train"]))
        if not known:  # said before anything is called unknown
            raise NeurodecodeError(
                f"{name}: no window is left for train ({len(split)} windows in all{_left_out(self.counts)}); split by run "
                "needs three runs of a subject: record more, or use rule paper or subjects"
            )
        vocabulary = list(self.labels.vocabulary) or known
        outside = sorted(set(known) - set(vocabulary))
        if outside:
            raise NeurodecodeError(f"{name}: training windows have labels that vocabulary lacks: {some_of(outside)}")
        split, counts, strange = self._unknown(name, split, set(known), counts)
        numbers = {label: number for number, label in enumerate(vocabulary)}
        identity = [UNKNOWN if label in strange else numbers.get(label, UNKNOWN) for label in self.table["label"]]
        table = self.table.assign(split=split, identity=np.array(identity, np.int64))
        chosen = replace(self, table=table, fold_name=name, vocabulary=vocabulary, counts=counts)
        empty = [side for side in SIDES if not len(chosen.rows(side))]
        if empty:
            raise NeurodecodeError(
                f"{name}: no window is left for {' and '.join(empty)} ({len(table)} windows in all{_left_out(counts)}); "
                "change the split or record more"
            )
        chosen.audit = audit_labels(chosen)
        return chosen

    def _hold_out(self, split: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Sides and counts without the windows of held-out labels that would train or validate."""
        labels, held = self.table["label"].to_numpy(), self.labels.split.held_out
        absent = sorted(set(held) - set(labels))
        if absent:
            raise NeurodecodeError(f"labels.split.held_out: no window is labelled {some_of(absent)}")
        mine = np.isin(labels, list(held))
        away = mine & (split != "test") & (split != "")
        found = {
            "held-out label, not in the test": int(away.sum()),
            "held-out label (kept for the test)": int((mine & (split == "test")).sum()),
        }
        return np.where(away, "", split), self.counts | {reason: n for reason, n in found.items() if n}

    def _unknown(
        self, name: str, split: np.ndarray, known: set[str], counts: dict[str, int]
    ) -> tuple[np.ndarray, dict[str, int], set[str]]:
        """Sides, counts and unknown labels once the policy has been applied; held-out ones are no surprise."""
        labels, held = self.table["label"].to_numpy(), set(self.labels.split.held_out)
        strange = np.array(
            [side != "" and label not in known and label not in held for side, label in zip(split, labels)], bool
        )
        names = sorted(set(labels[strange]))
        if not names:
            return split, counts, held
        if self.labels.unknown == "refuse":
            raise NeurodecodeError(
                f"{name}: {int(strange.sum())} windows have labels that no training window has: {some_of(names)}; set "
                "unknown to drop or wrong, or change the split"
            )
        reason = "label not in the training windows"
        if self.labels.unknown == "wrong":
            return split, counts | {f"{reason} (kept, always wrong)": int(strange.sum())}, set(names) | held
        return np.where(strange, "", split), counts | {reason: int(strange.sum())}, set(names) | held

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
            f"{store.path}: no window around an event of kind {settings.event}{_left_out(counts)}; "
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
        folds=fold_names(store, recordings, settings),
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


def _left_out(counts: Mapping[str, int]) -> str:
    """Windows that were not taken, as the end of a sentence; nothing where all were."""
    said = ", ".join(f"{n} x {reason}" for reason, n in counts.items() if n)
    return f", not taken: {said}" if said else ""
