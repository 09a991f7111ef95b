"""The transformer of the masked encoder: start, time code, and scores that would overflow an unguarded softmax."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neurodecode.models.build import count_parameters
from neurodecode.models.layers import transformer
from neurodecode.models.layers.transformer import Dropout, TransformerBlock, TransformerStack, dropped, time_code


def test_a_published_block_has_the_published_number_of_parameters() -> None:
    assert count_parameters(TransformerStack(8, 160)) == 8 * 433_152
    assert len(TransformerStack(1, 160).state_dict()) == 16  # the time code is not stored


def test_later_blocks_start_smaller() -> None:
    torch.manual_seed(0)
    stack = TransformerStack(3, 160)
    for number, block in enumerate(stack.blocks, start=1):
        for module in block.modules():
            if isinstance(module, nn.Linear):
                # a normal of deviation 0.02 is cut at +-2, far outside, so its deviation stays
                assert module.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * number), rel=0.02)
                assert not module.bias.any()


def test_the_time_code_is_the_stated_one_at_any_length() -> None:
    code = time_code(50, 160)
    for place, column in [(0, 0), (0, 1), (7, 0), (7, 31), (49, 158), (49, 159)]:
        angle = place / 10_000 ** ((column - column % 2) / 160)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert code[place, column].item() == pytest.approx(expected, abs=1e-6)
    stack = TransformerStack(0, 8)
    for length in (3, 64, 200, 5):
        torch.testing.assert_close(stack(torch.zeros(1, length, 8))[0], time_code(length, 8))


def test_huge_scores_do_not_overflow() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=2, head_width=4, feed_forward=8, attention_dropout=0.0, dropout=0.0)
    with torch.no_grad():
        block.norm_query.weight.fill_(100.0)
        block.norm_key.weight.fill_(100.0)
    x = torch.randn(2, 5, 8)
    query, key = (block.qkv(x)[:, :, 8 * i : 8 * i + 8].unflatten(2, (2, 4)) for i in range(2))
    scores = torch.einsum("bnhd,bmhd->bhnm", block.norm_query(query), block.norm_key(key)) / 2
    assert scores.max() > 89  # exp overflows in float32
    out = block(x)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())


def test_tokens_attend_within_their_own_window() -> None:
    stack = TransformerStack(2, 8, heads=2, head_width=4).eval()
    x = torch.randn(3, 5, 8)
    for b in range(3):
        torch.testing.assert_close(stack(x[b : b + 1])[0], stack(x)[b])


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    stack = TransformerStack(1, 8, heads=2, head_width=4)
    x = torch.randn(3, 5, 8)
    assert not torch.equal(stack(x), stack(x))
    stack.eval()
    assert torch.equal(stack(x), stack(x))
    attention_only = TransformerStack(1, 8, heads=2, head_width=4, dropout=0.0)
    assert not torch.equal(attention_only(x), attention_only(x))


class TestDropout:
    @pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
    def test_drops_its_share_and_keeps_the_mean(self, p: float) -> None:
        torch.manual_seed(0)
        out = dropped(torch.ones(500_003), p)
        assert (out == 0).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / 500_000) ** 0.5)
        assert out.max().item() == pytest.approx(1 / (1 - p), rel=2e-4)
        assert out.unique().numel() == 2

    def test_values_that_share_a_random_number_are_dropped_independently(self) -> None:
        torch.manual_seed(0)
        kept = (dropped(torch.ones(400_000), 0.5) > 0).float().view(-1, 4)
        apart = torch.corrcoef(kept.T) - torch.eye(4)
        assert apart.abs().max() < 0.02

    def test_gradients_pass_where_values_do(self) -> None:
        x = torch.randn(4, 7, requires_grad=True)
        out = dropped(x, 0.3)
        out.sum().backward()
        torch.testing.assert_close(out, x.detach() * x.grad)

    def test_repeats_with_the_seed_and_leaves_evaluation_alone(self) -> None:
        x = torch.randn(5, 6)
        torch.manual_seed(3)
        first = dropped(x, 0.4)
        torch.manual_seed(3)
        assert torch.equal(dropped(x, 0.4), first)
        assert torch.equal(Dropout(0.4).eval()(x), x)
        assert torch.equal(dropped(x, 0.0), x)


def test_attention_of_training_is_that_of_evaluation_but_for_dropout(monkeypatch) -> None:
    torch.manual_seed(0)
    block = TransformerBlock(12, heads=3, head_width=5, feed_forward=8, attention_dropout=0.3, dropout=0.0).double()
    for p in block.parameters():
        p.data.add_(0.3 * torch.randn(p.shape))
    tokens = torch.randn(2, 7, 12).double()
    dropping = block.train().attend(tokens)
    monkeypatch.setattr(transformer, "dropped", lambda x, p: x)
    torch.testing.assert_close(block.attend(tokens), block.eval().attend(tokens))
    assert (dropping - block.attend(tokens)).abs().max() > 1e-3
