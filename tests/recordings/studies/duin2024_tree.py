"""A small tree in the layout of Du-IN: two patients, two runs each, four words five times, seven channels on two shafts.

Sample k of channel c in trial n of run r is r x 1e-4 + n x 1e-5 + c x 1e-6 + k x 1e-10 V, so each value says where it
belongs. The mappings are of the class `utils.DotDict`, as in the release, which does not exist where the tree is read.
Patient 001 also has the pretraining layout: four files of 8 s.
"""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

STUDY = Path("data") / "seeg.he2023xuanwu"
CHANNELS = ["TI'1", "TI'2", "TI'3", "TI'4", "E1", "E2", "E3"]
WORDS = ["嘴巴", "我", "菠萝", "你"]
TRIALS = 20
SAMPLES = 3000
PIECE = 8000
REVISION = "2c85b670230dced33f2f1cbd0903648680ecc7d0"


class DotDict(dict):
    """A dict whose items are attributes too, and that sets them itself."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)


DotDict.__module__ = "utils"


def label(number: int, run: int) -> str:
    """Word of a trial: no run has the order of another."""
    return WORDS[(number * (1 + 2 * (run % 2)) + run) % len(WORDS)]


def values(number: int, run: int) -> np.ndarray:
    """[channels, samples] of a trial, V."""
    channels = np.arange(len(CHANNELS))[:, None]
    return run * 1e-4 + number * 1e-5 + channels * 1e-6 + np.arange(SAMPLES) * 1e-10


def piece(number: int) -> np.ndarray:
    """[2, channels, samples] of a file of the pretraining layout; the second plane is not to be read."""
    first = number + np.arange(len(CHANNELS))[:, None] / 10 + np.arange(PIECE) * 1e-5
    return np.stack([first, np.full_like(first, np.nan)]).astype(np.float32)


def dump(path: Path, value: Any, protocol: int = 4) -> Path:
    """Pickle as the release is pickled: with a class of a module that no reader has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = sys.modules.get("utils")
    module = types.ModuleType("utils")
    module.DotDict = DotDict  # type: ignore[attr-defined]
    sys.modules["utils"] = module
    try:
        path.write_bytes(pickle.dumps(value, protocol))
    finally:
        del sys.modules["utils"]
        if before is not None:
            sys.modules["utils"] = before
    return path


def run_folder(root: Path, patient: str, run: int) -> Path:
    """Folder of a run."""
    return root / STUDY / patient / "word-recitation" / f"run{run}" / "dataset.bipolar.default.unaligned"


def trials(run: int) -> list[DotDict]:
    """Content of a run's `data`."""
    return [DotDict(name=label(number, run), data_s=values(number, run)) for number in range(TRIALS)]


def build(root: Path, patients: tuple[str, ...] = ("001", "002"), runs: tuple[int, ...] = (10, 2)) -> Path:
    """Write the tree and return its root."""
    for patient in patients:
        for run in runs:
            folder = run_folder(root, patient, run)
            dump(folder / "info", DotDict(ch_names=CHANNELS))
            dump(folder / "data", trials(run))
    folder = root / STUDY / patients[0] / "pretrain" / "dataset.default.1000hz"
    dump(folder / "info", DotDict(ch_names=CHANNELS))
    for number in range(4):
        path = folder / "day1" / f"{number + 8}.npy"  # 10.npy comes after 9.npy
        path.parent.mkdir(exist_ok=True)
        np.save(path, piece(number))
    return root
