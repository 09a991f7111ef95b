"""The objectives of tokenizer and masked encoder against plain recomputations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurodecode.objectives.codebook import TokenizerLoss
from neurodecode.objectives.masked import (
    MaskedCodeLoss,
    MaskedEmbeddingLoss,
    MaskedPatchLoss,
    code_accuracy,
    patches_of,
)

B, C, T = 3, 4, 7


def signals() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, B, C, T, generator=generator)
    return x, y, torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]])


class TestTokenizerLoss:
    def test_averages_over_channels_that_are_there(self) -> None:
        x, y, present = signals()
        found = TokenizerLoss(reconstruction=2.0, quantizer=3.0)(x, y, torch.tensor(0.5), present)
        errors = [((x[b, c] - y[b, c]).double() ** 2).mean() for b in range(B) for c in range(C) if present[b, c]]
        assert found.reconstruction.item() == pytest.approx(np.mean(errors), rel=1e-6)
        assert found.quantizer.item() == 0.5
        assert found.total.item() == pytest.approx(2 * np.mean(errors) + 1.5, rel=1e-6)

    def test_sums_over_a_window_as_the_paper_writes_it(self) -> None:
        x, y, present = signals()
        found = TokenizerLoss("paper")(x, y, torch.tensor(0.5), present, token_numbers=40 * 64)
        windows = [((x[b] - y[b]).double()[present[b]] ** 2).sum() for b in range(B)]
        assert found.reconstruction.item() == pytest.approx(np.mean(windows), rel=1e-6)
        assert found.total.item() == pytest.approx(np.mean(windows) + 0.5 * 40 * 64, rel=1e-6)
        with pytest.raises(ValueError, match="needs token_numbers"):
            TokenizerLoss("paper")(x, y, torch.tensor(0.5))

    @pytest.mark.parametrize("sums", ["released", "paper"])
    def test_channels_that_are_not_there_do_not_count_whatever_they_hold(self, sums: str) -> None:
        x, y, present = signals()
        loss = TokenizerLoss(sums)
        expected = loss(x, y, torch.tensor(0.5), present, token_numbers=10)
        y[~present] = torch.nan
        x.requires_grad_(True)
        found = loss(x, y, torch.tensor(0.5), present, token_numbers=10)
        assert found.total.item() == expected.total.item()
        found.total.backward()
        assert (x.grad[~present] == 0).all()
        assert (x.grad[present] != 0).all()

    def test_a_silent_reconstruction_of_scaled_signals_costs_one(self) -> None:
        y = torch.randn(20, 4, 5000, generator=torch.Generator().manual_seed(0))
        assert TokenizerLoss()(torch.zeros_like(y), y, torch.tensor(0.0)).total.item() == pytest.approx(1, abs=0.01)

    def test_is_computed_in_float32(self) -> None:
        x, y, _ = signals()
        half = TokenizerLoss()(x.bfloat16(), y, torch.tensor(0.0)).total
        assert half.dtype == torch.float32
        assert half.item() == TokenizerLoss()(x.bfloat16().float(), y, torch.tensor(0.0)).total.item()

    def test_wrong_shapes_are_refused(self) -> None:
        x, y, present = signals()
        with pytest.raises(ValueError, match="differ in shape"):
            TokenizerLoss()(x, y[:, :1], torch.tensor(0.0))
        with pytest.raises(ValueError, match=r"present must be \(3, 4\)"):
            TokenizerLoss()(x, y, torch.tensor(0.0), present[:1])


class TestMaskedCodeLoss:
    def test_is_the_mean_over_hidden_tokens(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 5, 3, 6, generator=generator)
        codes = torch.randint(0, 6, (2, 5, 3), generator=generator)
        hidden = torch.tensor([[True, False, True, True, False], [False, True, False, False, False]])
        losses = []
        for b, n in hidden.nonzero().tolist():
            for g in range(3):
                row = logits[b, n, g].double().numpy()
                losses.append(np.log(np.exp(row).sum()) - row[codes[b, n, g]])
        assert MaskedCodeLoss()(logits, codes, hidden).item() == pytest.approx(np.mean(losses), rel=1e-6)

    def test_equals_the_papers_two_sums_with_the_mirror(self) -> None:
        logits, codes = torch.randn(2, 6, 1, 9), torch.randint(0, 9, (2, 6, 1))
        mask = torch.rand(2, 6) > 0.5
        mask[0, :2] = torch.tensor([True, False])
        halves = [MaskedCodeLoss()(logits, codes, half) * half.sum() for half in (mask, ~mask)]
        assert MaskedCodeLoss()(logits, codes).item() == pytest.approx((sum(halves) / 12).item(), rel=1e-5)

    def test_knowing_nothing_costs_log_k(self) -> None:
        codes = torch.randint(0, 2048, (2, 40, 1))
        assert MaskedCodeLoss()(torch.zeros(2, 40, 1, 2048), codes).item() == pytest.approx(math.log(2048), rel=1e-6)

    def test_smoothing_never_rewards_certainty_fully(self) -> None:
        codes = torch.randint(0, 9, (2, 4, 1))
        certain = 100 * torch.nn.functional.one_hot(codes, 9).float()
        assert MaskedCodeLoss()(certain, codes).item() == 0.0
        assert MaskedCodeLoss(0.1)(certain, codes).item() > 1.0

    def test_nothing_hidden_and_wrong_shapes_are_refused(self) -> None:
        logits, codes = torch.randn(2, 4, 1, 9), torch.randint(0, 9, (2, 4, 1))
        with pytest.raises(ValueError, match="no token was hidden"):
            MaskedCodeLoss()(logits, codes, torch.zeros(2, 4, dtype=torch.bool))
        with pytest.raises(ValueError, match="with one more axis"):
            MaskedCodeLoss()(logits, codes[..., 0])


def test_accuracy_counts_hidden_tokens_only() -> None:
    codes = torch.tensor([[[1], [0], [1], [1]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[1], [1], [1], [0]]]), 3).float()
    assert code_accuracy(logits, codes).item() == pytest.approx(0.5)
    assert code_accuracy(logits, codes, torch.tensor([[True, False, True, False]])).item() == 1.0


class TestOtherTargets:
    HIDDEN = torch.tensor([[True, False, True], [False, True, False]])

    def test_embeddings_are_compared_by_angle_alone_where_hidden(self) -> None:
        generator = torch.Generator().manual_seed(0)
        answer, rows = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
        a, r = answer.double().numpy(), rows.double().numpy()
        cosines = [
            a[b, n] @ r[b, n] / np.linalg.norm(a[b, n]) / np.linalg.norm(r[b, n]) for b, n in self.HIDDEN.nonzero()
        ]
        assert MaskedEmbeddingLoss()(answer, rows, self.HIDDEN).item() == pytest.approx(1 - np.mean(cosines), rel=1e-5)
        assert MaskedEmbeddingLoss()(7 * rows, rows).item() == pytest.approx(0, abs=1e-6)
        assert MaskedEmbeddingLoss()(-rows, rows).item() == pytest.approx(2, abs=1e-6)
        assert MaskedEmbeddingLoss()(answer.bfloat16(), rows).dtype == torch.float32

    def test_patches_are_judged_where_hidden_and_where_there_is_a_channel(self) -> None:
        generator = torch.Generator().manual_seed(0)
        answer, signal = torch.randn(2, 3, 2, 5, generator=generator), torch.randn(2, 2, 15, generator=generator)
        patches = patches_of(signal, 5)
        assert torch.equal(patches[1, 2, 0], signal[1, 0, 10:15])
        present = torch.tensor([[True, True], [True, False]])
        answer[1, :, 1] = float("nan")  # a channel that is not there
        answer.requires_grad_(True)
        squares = [
            ((answer[b, n, c] - signal[b, c, 5 * n : 5 * n + 5]) ** 2).mean().item()
            for b, n in self.HIDDEN.nonzero().tolist()
            for c in range(2)
            if present[b, c]
        ]
        loss = MaskedPatchLoss()(answer, patches, self.HIDDEN, present)
        assert loss.item() == pytest.approx(np.mean(squares), rel=1e-5)
        loss.backward()
        assert answer.grad.isfinite().all()
        assert (answer.grad[~self.HIDDEN] == 0).all()

    def test_nothing_hidden_and_wrong_shapes_are_refused(self) -> None:
        rows, patches = torch.randn(2, 3, 4), torch.randn(2, 3, 2, 5)
        for loss, target in ((MaskedEmbeddingLoss(), rows), (MaskedPatchLoss(), patches)):
            with pytest.raises(ValueError, match="no token was hidden"):
                loss(target, target, torch.zeros(2, 3, dtype=torch.bool))
            with pytest.raises(ValueError, match="differ in shape"):
                loss(target, target[:, :1])
