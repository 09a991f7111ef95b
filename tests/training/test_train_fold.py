"""Training of one fold: it learns, it stops, and a killed run ends like an undisturbed one."""

from __future__ import annotations

import csv
import subprocess
import sys
import textwrap
from pathlib import Path

import lightning as L
import pytest
import torch

from neurodecode.errors import NeurodecodeError
from neurodecode.training.fit import train_fold
from tests.training.toy import toy_data, toy_settings


class Kill(L.Callback):
    """Ends the process's work at a chosen moment of a chosen epoch."""

    def __init__(self, epoch: int, moment: str) -> None:
        self.epoch, self.moment = epoch, moment

    def on_train_batch_end(self, trainer, *args) -> None:
        if self.moment == "within" and trainer.current_epoch == self.epoch and args[-1] == 1:
            raise RuntimeError("killed")

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if self.moment == "end" and trainer.current_epoch == self.epoch:
            raise RuntimeError("killed")


def weights(folder: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)["state_dict"]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        first, second = weights(one, name), weights(other, name)
        assert first.keys() == second.keys()
        assert [k for k in first if not torch.equal(first[k], second[k])] == []
    assert rows(one) == rows(other)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train_fold(toy_settings(schedule="cosine"), toy_data(), folder)
    return folder


def test_it_learns_what_can_be_learnt(tmp_path) -> None:
    done = train_fold(toy_settings(epochs=12), toy_data(), tmp_path)
    table = rows(tmp_path)
    assert len(table) == done["epochs"] == 12
    assert float(table[-1]["valid_top10"]) > 0.9
    assert float(table[-1]["valid_loss"]) < 0.6 * float(table[0]["valid_loss"])
    assert done["best_valid_loss"] == min(float(r["valid_loss"]) for r in table)
    assert int(table[-1]["step"]) == 12 * 4  # 72 windows: four whole batches of 16 an epoch


@pytest.mark.parametrize("moment", ["within", "end"])
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path, undisturbed, moment) -> None:
    settings = toy_settings(schedule="cosine")
    with pytest.raises(RuntimeError, match="killed"):
        train_fold(settings, toy_data(), tmp_path, extra=(Kill(2, moment),))
    assert len(weights(tmp_path)) == len(weights(undisturbed))
    torch.manual_seed(99)  # whatever the new process's random state is
    train_fold(settings, toy_data(), tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_a_process_that_dies_leaves_a_run_that_goes_on(tmp_path, undisturbed) -> None:
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import lightning as L
        sys.path.insert(0, sys.argv[2])
        from neurodecode.training.fit import train_fold
        from tests.training.toy import toy_data, toy_settings

        class Die(L.Callback):
            def on_validation_start(self, trainer, pl_module):
                if trainer.current_epoch == 2:
                    os.kill(os.getpid(), signal.SIGKILL)

        train_fold(toy_settings(schedule="cosine"), toy_data(), Path(sys.argv[1]), extra=(Die(),))
        """
    )
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(root)], capture_output=True, check=False)
    assert ended.returncode == -9, ended.stderr.decode()
    assert len(rows(tmp_path)) == 2
    train_fold(toy_settings(schedule="cosine"), toy_data(), tmp_path)
    assert_same_run(tmp_path, undisturbed)


def test_a_finished_fold_is_not_trained_further(tmp_path, undisturbed) -> None:
    before = weights(undisturbed)
    done = train_fold(toy_settings(schedule="cosine"), toy_data(), undisturbed)
    assert done["epochs"] == 4
    after = weights(undisturbed)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_patience_ends_training_and_is_remembered(tmp_path) -> None:
    settings = toy_settings(epochs=30, patience=2, learning_rate=3.0)
    done = train_fold(settings, toy_data(), tmp_path)
    assert done["stopped"] == "patience"
    assert done["epochs"] == done["best_epoch"] + 1 + 2 < 30
    assert train_fold(settings, toy_data(), tmp_path) == done


def test_a_loss_that_is_not_finite_is_an_error_and_is_not_kept(tmp_path) -> None:
    data = toy_data()
    data.source.target[3] = float("nan")
    with pytest.raises(NeurodecodeError, match=r"train_loss is nan in epoch 0; lower training.learning_rate"):
        train_fold(toy_settings(), data, tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_shuffled_pairs_cannot_be_learnt(tmp_path) -> None:
    shares = {}
    for control in ("none", "shuffled"):
        settings = toy_settings(epochs=12, batch_size=24, control=control)
        train_fold(settings, toy_data(), tmp_path / control)
        shares[control] = float(rows(tmp_path / control)[-1]["valid_top10"])
    assert shares["shuffled"] < 0.7  # one batch of 24: chance is 10 / 24, give or take 0.1
    assert shares["none"] > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"kind": "mse"}},
        {"objective": {"mask_duplicates": True}},
        {"objective": {"share_duplicates": True, "label_smoothing": 0.1}},
        {"objective": {"kind": "siglip"}, "training": {"weight_decay": 0.1, "schedule": "cosine"}},
        {"training": {"weight_decay": 0.1, "gradient_clip": 1.0, "precision": "bf16-mixed"}},
        {"training": {"steps_per_epoch": 2}},
        {"training": {"workers": 1}},
    ],
    ids=str,
)
def test_every_setting_trains(tmp_path, changes) -> None:
    base = toy_settings(epochs=2).model_dump()
    for key, values in changes.items():
        base[key] |= values
    settings = type(toy_settings()).model_validate(base)
    done = train_fold(settings, toy_data(), tmp_path)
    steps = 2 if settings.training.steps_per_epoch == 2 else 4
    assert done["epochs"] == 2
    assert int(rows(tmp_path)[-1]["step"]) == 2 * steps


@pytest.mark.slow
def test_a_compiled_network_keeps_its_names(tmp_path) -> None:
    train_fold(toy_settings(epochs=1, compile=True), toy_data(), tmp_path)
    assert all("_orig_mod" not in name for name in weights(tmp_path))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_trains_on_cuda_in_bfloat16(tmp_path) -> None:
    done = train_fold(toy_settings(epochs=12), toy_data(), tmp_path, accelerator="cuda", precision="bf16-mixed")
    assert float(rows(tmp_path)[-1]["valid_top10"]) > 0.9
    assert done["epochs"] == 12
