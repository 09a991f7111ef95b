"""What a stage tests has no part in it: neither weights, nor the epoch that is kept, nor scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from neurodecode.files import read_json
from neurodecode.training import codebook
from neurodecode.training.codebook import fit_codebook
from tests.training.codebook_cohort import WORDS, cohort
from tests.training.codebook_runs import NAMES, rows, settings, state

# a head that answers all words alike and does not learn: every epoch is a tie
TIES = ("training.epochs=3", "training.learning_rate=1.0e-30", "training.final_rate=0", "training.weight_decay=0")
LEARNS = ("training.epochs=4",)


def trained(out: Path, *overrides: str, other_test: bool = False) -> Path:
    """A classifier of the cohort; with another run to be tested on, if so wished."""
    store = cohort(NAMES)
    if other_test:
        tested = store.recordings[3]
        rng = np.random.default_rng(5)
        tested.signal = (1e-3 * rng.standard_normal(tested.signal.shape)).astype(np.float32)
        tested.events["label"] = rng.permutation(tested.events["label"])
    whole = codebook.train_task

    def tied(task, *args, **kwargs):
        with torch.no_grad():
            task.model.head[-1].weight.zero_()
        return whole(task, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: store)
        if overrides == TIES:
            patch.setattr(codebook, "train_task", tied)
        return fit_codebook(settings("classify", *overrides), Path("fake-store"), out, progress=False)


@pytest.mark.parametrize("overrides", [LEARNS, TIES], ids=["learns", "ties"])
def test_the_tested_run_changes_neither_weights_nor_scaling_nor_the_epoch_that_is_kept(tmp_path, overrides) -> None:
    one = trained(tmp_path / "one", *overrides)
    other = trained(tmp_path / "other", *overrides, other_test=True)
    labels = [pd.read_csv(run / "evaluation" / "test_answers.csv.gz")["label"].tolist() for run in (one, other)]
    assert labels[0] != labels[1]  # another test it is
    assert rows(one) == rows(other)
    for name in ("best.ckpt", "last.ckpt"):
        a, b = state(one, name), state(other, name)
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    kept = [read_json(run / "fold-0" / "finished.json")["best_epoch"] for run in (one, other)]
    assert kept[0] == kept[1]
    scalers = [np.load(run / "fold-0" / "scalers.npz") for run in (one, other)]
    assert all(np.array_equal(scalers[0][key], scalers[1][key]) for key in scalers[0].files)


def test_of_equal_epochs_the_first_is_kept(tmp_path) -> None:
    run = trained(tmp_path / "run", *TIES)
    losses = [float(row["valid_loss"]) for row in rows(run)]
    assert losses == [losses[0]] * 3
    assert read_json(run / "fold-0" / "finished.json")["best_epoch"] == 0


def test_a_word_that_the_tested_run_lacks_moves_no_number(tmp_path) -> None:
    store = cohort(NAMES)
    tested = store.recordings[3]
    tested.events = tested.events[tested.events["label"] != "ba"].reset_index(drop=True)  # the first in order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: store)
        run = fit_codebook(
            settings("classify", "training.epochs=8"), Path("fake-store"), tmp_path / "run", progress=False
        )
    assert read_json(run / "fold-0" / "vocabulary.json") == list(WORDS)
    result = read_json(run / "evaluation" / "test.json")
    assert result["n_windows"] == 24
    assert result["metrics"]["accuracy"]["value"] > 0.6
