"""Two processes train as one with the joint batch does, and parts of a batch as devices that keep their negatives apart."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neurodecode.config import TrainSettings, validate
from neurodecode.errors import SettingsError
from neurodecode.objectives.clip import ClipLoss, parts_of, top_k_share
from neurodecode.segments.batches import Batch
from neurodecode.training.fit import train_fold
from neurodecode.training.task import AlignerTask
from tests.training.toy import F, T, toy_data, toy_settings

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {"whole": None, "parts": 8}  # objective.negatives of a batch of 16: two processes have 8 windows each


def settings(negatives: int | None, devices: int = 1) -> TrainSettings:
    """Statistics of a batch stay those of a process, as published: without them and dropout all is one and the same."""
    chosen = toy_settings(devices=devices, epochs=2).model_dump()
    chosen["model"] |= {"batch_norm": False, "dropout": 0.0, "spatial_dropout": 0.0}
    chosen["objective"] |= {"negatives": negatives}
    return TrainSettings.model_validate(chosen)


def trained(folder: Path) -> tuple[dict[str, torch.Tensor], list[tuple[float, ...]]]:
    """Weights at the end, and losses of each epoch."""
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    with open(folder / "metrics.csv", newline="") as file:
        rows = [
            tuple(float(row[k]) for k in ("train_loss", "valid_loss", "valid_top10")) for row in csv.DictReader(file)
        ]
    return state, rows


CODE = """
import sys
from pathlib import Path
from neurodecode.training.fit import train_fold
from tests.training.test_devices import VARIANTS, settings
from tests.training.toy import toy_data
for name, negatives in VARIANTS.items():
    train_fold(settings(negatives, 2), toy_data(), Path(sys.argv[1]) / name)
"""


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both variants, trained by two processes of one machine (gloo)."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(out)],
            env=os.environ | place | {"LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_end_with_the_losses_and_weights_of_one_with_the_joint_batch(
    by_two: Path, tmp_path: Path, name: str
) -> None:
    train_fold(settings(VARIANTS[name]), toy_data(), tmp_path)
    one, two = trained(tmp_path), trained(by_two / name)
    np.testing.assert_allclose(two[1], one[1], rtol=1e-5)
    assert two[0].keys() == one[0].keys()
    for key, value in one[0].items():
        other = two[0][key]
        if key == "model.attention.heads":  # of frequency 0, the same for all sensors: what it learns is rounding alone
            other, value = other[:, 1:], value[:, 1:]
        torch.testing.assert_close(other, value, rtol=1e-4, atol=5e-6, msg=lambda text, key=key: f"{key}: {text}")


def test_fewer_negatives_train_otherwise(by_two: Path) -> None:
    whole, parts = (trained(by_two / name)[1] for name in VARIANTS)
    assert parts[0][0] < whole[0][0] - 0.3  # about log 8 against log 16


def task(**objective: object) -> AlignerTask:
    chosen = toy_settings(batch_size=256).model_dump()
    chosen["objective"] |= objective
    made = AlignerTask(torch.nn.Identity(), TrainSettings.model_validate(chosen))
    made._trainer = SimpleNamespace(world_size=1, global_rank=0)  # type: ignore[assignment]
    return made


def batch(n: int) -> tuple[torch.Tensor, Batch]:
    generator = torch.Generator().manual_seed(0)
    estimate, target = torch.randn(2, n, F, T, generator=generator)
    zeros = torch.zeros(n, dtype=torch.long)
    return estimate.requires_grad_(True), Batch(target, target, zeros, zeros, torch.arange(n), torch.arange(n) // 3)


@pytest.mark.parametrize("duplicates", ["mask_duplicates", "share_duplicates", "none"])
def test_a_batch_of_256_with_128_negatives_costs_what_two_processes_of_128_do(duplicates: str) -> None:
    chosen = {} if duplicates == "none" else {duplicates: True}
    estimate, given = batch(256)
    made = task(negatives=128, **chosen)
    loss = made._loss(estimate, given.target, given.identity, given)
    (found,) = torch.autograd.grad(loss, estimate)
    alone = ClipLoss(**chosen)
    halves = [
        alone(estimate[half], given.target[half], given.identity[half]) for half in (slice(0, 128), slice(128, 256))
    ]
    torch.testing.assert_close(loss, (halves[0] + halves[1]) / 2)
    torch.testing.assert_close(found, torch.autograd.grad((halves[0] + halves[1]) / 2, estimate)[0])
    whole = task(**chosen)._loss(estimate, given.target, given.identity, given)
    assert whole.item() > loss.item() + 0.5  # about log 2
    torch.testing.assert_close(whole, alone(estimate, given.target, given.identity))


def test_processes_whose_windows_share_a_part_are_compared_with_all_of_it() -> None:
    """Four processes of 64 windows, parts of 128: the second process is the second half of the first part."""
    estimate, given = batch(256)
    made = task(negatives=128)
    found = []
    for rank in range(4):
        own = slice(64 * rank, 64 * rank + 64)
        made._trainer = SimpleNamespace(world_size=4, global_rank=rank)  # type: ignore[assignment]
        mine = Batch(*(getattr(given, k)[own] for k in ("signal", "target", "subject", "layout", "window", "identity")))
        found.append(made._loss(estimate[own], given.target, given.identity, mine))
    joint = task(negatives=128)._loss(estimate, given.target, given.identity, given)
    torch.testing.assert_close(torch.stack(found).mean(), joint)


def test_the_share_of_right_answers_is_counted_within_parts() -> None:
    scores = torch.eye(40)
    scores[:, 25:] += 2.0  # the last 15 candidates attract everything
    made = task(negatives=8, kind="clip")

    def share(rows: slice, part: slice, first: int) -> torch.Tensor:
        chosen = scores[rows, part]
        return top_k_share(chosen, torch.arange(len(chosen)) + first, k=1)

    # parts of 8: of 0-7, 8-15, 16-23 all are right; of 24-31 one that is no magnet is wrong, the magnets are right
    assert made._over_parts(40, 40, 0, share).item() == pytest.approx(39 / 40)
    assert task()._over_parts(40, 40, 0, share).item() == pytest.approx(15 / 40)


def test_parts_are_of_the_size_asked_for_or_all_but_equal_smaller_ones() -> None:
    assert parts_of(256, 128) == [(0, 128), (128, 256)]
    assert parts_of(256, None) == parts_of(256, 300) == [(0, 256)]
    assert parts_of(200, 128) == [(0, 100), (100, 200)]
    assert [b - a for a, b in parts_of(10, 4)] == [3, 3, 4]


def test_a_batch_that_is_smaller_than_the_part_is_one_part() -> None:
    estimate, given = batch(64)
    found = task(negatives=256)._loss(estimate, given.target, given.identity, given)
    torch.testing.assert_close(found, ClipLoss()(estimate, given.target))
    validate(TrainSettings, {"objective": {"negatives": 128}, "training": {"batch_size": 64}}, "test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": {"negatives": 100}}, "training.batch_size 256 is no multiple of objective.negatives 100"),
        ({"objective": {"negatives": 128, "kind": "mse"}}, "negatives needs kind clip or siglip"),
        ({"objective": {"negatives": 1}}, "greater than or equal to 2"),
    ],
)
def test_numbers_of_negatives_that_cannot_be_are_refused(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validate(TrainSettings, values, "test")
