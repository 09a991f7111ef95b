"""Sections 4 and 5 of the specification once more, in float64 and without the package's layers, for the parity tests.

Only sums, products and elementary functions are used, so that autograd of these lines is an independent gradient, too.
Parameters come by the names of the network's state dict.
"""

from __future__ import annotations

import math

import torch

Tensors = dict[str, torch.Tensor]


def plain_positions(corners: torch.Tensor) -> torch.Tensor:
    """[C, 2] corners of layout boxes, NaN where unknown -> each axis in [0, 1], (-0.1, -0.1) where unknown."""
    result = torch.full_like(corners, -0.1)
    for axis in range(2):
        values = corners[:, axis]
        known = ~torch.isnan(values)
        low, high = values[known].min(), values[known].max()
        result[known, axis] = (values[known] - low) / (high - low)
    return result


def plain_attention(heads: torch.Tensor, positions: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Weights [O, C] of one layout: heads [O, 2 K K], positions [C, 2], allowed [C]."""
    n = round(math.sqrt(heads.shape[1] / 2))
    scores = torch.zeros(heads.shape[0], len(positions), dtype=torch.float64)
    for k in range(n):
        for m in range(n):
            phase = 2 * math.pi * (k * (positions[:, 0] + 0.2) + m * (positions[:, 1] + 0.2)) / 1.4  # [C]
            scores = scores + heads[:, k * n + m, None] * torch.cos(phase)
            scores = scores + heads[:, n * n + k * n + m, None] * torch.sin(phase)
    raised = torch.exp(scores - scores.max()) * allowed
    return raised / raised.sum(1, keepdim=True)


def plain_convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dilation: int = 1) -> torch.Tensor:
    """[B, C, T] and [D, C, K] -> [B, D, T]; zeros before the first and after the last sample."""
    n, half = x.shape[-1], weight.shape[-1] // 2
    y = bias[None, :, None].expand(len(x), -1, n)
    for tap in range(weight.shape[-1]):
        shift = (tap - half) * dilation
        moved = torch.zeros_like(x)
        if abs(shift) < n:
            source = x[..., max(0, shift) : n + min(0, shift)]
            moved[..., max(0, -shift) : max(0, -shift) + source.shape[-1]] = source
        y = y + torch.einsum("dc,bct->bdt", weight[:, :, tap], moved)
    return y


def plain_batch_norm(x: torch.Tensor, p: Tensors, name: str, training: bool, running: Tensors) -> torch.Tensor:
    """Batch norm over batch and time; in training, `running` gets what the running statistics are afterwards."""
    mean, variance = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    if training:
        count = x.shape[0] * x.shape[2]
        mean = x.sum((0, 2)) / count
        variance = ((x - mean[None, :, None]) ** 2).sum((0, 2)) / count
        unbiased = variance.detach() * count / (count - 1)
        running[f"{name}.running_mean"] = 0.9 * p[f"{name}.running_mean"] + 0.1 * mean.detach()
        running[f"{name}.running_var"] = 0.9 * p[f"{name}.running_var"] + 0.1 * unbiased
    scaled = (x - mean[None, :, None]) / torch.sqrt(variance[None, :, None] + 1e-5)
    return scaled * p[f"{name}.weight"][None, :, None] + p[f"{name}.bias"][None, :, None]


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The exact one."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def relu(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


def plain_gate(x: torch.Tensor, p: Tensors, name: str) -> torch.Tensor:
    """Convolution of kernel 3, then the first half of the channels times the logistic of the second."""
    y = plain_convolution(x, p[f"{name}.convolution.weight"], p[f"{name}.convolution.bias"])
    half = y.shape[1] // 2
    return y[:, :half] / (1 + torch.exp(-y[:, half:]))


def plain_aligner(
    p: Tensors,
    x: torch.Tensor,
    subject: list[int],
    weights: list[torch.Tensor],
    *,
    depth: int,
    training: bool,
    running: Tensors,
) -> torch.Tensor:
    """Estimate [B, F, T] from windows [B, C, T], the subject of each and its attention weights [O, C] (4.2 to 4.5)."""
    x = torch.stack([w @ window for w, window in zip(weights, x)])
    x = plain_convolution(x, p["initial.weight"], p["initial.bias"])
    # y[d, t] = sum over c of x[c, t] W_s[c, d]
    x = torch.stack([torch.einsum("ct,cd->dt", one, p["subject_layer.matrices"][s]) for one, s in zip(x, subject)])
    number = 0
    for k in range(depth):
        name = f"encoder.{number}"
        y = plain_convolution(x, p[f"{name}.convolution.weight"], p[f"{name}.convolution.bias"], 2 ** (k % 5))
        y = gelu(plain_batch_norm(y, p, f"{name}.norm", training, running))
        x = x + y if k > 0 else y
        number += 1
        if k % 2 == 1:
            x = plain_gate(x, p, f"encoder.{number}")
            number += 1
    x = gelu(plain_convolution(x, p["head.0.weight"], p["head.0.bias"]))
    return plain_convolution(x, p["head.2.weight"], p["head.2.bias"])


def plain_deep_mel(p: Tensors, x: torch.Tensor, *, depth: int, training: bool, running: Tensors) -> torch.Tensor:
    """Embedding [B, 768, T] of log-mel [B, 120, T] (section 4.7)."""
    number = 0
    for k in range(depth):
        name = f"speech.{number}"
        if k == depth - 1:
            x = plain_convolution(x, p[f"{name}.weight"], p[f"{name}.bias"], 2 ** (k % 5))
        else:
            y = plain_convolution(x, p[f"{name}.convolution.weight"], p[f"{name}.convolution.bias"], 2 ** (k % 5))
            y = relu(plain_batch_norm(y, p, f"{name}.norm", training, running))
            x = x + y if k > 0 else y
        number += 1
        if k % 2 == 1:
            x = plain_gate(x, p, f"speech.{number}")
            number += 1
    return x


def plain_scores(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[B, F, T] and [N, F, T] -> [B, N]: inner product over the norm of the candidate alone."""
    rows = [[(one * other).sum() / (1e-8 + torch.sqrt((other * other).sum())) for other in y] for one in z]
    return torch.stack([torch.stack(row) for row in rows])


def plain_loss(scores: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of column i for row i, mean over rows."""
    losses = [torch.log(torch.exp(row - row.max()).sum()) + row.max() - row[i] for i, row in enumerate(scores)]
    return torch.stack(losses).mean()
