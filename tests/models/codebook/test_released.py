"""Released checkpoints: a synthetic one with their names and shapes is read, and whatever does not fit is named."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch

from neurodecode.errors import NeurodecodeError
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.released import from_released, load_released, our_name
from neurodecode.models.codebook.tokenizer import CodebookTokenizer

C, S = 5, 1
State = dict[str, torch.Tensor]


def released_state(stage: str, subjects: int = S, depth: int = 2, poms: bool = False) -> State:
    """Names and shapes as the released code writes them, random values."""
    torch.manual_seed(0)
    state: State = {"mask_emb": torch.randn(160)} if stage == "masked" else {}
    if poms:
        for s in range(subjects):
            add_patches(state, f"tokenizers.{s}", C)
    else:
        state["subj_block.subj_layer.W.weight"] = torch.randn(C * 16, subjects)
        state["subj_block.subj_layer.B.weight"] = torch.randn(16, subjects)
        add_patches(state, "tokenizer", 16)
    tokens = 30 if stage == "classifier" else 40
    place, column = torch.arange(tokens)[:, None], torch.arange(0, 160, 2)
    angle = place * torch.exp(-column * math.log(10_000) / 160)
    state["emb_time.time_encodings"] = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    for stack in ("encoder", "decoder") if stage == "tokenizer" else ("encoder",):
        for number in range(depth if stack == "encoder" else 1):
            name = f"{stack}.1.xfmr_blocks.{number}"
            for letter in "qkv":
                add_linear(state, f"{name}.mha.W_{letter}.W", 512, 160)
            for part, width in [("mha.norm_q", 64), ("mha.norm_k", 64), ("norm_mha", 160), ("norm_ffn", 160)]:
                state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"] = torch.randn(width), torch.randn(width)
            state[f"{name}.mha.attention.scale"] = torch.tensor(1 / 8)
            add_linear(state, f"{name}.mha.proj.0", 160, 512)
            add_linear(state, f"{name}.ffn.fc1.0", 320, 160)
            add_linear(state, f"{name}.ffn.fc2.0", 160, 320)
    if stage != "masked":
        add_linear(state, "vq_block.pre_proj.0", 160, 160)
        add_linear(state, "vq_block.pre_proj.2", 64, 160)
        add_linear(state, "vq_block.post_proj.0", 160, 64)
        state["vq_block.layernorm.weight"], state["vq_block.layernorm.bias"] = torch.randn(64), torch.randn(64)
        state["vq_block.codex.embeddings"] = torch.nn.functional.normalize(torch.randn(32, 64), dim=1)
        state["vq_block.codex.initted"] = torch.tensor([1.0])
        state["vq_block.counts"] = torch.rand(32)
    if stage == "tokenizer" and poms:
        for s in range(subjects):
            for i, (n_in, n_out, kernel) in enumerate([(16, 128, 3), (128, 128, 3), (128, 128, 19)], start=1):
                state[f"rgs_blocks.{s}.rgs_head.{i}.0.1.weight"] = 0.05 * torch.randn(n_in, n_out, kernel)
                state[f"rgs_blocks.{s}.rgs_head.{i}.0.1.bias"] = torch.randn(n_out)
            add_linear(state, f"rgs_blocks.{s}.rgs_head.4.0", C, 128)
    elif stage == "tokenizer":
        layers = [(160, 128, 3), (128, 128, 3), (128, 128, 10), (128, 128, 9), (128, 16, 19)]
        for i, (n_in, n_out, kernel) in enumerate(layers):
            state[f"rgs_block.rgs_head.{i}.0.1.weight"] = 0.05 * torch.randn(n_in, n_out, kernel)
            state[f"rgs_block.rgs_head.{i}.0.1.bias"] = torch.randn(n_out)
        add_linear(state, "rgs_block.rgs_head.5.0", 16, 16)
        state["desubj_block.subj_layer.W.weight"] = torch.randn(16 * C, subjects)
        state["desubj_block.subj_layer.B.weight"] = torch.randn(C, subjects)
    if stage == "masked":
        add_linear(state, "cls_block.cls_head.0.0", 32, 160)
    if stage == "classifier":
        add_linear(state, "cls_block.cls_head.1.0", 128, 4800)
        add_linear(state, "cls_block.cls_head.2.0", 61, 128)
        state["contra_block.t"] = torch.tensor(0.1)
        add_linear(state, "contra_block.proj_z.0", 32, 160)
        add_linear(state, "contra_block.proj_y.0", 32, 160)
    return state


def add_patches(state: State, prefix: str, channels: int) -> None:
    for i, (n_in, n_out, kernel) in enumerate([(channels, 128, 19), (128, 128, 3), (128, 16, 3)]):
        name = f"{prefix}.conv_blocks.{i}"
        state[f"{name}.0.1.weight"] = 0.05 * torch.randn(n_out, n_in, kernel)
        for leaf in ("0.1.bias", "1.1.weight", "1.1.bias", "1.1.running_mean"):
            state[f"{name}.{leaf}"] = torch.randn(n_out)
        state[f"{name}.1.1.running_var"] = 0.5 + torch.rand(n_out)
        state[f"{name}.1.1.num_batches_tracked"] = torch.tensor(7)


def add_linear(state: State, name: str, n_out: int, n_in: int) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = 0.05 * torch.randn(n_out, n_in), torch.randn(n_out)


STAGES = {"tokenizer": CodebookTokenizer, "masked": MaskedEncoder, "classifier": CodebookClassifier}


@pytest.mark.parametrize("stage", STAGES)
class TestEveryStage:
    def test_is_read_from_its_file_with_every_tensor_matched_or_named(self, stage: str, tmp_path: Path) -> None:
        state = released_state(stage)
        path = tmp_path / "checkpoint-399.pth"
        torch.save(state, path)
        found = load_released(path)
        assert type(found.model) is STAGES[stage]
        assert not found.model.training
        assert found.matched.keys() | found.ignored.keys() == state.keys()
        assert not found.matched.keys() & found.ignored.keys()
        assert set(found.matched.values()) == set(found.model.state_dict())
        dead = {k for k in state if k.startswith(("vq_block", "contra_block"))} if stage == "classifier" else set()
        constant = {k for k in state if k.endswith((".scale", "time_encodings"))}
        assert set(found.ignored) == dead | constant
        assert found.model.encoder.n_channels == (C,)

    def test_puts_every_number_in_its_place(self, stage: str) -> None:
        state = released_state(stage)
        found = from_released(state)
        ours = found.model.state_dict()
        for name, target in found.matched.items():
            if ".qkv." in target:
                start = 512 * "qkv".index(name.split("W_")[1][0])
                assert torch.equal(ours[target][start : start + 512], state[name])
            elif "subj" not in name and not name.endswith("initted"):
                assert torch.equal(ours[target], state[name]), name
        # x[c] W[c, w] + b[w]
        x = torch.randn(2, C, 100)
        mix = state["subj_block.subj_layer.W.weight"][:, 0].reshape(C, 16)
        mixed = torch.einsum("bct,cw->bwt", x, mix) + state["subj_block.subj_layer.B.weight"]
        torch.testing.assert_close(found.model.encoder.front.read_in(x), mixed)
        if stage == "tokenizer":
            demix = state["desubj_block.subj_layer.W.weight"][:, 0].reshape(16, C)
            expected = torch.einsum("bwt,wc->bct", mixed, demix) + state["desubj_block.subj_layer.B.weight"]
            torch.testing.assert_close(found.model.read_out(mixed), expected)
            assert found.model.bottleneck.quantizer.started

    def test_of_several_subjects(self, stage: str) -> None:
        state = released_state(stage, subjects=3)
        model = from_released(state).model
        assert model.encoder.n_channels == (C,) * 3
        x = torch.randn(3, C, 100)
        found = model.encoder.front.read_in(x, torch.arange(3))
        for s in range(3):
            matrix = state["subj_block.subj_layer.W.weight"][:, s].reshape(C, 16)
            expected = matrix.T @ x[s] + state["subj_block.subj_layer.B.weight"][:, s, None]
            torch.testing.assert_close(found[s], expected)

    def test_a_tensor_without_a_place_is_named(self, stage: str) -> None:
        for name in ("encoder.1.xfmr_blocks.0.mha.rel.weight", "surprise", "decoder.1.xfmr_blocks.0.norms.weight"):
            with pytest.raises(NeurodecodeError, match=f"no place for the tensor {name}"):
                from_released({**released_state(stage), name: torch.zeros(3)})

    def test_a_missing_tensor_is_named(self, stage: str) -> None:
        for name, message in [
            ("encoder.1.xfmr_blocks.1.mha.W_k.W.bias", "blocks.1.qkv.bias, which is"),
            ("encoder.1.xfmr_blocks.1.ffn.fc2.0.weight", "no tensor for encoder.transformer.blocks.1.feed_forward.3.w"),
            ("tokenizer.conv_blocks.2.1.1.running_var", "no tensor for encoder.front.patches.norms.2.running_var"),
            ("subj_block.subj_layer.B.weight", "has no tensor subj_block.subj_layer.B.weight"),
        ]:
            state = released_state(stage)
            del state[name]
            with pytest.raises(NeurodecodeError, match=message):
                from_released(state)

    def test_another_shape_is_named(self, stage: str) -> None:
        state = released_state(stage)
        state["encoder.1.xfmr_blocks.0.norm_ffn.weight"] = torch.zeros(161)
        with pytest.raises(NeurodecodeError, match=r"a tensor of \(161,\) for .*norm_feed_forward.weight, which is"):
            from_released(state)

    def test_constants_are_left_out_only_if_they_are_ours(self, stage: str) -> None:
        for name in ("emb_time.time_encodings", "encoder.1.xfmr_blocks.0.mha.attention.scale"):
            state = released_state(stage)
            state[name] = state[name] + 0.01
            with pytest.raises(NeurodecodeError, match=f"no place for the tensor {name}"):
                from_released(state)


@pytest.mark.parametrize("stage", STAGES)
class TestOfSeveralSubjects:
    """The released multi-subject network (poms): a stack of convolutions and a head for each subject."""

    def test_every_tensor_is_matched_or_named(self, stage: str) -> None:
        state = released_state(stage, subjects=3, poms=True)
        found = from_released(state)
        assert type(found.model) is STAGES[stage]
        assert found.model.encoder.n_channels == (C,) * 3
        assert found.matched.keys() | found.ignored.keys() == state.keys()
        assert set(found.matched.values()) == set(found.model.state_dict())
        dead = {k for k in state if k.startswith(("vq_block", "contra_block"))} if stage == "classifier" else set()
        assert set(found.ignored) == dead | {k for k in state if k.endswith((".scale", "time_encodings"))}

    def test_each_subject_keeps_its_own_numbers(self, stage: str) -> None:
        state = released_state(stage, subjects=2, poms=True)
        ours = from_released(state).model.state_dict()
        for s in range(2):
            for leaf in ("0.1.weight", "0.1.bias"):
                theirs = state[f"tokenizers.{s}.conv_blocks.1.{leaf}"]
                assert torch.equal(ours[f"encoder.front.patches.{s}.convolutions.1.{leaf.split('.')[-1]}"], theirs)
            theirs = state[f"tokenizers.{s}.conv_blocks.2.1.1.running_var"]
            assert torch.equal(ours[f"encoder.front.patches.{s}.norms.2.running_var"], theirs)
            if stage == "tokenizer":
                theirs = state[f"rgs_blocks.{s}.rgs_head.3.0.1.weight"]
                assert torch.equal(ours[f"heads.{s}.convolutions.2.weight"], theirs)
                assert torch.equal(ours[f"heads.{s}.linear.bias"], state[f"rgs_blocks.{s}.rgs_head.4.0.bias"])

    def test_a_missing_subject_or_a_tensor_without_a_place_is_named(self, stage: str) -> None:
        state = released_state(stage, subjects=3, poms=True)
        for name in [name for name in state if name.startswith("tokenizers.1.")]:
            del state[name]
        with pytest.raises(NeurodecodeError, match=r"has no tensor tokenizers.1.conv_blocks.0.0.1.weight"):
            from_released(state)
        state = released_state(stage, poms=True)
        with pytest.raises(NeurodecodeError, match="no place for the tensor rgs_blocks.0.rgs_head.5.0.weight"):
            from_released({**state, "rgs_blocks.0.rgs_head.5.0.weight": torch.zeros(2, 2)})


def test_names_of_a_wrapped_network_are_unwrapped() -> None:
    state = released_state("masked")
    wrapped = from_released({f"module.{name}": value for name, value in state.items()})
    assert wrapped.matched == from_released(state).matched


def test_the_released_classifier_ends_in_a_sigmoid() -> None:
    model = from_released(released_state("classifier")).model
    with torch.no_grad():
        out = model(torch.randn(2, C, 3000))
    assert out.shape == (2, 61)
    assert (out >= 0).all()
    assert (out <= 1).all()


def test_a_fine_tuned_network_can_start_from_a_released_one() -> None:
    pretrained = from_released(released_state("tokenizer")).model
    assert isinstance(pretrained, CodebookTokenizer)
    model = CodebookClassifier(C, 61, 3000, depth=2)
    model.start_from(pretrained)
    x = torch.randn(1, C, 3000)
    torch.testing.assert_close(model.eval().encoder(x), pretrained.encoder(x))


def test_unknown_names_have_no_place() -> None:
    assert our_name("encoder.1.xfmr_blocks.0.mha.W_x.W.weight") is None
    assert our_name("encoder.1.xfmr_blocks.3.mha.W_v.W.bias") == "encoder.transformer.blocks.3.qkv.bias"
    assert our_name("decoder.1.xfmr_blocks.2.ffn.fc1.0.weight") == "decoder.blocks.2.feed_forward.0.weight"


class Harmful:
    """Runs a function when it is unpickled by a reader that runs things."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harmed"),))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"mask_emb": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(NeurodecodeError, match="harmful.pth: not a file of tensors"):
        load_released(tmp_path / "harmful.pth")
    assert not (tmp_path / "harmed").exists()


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "foreign.pth")
    for name in ("none", "text", "empty", "plain", "list", "other", "foreign"):
        with pytest.raises(NeurodecodeError, match=f"{name}.pth: ") as error:
            load_released(tmp_path / f"{name}.pth")
        assert "\n" not in str(error.value)
