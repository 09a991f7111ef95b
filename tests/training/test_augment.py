"""Masks and jitter of training batches: what they change, what they leave, and that a killed run sees them again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurodecode.config import TrainSettings
from neurodecode.config.training import AugmentSettings
from neurodecode.training.augment import augment, jittered, time_masked
from neurodecode.training.fit import train_fold
from neurodecode.training.task import AlignerTask
from tests.training.test_train_fold import Kill, assert_same_run
from tests.training.toy import ToySource, toy_data, toy_settings

ALL = {"time_mask": 0.3, "channel_mask": 0.2, "onset_jitter": 0.1}


def test_switched_off_nothing_changes_and_nothing_is_drawn() -> None:
    batch = ToySource()[np.arange(8)]
    state = torch.get_rng_state()
    assert augment(batch, AugmentSettings(), None) is batch
    assert torch.equal(torch.get_rng_state(), state)


def test_jitter_moves_a_ramp_by_whole_samples_both_ways() -> None:
    ramp = torch.arange(1.0, 21.0).expand(400, 2, 20)
    torch.manual_seed(0)
    moved = jittered(ramp, 3)
    by = 10.0 - moved[:, 0, 9]  # value 10 stands at sample 9
    assert set(by.tolist()) == {-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0}
    for row, shift in zip(moved, by.int().tolist()):
        expected = torch.zeros(20)
        expected[max(0, shift) : 20 + min(0, shift)] = ramp[0, 0, max(0, -shift) : 20 - max(0, shift)]
        assert torch.equal(row[0], expected)
        assert torch.equal(row[1], expected)


def test_a_time_mask_hides_one_stretch_of_all_channels_up_to_its_share() -> None:
    torch.manual_seed(0)
    masked = time_masked(torch.ones(500, 3, 40), 0.25)
    hidden = masked[:, 0] == 0
    assert torch.equal(masked[:, 0], masked[:, 2])
    lengths = hidden.sum(1)
    assert 9 <= lengths.max() <= 10
    assert lengths.float().mean().item() == pytest.approx(5, abs=0.5)
    edges = (hidden[:, 1:] != hidden[:, :-1]).sum(1) + hidden[:, 0] + hidden[:, -1]
    assert edges.max() <= 2  # one stretch
    assert hidden.any(0).all()  # anywhere


def test_a_channel_mask_hides_whole_channels_of_single_windows() -> None:
    torch.manual_seed(0)
    batch = ToySource()[np.arange(90)]
    masked = augment(batch, AugmentSettings(channel_mask=0.3), None)
    gone = (masked.signal == 0).all(-1)
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(masked.signal[~gone], batch.signal[~gone])
    assert torch.equal(masked.target, batch.target)


def test_validation_is_never_changed(monkeypatch) -> None:
    settings = TrainSettings.model_validate({**toy_settings().model_dump(), "training": {"augment": ALL}})
    seen: list[torch.Tensor] = []
    model = torch.nn.Identity()
    model.sfreq = 50.0
    task = AlignerTask(model, settings)
    monkeypatch.setattr(AlignerTask, "forward", lambda self, batch: seen.append(batch.signal) or batch.target)
    monkeypatch.setattr(AlignerTask, "_candidates", lambda self, batch: (batch.target, batch.identity))
    monkeypatch.setattr(AlignerTask, "_offset", lambda self, batch: 0)
    monkeypatch.setattr(AlignerTask, "log", lambda *a, **k: None)
    monkeypatch.setattr(AlignerTask, "log_dict", lambda *a, **k: None)
    batch = ToySource()[np.arange(8)]
    task.validation_step(batch, 0)
    task.training_step(batch, 0)
    assert torch.equal(seen[0], batch.signal)
    assert not torch.equal(seen[1], batch.signal)


def test_a_killed_run_with_masks_ends_like_an_undisturbed_one(tmp_path) -> None:
    settings = toy_settings(epochs=3, augment=ALL)
    train_fold(settings, toy_data(), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train_fold(settings, toy_data(), tmp_path / "killed", extra=(Kill(1, "within"),))
    torch.manual_seed(5)
    train_fold(settings, toy_data(), tmp_path / "killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
