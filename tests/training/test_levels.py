"""Classifiers with labels below the word: unchanged without them, every loss as written, and words composed from values."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from neurodecode.config import CodebookTrainSettings, load_training
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.classification.beside import beside_table
from neurodecode.evaluation.side_by_side.comparison import compare_any
from neurodecode.files import read_json
from neurodecode.models.codebook.classifier_levels import LevelAnswers
from neurodecode.reports.report import write_report
from neurodecode.segments.label_levels import FoldLevels
from neurodecode.training import codebook
from neurodecode.training.classification import classification_table, read_classification
from neurodecode.training.codebook import fit_codebook
from neurodecode.training.codebook_stages import load_stage
from neurodecode.training.judging import figures
from neurodecode.training.levels import LevelsTask, accuracy_columns, level_sizes
from tests.training.levels_cohort import TABLE, WORDS, cohort

HELD = ("pi", "ku")
SHORT = "training.epochs=2"
KEYS = {
    "schema", "kind", "name", "simulated", "split", "folds", "start_from", "n_windows", "n_classes", "metrics", "subjects",
    "provenance",
}  # fmt: skip


def settings(*overrides: str) -> CodebookTrainSettings:
    loaded = load_training("duin_tiny_classify", overrides)
    assert isinstance(loaded, CodebookTrainSettings)
    return loaded


def train(out: Path, *overrides: str, **changes) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: cohort(**changes))
        return fit_codebook(settings(*overrides), Path("fake-store"), out, progress=False)


def result(run: Path) -> dict:
    return read_json(run / "evaluation" / "test.json")


def state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "fold-0" / "best.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("levels")
    (path / "table.tsv").write_text(TABLE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def words(folder) -> Path:
    """Words alone."""
    return train(folder / "words", SHORT)


@pytest.fixture(scope="module")
def silent(folder) -> Path:
    """Levels that weigh nothing."""
    table = f"levels.table={folder / 'table.tsv'}"
    return train(folder / "silent", SHORT, table, "levels.weights={onset: 0, vowel: 0}")


@pytest.fixture(scope="module")
def composed(folder) -> Path:
    """Two of nine words only test; words are composed."""
    table = f"levels.table={folder / 'table.tsv'}"
    held = f"labels.split.held_out=[{', '.join(HELD)}]"
    return train(folder / "composed", table, held, "levels.word=compose", "training.epochs=9")


class TestWithoutLevels:
    def test_files_and_keys_are_those_of_before(self, words) -> None:
        names = {path.name for path in words.rglob("*") if path.is_file()}
        assert {"levels.json", "test_levels.csv.gz", "test_held_out.csv.gz"} & names == set()
        assert result(words).keys() == KEYS
        header = (words / "fold-0" / "metrics.csv").read_text().splitlines()[0]
        assert header == "epoch,step,train_loss,valid_loss,valid_accuracy,learning_rate,seconds"
        assert len(classification_table(read_classification(words))[2]) == 5

    def test_numbers_are_those_of_levels_that_weigh_nothing(self, words, silent) -> None:
        alone, beside = state(words), state(silent)
        assert alone.keys() <= beside.keys()
        assert [key for key in alone if not torch.equal(alone[key], beside[key])] == []
        assert {key for key in beside if key not in alone} == {
            f"model.levels.{k}.{layer}.{name}" for k in (0, 1) for layer in (1, 3) for name in ("weight", "bias")
        }
        one, other = result(words), result(silent)
        assert other.keys() == KEYS | {"levels"}
        for key in KEYS - {"provenance"}:
            assert one[key] == other[key], key
        answers = [(run / "evaluation" / "test_answers.csv.gz") for run in (words, silent)]
        pd.testing.assert_frame_equal(*(pd.read_csv(path) for path in answers))


class Answered:
    """A network whose answers are given."""

    def __init__(self, answers: LevelAnswers, composition: torch.Tensor | None = None) -> None:
        self.answers, self.composition = answers, composition

    def answer(self, signal, subject) -> LevelAnswers:
        return self.answers


def task_of(answers: LevelAnswers, *overrides: str, composition: torch.Tensor | None = None) -> LevelsTask:
    """Three words: pa (p, a), ti (t, i), ki (k, i); its log is in `logged`."""
    values = {word: (word[0], word[1]) for word in ("pa", "ti", "ki")}
    levels = FoldLevels(("onset", "vowel"), values, (("k", "p", "t"), ("a", "i")), ("pa", "ti", "ki"))
    task = LevelsTask(torch.nn.Identity(), settings("levels.table=x.tsv", *overrides), 1, 0, levels)  # type: ignore[arg-type]
    task._network = [Answered(answers, composition)]  # type: ignore[list-item]
    task.logged = {}  # type: ignore[assignment]
    task.log_dict = lambda values, **_: task.logged.update({k: float(v) for k, v in values.items()})  # type: ignore
    task.log = lambda name, value, **_: task.logged.update({name: float(value)})  # type: ignore
    return task


class Windows(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.identity)


class TestLoss:
    batch = Windows(signal=torch.zeros(3, 1, 4), identity=torch.tensor([0, 1, -1]), subject=torch.zeros(3).long())
    words = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.2, 0.2, 0.6]]))
    onset = torch.log(torch.tensor([[0.125, 0.75, 0.125], [0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]]))
    vowel = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.5, 0.5]]))
    answers = LevelAnswers(words, [onset, vowel])
    # mean of -log p of the right word, onset and vowel of the first two windows: pa (p, a) and ti (t, i)
    each = (
        -np.log([0.5, 0.25]).mean(),
        -np.log([0.75, 0.5]).mean(),
        -np.log([0.5, 0.25]).mean(),
    )

    def test_is_the_weighted_sum_of_words_and_levels(self) -> None:
        known = LevelAnswers(self.words[:2], [self.onset[:2], self.vowel[:2]])
        identity = self.batch.identity[:2]
        assert task_of(known).loss(known, identity).item() == pytest.approx(sum(self.each), rel=1e-6)
        weighted = task_of(known, "levels.weights={word: 0.5, onset: 2, vowel: 0.25}").loss(known, identity)
        assert weighted.item() == pytest.approx(np.dot(self.each, (0.5, 2, 0.25)), rel=1e-6)

    def test_of_training_smooths_every_level(self) -> None:
        batch = Windows(signal=self.batch.signal[:2], identity=self.batch.identity[:2], subject=None)
        task = task_of(LevelAnswers(self.words[:2], [self.onset[:2], self.vowel[:2]]), "label_smoothing=0.1")
        targets = (batch.identity, torch.tensor([1, 2]), torch.tensor([0, 1]))
        logits = (self.words[:2], self.onset[:2], self.vowel[:2])
        expected = sum(functional.cross_entropy(x, y, label_smoothing=0.1) for x, y in zip(logits, targets))
        assert task.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-6)

    def test_of_validation_leaves_unknown_words_out_and_counts_them_as_wrong_at_every_level(self) -> None:
        task = task_of(self.answers)
        task.validation_step(self.batch, 0)
        assert task.logged == pytest.approx(
            {
                "valid_loss": sum(self.each),
                "valid_accuracy": 1 / 3,  # pa; ti is answered ki
                "valid_accuracy_onset": 2 / 3,
                "valid_accuracy_vowel": 1 / 3,
            },
            rel=1e-6,
        )

    def test_of_composed_words_is_that_of_levels_alone(self) -> None:
        known = LevelAnswers(self.words[:2], [self.onset[:2], self.vowel[:2]])
        task = task_of(known, "levels.word=compose", composition=torch.tensor([[1, 0], [2, 1], [0, 1]]))
        loss = task.loss(known, self.batch.identity[:2])
        assert loss.item() == pytest.approx(self.each[1] + self.each[2], rel=1e-6)


class TestComposedWords:
    def test_that_never_trained_are_named_by_their_values(self, composed) -> None:
        found = result(composed)
        held = found["levels"]["held_out"]
        assert (held["words"], held["held_out"]["n_windows"], held["trained"]["n_windows"]) == (list(HELD), 12, 42)
        accuracy = held["held_out"]["metrics"]["accuracy"]
        assert accuracy["value"] > 0.6
        assert (accuracy["chance"], accuracy["majority"]) == (pytest.approx(1 / 9), 0)
        assert held["among"]["accuracy"]["value"] > 0.8
        assert held["among"]["accuracy"]["chance"] == 0.5
        assert found["metrics"]["accuracy"]["value"] > 0.8
        assert found["n_classes"] == 9
        windows = pd.read_csv(composed / "fold-0" / "windows.csv.gz")
        assert set(windows["split"][windows["label"].isin(HELD)].dropna()) == {"test"}
        assert found["split"]["audit"]["held_out_trained"] == 0

    def test_have_the_figures_of_their_answers(self, composed) -> None:
        found = result(composed)
        answers = pd.read_csv(composed / "evaluation" / "test_levels.csv.gz")
        assert list(found["levels"]["levels"]) == ["onset", "vowel"]
        for name, entry in found["levels"]["levels"].items():
            rows = answers[answers["level"] == name]
            assert len(rows) == 54
            assert (rows["label"] == rows["word"].str[0 if name == "onset" else 1]).all()
            assert entry["metrics"]["accuracy"]["value"] == (rows["label"] == rows["answer"]).mean() > 0.8
            assert entry["n_values"] == 3
            assert "top5" not in entry["metrics"]
            expected = figures(rows)
            for key, figure in entry["metrics"].items():
                assert figure == pytest.approx(expected[key])
        words = pd.read_csv(composed / "evaluation" / "test_answers.csv.gz")
        mine = words[words["label"].isin(HELD)]
        assert found["levels"]["held_out"]["held_out"]["metrics"]["accuracy"]["value"] == mine["right"].mean()
        below = answers[answers["word"].isin(HELD) & (answers["level"] == "vowel")]
        assert found["levels"]["held_out"]["held_out"]["levels"]["vowel"]["accuracy"]["value"] == below["right"].mean()

    def test_are_scored_from_the_run_folder_whatever_became_of_the_table(self, composed) -> None:
        model, loaded = load_stage(composed)
        levels = FoldLevels.from_plain(read_json(composed / "fold-0" / "levels.json"))
        assert levels.candidates == (*sorted(set(WORDS) - set(HELD)), *HELD)
        assert model.composition.tolist() == levels.numbers(levels.candidates).tolist()
        assert level_sizes(loaded, levels)["n_outputs"] == 9
        assert accuracy_columns(levels) == ("valid_accuracy_onset", "valid_accuracy_vowel")
        with open(composed / "fold-0" / "metrics.csv", newline="") as file:
            last = list(csv.DictReader(file))[-1]
        assert float(last["valid_accuracy_onset"]) > 0.8

    def test_a_table_that_changed_under_a_run_is_noticed(self, composed, folder, tmp_path) -> None:
        table = tmp_path / "table.tsv"
        table.write_text(TABLE, encoding="utf-8")
        run = train(tmp_path / "run", SHORT, f"levels.table={table}")
        (run / "evaluation" / "test.json").unlink()
        table.write_text(TABLE.replace("ka\tk\ta", "ka\tt\ta"), encoding="utf-8")
        with pytest.raises(SettingsError, match="fold-0: began with other values of words than there are now"):
            train(run, SHORT, f"levels.table={table}")

    def test_tables_and_the_page_show_every_level(self, composed) -> None:
        _, _, rows, notes = beside_table(read_classification(composed))
        shown = {row[0]: row[1:] for row in rows}
        found = result(composed)["levels"]
        figure = found["levels"]["vowel"]["metrics"]["accuracy"]
        assert shown["vowel (3 values): accuracy"] == [f"{figure[k]:.3f}" for k in ("value", "majority", "chance")]
        assert "held-out words among themselves: accuracy" in shown
        assert "held-out words, onset: balanced accuracy" in shown
        assert any(note.startswith("2 held-out words have no training") for note in notes)
        page = write_report(composed).read_text(encoding="utf-8")
        assert "Below the word" in page
        line = page[page.index("vowel (3 values)") :].split("</tr>")[0]
        assert f"{figure['value']:.3f} ({figure['majority']:.3f}, {figure['chance']:.3f})" in line


def test_a_head_for_words_cannot_name_held_out_ones_but_its_levels_are_scored_on_them(folder) -> None:
    table = f"levels.table={folder / 'table.tsv'}"
    run = train(folder / "head", SHORT, table, f"labels.split.held_out=[{', '.join(HELD)}]")
    held = result(run)["levels"]["held_out"]
    assert held["held_out"]["metrics"] is held["among"] is None
    assert held["held_out"]["levels"]["onset"]["accuracy"]["chance"] == pytest.approx(1 / 3)
    answers = pd.read_csv(run / "evaluation" / "test_answers.csv.gz")
    assert not answers["right"][answers["label"].isin(HELD)].any()
    assert result(run)["n_classes"] == 7


def test_two_runs_are_compared_by_their_words(words, silent) -> None:
    found = compare_any([words, silent])
    assert (found["n_queries"], found["n_candidates"], found["difference"]) == (54, 9, 0)


def test_several_subjects_and_folds_are_joined_at_every_level(folder) -> None:
    table = f"levels.table={folder / 'table.tsv'}"
    rule = "labels.split.rule=leave-one-run-out"
    run = train(folder / "folds", "training.epochs=1", table, rule, subjects=("1", "2"), trials=18)
    found = result(run)
    answers = pd.read_csv(run / "evaluation" / "test_levels.csv.gz")
    assert len(answers) == 2 * found["n_windows"] == 2 * 2 * 4 * 18
    assert [entry["subject"] for entry in found["levels"]["subjects"]] == ["1", "2"]
    mine = answers[(answers["subject"] == 2) & (answers["level"] == "onset")]
    assert found["levels"]["subjects"][1]["metrics"]["onset"]["accuracy"]["value"] == mine["right"].mean()


def test_settings_that_do_not_fit_are_refused_before_training(folder, tmp_path) -> None:
    table = f"levels.table={folder / 'table.tsv'}"
    for overrides, message in (
        ((table, "model.output=sigmoid"), "model.output is sigmoid: levels need logits"),
        ((table, "levels.weights={coda: 1}"), "levels.weights: coda is no level; there are onset, vowel"),
        (("levels.parts=[tone]",), "is no word of Chinese characters|need the package pypinyin"),
        (("levels={}",), "give parts .* or table"),
    ):
        with pytest.raises(NeurodecodeError, match=message) as error:
            train(tmp_path / "run", *overrides)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "run.json").exists()
    with pytest.raises(SettingsError, match="levels belong to task classify"):
        load_training("duin_tiny_tokenizer", [table])


def test_the_preset_gives_syllables_or_a_table_with_a_head_or_composed_words() -> None:
    assert load_training("duin_levels").levels.parts == ("initial", "final", "tone")
    other = load_training("duin_levels", ["levels.parts=[]", "levels.table=words.tsv", "levels.word=compose"])
    assert (other.levels.table, other.levels.word) == (Path("words.tsv"), "compose")


def test_linear_baselines_stand_beside_words_only(composed) -> None:
    entry = {"metrics": {"accuracy": 0.5}, "subjects": {"1": 0.5}}
    shown = {row[0]: row for row in beside_table(read_classification(composed) | {"baselines": {"lda": entry}})[2]}
    assert shown["accuracy"][2] == "0.500"
    assert shown["vowel (3 values): accuracy"][2] == "-"
