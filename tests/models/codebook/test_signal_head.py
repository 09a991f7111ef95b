"""The head from tokens to signal: layers multiplied with each other give what they give one after the other."""

from __future__ import annotations

import pytest
import torch

from neurodecode.models.codebook import signal_head
from neurodecode.models.codebook.signal_head import SignalHead, overlapped, worth_multiplying

LAYERS = [(11, 3, 1), (13, 3, 1), (7, 5, 5), (9, 9, 1), (6, 7, 4)]
PUBLISHED = [(128, 3, 1), (128, 3, 1), (128, 10, 10), (128, 9, 1), (16, 19, 10)]


def one_after_the_other(head: SignalHead, tokens: torch.Tensor, read_out=None) -> torch.Tensor:
    frames = tokens.unflatten(2, (head.frames, -1)).flatten(1, 2)
    signal = head.linear(head.convolutions(frames.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
    return signal if read_out is None else read_out[0] @ signal + read_out[1][:, None]


def some_read_out(n_out: int, n_in: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n_out, n_in).double(), torch.randn(n_out).double()


@pytest.mark.parametrize("count", [1, 2, 5, 6, 9])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "multiplied"])
@pytest.mark.parametrize("mapped", [False, True])
def test_signal_and_gradients_are_those_of_the_layers(monkeypatch, count: int, together: bool, mapped: bool) -> None:
    monkeypatch.setattr(signal_head, "worth_multiplying", lambda *_: together)
    torch.manual_seed(0)
    head = SignalHead(20, 6, LAYERS).double()
    tokens = torch.randn(3, count, 20).double().requires_grad_(True)
    read_out = some_read_out(5, 6) if mapped else None
    found, expected = head(tokens, read_out), one_after_the_other(head, tokens, read_out)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    parts = [tokens, *head.parameters()]
    for mine, theirs in zip(torch.autograd.grad(found, parts, weight), torch.autograd.grad(expected, parts, weight)):
        torch.testing.assert_close(mine, theirs)


def test_a_head_that_unfolds_tokens_gives_the_same() -> None:
    torch.manual_seed(0)
    head = SignalHead(20, 3, [(11, 3, 1), (13, 3, 1), (7, 7, 4)], frames=5).double()
    tokens = torch.randn(2, 4, 20).double()
    torch.testing.assert_close(head(tokens), one_after_the_other(head, tokens))


def test_kernels_are_multiplied_where_that_is_less_work_and_possible() -> None:
    layers = SignalHead(160, 16, PUBLISHED).convolutions[-3:]
    assert worth_multiplying(layers, 10, 32 * 30)
    assert not worth_multiplying(layers, 10, 30)
    # frames of a token that do not reach as far as the middle kernel, and a last kernel longer than a token
    assert not worth_multiplying(SignalHead(20, 6, [(7, 3, 3), (9, 9, 1), (6, 7, 4)]).convolutions, 6, 10**6)
    assert not worth_multiplying(SignalHead(20, 6, [(7, 5, 5), (9, 9, 1), (6, 21, 4)]).convolutions, 6, 10**6)


def test_the_published_head_multiplies_to_the_same_signal() -> None:
    torch.manual_seed(0)
    head, tokens = SignalHead(160, 16, PUBLISHED), torch.randn(10, 30, 160)
    assert worth_multiplying(head.convolutions[-3:], 16, 300)
    torch.testing.assert_close(head(tokens), one_after_the_other(head, tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(7, 4, 2), (4, 4, 0), (19, 10, 5), (21, 4, 9)])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_overlapped_is_a_transposed_convolution(kernel: int, stride: int, padding: int, count: int) -> None:
    y, weight = torch.randn(2, 3, count).double(), torch.randn(3, 5, kernel).double()
    whole = torch.nn.functional.conv_transpose1d(y, weight, stride=stride)
    expected = torch.nn.functional.pad(whole, (0, stride))[:, :, padding : padding + count * stride]
    torch.testing.assert_close(overlapped(y, weight, stride, padding), expected)
