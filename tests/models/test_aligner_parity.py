"""Positions, attention, front end, encoder, head, scores, loss, every gradient and every running statistic against a
plain recomputation in float64 (`plain_aligner`), in both modes, with sensors that are missing, bad or banned."""

from __future__ import annotations

import mne
import numpy as np
import pytest
import torch

from neurodecode.channels.table import channel_table
from neurodecode.config import ModelSettings, SpeechSettings
from neurodecode.models.aligner import Aligner
from neurodecode.models.build import build_model
from neurodecode.models.deep_mel import embed, with_speech
from neurodecode.objectives.clip import ClipLoss, clip_scores
from neurodecode.segments.layouts import Layouts, build_layouts
from tests.models.plain_aligner import (
    Tensors,
    plain_aligner,
    plain_attention,
    plain_deep_mel,
    plain_loss,
    plain_positions,
    plain_scores,
)

NAMES = ["Fp1", "Fp2", "F7", "F3", "Fz", "C4", "Cz", "Pz", "P8", "O1", "O2", "X1"]  # the last has no place
DEPTH, T, F, MELS = 10, 48, 6, 5
SUBJECT, RECORDING = [0, 2, 1, 0, 2], [0, 1, 2, 0, 1]
SMALL = {"spatial_channels": 10, "fourier_frequencies": 4, "hidden": 12, "depth": DEPTH}


def recordings() -> list[mne.Info]:
    """Three caps: all electrodes; two fewer; all, one of them bad."""
    infos = []
    for names, bads in ((NAMES, []), ([n for n in NAMES if n not in ("Fz", "O2")], []), (NAMES, ["C4"])):
        info = mne.create_info(names, 120.0, "eeg").set_montage("easycap-M1", on_missing="ignore")
        info["bads"] = list(bads)
        infos.append(info)
    return infos


def our_layouts() -> Layouts:
    tables = [channel_table(mne.io.RawArray(np.zeros((len(i.ch_names), 5)), i, verbose=False)) for i in recordings()]
    return build_layouts(tables)


def their_layouts(columns: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Section 4.1 in the order of our columns: positions [L, C, 2] and whether a sensor is valid [L, C]."""
    positions = torch.full((3, len(columns), 2), -0.1, dtype=torch.float64)
    valid = torch.zeros(3, len(columns), dtype=torch.bool)
    for number, info in enumerate(recordings()):
        placed = [n for n in info.ch_names if n != "X1"]
        layout = mne.channels.find_layout(mne.pick_info(info, [info.ch_names.index(n) for n in placed]))
        corners = torch.full((len(info.ch_names), 2), float("nan"), dtype=torch.float64)
        for name, box in zip(layout.names, layout.pos):
            corners[info.ch_names.index(name)] = torch.from_numpy(box[:2])
        for name, place in zip(info.ch_names, plain_positions(corners)):
            positions[number, columns.index(name)] = place
            valid[number, columns.index(name)] = name != "X1" and name not in info["bads"]
    return positions, valid


def network(speech: bool = False, dropout: float = 0.2) -> Aligner:
    """Small, with every parameter and running statistic somewhere in the middle of life."""
    layouts = our_layouts()
    torch.manual_seed(3)
    settings = ModelSettings(**SMALL, spatial_dropout=dropout)
    model = build_model(settings, n_chans=len(NAMES), n_outputs=F, n_subjects=3, layouts=layouts)
    if speech:
        model = with_speech(model, SpeechSettings(kind="deep_mel", outputs=F, hidden=12, depth=DEPTH), MELS)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif name.endswith(("running_mean", "norm.bias")):
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
            elif name.endswith("norm.weight"):
                value.copy_(1 + 0.3 * torch.randn(value.shape, generator=generator))
        model.attention.heads.mul_(4)  # weights that differ between sensors
    assert isinstance(model, Aligner)
    return model


def batch(seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows [5, C, T], zero where a recording lacks a channel, and six targets."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, len(NAMES), T, generator=generator)
    return x, torch.randn(6, F, T, generator=generator)


def plain_state(model: torch.nn.Module) -> Tensors:
    state = {name: value.detach().double() for name, value in model.state_dict().items()}
    trained = dict(model.named_parameters())
    return {name: value.requires_grad_(name in trained) for name, value in state.items()}


def plain_weights(p: Tensors, point: torch.Tensor | None, radius: float = 0.2) -> list[torch.Tensor]:
    """Attention weights of each window; sensors within `radius` of `point` are banned."""
    positions, valid = their_layouts(our_layouts().names)
    allowed = valid
    if point is not None:
        allowed = valid & ((positions - point).square().sum(-1).sqrt() > radius)
        assert (allowed != valid).any()  # the test bans something
    return [plain_attention(p["attention.heads"], positions[r], allowed[r]) for r in RECORDING]


def seed_that_bans() -> int:
    """A seed whose first point lies near sensors and leaves others."""
    positions, valid = their_layouts(our_layouts().names)
    for seed in range(100):
        torch.manual_seed(seed)
        near = (positions - torch.rand(2)).square().sum(-1).sqrt() <= 0.2
        if ((near & valid).sum(1) >= 2).all():
            return seed
    raise AssertionError("no point bans two sensors of each layout")


def close(ours: torch.Tensor, plain: torch.Tensor, tolerance: float, what: str) -> None:
    """Within `tolerance` of the largest value, so that a vector's rounding is measured by its own size."""
    scale = max(plain.abs().max().item(), 1e-3)
    error = (ours.detach().double() - plain.detach()).abs().max().item() / scale
    assert error <= tolerance, f"{what}: {error:.1e} of {scale:.1e}"


def test_positions_are_the_layouts_corners_scaled_an_axis_at_a_time() -> None:
    layouts = our_layouts()
    positions, valid = their_layouts(layouts.names)
    torch.testing.assert_close(layouts.positions.double(), positions, atol=1e-7, rtol=0)
    assert torch.equal(layouts.placed, valid)
    assert (layouts.positions[1, layouts.names.index("O2")] == -0.1).all()  # not in that cap


def test_kit_sensors_lie_where_mnes_kit_layout_has_them() -> None:
    info = mne.create_info([f"MEG {k:03d}" for k in range(1, 209)], 1000.0, "mag")
    rng = np.random.default_rng(0)
    for channel in info["chs"]:
        channel["coil_type"] = 6001  # KIT axial gradiometer
        channel["loc"][:3] = rng.normal(size=3)  # the layout does not ask for them
    with info._unlock():
        info["kit_system_id"] = 442
    table = channel_table(mne.io.RawArray(np.zeros((208, 5)), info, verbose=False))
    layout = mne.channels.read_layout("KIT-AD.lout")
    corners = dict(zip(layout.names, layout.pos[:, :2]))
    expected = plain_positions(torch.tensor(np.array([corners[name] for name in info.ch_names])))
    np.testing.assert_allclose(table[["x2d", "y2d"]], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluation_mode_equals_the_plain_recomputation(dtype: torch.dtype) -> None:
    model = network().eval()
    p = plain_state(model)
    x, candidates = batch()
    running: Tensors = {}
    plain = plain_aligner(p, x.double(), SUBJECT, plain_weights(p, None), depth=DEPTH, training=False, running=running)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-7  # attention weights are float32 in either
    model = model.to(dtype)
    with torch.no_grad():
        ours = model(x.to(dtype), torch.tensor(SUBJECT), torch.tensor(RECORDING))
    close(ours, plain, tolerance, "estimate")
    scores = plain_scores(plain, candidates.double())
    close(clip_scores(ours, candidates.to(dtype)), scores, tolerance, "scores")
    close(ClipLoss()(ours, candidates.to(dtype)), plain_loss(scores), tolerance, "loss")
    assert not running


@pytest.mark.parametrize("banned", [False, True], ids=["all sensors", "banned sensors"])
def test_training_mode_loss_gradients_and_running_statistics_equal_the_plain_recomputation(banned: bool) -> None:
    model = network(dropout=0.2 if banned else 0.0).train()
    p = plain_state(model)
    x, candidates = batch()
    x_plain, candidates_plain = (v.double().requires_grad_(True) for v in (x, candidates))
    x, candidates = x.requires_grad_(True), candidates.requires_grad_(True)
    seed = seed_that_bans()
    torch.manual_seed(seed)
    point = torch.rand(2) if banned else None
    running: Tensors = {}
    weights = plain_weights(p, point)
    plain = plain_aligner(p, x_plain, SUBJECT, weights, depth=DEPTH, training=True, running=running)
    plain_value = plain_loss(plain_scores(plain, candidates_plain))
    plain_value.backward()

    torch.manual_seed(seed)
    ours = model(x, torch.tensor(SUBJECT), torch.tensor(RECORDING))
    value = ClipLoss()(ours, candidates)
    value.backward()
    close(ours, plain, 2e-6, "estimate")
    assert value.item() == pytest.approx(plain_value.item(), abs=1e-5)
    assert x.grad is not None
    assert candidates.grad is not None
    close(x.grad, x_plain.grad, 1e-5, "gradient of the signal")
    close(candidates.grad, candidates_plain.grad, 1e-5, "gradient of the candidates")
    compare_gradients(model, p)
    compare_running(model, running, len([n for n in p if n.endswith("running_mean")]))


def test_deep_mel_equals_the_plain_recomputation_in_both_modes() -> None:
    model = network(speech=True, dropout=0.0).double()
    x = batch()[0].double()
    mel = torch.randn(5, MELS, T, generator=torch.Generator().manual_seed(8)).double()
    for training in (False, True):
        model.train(training)
        model.zero_grad()
        p, running = plain_state(model), {}
        mode = {"depth": DEPTH, "training": training, "running": running}
        plain_y = plain_deep_mel(p, mel, **mode)
        plain_z = plain_aligner(p, x, SUBJECT, plain_weights(p, None), **mode)
        plain_value = plain_loss(plain_scores(plain_z, plain_y))
        plain_value.backward()
        embedded = embed(model, mel)
        value = ClipLoss()(model(x, torch.tensor(SUBJECT), torch.tensor(RECORDING)), embedded)
        value.backward()
        close(embedded, plain_y, 1e-9, "embedding")
        assert value.item() == pytest.approx(plain_value.item(), abs=1e-6)
        compare_gradients(model, p)
        compare_running(model, running, 2 * DEPTH - 1 if training else 0)


def compare_gradients(model: torch.nn.Module, p: Tensors) -> None:
    """Every parameter, to 1e-5 of its largest gradient; what batch norm takes away is zero in both."""
    names = [name for name, _ in model.named_parameters()]
    largest = max(p[name].grad.abs().max().item() for name in names)
    compared = 0
    for name, parameter in model.named_parameters():
        expected = p[name].grad
        assert parameter.grad is not None
        if expected.abs().max() < 1e-10 * largest:  # a bias before batch norm
            assert name.endswith("convolution.bias")
            assert parameter.grad.abs().max() < 1e-5 * largest
            continue
        error = (parameter.grad.double() - expected).abs().max() / expected.abs().max()
        assert error <= 1e-5, f"gradient of {name}: {error:.1e}"
        compared += 1
    assert compared >= len(names) - 2 * DEPTH


def compare_running(model: torch.nn.Module, running: Tensors, layers: int) -> None:
    state = model.state_dict()
    assert len(running) == 2 * layers
    for name, value in running.items():
        torch.testing.assert_close(state[name].double(), value, atol=1e-6, rtol=1e-6)


def test_the_network_runs_in_bfloat16_and_float64_as_a_whole() -> None:
    x, _ = batch()
    model = network(dropout=0.0).eval()
    with torch.no_grad():
        expected = model(x, torch.tensor(SUBJECT), torch.tensor(RECORDING))
        for dtype, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 0.1)):
            for mode in (True, False):
                other = network(dropout=0.0).to(dtype).train(mode)
                found = other(x.to(dtype), torch.tensor(SUBJECT), torch.tensor(RECORDING))
                assert found.dtype == dtype
                if not mode:
                    close(found, expected, tolerance, "estimate")


def test_the_plain_recomputation_can_fail() -> None:
    model = network().eval()
    p = plain_state(model)
    x, _ = batch()
    subject = torch.tensor([1, *SUBJECT[1:]])
    plain = plain_aligner(p, x.double(), SUBJECT, plain_weights(p, None), depth=DEPTH, training=False, running={})
    with torch.no_grad(), pytest.raises(AssertionError, match="estimate"):
        close(model(x, subject, torch.tensor(RECORDING)), plain, 1e-3, "estimate")
