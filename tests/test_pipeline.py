"""A pipeline runs once: what is done is skipped, what changed is redone, and it says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from neurodecode.config import CohortCard, PipelineSettings, TrainSettings, load_settings
from neurodecode.errors import SettingsError
from neurodecode.pipeline import Stages, load_card, load_pipeline, run_pipeline, stage_settings
from neurodecode.pipeline.aligner import _features
from neurodecode.store.store import Store


def test_a_stage_is_skipped_only_when_key_and_product_are_both_there(tmp_path: Path) -> None:
    said: list[str] = []
    product = tmp_path / "product"
    stages = Stages(tmp_path / "stages.json", said.append)
    assert stages.wanted("train", "key-1", product)
    product.write_text("x")
    stages.finished("train", "key-1")
    again = Stages(tmp_path / "stages.json", said.append)
    assert not again.wanted("train", "key-1", product)
    assert again.wanted("train", "key-2", product)
    product.unlink()
    assert again.wanted("train", "key-1", product)
    assert said == [
        "train: not done yet",
        "train: done before",
        "train: its settings or what it reads changed",
        "train: product is gone",
    ]


def test_inline_settings_may_start_from_a_preset() -> None:
    plain = stage_settings(TrainSettings, "paper", "configs/training")
    changed = stage_settings(TrainSettings, {"base": "paper", "model": {"depth": 4}}, "configs/training")
    assert changed.model.depth == 4
    assert changed.model.hidden == plain.model.hidden
    assert changed.training == plain.training


def test_a_card_without_its_folder_says_how_to_get_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ND_TEST_FOLDER", raising=False)
    card = CohortCard(name="mine", root=tmp_path / "absent", how_to_get="ask the authors")
    with pytest.raises(SettingsError, match="does not exist; to get it: ask the authors"):
        load_card(card)
    monkeypatch.setenv("ND_TEST_FOLDER", str(tmp_path))
    (tmp_path / "below").mkdir()
    card = CohortCard(name="mine", root_variable="ND_TEST_FOLDER", root_below=Path("below"))
    assert load_card(card).root == tmp_path / "below"


def test_overrides_reach_into_the_card_and_the_presets_that_a_pipeline_names(tmp_path: Path) -> None:
    changes = [f"cohort.root={tmp_path}", "preprocessing.sfreq=64", "training.segments-5s.training.epochs=3"]
    changed = load_pipeline("cocktail_eeg", [*changes, "training.segments-10s.seed=7"])
    assert isinstance(changed.cohort, CohortCard)
    assert changed.cohort.root == tmp_path
    assert changed.cohort.adapter == "cocktail_eeg"
    assert changed.preprocessing == {"base": "cocktail_eeg", "sfreq": 64}
    training = stage_settings(TrainSettings, changed.training["segments-5s"], "configs/training")
    plain = load_settings(TrainSettings, "cocktail_eeg", "configs/training")
    assert training.training.epochs == 3
    assert training.model == plain.model
    with pytest.raises(SettingsError, match=r"cohort.*rot"):
        load_pipeline("cocktail_eeg", ["cohort.rot=x"])


def tiny_pipeline(**training) -> PipelineSettings:
    return PipelineSettings.model_validate(
        {
            "name": "tiny",
            "cohort": {"name": "tiny", "simulate": "tiny"},
            "preprocessing": "demo",
            "training": {"aligner": {"base": "tiny", **training}},
            "evaluation": {"bootstrap": 20, "permutations": 20},
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The tiny simulated cohort, run from raw files to the report."""
    out = tmp_path_factory.mktemp("pipeline") / "out"
    said: list[str] = []
    assert run_pipeline(tiny_pipeline(), out, say=said.append) == []
    return out, said


def test_a_simulated_cohort_goes_from_raw_files_to_an_audited_table_and_a_report(
    finished: tuple[Path, list[str]],
) -> None:
    out, _ = finished
    result = json.loads((out / "runs" / "aligner" / "evaluation" / "test.json").read_text(encoding="utf-8"))
    assert result["n_queries"] >= result["n_candidates"] > 10
    assert result["split"]["overlap"] == 0
    assert result["metrics"]["top10"]["chance"] == pytest.approx(10 / result["n_candidates"])
    assert {"noise", "shuffled", "constant", "ridge"} <= set(result["controls"])
    constant = result["controls"]["constant"]
    assert constant["metrics" if "metrics" in constant else "top10"] is not None
    page = (out / "runs" / "aligner" / "report.html").read_text(encoding="utf-8")
    assert "imulated" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not list(out.rglob("*.part"))


def test_running_again_does_nothing_and_says_so(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    before = {p: p.stat().st_mtime_ns for p in sorted(out.rglob("*.ckpt"))}
    said: list[str] = []
    run_pipeline(tiny_pipeline(), out, say=said.append)
    for stage in ("simulate", "train aligner", "evaluate aligner", "report aligner"):
        assert f"{stage}: done before" in said
    assert {p: p.stat().st_mtime_ns for p in sorted(out.rglob("*.ckpt"))} == before


def test_a_lost_report_is_written_again_without_training(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    (out / "runs" / "aligner" / "report.html").unlink()
    said: list[str] = []
    run_pipeline(tiny_pipeline(), out, say=said.append)
    assert "train aligner: done before" in said
    assert "report aligner: report.html is gone" in said
    assert (out / "runs" / "aligner" / "report.html").is_file()


def test_features_of_blocks_are_computed_for_the_subjects_that_training_asks_for(
    finished: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodecode.segments import windows
    from neurodecode.training.portion import chosen_subjects

    out, _ = finished
    asked: list[tuple[str, ...]] = []

    def listened(store, settings, subjects=()):
        asked.append(tuple(subjects))
        return build_windows(store, settings, subjects)

    build_windows = windows.build_windows
    monkeypatch.setattr(windows, "build_windows", listened)
    training = stage_settings(
        TrainSettings, {"base": "tiny", "exclude": ["02"], "features": {"extent": "block"}}, "configs/training"
    )
    store = shutil.copytree(out / "store", tmp_path / "store")
    _features(store, training, "aligner", Stages(tmp_path / "stages.json", lambda line: None), "key", False)
    assert asked == [chosen_subjects(training, Store(store))] == [("01",)]


def test_other_training_settings_put_the_old_run_aside(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, _ = finished
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    said: list[str] = []
    run_pipeline(tiny_pipeline(seed=7), copy, say=said.append)
    assert "simulate: done before" in said
    assert "train aligner: its settings or what it reads changed" in said
    assert len(list((copy / "runs").glob("aligner.before-*"))) == 1
    settings = json.loads((copy / "runs" / "aligner" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert settings["seed"] == 7
