"""Windows: where each piece of signal starts, what was heard in it, and on which side of the split it stands.

In: a Store (recordings with events in seconds) and SegmentSettings. Out: a WindowIndex, one row a window; every window
that was not taken is counted under a reason. No signal is read here.

    index = build_windows(Store("store"), settings)
    index.fold("fold-0").rows("test")
"""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurodecode.config import AnchorSettings, SegmentSettings, SplitSettings
from neurodecode.errors import LeakageError, NeurodecodeError
from neurodecode.segments.audit import audit_split, shared_content, shared_seconds
from neurodecode.segments.blocks import (
    Block,
    blocks_of_stimulus,
    merged_blocks,
    named_by,
    sentences_of_recording,
    sentences_of_stimulus,
    sides_of_blocks,
    uids_of_sentences,
)
from neurodecode.segments.stimulus_time import Presentation, presentations

if TYPE_CHECKING:
    from neurodecode.store.store import Store, StoredRecording

SAME_PLACE = 0.02  # s: anchors of one segment lie no further apart in their stimulus (clocks of recordings differ)

# reasons for which nothing that is known was heard at an anchor
MISSING = "stimulus not in the store"
SILENT = "event while nothing is heard"
NAMELESS = "event that belongs to no stimulus"
STRANGE = "event that belongs to another stimulus than is heard"


@dataclass
class WindowIndex:
    """All windows of a cohort.

    Attributes
    ----------
    table
        One row a window: `recording`, `subject`, `stimulus` (indices into the lists below), `start` (sample of the
        stored signal), `anchor` (s in the recording), `stimulus_time` (s in the stimulus at the anchor),
        `stimulus_start` (s in the stimulus at sample `start`), `identity` (among anchors of one kind, equal = same stimulus
        content at the same place, SAME_PLACE wide at most), `label` (of the event at the anchor, or ""), `block` (index
        into `blocks`), `run`, `anchors` (train or test: which anchor settings made it), and, once a fold is chosen, `split`.
    n_times
        Samples of a window before the shift is cut.
    sfreq
        Hz.
    counts
        Reason -> number of windows not taken.
    folds
        Names of the folds.
    borders
        Stimulus -> seconds at which one of its blocks ends and the next begins, in any recording; none for rules other
        than content, which cut no stimulus.
    """

    table: pd.DataFrame
    settings: SegmentSettings
    n_times: int
    sfreq: float
    recordings: list[StoredRecording]
    subjects: list[str]
    stimuli: list[str]
    contents: list[str]
    blocks: list[Block]
    counts: dict[str, int]
    folds: list[str]
    borders: dict[str, list[float]] = field(default_factory=dict)
    fold_name: str = ""
    audit: dict[str, Any] = field(default_factory=dict)

    @property
    def shift(self) -> int:
        """Samples by which the brain lags the sound: int(0.15 x 120) = 18 (section 3.6)."""
        return int(self.settings.window.shift * self.sfreq + 1e-9)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one side of the chosen fold."""
        if not self.fold_name:
            raise ValueError("choose a fold first: index.fold(index.folds[0])")
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def fold(self, name: str) -> WindowIndex:
        """The same windows with `split` set for one fold, audited; rows that this fold does not use have split ""."""
        if name not in self.folds:
            raise NeurodecodeError(f"there is no {name}; there are {', '.join(self.folds)}")
        split = _sides(self.table, self.blocks, self.settings.split, self.folds.index(name))
        table = self.table.assign(split=np.where(_wanted(self.table, split), split, ""))
        chosen = replace(self, table=table, fold_name=name)
        empty = [side for side in ("train", "valid", "test") if not len(chosen.rows(side))]
        if empty:
            raise NeurodecodeError(
                f"{name}: no window is left for {' and '.join(empty)} ({len(table)} windows in all, "
                f"not taken: {self.counts}); change segments.split or record more"
            )
        chosen.audit = audit_split(chosen)
        return chosen

    def summary(self) -> dict[str, Any]:
        """Counts for `run.json`: windows and distinct segments a side, overlap (s of stimulus on two sides), drops."""
        sides = {s: self.table.iloc[self.rows(s)] for s in ("train", "valid", "test")}
        return {
            "rule": self.settings.split.rule,
            "seed": self.settings.split.seed,
            "counts": {s: len(rows) for s, rows in sides.items()},
            "segments": {s: int(rows["identity"].nunique()) for s, rows in sides.items()},
            "blocks": {s: int(rows["block"].nunique()) for s, rows in sides.items()},
            "overlap": shared_seconds(shared_content(self)),
            "audit": self.audit,
            "dropped": dict(self.counts),
        }


def build_windows(store: Store, settings: SegmentSettings, subjects: tuple[str, ...] = ()) -> WindowIndex:
    """Find all windows of a store.

    Raises
    ------
    NeurodecodeError
        If no recording is left, sampling rates differ, or nothing was heard.
    """
    recordings = [r for r in store.recordings if not subjects or r.subject in subjects]
    known = sorted({r.subject for r in store.recordings})
    missing = sorted(set(subjects) - set(known))
    if missing or not recordings:
        raise NeurodecodeError(
            f"{store.path}: no recording of subject {', '.join(missing)}; there are {', '.join(known)}"
        )
    rates = sorted({float(r.sfreq) for r in recordings})
    if len(rates) > 1:
        raise NeurodecodeError(f"{store.path}: recordings at {rates} Hz; preprocess all of them with one sfreq")
    builder = _Builder(store, recordings, settings, rates[0])
    for number in range(len(recordings)):
        builder.add(number)
    return builder.index()


class _Builder:
    """Collects windows recording by recording."""

    def __init__(
        self, store: Store, recordings: list[StoredRecording], settings: SegmentSettings, sfreq: float
    ) -> None:
        self.store, self.recordings, self.settings, self.sfreq = store, recordings, settings, sfreq
        window = settings.window
        self.n_times = round((window.tmax - window.tmin) * sfreq) + int(window.closed)
        self.subjects = sorted({r.subject for r in recordings})
        self.stimuli = sorted(store.stimuli)
        self.contents = [store.stimuli[name].sha256 for name in self.stimuli]
        self.blocks: list[Block] = []
        self.block_numbers: dict[str, int] = {}
        self.borders: dict[str, set[float]] = {}
        self.uids: dict[str, str] = {}
        self.unnumbered: set[str] = set()
        if settings.split.hashed == "uid":
            self.uids = uids_of_sentences([r.events for r in recordings])
            if not self.uids:
                raise NeurodecodeError(
                    f"{store.path}: segments.split.hashed is uid, and no row of kind sentence has a sequence_uid; set it to "
                    "text, or preprocess again"
                )
        self.counts: Counter[str] = Counter()
        self.parts: list[pd.DataFrame] = []

    def add(self, number: int) -> None:
        """All windows of one recording, for both anchor settings."""
        recording = self.recordings[number]
        heard = presentations(recording.events, recording.n_samples / self.sfreq)
        both = (("train", self.settings.train_anchors), ("test", self.settings.test_anchors))
        for event in {anchors.event for _, anchors in both if anchors.kind == "event"}:
            self._count_unheard(recording, heard, event)
        self.counts[MISSING] += sum(presentation.stimulus not in self.stimuli for presentation in heard)
        heard = [presentation for presentation in heard if presentation.stimulus in self.stimuli]
        for kind, anchors in both:
            rows = self._rows(recording, heard, anchors)
            rows = rows.assign(
                recording=number,
                subject=self.subjects.index(recording.subject),
                run=recording.run or recording.name,
                anchors=kind,
            )
            self.parts.append(rows)

    def _count_unheard(self, recording: StoredRecording, heard: list[Presentation], event: str) -> None:
        """Count the events that anchor no window, since they do not belong to what is heard at their onset."""
        events = recording.events[recording.events["kind"] == event]
        onset, stimulus = events["onset"].to_numpy(float), events["stimulus"].to_numpy(object)
        silent, own = np.isfinite(onset), np.zeros(len(events), bool)
        for presentation in heard:
            inside = (onset >= presentation.onset) & (onset < presentation.offset)
            silent &= ~inside
            own |= inside & (stimulus == presentation.stimulus)
        other = np.isfinite(onset) & ~silent & ~own
        self.counts["event without an onset"] += int((~np.isfinite(onset)).sum())
        self.counts[SILENT] += int(silent.sum())
        self.counts[NAMELESS] += int((other & (stimulus == "")).sum())
        self.counts[STRANGE] += int((other & (stimulus != "")).sum())

    def _rows(self, recording: StoredRecording, heard: list[Presentation], anchors: AnchorSettings) -> pd.DataFrame:
        columns: dict[str, list] = {k: [] for k in ("anchor", "stimulus_time", "stimulus", "label", "block", "place")}
        for presentation in heard:
            stimulus = self.stimuli.index(presentation.stimulus)
            whole_recording = self.settings.split.rule != "content"
            blocks = self._blocks(recording, presentation, stimulus)
            times, labels, places = self._anchors(recording, presentation, anchors)
            for time, label, place in zip(times, labels, places):
                inside = presentation.to_stimulus(time)
                block = _block_at(blocks, float(inside))
                window = self.settings.window
                # half a sample of grace at the end, as section 3.2 states the rule
                begin, end = inside + window.tmin, inside + window.tmax - 0.5 / self.sfreq
                first, last = (
                    presentation.to_stimulus(presentation.onset),
                    presentation.to_stimulus(presentation.offset),
                )
                if begin < first - 1e-6 or end >= last:
                    self.counts["window leaves the stimulus"] += 1
                elif not whole_recording and not (block.start - 1e-6 <= begin and end < block.stop):
                    self.counts["window crosses a block border"] += 1
                else:
                    columns["anchor"].append(time)
                    columns["stimulus_time"].append(inside)
                    columns["stimulus"].append(stimulus)
                    columns["label"].append(label)
                    columns["block"].append(self._block_number(block, stimulus))
                    columns["place"].append(place)
        rows = pd.DataFrame(columns)
        rows["label"] = rows["label"].astype(object)
        return self._inside_recording(rows, recording, anchors)

    def _blocks(self, recording: StoredRecording, presentation: Presentation, stimulus: int) -> list[Block]:
        split = self.settings.split
        if split.extent == "recording" and split.rule == "content":
            blocks = self._blocks_of_recording(recording, presentation)
        else:
            sentences = sentences_of_stimulus(recording.events, presentation.stimulus)
            length = float(presentation.to_stimulus(presentation.offset))
            blocks = blocks_of_stimulus(sentences, self.contents[stimulus], length, split)
        if split.hashed == "uid":
            self.unnumbered |= {text for block in blocks for text in block.sentences if text not in self.uids}
            blocks = [named_by(block, self.uids) for block in blocks]
        if split.rule == "content":
            known = self.borders.setdefault(presentation.stimulus, set())
            known.update(b.start for b in blocks[1:] if not any(abs(b.start - k) <= SAME_PLACE for k in known))
        return blocks

    def _blocks_of_recording(self, recording: StoredRecording, presentation: Presentation) -> list[Block]:
        """Blocks over all stimuli of a recording, those that reach into a presentation, in seconds of its stimulus."""
        sentences = sentences_of_recording(recording.events, self.stimuli)
        if not sentences:
            raise NeurodecodeError(
                f"{recording.name}: segments.split.extent is recording, and there is no row of kind sentence to make "
                "blocks of; use segments.split.extent=stimulus"
            )
        blocks = merged_blocks(sentences, self.settings.split.block_seconds)
        here = [b for b in blocks if b.start < presentation.offset and b.stop > presentation.onset]
        start, stop = ([float(presentation.to_stimulus(getattr(b, end))) for b in here] for end in ("start", "stop"))
        return [Block(b.uid, first, last, b.sentences) for b, first, last in zip(here, start, stop)]

    def _block_number(self, block: Block, stimulus: int) -> int:
        # blocks of a recording begin at times of its own clock, and text tells them apart
        place = f"{block.start:.3f}" if self.settings.split.extent == "stimulus" else ""
        key = f"{self.contents[stimulus]}|{place}|{block.uid}"
        if key not in self.block_numbers:
            self.block_numbers[key] = len(self.blocks)
            self.blocks.append(block)
        return self.block_numbers[key]

    def _anchors(
        self, recording: StoredRecording, presentation: Presentation, anchors: AnchorSettings
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """(times in the recording, labels, places in the stimulus) of the anchors of one presentation."""
        if anchors.kind == "event":
            events = recording.events
            rows = events[(events["kind"] == anchors.event) & (events["stimulus"] == presentation.stimulus)]
            rows = rows[(rows["onset"] >= presentation.onset) & (rows["onset"] < presentation.offset)]
            times = rows["onset"].to_numpy(float)
            # the place that the timing table states beats the one computed from this recording's clock
            stated = rows["stimulus_onset"].to_numpy(float)
            places = np.where(np.isfinite(stated), stated, presentation.to_stimulus(times))
            return times, rows["label"].astype(str).tolist(), places
        tmin, stride = self.settings.window.tmin, anchors.stride
        if anchors.origin == "recording":
            first = np.ceil(round(presentation.onset / stride, 9))
            times = np.arange(first, np.floor(presentation.offset / stride) + 1) * stride
        else:
            # anchors are laid out in stimulus time, the first window beginning at the stimulus' second 0
            begin, end = (float(presentation.to_stimulus(t)) for t in (presentation.onset, presentation.offset))
            first = np.ceil(round((begin + min(tmin, 0)) / stride, 9))
            places = np.arange(first, np.floor((end - tmin) / stride) + 1) * stride - tmin
            times = np.asarray(presentation.to_recording(places))
        times = times[(times >= presentation.onset) & (times < presentation.offset)]
        return times, [""] * len(times), np.asarray(presentation.to_stimulus(times))

    def _inside_recording(
        self, rows: pd.DataFrame, recording: StoredRecording, anchors: AnchorSettings
    ) -> pd.DataFrame:
        """Drop and count windows outside the recording, in bad spans, and doubled; then thin to the limit."""
        window = self.settings.window
        start = np.rint((rows["anchor"].to_numpy(float) + window.tmin) * self.sfreq).astype(np.int64)
        rows = rows.assign(start=start)
        offset = start / self.sfreq - (rows["anchor"].to_numpy(float) + window.tmin)
        rows["stimulus_start"] = rows["stimulus_time"] + window.tmin + offset
        keep = (start >= 0) & (start + self.n_times <= recording.n_samples)
        self.counts["window leaves the recording"] += int((~keep).sum())
        bad = np.zeros(len(rows), bool)
        for begin, end in recording.bad_spans:
            # a thousandth of a sample of grace: a window may begin where a span ends, whatever the rounding of seconds
            bad |= (start < end * self.sfreq - 1e-3) & (start + self.n_times > begin * self.sfreq + 1e-3)
        self.counts["window overlaps a bad span"] += int((keep & bad).sum())
        keep &= ~bad
        rows = rows[keep]
        doubled = rows.duplicated("start")
        self.counts["two anchors on one sample"] += int(doubled.sum())
        rows = rows[~doubled].sort_values("start", kind="stable")
        if anchors.limit and len(rows) > anchors.limit:
            chosen = np.unique(np.linspace(0, len(rows) - 1, anchors.limit).round().astype(int))
            self.counts["over the limit of windows"] += len(rows) - len(chosen)
            rows = rows.iloc[chosen]
        return rows

    def index(self) -> WindowIndex:
        table = pd.concat(self.parts, ignore_index=True)
        if self.unnumbered:
            warnings.warn(
                f"{self.store.path}: segments.split.hashed is uid, and {len(self.unnumbered)} sentences have no sequence_uid, "
                f"for example '{min(self.unnumbered)[:80]}'; their texts are hashed",
                stacklevel=3,
            )
        counts = {reason: int(n) for reason, n in sorted(self.counts.items()) if n}
        unheard = {reason: counts[reason] for reason in (MISSING, SILENT, NAMELESS, STRANGE) if reason in counts}
        if unheard and self.settings.split.on_unheard == "error":
            told = ", ".join(f"{n} x {reason}" for reason, n in unheard.items())
            raise NeurodecodeError(f"{self.store.path}: {told}; mend the events, or set segments.split.on_unheard=drop")
        if not len(table):
            raise NeurodecodeError(
                f"{self.store.path}: no window found (not taken: {counts or 'no rows of kind stimulus'}); "
                "windows need rows of kind stimulus in the events, and must be shorter than the blocks"
            )
        table["identity"] = _identities(table, self.contents)
        columns = ["recording", "subject", "stimulus", "start", "anchor", "stimulus_time", "stimulus_start"]
        table = table[[*columns, "identity", "label", "block", "run", "anchors"]]
        folds = ["fold-0"]
        if self.settings.split.rule == "leave-one-run-out":
            folds = [f"fold-{run}" for run in sorted(table["run"].unique())]
            if len(folds) < 3:
                raise NeurodecodeError(
                    f"{self.store.path}: leave-one-run-out needs at least 3 runs (train, validate, test), found "
                    f"{len(folds)}; use segments.split.rule=content"
                )
        return WindowIndex(
            table=table,
            settings=self.settings,
            n_times=self.n_times,
            sfreq=self.sfreq,
            recordings=self.recordings,
            subjects=self.subjects,
            stimuli=self.stimuli,
            contents=self.contents,
            blocks=self.blocks,
            counts=counts,
            folds=folds,
            borders={name: sorted(borders) for name, borders in sorted(self.borders.items())},
        )


def _block_at(blocks: list[Block], time: float) -> Block:
    for block in blocks:
        if block.start <= time < block.stop:
            return block
    return blocks[0]


def _identities(table: pd.DataFrame, contents: list[str]) -> np.ndarray:
    """Number the distinct segments: same content, and places that lie within SAME_PLACE from the first to the last.

    No segment is wider than that: with many recordings of other phases, places come so close that each is near the next
    one, and all of them would be one segment. Test anchors are numbered apart from train anchors, so that nothing but test
    windows says what a candidate is. Numbers follow kind of anchors, content hash and place, not the order of recordings.
    """
    kind = table["anchors"].to_numpy() == "test"
    content = pd.factorize(np.array(contents, dtype=object)[table["stimulus"].to_numpy()], sort=True)[0]
    place = table["place"].to_numpy(float)
    order = np.lexsort((place, content, kind))
    content, kind, place = content[order], kind[order], place[order]
    other = np.flatnonzero((np.diff(content) != 0) | (np.diff(kind.astype(int)) != 0)) + 1
    number = np.empty(len(table), np.int64)
    count = 0
    for first, last in itertools.pairwise([0, *other.tolist(), len(table)]):
        while first < last:
            end = first + int(np.searchsorted(place[first:last], place[first] + SAME_PLACE, side="right"))
            number[first:end] = count
            first, count = end, count + 1
    identity = np.empty(len(table), np.int64)
    identity[order] = number
    return identity


def _sides(table: pd.DataFrame, blocks: list[Block], settings: SplitSettings, fold: int) -> np.ndarray:
    """`train`, `valid` or `test` for every row."""
    if settings.rule == "content":
        sides = np.array(sides_of_blocks(blocks, settings), dtype=object)
        return sides[table["block"].to_numpy()]
    runs = table["run"].to_numpy()
    names = sorted(set(runs))
    if settings.rule == "leave-one-run-out":
        test, valid = [names[fold]], [names[(fold + 1) % len(names)]]
    else:
        test, valid = list(settings.test_runs), list(settings.valid_runs)
        unknown = sorted(set(test + valid) - set(names))
        if unknown:
            raise NeurodecodeError(f"segments.split names the runs {unknown}; there are {names}")
        both = sorted(set(test) & set(valid))
        if both:
            raise LeakageError(f"segments.split puts {both} into test and validation; a run stands on one side only")
    return np.where(np.isin(runs, test), "test", np.where(np.isin(runs, valid), "valid", "train"))


def _wanted(table: pd.DataFrame, split: np.ndarray) -> np.ndarray:
    """Test windows come from the test anchors, the others from the train anchors."""
    return (split == "test") == (table["anchors"].to_numpy() == "test")
