"""The aligner's network: sizes as published, folding, layouts, subjects, and one contract for all of its variants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurodecode.config import ModelSettings, TrainSettings, validate
from neurodecode.errors import SettingsError
from neurodecode.models.aligner import Aligner, AlignerClassifier
from neurodecode.models.build import build_model, count_parameters
from neurodecode.models.layers.convolution import ConvolutionStack
from neurodecode.models.layers.spatial_attention import SpatialAttention, fourier_basis
from neurodecode.models.layers.subject_layer import SubjectLayer
from neurodecode.models.positions import positions_from_chs_info

SMALL = {"spatial_channels": 12, "fourier_frequencies": 4, "hidden": 16, "depth": 4, "subject_dimension": 5}
VARIANTS = {
    "paper": {},
    "no attention": {"spatial_attention": False},
    "no attention dropout": {"spatial_dropout": 0.0},
    "no subjects": {"subjects": "none"},
    "subject embedding": {"subjects": "embedding"},
    "no initial convolution": {"initial_convolution": False},
    "bare front": {"spatial_attention": False, "initial_convolution": False, "subjects": "none"},
    "no skip": {"skip": False},
    "no gated convolutions": {"glu_every": 0},
    "relu": {"activation": "relu"},
    "one last convolution": {"head": False},
    "no head": {"head": "none"},
    "no head, no gate at the end": {"head": "none", "glu_every": 3},
    "no batch norm, dropout": {"batch_norm": False, "dropout": 0.1},
    "wide kernel": {"kernel": 5, "dilation_period": 2},
}
B, C, T, F, S, L = 6, 9, 40, 7, 3, 4


class SomeLayouts:
    """Four recordings, two of them with the same cap; one recording lacks two sensors."""

    def __init__(self) -> None:
        positions = torch.rand(L, C, 2, generator=torch.Generator().manual_seed(0))
        positions[3] = positions[0]
        self.positions = positions
        self.placed = torch.ones(L, C, dtype=torch.bool)
        self.placed[1, -2:] = False
        self.positions[1, -2:] = -0.1


def build(**changes) -> Aligner:
    torch.manual_seed(0)
    settings = ModelSettings(**{**SMALL, **changes})
    model = build_model(settings, n_chans=C, n_outputs=F, n_subjects=S, layouts=SomeLayouts())
    assert isinstance(model, Aligner)
    return model


def some_input() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(B, C, T, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize(
    ("outputs", "subjects", "expected"),
    [(1024, 27, 9_565_054), (1024, 96, 14_595_154), (1024, 19, 8_981_854), (768, 27, 9_400_958), (120, 27, 8_985_590)],
)
def test_the_default_network_has_the_published_number_of_parameters(outputs, subjects, expected) -> None:
    model = Aligner(60, outputs, n_subjects=subjects, positions=torch.rand(2, 60, 2))
    assert count_parameters(model) == expected
    if outputs == 1024:
        assert expected == 7_596_754 + 72_900 * subjects


def test_the_parts_have_the_published_number_of_parameters() -> None:
    assert count_parameters(ConvolutionStack(270)) == 6_108_800
    assert count_parameters(SubjectLayer(270, 27)) == 1_968_300
    assert count_parameters(SpatialAttention(270, torch.rand(1, 5, 2), torch.ones(1, 5))) == 552_960
    assert count_parameters(Aligner(4, 1024, spatial_attention=False, depth=1).head) == 861_824


def test_without_a_head_the_last_convolution_is_bare_and_gives_the_features() -> None:
    model = build(head="none", glu_every=0).eval()
    state = model.state_dict()
    assert not [name for name in state if name.startswith(("head", "encoder.3.norm"))]
    assert state["encoder.3.convolution.weight"].shape == (F, 16, 3)
    x, subject, layout = some_input()
    with torch.no_grad():
        before = model.front(x, subject, layout)
        for k in range(3):
            before = model.encoder[k](before)
        last = functional.conv1d(
            before, state["encoder.3.convolution.weight"], state["encoder.3.convolution.bias"], padding=8, dilation=8
        )
        torch.testing.assert_close(model(x, subject, layout), last, atol=1e-5, rtol=1e-5)
    # as Deep Mel, which ends in the same way (section 4.7): 320 -> 1024 in the last convolution, 1024 -> 2048 in its gate
    bare, whole = (count_parameters(Aligner(4, 1024, spatial_attention=False, head=h)) for h in ("none", True))
    assert bare - whole == (320 * 3 + 1) * (1024 - 320) - 640 + (1024 * 3 + 1) * 2048 - (320 * 3 + 1) * 640 - 861_824


def test_a_head_that_is_neither_is_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"model\.head") as error:
        validate(TrainSettings, {"model": {"head": "some"}}, "test")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
class TestEveryVariant:
    def test_gives_one_estimate_a_window_and_sample(self, changes) -> None:
        assert build(**changes)(*some_input()).shape == (B, F, T)

    def test_trains_every_parameter(self, changes) -> None:
        model = build(**changes)
        model(*some_input()).square().mean().backward()
        without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # batch norm takes the mean away, and with it whatever a bias before it adds
        assert [n for n in without if not (model_has_norm(model) and n.endswith("convolution.bias"))] == []

    def test_repeats_itself_in_evaluation_mode(self, changes) -> None:
        model = build(**changes).eval()
        with torch.no_grad():
            assert torch.equal(model(*some_input()), model(*some_input()))

    def test_folded_and_step_by_step_agree(self, changes) -> None:
        model = build(**changes).eval()
        x, subject, layout = some_input()
        subject[3] = -1
        with torch.no_grad():
            y = model.front(x, subject, layout)
            if model.subject_embedding is not None:
                y = model.subject_embedding(y, subject)
            expected = model.head(model.encoder(y))
            torch.testing.assert_close(model(x, subject, layout), expected, atol=1e-5, rtol=1e-5)

    def test_comes_back_from_its_state_dict(self, changes) -> None:
        model, other = build(**changes).eval(), build(**changes).eval()
        with torch.no_grad():
            for p in other.parameters():
                p.add_(1.0)
            other(*some_input())  # fills the cache, which loading must empty
            other.load_state_dict(model.state_dict())
            assert torch.equal(model(*some_input()), other(*some_input()))

    def test_is_finite_in_bfloat16(self, changes) -> None:
        for mode in (True, False):
            model = build(**changes).train(mode)
            with torch.autocast("cpu", torch.bfloat16):
                estimate = model(*some_input())
            assert estimate.isfinite().all()
            estimate.float().square().mean().backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.slow
    def test_compiles(self, changes) -> None:
        model = build(**changes).eval()
        compiled = torch.compile(model, backend="aot_eager")
        with torch.no_grad():
            torch.testing.assert_close(compiled(*some_input()), model(*some_input()), atol=1e-5, rtol=1e-5)
        model.train()
        compiled(*some_input()).sum().backward()


def model_has_norm(model: Aligner) -> bool:
    return any(isinstance(m, torch.nn.BatchNorm1d) for m in model.modules())


def test_an_affine_map_folds_the_whole_linear_part() -> None:
    model = build().eval()
    with torch.no_grad():
        x = torch.randn(1, C, T)
        for layout in range(L):
            for subject in range(S):
                matrix, bias = model.fold(layout, subject)
                expected = model.front(x, torch.tensor([subject]), torch.tensor([layout]))[0]
                torch.testing.assert_close(matrix @ x[0] + bias[:, None], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(RuntimeError, match="evaluation mode"):
        model.train().fold()


def test_the_fold_follows_the_weights_and_the_layouts() -> None:
    model = build().eval()
    assert model.attention is not None
    with torch.no_grad():
        before = model(*some_input())
        model.attention.heads.mul_(3.0)
        after = model(*some_input())
        assert (before - after).abs().max() > 1e-4
        model.attention.set_layouts(1 - SomeLayouts().positions.clamp(min=0), SomeLayouts().placed)
        assert (after - model(*some_input())).abs().max() > 1e-4


def test_gradients_reach_the_input_and_the_heads_through_the_fold() -> None:
    model = build().eval()
    with torch.no_grad():
        model(*some_input())
    x, subject, layout = some_input()
    x.requires_grad_(True)
    model(x, subject, layout).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert model.attention is not None
    assert model.attention.heads.grad is not None
    assert model.attention.heads.grad.abs().sum() > 0


def test_the_fourier_basis_is_the_stated_one() -> None:
    x, y, n = 0.3, 0.85, 32
    basis = fourier_basis(torch.tensor([x, y]), n, 0.2)
    for k, m in [(0, 0), (0, 5), (7, 0), (31, 31)]:
        phase = 2 * math.pi * (k * (x + 0.2) + m * (y + 0.2)) / 1.4
        assert basis[k * n + m].item() == pytest.approx(math.cos(phase), abs=1e-4)
        assert basis[n * n + k * n + m].item() == pytest.approx(math.sin(phase), abs=1e-4)


def test_attention_weighs_valid_sensors_only_and_sums_to_one() -> None:
    attention = SpatialAttention(5, SomeLayouts().positions, SomeLayouts().placed, frequencies=4).eval()
    weights = attention.weights()[attention.distinct]
    torch.testing.assert_close(weights.sum(-1), torch.ones(L, 5))
    assert (weights[1, :, -2:] == 0).all()
    assert (weights[0] > 0).all()


def test_recordings_with_the_same_sensors_share_one_computation() -> None:
    attention = SpatialAttention(5, SomeLayouts().positions, SomeLayouts().placed, frequencies=4)
    assert attention.n_layouts == 3
    assert attention.distinct[0] == attention.distinct[3]
    many = SpatialAttention(5, torch.rand(20, C, 2), torch.ones(20, C), frequencies=4).eval()
    x, layout = torch.randn(3, C, T), torch.tensor([17, 2, 17])
    expected = torch.einsum("boc,bct->bot", many.weights()[many.distinct[layout]], x)
    torch.testing.assert_close(many(x, layout), expected)


def test_dropout_bans_the_disc_around_one_point_for_the_whole_pass() -> None:
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, 12), torch.linspace(0, 1, 12), indexing="ij"), -1)
    positions = grid.reshape(1, -1, 2)
    attention = SpatialAttention(2, positions, torch.ones(1, 144), frequencies=2, dropout=0.2)
    for seed in range(20):
        torch.manual_seed(seed)
        point = torch.rand(2)
        torch.manual_seed(seed)
        banned = attention.weights()[0, 0] == 0
        inside = (positions[0] - point).norm(dim=-1) <= 0.2
        assert torch.equal(banned, inside)
    attention.eval()
    assert (attention.weights() > 0).all()


def test_a_layout_inside_the_disc_keeps_its_sensors() -> None:
    positions = torch.rand(2, C, 2)
    positions[1] = 0.5 + 0.001 * positions[1]  # all sensors at one place
    attention = SpatialAttention(3, positions, torch.ones(2, C), frequencies=2, dropout=2.0)
    weights = attention.weights()
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))


def test_a_layout_without_any_position_is_refused() -> None:
    placed = SomeLayouts().placed
    placed[2] = False
    with pytest.raises(SettingsError, match="recording 3 of 4 has no good sensor"):
        SpatialAttention(3, SomeLayouts().positions, placed)
    with pytest.raises(SettingsError, match="spatial_attention=false"):
        Aligner(C, F)


def test_the_subject_layer_multiplies_from_the_stated_side() -> None:
    layer = SubjectLayer(4, 3)
    x = torch.randn(3, 4, 5)
    for s in range(3):
        expected = torch.einsum("ct,cd->dt", x[s], layer.matrices[s])
        torch.testing.assert_close(layer(x, torch.arange(3))[s], expected)
    assert layer.matrices.std().item() == pytest.approx(0.5, rel=0.3)


@pytest.mark.parametrize("subjects", ["layer", "embedding"])
def test_someone_unseen_gets_the_mean_of_all_subjects(subjects) -> None:
    model = build(subjects=subjects).eval()
    x, _, layout = some_input()
    with torch.no_grad():
        unseen = model(x, torch.full((B,), -1), layout)
        torch.testing.assert_close(model(x, None, layout), unseen)
        module = model.subject_layer if subjects == "layer" else model.subject_embedding
        (parameter,) = module.parameters()
        parameter.copy_(parameter.mean(0, keepdim=True).expand_as(parameter))
        torch.testing.assert_close(model(x, torch.zeros(B, dtype=torch.long), layout), unseen, atol=1e-5, rtol=1e-5)


def test_the_receptive_field_is_135_samples() -> None:
    stack = ConvolutionStack(2, 4).double()
    with torch.no_grad():
        for p in stack.parameters():
            p.abs_().add_(0.1)  # nothing may cancel
    x = torch.randn(1, 2, 301, dtype=torch.double, requires_grad=True)
    stack.eval()(x)[0, :, 150].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(0).nonzero().flatten()
    assert (reached.min().item(), reached.max().item()) == (150 - 67, 150 + 67)


def test_positions_of_chs_info_are_scaled_an_axis_at_a_time() -> None:
    locations = [[0, 0, 0.1], [0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0.05], [0, 0, 0], [np.nan] * 3]
    positions, valid = positions_from_chs_info([{"loc": np.array(p + [0.0] * 9)} for p in locations])
    assert valid[0].tolist() == [True] * 4 + [False] * 2
    assert positions[0, valid[0]].min(0).values.tolist() == [0.0, 0.0]
    assert positions[0, valid[0]].max(0).values.tolist() == [1.0, 1.0]
    assert positions[0, 0, 0].item() == pytest.approx(0.5)
    assert (positions[0, 4:] == -0.1).all().item()


def test_braindecode_trains_it_as_a_classifier() -> None:
    import mne
    from braindecode import EEGClassifier

    names = ["Fz", "Cz", "Pz", "C3", "C4", "Oz"]
    info = mne.create_info(names, 50.0, "eeg").set_montage("standard_1020")
    rng = np.random.default_rng(0)
    y = np.arange(48) % 2
    x = rng.standard_normal((48, 6, 50)).astype(np.float32)
    x[:, 1] += np.where(y, 1.0, -1.0)[:, None]
    torch.manual_seed(0)
    net = EEGClassifier(
        AlignerClassifier,
        module__chs_info=info["chs"],
        module__spatial_dropout=0.0,
        **{f"module__{k}": v for k, v in SMALL.items()},
        optimizer=torch.optim.Adam,
        lr=3e-3,
        max_epochs=8,
        batch_size=16,
        train_split=None,
        classes=[0, 1],
        verbose=0,
    )
    net.fit(x, y)
    assert net.module_.n_times == 50
    assert net.predict_proba(x).shape == (48, 2)
    assert (net.predict(x) == y).mean() > 0.8
