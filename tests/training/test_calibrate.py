"""Somebody new: excluded from a run, then served by the mean of the others, or by some minutes of his own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.windows import build_windows
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store
from neurodecode.training.calibrate import calibrate, calibration_settings
from neurodecode.training.fit import fit
from neurodecode.training.load import load_fold
from neurodecode.training.portion import chosen_subjects, sessions_of, trained_rows, within_minutes
from neurodecode.training.run_folder import read_run

NETWORK = [
    "training.epochs=2",
    "segments.train_anchors.stride=1.0",
    "model.sessions=deviation",
    "training.batch_size=32",
]
SUBJECT = "subject_layer.matrices"


def tiny(*changes: str) -> TrainSettings:
    return load_settings(TrainSettings, "tiny", "configs/training", [*NETWORK, *changes])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    settings = load_settings(
        SimulationSettings, "tiny", "configs/simulation", ["subjects=3", "channels=12", "run_seconds=60"]
    )
    simulate(settings, folder / "cohort")
    clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    return folder / "store"


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> Path:
    return fit(tiny("exclude=['03']"), store, tmp_path_factory.mktemp("without") / "run", progress=False)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_fold(run, "fold-0")[0].state_dict()


def test_whoever_is_excluded_is_not_in_the_run(run) -> None:
    info = read_run(run)
    assert info["subjects"] == ["01", "02"]
    assert all("sub-03" not in name for name in info["recordings"])


def test_without_minutes_somebody_new_gets_the_mean_and_nothing_is_trained(run, store, tmp_path) -> None:
    out = calibrate(run, store, "03", 0, tmp_path / "none", progress=False)
    before, after = weights(run), weights(out)
    assert read_run(out)["subjects"] == ["03"]
    people = load_fold(run, "fold-0")[0].subject_layer.rows()[-1]
    torch.testing.assert_close(after[SUBJECT][0], people)
    assert (after["subject_layer.sessions"] == 0).all()
    assert [n for n in before if not n.startswith("subject_layer") and not torch.equal(before[n], after[n])] == []
    result = evaluate(out, quick(), progress=False)
    assert list(result["per_subject"]) == ["03"]
    with np.load(run / "fold-0" / "scalers.npz") as one, np.load(out / "fold-0" / "scalers.npz") as two:
        np.testing.assert_array_equal(one["feature_mean"], two["feature_mean"])


def quick() -> EvaluationSettings:
    return load_settings(
        EvaluationSettings, None, "configs/evaluation", ["bootstrap=10", "permutations=1", "controls=[constant]"]
    )


def test_some_minutes_change_the_subject_layer_alone(run, store, tmp_path) -> None:
    out = calibrate(run, store, "03", 1.5, tmp_path / "some", progress=False)
    before, after = weights(run), weights(out)
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert changed == {SUBJECT, "subject_layer.sessions"}
    assert len(after[SUBJECT]) == 1
    settings = calibration_settings(run, "03", 1.5)
    assert settings.segments.scaling.scope == "subject"
    assert calibrate(run, store, "03", 1.5, tmp_path / "some", progress=False) == out  # finished: left alone


def test_the_first_minutes_are_those_of_signal_in_the_order_of_time(store) -> None:
    index = build_windows(Store(store), tiny().segments).fold("fold-0")
    assert within_minutes(index, None) is index
    limited = within_minutes(index, 1.5)
    for subject in range(3):
        mine = index.table["subject"].to_numpy() == subject
        spans = covered(limited.table[mine & limited.table["split"].isin(["train", "valid"])], index.n_times)
        assert 80 < spans / index.sfreq <= 90
    unused = limited.table["split"] != index.table["split"]
    assert set(index.table["split"][unused]) <= {"train", "valid"}
    kept = limited.table[limited.table["split"].isin(["train", "valid"])]
    for subject, gone in limited.table[unused].groupby("subject"):
        last = max(kept[kept["subject"] == subject][["recording", "start"]].to_numpy().tolist())
        assert min(gone[["recording", "start"]].to_numpy().tolist()) > last
    train, valid = trained_rows(limited, 1.5)
    assert len(train) > 0
    assert len(valid) > 0
    assert [len(rows) for rows in trained_rows(limited, 0)] == [0, 0]


def covered(table: pd.DataFrame, length: int) -> int:
    return sum(
        len(set().union(*(range(s, s + length) for s in part["start"]))) for _, part in table.groupby("recording")
    )


def test_a_session_is_a_recording_and_is_seen_if_it_trains(store) -> None:
    index = within_minutes(build_windows(Store(store), tiny().segments).fold("fold-0"), 1.0)
    sessions = sessions_of(index, "recording")
    assert len(sessions.owner) == len(index.recordings)
    for number, recording in enumerate(index.recordings):
        assert index.subjects[sessions.owner[sessions.of[number]]] == recording.subject
    trained = set(index.table["recording"].to_numpy()[index.rows("train")])
    assert {n for n in range(len(index.recordings)) if sessions.seen[sessions.of[n]]} == trained
    assert len(trained) < len(index.recordings)


def test_what_cannot_be_begun_with_is_one_clear_line(run, store, tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"--subject 01: .* was trained on this subject"):
        calibration_settings(run, "01", 1)
    with pytest.raises(LeakageError, match="was split in another way"):
        calibrate(run, store, "03", 1, tmp_path / "a", ["segments.split.valid=0.12"], progress=False)
    with pytest.raises(SettingsError, match="model.hidden: 8, but .* has 16; set it so"):
        calibrate(run, store, "03", 1, tmp_path / "b", ["model.hidden=8"], progress=False)
    with pytest.raises(SettingsError, match="exclude: .* has no subject 09; there are 01, 02, 03"):
        chosen_subjects(tiny("exclude=['09']"), Store(store))
    with pytest.raises(SettingsError, match="need start_from"):
        tiny("minutes=0")
