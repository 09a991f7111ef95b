"""The transformer of the masked encoder: start, time code, and scores that would overflow an unguarded softmax."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neurodecode.models.build import count_parameters
from neurodecode.models.layers.transformer import TransformerBlock, TransformerStack, time_code


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
