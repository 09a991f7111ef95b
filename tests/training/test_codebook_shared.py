"""Shared and private tables in the stages: columns of each table, what is handed on, and a kill in between."""

from __future__ import annotations

import lightning as L
import pytest
import torch

from neurodecode.config import QuantizerSettings, load_training
from neurodecode.files import read_json
from neurodecode.training import codebook
from neurodecode.training.codebook_stages import load_stage
from tests.training.codebook_runs import TWO, column, rows, state, train

TABLE = (
    "model.quantizer={kind: shared-private, codes: 12, private: 4, dimension: 8, decay: 0.9, start_tokens: 48}",
    "training.epochs=4",
)
THREE = TWO | {"3": ("B1", "C2")}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train("tokenizer", tmp_path_factory.mktemp("shared") / "tokenizer", *TABLE, subjects=TWO)


def test_the_tokenizer_says_how_each_table_is_used(tokenizer) -> None:
    last = rows(tokenizer)[-1]
    names = ["shared", "private_1", "private_2"]
    sizes = {"shared": 12, "private_1": 4, "private_2": 4}
    for name in names:
        assert 0 < float(last[f"usage_{name}"]) <= 1
        assert 1 <= float(last[f"perplexity_{name}"]) <= sizes[name]
    hit = sum(float(last[f"usage_{name}"]) * sizes[name] for name in names)
    assert hit / 20 == pytest.approx(float(last["usage"]))
    assert 0 < float(last["shared_tokens"]) < 1
    assert read_json(tokenizer / "fold-0" / "finished.json")["usage_private_2"] == float(last["usage_private_2"])
    model, _ = load_stage(tokenizer)
    assert model.bottleneck.quantizer.started.tolist() == [True] * 3
    assert column(tokenizer, "valid_reconstruction")[-1] < column(tokenizer, "valid_reconstruction")[0]


def test_codes_of_a_subject_are_never_anothers_and_the_masked_stage_learns_them(tmp_path, tokenizer) -> None:
    model, _ = load_stage(tokenizer)
    x = torch.randn(40, 3, 60)
    for s in (0, 1):
        codes = model.codes(x, torch.full((40,), s))
        other = slice(12 + 4 * (1 - s), 12 + 4 * (1 - s) + 4)
        assert not set(codes.flatten().tolist()) & set(range(20)[other])
    run = train("masked", tmp_path / "masked", f"start_from={tokenizer}", "training.epochs=2", subjects=TWO)
    masked, _ = load_stage(run)
    assert masked.codes == 20
    assert read_json(run / "run.json")["sizes"]["tokenizer_subjects"] == 2
    alone = train(
        "masked", tmp_path / "alone", f"start_from={tokenizer}", "training.epochs=1", "subjects=['2']", subjects=TWO
    )
    assert load_stage(alone)[0].codes == 20  # of all of the tokenizer's subjects


def test_a_classifier_that_keeps_the_table_gives_a_new_subject_the_shared_rows_only(tmp_path, tokenizer) -> None:
    kept = TABLE[0]
    run = train(
        "classify", tmp_path / "words", f"start_from={tokenizer}", kept, "training.epochs=1", "subjects=['2', '3']",
        subjects=THREE,
    )  # fmt: skip
    ours, theirs = (load_stage(path)[0].bottleneck.quantizer for path in (run, tokenizer))
    assert ours.started.tolist() == [True, True, False]
    assert torch.equal(ours.codebook[:16], torch.cat([theirs.codebook[:12], theirs.codebook[16:]]))


class Kill(L.Callback):
    """Ends the process's work within a chosen epoch."""

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.current_epoch == 2 and args[-1] == 1:
            raise RuntimeError("killed")


def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, monkeypatch, tokenizer) -> None:
    whole = codebook.train_task
    monkeypatch.setattr(codebook, "train_task", lambda *a, **k: whole(*a, **k, extra=(Kill(),)))
    with pytest.raises(RuntimeError, match="killed"):
        train("tokenizer", tmp_path / "run", *TABLE, subjects=TWO)
    monkeypatch.setattr(codebook, "train_task", whole)
    torch.manual_seed(99)
    train("tokenizer", tmp_path / "run", *TABLE, subjects=TWO)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = state(tmp_path / "run", name), state(tokenizer, name)
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []
    assert rows(tmp_path / "run") == rows(tokenizer)


def test_a_table_that_is_hardly_used_is_named(tmp_path) -> None:
    with pytest.warns(UserWarning, match="of the codes of table private_1 are in use"):
        train("tokenizer", tmp_path / "run", TABLE[0].replace("private: 4", "private: 64"), "training.epochs=1",
              "least_usage=0.9")  # fmt: skip


def test_the_preset_has_the_sizes_that_are_known_of_h2dilr() -> None:
    found, plain = load_training("duin_shared_private"), load_training("duin_tokenizer")
    expected = QuantizerSettings(kind="shared-private", codes=128, private=32, dimension=256, start_tokens=512)
    assert found.model.quantizer == expected
    assert found.model.encoder == plain.model.encoder
    assert found.training == plain.training
