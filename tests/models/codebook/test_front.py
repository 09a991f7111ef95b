"""The front folded into one strided convolution, and the subject read-in and read-out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.codebook.front import MixedFront, OwnFront, PatchConvolution
from neurodecode.models.codebook.read_in import SubjectReadIn, SubjectReadOut
from tests.models.codebook import plain

SHAPE = {"patch": 20, "filters": (11, 13, 4), "kernels": (7, 3, 3), "strides": (5, 1, 1)}
CHANNELS = (3, 5)


def front(kind: str) -> MixedFront | OwnFront:
    torch.manual_seed(0)
    made = MixedFront(CHANNELS, 6, **SHAPE) if kind == "mix" else OwnFront(CHANNELS, **SHAPE)
    plain.shaken(made)
    return made


@pytest.mark.parametrize("kind", ["mix", "own"])
class TestTheFold:
    def test_is_one_strided_convolution_a_subject(self, kind: str) -> None:
        model = front(kind)
        x = torch.randn(4, 5, 60, dtype=torch.float64)
        for s, count in enumerate(CHANNELS):
            expected = model(x, torch.full((4,), s))  # gradients are on: step by step
            assert expected.requires_grad
            weight, bias = model.fold(s)
            assert weight.shape == (16, count, 20)
            found = functional.conv1d(x[:, :count], weight, bias, stride=20).transpose(1, 2)
            torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)

    def test_is_what_evaluation_without_gradients_computes(self, kind: str, monkeypatch) -> None:
        model = front(kind)
        x, subject = torch.randn(4, 5, 60, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
        expected = model(x, subject).detach()
        with torch.no_grad():
            model(x, subject)
            monkeypatch.setattr(PatchConvolution, "layers", lambda self: pytest.fail("went step by step"))
            torch.testing.assert_close(model(x, subject), expected, atol=1e-10, rtol=1e-10)

    def test_follows_weights_and_averages(self, kind: str) -> None:
        model = front(kind)
        x, subject = torch.randn(4, 5, 60, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
        patches = [m for m in model.modules() if isinstance(m, PatchConvolution)]
        with torch.no_grad():
            model(x, subject)
            for change in (
                lambda p: p.convolutions[1].weight.mul_(1.5),
                lambda p: p.norms[0].running_var.mul_(2.0),
                lambda p: p.norms[2].running_mean.add_(1.0),
            ):
                for part in patches:
                    change(part)
                folded = model(x, subject)
                with torch.enable_grad():
                    torch.testing.assert_close(folded, model(x, subject).detach(), atol=1e-10, rtol=1e-10)
            for part in patches:
                part.norms[1].weight.data.mul_(3.0)  # unseen by torch's counters of changes
            model.train()
            model.eval()
            folded = model(x, subject)
        torch.testing.assert_close(folded, model(x, subject).detach(), atol=1e-10, rtol=1e-10)

    def test_is_refused_in_training_mode(self, kind: str) -> None:
        with pytest.raises(RuntimeError, match="evaluation mode only"):
            front(kind).train().fold()


def test_one_subject_with_few_channels_is_folded_as_a_whole() -> None:
    torch.manual_seed(0)
    model = plain.shaken(MixedFront((4,), 6, **SHAPE))
    x = torch.randn(2, 4, 40, dtype=torch.float64)
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected.detach(), atol=1e-10, rtol=1e-10)


def test_the_published_front_folds_in_float32() -> None:
    torch.manual_seed(0)
    encoder = SignalEncoder(10)
    x = torch.randn(8, 10, 3000)
    encoder.front(x)  # batch norm learns
    encoder.eval()
    expected = encoder.front(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(encoder.front(x), expected, atol=2e-5, rtol=1e-4)
    weight, bias = encoder.front.fold()
    assert weight.shape == (160, 10, 100)
    assert bias.shape == (160,)


def test_folding_works_in_inference_mode() -> None:
    with torch.inference_mode():
        torch.manual_seed(0)
        model = MixedFront(CHANNELS, 6, **SHAPE).eval()
        x, subject = torch.randn(2, 5, 40), torch.tensor([0, 1])
        first = model(x, subject)
        model.patches.convolutions[0].weight.mul_(3.0)
        assert not torch.allclose(model(x, subject), first)


class TestReadIn:
    def test_multiplies_each_window_by_its_subjects_matrix(self) -> None:
        torch.manual_seed(0)
        model = plain.shaken(SubjectReadIn((2, 4, 3), 5))
        x, subject = torch.randn(3, 4, 7, dtype=torch.float64), torch.tensor([2, 0, 1])
        found = model(x, subject)
        start = {0: 0, 1: 2, 2: 6}
        for b, s in enumerate(subject.tolist()):
            count = (2, 4, 3)[s]
            matrix = model.weight[start[s] : start[s] + count]
            torch.testing.assert_close(model.of(s), matrix)
            expected = torch.einsum("ct,cw->wt", x[b, :count], matrix) + model.bias[s][:, None]
            torch.testing.assert_close(found[b], expected)

    def test_read_out_writes_own_channels_only(self) -> None:
        torch.manual_seed(0)
        model = plain.shaken(SubjectReadOut((2, 4), 5))
        y, subject = torch.randn(2, 5, 7, dtype=torch.float64), torch.tensor([1, 0])
        found = model(y, subject)
        torch.testing.assert_close(found[0], model.weight[2:] @ y[0] + model.bias[2:, None])
        torch.testing.assert_close(found[1, :2], model.weight[:2] @ y[1] + model.bias[:2, None])
        assert (found[1, 2:] == 0).all()

    def test_channel_weights_are_each_subjects_own(self) -> None:
        # two subjects whose weight sits on channel 0 and on channel 2: the released read-out mixes them up
        model = SubjectReadIn((3, 3), 4)
        with torch.no_grad():
            model.weight.zero_()
            model.weight[0] = 0.5
            model.weight[3 + 2] = torch.tensor([-2.0, 2.0, 1.0, 1.0])
            model.weight[3 + 1, 0] = 3.0
        assert model.channel_weights(0).tolist() == [1.0, 0.0, 0.0]
        assert model.channel_weights(1).tolist() == [0.0, 0.5, 1.0]

    def test_starts_small_and_without_bias(self) -> None:
        torch.manual_seed(0)
        model = SubjectReadIn((200,), 50)
        assert model.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not model.bias.any()

    def test_subjects_without_channels_are_refused(self) -> None:
        with pytest.raises(ValueError, match="needs a channel or more"):
            SubjectReadIn((3, 0), 4)


class TestPatches:
    def test_know_nothing_of_their_neighbours(self) -> None:
        torch.manual_seed(0)
        model = plain.shaken(PatchConvolution(3, **SHAPE))
        x = torch.randn(1, 3, 60, dtype=torch.float64)
        before = model(x)
        x[:, :, 20:40] += 1.0
        changed = (model(x) - before).abs().amax((0, 2)) > 1e-9
        assert changed.tolist() == [False, True, False]

    def test_shapes_that_would_move_time_are_refused(self) -> None:
        with pytest.raises(ValueError, match="even one would move time"):
            PatchConvolution(3, **{**SHAPE, "kernels": (6, 3, 3)})
        with pytest.raises(ValueError, match="do not divide a patch"):
            PatchConvolution(3, **{**SHAPE, "strides": (3, 1, 1)})


def test_batch_norm_of_own_fronts_never_mixes_subjects() -> None:
    torch.manual_seed(0)
    model = OwnFront((5, 5), **SHAPE).train()
    x = torch.randn(4, 5, 60)
    x[2:] = 100 * x[2:] + 50
    model(x, torch.tensor([0, 0, 1, 1]))
    reference = PatchConvolution(5, **SHAPE).train()
    reference.load_state_dict({k: v.clone() for k, v in model.patches[0].state_dict().items()})
    for norm in reference.norms:
        norm.reset_running_stats()
    reference(x[:2])
    for mine, theirs in zip(model.patches[0].norms, reference.norms):
        torch.testing.assert_close(mine.running_mean, theirs.running_mean)
        torch.testing.assert_close(mine.running_var, theirs.running_var)
    untouched = model.patches[0].norms[0].running_mean.clone()
    model(x[2:], torch.tensor([1, 1]))
    assert torch.equal(model.patches[0].norms[0].running_mean, untouched)
