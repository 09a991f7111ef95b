"""States in the published code's naming become our network: every tensor has a place, and the numbers that come out are
those of a plain recomputation on the released names. The states are made up; none was released."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from neurodecode.config import ModelSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.models.aligner import Aligner
from neurodecode.models.deep_mel import embed
from neurodecode.models.released_aligner import from_released, load_released
from tests.models.plain_aligner import (
    Tensors,
    gelu,
    plain_attention,
    plain_batch_norm,
    plain_convolution,
    relu,
)

B, C, T, F, S, MELS = 4, 7, 40, 5, 3, 6
CONFIGS = {
    "published": {},
    "no attention": {"merger": False},
    "no gates": {"glu": 0},
    "no initial convolution": {"initial": False},
    "relu": {"activation": "relu"},
    "no skip": {"skip": False},
    "no subject layer": {"subjects": "none"},
    "subject embedding": {"subjects": "embedding"},
    "one last convolution": {"final": "linear"},
    "no batch norm, gates after three, depth 6": {"norm": False, "glu": 3, "depth": 6},
    "the last convolution gives the features": {"final": "none"},
    "the last convolution gives the features, no gates": {"final": "none", "glu": 0, "merger": False},
    "the last convolution gives the features, of as many channels": {"final": "none", "hidden": F},
    "deep mel": {"speech": True},
    "bare": {"merger": False, "initial": False, "subjects": "none"},
}


class Sensors:
    """Two layouts; the second lacks a sensor."""

    positions = torch.rand(2, C, 2, generator=torch.Generator().manual_seed(0))
    placed = torch.ones(2, C, dtype=torch.bool)


Sensors.placed[1, 3] = False


def options(**changes) -> dict:
    standard = {"merger": True, "initial": True, "subjects": "layer", "final": "complex", "norm": True, "glu": 2}
    more = {"depth": 5, "skip": True, "activation": "gelu", "speech": False, "hidden": 8, "width": 6}
    return standard | more | changes


def released_state(**changes) -> Tensors:
    """A state dict as the published code names it (sections 4 and 8 of the specification)."""
    o = options(**changes)
    generator = torch.Generator().manual_seed(1)
    state: Tensors = {}

    def add(name: str, *shape: int) -> None:
        state[name] = 0.4 * torch.randn(*shape, generator=generator)

    def stack(prefix: str, widths: list[int], norm_last: bool) -> None:
        for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            add(f"{prefix}sequence.{k}.0.weight", n_out, n_in, 3)
            add(f"{prefix}sequence.{k}.0.bias", n_out)
            if o["norm"] and (norm_last or k < len(widths) - 2):
                for leaf in ("weight", "bias", "running_mean"):
                    add(f"{prefix}sequence.{k}.1.{leaf}", n_out)
                state[f"{prefix}sequence.{k}.1.running_var"] = 0.5 + torch.rand(n_out, generator=generator)
                state[f"{prefix}sequence.{k}.1.num_batches_tracked"] = torch.tensor(7)
            if o["glu"] and (k + 1) % o["glu"] == 0:
                add(f"{prefix}glus.{k}.0.weight", 2 * n_out, n_out, 3)
                add(f"{prefix}glus.{k}.0.bias", 2 * n_out)

    width = C
    if o["merger"]:
        width = o["width"]
        add("merger.heads", width, 2 * 4 * 4)
    if o["initial"]:
        add("initial_linear.0.weight", o["width"], width, 1)
        add("initial_linear.0.bias", o["width"])
        width = o["width"]
    if o["subjects"] == "layer":
        add("subject_layers.weights", S, width, width)
    if o["subjects"] == "embedding":
        add("subject_embedding.embedding.weight", S, 3)
        width += 3
    widths = [width] + [o["hidden"]] * o["depth"]
    if o["final"] == "none":
        widths[-1] = F
    stack("encoders.meg.", widths, norm_last=o["final"] != "none")
    if o["final"] == "complex":
        add("final.0.weight", 2 * o["hidden"], o["hidden"], 1)
        add("final.0.bias", 2 * o["hidden"])
        add("final.2.weight", 2 * o["hidden"], F, 1)  # a transposed convolution
        add("final.2.bias", F)
    elif o["final"] == "linear":
        add("final.weight", o["hidden"], F, 1)
        add("final.bias", F)
    if o["speech"]:
        state = {f"0.{name}": value for name, value in state.items()}
        stack("1.", [MELS, 8, 8, 8, F], norm_last=False)
    return state


def plain_stack(p: Tensors, prefix: str, x: torch.Tensor, activation, skip: bool) -> torch.Tensor:
    k = 0
    while f"{prefix}sequence.{k}.0.weight" in p:
        name = f"{prefix}sequence.{k}"
        y = plain_convolution(x, p[f"{name}.0.weight"], p[f"{name}.0.bias"], 2 ** (k % 5))
        last = f"{prefix}sequence.{k + 1}.0.weight" not in p
        if f"{name}.1.weight" in p:
            y = plain_batch_norm(y, p, f"{name}.1", training=False, running={})
        bare = prefix == "1." or not any(other.startswith("final.") for other in p)
        if not (last and bare):
            y = activation(y)
        x = x + y if skip and x.shape == y.shape else y
        if f"{prefix}glus.{k}.0.weight" in p:
            y = plain_convolution(x, p[f"{prefix}glus.{k}.0.weight"], p[f"{prefix}glus.{k}.0.bias"])
            half = y.shape[1] // 2
            x = y[:, :half] / (1 + torch.exp(-y[:, half:]))
        k += 1
    return x


def plain_released(state: Tensors, x: torch.Tensor, subject: list[int], layout: list[int], **changes) -> torch.Tensor:
    """What the published network gives, from its own names, in float64."""
    o = options(**changes)
    p = {name.removeprefix("0."): value.double() for name, value in state.items()}
    activation = gelu if o["activation"] == "gelu" else relu
    x = x.double()
    if "merger.heads" in p:
        places = Sensors.positions.double()
        weights = [plain_attention(p["merger.heads"], places[r], Sensors.placed[r]) for r in layout]
        x = torch.stack([w @ window for w, window in zip(weights, x)])
    if "initial_linear.0.weight" in p:
        x = plain_convolution(x, p["initial_linear.0.weight"], p["initial_linear.0.bias"])
    if "subject_layers.weights" in p:
        x = torch.einsum("bct,bcd->bdt", x, p["subject_layers.weights"][subject])
    if "subject_embedding.embedding.weight" in p:
        vectors = p["subject_embedding.embedding.weight"][subject]
        x = torch.cat([x, vectors[:, :, None].expand(-1, -1, x.shape[-1])], 1)
    x = plain_stack(p, "encoders.meg.", x, activation, o["skip"])
    if "final.0.weight" in p:
        x = activation(plain_convolution(x, p["final.0.weight"], p["final.0.bias"]))
        return torch.einsum("bct,cf->bft", x, p["final.2.weight"][:, :, 0]) + p["final.2.bias"][None, :, None]
    if "final.weight" not in p:
        return x
    return torch.einsum("bct,cf->bft", x, p["final.weight"][:, :, 0]) + p["final.bias"][None, :, None]


def settings(**changes) -> ModelSettings:
    o = options(**changes)
    return ModelSettings(activation=o["activation"], skip=o["skip"])


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_released_state_gives_the_numbers_of_the_published_network(changes: dict) -> None:
    state = released_state(**changes)
    found = from_released(state, Sensors, settings(**changes))
    assert set(found.matched) == set(state)
    assert sorted(found.matched.values()) == sorted(found.model.state_dict())
    x, subject, layout = torch.randn(B, C, T), [2, 0, 1, 2], [0, 1, 0, 1]
    expected = plain_released(state, x, subject, layout, **changes)
    with torch.no_grad():
        ours = found.model(x, torch.tensor(subject), torch.tensor(layout))
    assert ours.shape == (B, F, T)
    error = (ours.double() - expected).abs().max() / expected.abs().max()
    assert error < 1e-5
    if changes.get("speech"):
        mel = torch.randn(B, MELS, T)
        p = {name: value.double() for name, value in state.items()}
        with torch.no_grad():
            torch.testing.assert_close(
                embed(found.model, mel).double(), plain_stack(p, "1.", mel.double(), relu, True), atol=1e-4, rtol=1e-4
            )


def test_the_published_sizes_fit() -> None:
    with torch.no_grad():
        model = Aligner(5, 1024, n_subjects=2, positions=torch.rand(1, 5, 2), depth=2)
    state = {"merger.heads": model.attention.heads, "subject_layers.weights": model.subject_layer.matrices}
    state |= {"initial_linear.0.weight": model.initial.weight, "initial_linear.0.bias": model.initial.bias}
    for k in range(2):
        for index, part in ((0, "convolution"), (1, "norm")):
            for leaf, value in getattr(model.encoder[k], part).state_dict().items():
                state[f"encoders.meg.sequence.{k}.{index}.{leaf}"] = value
    for leaf in ("weight", "bias"):
        state[f"encoders.meg.glus.1.0.{leaf}"] = getattr(model.encoder[2].convolution, leaf)
        state[f"final.0.{leaf}"] = getattr(model.head[0], leaf)
        state[f"final.2.{leaf}"] = getattr(model.head[2], leaf)
    state["final.2.weight"] = state["final.2.weight"].transpose(0, 1)
    assert tuple(state["merger.heads"].shape) == (270, 2048)
    again = from_released({k: v.detach() for k, v in state.items()}, OneLayout(model)).model
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


class OneLayout:
    def __init__(self, model: Aligner) -> None:
        assert model.attention is not None
        self.positions, self.placed = model.attention.positions, model.attention.valid


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("surprise", (2,), "no place for the tensor surprise"),
        ("dual_path.lstms.0.weight_ih_l0", (2,), "dual_path"),
        ("initial_linear.2.weight", (2,), "initial_depth"),
        ("encoders.concat.sequence.0.0.weight", (2,), "concatenate"),
        ("encoders.meg.sequence.1.3.scale", (2,), "scaled residual branches"),
        ("encoders.meg.sequence.1.3.weight", (2,), "rewrite or post_skip"),
        ("encoders.meg.sequence.0.1.surprise", (2,), "no place for the tensor encoders.meg.sequence.0.1.surprise"),
        ("merger.heads", (3, 6, 32), "heads of each subject"),
        ("subject_embedding.embedding.weight", (3, 2), "both a layer and an embedding"),
        ("subject_layers.weights", (3, 6, 8), r"subject_layers.weights is \(3, 6, 8\), which does not fit"),
        ("encoders.meg.glus.1.0.weight", (16, 8, 1), "glus.1.0.weight is"),
        ("encoders.meg.glus.2.0.weight", (16, 8, 3), "no regular pattern"),
        ("final.2.weight", (16, F, 4), "final.2.weight is"),  # the kernel of a network on spectra
    ],
)
def test_what_has_no_place_is_named(name: str, shape: tuple[int, ...], message: str) -> None:
    state = {**released_state(), name: torch.zeros(shape)}
    with pytest.raises(NeurodecodeError, match=message) as error:
        from_released(state, Sensors)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoders.meg.sequence.2.1.running_var", r"no tensor for encoder.3.norm.running_var \(1 are missing"),
        ("initial_linear.0.bias", "no tensor for initial.bias"),
        ("encoders.meg.sequence.0.0.weight", "has no tensor encoders.meg.sequence.0.0.weight"),
        ("final.0.weight", "no tensor for head.0.weight"),
    ],
)
def test_a_missing_tensor_is_named(name: str, message: str) -> None:
    state = released_state()
    del state[name]
    with pytest.raises(NeurodecodeError, match=message):
        from_released(state, Sensors)


def test_a_network_of_which_the_head_was_left_out_and_one_without_positions_are_refused() -> None:
    cut = {name: value for name, value in released_state().items() if not name.startswith("final.")}
    with pytest.raises(NeurodecodeError, match=r"no place for the tensor encoders\.meg\.sequence\.4\.1"):
        from_released(cut, Sensors)  # its last convolution has a norm, so it is no complex_out=false
    with pytest.raises(NeurodecodeError, match="a file holds no positions; give layouts"):
        from_released(released_state())


def test_wrapped_names_and_checkpoints_of_the_published_trainer_are_read(tmp_path: Path) -> None:
    state = released_state()
    expected = from_released(state, Sensors).model.state_dict()
    listed = {f"0.{name}": value for name, value in state.items()}
    older = {name: value + 1 if value.is_floating_point() else value for name, value in listed.items()}
    files = {
        "plain": state,
        "wrapped": {f"module.{name}": value for name, value in state.items()},
        "checkpoint": {"all_models": older, "best_state": listed, "best_epoch": 3, "optimizer": {"state": {}}},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / f"{name}.th")
        found = load_released(tmp_path / f"{name}.th", Sensors)
        assert all(torch.equal(value, expected[key]) for key, value in found.model.state_dict().items())
        assert not found.model.training
    assert set(found.ignored) == {"all_models", "best_epoch", "optimizer"}
    assert found.ignored["optimizer"] == "not the network, which is under best_state"


class Harmful:
    """Runs a function when it is unpickled by a reader that runs things."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harmed"),))


def test_nothing_in_a_file_is_run_and_other_files_are_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"best_state": released_state(), "scaler": Harmful()}, tmp_path / "harmful.th")
    (tmp_path / "text.th").write_text("hello", encoding="utf-8")
    torch.save([1, 2], tmp_path / "list.th")
    torch.save({"epoch": 3}, tmp_path / "other.th")
    for name, message in (
        ("harmful", "not a file of tensors alone"),
        ("text", "not a file of tensors alone"),
        ("list", "holds no named tensors"),
        ("other", "no state dict under best_state"),
        ("none", "no such file"),
    ):
        with pytest.raises(NeurodecodeError, match=f"{name}.th: {message}") as error:
            load_released(tmp_path / f"{name}.th", Sensors)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "harmed").exists()
