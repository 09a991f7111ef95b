"""A run with context: it resumes, learns from neighbours, is calibrated and scored, and reads nothing of another side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.retrieval.tables import evaluation_table
from neurodecode.evaluation.runs.ensemble import ensemble
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.batches import Batch, with_neighbours
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.calibrate import calibrate
from neurodecode.training.data import noise_like
from neurodecode.training.fit import fit, train_fold
from neurodecode.training.load import estimate, load_fold, load_source
from neurodecode.training.run_folder import read_run
from tests.training.test_train_fold import Kill, assert_same_run
from tests.training.toy import N, ToySource, toy_data, toy_settings

SMALL = ["model.context.width=16", "model.context.heads=2", "model.context.pieces=2", "model.context.windows=3"]
NETWORK = ["training.epochs=2", "segments.train_anchors.stride=1.0", "training.batch_size=32"]
CONTEXT = {"windows": 3, "width": 16, "heads": 2, "pieces": 2}


class Elsewhere(ToySource):
    """The target of a window is written into the window before it: without that neighbour nothing can be known."""

    def __getitem__(self, rows: np.ndarray) -> Batch:
        rows = np.asarray(rows)
        table = np.stack([np.arange(N) - 1, np.arange(N), np.full(N, -1)], axis=1)
        shown, places = with_neighbours(rows, table)
        plain = super().__getitem__(shown)
        index = torch.as_tensor(rows)
        before = torch.where(index > 0, index - 1, 0)
        return replace(plain, target=self.target[before], identity=index, context=torch.as_tensor(places))


def toy_context(**training) -> TrainSettings:
    settings = toy_settings(**training)
    model = settings.model.model_copy(update={"context": settings.model.context.model_validate(CONTEXT)})
    return settings.model_copy(update={"model": model})


def test_a_killed_run_with_context_ends_like_an_undisturbed_one(tmp_path) -> None:
    settings, data = toy_context(epochs=3), replace(toy_data(), source=Elsewhere())
    train_fold(settings, data, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train_fold(settings, data, tmp_path / "killed", extra=(Kill(1, "within"),))
    torch.manual_seed(5)
    train_fold(settings, data, tmp_path / "killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert any("context" in name for name in torch.load(tmp_path / "whole" / "best.ckpt")["state_dict"])


def test_noise_takes_the_place_of_neighbours_too() -> None:
    batch = Elsewhere()[np.array([3, 9])]
    noise = noise_like(batch, 1)
    assert noise.shape == batch.signal.shape == (4, *batch.signal.shape[1:])
    torch.testing.assert_close(noise[:2], noise_like(batch.alone(), 1))
    assert not torch.equal(noise[2:], batch.signal[2:])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    settings = load_settings(
        SimulationSettings, "tiny", "configs/simulation", ["subjects=2", "channels=12", "run_seconds=60"]
    )
    simulate(settings, folder / "cohort")
    clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    return folder / "store"


def tiny(*changes: str) -> TrainSettings:
    return load_settings(TrainSettings, "tiny", "configs/training", [*NETWORK, *changes])


@pytest.fixture(scope="module")
def run(store, tmp_path_factory) -> Path:
    return fit(tiny(*SMALL, "exclude=['02']"), store, tmp_path_factory.mktemp("run") / "run", progress=False)


def quick(*controls: str) -> EvaluationSettings:
    return EvaluationSettings(bootstrap=20, permutations=1, controls=controls)


def test_evaluation_tells_what_was_shown_and_scores_the_same_windows_alone_and_with_strangers(run) -> None:
    result = evaluate(run, quick("context", "noise"), progress=False)
    source = load_source(run, "fold-0")
    rows = source.index.rows("test")
    assert result["n_queries"] == len(rows)
    assert result["context"]["windows"] == 3
    assert result["context"]["reach"] == pytest.approx(5.0, abs=0.03)
    assert result["context"]["neighbours"] == pytest.approx((source.neighbours[rows] >= 0).sum(1).mean() - 1)
    assert {"alone", "strangers", "noise"} <= set(result["controls"])
    assert set(result["against_alone"]) == {"top1", "top10", "match_mismatch"}
    alone, whole = result["controls"]["alone"]["metrics"]["mrr"]["value"], result["metrics"]["mrr"]["value"]
    assert alone != whole
    title, _, table, _ = evaluation_table(result)
    assert "neighbours within 5" in title
    assert [row[0] for row in table][1:3] == ["alone", "strangers"]


def test_a_window_is_answered_alike_whatever_else_is_asked(run) -> None:
    model, settings, _ = load_fold(run, "fold-0")
    source = load_source(run, "fold-0")
    rows = source.index.rows("test")
    together = estimate(model, source[rows], settings)
    assert together.shape[0] == len(rows)
    torch.testing.assert_close(together[3:4], estimate(model, source[rows[3:4]], settings), atol=1e-5, rtol=1e-4)


def test_nothing_of_another_side_reaches_the_loss_of_a_training_window(run, store, tmp_path) -> None:
    """With everything poisoned that training windows do not cover, each training window is answered as before."""
    model, settings, _ = load_fold(run, "fold-0")
    source = load_source(run, "fold-0")
    rows = source.index.rows("train")
    before = estimate(model, source[rows], settings)
    table = source.index.table
    for number, signal in enumerate(source._signals):
        own = np.zeros(signal.shape[1], bool)
        for start in table["start"].to_numpy()[rows[table["recording"].to_numpy()[rows] == number]]:
            own[start : start + source.index.n_times] = True
        changed = np.array(signal)
        changed[:, ~own] = 1.0  # volts, or teslas
        source._signals[number] = changed
    assert torch.equal(estimate(model, source[rows], settings), before)
    tested, untouched = source.index.rows("test"), load_source(run, "fold-0")
    assert not torch.equal(source[tested].signal, untouched[tested].signal)


def test_the_audit_counts_the_windows_that_are_only_looked_at(run) -> None:
    audit = read_run(run)["split"]["audit"]
    assert audit["seconds_shared"] == 0
    assert audit["context_windows"] > 0


def test_somebody_new_is_calibrated_with_the_context_left_as_it_was(run, store, tmp_path) -> None:
    out = calibrate(run, store, "02", 1.5, tmp_path / "some", progress=False)
    before, after = (load_fold(folder, "fold-0")[0].state_dict() for folder in (run, out))
    assert [name for name in after if not torch.equal(before[name], after[name])] == ["subject_layer.matrices"]
    source = load_source(out, "fold-0")
    late = np.flatnonzero((source.index.table["split"] == "") & (source.index.table["anchors"] == "train"))
    train = source.index.rows("train")
    shown = np.unique(source.neighbours[train])
    assert len(late) > 0
    assert not np.isin(shown, late).any()  # windows beyond his minutes are no neighbours either
    assert "alone" in evaluate(out, quick("context"), progress=False)["controls"]


def test_runs_with_and_without_context_make_no_ensemble_and_start_no_other(run, store, tmp_path) -> None:
    plain = fit(tiny("exclude=['02']", "seed=2"), store, tmp_path / "plain", progress=False)
    again = fit(tiny("exclude=['02']", "seed=3", *SMALL), store, tmp_path / "again", progress=False)
    result = evaluate(plain, quick("context", "constant"), progress=False)
    assert result["context"] is None
    assert set(result["controls"]) == {"constant"}
    for folder in (run, again):
        evaluate(folder, quick("constant"), progress=False)
    with pytest.raises(NeurodecodeError, match=r"their neighbours \(model\.context\) differ"):
        ensemble([run, plain], tmp_path / "mixed")
    ensemble([run, again], tmp_path / "both")
    with pytest.raises(SettingsError, match=r"model\.context"):
        calibrate(run, store, "02", 1.5, tmp_path / "other", ["model.context.windows=1"], progress=False)
