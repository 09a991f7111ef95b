"""The first two stages see a part of each window: a random one in training, anew each epoch, the middle in validation."""

from __future__ import annotations

import lightning as L
import pytest
import torch

from neurodecode.config import load_training
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.files import read_json
from neurodecode.segments.batches import Batch
from neurodecode.training import codebook
from neurodecode.training.codebook_task import StageTask, stretch
from tests.training.codebook_runs import rows, settings, state, train

CROP, SHORT = "crop=0.4", "training.epochs=3"


def ramp(count: int = 400, length: int = 60) -> Batch:
    """Windows whose sample k is k on the first channel, 100 + k on the second."""
    signal = (torch.arange(length, dtype=torch.float) + torch.tensor([[0.0], [100.0]])).expand(count, 2, length)
    nothing = torch.zeros(count, dtype=torch.long)
    return Batch(signal, signal, nothing, nothing, nothing, nothing)


def seen(crop: int, batch: Batch, *, training: bool, seed: int = 0) -> torch.Tensor:
    task = StageTask(torch.nn.Linear(1, 1), settings("tokenizer"), 1, crop)
    torch.manual_seed(seed)
    return task.seen(batch, training=training).signal


def test_training_sees_a_stretch_from_every_possible_start_and_each_draw_is_another() -> None:
    found = seen(40, ramp(), training=True)
    starts = found[:, 0, 0]
    assert set(starts.tolist()) == set(range(21))  # the first and the last included
    assert torch.equal(found[:, 0], starts[:, None] + torch.arange(40))
    assert torch.equal(found[:, 1], 100 + found[:, 0])
    assert not torch.equal(seen(40, ramp(), training=True, seed=1), found)
    assert torch.equal(seen(40, ramp(), training=True), found)


def test_validation_sees_the_middle_whatever_the_random_state() -> None:
    for seed in (0, 1):
        found = seen(40, ramp(5), training=False, seed=seed)
        assert torch.equal(found[:, 0], torch.arange(10.0, 50.0).expand(5, 40))


def test_a_window_as_long_as_the_crop_is_seen_whole() -> None:
    for crop in (60, 0):
        for training in (True, False):
            assert torch.equal(seen(crop, ramp(5), training=training), ramp(5).signal)
    assert stretch(ramp(2).signal, torch.tensor([0, 20]), 40)[1, 0].tolist() == list(range(20, 60))


class Starts(L.Callback):
    """Keeps what the network sees."""

    def __init__(self) -> None:
        self.training: dict[int, list[torch.Tensor]] = {}
        self.validation: dict[int, list[torch.Tensor]] = {}
        self.hooks: list = []

    def on_fit_start(self, trainer, task) -> None:
        def keep(module, inputs) -> None:
            where = self.training if module.training else self.validation
            where.setdefault(trainer.current_epoch, []).append(inputs[0].detach().clone())

        self.hooks.append(task.model.register_forward_pre_hook(keep))


@pytest.mark.parametrize("task", ["tokenizer", "masked"])
def test_each_epoch_trains_on_other_parts_and_validates_on_the_same(tmp_path, monkeypatch, task) -> None:
    seen_by, whole = Starts(), codebook.train_task
    changes = [CROP, SHORT]
    if task == "masked":
        changes += ["model.target=patches", "start_from=null"]
    monkeypatch.setattr(codebook, "train_task", lambda *a, **k: whole(*a, **k, extra=(seen_by,)))
    run = train(task, tmp_path / "run", *changes)
    sizes = read_json(run / "run.json")["sizes"]
    assert (sizes["n_times"], sizes["n_window"]) == (40, 60)
    assert {x.shape[2] for x in seen_by.training[0] + seen_by.validation[0]} == {40}
    first, second = (torch.cat(seen_by.validation[epoch]) for epoch in (0, 1))
    assert torch.equal(first, second)
    # windows come in another order, so parts are compared as a set
    first, second = ({x.numpy().tobytes() for x in torch.cat(seen_by.training[epoch])} for epoch in (0, 1))
    assert len(first) == 64
    assert len(first & second) < 16  # by chance one of 21 starts is the same


class Kill(L.Callback):
    """Ends the process's work within a chosen epoch."""

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.current_epoch == 1 and args[-1] == 1:
            raise RuntimeError("killed")


def test_a_killed_run_goes_on_with_the_parts_that_an_undisturbed_one_sees(tmp_path, monkeypatch) -> None:
    undisturbed = train("tokenizer", tmp_path / "one", CROP, SHORT)
    whole = codebook.train_task
    monkeypatch.setattr(codebook, "train_task", lambda *a, **k: whole(*a, **k, extra=(Kill(),)))
    with pytest.raises(RuntimeError, match="killed"):
        train("tokenizer", tmp_path / "two", CROP, SHORT)
    monkeypatch.setattr(codebook, "train_task", whole)
    torch.manual_seed(99)
    killed = train("tokenizer", tmp_path / "two", CROP, SHORT)
    assert rows(killed) == rows(undisturbed)
    one, other = state(killed), state(undisturbed)
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_a_window_counts_as_seen_to_its_ends(tmp_path) -> None:
    """A crop of 0.4 s from the beginning of a window would not touch what is tested; the window's end does."""
    first = train("tokenizer", tmp_path / "one", CROP, "training.epochs=1")
    info = read_json(first / "run.json")
    from neurodecode.segments.labels import build_labels
    from neurodecode.training.codebook_data import refuse_seen_tests
    from tests.training.codebook_cohort import cohort

    chosen = settings("classify", "labels.window.tmin=0.42", "labels.window.tmax=0.58", "labels.split.test_runs=['2']")
    index = build_labels(cohort({"1": ("A1", "A2", "A3")}), chosen.labels).fold("fold-0")
    # windows end 0.5 s after an event, and the next begins at 0.6 s
    with pytest.raises(LeakageError, match="was trained on second"):
        refuse_seen_tests(index, first, "fold-0", info)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("tokenizer", ["crop=0.7"], "crop is 0.7 s, longer than labels.window, 0.6 s: lower crop or widen the window"),
        ("classify", ["crop=0.4"], "only the first two stages see parts of windows, set it to null"),
        ("tokenizer", ["crop=0"], "crop: 0 is not allowed"),
        ("tokenizer", ["crop=0.45"], "crop: 45 samples at 100 Hz are no multiple of model.encoder.patch, 20; change crop or"),
        ("tokenizer", ["crop=0.001"], "crop: 0 samples at 100 Hz are no multiple of model.encoder.patch, 20; change crop or"),
        ("tokenizer", [CROP, "model.quantizer.start_tokens=150"], "k-means waits for 150 tokens, an epoch has 128"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(tmp_path, task, changes, message) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        train(task, tmp_path / "run", *changes)
    assert "\n" not in str(error.value)


def test_the_published_windows_are_a_preset_of_each_stage() -> None:
    for stage in ("tokenizer", "masked"):
        found, plain = load_training(f"duin_{stage}_recordings"), load_training(f"duin_{stage}")
        window = found.labels.window
        assert (found.stride, found.crop, window.tmax - window.tmin) == (4.0, 4.0, 8.0)
        assert plain.crop is None
        assert (found.model, found.training) == (plain.model, plain.training)
