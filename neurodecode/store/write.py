"""One recording -> one HDF5 file, whole or absent.

Arrays and tables in; `<name>_desc-decoding_<type>.h5` out, with a SHA-256 of each dataset and of the attributes. The
same input gives the same bytes: nothing in the file depends on the clock.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from neurodecode.errors import StoreError
from neurodecode.files import atomic_path, plain, sha256_of_array, sha256_of_value

SCHEMA = 1
DATATYPES = ("meg", "eeg", "ieeg")
CHANNEL_COLUMNS = ("name", "type", "unit", "x", "y", "z", "x2d", "y2d", "shaft", "region", "bad")
ATTRIBUTES = "@attributes"  # key of the attributes' own hash, beside the dataset paths


def recording_file(name: str, subject: str, session: str, datatype: str) -> str:
    """Path of a recording inside a store, with forward slashes."""
    if datatype not in DATATYPES:
        raise StoreError(f"{name}: datatype is {datatype!r}, allowed are {', '.join(DATATYPES)}")
    for part, value in (("name", name), ("subject", subject), ("session", session)):
        if "/" in value or "\\" in value or value.startswith("."):
            raise StoreError(f"{name}: the {part} {value!r} cannot be part of a file name; rename it")
    if not name or not subject:
        raise StoreError(f"{name or 'a recording'}: a stored recording needs a name and a subject")
    folders = [f"sub-{subject}"] + ([f"ses-{session}"] if session else [])
    return "/".join([*folders, f"{name}_desc-decoding_{datatype}.h5"])


def table_arrays(table: pd.DataFrame) -> dict[str, np.ndarray | list[str]]:
    """Columns as they are stored: numbers as float64, `bad` as bool, everything else as text ("" for missing)."""
    columns: dict[str, np.ndarray | list[str]] = {}
    for column in table.columns:
        values = table[column]
        if column == "bad":
            columns[str(column)] = values.to_numpy(bool)
        elif pd.api.types.is_numeric_dtype(values):
            columns[str(column)] = values.to_numpy(np.float64, na_value=np.nan)
        else:
            columns[str(column)] = ["" if pd.isna(value) else str(value) for value in values]
    return columns


def hash_of_column(values: np.ndarray | list[str]) -> str:
    """SHA-256 of a stored column."""
    return sha256_of_array(values) if isinstance(values, np.ndarray) else sha256_of_value(values)


def hash_of_attributes(attributes: dict[str, Any]) -> str:
    """SHA-256 of the root attributes without their `sha256`."""
    return sha256_of_value({key: value for key, value in attributes.items() if key != "sha256"})


def write_recording(
    path: Path,
    signal: np.ndarray,
    channels: pd.DataFrame,
    events: pd.DataFrame,
    bad_spans: np.ndarray,
    attrs: dict[str, Any],
) -> dict[str, str]:
    """Write one recording atomically.

    Parameters
    ----------
    path
        Of the file to write; replaced when it exists.
    signal
        float32 [channels, samples], SI units.
    channels, events
        Tables; `channels` has one row a channel.
    bad_spans
        float64 [n, 2], seconds.
    attrs
        JSON-ready root attributes: name, subject, session, task, run, datatype, sfreq, ... ; `schema`, `n_samples` and
        `sha256` are added.

    Returns
    -------
    dict
        Dataset path -> SHA-256, as written into the file.

    Raises
    ------
    StoreError
        If shapes disagree, or the signal holds NaN or infinity.
    """
    signal = np.ascontiguousarray(signal, np.float32)
    bad_spans = np.asarray(bad_spans, np.float64).reshape(-1, 2)
    _check(path, signal, channels)
    attributes = plain({"schema": SCHEMA, "n_samples": signal.shape[1], **attrs})
    hashes = {"signal": sha256_of_array(signal), "bad_spans": sha256_of_array(bad_spans)}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("signal", data=signal)  # contiguous: neither chunks nor compression
        file.create_dataset("bad_spans", data=bad_spans)
        for group, table in (("channels", channels), ("events", events)):
            file.create_group(group)
            file[group].attrs["columns"] = [str(column) for column in table.columns]
            for column, values in table_arrays(table).items():
                key = f"{group}/{column.replace('/', '|')}"  # a slash would make a group of it
                if isinstance(values, list):
                    file.create_dataset(key, data=values, dtype=h5py.string_dtype("utf-8"), shape=(len(values),))
                else:
                    file.create_dataset(key, data=values)
                hashes[key] = hash_of_column(values)
        hashes[ATTRIBUTES] = hash_of_attributes(attributes)
        for key, value in (attributes | {"sha256": hashes}).items():
            file.attrs[key] = _attribute(value)
    return hashes


def _attribute(value: Any) -> Any:
    """Plain text and numbers as they are, everything else as JSON text."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _check(path: Path, signal: np.ndarray, channels: pd.DataFrame) -> None:
    if signal.ndim != 2 or 0 in signal.shape:
        raise StoreError(f"{path}: the signal has shape {signal.shape}, it must be [channels, samples], not empty")
    if len(channels) != len(signal):
        raise StoreError(f"{path}: {len(signal)} rows of signal, but {len(channels)} rows in the channel table")
    missing = [column for column in CHANNEL_COLUMNS if column not in channels]
    if missing:
        raise StoreError(f"{path}: the channel table has no column {missing[0]}")
    if channels["name"].duplicated().any():
        twice = channels["name"][channels["name"].duplicated()].iloc[0]
        raise StoreError(f"{path}: the channel {twice} is there twice; rename one in the source")
    if not np.isfinite(signal).all():
        row = int(np.flatnonzero(~np.isfinite(signal).all(axis=1))[0])
        raise StoreError(f"{path}: channel {channels['name'].iloc[row]} holds NaN or infinity after preprocessing")
