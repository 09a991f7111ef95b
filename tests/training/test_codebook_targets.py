"""What the masked stage predicts besides codes: embeddings and patches, each beside what knows nothing of the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurodecode.cli import main
from neurodecode.errors import SettingsError
from neurodecode.files import read_json
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.reports.codebook import run_content
from neurodecode.segments.labels import build_labels
from neurodecode.training import codebook
from neurodecode.training.codebook_data import SubjectSource
from neurodecode.training.codebook_masked import MaskedTask
from neurodecode.training.codebook_stages import load_stage
from tests.training.codebook_cohort import cohort
from tests.training.codebook_runs import NAMES, TWO, column, settings, train

PATCHES = ("model.target=patches", "start_from=null")
LONG = "training.epochs=30"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return train("tokenizer", tmp_path_factory.mktemp("runs") / "tokenizer", "training.epochs=15")


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory, tokenizer) -> Path:
    out = tmp_path_factory.mktemp("runs") / "embeddings"
    return train("masked", out, f"start_from={tokenizer}", "model.target=embeddings", LONG)


def test_hidden_embeddings_are_nearer_than_their_mean(embeddings) -> None:
    cosine, mean = column(embeddings, "valid_cosine"), column(embeddings, "valid_mean_embedding")
    assert 1 - cosine[-1] < 0.75 * (1 - mean[-1])
    np.testing.assert_allclose(np.array(cosine) + column(embeddings, "valid_loss"), 1, atol=1e-5)
    assert np.ptp(mean) < 1e-6  # the tokenizer and the masks are the same in every epoch


def test_the_mean_embedding_is_that_of_the_tokenizers_rows(embeddings, tokenizer) -> None:
    model, loaded = load_stage(tokenizer)
    index = build_labels(cohort(NAMES), loaded.labels).fold("fold-0")
    data = SubjectSource(index.source(fit=True))
    signal = data[index.rows("valid")].signal
    with torch.no_grad():
        rows = model.embeddings(model.codes(signal)).flatten(0, 1)
    best = torch.nn.functional.cosine_similarity(rows, rows.mean(0, keepdim=True)).mean()
    assert column(embeddings, "valid_mean_embedding")[-1] == pytest.approx(float(best), abs=1e-5)


def test_patches_are_predicted_through_the_command_line_without_a_tokenizer(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(codebook, "Store", lambda path: cohort(NAMES))
    run = tmp_path / "masked"
    sets = [word for override in (*PATCHES, LONG) for word in ("--set", override)]
    with pytest.raises(SystemExit) as ended:
        main(["train", "duin_tiny_masked", "--store", "x", "--out", str(run), *sets])
    assert ended.value.code == 0
    error, zero, mean = (column(run, name)[-1] for name in ("valid_loss", "valid_zero", "valid_mean"))
    assert zero == pytest.approx(1, abs=0.2)  # standardised by training windows
    assert mean < zero
    assert error < mean - 0.05
    info = read_json(run / "run.json")
    assert (info["start_from"], info["finished"]) == (None, True)
    assert "tokenizer" not in info["sizes"]
    cards = run_content(run, info)["cards"]
    assert cards[-1]["label"] == "error of hidden patches"
    assert cards[-1]["beside"] == f"silence {zero:.3f}, each channel's mean {mean:.3f}"


def test_a_classifier_starts_from_either_and_people_with_other_channels_share_a_network(tmp_path) -> None:
    short = "training.epochs=2"
    patches = train("masked", tmp_path / "patches", *PATCHES, short, subjects=TWO)
    model = load_stage(patches)[0]
    assert isinstance(model, MaskedEncoder)
    assert [tuple(head.weight.shape) for head in model.patch_heads] == [(3 * 20, 16), (2 * 20, 16)]
    first = train("tokenizer", tmp_path / "tokenizer", short, subjects=TWO)
    second = train(
        "masked", tmp_path / "embeddings", f"start_from={first}", "model.target=embeddings", short, subjects=TWO
    )
    for start in (patches, second):
        words = train("classify", tmp_path / f"after {start.name}", f"start_from={start}", short, subjects=TWO)
        assert read_json(words / "evaluation" / "test.json")["start_from"]["task"] == "masked"


def test_the_most_frequent_code_is_counted_over_all_of_validation(tokenizer) -> None:
    model, loaded = load_stage(tokenizer)
    index = build_labels(cohort(NAMES), loaded.labels).fold("fold-0")
    data = SubjectSource(index.source(fit=True))
    masked = MaskedEncoder(3, 16, **settings("masked").model.encoder.model_dump())
    task = MaskedTask(masked, settings("masked"), 1, model, None)
    logged: dict[str, float] = {}
    task.log = lambda name, value: logged.update({name: float(value)})
    task.record = lambda batch, **values: None
    task.on_validation_epoch_start()
    rows = index.rows("valid")
    for number in range(0, len(rows), 5):
        task.validation_step(data[rows[number : number + 5]], number)
    task.on_validation_epoch_end()
    counts = model.codes(data[rows].signal).flatten().bincount()
    assert logged["valid_majority"] == pytest.approx(int(counts.max()) / int(counts.sum()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.target=patches"], "needs no tokenizer: set start_from to null"),
        (["start_from=null"], "task masked needs start_from"),
        (["model.target=embeddings", "start_from=null"], "task masked needs start_from"),
        (["model.target=embeddings", "masked_objective.label_smoothing=0.1"], "label_smoothing is for codes"),
        (["model.target=waves"], "model.target"),
    ],
)
def test_targets_that_cannot_be_had_are_refused_in_one_line(overrides, message) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        settings("masked", *overrides)
    assert "\n" not in str(error.value)


def test_embeddings_of_a_grid_are_refused(tmp_path) -> None:
    grid = "model.quantizer={kind: finite-scalar, levels: [4, 4]}"
    run = train("tokenizer", tmp_path / "tokenizer", grid, "training.epochs=1")
    with pytest.raises(SettingsError, match="which a cosine does not see; use codes"):
        train("masked", tmp_path / "masked", f"start_from={run}", "model.target=embeddings")
