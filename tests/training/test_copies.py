"""Copies in a batch are told by how much speech two windows share, whatever the number of their segment."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neurodecode.config import TrainSettings, load_settings
from neurodecode.errors import SettingsError
from neurodecode.objectives.clip import clip_scores
from neurodecode.objectives.siglip import SigLipHead
from neurodecode.segments.batches import FAR, Batch
from neurodecode.training.data import WindowBatches
from neurodecode.training.task import AlignerTask
from tests.training.toy import ToySource, toy_settings

SECONDS = 3.0  # of a toy window: 20 samples
# us; window 1 begins 0.29 s and window 2 0.31 s after window 0; window 3 is the same second of another stimulus
PLACE = torch.tensor([0, 290_000, 310_000, FAR])


class Same(torch.nn.Module):
    """Whatever is heard is what is said."""

    sfreq = 20 / SECONDS


def loss(batch: Batch, estimate: torch.Tensor, **objective) -> float:
    settings = TrainSettings.model_validate({**toy_settings().model_dump(), "objective": objective})
    model = Same()
    if settings.objective.kind == "siglip":
        model.siglip = SigLipHead(settings.objective.scale, settings.objective.bias)
    task = AlignerTask(model, settings)
    task._trainer = SimpleNamespace(world_size=1)
    candidates, places = task._candidates(batch)
    return float(task._loss(estimate, candidates, places, batch).detach())


def four() -> tuple[Batch, torch.Tensor]:
    batch = replace(ToySource()[np.arange(4)], place=PLACE, identity=torch.arange(4))
    return batch, torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("overlap", "copies"),
    [(0.9, {(0, 1), (1, 2)}), (0.89, {(0, 1), (1, 2), (0, 2)}), (0.95, {(1, 2)}), (1.0, {(1, 2)})],
)
def test_what_shares_enough_of_the_window_is_no_negative(overlap: float, copies: set[tuple[int, int]]) -> None:
    # windows 1 and 2 begin 20 ms apart: the same place, as clocks of recordings go
    batch, estimate = four()
    scores = clip_scores(estimate, batch.target)
    terms = []
    for row in range(4):
        left = [k for k in range(4) if k == row or tuple(sorted((row, k))) not in copies]
        terms.append(torch.logsumexp(scores[row, left], 0) - scores[row, row])
    expected = float(torch.stack(terms).mean())
    found = loss(batch, estimate, mask_duplicates=True, duplicate_overlap=overlap)
    assert found == pytest.approx(expected, rel=1e-5)
    plain = loss(batch, estimate)
    assert plain > found + 1e-3  # as published, copies are wrong answers


def test_shared_targets_and_siglip_follow_the_same_rule() -> None:
    batch, estimate = four()
    together = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    log_p = clip_scores(estimate, batch.target).log_softmax(1)
    expected = float(-(log_p * together / together.sum(1, keepdim=True)).sum(1).mean())
    assert loss(batch, estimate, share_duplicates=True) == pytest.approx(expected, rel=1e-5)
    logits = SigLipHead(10.0, -10.0)(estimate, batch.target).detach()
    signs = 2 * together - 1
    expected = float(-torch.nn.functional.logsigmoid(logits * signs).sum(1).mean())
    assert loss(batch, estimate, kind="siglip") == pytest.approx(expected, rel=1e-5)
    assert not math.isclose(
        expected, float(-torch.nn.functional.logsigmoid(logits * (2 * torch.eye(4) - 1)).sum(1).mean())
    )


def test_shuffled_pairs_bring_the_place_of_their_target() -> None:
    class Placed(ToySource):
        def __getitem__(self, rows: np.ndarray) -> Batch:
            return replace(super().__getitem__(rows), place=torch.as_tensor(rows) * 1000)

    source = Placed()
    batch = WindowBatches(source, "shuffled", (np.arange(20),), seed=1)[np.arange(20)]
    partners = [int((source.target == t).all((1, 2)).nonzero()[0, 0]) for t in batch.target]
    assert batch.place.tolist() == [1000 * partner for partner in partners]


def test_a_share_of_nothing_or_of_more_than_all_is_refused() -> None:
    for value in ("0", "1.01"):
        with pytest.raises(SettingsError, match="duplicate_overlap"):
            load_settings(TrainSettings, "demo", "configs/training", [f"objective.duplicate_overlap={value}"])
