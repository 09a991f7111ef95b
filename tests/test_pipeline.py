"""A pipeline runs once: what is done is skipped, what changed is redone, and it says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodecode.config import CohortCard, PipelineSettings, TrainSettings, load_settings
from neurodecode.errors import SettingsError
from neurodecode.files import read_json
from neurodecode.pipeline import Stages, load_card, load_pipeline, run_pipeline, stage_settings, training_settings
from neurodecode.pipeline.aligner import _features
from neurodecode.pipeline.settings import evaluation_settings
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


def test_seeds_and_common_settings_reach_the_aligner_and_the_label_has_the_last_word() -> None:
    changed = load_pipeline("gwilliams2022", ["common.seed=5", "training.contrastive.seed=7", "seeds=[1,2,3]"])
    assert changed.seeds == (1, 2, 3)
    seeds = {label: training.seed for label, training in training_settings(changed).items()}
    assert seeds.pop("contrastive") == 7
    assert set(seeds.values()) == {5}
    plain = training_settings(load_pipeline("gwilliams2022"))
    assert {training.seed for training in plain.values()} == {2036}


def test_a_label_may_be_evaluated_otherwise_than_the_others() -> None:
    changed = load_pipeline("gwilliams2022", ["evaluations.deep-mel.score=correlation", "evaluation.bootstrap=7"])
    own = evaluation_settings(changed)["deep-mel"]
    assert (own.score, own.bootstrap) == ("correlation", 7)
    with pytest.raises(SettingsError, match="evaluations names regresion: the labels are regression, contrastive"):
        load_pipeline("gwilliams2022", ["evaluations.regresion.score=clip"])
    with pytest.raises(SettingsError, match=r"evaluations.deep-mel: score: 'dot' is not allowed"):
        evaluation_settings(load_pipeline("gwilliams2022", ["evaluations.deep-mel.score=dot"]))


@pytest.mark.parametrize(
    ("pipeline", "override", "message"),
    [
        ("gwilliams2022", "each_subject=true", "each_subject: regression is no codebook stage"),
        ("gwilliams2022", "common.labels.kind=word", "training.regression: labels is not a setting"),
        ("duin2024", "evaluations.mae.score=clip", "evaluations: mae is a codebook stage"),
        ("gwilliams2022", "published_accuracy.contrastive={source: x, cohort: y}", "contrastive is an aligner"),
        ("eegmat", "seeds=[1]", "seeds: there is no aligner and no classifier"),
        ("eegmat", "common.seed=1", "common: nothing is trained"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(pipeline: str, override: str, message: str) -> None:
    changes = [override, *(["training={}"] if pipeline == "eegmat" else [])]
    with pytest.raises(SettingsError, match=message):
        training_settings(load_pipeline(pipeline, changes))


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


def test_seeds_are_runs_of_their_own_with_a_mean_beside_the_published_figure(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "out")
    figure = {"what": "the row", "value": "12.4 ± 1.2", "source": "a paper", "label": "aligner"}
    values = tiny_pipeline(objective={"kind": "mse", "mask_duplicates": False}, training={"epochs": 1}).model_dump()
    values |= {"seeds": (3, 4), "published": [figure], "evaluation": {"bootstrap": 20, "controls": ["constant"]}}
    settings = PipelineSettings.model_validate(values | {"evaluations": {"aligner": {"score": "clip"}}})
    said: list[str] = []
    shown: list[dict] = []
    run_pipeline(settings, out, say=said.append, show=shown.append)
    folder = out / "runs" / "aligner"
    # the one run that was there is kept, and not mixed with those of the seeds
    assert (out / "runs" / "aligner.before-1" / "run.json").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "seed-3", "seed-4", "seeds.json"]
    each = []
    for seed in (3, 4):
        assert read_json(folder / f"seed-{seed}" / "run.json")["settings"]["seed"] == seed
        result = read_json(folder / f"seed-{seed}" / "evaluation" / "test.json")
        assert result["score"] == "clip"  # mse would be scored by correlation
        each.append(result["metrics"]["top10"]["value"])
        page = (folder / f"seed-{seed}" / "report.html").read_text(encoding="utf-8")
        assert f"{100 * each[-1]:.1f} [" in page  # beside the published figure
    assert [result["kind"] for result in shown] == ["retrieval-seeds"]
    top10 = read_json(folder / "seeds.json")["metrics"]["top10"]
    assert top10["value"] == pytest.approx(np.mean(each))
    assert top10["sd"] == pytest.approx(np.std(each, ddof=1))
    measured = f"{100 * np.mean(each):.1f} ± {100 * np.std(each, ddof=1):.1f} (2 seeds)"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert measured in page
    assert "12.4 ± 1.2" in page
    said.clear()
    run_pipeline(settings, out, say=said.append)
    done = [f"{stage} aligner seed-{seed}: done before" for seed in (3, 4) for stage in ("train", "evaluate", "report")]
    assert [line for line in said if "aligner seed" in line] == done


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
