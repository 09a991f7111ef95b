"""Runs of the smallest codebook stages on the cohort without files, and what they wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from neurodecode.config import CodebookTrainSettings, load_training
from neurodecode.training import codebook
from neurodecode.training.codebook import fit_codebook
from tests.training.codebook_cohort import cohort

NAMES = {"1": ("A1", "A2", "A3")}
TWO = {"1": ("A1", "A2", "A3"), "2": ("B1", "C2")}


def settings(task: str, *overrides: str) -> CodebookTrainSettings:
    loaded = load_training(f"duin_tiny_{task}", overrides)
    assert isinstance(loaded, CodebookTrainSettings)
    return loaded


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "fold-0" / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def column(run: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(run)]


def state(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run / "fold-0" / name, weights_only=True)["state_dict"]


def train(task: str, out: Path, *overrides: str, subjects: dict[str, tuple[str, ...]] = NAMES) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: cohort(subjects))
        return fit_codebook(settings(task, *overrides), Path("fake-store"), out, progress=False)
