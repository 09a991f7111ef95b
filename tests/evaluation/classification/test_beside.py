"""A trained classifier is shown beside linear methods on its own windows, and can be shown without."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.config import EvaluationSettings, load_training
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.classification import beside
from neurodecode.evaluation.classification.beside import beside_table, evaluate_classification
from neurodecode.files import read_json
from neurodecode.training import codebook
from tests.evaluation.classification.cohorts import cohort


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: cohort(people=2))
        settings = load_training("duin_tiny_classify", ["training.epochs=2"])
        return codebook.fit_codebook(
            settings, Path("fake-store"), tmp_path_factory.mktemp("runs") / "words", progress=False
        )


def test_linear_methods_stand_beside_the_run_on_its_test_windows(words, monkeypatch) -> None:
    monkeypatch.setattr(beside, "Store", lambda path: cohort(people=2))
    result = evaluate_classification(words, EvaluationSettings())
    assert result["n_windows"] == 64
    assert result["baselines"]["lda"]["metrics"]["accuracy"] > 0.6
    assert sorted(result["baselines"]["ridge"]["subjects"]) == ["1", "2"]
    _, columns, rows, notes = beside_table(result)
    assert notes[-1].startswith("lda, ridge: of band power, each subject's own model")
    assert columns == ["figure", "classifier", "lda", "ridge", "majority", "chance"]
    assert {len(row) for row in rows} == {6}
    accuracy = next(row for row in rows if row[0] == "accuracy")
    assert accuracy[2] == f"{result['baselines']['lda']['metrics']['accuracy']:.3f}"
    assert next(row for row in rows if row[0] == "cross-entropy, nats")[3] == "-"
    assert (
        next(row for row in rows if row[0] == "accuracy of 2")[2]
        == f"{result['baselines']['lda']['subjects']['2']:.3f}"
    )
    written = read_json(words / "evaluation" / "test_baselines.json")
    assert written["baselines"]["lda"]["metrics"]["accuracy"] == result["baselines"]["lda"]["metrics"]["accuracy"]


def test_they_can_be_left_out_and_a_store_that_changed_is_refused(words, monkeypatch) -> None:
    monkeypatch.setattr(beside, "Store", lambda path: cohort(people=2))
    plain = evaluate_classification(words, EvaluationSettings(baselines=()))
    assert "baselines" not in plain
    assert len(beside_table(plain)[1]) == 4
    changed = cohort(people=2)
    changed.recordings[0].sha256_signal = "another signal"
    monkeypatch.setattr(beside, "Store", lambda path: changed)
    with pytest.raises(NeurodecodeError, match="the store has changed since this run began"):
        evaluate_classification(words, EvaluationSettings())
