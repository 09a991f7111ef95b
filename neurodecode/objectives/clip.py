"""The contrastive objective and the scores it trains (Défossez et al. 2023, section 5 of the specification).

Estimates [B, F, T] and candidates [N, F, T] -> scores [B, N]; the loss says which candidate each estimate was made for.
Only the candidate is normalised: the norm of the estimate is an inverse temperature that the network learns by itself.
There is no temperature parameter, and the loss is not symmetric.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-8  # section 5: added to the candidate's norm


def clip_scores(estimate: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """Inner product of each estimate with each candidate, over the candidate's norm.

    Parameters
    ----------
    estimate
        [B, F, T].
    candidate
        [N, F, T], same F and T.

    Returns
    -------
    torch.Tensor
        [B, N] float32 (float64 for float64 input).

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    if estimate.ndim != 3 or candidate.ndim != 3 or estimate.shape[1:] != candidate.shape[1:]:
        raise ValueError(
            f"estimate [B, F, T] and candidate [N, F, T] must share F and T, got {tuple(estimate.shape)} and "
            f"{tuple(candidate.shape)}"
        )
    # never in bfloat16: a sum over F x T, some 10^5 products, decides between near candidates
    with torch.autocast(estimate.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(estimate.dtype, candidate.dtype), torch.float32)
        z, y = estimate.to(dtype).flatten(1), candidate.to(dtype).flatten(1)  # [B, F T], [N, F T]
        # dividing the scores, not the candidates, spares a copy of [N, F T]
        return (z @ y.T) / (EPSILON + torch.linalg.vector_norm(y, dim=1))


class ClipLoss(nn.Module):
    """Cross-entropy of the right candidate among all, averaged over estimates.

    Parameters
    ----------
    mask_duplicates
        Leave candidates out that are another copy of the right segment (equal identity). As published they count as
        wrong answers, which punishes a network for being right when two subjects hear the same segment.
    """

    def __init__(self, mask_duplicates: bool = False) -> None:
        super().__init__()
        self.mask_duplicates = mask_duplicates

    def forward(
        self,
        estimate: torch.Tensor,
        candidate: torch.Tensor,
        identity: torch.Tensor | None = None,
        candidate_identity: torch.Tensor | None = None,
        offset: int = 0,
    ) -> torch.Tensor:
        """Loss.

        Parameters
        ----------
        estimate
            [B, F, T].
        candidate
            [N, F, T], N >= B: the right one for estimate i is number `offset + i`; the others are negatives.
        identity, candidate_identity
            [B] and [N] (by default the same): needed to mask duplicates.
        offset
            Where this process's targets begin when candidates of several processes are put together.

        Returns
        -------
        torch.Tensor
            Scalar, nats; log N for a network that knows nothing.
        """
        n, count = len(candidate), len(estimate)
        if n < offset + count:
            raise ValueError(f"{count} estimates from candidate {offset} on need {offset + count} candidates, got {n}")
        scores = clip_scores(estimate, candidate)  # [B, N]
        right = torch.arange(count, device=scores.device) + offset  # [B]
        if self.mask_duplicates:
            if identity is None:
                raise ValueError("mask_duplicates needs the identity of each segment")
            other = identity if candidate_identity is None else candidate_identity
            copies = identity[:, None] == other[None]  # [B, N]
            copies = copies.scatter(1, right[:, None], False)  # the right one itself stays
            scores = scores.masked_fill(copies, -math.inf)
        return functional.cross_entropy(scores, right)


def top_k_share(scores: torch.Tensor, right: torch.Tensor, k: int = 10) -> torch.Tensor:
    """Share of rows whose right column has rank k or better; ties get their middle rank, so a constant scores chance.

    Parameters
    ----------
    scores
        [B, N].
    right
        [B], column of the right candidate.
    """
    own = scores.gather(1, right[:, None])  # [B, 1]
    above = (scores > own).sum(1)
    tied = (scores == own).sum(1) - 1
    return (above + tied / 2 + 1 <= k).float().mean()
