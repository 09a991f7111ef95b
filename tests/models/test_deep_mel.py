"""Deep Mel: the published sizes, and a part of the brain's network in every respect."""

from __future__ import annotations

import pytest
import torch

from neurodecode.config import SpeechSettings, TrainSettings, load_settings, validate
from neurodecode.errors import SettingsError
from neurodecode.models.aligner import Aligner
from neurodecode.models.build import count_parameters
from neurodecode.models.deep_mel import DeepMel, compared_dimensions, embed, with_speech

SMALL = SpeechSettings(kind="deep_mel", outputs=6, hidden=8, depth=4)


def aligner(n_outputs: int = 6) -> Aligner:
    return Aligner(5, n_outputs, spatial_attention=False, hidden=8, depth=2)


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    network = DeepMel(120)
    assert count_parameters(network) == 9_320_128
    assert network.eval()(torch.zeros(1, 120, 343)).shape == (1, 768, 343)
    preset = load_settings(TrainSettings, "deep_mel", "configs/training")
    brain = Aligner(5, compared_dimensions(preset.speech, 120), spatial_attention=False)
    brain_alone = count_parameters(brain)
    assert count_parameters(with_speech(brain, preset.speech, 120)) == brain_alone + 9_320_128


def test_a_frame_sees_what_kernels_and_dilations_say() -> None:
    reached = torch.zeros(301, dtype=torch.bool)
    for seed in range(5):  # a ReLU may close the way to an outermost frame in one network, not in all
        torch.manual_seed(seed)
        network = DeepMel(3, 6, 8, 10).eval().double()
        x = torch.randn(1, 3, 301, dtype=torch.float64)
        changed = x.clone()
        changed[:, :, 150] += 10
        reached |= (network(changed) - network(x)).abs().amax((0, 1)) > 0
    frames = reached.nonzero().ravel()
    assert (frames.min(), frames.max()) == (150 - 67, 150 + 67)  # 62 by dilated convolutions, 5 by gated ones


def test_neither_norm_nor_activation_follows_the_last_dilated_convolution() -> None:
    kinds = [type(layer).__name__ for layer in DeepMel(3, 6, 8, 4)]
    assert kinds == ["DilatedBlock", "DilatedBlock", "GatedBlock", "DilatedBlock", "Conv1d", "GatedBlock"]
    blocks = [layer for layer in DeepMel(8, 6, 8, 4) if type(layer).__name__ == "DilatedBlock"]
    assert [block.skip for block in blocks] == [False, True, True]
    assert all(isinstance(block.activation, torch.nn.ReLU) for block in blocks)


def test_targets_pass_the_speech_network_and_gradients_come_back() -> None:
    model = with_speech(aligner(), SMALL, n_features=3)
    embedded = embed(model, torch.randn(2, 3, 20))
    assert embedded.shape == (2, 6, 20)
    embedded.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.speech.parameters())


def test_without_one_targets_stay_what_they_are() -> None:
    target = torch.randn(2, 3, 20)
    model = with_speech(aligner(3), SpeechSettings(), n_features=3)
    assert embed(model, target) is target
    assert embed(torch.nn.Linear(1, 1), target) is target
    assert not [key for key in model.state_dict() if key.startswith("speech")]
    assert (compared_dimensions(SpeechSettings(), 3), compared_dimensions(SMALL, 3)) == (3, 6)


def test_regression_onto_a_trained_target_is_refused() -> None:
    with pytest.raises(SettingsError, match="speech.kind deep_mel needs objective.kind clip"):
        validate(TrainSettings, {"speech": {"kind": "deep_mel"}, "objective": {"kind": "mse"}}, "test")
