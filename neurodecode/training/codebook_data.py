"""Windows of the codebook stages: each subject's own channels first, and no test window in pretraining.

In: a fold of a LabelIndex and its BatchSource, whose columns are those of the whole cohort. Out: batches whose first C_s
columns are the channels of each window's subject, as the networks read them, [B, max C_s, T].
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from neurodecode.config.labels import LabelSettings
from neurodecode.errors import LeakageError, NeurodecodeError, SettingsError
from neurodecode.segments.batches import Batch, BatchSource
from neurodecode.segments.label_audit import audit_labels
from neurodecode.segments.labels import NEAR, UNKNOWN, LabelIndex
from neurodecode.store.store import Store
from neurodecode.training.run_folder import read_run

VALID = 0.1  # share of each recording, at its end, that validates where no event tells runs apart


class SubjectSource:
    """Batches in which column k is the k-th channel of the window's subject.

    Channels that are bad in all recordings of a subject are left out.

    Parameters
    ----------
    source
        Of the cohort's columns.
    chosen
        Subject -> the only channels to keep, in any order; None keeps all.

    Attributes
    ----------
    channels
        Names of the channels of each subject, in the order of `source.index.subjects`.

    Raises
    ------
    SettingsError
        If recordings of a subject do not have the same channels where columns are each recording's own, or a channel that
        is to be kept is not there.
    """

    def __init__(self, source: BatchSource, chosen: Mapping[str, Collection[str]] | None = None) -> None:
        self.source = source
        found = [_channels(source, subject) for subject in source.index.subjects]
        if chosen is not None:
            found = [_kept(*own, chosen[name], name) for own, name in zip(found, source.index.subjects)]
        self.channels = [names for _, names in found]
        _warn_of_silence(source, found)
        # the column after the last is 0
        self._table = torch.full((len(found), max(self.counts)), source.layouts.n_chans)
        for s, (columns, _) in enumerate(found):
            self._table[s, : len(columns)] = torch.from_numpy(columns)

    @property
    def counts(self) -> list[int]:
        """Channels of each subject."""
        return [len(names) for names in self.channels]

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """Scaled batch of some rows of the index."""
        batch = self.source[rows]
        table = self._table.to(batch.signal.device)
        if len(table) == 1:
            return replace(batch, signal=batch.signal[:, table[0]])
        padded = functional.pad(batch.signal, (0, 0, 0, 1))  # [B, all columns + 1, T]
        place = table[batch.subject][:, :, None].expand(-1, -1, padded.shape[-1])
        return replace(batch, signal=padded.gather(1, place))


def strided(index: LabelIndex, stride: float) -> LabelIndex:
    """Windows at regular times of whole recordings instead of around events; sides are those of the runs.

    Parameters
    ----------
    index
        A fold whose sides are whole runs.
    stride
        Between starts, s.

    Returns
    -------
    LabelIndex
        Of the same fold and window length; without labels. A run in which no event stands trains.

    Raises
    ------
    NeurodecodeError
        If a side is empty.
    LeakageError
        If recordings with one signal stand on two sides.
    """
    taken = index.table[index.table["split"] != ""]
    side = dict(zip(zip(taken["subject"], taken["run"]), taken["split"]))
    table, counts = _whole_recordings(index, stride)
    places = zip(table["subject"], table["run"])
    table["split"] = [side.get(place, "train") for place in places]
    chosen = replace(index, table=table, counts=counts, vocabulary=[])
    _refuse_empty(chosen, stride)
    chosen.audit = audit_labels(chosen)
    return chosen


@dataclass
class WholeIndex(LabelIndex):
    """Windows at regular times of recordings without events: one fold, whose sides are times, not runs."""

    def fold(self, name: str) -> LabelIndex:
        """The only fold.

        Raises
        ------
        NeurodecodeError
            If another is asked for.
        """
        if name not in self.folds:
            raise NeurodecodeError(f"there is no {name}; there are {', '.join(self.folds)}")
        return self

    def summary(self) -> dict[str, Any]:
        """As of any index; the rule is `time`."""
        return super().summary() | {"rule": "time"}


def without_events(store: Store, settings: LabelSettings, subjects: tuple[str, ...] = ()) -> bool:
    """Whether no recording of the subjects has an event of the kind that windows would stand around."""
    chosen = [r for r in store.recordings if not subjects or r.subject in subjects]
    return bool(chosen) and not any((r.events["kind"] == settings.event).any() for r in chosen)


def unlabelled(store: Store, settings: LabelSettings, stride: float, subjects: tuple[str, ...] = ()) -> WholeIndex:
    """Windows at regular times of recordings in which nothing is marked, for pretraining (rest, sleep).

    The last tenth of each recording validates, all before it trains, windows across the border are left out: nothing can be
    classified in such a cohort, so no run is kept for a test.

    Parameters
    ----------
    store
        Of the cohort.
    settings
        Window, scaling and columns.
    stride
        Between starts, s.
    subjects
        Only these; empty takes all.

    Raises
    ------
    NeurodecodeError
        If sampling rates differ, or a side is empty.
    """
    recordings = [r for r in store.recordings if not subjects or r.subject in subjects]
    rates = sorted({float(r.sfreq) for r in recordings})
    if len(rates) != 1:
        raise NeurodecodeError(f"{store.path}: recordings at {rates} Hz; preprocess all of them with one sfreq")
    window = settings.window
    index = WholeIndex(
        table=pd.DataFrame(),
        settings=settings.segments(),
        n_times=round((window.tmax - window.tmin) * rates[0]) + int(window.closed),
        sfreq=rates[0],
        recordings=recordings,
        subjects=sorted({r.subject for r in recordings}),
        stimuli=[""],
        contents=[""],
        blocks=[],
        counts={},
        folds=["fold-0"],
        fold_name="fold-0",
        labels=settings,
    )
    table, counts = _whole_recordings(index, stride)
    lengths = np.array([recording.n_samples for recording in recordings])
    border = np.round((1 - VALID) * lengths).astype(int)[table["recording"].to_numpy(int)]
    start = table["start"].to_numpy(int)
    sides = np.where(start + index.n_times <= border, "train", np.where(start >= border, "valid", ""))
    across = int((sides == "").sum())
    if across:
        counts = counts | {"strided window lies across the border of training and validation": across}
    chosen = replace(index, table=table.assign(split=sides)[sides != ""].reset_index(drop=True), counts=counts)
    _refuse_empty(chosen, stride)
    chosen.audit = {"sides": "times", "windows_across": across, "windows_compared": len(chosen.table)}
    return chosen


def _whole_recordings(index: LabelIndex, stride: float) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows at regular times of all recordings, without a side, and counts of what was not taken."""
    step, n_times = max(1, round(stride * index.sfreq)), index.n_times
    reason = "strided window overlaps a bad span"
    counts = {reason: 0}
    parts = []
    for number, recording in enumerate(index.recordings):
        start = np.arange(0, recording.n_samples - n_times + 1, step)
        bad = np.zeros(len(start), bool)
        for begin, end in np.asarray(recording.bad_spans, float).reshape(-1, 2) * index.sfreq:
            bad |= (start < end - NEAR) & (start + n_times > begin + NEAR)
        counts[reason] += int(bad.sum())
        start = start[~bad]
        subject, run = index.subjects.index(recording.subject), recording.run or recording.name
        parts.append(
            pd.DataFrame(
                {
                    "recording": number,
                    "subject": subject,
                    "stimulus": 0,
                    "start": start,
                    "anchor": start / index.sfreq - index.settings.window.tmin,
                    "stimulus_time": 0.0,
                    "stimulus_start": 0.0,
                    "identity": UNKNOWN,
                    "label": "",
                    "trial": np.arange(len(start)),
                    "block": 0,
                    "run": run,
                    "anchors": "train",
                }
            )
        )
    return pd.concat(parts, ignore_index=True), {reason: n for reason, n in counts.items() if n}


def _refuse_empty(index: LabelIndex, stride: float) -> None:
    empty = [name for name in ("train", "valid") if not len(index.rows(name))]
    if empty:
        raise NeurodecodeError(
            f"{index.fold_name}: no window is left for {' and '.join(empty)} with stride {stride:g} s and windows of "
            f"{index.n_times / index.sfreq:g} s (not taken: {index.counts}); take shorter windows"
        )


def _channels(source: BatchSource, subject: str) -> tuple[np.ndarray, list[str]]:
    """Columns and names of a subject's channels."""
    layouts, index = source.layouts, source.index
    mine = [i for i, recording in enumerate(index.recordings) if recording.subject == subject]
    good = layouts.valid[mine].any(0).numpy()
    columns = np.flatnonzero(good)
    if index.settings.columns == "name":
        return columns, [layouts.names[c] for c in columns]
    names = [index.recordings[i].channels["name"].astype(str).tolist() for i in mine]
    odd = [i for i, other in zip(mine, names) if other != names[0]]
    if odd:
        raise SettingsError(
            f"labels.columns: recording, but {index.recordings[odd[0]].name} has other channels than "
            f"{index.recordings[mine[0]].name}; use name"
        )
    return columns, [names[0][c] for c in columns]


def _warn_of_silence(source: BatchSource, found: list[tuple[np.ndarray, list[str]]]) -> None:
    """Tell of recordings that lack a good channel which another recording of their subject has: it is 0 there."""
    said = []
    for i, recording in enumerate(source.index.recordings):
        columns, names = found[source.index.subjects.index(recording.subject)]
        lacking = [name for name, there in zip(names, source.layouts.valid[i, columns].tolist()) if not there]
        if lacking:
            more = " ..." if len(lacking) > 3 else ""
            said.append(f"{recording.name} lacks {', '.join(lacking[:3])}{more} ({len(lacking)} of {len(names)})")
    if said:
        more = f", and {len(said) - 1} more recordings" if len(said) > 1 else ""
        warnings.warn(
            f"{said[0]}{more}: other recordings of the subject have them, so they are 0 there; leave such channels out with "
            "channels.names",
            stacklevel=2,
        )


def _kept(columns: np.ndarray, names: list[str], wanted: Collection[str], subject: str) -> tuple[np.ndarray, list[str]]:
    """Columns and names of the channels that are wanted, in the order of the subject."""
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise SettingsError(
            f"channels: subject {subject} has no good channel {', '.join(missing[:3]) or 'left'} in this store "
            f"({len(missing)} of {len(wanted)} are not there); choose channels on the store that is trained on"
        )
    keep = [k for k, name in enumerate(names) if name in set(wanted)]
    return columns[keep], [names[k] for k in keep]


def refuse_seen_tests(index: LabelIndex, start: Path, fold: str, info: dict[str, Any]) -> None:
    """Check that no earlier stage saw a sample of this fold's test windows, in training or validation; nor those before it.

    Recordings are the same if their names or their signals are; windows are compared in seconds.

    Raises
    ------
    LeakageError
        Naming the first test window that was seen.
    """
    seen = pd.read_csv(start / fold / "windows.csv.gz", keep_default_na=False, usecols=["recording", "start", "split"])
    seen = seen[seen["split"].isin(["train", "valid"])]
    sizes = info["sizes"]
    sfreq, length = float(sizes["sfreq"]), int(sizes.get("n_window", sizes["n_times"]))
    hashes = info["store_sha256s"]
    theirs = [(number, name, hashes[name]) for number, name in enumerate(info["recordings"])]
    tests = index.table.iloc[index.rows("test")]
    for number in np.unique(tests["recording"]):
        recording = index.recordings[number]
        same = [n for n, name, digest in theirs if recording.name == name or recording.sha256_signal == digest]
        begins = np.sort(seen["start"][seen["recording"].isin(same)].to_numpy()) / sfreq
        mine = tests["start"][tests["recording"] == number].to_numpy() / index.sfreq
        grain = 1e-3 / index.sfreq  # times are multiples of samples in floating point
        first = np.searchsorted(begins, mine - length / sfreq + grain)
        last = np.searchsorted(begins, mine + index.n_times / index.sfreq - grain)
        if (last > first).any():
            at = mine[np.flatnonzero(last > first)[0]]
            advice = "give both runs the same labels.split"
            if len(index.folds) > 1 and len(info["folds"]) == 1:
                advice = (
                    f"pretrain fold by fold too, with --set labels.split.rule={index.labels.split.rule} for the tokenizer "
                    "and the masked stage, or set labels.split.rule=run here"
                )
            raise LeakageError(
                f"start_from: {start} was trained on second {at:.2f} of {recording.name}, which {index.fold_name} tests "
                f"here; {advice}"
            )
    before = Path((info.get("start_from") or {}).get("run", ""))
    if before == Path():
        return
    if not (before / "run.json").is_file():
        warnings.warn(
            f"start_from: {start} began with {before}, which is gone: nobody can tell any more whether that saw what "
            f"{index.fold_name} tests",
            stacklevel=2,
        )
        return
    earlier = read_run(before)
    name = fold if fold in earlier["folds"] else earlier["folds"][0]
    refuse_seen_tests(index, before, name, earlier)
