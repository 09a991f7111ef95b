"""A preset may start from another: what it names is changed, what it does not name is inherited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neurodecode.config import TrainSettings, load_settings, with_base
from neurodecode.errors import SettingsError
from neurodecode.resources import resource_folder

KIND = "configs/training"
ABLATIONS: dict[str, tuple[str, Any, Any]] = {
    # preset -> (its one setting, the published value, the ablated one); section 1.3 of the specification
    "paper_subject_embedding": ("model.subjects", "layer", "embedding"),
    "paper_clamp_100": ("segments.scaling.clamp", 20.0, 100.0),
    "paper_no_spatial_dropout": ("model.spatial_dropout", 0.2, 0.0),
    "paper_relu": ("model.activation", "gelu", "relu"),
    "paper_no_skip": ("model.skip", True, False),
    "paper_no_head": ("model.head", True, False),
    "paper_bare": ("model.head", True, "none"),
    "paper_no_initial_convolution": ("model.initial_convolution", True, False),
    "paper_no_spatial_attention": ("model.spatial_attention", True, False),
    "paper_no_glu": ("model.glu_every", 2, 0),
    "paper_no_subject_layer": ("model.subjects", "layer", "none"),
    "paper_no_clamp": ("segments.scaling.clamp", 20.0, None),
}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def settings(name: str | Path, *overrides: str) -> dict[str, Any]:
    return flat(load_settings(TrainSettings, name, KIND, overrides).model_dump(mode="json"))


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_from_the_paper_in_the_one_setting_it_names(name: str) -> None:
    whole, ablated = settings("paper_wav2vec2"), settings(name)
    assert set(whole) == set(ablated)
    different = {key: (whole[key], ablated[key]) for key in whole if whole[key] != ablated[key]}
    key, published, changed = ABLATIONS[name]
    assert different.pop("name") == ("paper_wav2vec2", name)
    assert different == {key: (published, changed)}


def test_the_targets_of_an_ablation_are_those_of_the_figures_that_it_quotes() -> None:
    for name in ABLATIONS:
        found = settings(name)
        quoted = "wav2vec 2.0" in (resource_folder("configs") / "training" / f"{name}.yaml").read_text(encoding="utf-8")
        assert quoted or name == "paper_bare", name
        assert found["features.kind"] == "encoder", name
        assert found["features.encoder"] == "facebook/wav2vec2-large-xlsr-53", name


@pytest.mark.parametrize("name", ["paper", "paper_mse", "deep_mel", "paper_wav2vec2", "released", "paper_no_skip"])
def test_the_published_rows_hear_each_block_alone(name: str) -> None:
    assert settings(name)["features.extent"] == "block"


def test_the_code_compares_a_window_with_the_128_of_its_device_and_the_article_with_all() -> None:
    sizes = {name: settings(name) for name in ("paper", "paper_wav2vec2", "released", "released_batch_128")}
    found = {name: (s["training.batch_size"], s["objective.negatives"]) for name, s in sizes.items()}
    assert found["paper"] == found["paper_wav2vec2"] == (256, None)
    assert (found["released"], found["released_batch_128"]) == ((256, 128), (128, 128))


def test_every_ablation_preset_is_checked() -> None:
    rows = {"paper_mse", "paper_wav2vec2"}  # of the main table
    assert {p.stem for p in (resource_folder("configs") / "training").glob("paper_*.yaml")} - rows == set(ABLATIONS)


def test_a_file_of_the_users_own_may_start_from_a_preset_and_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: paper_no_clamp\nmodel: {depth: 4}\nseed: 7\n", encoding="utf-8")
    changed = settings(path, "model.depth=6")
    assert changed["segments.scaling.clamp"] is None  # from the base
    assert changed["model.hidden"] == 320  # from the base of the base
    assert (changed["model.depth"], changed["seed"]) == (6, 7)
    assert set(flat({"a": changed})) == {f"a.{key}" for key in settings("paper")}  # the key `base` is used up


def test_lists_and_nulls_replace_and_the_given_mapping_is_left_alone() -> None:
    values = {"base": "paper", "segments": {"window": {"baseline": None, "tmin": -1.0}}}
    merged = with_base(values, KIND)
    assert merged["segments"]["window"] == {"tmin": -1.0, "tmax": 2.5, "closed": True, "baseline": None, "shift": 0.15}
    assert values == {"base": "paper", "segments": {"window": {"baseline": None, "tmin": -1.0}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: no-such\n", "no-such: no such file, and no configs/training preset of that name"),
        ("base: [paper, tiny]\n", "is not allowed: give the name of one configs/training preset"),
        ("base: paper\nmodel: {dept: 3}\n", "model.dept is not a setting; did you mean depth?"),
    ],
)
def test_a_base_that_cannot_be_used_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_settings(TrainSettings, path, KIND)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bases_that_go_round_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(f"base: {two}\n", encoding="utf-8")
    two.write_text(f"base: {one}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"one.yaml: its base leads back to itself"):
        load_settings(TrainSettings, one, KIND)
