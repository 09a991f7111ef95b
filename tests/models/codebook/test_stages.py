"""What holds for every stage: gradients, bfloat16, state dict, compilation, targets."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import random_mask
from tests.models.codebook.networks import STILL, B, N, T, classifier, masked, some_input, tokenizer
from tests.models.codebook.plain import SMALL


class TestEveryStage:
    @pytest.mark.parametrize("front", ["mix", "own"])
    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_trains_every_parameter_also_in_bfloat16(self, front: str, stage) -> None:
        for half in (False, True):
            model = stage(front=front).train()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                out = model(*some_input())
            parts = [out] if isinstance(out, torch.Tensor) else [p for p in out if p.is_floating_point()]
            loss = sum((p.float() * torch.randn(p.shape)).sum() for p in parts)
            loss.backward()
            without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
            # batch norm takes away what a bias before it adds
            assert [n for n in without if not (".convolutions." in n and n.endswith("bias"))] == []
            assert all(p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_comes_back_from_its_state_dict(self, stage) -> None:
        model, other = stage().eval(), stage(seed=9).eval()
        other(*some_input())
        other.load_state_dict(model.state_dict())
        arguments = (*some_input(), random_mask(B, N)) if stage is masked else some_input()
        with torch.no_grad():
            one, two = model(*arguments), other(*arguments)
        pairs = [(one, two)] if isinstance(one, torch.Tensor) else list(zip(one, two))
        assert all(torch.equal(a, b) for a, b in pairs)

    @pytest.mark.slow
    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_compiles(self, stage) -> None:
        model = stage(**STILL).eval()
        compiled = torch.compile(model, backend="aot_eager")
        arguments = (*some_input(), random_mask(B, N)) if stage is masked else some_input()
        with torch.no_grad():
            one, two = compiled(*arguments), model(*arguments)
        if not isinstance(one, torch.Tensor):
            one, two = one[0], two[0]
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
        model.train()
        out = compiled(*arguments)
        (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()

    def test_targets_come_from_evaluation_mode_only(self) -> None:
        model = tokenizer()
        with pytest.raises(RuntimeError, match="evaluation mode only"):
            model.codes(*some_input())
        x, subject = some_input()
        codes = model.eval().codes(x, subject)
        assert torch.equal(codes, model(x, subject).codes)
        torch.testing.assert_close(model.decode(codes, subject), model(x, subject).reconstruction)


def test_a_sigmoid_before_cross_entropy_has_a_floor_and_logits_have_none() -> None:
    target = torch.tensor([3])
    perfect = torch.full((1, 61), -100.0)
    perfect[0, 3] = 100.0
    assert functional.cross_entropy(perfect, target).item() == pytest.approx(0.0)
    assert functional.cross_entropy(perfect.sigmoid(), target).item() == pytest.approx(math.log(1 + 60 / math.e))
    model = classifier()
    with torch.no_grad():
        model.head[-1].weight.mul_(1e4)
        out = model(*some_input())
    assert out.abs().max() > 1
    assert CodebookClassifier(3, 8, T, **SMALL).head[-1].__class__ is torch.nn.Linear
