"""What is planted is found, what is not is not: small simulated cohorts from raw files to figures.

Each cohort goes the way a user's recordings go: written as files, read, preprocessed, trained on, evaluated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.files import read_json
from neurodecode.recordings.sources import expand_source
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.fit import fit

SMALL = ["model.hidden=32", "model.spatial_channels=24", "model.depth=3", "features.bands=12"]


def make_store(folder: Path, *changes: str) -> Path:
    settings = load_settings(SimulationSettings, "tiny", "configs/simulation", ["channels=24", "stories=6", *changes])
    simulate(settings, folder / "cohort")
    clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    return folder / "store"


def figures(store: Path, run: Path, *changes: str, controls: str = "[constant, ridge]") -> dict[str, Any]:
    torch.set_num_threads(1)
    fit(load_settings(TrainSettings, "tiny", "configs/training", [*SMALL, *changes]), store, run, progress=False)
    overrides = ["bootstrap=200", "permutations=200", f"controls={controls}"]
    return evaluate(run, load_settings(EvaluationSettings, None, "configs/evaluation", overrides), progress=False)


def test_an_easy_planted_response_is_solved_by_the_network_and_by_ridge(tmp_path: Path) -> None:
    store = make_store(tmp_path, "snr=6")
    result = figures(store, tmp_path / "run", "training.epochs=12")
    assert result["simulated"]
    assert result["n_candidates"] > 40
    assert result["metrics"]["top1"]["value"] > 0.9
    assert result["controls"]["ridge"]["metrics"]["top1"]["value"] > 0.9
    constant = result["controls"]["constant"]["metrics"]
    assert all(
        constant[m]["value"] == pytest.approx(constant[m]["chance"]) for m in ("top1", "top10", "match_mismatch")
    )
    ceiling = read_json(tmp_path / "cohort" / "simulation.json")["ceiling"]
    assert ceiling["ideal"]["top1"] > 0.99


def test_where_nothing_is_planted_everything_is_at_chance(tmp_path: Path) -> None:
    store = make_store(tmp_path, "snr=0", "subjects=3", "stories=8")
    result = figures(store, tmp_path / "run", "training.epochs=4", controls="[noise, ridge]")
    assert result["p_value"] > 0.02
    for metrics in (result["metrics"], *(control["metrics"] for control in result["controls"].values())):
        figure = metrics["match_mismatch"]
        # an interval over three subjects is too short: it is widened by half of what one segment can move
        assert figure["low"] - 0.03 < figure["chance"] < figure["high"] + 0.03
        assert abs(metrics["top10"]["value"] - metrics["top10"]["chance"]) < 0.08


def test_the_subject_layer_helps_where_subjects_differ(tmp_path: Path) -> None:
    different = ["orientation_spread=90", "gain_spread=0.6", "position_spread=0.02"]
    store = make_store(tmp_path, "snr=0.5", "subjects=4", *different)
    top1 = {}
    for subjects in ("layer", "none"):
        run = tmp_path / subjects
        result = figures(store, run, "training.epochs=8", f"model.subjects={subjects}", controls="[constant]")
        top1[subjects] = result["metrics"]["top1"]["value"]
    assert top1["layer"] > 0.75
    assert top1["layer"] - top1["none"] > 0.1


@pytest.mark.parametrize("modality", ["eeg", "seeg"])
def test_the_other_modalities_go_the_same_way(tmp_path: Path, modality: str) -> None:
    changes = [f"modality={modality}", "snr=6", "stories=4", "sfreq=128" if modality == "eeg" else "sfreq=200"]
    settings = load_settings(SimulationSettings, "tiny", "configs/simulation", ["channels=24", *changes])
    simulate(settings, tmp_path / "cohort")
    clean = PreprocessingSettings(high_pass=0.5, low_pass=20, sfreq=50, line_noise=50)
    preprocess(expand_source(tmp_path / "cohort"), tmp_path / "store", clean, progress=False)
    changes = ["training.epochs=12"] + (["segments.columns=recording"] if modality == "seeg" else [])
    result = figures(tmp_path / "store", tmp_path / "run", *changes)
    assert result["metrics"]["top10"]["value"] > 1.5 * result["metrics"]["top10"]["chance"]
    assert result["controls"]["ridge"]["metrics"]["top1"]["value"] > 0.9


def test_the_network_of_the_paper_takes_a_few_steps(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    simulate(load_settings(SimulationSettings, "tiny", "configs/simulation", ["sfreq=240"]), tmp_path / "cohort")
    clean = load_settings(PreprocessingSettings, "paper", "configs/preprocessing")
    preprocess(expand_source(tmp_path / "cohort"), tmp_path / "store", clean, progress=False)
    changes = ["epochs=1", "steps_per_epoch=2", "batch_size=32", "accelerator=cpu"]
    settings = load_settings(TrainSettings, "paper", "configs/training", [f"training.{c}" for c in changes])
    fit(settings, tmp_path / "store", tmp_path / "run", progress=False)
    info = read_json(tmp_path / "run" / "run.json")
    # 7,596,754 + 72,900 S for 1,024 outputs; log-mel has 120, and the head's last layer 641 for each
    assert info["n_parameters"] == 7_596_754 + 72_900 * 2 - 641 * (1_024 - 120)
    assert info["sizes"] == {"n_chans": 20, "n_outputs": 120, "n_times": 343, "sfreq": 120.0, "n_features": 120}
    assert info["finished"]
