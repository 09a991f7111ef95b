"""The pairwise sigmoid objective (SigLIP, Zhai et al. 2023, arXiv 2303.15343), aware of copies. Not part of the paper.

Estimates [B, F, T] and candidates [N, F, T] -> logits [B, N] = scale * cosine + bias, where scale and bias are learnt; each
pair is asked by itself whether it belongs together. So a segment that stands twice in a batch is twice a right answer,
which a softmax cannot say. Estimate and candidate are both normalised: the order of candidates is that of `clip_scores`.

Scale and bias live inside the network as `model.siglip`, so that one optimiser and one checkpoint hold them, and scoring
knows them later: the softmax over candidates and the mean over listeners depend on the scale.

    model = with_siglip(build_model(...), settings.objective)
    loss = siglip_loss(contrastive_scores(model, estimate, candidate), batch.identity)
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from neurodecode.config import ObjectiveSettings
from neurodecode.objectives.clip import EPSILON, clip_scores, copies_of, right_columns


class SigLipHead(nn.Module):
    """Cosine to logit.

    Parameters
    ----------
    scale, bias
        Where the two learnt numbers start. The scale is learnt as its logarithm, so it stays positive.
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, estimate: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
        """[B, F, T] and [N, F, T] -> [B, N] float32 (float64 for float64 input), also under autocast."""
        scores = clip_scores(estimate, candidate)  # over the candidate's norm
        with torch.autocast(scores.device.type, enabled=False):
            norm = torch.linalg.vector_norm(estimate.to(scores.dtype).flatten(1), dim=1, keepdim=True)  # [B, 1]
            return self.log_scale.exp() * scores / (EPSILON + norm) + self.bias


def siglip_loss(
    logits: torch.Tensor,
    identity: torch.Tensor | None = None,
    candidate_identity: torch.Tensor | None = None,
    offset: int = 0,
    within: int = 0,
) -> torch.Tensor:
    """Binary cross-entropy of all pairs: summed over candidates, averaged over estimates, as published.

    Parameters
    ----------
    logits
        [B, N]; the right candidate of estimate i is number `offset + i`.
    identity, candidate_identity
        [B] and [N] int64 (by default the same): pairs of copies belong together. None: only the right ones do.
    offset
        Where this process's targets begin when candidates of several processes are put together.
    within
        Copies have identities that differ by no more than this: 0 for numbers of segments, more for places.

    Returns
    -------
    torch.Tensor
        Scalar, nats; N log 2 for logits of zero.

    Raises
    ------
    ValueError
        If there are fewer candidates than the estimates need.
    """
    right = right_columns(len(logits), logits.shape[1], offset, logits.device)  # [B]
    if identity is None:
        together = torch.zeros_like(logits, dtype=torch.bool)
    else:
        together = copies_of(identity, identity if candidate_identity is None else candidate_identity, within)
    together = together.scatter(1, right[:, None], True)  # [B, N]
    # log sigmoid of the logit where the pair belongs together, of its negative elsewhere
    signed = torch.where(together, logits, -logits)
    return -functional.logsigmoid(signed).sum(1).mean()


def with_siglip(model: nn.Module, settings: ObjectiveSettings) -> nn.Module:
    """The same model, with the learnt scale and bias inside it when the objective is siglip."""
    if settings.kind == "siglip":
        model.siglip = SigLipHead(settings.scale, settings.bias)
    return model


def contrastive_scores(model: nn.Module, estimate: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """Scores [B, N] that this model was trained for: logits of siglip, or those of the contrastive loss (section 5)."""
    head = cast(SigLipHead | None, getattr(model, "siglip", None))
    return clip_scores(estimate, candidate) if head is None else head(estimate, candidate)
