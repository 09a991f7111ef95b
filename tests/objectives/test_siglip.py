"""The pairwise sigmoid objective and the soft contrastive one against plain float64 recomputations, and end to end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodecode.config import EvaluationSettings, ObjectiveSettings, TrainSettings, load_settings
from neurodecode.errors import SettingsError
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder, by_correlation
from neurodecode.files import write_json
from neurodecode.models.build import build_model, count_parameters
from neurodecode.objectives.clip import ClipLoss, clip_scores
from neurodecode.objectives.siglip import SigLipHead, contrastive_scores, siglip_loss, with_siglip
from neurodecode.training.fit import train_fold
from neurodecode.training.load import load_fold
from neurodecode.training.run_folder import SCHEMA, write_layouts
from neurodecode.training.task import AlignerTask
from tests.training.toy import C, F, S, T, toy_data, toy_settings


def plain_siglip(
    estimate: np.ndarray, candidate: np.ndarray, together: np.ndarray, log_scale: float, bias: float
) -> tuple[float, np.ndarray, float, float]:
    """Loss, and its gradients for estimates, log scale and bias, by the formulas in float64, one pair at a time."""
    loss, for_scale, for_bias = 0.0, 0.0, 0.0
    for_estimate = np.zeros(estimate.shape, np.float64)
    b = len(estimate)
    for i, z in enumerate(estimate.astype(np.float64)):
        for j, y in enumerate(candidate.astype(np.float64)):
            length = np.sqrt((z * z).sum())
            direction = y / np.sqrt((y * y).sum())
            cosine = (z * direction).sum() / length
            sign = 1.0 if together[i, j] else -1.0
            logit = np.exp(log_scale) * cosine + bias
            loss += np.log1p(np.exp(-sign * logit)) / b
            slope = -sign / (1 + np.exp(sign * logit)) / b
            for_bias += slope
            for_scale += slope * np.exp(log_scale) * cosine
            for_estimate[i] += slope * np.exp(log_scale) * (direction - cosine * z / length) / length
    return loss, for_estimate, for_scale, for_bias


@settings(max_examples=25, deadline=None)
@given(b=st.integers(1, 6), extra=st.integers(0, 4), seed=st.integers(0, 999), aware=st.booleans())
def test_loss_and_gradients_agree_with_a_plain_recomputation(b: int, extra: int, seed: int, aware: bool) -> None:
    rng = np.random.default_rng(seed)
    estimate = rng.standard_normal((b, 5, 11)).astype(np.float32)
    candidate = rng.standard_normal((b + extra, 5, 11)).astype(np.float32)
    identity = rng.integers(0, 3, b + extra)
    together = identity[:b, None] == identity[None] if aware else np.eye(b, b + extra, dtype=bool)
    head = SigLipHead(scale=rng.uniform(1, 12), bias=rng.uniform(-6, 1))
    expected = plain_siglip(estimate, candidate, together, head.log_scale.item(), head.bias.item())
    z, ids = torch.from_numpy(estimate).requires_grad_(True), torch.from_numpy(identity)
    given_ids = (ids[:b], ids) if aware else (None, None)
    loss = siglip_loss(head(z, torch.from_numpy(candidate)), *given_ids)
    loss.backward()
    assert z.grad is not None
    assert head.log_scale.grad is not None
    assert head.bias.grad is not None
    assert loss.item() == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(z.grad, expected[1], atol=1e-5, rtol=1e-4)
    assert head.log_scale.grad.item() == pytest.approx(expected[2], rel=1e-4, abs=1e-5)
    assert head.bias.grad.item() == pytest.approx(expected[3], rel=1e-4, abs=1e-6)


def test_the_gradients_for_both_sides_and_both_numbers_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    z = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    head = SigLipHead(3.0, -1.0).double()
    ids = torch.tensor([0, 1, 0, 2, 1])

    def loss(z: torch.Tensor, y: torch.Tensor, *numbers: torch.Tensor) -> torch.Tensor:
        named = dict(zip(("log_scale", "bias"), numbers))
        return siglip_loss(torch.func.functional_call(head, named, (z, y)), ids[:3], ids)

    assert torch.autograd.gradcheck(loss, (z, y, head.log_scale, head.bias))


def test_copies_belong_together_and_are_wrong_answers_only_without_identities() -> None:
    y = torch.randn(1, 3, 4).repeat(2, 1, 1)
    logits = SigLipHead(20.0, -10.0)(y, y)  # all four pairs: logit 10
    assert siglip_loss(logits, torch.tensor([5, 5])).item() == pytest.approx(2 * math.log1p(math.exp(-10)), rel=1e-3)
    assert siglip_loss(logits).item() == pytest.approx(10, abs=1e-3)


def test_logits_of_zero_cost_n_log_two() -> None:
    assert siglip_loss(torch.zeros(4, 9)).item() == pytest.approx(9 * math.log(2), rel=1e-6)


def test_parts_of_a_batch_give_the_loss_of_the_whole() -> None:
    torch.manual_seed(0)
    z, y, head = torch.randn(6, 3, 4), torch.randn(6, 3, 4), SigLipHead()
    ids = torch.tensor([0, 1, 0, 2, 3, 1])
    whole = siglip_loss(head(z, y), ids)
    parts = [siglip_loss(head(z[i : i + 2], y), ids[i : i + 2], ids, offset=i) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    with pytest.raises(ValueError, match="need 7 candidates, got 6"):
        siglip_loss(head(z, y), ids, offset=1)


def test_neither_norm_matters_and_the_order_is_that_of_the_contrastive_scores() -> None:
    torch.manual_seed(0)
    z, y, head = torch.randn(4, 3, 6), torch.randn(7, 3, 6), SigLipHead()
    torch.testing.assert_close(head(3 * z, 5 * y), head(z, y))
    assert torch.equal(head(z, y).argsort(1), clip_scores(z, y).argsort(1))


def test_logits_stay_in_float32_under_autocast_and_silence_is_not_nan() -> None:
    torch.manual_seed(0)
    z, y, head = torch.randn(3, 8, 50), torch.randn(3, 8, 50), SigLipHead()
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(z.bfloat16(), y)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, head(z.bfloat16().float(), y))
    silent = torch.zeros(1, 8, 50, requires_grad=True)
    loss = siglip_loss(head(silent, y))
    loss.backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    assert head(silent, y).tolist() == [[-10.0] * 3]


# the contrastive loss with a target that is spread


def plain_soft_clip(
    estimate: np.ndarray, candidate: np.ndarray, identity: np.ndarray, how: str, smoothing: float
) -> tuple[float, np.ndarray]:
    """Loss and its gradient for the estimates, float64; `how` says what becomes of copies."""
    b, n = len(estimate), len(candidate)
    y = candidate.reshape(n, -1).astype(np.float64)
    y /= 1e-8 + np.linalg.norm(y, axis=1, keepdims=True)
    loss, slope = 0.0, np.zeros((b, n))
    for i in range(b):
        same = np.flatnonzero(identity == identity[i])
        counted = [j for j in range(n) if how != "mask" or j == i or j not in same]
        right = same if how == "share" else [i]
        target = np.zeros(n)
        target[right] += (1 - smoothing) / len(right)
        target[counted] += smoothing / len(counted)
        scores = y[counted] @ estimate[i].reshape(-1).astype(np.float64)
        p = np.exp(scores - scores.max())
        p /= p.sum()
        loss -= (target[counted] * np.log(p)).sum() / b
        slope[i, counted] = (p - target[counted]) / b
    return loss, (slope @ y).reshape(estimate.shape)


@settings(max_examples=40, deadline=None)
@given(
    b=st.integers(2, 6),
    extra=st.integers(0, 4),
    seed=st.integers(0, 999),
    how=st.sampled_from(["negative", "mask", "share"]),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_shared_targets_and_smoothing_agree_with_a_plain_recomputation(
    b: int, extra: int, seed: int, how: str, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    estimate = rng.standard_normal((b, 5, 11)).astype(np.float32)
    candidate = rng.standard_normal((b + extra, 5, 11)).astype(np.float32)
    identity = rng.integers(0, 4, b + extra)
    expected, expected_gradient = plain_soft_clip(estimate, candidate, identity, how, smoothing)
    z, ids = torch.from_numpy(estimate).requires_grad_(True), torch.from_numpy(identity)
    loss = ClipLoss(how == "mask", how == "share", smoothing)(z, torch.from_numpy(candidate), ids[:b], ids)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=2e-5)
    assert z.grad is not None
    np.testing.assert_allclose(z.grad, expected_gradient, atol=1e-6, rtol=1e-4)


def test_smoothing_is_that_of_torch_and_none_changes_nothing() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(4, 3, 6), torch.randn(7, 3, 6)
    expected = functional.cross_entropy(clip_scores(z, y), torch.arange(4), label_smoothing=0.2)
    torch.testing.assert_close(ClipLoss(label_smoothing=0.2)(z, y), expected)
    no_copies = torch.arange(7)
    torch.testing.assert_close(ClipLoss(share_duplicates=True)(z, y, no_copies[:4], no_copies), ClipLoss()(z, y))


def test_two_copies_share_the_target_so_that_being_right_about_both_costs_only_log_two() -> None:
    y = torch.randn(1, 3, 4).repeat(2, 1, 1)
    y = torch.cat([y, torch.randn(1, 3, 4)])
    loss = ClipLoss(share_duplicates=True)(100 * y[:2], y, torch.tensor([5, 5]), torch.tensor([5, 5, 6]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-4)
    with pytest.raises(ValueError, match="masked or share"):
        ClipLoss(True, True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["objective.mask_duplicates=true", "objective.share_duplicates=true"], "exclude each other"),
        (["objective.kind=siglip", "objective.share_duplicates=true"], "share_duplicates needs kind clip, not siglip"),
        (["objective.kind=mse", "objective.label_smoothing=0.1"], "label_smoothing needs kind clip, not mse"),
        (["objective.label_smoothing=1"], "less than 1"),
        (["objective.kind=siglip", "objective.scale=0"], "greater than 0"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(override: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(TrainSettings, None, "configs/training", override)


# trained, saved, opened


def chosen(**training: object) -> TrainSettings:
    return toy_settings(**training).model_copy(
        update={"objective": ObjectiveSettings(kind="siglip", scale=10.0, bias=-3.0)}
    )


def test_a_network_is_trained_saved_and_opened_with_its_scale_and_bias(tmp_path: Path) -> None:
    folder = tmp_path / "fold-0"
    finished = train_fold(chosen(epochs=12), toy_data(), folder)
    layouts = toy_data().layouts
    write_layouts(folder / "layouts.npz", layouts.positions.numpy(), layouts.placed.numpy(), ["a"] * C)
    sizes = {"n_chans": C, "n_outputs": F, "n_times": T, "sfreq": 50.0}
    info = {"schema": SCHEMA, "settings": chosen().model_dump(mode="json"), "sizes": sizes, "folds": ["fold-0"]}
    write_json(tmp_path / "run.json", info | {"subjects": ["a"] * S})
    write_json(folder / "finished.json", finished)
    model, settings, _ = load_fold(tmp_path, "fold-0")
    best = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    head = model.siglip
    assert isinstance(head, SigLipHead)
    assert head.log_scale.item() == best["model.siglip.log_scale"].item() != pytest.approx(math.log(10), abs=1e-4)
    assert head.bias.item() == best["model.siglip.bias"].item() != -3
    # it found what can be found: 24 held-out windows, each copied once at most
    data = toy_data()
    batch = data.source[data.valid]
    decoder = NetworkDecoder(model, settings, None)
    with torch.inference_mode():
        scores = decoder.score(decoder.estimate(batch), decoder.prepare(batch.target))
        plain = clip_scores(decoder.estimate(batch), batch.target)
    assert (scores.argmax(1) == torch.arange(len(batch))).float().mean() > 0.5
    assert torch.equal(scores.argmax(1), plain.argmax(1))
    assert not by_correlation(EvaluationSettings(), settings)
    assert scores.max() <= head.log_scale.exp() + head.bias + 1e-4


def test_only_siglip_adds_numbers_and_decay_leaves_them_alone() -> None:
    layouts = toy_data().layouts
    model = build_model(toy_settings().model, n_chans=C, n_outputs=F, n_subjects=S, layouts=layouts)
    before = count_parameters(model)
    assert count_parameters(with_siglip(model, ObjectiveSettings())) == before
    z, y = torch.randn(2, F, T), torch.randn(3, F, T)
    assert torch.equal(contrastive_scores(model, z, y), clip_scores(z, y))
    model = with_siglip(model, chosen().objective)
    assert count_parameters(model) == before + 2
    optimizer = AlignerTask(model, chosen(weight_decay=0.1)).configure_optimizers()
    weights, free = optimizer.param_groups
    assert (weights["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in free["params"]} == {id(model.siglip.log_scale), id(model.siglip.bias)}
    assert len(weights["params"]) + 2 == len(list(model.parameters()))
