"""One HDF5 file of a store -> its parts, checked; every kind of damage becomes one line.

Nothing is loaded that is not asked for: the signal is a read-only memory map straight into the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from neurodecode.errors import StoreError
from neurodecode.files import sha256_of_array
from neurodecode.store.write import ATTRIBUTES, SCHEMA, hash_of_attributes, hash_of_column

TEXT_ATTRIBUTES = frozenset({"name", "subject", "session", "task", "run", "datatype", "language", "command", "key"})
AGAIN = "run preprocess again to make it anew"


@contextmanager
def open_recording(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; a missing, truncated or foreign file is a StoreError."""
    if not path.is_file():
        raise StoreError(f"{path}: no such file in the store; {AGAIN}")
    try:
        with h5py.File(path, "r") as file:
            schema = file.attrs.get("schema")
            if schema != SCHEMA:
                raise StoreError(f"{path}: written with schema {schema}, this version reads {SCHEMA}; {AGAIN}")
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:  # what h5py raises on damaged files
        reason = " ".join(str(error).split())
        raise StoreError(f"{path}: damaged or truncated ({reason}); {AGAIN}") from None


def read_attributes(path: Path) -> dict[str, Any]:
    """Root attributes, nested ones decoded."""
    with open_recording(path) as file:
        return decode_attributes(file)


def decode_attributes(file: h5py.File) -> dict[str, Any]:
    """Root attributes of an open file."""
    values = {}
    for key, value in file.attrs.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8")
        if isinstance(value, str) and key not in TEXT_ATTRIBUTES:
            value = json.loads(value)
        values[key] = value.item() if isinstance(value, np.generic) else value
    return values


def read_table(path: Path, group: str) -> pd.DataFrame:
    """The table `channels` or `events`, columns in the order in which they were written."""
    with open_recording(path) as file:
        return pd.DataFrame(_columns(file, group))


def read_bad_spans(path: Path) -> np.ndarray:
    """float64 [n, 2], seconds."""
    with open_recording(path) as file:
        return file["bad_spans"][()]


def map_signal(path: Path) -> np.memmap:
    """The signal, float32 [channels, samples], mapped read-only: nothing is read until it is indexed."""
    with open_recording(path) as file:
        dataset = file["signal"]
        offset, shape, dtype = dataset.id.get_offset(), dataset.shape, dataset.dtype
    if offset is None or dtype != np.float32 or len(shape) != 2:
        raise StoreError(f"{path}: the signal is {dtype} {shape}, not contiguous float32 [channels, samples]; {AGAIN}")
    needed = offset + shape[0] * shape[1] * dtype.itemsize
    if path.stat().st_size < needed:
        raise StoreError(f"{path}: {path.stat().st_size} bytes, but the signal ends at {needed}: truncated; {AGAIN}")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


def damage_of(path: Path) -> list[str]:
    """Everything that is wrong with a file: what differs from its own checksums, or why it cannot be read."""
    try:
        with open_recording(path) as file:
            attributes = decode_attributes(file)
            hashes = attributes["sha256"]
            found = []
            if hash_of_attributes(attributes) != hashes[ATTRIBUTES]:
                found.append("the attributes differ from their checksum")
            present = {ATTRIBUTES}
            for name in ("signal", "bad_spans"):
                present.add(name)
                if sha256_of_array(file[name][()]) != hashes[name]:
                    found.append(f"/{name} differs from its checksum")
            for group in ("channels", "events"):
                for column, values in _columns(file, group).items():
                    key = f"{group}/{column.replace('/', '|')}"
                    present.add(key)
                    if hash_of_column(values) != hashes.get(key):
                        found.append(f"/{key} differs from its checksum")
            found += [f"/{key} is missing" for key in sorted(set(hashes) - present)]
            return found
    except StoreError as error:
        return [str(error).removeprefix(f"{path}: ")]


def _columns(file: h5py.File, group: str) -> dict[str, np.ndarray | list[str]]:
    columns: dict[str, np.ndarray | list[str]] = {}
    for column in file[group].attrs["columns"]:
        dataset = file[group][column.replace("/", "|")]
        if h5py.check_string_dtype(dataset.dtype) is not None:
            columns[column] = [value.decode("utf-8") for value in dataset[()]]
        else:
            columns[column] = dataset[()]
    return columns
