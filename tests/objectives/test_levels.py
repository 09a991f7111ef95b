"""Cross-entropy of each level, against its definition written out."""

from __future__ import annotations

import math

import pytest
import torch

from neurodecode.objectives.levels import level_losses


def test_is_the_mean_over_windows_of_minus_the_log_of_the_right_values_probability() -> None:
    first = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # p = 1/4, 3/4; 1/2, 1/2
    second = torch.tensor([[0.0, 0.0, math.log(2)], [math.log(6), 0.0, 0.0]])  # 1/4, 1/4, 1/2; 6/8, 1/8, 1/8
    losses = level_losses([first, second], torch.tensor([[1, 2], [0, 1]]))
    assert losses.tolist() == pytest.approx(
        [(math.log(4 / 3) + math.log(2)) / 2, (math.log(2) + math.log(8)) / 2], rel=1e-6
    )


def test_smoothing_spreads_a_share_of_the_target_over_all_values() -> None:
    logits = [torch.tensor([[0.0, math.log(3)]])]
    loss = level_losses(logits, torch.tensor([[1]]), label_smoothing=0.2)
    assert loss.item() == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4), rel=1e-6)
