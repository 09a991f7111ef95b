"""A released checkpoint of a codebook stage becomes a run that later stages start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neurodecode.config import load_training
from neurodecode.errors import NeurodecodeError
from neurodecode.files import read_json, sha256_of_file
from neurodecode.models.codebook.released import load_released
from neurodecode.reports.report import write_report
from neurodecode.training import codebook
from neurodecode.training.codebook_stages import load_stage
from neurodecode.training.imported import import_weights
from tests.models.codebook.test_released import released_state
from tests.training.codebook_cohort import cohort

FIVE = {"1": ("A1", "A2", "A3", "A4", "A5")}
ENCODER = "model.encoder.depth=2"
WINDOW = ["labels.window.tmin=-0.1", "labels.window.tmax=0.9", "training.epochs=1", "training.batch_size=16", ENCODER]
TOKENIZER = ["model.decoder_depth=1", "model.quantizer.codes=32", "model.quantizer.start_tokens=32", *WINDOW]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(codebook, "Store", lambda path: cohort(FIVE, trials=16))
    return Path("fake-store")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(released_state("tokenizer"), tmp_path / "checkpoint-399.pth")
    return tmp_path / "checkpoint-399.pth"


def test_an_imported_tokenizer_gives_its_codes_and_a_masked_encoder_starts_from_it(store, checkpoint, tmp_path) -> None:
    run = import_weights(
        checkpoint, load_training("duin_tokenizer", TOKENIZER), store, tmp_path / "tokenizer", progress=False
    )
    info = read_json(run / "run.json")
    assert info["weights"] == {"file": checkpoint.name, "sha256": sha256_of_file(checkpoint), "subjects": []}
    assert info["finished"]
    assert write_report(run).is_file()  # without curves, since nothing was trained
    signal = torch.randn(3, 5, 200)
    assert torch.equal(load_stage(run)[0].codes(signal), load_released(checkpoint).model.codes(signal))
    masked = codebook.fit_codebook(
        load_training("duin_masked", [f"start_from={run}", *WINDOW]), store, tmp_path / "masked", progress=False
    )
    assert read_json(masked / "run.json")["start_from"]["run"] == run.as_posix()
    assert read_json(masked / "fold-0" / "finished.json")["epochs"] == 1


@pytest.mark.parametrize(
    ("config", "changes", "people", "message"),
    [
        (
            "duin_tokenizer",
            ["model.quantizer.codes=64", "model.quantizer.start_tokens=64"],
            [],
            r"has \(32, 64\) for bottleneck.quantizer.codebook, the settings and the store \(64, 64\)",
        ),
        ("duin_tokenizer", ["channels={names: {'1': [A1, A2]}}"], [], "use the channels, subjects and --set model"),
        ("duin_classify", ["start_from=null"], [], "holds a CodebookTokenizer, the settings describe a CodebookClass"),
        ("duin_tokenizer", [], ["9"], "--subjects: 9, but the people of the store are 1"),
        ("duin_tokenizer", ["labels.split.rule=leave-one-run-out"], [], "was trained on one split"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    store, checkpoint, tmp_path, config, changes, people, message
) -> None:
    settings = load_training(config, [*(TOKENIZER if "tokenizer" in config else WINDOW), *changes])
    with pytest.raises(NeurodecodeError, match=message) as error:
        import_weights(checkpoint, settings, store, tmp_path / "run", people, progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_refused_by_the_name_of_their_tensor(store, checkpoint, tmp_path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["vq_block.post_proj.0.weight"][0, 0] = float("nan")
    torch.save(state, checkpoint)
    with pytest.raises(NeurodecodeError, match="bottleneck.after.weight holds values that are not finite"):
        import_weights(checkpoint, load_training("duin_tokenizer", TOKENIZER), store, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_an_imported_classifier_is_scored_with_the_answers_of_its_file(store, tmp_path) -> None:
    state = released_state("classifier")
    for name in ("emb_time.time_encodings", "cls_block.cls_head.1.0.weight"):  # of one token, not of thirty
        state[name] = state[name][:1] if "time" in name else state[name][:, :160]
    for leaf in ("weight", "bias"):  # of four words, not of 61
        state[f"cls_block.cls_head.2.0.{leaf}"] = state[f"cls_block.cls_head.2.0.{leaf}"][:4]
    torch.save(state, tmp_path / "classifier.pth")
    settings = load_training("duin_classify", ["start_from=null", "model.output=sigmoid", "shift=0", *WINDOW])
    run = import_weights(tmp_path / "classifier.pth", settings, store, tmp_path / "words", progress=False)
    signal = torch.randn(3, 5, 100)
    expected = load_released(tmp_path / "classifier.pth").model(signal)
    assert torch.equal(load_stage(run)[0](signal), expected)
    assert read_json(run / "evaluation" / "test.json")["kind"] == "classification"
