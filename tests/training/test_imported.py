"""Weights in the published code's names become a run: its answers are those of the network that they came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from neurodecode.cli import main
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
from neurodecode.reports.report import write_report
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.calibrate import calibrate
from neurodecode.training.fit import fit
from neurodecode.training.load import load_fold

SETTINGS = ["training.epochs=1", "segments.train_anchors.stride=1.0", "training.batch_size=32", "exclude=['03']"]
QUICK = EvaluationSettings(bootstrap=20, permutations=20, controls=())
PEOPLE = "subject_layer.matrices"


def tiny(*changes: str) -> TrainSettings:
    return load_settings(TrainSettings, "tiny", "configs/training", [*SETTINGS, *changes])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    sizes = ["subjects=3", "channels=12", "run_seconds=60"]
    simulate(load_settings(SimulationSettings, "tiny", "configs/simulation", sizes), folder / "cohort")
    clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    return folder / "store"


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tiny(), store, tmp_path_factory.mktemp("trained") / "run", progress=False)


def published_names(state: dict[str, torch.Tensor], rows: list[int]) -> dict[str, torch.Tensor]:
    """Our names to those of the published code (docs/released_weights.md), for the preset tiny; people in another order."""
    found = {}
    for name, value in state.items():
        if name == PEOPLE:
            found["subject_layers.weights"] = value[rows]
        elif name == "attention.heads":
            found["merger.heads"] = value
        elif layer := re.fullmatch(r"encoder\.([01])\.(convolution|norm)\.(\w+)", name):
            found[f"encoders.meg.sequence.{layer[1]}.{int(layer[2] == 'norm')}.{layer[3]}"] = value
        elif gate := re.fullmatch(r"encoder\.2\.convolution\.(\w+)", name):
            found[f"encoders.meg.glus.1.0.{gate[1]}"] = value
        elif name == "head.2.weight":
            found["final.2.weight"] = value.transpose(0, 1)
        else:
            found[name.replace("initial.", "initial_linear.0.").replace("head.", "final.")] = value
    return found


@pytest.fixture(scope="module")
def file(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That training's people were numbered 02, 01."""
    path = tmp_path_factory.mktemp("weights") / "best_state.pt"
    torch.save(published_names(load_fold(trained, "fold-0")[0].state_dict(), [1, 0]), path)
    return path


def command(file: Path, store: Path, out: Path, *more: str) -> int:
    sets = [part for change in SETTINGS for part in ("--set", change)]
    with pytest.raises(SystemExit) as stop:
        main(["import-weights", str(file), "--store", str(store), "--out", str(out), "--config", "tiny", *sets, *more])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def run(file: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "run"
    assert command(file, store, out, "--subjects", "02,01") == 0
    return out


def test_the_run_holds_the_weights_and_says_where_they_came_from(run: Path, trained: Path, file: Path) -> None:
    ours, theirs = (load_fold(folder, "fold-0")[0].state_dict() for folder in (run, trained))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    info = read_json(run / "run.json")
    assert info["finished"]
    assert (info["weights"]["file"], info["weights"]["subjects"]) == ("best_state.pt", ["02", "01"])
    assert read_json(run / "fold-0" / "finished.json")["epochs"] == 0


def test_it_is_evaluated_reported_calibrated_and_begun_with_like_the_run_that_it_came_from(
    run: Path, trained: Path, store: Path, tmp_path: Path
) -> None:
    mine, other = (evaluate(folder, QUICK, progress=False)["metrics"] for folder in (run, trained))
    assert mine == other
    assert write_report(run).is_file()
    people = load_fold(run, "fold-0")[0].state_dict()[PEOPLE]
    somebody = calibrate(run, store, "03", 0, tmp_path / "03", progress=False)
    torch.testing.assert_close(load_fold(somebody, "fold-0")[0].state_dict()[PEOPLE][0], people.mean(0))
    further = fit(tiny(f"start_from={run}", "train_only=subject"), store, tmp_path / "further", progress=False)
    after = load_fold(further, "fold-0")[0].state_dict()
    assert torch.equal(after["attention.heads"], load_fold(run, "fold-0")[0].state_dict()["attention.heads"])
    assert not torch.equal(after[PEOPLE], people)


def test_the_same_command_again_keeps_the_run_and_another_file_or_a_training_is_refused(
    run: Path, file: Path, store: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command(file, store, run, "--subjects", "02,01") == 0
    assert command(file, store, run, "--subjects", "01,02") == 2
    assert "holds a run with other weights at its beginning; give another --out" in capsys.readouterr().err
    assert command(file, store, trained) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--subjects", "02,01,07"], r"was trained on 2 people, --subjects names 3; give --subjects"),
        (["--subjects", "02,07"], r"01 of the store is none of --subjects; leave out who is not there: --set exclude"),
        (["--subjects", "02,02"], r"--subjects: 02 stands there twice"),
        (["--set", "exclude=[]"], r"was trained on 2 people, the store has 3; give --subjects"),
        (["--set", "model.hidden=8"], r"the settings \(\d+.*use a --config \(or --set model\.\.\.\.\) of the network"),
        (["--set", "model.glu_every=0"], r"has encoder\.2\.convolution\.bias, the settings no such part"),
        (["--set", "objective.kind=siglip", "--set", "objective.mask_duplicates=false"], r"has nothing for siglip"),
        (["--set", "segments.split.rule=leave-one-run-out"], r"was trained on one split"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    file: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str], message: str
) -> None:
    assert command(file, store, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command(tmp_path / "none.pt", store, tmp_path / "out") == 2
    assert "none.pt: no such file; give a state dict" in capsys.readouterr().err
