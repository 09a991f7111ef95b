"""The objectives against an independent recomputation in float64, and what they must not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from neurodecode.objectives.clip import ClipLoss, clip_scores, top_k_share
from neurodecode.objectives.regression import RegressionLoss


def plain_scores(estimate: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Section 5, one pair at a time, float64."""
    scores = np.zeros((len(estimate), len(candidate)))
    for i, z in enumerate(estimate.astype(np.float64)):
        for j, y in enumerate(candidate.astype(np.float64)):
            scores[i, j] = (z * y).sum() / (1e-8 + np.sqrt((y * y).sum()))
    return scores


def plain_loss_and_gradient(estimate: np.ndarray, candidate: np.ndarray, keep: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and its gradient for the estimates, by the formulas; `keep` [B, N] tells which candidates count."""
    scores = np.where(keep, plain_scores(estimate, candidate), -np.inf)
    log_p = scores - logsumexp(scores, axis=1, keepdims=True)
    b = len(estimate)
    loss = -log_p[np.arange(b), np.arange(b)].mean()
    slope = np.exp(log_p)
    slope[np.arange(b), np.arange(b)] -= 1
    y = candidate.reshape(len(candidate), -1).astype(np.float64)
    y /= 1e-8 + np.linalg.norm(y, axis=1, keepdims=True)
    return float(loss), (slope / b @ y).reshape(estimate.shape)


@settings(max_examples=25, deadline=None)
@given(b=st.integers(1, 6), extra=st.integers(0, 4), seed=st.integers(0, 999), masked=st.booleans())
def test_scores_loss_and_gradients_agree_with_a_plain_recomputation(b, extra, seed, masked) -> None:
    rng = np.random.default_rng(seed)
    estimate = rng.standard_normal((b, 5, 11)).astype(np.float32)
    candidate = rng.standard_normal((b + extra, 5, 11)).astype(np.float32)
    identity = rng.integers(0, 3, b + extra)
    keep = np.ones((b, b + extra), bool)
    if masked:
        keep = identity[:b, None] != identity[None]
        keep[np.arange(b), np.arange(b)] = True
    expected, expected_gradient = plain_loss_and_gradient(estimate, candidate, keep)
    z = torch.from_numpy(estimate).requires_grad_(True)
    y, ids = torch.from_numpy(candidate), torch.from_numpy(identity)
    np.testing.assert_allclose(clip_scores(z, y).detach(), plain_scores(estimate, candidate), atol=1e-5, rtol=1e-6)
    loss = ClipLoss(mask_duplicates=masked)(z, y, ids[:b], ids)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert z.grad is not None
    np.testing.assert_allclose(z.grad, expected_gradient, atol=1e-6, rtol=1e-5)


def test_the_gradient_for_candidates_agrees_with_finite_differences() -> None:
    torch.manual_seed(0)
    z = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ClipLoss(), (z, y))


def test_only_the_candidate_is_normalised() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(4, 3, 6), torch.randn(4, 3, 6)
    torch.testing.assert_close(clip_scores(3 * z, y), 3 * clip_scores(z, y))
    torch.testing.assert_close(clip_scores(z, 3 * y), clip_scores(z, y))


def test_a_silent_candidate_scores_zero_not_nan() -> None:
    assert clip_scores(torch.randn(2, 3, 4), torch.zeros(1, 3, 4)).tolist() == [[0.0], [0.0]]


def test_knowing_nothing_costs_log_n() -> None:
    loss = ClipLoss()(torch.zeros(4, 2, 3), torch.randn(9, 2, 3))
    assert loss.item() == pytest.approx(np.log(9), abs=1e-6)


def test_parts_of_a_batch_give_the_loss_of_the_whole() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(6, 3, 4), torch.randn(6, 3, 4)
    whole = ClipLoss()(z, y)
    parts = [ClipLoss()(z[i : i + 2], y, offset=i) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_masked_copies_are_not_negatives_and_unmasked_ones_are() -> None:
    y = torch.randn(1, 3, 4).repeat(2, 1, 1)
    identity = torch.tensor([5, 5])
    assert ClipLoss(mask_duplicates=True)(100 * y, y, identity).item() == 0.0
    assert ClipLoss()(100 * y, y, identity).item() == pytest.approx(np.log(2), abs=1e-4)


def test_scores_stay_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(3, 8, 50), torch.randn(3, 8, 50)
    with torch.autocast("cpu", torch.bfloat16):
        scores = clip_scores(z, y)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, clip_scores(z, y))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="share F and T"):
        clip_scores(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match="need 5 candidates, got 3"):
        ClipLoss()(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2), offset=2)
    with pytest.raises(ValueError, match="differ in shape"):
        RegressionLoss()(torch.zeros(2, 3, 4), torch.zeros(2, 1, 4))


def test_a_constant_predictor_has_no_share_beyond_its_middle_rank() -> None:
    right = torch.arange(30)
    assert top_k_share(torch.zeros(30, 30), right).item() == 0.0  # every rank is 15.5
    assert top_k_share(torch.eye(30), right, k=1).item() == 1.0
    ranks = torch.arange(30.0).expand(30, 30)  # column j has rank 30 - j
    assert top_k_share(ranks, right).item() == pytest.approx(10 / 30)


def test_regression_is_the_mean_square() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((2, 3, 4, 5))
    assert RegressionLoss()(torch.tensor(z), torch.tensor(y)).item() == pytest.approx(((z - y) ** 2).mean(), rel=1e-6)
