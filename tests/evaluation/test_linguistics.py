"""Success that goes with a feature is found, what does not is not, and nothing is learnt across folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.ranks import read_evaluated
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.speech import linguistics as module
from neurodecode.evaluation.speech import word_features as features_module
from neurodecode.evaluation.speech.linguistics import (
    ALL,
    analyse,
    cross_validated,
    linguistics_table,
    relate,
    success_of_queries,
)
from neurodecode.evaluation.speech.word_features import FeatureSet, feature_sets
from tests.evaluation.runs import FAST, toy_folds, toy_run
from tests.evaluation.toys import ToyFeatures, toy_store


def set_of(values: np.ndarray) -> FeatureSet:
    return FeatureSet(values.reshape(len(values), -1), "made here", 1.0)


@pytest.fixture(scope="module")
def related() -> dict:
    rng = np.random.default_rng(0)
    n = 200
    right, wrong = rng.normal(size=(n, 2)), rng.normal(size=(n, 5))
    success = right @ np.array([1.0, -0.5]) + rng.normal(size=n)
    sets = {"right": set_of(right), "wrong": set_of(wrong), "constant": set_of(np.ones(n))}
    return relate(sets, success, np.arange(n), turned=False, shuffles=60, seed=0)


def test_the_set_that_success_goes_with_is_found_and_the_others_are_not(related: dict) -> None:
    assert related["right"]["r"] == pytest.approx(0.75, abs=0.1)  # 1.25 of 2.25 of the variance are explained
    assert related["right"]["p_value"] == pytest.approx(1 / 61)
    assert related["right"]["unique"] > 0.5
    assert abs(related["wrong"]["r"]) < 0.2
    assert related["wrong"]["unique"] < 0.05
    assert related["constant"]["r"] == 0
    assert related["constant"]["p_value"] == 1
    assert related[ALL]["r"] > 0.6


def test_wrong_pairings_stay_at_zero_though_the_mean_of_a_training_part_is_off(related: dict) -> None:
    for name in ("right", "wrong", ALL):
        assert abs(related[name]["control"]["mean"]) < 0.05, name
        assert related[name]["control"]["high"] < 0.3, name


def test_neighbours_that_resemble_each_other_are_no_evidence_when_pairings_are_turned() -> None:
    """Slow waves in both: free pairings would call it significant far too often."""
    n, hits = 150, {True: 0, False: 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drift = [gaussian_filter1d(rng.normal(size=n), 4, mode="wrap") for _ in range(2)]
        for turned in hits:
            found = relate({"x": set_of(drift[0])}, drift[1], np.arange(n), turned=turned, shuffles=39, seed=0)
            hits[turned] += found["x"]["p_value"] <= 0.05
    assert hits[True] <= 3
    assert hits[False] > hits[True]


def test_more_columns_than_rows_do_not_make_success_predictable() -> None:
    rng = np.random.default_rng(3)
    r = cross_validated(rng.normal(size=(60, 300)), rng.normal(size=(60, 20)), np.arange(60) // 12)
    assert abs(r.mean()) < 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = toy_run(tmp_path_factory.mktemp("run"), toy_folds(noise=12.0), patch)
        evaluate(folder, FAST.model_copy(update={"controls": ()}), progress=False)
    path = folder / "evaluation" / "test.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["provenance"]["settings"]["segments"]["window"]["shift"] = 0.15
    path.write_text(json.dumps(result), encoding="utf-8")
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Store", lambda path: toy_store(ToyFeatures(0), 1.0))
    monkeypatch.setattr(features_module, "installed", lambda package: False)  # the same with and without the extra


def table_file(path: Path) -> Path:
    rows = {"word": [f"Word{i}" for i in range(7)], "class": ["a", "b"] * 3 + ["a"]}
    rows |= {f"vec.{d}": np.arange(7) * (d + 1.0) for d in range(2)}
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    return path


@pytest.mark.usefixtures("store")
def test_a_run_is_analysed_from_its_files_and_the_store(run: Path, tmp_path: Path) -> None:
    result = analyse(run, table=table_file(tmp_path / "words.tsv"), shuffles=20)
    assert json.loads((run / "evaluation" / "test_linguistics.json").read_text(encoding="utf-8")) == result
    expected = ["amount of speech", "word length", "word frequency", "class", "vec", "vec, phrase", "bag of words", ALL]
    assert list(result["sets"]) == expected
    assert result["sets"]["class"]["columns"] == 2
    assert result["sets"]["vec"]["columns"] == 2
    assert result["described"] == "the word at the anchor"
    assert result["n_segments"] == 77
    assert result["pairings"] == "turned in time"
    title, columns, rows, notes = linguistics_table(result)
    assert "SIMULATED" in title
    assert [row[0] for row in rows] == expected
    assert all(len(row) == len(columns) for row in rows)
    assert any("counted in these stimuli" in note for note in notes)


def test_success_is_the_gain_over_the_share_of_the_word(run: Path) -> None:
    """Averaged over queries and weighted by nothing, equal scores would give 0 for every word, frequent or not."""
    found = read_evaluated(run)
    found.scores.scores = np.zeros_like(found.scores.scores)
    success, _ = success_of_queries(found, at_words=True)
    assert success == pytest.approx(0, abs=1e-9)
    success, _ = success_of_queries(found, at_words=False)
    assert success == pytest.approx(0, abs=1e-9)


@pytest.mark.usefixtures("store")
def test_feature_sets_count_what_begins_in_the_window() -> None:
    store = module.Store(Path("store"))
    candidates = pd.DataFrame({"stimulus": ["alpha", "alpha"], "time": [0.0, 3.0], "word": ["word0", "word6"]})
    sets = feature_sets(store, candidates, 2.85, at_words=True)
    assert sets["amount of speech"].values[:, 0].tolist() == [6, 6]  # a word each 0.5 s
    bag = sets["bag of words"]
    assert bag.values.sum(axis=1).tolist() == [5, 5]  # words 0 to 5, and 6, 0 to 4: 5 and 6 stand in one window only
    assert sets["word length"].values.tolist() == [[5], [5]]
    assert "phones" not in sets


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wort\tx\na\t1\n", "its columns are wort, x; it needs the column word"),
        ("word\nhouse\n", "it needs the column word and features beside it"),
        ("word\tx\nhouse\t1\nHouse\t2\n", "the word house stands there twice"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(run: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(NeurodecodeError, match=message):
        analyse(run, table=tmp_path / "words.tsv")


@pytest.mark.usefixtures("store")
def test_words_that_a_table_does_not_know_get_the_mean_and_are_told(run: Path, tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("word\tx\nword0\t1\nword1\t3\n", encoding="utf-8")
    result = analyse(run, table=tmp_path / "words.tsv", shuffles=20)
    assert result["sets"]["x"]["covered"] < 0.5
    assert any(note.startswith("Known for part of the segments only") for note in linguistics_table(result)[3])


def test_speech_without_words_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = toy_store(ToyFeatures(0), 1.0)
    for recording in bare.recordings:
        recording.events = recording.events[recording.events["kind"] == "stimulus"]
    monkeypatch.setattr(module, "Store", lambda path: bare)
    with pytest.raises(NeurodecodeError, match="its stimuli have no word events"):
        analyse(run)


def test_frequencies_and_classes_come_from_the_packages_when_they_are_there() -> None:
    pytest.importorskip("wordfreq")
    pytest.importorskip("lemminflect")
    store = toy_store(ToyFeatures(0), 1.0)
    candidates = pd.DataFrame({"stimulus": ["alpha"] * 3, "time": [0.0, 3.0, 6.0], "word": ["the", "house", "quickly"]})
    assert "part of speech" not in feature_sets(store, candidates, 2.85, at_words=True)
    sets = feature_sets(store, candidates, 2.85, at_words=True, language="en")
    zipf = sets["word frequency"].values[:, 0]
    assert zipf[0] > zipf[1] > zipf[2] > 3
    assert sets["part of speech"].values[:, 4].tolist() == [1, 0, 0]  # function word
    assert sets["part of speech"].values[2, 3] == 1  # adverb
    with pytest.raises(NeurodecodeError, match="--language xx: wordfreq knows"):
        feature_sets(store, candidates, 2.85, at_words=True, language="xx")


def test_words_are_described_in_the_language_of_the_store_and_no_other() -> None:
    pytest.importorskip("wordfreq")
    store = toy_store(ToyFeatures(0), 1.0)
    candidates = pd.DataFrame({"stimulus": ["alpha"] * 2, "time": [0.0, 3.0], "word": ["huis", "de"]})
    sets = feature_sets(store, candidates, 2.85, at_words=True)
    assert sets["word frequency"].source.startswith("Zipf scale, counted in these stimuli (--language counts in one")
    for recording in store.recordings:
        recording.language = "nl"
    sets = feature_sets(store, candidates, 2.85, at_words=True)
    assert sets["word frequency"].source == "Zipf scale, wordfreq, nl"
    assert sets["word frequency"].values[1, 0] > sets["word frequency"].values[0, 0] > 4  # Dutch house; none in English
    assert "part of speech" not in sets
    with pytest.raises(NeurodecodeError, match="--language en: the store says that its speech is nl"):
        feature_sets(store, candidates, 2.85, at_words=True, language="en")
    store.recordings[0].language = "en"
    with pytest.raises(NeurodecodeError, match="its speech is en, nl; say with --language"):
        feature_sets(store, candidates, 2.85, at_words=True)
