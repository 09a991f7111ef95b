"""Rows of unit norm: which one is nearest to a token, where a table starts, how evenly it is hit."""

from __future__ import annotations

import torch
from torch.nn import functional

CHUNK = 1 << 24  # inner products held at a time: 64 MB of float32
KMEANS_STEPS = 10  # as released


def unit(x: torch.Tensor) -> torch.Tensor:
    """Scale to norm 1 along the last axis."""
    return functional.normalize(x, dim=-1)


@torch.no_grad()
def nearest(z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Index of the unit row nearest to each token: [M, D], [K, D] -> [M].

    For unit rows the smallest distance is the largest inner product, so no distances are computed, and the products
    are looked at in pieces, so memory does not grow with M K.
    """
    pieces = z.split(max(CHUNK // len(rows), 1))
    return torch.cat([(piece @ rows.T).argmax(1) for piece in pieces])


@torch.no_grad()
def kmeans(tokens: torch.Tensor, clusters: int, steps: int = KMEANS_STEPS) -> torch.Tensor:
    """Cosine k-means from distinct random tokens: [M, D] of unit norm -> [clusters, D] of unit norm.

    A cluster that no token is nearest to keeps its place. Needs as many tokens as clusters.
    """
    if len(tokens) < clusters:
        raise ValueError(f"{clusters} clusters need as many tokens, got {len(tokens)}")
    means = tokens[torch.randperm(len(tokens), device=tokens.device)[:clusters]]
    for _ in range(steps):
        index = nearest(tokens, means)
        sums = torch.zeros_like(means).index_add_(0, index, tokens)
        hit = torch.bincount(index, minlength=clusters) > 0
        means = torch.where(hit[:, None], unit(sums), means)
    return means


def spread(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Usage and perplexity of hits [K]; 0 and 1 where nothing was hit."""
    share = counts / counts.sum().clamp_min(1)
    return (counts > 0).to(share.dtype).mean(), torch.exp(torch.special.entr(share).sum())
