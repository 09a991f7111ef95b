"""Settings refuse what they do not know, in one line that names the key and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.config import (
    CohortCard,
    EvaluationSettings,
    FeatureSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    apply_overrides,
    load_settings,
    load_training,
    parse_yaml,
)
from neurodecode.config.baselines import BaselineSettings
from neurodecode.errors import SettingsError
from neurodecode.pipeline import load_pipeline
from neurodecode.resources import find_yaml, resource_folder

PRESETS = {
    "configs/preprocessing": PreprocessingSettings,
    "configs/features": FeatureSettings,
    "configs/training": TrainSettings,
    "configs/evaluation": EvaluationSettings,
    "configs/baselines": BaselineSettings,
    "configs/simulation": SimulationSettings,
    "pipelines": None,
    "datasets": CohortCard,
}


def presets() -> list[tuple[str, str]]:
    found = []
    for kind in PRESETS:
        top, _, rest = kind.partition("/")
        found += [(kind, path.stem) for path in sorted((resource_folder(top) / rest).glob("*.yaml"))]
    return found


@pytest.mark.parametrize(("kind", "name"), presets(), ids=lambda value: str(value))
def test_every_preset_is_valid(kind: str, name: str) -> None:
    if kind == "configs/training":  # aligner or a codebook stage: the file says which
        load_training(name)
    elif kind == "pipelines":  # may change the card that it names
        load_pipeline(name)
    else:
        load_settings(PRESETS[kind], name, kind)


@pytest.mark.parametrize(("kind", "name"), [p for p in presets() if p[0].startswith("configs/")], ids=lambda v: str(v))
def test_every_key_of_a_preset_has_a_comment(kind: str, name: str) -> None:
    lines = find_yaml(name, kind).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        stripped = line.strip()
        is_leaf = ":" in stripped and not stripped.startswith(("#", "-")) and not stripped.endswith(":")
        if is_leaf and "#" not in stripped:
            assert number > 0, f"{name}: {stripped}"
            assert lines[number - 1].strip().startswith("#"), f"{name}: {stripped} has no comment"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "training.epoch is not a setting; did you mean epochs?"),
        ("model.depth=-1", "model.depth: -1 is not allowed: input should be greater than 0"),
        ("segments.split.rule=luck", "input should be 'content', 'run' or 'leave-one-run-out'"),
        ("segments.window.tmin=9", "must lie before tmax"),
        ("training.epochs", "write it as key=value"),
        ("training.epochs=[", "not YAML"),
        ("seed=maybe", "seed: 'maybe' is not allowed"),
        ("name.first=x", "holds a value, not settings"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_the_key(override: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        load_settings(TrainSettings, path, "configs/training", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_overrides_reach_nested_settings_and_are_read_as_yaml() -> None:
    settings = load_settings(
        TrainSettings, None, "configs/training", ["segments.window.baseline=null", "training.learning_rate=1e-3"]
    )
    assert settings.segments.window.baseline is None
    assert settings.training.learning_rate == 1e-3


def test_overrides_leave_the_original_mapping_alone() -> None:
    original = {"a": {"b": 1}}
    changed = apply_overrides(original, ["a.b=2", "c.d=x"])
    assert original == {"a": {"b": 1}}
    assert changed == {"a": {"b": 2}, "c": {"d": "x"}}


def test_settings_cannot_be_changed_after_they_are_built() -> None:
    settings = TrainSettings()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1  # type: ignore[misc]


def test_a_key_written_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="the key a is written twice"):
        parse_yaml("a: 1\nb: 2\na: 3\n", "here")


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"there are: .*paper"):
        load_settings(TrainSettings, "no-such", "configs/training")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 7\n")
    assert load_settings(TrainSettings, path, "configs/training").seed == 7


def test_a_list_is_not_settings(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds list"):
        load_settings(TrainSettings, path, "configs/training")


def test_band_edges_out_of_order_are_refused() -> None:
    with pytest.raises(SettingsError, match="must lie below low_pass"):
        load_settings(PreprocessingSettings, None, "configs/preprocessing", ["high_pass=40", "low_pass=8"])
    with pytest.raises(SettingsError, match="must not exceed sfreq / 2"):
        load_settings(PreprocessingSettings, None, "configs/preprocessing", ["low_pass=70", "sfreq=120"])
