"""The codebook-guided masked encoder once more, from its specification: numpy, float64, one window at a time.

Shares nothing with the package but the names of the tensors in a state dict.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

State = Mapping[str, np.ndarray]

# every count differs from every other, so no axis can stand for another one
SMALL = {
    "mixed_channels": 6,
    "patch": 20,
    "filters": (11, 13, 4),
    "kernels": (7, 3, 3),
    "strides": (4, 1, 1),
    "depth": 2,
    "heads": 3,
    "head_width": 5,
    "feed_forward": 17,
}
HEADS = 3


def state_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {key: value.detach().double().numpy() for key, value in model.state_dict().items()}


def within(state: State, prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) + 1 :]: value for key, value in state.items() if key.startswith(prefix + ".")}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Parameters and averages that are not where they start: no scale is 1, no bias is 0."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=generator))
            if name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=generator))
    return model.double().eval()


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """[W, samples] -> [F, samples / stride], zeros beyond the ends."""
    _, _, kernel = weight.shape
    padded = np.pad(x, ((0, 0), (kernel // 2, kernel // 2)))
    starts = range(0, x.shape[1], stride)
    return np.stack([np.einsum("fwk,wk->f", weight, padded[:, s : s + kernel]) + bias for s in starts], 1)


def batch_norm(x: np.ndarray, state: State) -> np.ndarray:
    scaled = (x - state["running_mean"][:, None]) / np.sqrt(state["running_var"][:, None] + 1e-5)
    return scaled * state["weight"][:, None] + state["bias"][:, None]


def patch_tokens(x: np.ndarray, state: State, patch: int, strides: tuple[int, ...]) -> np.ndarray:
    """[W, T] -> [N, D]."""
    tokens = []
    for start in range(0, x.shape[1], patch):
        y = x[:, start : start + patch]
        for i, stride in enumerate(strides):
            y = convolve(y, state[f"convolutions.{i}.weight"], state[f"convolutions.{i}.bias"], stride)
            y = batch_norm(y, within(state, f"norms.{i}"))
        tokens.append([value for frame in y.T for value in frame])
    return np.array(tokens)


def own_rows(n_channels: tuple[int, ...], subject: int) -> slice:
    start = sum(n_channels[:subject])
    return slice(start, start + n_channels[subject])


def front(x: np.ndarray, state: State, n_channels: tuple[int, ...], subject: int) -> np.ndarray:
    """[C, T] -> [N, D], for a front with shared channels."""
    mix = state["read_in.weight"][own_rows(n_channels, subject)]  # [C_s, W]
    mixed = mix.T @ x[: n_channels[subject]] + state["read_in.bias"][subject][:, None]
    return patch_tokens(mixed, within(state, "patches"), SMALL["patch"], SMALL["strides"])


def layer_norm(x: np.ndarray, state: State) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * state["weight"] + state["bias"]


def linear(x: np.ndarray, state: State, name: str) -> np.ndarray:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def transformer(tokens: np.ndarray, state: State, depth: int) -> np.ndarray:
    """[N, D] -> [N, D]."""
    length, width = tokens.shape
    code = np.zeros((length, width))
    for p in range(length):
        for i in range(0, width, 2):
            code[p, i] = np.sin(p / 10_000 ** (i / width))
            code[p, i + 1] = np.cos(p / 10_000 ** (i / width))
    tokens = tokens + code
    for number in range(depth):
        block = within(state, f"blocks.{number}")
        query, key, value = np.split(linear(tokens, block, "qkv"), 3, axis=1)  # each [N, heads x width]
        heads = []
        for q, k, v in zip(*(np.split(part, HEADS, axis=1) for part in (query, key, value))):
            q, k = layer_norm(q, within(block, "norm_query")), layer_norm(k, within(block, "norm_key"))
            score = q @ k.T / np.sqrt(q.shape[1])
            weight = np.exp(score - score.max(1, keepdims=True))
            heads.append(weight / weight.sum(1, keepdims=True) @ v)
        attended = linear(np.concatenate(heads, 1), block, "project")
        tokens = layer_norm(tokens + attended, within(block, "norm_attention"))
        inner = np.maximum(linear(tokens, block, "feed_forward.0"), 0)
        tokens = layer_norm(tokens + linear(inner, block, "feed_forward.3"), within(block, "norm_feed_forward"))
    return tokens


def encoder(x: np.ndarray, state: State, n_channels: tuple[int, ...], subject: int) -> np.ndarray:
    tokens = front(x, within(state, "front"), n_channels, subject)
    return transformer(tokens, within(state, "transformer"), SMALL["depth"])


def bottleneck(tokens: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, float]:
    """[N, D] -> values [N, D], codes [N] and the commitment loss."""
    z = linear(np.tanh(linear(tokens, state, "before.0")), state, "before.2")
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    rows = state["quantizer.codebook"]
    codes = ((z[:, None] - rows[None]) ** 2).sum(-1).argmin(1)
    values = linear(layer_norm(rows[codes], within(state, "norm")), state, "after")
    return values, codes, float(((z - rows[codes]) ** 2).mean())


def transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """[W, N] -> [F, N stride]: each frame spreads a kernel; the surplus is cut, the larger half in front."""
    _, filters, kernel = weight.shape
    length = x.shape[1]
    full = np.zeros((filters, (length - 1) * stride + kernel + stride))
    for n in range(length):
        full[:, n * stride : n * stride + kernel] += np.einsum("w,wfk->fk", x[:, n], weight)
    cut = -(-(kernel - stride) // 2)
    return full[:, cut : cut + length * stride] + bias[:, None]


def head(y: np.ndarray, state: State, strides: tuple[int, ...]) -> np.ndarray:
    """Frames [W, N] -> signal [C, T]."""
    for i, stride in enumerate(strides):
        y = transposed(y, state[f"convolutions.{i}.weight"], state[f"convolutions.{i}.bias"], stride)
    return linear(y.T, state, "linear").T


def own_signal(tokens: np.ndarray, state: State, subject: int) -> np.ndarray:
    """[N, D] -> [C_s, T], by the head of a subject: a token is five frames of four numbers."""
    tokens = transformer(tokens, within(state, "decoder"), depth=1)
    frames = np.array([token[4 * f : 4 * f + 4] for token in tokens for f in range(5)]).T
    return head(frames, within(state, f"heads.{subject}"), (1, 1, 4))


def signal(tokens: np.ndarray, state: State, n_channels: tuple[int, ...], subject: int) -> np.ndarray:
    """[N, D] -> [C_s, T]."""
    y = transformer(tokens, within(state, "decoder"), depth=1).T
    y = head(y, within(state, "head"), (1, 1, 5, 1, 4))
    rows = own_rows(n_channels, subject)
    return state["read_out.weight"][rows] @ y + state["read_out.bias"][rows][:, None]
