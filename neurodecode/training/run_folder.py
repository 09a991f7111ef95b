"""The folder of a run: what is in it, whether it may be continued, and what is written about it.

RUN/run.json                   settings, data, sizes, split, folds, versions, finished
RUN/fold-<k>/windows.csv.gz    every window with its side
RUN/fold-<k>/scalers.npz       fitted on the training windows
RUN/fold-<k>/layouts.npz       sensor positions the network was built with
RUN/fold-<k>/metrics.csv       one row an epoch
RUN/fold-<k>/best.ckpt, last.ckpt
RUN/fold-<k>/finished.json     there when the fold is done
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.config import CodebookTrainSettings, TrainSettings, validate
from neurodecode.errors import SettingsError
from neurodecode.files import atomic_path, read_json, write_json

SCHEMA = 1
# settings that say where work is done, not what is done: a run may be continued with others
PLACES = {"training.accelerator", "training.devices", "training.data_device", "training.workers"}
OWN = {"evaluation", "report.html", "run.json"}


def read_run(run: Path) -> dict[str, Any]:
    """`run.json` of a run.

    Raises
    ------
    SettingsError
        If there is none, or another schema wrote it.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise SettingsError(
            f"{run}: not a run (no run.json in it); make one with: neurodecode train CONFIG --out {run}"
        )
    try:
        info = read_json(path)
        schema = info["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: damaged ({' '.join(str(error).split())}); train again") from None
    if schema != SCHEMA:
        raise SettingsError(f"{path}: written with schema {schema}, this version reads {SCHEMA}; train again")
    return info


def is_codebook(run: Path) -> bool:
    """Whether a folder holds a run of a codebook stage.

    Raises
    ------
    SettingsError
        As `read_run`.
    """
    return "task" in read_run(run)["settings"]


def run_settings(info: dict[str, Any], source: str) -> TrainSettings:
    """Settings an aligner was trained with.

    Raises
    ------
    SettingsError
        If the run is of a codebook stage, or its settings are not allowed.
    """
    if "task" in info["settings"]:
        task = info["settings"]["task"]
        raise SettingsError(
            f"{source}: a run of the codebook task {task}, which this command cannot read; it reads runs of the aligner"
        )
    return validate(TrainSettings, info["settings"], source)


def first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """(dotted key, old value, new value) of the first setting that differs and matters, or None."""
    if key in PLACES:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            found = first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
            if found:
                return found
        return None
    return None if old == new else (key, old, new)


def claim(
    out: Path, settings: TrainSettings | CodebookTrainSettings, hashes: dict[str, str], resume: bool
) -> dict[str, Any] | None:
    """Take a folder for a run.

    Returns
    -------
    dict or None
        `run.json` of the run that is to be continued; None for a new one.

    Raises
    ------
    SettingsError
        If the folder holds a run with other settings or of other data, or something that is not a run.
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out}: is a file; give a folder")
    if not (out / "run.json").is_file():
        strange = sorted(p.name for p in out.iterdir()) if out.is_dir() else []
        strange = [name for name in strange if not name.endswith(".part")]
        if strange:
            raise SettingsError(f"{out}: holds {strange[0]} but no run.json, so it is not a run; give an empty folder")
        return None
    if not resume:
        for path in out.iterdir():
            if path.name in OWN or path.name.startswith("fold-"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None
    info = read_run(out)
    # a run that an earlier version began lacks settings that were added since: they count with their defaults
    cls = type(settings)
    if ("task" in info["settings"]) != ("task" in cls.model_fields):
        raise SettingsError(f"{out}: holds a run of another kind, {info['name']}; give another --out")
    begun = validate(cls, info["settings"], str(out / "run.json")).model_dump(mode="json")
    different = first_difference(begun, settings.model_dump(mode="json"))
    if different:
        key, old, new = different
        raise SettingsError(f"{out}: holds a run with {key}={old}, not {new}; give another --out, or set it back")
    if info["store_sha256s"] != hashes:
        names = sorted(k for k in {*hashes, *info["store_sha256s"]} if hashes.get(k) != info["store_sha256s"].get(k))
        raise SettingsError(
            f"{out}: the store has changed since this run began (first: {names[0]}); give another --out, or train anew"
        )
    return info


def write_run(out: Path, info: dict[str, Any]) -> None:
    """Write `run.json`."""
    write_json(out / "run.json", info)


def versions() -> dict[str, str]:
    """What the run was made with."""
    names = ("neurodecode", "torch", "lightning", "numpy", "mne")
    return {"python": sys.version.split()[0]} | {name: importlib.metadata.version(name) for name in names}


def write_windows(path: Path, table: pd.DataFrame) -> None:
    """The window table of a fold; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, compression={"method": "gzip", "mtime": 0})


def write_layouts(
    path: Path, positions: np.ndarray, placed: np.ndarray, names: list[str], more: dict[str, np.ndarray] | None = None
) -> None:
    """Sensor layouts, [L, C, 2] and [L, C], and the names of the columns; `more` for what lies beyond the paper."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        arrays: dict[str, Any] = {"positions": positions, "placed": placed, "names": np.array(names, dtype=str)}
        np.savez(file, **(arrays | (more or {})))
