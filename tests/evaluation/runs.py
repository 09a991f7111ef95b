"""Folds of the toy cohort with a network that needs no training: it answers with what a ridge has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurodecode.config import EvaluationSettings, TrainSettings
from neurodecode.config.evaluation import RidgeSettings
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder
from neurodecode.evaluation.runs import evaluate as module
from neurodecode.evaluation.runs.baseline import RidgeBaseline, fit_ridge
from neurodecode.evaluation.runs.evaluate import Folds
from neurodecode.files import write_json
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import build_windows
from tests.evaluation.toys import ToyFeatures, toy_settings, toy_store

FAST = EvaluationSettings(bootstrap=60, permutations=60, ridge=RidgeSettings(wrong_pairings=16))


class Learnt(nn.Module):
    """(signal [B, C, T], subject [B], layout [B]) -> [B, F, T]."""

    def __init__(self, ridge: RidgeBaseline) -> None:
        super().__init__()
        self.ridge = ridge
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, signal: Tensor, subject: Tensor, layout: Tensor) -> Tensor:
        rows = [self.ridge.models[s].predict(signal[i : i + 1]) for i, s in enumerate(subject.tolist())]
        return torch.cat(rows)


def toy_folds(
    noise: float,
    rule: str = "content",
    seed: int = 0,
    training: dict[str, Any] | None = None,
    device: str = "cpu",
    **store: int,
) -> Folds:
    """All folds, opened."""
    features = ToyFeatures(seed)
    index = build_windows(toy_store(features, noise, seed=seed + 1, **store), toy_settings(rule))
    sources = []
    for name in index.folds:
        source = BatchSource(index.fold(name), features, None, device)
        source.fit_scalers()
        sources.append(source)
    settings = TrainSettings.model_validate(training or {})

    def network(number: int) -> NetworkDecoder:
        ridge = fit_ridge(sources[number], RidgeSettings(penalties=(1.0,)))
        scale = None if settings.objective.kind == "clip" else torch.ones(3)
        return NetworkDecoder(Learnt(ridge).eval().to(device), settings, scale)

    return Folds(sources, network)


def toy_run(run: Path, folds: Folds, monkeypatch: pytest.MonkeyPatch, control: str = "none") -> Path:
    """A run folder that says it was trained; opening its folds gives `folds`."""
    settings = TrainSettings.model_validate({"name": "toy", "training": {"control": control}})
    names = [source.index.fold_name for source in folds.sources]
    info = {
        "schema": 1,
        "name": "toy",
        "settings": settings.model_dump(mode="json"),
        "store": "store",
        "store_sha256s": {"sub-0_run-0": "0" * 64},
        "split": folds.sources[0].index.summary(),
        "folds": names,
        "n_parameters": 1,
        "versions": {"python": "3"},
        "command": "neurodecode train toy",
        "finished": True,
    }
    write_json(run / "run.json", info)
    for name in names:
        write_json(run / name / "finished.json", {"epochs": 1, "best_epoch": 0, "best_valid_loss": 1.0})
    monkeypatch.setattr(module, "open_folds", lambda *_: folds)
    return run
