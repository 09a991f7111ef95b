"""The store as everything after it sees it: a folder with an index; signals are memory maps.

store = Store(path)
for recording in store.recordings:
    recording.signal[:, 100:460]          # float32 [channels, 360], read from disk now
    recording.channels, recording.events  # DataFrames
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.errors import StoreError
from neurodecode.files import read_json, sha256_of_array, sha256_of_file, sha256_of_value
from neurodecode.recordings.recording import Note
from neurodecode.store.read import map_signal, read_attributes, read_bad_spans, read_table

INDEX = "cohort.json"
ISSUES = "issues.jsonl"
STIMULI = "stimuli"
INDEX_SCHEMA = 1


@dataclass(frozen=True)
class StoredStimulus:
    """A stimulus inside a store.

    Attributes
    ----------
    name
        As in `events.stimulus`.
    path
        Audio file, or `.npz` with `values` [frames, dimensions], `rate` and `t0`.
    sha256
        Of the content: the bytes of an audio file; values, rate and t0 of an array.
    kind
        audio or array.
    """

    name: str
    path: Path
    sha256: str
    kind: str

    def array(self) -> tuple[np.ndarray, float, float]:
        """Values [frames, dimensions], frames a second, and time of frame 0 in s; for kind `array` only."""
        if self.kind != "array":
            raise StoreError(f"{self.path}: is audio, not an array")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return file["values"], float(file["rate"]), float(file["t0"])
        except Exception as error:  # zipfile, numpy and OS errors alike mean that the file is damaged
            reason = " ".join(str(error).split())
            raise StoreError(f"{self.path}: damaged ({reason}); run preprocess with --overwrite") from None


def hash_of_array_stimulus(values: np.ndarray, rate: float, t0: float) -> str:
    """Content hash of an array stimulus; does not depend on how the file is packed."""
    return sha256_of_value({"values": sha256_of_array(values), "rate": float(rate), "t0": float(t0)})


def hash_of_stimulus(stimulus: StoredStimulus) -> str:
    """Content hash of what lies in the store now."""
    if not stimulus.path.is_file():
        raise StoreError(f"{stimulus.path}: the stimulus {stimulus.name} is missing; run preprocess again")
    return sha256_of_file(stimulus.path) if stimulus.kind == "audio" else hash_of_array_stimulus(*stimulus.array())


class StoredRecording:
    """One recording of a store. Tables and signal are read when first asked for; pickling carries none of them.

    Attributes
    ----------
    name, subject, session, task, run, datatype
        Strings, BIDS entities without prefix.
    sfreq
        Hz.
    n_channels, n_samples
        Sizes of `signal`.
    simulated
        Whether it belongs to a simulated cohort.
    language
        ISO 639-1 code of the speech; empty when not known.
    path
        HDF5 file.
    """

    def __init__(self, root: Path, entry: dict[str, Any]) -> None:
        self._root, self._entry = root, entry
        self.name: str = entry["name"]
        self.subject: str = entry["subject"]
        self.session: str = entry["session"]
        self.task: str = entry["task"]
        self.run: str = entry["run"]
        self.datatype: str = entry["datatype"]
        self.sfreq: float = float(entry["sfreq"])
        self.n_channels: int = int(entry["n_channels"])
        self.n_samples: int = int(entry["n_samples"])
        self.simulated: bool = bool(entry.get("simulated", False))
        self.language: str = entry.get("language", "")
        self.sha256_signal: str = entry["sha256_signal"]
        self.path: Path = root / entry["file"]

    def __reduce__(self):
        return StoredRecording, (self._root, self._entry)

    def __repr__(self) -> str:
        return f"StoredRecording({self.name}, {self.n_channels} channels, {self.n_samples} samples, {self.sfreq:g} Hz)"

    @property
    def seconds(self) -> float:
        """Length of the stored signal, s."""
        return self.n_samples / self.sfreq

    @cached_property
    def signal(self) -> np.memmap:
        """float32 [channels, samples] in SI units, mapped read-only."""
        signal = map_signal(self.path)
        if signal.shape != (self.n_channels, self.n_samples):
            raise StoreError(
                f"{self.path}: the signal has shape {signal.shape}, the index says "
                f"{(self.n_channels, self.n_samples)}; run preprocess again"
            )
        return signal

    @cached_property
    def channels(self) -> pd.DataFrame:
        """One row a channel: name, type, unit, x, y, z (m), x2d, y2d, shaft, region, bad."""
        return read_table(self.path, "channels")

    @cached_property
    def events(self) -> pd.DataFrame:
        """One row an event; onsets in seconds from the first sample."""
        return read_table(self.path, "events")

    @cached_property
    def bad_spans(self) -> np.ndarray:
        """float64 [n, 2], seconds; no window may overlap one."""
        return read_bad_spans(self.path)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Provenance: source files with hashes, settings, versions, report, checksums."""
        return read_attributes(self.path)

    @property
    def notes(self) -> list[Note]:
        """What was odd, and what was done about it."""
        return [Note(**note) for note in self.attributes["notes"]]


class Store:
    """A folder that `preprocess` wrote.

    Raises
    ------
    StoreError
        If there is no index, or it was written by another schema.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        index = read_index(self.path)
        self.recordings = [StoredRecording(self.path, entry) for entry in index["recordings"]]
        self.stimuli = {
            name: StoredStimulus(name, self.path / entry["file"], entry["sha256"], entry["kind"])
            for name, entry in index["stimuli"].items()
        }
        self.n_issues: int = int(index["issues"])

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects, sorted."""
        return sorted({recording.subject for recording in self.recordings})

    def __getitem__(self, name: str) -> StoredRecording:
        for recording in self.recordings:
            if recording.name == name:
                return recording
        raise StoreError(f"{self.path}: no recording named {name}")

    def __len__(self) -> int:
        return len(self.recordings)

    def __repr__(self) -> str:
        return f"Store({self.path}, {len(self.recordings)} recordings, {len(self.subjects)} subjects)"


def read_index(path: Path) -> dict[str, Any]:
    """The content of `cohort.json`, checked."""
    file = path / INDEX
    if not path.is_dir():
        raise StoreError(f"{path}: no such store; make it with: neurodecode preprocess SOURCE --out {path}")
    if not file.is_file():
        raise StoreError(f"{path}: not a store (no {INDEX} in it); make one with: neurodecode preprocess")
    try:
        index = read_json(file)
        schema = index["schema"]
        complete = {"recordings", "stimuli", "issues"} <= set(index)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{file}: damaged ({reason}); run preprocess again to rebuild it") from None
    if schema != INDEX_SCHEMA or not complete:
        raise StoreError(f"{file}: written with schema {schema}, this version reads {INDEX_SCHEMA}; preprocess again")
    return index
