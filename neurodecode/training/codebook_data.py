"""Windows of sEEG for the codebook stages: each subject's own channels first, and no test window in pretraining.

In: a fold of a LabelIndex and its BatchSource, whose columns are those of the whole cohort. Out: batches whose first C_s
columns are the channels of each window's subject, as the networks read them, [B, max C_s, T].
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from neurodecode.errors import LeakageError, SettingsError
from neurodecode.segments.batches import Batch, BatchSource
from neurodecode.segments.labels import LabelIndex


class SubjectSource:
    """Batches in which column k is the k-th channel of the window's subject.

    Channels that are bad in all recordings of a subject are left out.

    Parameters
    ----------
    source
        Of the cohort's columns.

    Attributes
    ----------
    channels
        Names of the channels of each subject, in the order of `source.index.subjects`.

    Raises
    ------
    SettingsError
        If recordings of a subject do not have the same channels where columns are each recording's own.
    """

    def __init__(self, source: BatchSource) -> None:
        self.source = source
        chosen = [_channels(source, subject) for subject in source.index.subjects]
        self.channels = [names for _, names in chosen]
        self._table = torch.full(
            (len(chosen), max(self.counts)), source.layouts.n_chans
        )  # the column after the last is 0
        for s, (columns, _) in enumerate(chosen):
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


def refuse_seen_tests(index: LabelIndex, start: Path, fold: str, info: dict[str, Any]) -> None:
    """Check that an earlier stage saw no sample of this fold's test windows, in training or validation.

    Recordings are the same if their names or their signals are; windows are compared in seconds.

    Raises
    ------
    LeakageError
        Naming the first test window that was seen.
    """
    seen = pd.read_csv(start / fold / "windows.csv.gz", keep_default_na=False, usecols=["recording", "start", "split"])
    seen = seen[seen["split"].isin(["train", "valid"])]
    sfreq, length = float(info["sizes"]["sfreq"]), int(info["sizes"]["n_times"])
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
            raise LeakageError(
                f"start_from: {start} was trained on second {at:.2f} of {recording.name}, which {index.fold_name} tests "
                "here; give both runs the same labels.split"
            )
