"""Weights of the published code's `SimpleConv` -> our aligner: every tensor is matched or named.

    found = load_released("best_state.pt", layouts)     # layouts: positions [L, C, 2] and placed [L, C]
    found.model(x, subject, layout)                     # [B, C, T], [B], [B] -> [B, F, T], in evaluation mode
    found.matched, found.ignored                        # our name of each tensor; what else the file held, and why it is left

Sizes (heads, subjects, widths, depth, kernel, which parts there are) are read from the tensors. What no tensor tells
(activation, skip connections, dilation period, margin of the positions) comes from `settings`, by default as published.
A Deep Mel network beside the brain's (names under `1.`) becomes `model.speech`. Files are opened as tensors only: nothing
in them is run. docs/released_weights.md says how such a file is made, and lists the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurodecode.config import ModelSettings, SpeechSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.models.aligner import Aligner
from neurodecode.models.build import LayoutsLike, build_model
from neurodecode.models.deep_mel import with_speech

State = dict[str, torch.Tensor]

WRAPPERS = ("module.", "_orig_mod.")  # what stands before every name when the network was wrapped
STATES = ("best_state", "all_models", "model", "state_dict")  # where a checkpoint keeps the network, the best first
BRAIN, SPEECH = (
    "0.",
    "1.",
)  # a checkpoint of the published trainer holds a list: the brain's network, the speech's or nothing
ADVICE = "docs/released_weights.md says which networks can be read"

# released name -> our name; \1 is its last part (weight, bias, running_mean, ...)
NAMES = {
    r"merger\.heads": "attention.heads",
    r"initial_linear\.0\.(weight|bias)": r"initial.\1",
    r"subject_layers\.weights": "subject_layer.matrices",
    r"subject_embedding\.embedding\.weight": "subject_embedding.vectors",
    r"final\.0\.(weight|bias)": r"head.0.\1",
    r"final\.2\.(weight|bias)": r"head.2.\1",
    r"final\.(weight|bias)": r"head.\1",
}
SEQUENCE = re.compile(r"sequence\.(\d+)\.([01])\.(\w+)")
GATE = re.compile(r"glus\.(\d+)\.0\.(weight|bias)")
TRANSPOSED = re.compile(r"final\.(2\.)?weight")  # of transposed convolutions: [in, out, 1] where ours is [out, in, 1]

# parts of the published code that our network does not have: pattern of a name -> what it is
UNKNOWN_PARTS = {
    r"dual_path\..*": "a recurrent network after the convolutions (dual_path)",
    r"stft\..*": "a network on spectra (n_fft)",
    r"initial_linear\.[1-9].*": "more than one initial convolution (initial_depth)",
    r"encoders\.(?!meg\.).*": "a network of several inputs (concatenate)",
    r"encoders\.meg\.sequence\.\d+\.\d+\.scale": "scaled residual branches (scale)",
    r"encoders\.meg\.sequence\.\d+\.([2-9]|\d\d)\..*": "a second convolution in the residual branches (rewrite or post_skip)",
}


@dataclass(frozen=True)
class Released:
    """A released network.

    Attributes
    ----------
    model
        In evaluation mode; with `model.speech` where the file holds a network for speech.
    matched
        Released name -> our name, for each tensor that was loaded.
    ignored
        Other entries of the file -> why they are not loaded.
    """

    model: Aligner
    matched: dict[str, str]
    ignored: dict[str, str]


def load_released(
    path: Path | str, layouts: LayoutsLike | None = None, settings: ModelSettings | None = None
) -> Released:
    """Build the network of a released file.

    Parameters
    ----------
    path
        A state dict saved with `torch.save`, or a checkpoint that holds one under `best_state`.
    layouts
        Sensors of the recordings that the network shall be asked about: positions [L, C, 2] in the unit square and
        placed [L, C]. Needed by spatial attention, of which the file holds the heads alone.
    settings
        What no tensor tells: `activation`, `skip`, `dilation_period`, `spatial_margin`, `spatial_dropout`. The rest is
        read from the tensors.

    Raises
    ------
    NeurodecodeError
        If the file is not one of tensors, or its network is none of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise NeurodecodeError(f"{path}: no such file; give a state dict saved with torch.save")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of other content fails in the reader wherever it happens to
        first = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise NeurodecodeError(
            f"{path}: not a file of tensors alone ({first}); docs/released_weights.md says how to take them out of a "
            "checkpoint"
        ) from None
    state, ignored = _state_of(content, path)
    found = from_released(state, layouts, settings, str(path))
    return Released(found.model, found.matched, ignored)


def from_released(
    state: State,
    layouts: LayoutsLike | None = None,
    settings: ModelSettings | None = None,
    source: str = "the released state",
) -> Released:
    """Build the network of a released state dict; `source` names it in errors.

    Raises
    ------
    NeurodecodeError
        Naming the first tensor that has no place, another shape, or is missing.
    """
    state = {_unwrapped(name): value for name, value in state.items()}
    names = _our_names(state, source)
    brain = {name: value for name, value in state.items() if not name.startswith(SPEECH)}
    speech = {name: value for name, value in state.items() if name.startswith(SPEECH)}
    model = _network(brain, layouts, settings or ModelSettings(), source)
    if speech:
        _add_speech(model, speech, source)
    expected = model.state_dict()
    ours: State = {}
    for name, value in state.items():
        target = names[name]
        if target not in expected:
            raise NeurodecodeError(f"{source}: no place for the tensor {name}; {ADVICE}")
        if TRANSPOSED.fullmatch(_inner(name)):
            value = value.transpose(0, 1)
        if value.shape != expected[target].shape:
            raise NeurodecodeError(
                f"{source}: {name} is {tuple(state[name].shape)}, which does not fit {target} "
                f"{tuple(expected[target].shape)}; {ADVICE}"
            )
        ours[target] = value
    missing = sorted(set(expected) - set(ours))
    if missing:
        raise NeurodecodeError(f"{source}: no tensor for {missing[0]} ({len(missing)} are missing); {ADVICE}")
    model.load_state_dict(ours)
    return Released(model.eval(), names, {})


def _state_of(content: Any, path: Path) -> tuple[State, dict[str, str]]:
    """The tensors of the network in a file, and what else was there."""
    if not isinstance(content, Mapping) or not content:
        raise NeurodecodeError(f"{path}: holds no named tensors; give a state dict saved with torch.save")
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return dict(content), {}
    for key in STATES:
        inner = content.get(key)
        if isinstance(inner, Mapping) and inner and all(isinstance(v, torch.Tensor) for v in inner.values()):
            others = {str(name): f"not the network, which is under {key}" for name in content if name != key}
            return dict(inner), others
    raise NeurodecodeError(
        f"{path}: no state dict under {', '.join(STATES)}; it holds {', '.join(sorted(map(str, content)))[:100]}"
    )


def _our_names(state: State, source: str) -> dict[str, str]:
    """Our name of every tensor."""
    names: dict[str, str] = {}
    # a gate follows the convolution of its number, so numbers of layers count both
    gates = {
        side: {int(m[1]) for name in state if (m := GATE.fullmatch(_stack_part(name, side) or ""))}
        for side in ("brain", "speech")
    }
    for name in state:
        inner, target = _inner(name), None
        for pattern, what in UNKNOWN_PARTS.items():
            if not name.startswith(SPEECH) and re.fullmatch(pattern, inner):
                raise NeurodecodeError(f"{source}: {name} belongs to {what}, which our network does not have; {ADVICE}")
        for side, ours in (("brain", "encoder"), ("speech", "speech")):
            part = _stack_part(name, side)
            if part is not None:
                target = _stack_name(part, ours, gates[side], state, name)
        for pattern, replacement in NAMES.items():
            found = None if name.startswith(SPEECH) else re.fullmatch(pattern, inner)
            if found is not None:
                target = found.expand(replacement)
        if target is None:
            raise NeurodecodeError(f"{source}: no place for the tensor {name}; {ADVICE}")
        names[name] = target
    return names


def _stack_part(name: str, side: str) -> str | None:
    """What follows the name of a convolution stack, `sequence...` or `glus...`; None for other tensors."""
    if side == "speech":
        return name.removeprefix(SPEECH) if name.startswith(SPEECH) else None
    inner = _inner(name)
    return inner.removeprefix("encoders.meg.") if inner.startswith("encoders.meg.") else None


def _stack_name(part: str, ours: str, gates: set[int], state: State, name: str) -> str | None:
    """Our name of a tensor of a convolution stack."""
    found = GATE.fullmatch(part)
    if found is not None:
        k = int(found[1])
        return f"{ours}.{k + 1 + sum(g < k for g in gates)}.convolution.{found[2]}"
    found = SEQUENCE.fullmatch(part)
    if found is None:
        return None
    k, which, leaf = int(found[1]), found[2], found[3]
    layer = f"{ours}.{k + sum(g < k for g in gates)}"
    if which == "1":
        return f"{layer}.norm.{leaf}"
    # Deep Mel ends in a bare convolution
    last = ours == "speech" and f"{SPEECH}sequence.{k + 1}.0.weight" not in state
    return f"{layer}.{leaf}" if last else f"{layer}.convolution.{leaf}"


def _network(state: State, layouts: LayoutsLike | None, settings: ModelSettings, source: str) -> Aligner:
    """An untrained network of the sizes that the tensors have."""
    get = {_inner(name): value for name, value in state.items()}
    if "merger.heads" in get and get["merger.heads"].ndim != 2:
        raise NeurodecodeError(
            f"{source}: merger.heads has heads of each subject, which our network does not; {ADVICE}"
        )
    if "subject_layers.weights" in get and "subject_embedding.embedding.weight" in get:
        raise NeurodecodeError(f"{source}: has both a layer and an embedding of subjects, ours has one; {ADVICE}")
    depth = _depth(get, "encoders.meg.")
    head: bool | str = "final.2.weight" in get
    try:
        first = get["encoders.meg.sequence.0.0.weight"]  # [hidden, in, kernel]
        if any(name.startswith("final.") for name in get):
            n_outputs = (get["final.2.weight"] if head else get["final.weight"]).shape[1]  # of [in, F, 1]
        else:  # complex_out=false: the last dilated convolution gives the features, [F, hidden, kernel]
            head, n_outputs = "none", len(get[f"encoders.meg.sequence.{depth - 1}.0.weight"])
    except KeyError as error:
        raise NeurodecodeError(f"{source}: has no tensor {error.args[0]}; {ADVICE}") from None
    changes: dict[str, Any] = {
        "hidden": len(first),
        "kernel": first.shape[2],
        "depth": depth,
        "glu_every": _glu_every(get, "encoders.meg.", source),
        "batch_norm": "encoders.meg.sequence.0.1.weight" in get,
        "head": head,
        "spatial_attention": "merger.heads" in get,
        "initial_convolution": "initial_linear.0.weight" in get,
        "subjects": "none",
    }
    n_subjects, width = 1, first.shape[1]  # width: channels before the subjects' part
    if "subject_layers.weights" in get:
        changes["subjects"], n_subjects = "layer", len(get["subject_layers.weights"])
        width = get["subject_layers.weights"].shape[1]
    elif "subject_embedding.embedding.weight" in get:
        n_subjects, dimension = get["subject_embedding.embedding.weight"].shape
        changes |= {"subjects": "embedding", "subject_dimension": dimension}
        width -= dimension
    if changes["initial_convolution"]:
        initial = get["initial_linear.0.weight"]
        changes["spatial_channels"], width = len(initial), initial.shape[1]
    if changes["spatial_attention"]:
        heads, basis = get["merger.heads"].shape
        if changes["initial_convolution"] and changes["spatial_channels"] != heads:
            raise NeurodecodeError(
                f"{source}: {heads} heads and {changes['spatial_channels']} channels after them; ours has as many of "
                f"both; {ADVICE}"
            )
        changes |= {"spatial_channels": heads, "fourier_frequencies": round((basis / 2) ** 0.5)}
        if layouts is None:
            raise NeurodecodeError(
                f"{source}: has spatial attention, of which a file holds no positions; give layouts, for example "
                "BatchSource(...).layouts or build_layouts(channel tables)"
            )
        width = layouts.positions.shape[1]
    model = build_model(
        settings.model_copy(update=changes),
        n_chans=width,
        n_outputs=n_outputs,
        n_subjects=n_subjects,
        layouts=layouts if changes["spatial_attention"] else None,
    )
    assert isinstance(model, Aligner)
    return model


def _add_speech(model: nn.Module, state: State, source: str) -> None:
    """The Deep Mel network of the sizes that the tensors have, untrained."""
    get = {name.removeprefix(SPEECH): value for name, value in state.items()}
    depth = _depth(get, "")
    try:
        first, last = get["sequence.0.0.weight"], get[f"sequence.{depth - 1}.0.weight"]
    except KeyError as error:
        raise NeurodecodeError(f"{source}: has no tensor {SPEECH}{error.args[0]}; {ADVICE}") from None
    settings = SpeechSettings(kind="deep_mel", outputs=len(last), hidden=len(first), depth=depth)
    with_speech(model, settings, first.shape[1])


def _depth(state: State, prefix: str) -> int:
    return len({m[1] for name in state if (m := re.fullmatch(rf"{re.escape(prefix)}sequence\.(\d+)\..*", name))})


def _glu_every(state: State, prefix: str, source: str) -> int:
    """After every how many convolutions a gated one stands."""
    numbers = sorted(int(m[1]) for n in state if (m := re.fullmatch(rf"{re.escape(prefix)}glus\.(\d+)\.0\.weight", n)))
    if not numbers:
        return 0
    every = numbers[0] + 1
    if numbers != list(range(every - 1, _depth(state, prefix), every)):
        raise NeurodecodeError(f"{source}: gated convolutions after {numbers}, which is no regular pattern; {ADVICE}")
    return every


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _inner(name: str) -> str:
    """Name inside the brain's network."""
    return name.removeprefix(BRAIN)
