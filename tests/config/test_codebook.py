"""Settings of the codebook-guided masked encoder: presets, comments, and what is refused."""

from __future__ import annotations

import pytest

from neurodecode.config import (
    ClassifierSettings,
    CodebookEncoderSettings,
    MaskedEncoderSettings,
    MaskedObjectiveSettings,
    QuantizerSettings,
    Settings,
    TokenizerObjectiveSettings,
    TokenizerSettings,
    load_settings,
    load_training,
)
from neurodecode.errors import SettingsError
from neurodecode.resources import find_yaml

PRESETS = {
    "duin_tokenizer": TokenizerSettings,
    "duin_masked": MaskedEncoderSettings,
    "duin_classifier": ClassifierSettings,
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_default_with_a_comment_on_every_key(name: str) -> None:
    loaded, default = load_settings(PRESETS[name], name, "configs/models"), PRESETS[name]()
    if name == "duin_tokenizer":
        assert loaded.quantizer.start_tokens == 4 * default.quantizer.codes  # what none stands for
        default = default.model_copy(
            update={"quantizer": default.quantizer.model_copy(update={"start_tokens": 4 * default.quantizer.codes})}
        )
    assert loaded == default
    for line in find_yaml(name, "configs/models").read_text(encoding="utf-8").splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip() and not key.lstrip().startswith("#") and key.strip() != "kind":
            assert "#" in value, line


@pytest.mark.parametrize(
    "cls",
    [
        *PRESETS.values(),
        CodebookEncoderSettings,
        QuantizerSettings,
        TokenizerObjectiveSettings,
        MaskedObjectiveSettings,
    ],
)
def test_every_setting_says_what_it_is(cls: type[Settings]) -> None:
    for name, field in cls.model_fields.items():
        if name not in ("kind", "encoder", "quantizer"):
            assert field.description, name


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("duin_tokenizer", "encoder.kernels=[18,3,3]", "each must be odd"),
        ("duin_tokenizer", "encoder.kernels=[19,3]", "must be of one length"),
        ("duin_tokenizer", "encoder.patch=105", "patch is 105: it must be a multiple"),
        ("duin_tokenizer", "encoder.filters=[8,8,1]", None),
        ("duin_tokenizer", "quantizer.start_tokens=100", "start_tokens is 100: k-means of 2048 rows needs as many"),
        ("duin_tokenizer", "quantizer.decay=1.0", "quantizer.decay: 1.0 is not allowed"),
        ("duin_tokenizer", "quantizer.codebook=3", "quantizer.codebook is not a setting"),
        ("duin_masked", "mask_ratio=1", "mask_ratio: 1 is not allowed"),
        ("duin_classifier", "output=softmax", "should be 'logits' or 'sigmoid'"),
        ("duin_classifier", "quantizer={kind: product, dimension: 65}", "dimension is 65: it must be a multiple"),
        ("duin_classifier", "quantizer={kind: finite-scalar, levels: [8, 1]}", "each must be 2 or more"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name: str, override: str, message: str | None) -> None:
    if message is None:
        assert load_settings(PRESETS[name], name, "configs/models", [override]).encoder.width == 10
        return
    with pytest.raises(SettingsError, match=message) as error:
        load_settings(PRESETS[name], name, "configs/models", [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stage", "differ"),
    [
        ("tokenizer", {"epochs": 800, "warmup": 80, "batch_size": 32, "betas": (0.9, 0.999)}),
        ("masked", {"betas": (0.9, 0.999)}),
        ("classify", {"betas": (0.9, 0.999)}),
    ],
)
def test_the_released_schedule_differs_from_the_papers_in_what_the_two_state(stage: str, differ: dict) -> None:
    paper, released = load_training(f"duin_{stage}").training, load_training(f"duin_released_{stage}").training
    assert released == paper.model_copy(update=differ)
    assert released != paper


def test_the_released_stages_have_the_split_the_sigmoid_and_the_dead_rows_of_the_code() -> None:
    tokenizer, masked, classify = (load_training(f"duin_released_{s}") for s in ("tokenizer", "masked", "classify"))
    assert {s.labels.split.rule for s in (tokenizer, masked, classify)} == {"paper"}
    assert classify.model.output == "sigmoid"
    assert tokenizer.model.quantizer.revive_below == 0


def test_the_network_of_a_stage_may_have_a_base_of_its_own(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: tokenizer\nmodel:\n  base: duin_tokenizer\n  encoder:\n    depth: 2\n", encoding="utf-8")
    found = load_training(path).model
    assert found.encoder.depth == 2
    assert found.quantizer.start_tokens == 8192  # of the preset; the default is none
