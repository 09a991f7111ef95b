"""Weights that Du-IN's authors released -> our networks: every tensor is matched or named.

    found = load_released("pretrains/duin/001/vqvae/model/checkpoint-399.pth")
    found.model                            # a CodebookTokenizer in evaluation mode
    found.matched, found.ignored           # our name of each tensor, or why it has none

Sizes (channels, subjects, tokens, codes, blocks) are read from the tensors. Networks of one subject and of several (`poms`: a
stack of convolutions and a head for each) are told apart by their names. Files are opened as tensors only: nothing
in them is run. The weights are part of a data set under CC-BY-4.0. Section 11.8 of the specification lists the names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurodecode.errors import NeurodecodeError
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.front import MixedFront
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook
from neurodecode.models.layers.transformer import time_code

State = dict[str, torch.Tensor]
Network = CodebookTokenizer | MaskedEncoder | CodebookClassifier

PATCH = 100  # samples of a token: no tensor tells

# released name, its last part (weight, bias, ...) left to \2 or \1, -> our name
NAMES = {
    r"tokenizer\.conv_blocks\.(\d+)\.0\.1\.(\w+)": r"encoder.front.patches.convolutions.\1.\2",
    r"tokenizer\.conv_blocks\.(\d+)\.1\.1\.(\w+)": r"encoder.front.patches.norms.\1.\2",
    r"vq_block\.pre_proj\.(\d+)\.(\w+)": r"bottleneck.before.\1.\2",
    r"vq_block\.layernorm\.(\w+)": r"bottleneck.norm.\1",
    r"vq_block\.post_proj\.0\.(\w+)": r"bottleneck.after.\1",
    r"vq_block\.codex\.embeddings": r"bottleneck.quantizer.codebook",
    r"vq_block\.codex\.initted": r"bottleneck.quantizer.started",
    r"vq_block\.counts": r"bottleneck.quantizer.hits",
    r"rgs_block\.rgs_head\.(\d+)\.0\.1\.(\w+)": r"head.convolutions.\1.\2",
    r"rgs_block\.rgs_head\.5\.0\.(\w+)": r"head.linear.\1",
    r"tokenizers\.(\d+)\.conv_blocks\.(\d+)\.0\.1\.(\w+)": r"encoder.front.patches.\1.convolutions.\2.\3",
    r"tokenizers\.(\d+)\.conv_blocks\.(\d+)\.1\.1\.(\w+)": r"encoder.front.patches.\1.norms.\2.\3",
    # a token is unfolded before, which has no tensor but a number
    r"rgs_blocks\.(\d+)\.rgs_head\.1\.0\.1\.(\w+)": r"heads.\1.convolutions.0.\2",
    r"rgs_blocks\.(\d+)\.rgs_head\.2\.0\.1\.(\w+)": r"heads.\1.convolutions.1.\2",
    r"rgs_blocks\.(\d+)\.rgs_head\.3\.0\.1\.(\w+)": r"heads.\1.convolutions.2.\2",
    r"rgs_blocks\.(\d+)\.rgs_head\.4\.0\.(\w+)": r"heads.\1.linear.\2",
    r"mask_emb": r"hidden_token",
    r"cls_block\.cls_head\.0\.0\.(\w+)": r"head.\1",  # of the masked encoder
    r"cls_block\.cls_head\.1\.0\.(\w+)": r"head.1.\1",  # of the classifier
    r"cls_block\.cls_head\.2\.0\.(\w+)": r"head.3.\1",
    r"subj_block\.subj_layer\.W\.weight": r"encoder.front.read_in.weight",
    r"subj_block\.subj_layer\.B\.weight": r"encoder.front.read_in.bias",
    r"desubj_block\.subj_layer\.W\.weight": r"read_out.weight",
    r"desubj_block\.subj_layer\.B\.weight": r"read_out.bias",
}
STACKS = {"encoder": "encoder.transformer", "decoder": "decoder"}
BLOCK = re.compile(r"(encoder|decoder)\.1\.xfmr_blocks\.(\d+)\.(.+)\.(weight|bias)")
BLOCK_NAMES = {
    "mha.norm_q": "norm_query",
    "mha.norm_k": "norm_key",
    "mha.proj.0": "project",
    "norm_mha": "norm_attention",
    "ffn.fc1.0": "feed_forward.0",
    "ffn.fc2.0": "feed_forward.3",
    "norm_ffn": "norm_feed_forward",
}
FUSED = ("mha.W_q.W", "mha.W_k.W", "mha.W_v.W")  # one map with us, in this order
OWN = re.compile(r"tokenizers\.(\d+)\.conv_blocks\.0\.0\.1\.weight")  # a subject of the multi-subject networks
ADVICE = "only checkpoints of the published architectures can be read"
WRAPPERS = ("module.", "_orig_mod.")  # what stands before every name when the network was wrapped


@dataclass(frozen=True)
class Released:
    """A released network.

    Attributes
    ----------
    model
        In evaluation mode.
    matched
        Released name -> our name, for each tensor that was loaded (queries, keys and values are one tensor with us).
    ignored
        Released name -> why it is not loaded.
    """

    model: Network
    matched: dict[str, str]
    ignored: dict[str, str]


def load_released(path: Path | str) -> Released:
    """Build the network of a released checkpoint.

    Raises
    ------
    NeurodecodeError
        If the file is not one of tensors, holds one that has no place or another shape, or lacks one.
    """
    path = Path(path)
    if not path.is_file():
        raise NeurodecodeError(f"{path}: no such file; give a checkpoint-*.pth of the released data set")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of other content fails in the reader wherever it happens to
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NeurodecodeError(f"{path}: not a file of tensors ({first}); give a released checkpoint-*.pth") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise NeurodecodeError(f"{path}: holds something else than named tensors; give a released checkpoint-*.pth")
    return from_released(dict(state), str(path))


def from_released(state: State, source: str = "the released state") -> Released:
    """Build the network of a released state dict; `source` names it in errors."""
    state = {_unwrapped(name): value for name, value in state.items()}
    model = _network(state, source)
    expected = model.state_dict()
    matched: dict[str, str] = {}
    ignored: dict[str, str] = {}
    pieces: dict[str, State] = {}  # our name -> released tensors that make it
    for name, value in state.items():
        reason = _why_ignored(name, value, model)
        if reason is not None:
            ignored[name] = reason
            continue
        target = our_name(name)
        if target is None or target not in expected:
            raise NeurodecodeError(f"{source}: no place for the tensor {name} in {type(model).__name__}; {ADVICE}")
        matched[name] = target
        pieces.setdefault(target, {})[name] = value
    ours = {target: _our_value(target, parts, model) for target, parts in pieces.items()}
    for name, value in expected.items():
        if name not in ours:
            raise NeurodecodeError(f"{source}: no tensor for {name} of {type(model).__name__}; {ADVICE}")
        if ours[name].shape != value.shape:
            shapes = f"{tuple(ours[name].shape)} for {name}, which is {tuple(value.shape)}"
            raise NeurodecodeError(f"{source}: a tensor of {shapes}; {ADVICE}")
    model.load_state_dict(ours)
    return Released(model.eval(), matched, ignored)


def our_name(name: str) -> str | None:
    """Our name of a released tensor; None where there is none."""
    block = BLOCK.fullmatch(name)
    if block is not None:
        stack, number, part, leaf = block.groups()
        inner = "qkv" if part in FUSED else BLOCK_NAMES.get(part)
        return None if inner is None else f"{STACKS[stack]}.blocks.{number}.{inner}.{leaf}"
    for pattern, target in NAMES.items():
        found = re.fullmatch(pattern, name)
        if found is not None:
            return found.expand(target)
    return None


def _network(state: State, source: str) -> Network:
    """An untrained network of the sizes that the tensors have."""
    try:
        own = {int(found.group(1)) for name in state if (found := OWN.fullmatch(name))}
        shape: dict[str, Any] = {"depth": _depth(state, "encoder"), "patch": PATCH}
        if own:
            channels = [state[f"tokenizers.{s}.conv_blocks.0.0.1.weight"].shape[1] for s in range(max(own) + 1)]
            shape["front"] = "own"
        else:
            mix, bias = state["subj_block.subj_layer.W.weight"], state["subj_block.subj_layer.B.weight"]
            mixed, subjects = bias.shape
            channels = [mix.shape[0] // mixed] * subjects
            shape["mixed_channels"] = mixed
        if "rgs_block.rgs_head.5.0.weight" in state or "rgs_blocks.0.rgs_head.4.0.weight" in state:
            quantizer = EmaCodebook(*state["vq_block.codex.embeddings"].shape)
            return CodebookTokenizer(channels, quantizer, decoder_depth=_depth(state, "decoder"), **shape)
        if "mask_emb" in state:
            return MaskedEncoder(channels, len(state["cls_block.cls_head.0.0.weight"]), **shape)
        first, last = state["cls_block.cls_head.1.0.weight"], state["cls_block.cls_head.2.0.weight"]
        times = first.shape[1] // len(state["encoder.1.xfmr_blocks.0.norm_mha.weight"]) * PATCH
        return CodebookClassifier(channels, len(last), times, hidden=(len(first),), output="sigmoid", **shape)
    except KeyError as error:
        raise NeurodecodeError(f"{source}: has no tensor {error.args[0]}; {ADVICE}") from None


def _depth(state: State, stack: str) -> int:
    return len({found.group(2) for name in state if (found := BLOCK.fullmatch(name)) and found.group(1) == stack})


def _why_ignored(name: str, value: torch.Tensor, model: Network) -> str | None:
    """Reason not to load a tensor; constants are left out only if ours have the same values."""
    if name == "emb_time.time_encodings" and torch.allclose(value, time_code(*value.shape), atol=1e-4):
        return "the fixed code of time, which is computed"
    if name.endswith(".mha.attention.scale") and value.item() == torch.tensor(1 / math.sqrt(64)).item():
        return "the constant 1 / sqrt(64) of attention"
    if isinstance(model, CodebookClassifier) and name.startswith(("vq_block.", "contra_block.")):
        return "a block of the released classifier that never enters the loss"
    return None


def _our_value(target: str, parts: State, model: Network) -> torch.Tensor:
    """Released tensors in our layout."""
    if ".qkv." in target:
        order = sorted(parts, key=lambda name: next(i for i, part in enumerate(FUSED) if f".{part}." in name))
        return torch.cat([parts[name] for name in order])
    (value,) = parts.values()
    front = model.encoder.front
    mixed = front.read_in.width if isinstance(front, MixedFront) else 0
    if target == "encoder.front.read_in.weight":  # [C W, S], channel-major
        return value.T.reshape(-1, mixed)
    if target == "encoder.front.read_in.bias":  # [W, S]
        return value.T
    if target == "read_out.weight":  # [W C, S], shared channel-major
        return value.T.unflatten(1, (mixed, -1)).transpose(1, 2).reshape(-1, mixed)
    if target == "read_out.bias":  # [C, S]
        return value.T.flatten()
    if target == "bottleneck.quantizer.started":  # [1] float
        return value.bool().reshape(())
    return value


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name
