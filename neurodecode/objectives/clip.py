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
        Leave candidates out that are another copy of the right segment. As published they count as
        wrong answers, which punishes a network for being right when two subjects hear the same segment.
    share_duplicates
        Copies of the right segment are right answers, too: all of them share the target equally.
    label_smoothing
        Share of the target that is spread evenly over all candidates that count (published: none).

    Raises
    ------
    ValueError
        If duplicates shall be both masked and shared.
    """

    def __init__(
        self, mask_duplicates: bool = False, share_duplicates: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if mask_duplicates and share_duplicates:
            raise ValueError("duplicates are either masked or share the target, not both")
        self.mask_duplicates, self.share_duplicates = mask_duplicates, share_duplicates
        self.label_smoothing = label_smoothing

    def forward(
        self,
        estimate: torch.Tensor,
        candidate: torch.Tensor,
        identity: torch.Tensor | None = None,
        candidate_identity: torch.Tensor | None = None,
        offset: int = 0,
        within: int = 0,
    ) -> torch.Tensor:
        """Loss.

        Parameters
        ----------
        estimate
            [B, F, T].
        candidate
            [N, F, T], N >= B: the right one for estimate i is number `offset + i`; the others are negatives.
        identity, candidate_identity
            [B] and [N] int64 (by default the same): needed to mask duplicates, or to share the target among them.
        offset
            Where this process's targets begin when candidates of several processes are put together.
        within
            Copies have identities that differ by no more than this: 0 for numbers of segments, more for places.

        Returns
        -------
        torch.Tensor
            Scalar, nats; log N for a network that knows nothing.

        Raises
        ------
        ValueError
            If there are too few candidates, or identities are needed and not given.
        """
        right = right_columns(len(estimate), len(candidate), offset, estimate.device)  # [B]
        scores = clip_scores(estimate, candidate)  # [B, N]
        copies = torch.zeros_like(scores, dtype=torch.bool)
        if self.mask_duplicates or self.share_duplicates:
            if identity is None:
                raise ValueError("masking or sharing duplicates needs the identity of each segment")
            other = identity if candidate_identity is None else candidate_identity
            copies = copies_of(identity, other, within)
        if self.mask_duplicates:
            copies = copies.scatter(1, right[:, None], False)  # the right one itself stays
            scores = scores.masked_fill(copies, -math.inf)
        if not self.share_duplicates and self.label_smoothing == 0:
            return functional.cross_entropy(scores, right)
        return self._soft(scores, right, copies)

    def _soft(self, scores: torch.Tensor, right: torch.Tensor, copies: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with a target that is spread over candidates; `copies` [B, N] are masked or share it."""
        counted = ~copies if self.mask_duplicates else torch.ones_like(copies)
        shared = copies if self.share_duplicates else torch.zeros_like(copies)
        shared = shared.scatter(1, right[:, None], True)
        target = (1 - self.label_smoothing) * shared / shared.sum(1, keepdim=True)
        target = target + self.label_smoothing * counted / counted.sum(1, keepdim=True)
        # a masked candidate has log-probability minus infinity and target 0: their product must be 0, not NaN
        log_p = functional.log_softmax(scores, dim=1).masked_fill(~counted, 0.0)
        return -(target * log_p).sum(1).mean()


def copies_of(identity: torch.Tensor, other: torch.Tensor, within: int = 0) -> torch.Tensor:
    """Which pairs are copies of each other, bool [B, N]: identities [B] and [N], int64, that differ by `within` at most."""
    return (identity[:, None] - other[None]).abs() <= within


def parts_of(n: int, size: int | None) -> list[tuple[int, int]]:
    """First candidate of each part of a batch, and the one after its last: parts of `size`, or all but equal smaller ones.

    Parameters
    ----------
    n
        Candidates of the batch over all processes.
    size
        At most so many a part; None: one part.
    """
    count = 1 if size is None else math.ceil(n / size)
    return [(i * n // count, (i + 1) * n // count) for i in range(count)]


def right_columns(count: int, n: int, offset: int, device: torch.device) -> torch.Tensor:
    """Column [count] of the right candidate of each estimate among n.

    Raises
    ------
    ValueError
        If there are fewer candidates than that.
    """
    if n < offset + count:
        raise ValueError(f"{count} estimates from candidate {offset} on need {offset + count} candidates, got {n}")
    return torch.arange(count, device=device) + offset


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
