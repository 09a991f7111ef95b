"""Sentence and word-repeat pooling help when there is something in common, and their random groups do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neurodecode.evaluation.retrieval.metrics import Scores, rank
from neurodecode.evaluation.retrieval.questions import NO_SENTENCE, ask
from neurodecode.evaluation.retrieval.sentences import evidence, hearings, random_bias, rank_with_bias, sentence_bias
from neurodecode.evaluation.runs.evaluate import score_folds
from neurodecode.evaluation.speech.word_repeats import word_repeats
from tests.evaluation.runs import FAST, toy_folds


def planted(signal: float, seed: int = 0, n_sentences: int = 40, windows: int = 6) -> Scores:
    """One listener; a window scores `signal` higher for the candidates of its sentence, and all else is noise."""
    n = n_sentences * windows
    sentence = np.repeat(np.arange(n_sentences), windows)
    matrix = np.random.default_rng(seed).normal(size=(n, n)) + signal * (sentence[:, None] == sentence)
    time = np.arange(n, dtype=float)
    queries = pd.DataFrame({"recording": "a", "subject": "a", "start": time + 1, "time": time, "sentence": sentence})
    candidates = pd.DataFrame({"stimulus": "x", "time": time, "sentence": sentence, "word": ""})
    return Scores(matrix.astype(np.float32), np.arange(n), np.arange(n), queries, candidates)


def sentence_top10(scores: Scores, control: bool = False) -> float:
    said, codes = evidence(scores)
    group = hearings(scores.queries)
    bias = random_bias(said, group, 0) if control else sentence_bias(said, group)
    return float(rank_with_bias(scores, bias, codes).top(10).mean())


def test_evidence_is_the_log_of_the_mean_probability_of_a_sentence() -> None:
    scores = planted(1.0, n_sentences=4, windows=3)
    said, codes = evidence(scores)
    p = np.exp(np.asarray(scores.scores, float))
    for number in range(4):
        assert said[:, number] == pytest.approx(np.log(p[:, codes == number].mean(axis=1)), rel=1e-5, abs=1e-6)


def test_a_bias_is_the_mean_over_the_windows_of_one_hearing() -> None:
    scores = planted(1.0, n_sentences=4, windows=3)
    said, _ = evidence(scores)
    bias = sentence_bias(said, hearings(scores.queries))
    assert bias[4] == pytest.approx(said[3:6].mean(axis=0), rel=1e-5)


def test_windows_of_a_sentence_heard_twice_are_two_groups_and_lone_windows_are_alone() -> None:
    queries = pd.DataFrame(
        {
            "recording": ["a", "a", "a", "a", "b", "a", "a"],
            "sentence": [0, 0, 0, 0, 0, NO_SENTENCE, NO_SENTENCE],
            "time": [0.0, 1.0, 0.0, 1.0, 0.0, 5.0, 6.0],
            "start": [10.0, 11.002, 90.0, 91.0, 10.0, 15.0, 16.0],
        }
    )
    group = hearings(queries)
    assert group[0] == group[1]
    assert group[2] == group[3]
    assert len(set(group.tolist())) == 5


def test_a_sentence_in_common_helps_its_windows_and_random_groups_do_not() -> None:
    scores = planted(1.0)
    single = rank(scores).top(10).mean()
    assert sentence_top10(scores) > single + 0.2
    assert sentence_top10(scores, control=True) < single + 0.1


def test_without_a_signal_sentence_pooling_stays_at_chance() -> None:
    found = [sentence_top10(planted(0.0, seed)) for seed in range(5)]
    assert np.mean(found) == pytest.approx(10 / 240, abs=0.02)


def test_candidates_without_a_sentence_count_for_themselves() -> None:
    scores = planted(0.5, n_sentences=3, windows=2)
    scores.candidates.loc[4:, "sentence"] = NO_SENTENCE
    said, codes = evidence(scores)
    assert said.shape == (6, 4)
    assert said[:, codes[4]] == pytest.approx(scores.scores[:, 4])


def test_questions_number_sentences_by_content_for_all_subjects_alike() -> None:
    questions = ask(toy_folds(noise=1.0, rule="leave-one-run-out").sources, "test")
    table = questions.candidates
    assert table["sentence"].nunique() == 4 * 10  # a sentence each 6 s of four stimuli of 60 s
    for _, part in table.groupby("sentence"):
        assert part["stimulus"].nunique() == 1
        assert len({time // 6 for time in part["time"] + 1e-6}) == 1
    same = questions.queries.groupby(["stimulus", "time"])["sentence"].nunique()
    assert (same == 1).all()


def test_a_stimulus_without_sentences_has_none_and_the_result_says_so() -> None:
    folds = toy_folds(noise=1.0)
    for recording in folds.sources[0].index.recordings:
        recording.events = recording.events[recording.events["kind"] != "sentence"]
    assert (ask(folds.sources, "test").queries["sentence"] == NO_SENTENCE).all()
    pooling = FAST.pooling.model_copy(update={"sentence": True})
    result = score_folds(folds, FAST.model_copy(update={"pooling": pooling, "controls": ()}), "test").result
    assert result["sentence_pooled"] is None


def test_sentence_figures_stand_apart_from_single_windows_with_ridge_and_random_groups() -> None:
    pooling = FAST.pooling.model_copy(update={"sentence": True})
    settings = FAST.model_copy(update={"pooling": pooling, "controls": ("ridge",)})
    outcome = score_folds(toy_folds(noise=12.0, rule="leave-one-run-out"), settings, "test")
    result = outcome.result
    found = result["sentence_pooled"]
    assert found["n_sentences"] == 40
    assert found["without_sentence"] == 0
    assert set(found["controls"]) == {"ridge", "random-groups"}
    assert found["metrics"]["mrr"]["value"] > found["controls"]["random-groups"]["metrics"]["mrr"]["value"]
    assert result["metrics"]["mrr"]["value"] == pytest.approx(rank(outcome.scores).per_query()["mrr"].mean())


def words_planted(signal: float, seed: int = 0, n_words: int = 30, occasions: int = 5) -> tuple[Scores, list[str]]:
    """One listener hears each word on several occasions; scores are higher for candidates of the same word."""
    scores = planted(signal, seed, n_words, occasions)
    return scores, [f"w{s}" for s in scores.candidates["sentence"]]


def test_word_repeats_are_the_mean_over_occasions_and_beat_single_windows_and_random_groups() -> None:
    scores, labels = words_planted(0.7)
    found = word_repeats(scores, labels, np.full(150, "a"), repeats=100, seed=0)
    assert found is not None
    assert (found["n_queries"], found["windows_per_word"], found["over"]) == (30, 5, "words")
    top1 = found["metrics"]["top1"]["value"]
    assert top1 > found["controls"]["single"]["metrics"]["top1"]["value"] + 0.3
    assert top1 > found["controls"]["random-groups"]["metrics"]["top1"]["value"] + 0.3
    assert found["against_single"]["top1"]["low"] > 0
    assert found["metrics"]["top10"]["chance"] == pytest.approx(10 / 30)


def test_word_repeats_without_a_signal_stay_at_chance() -> None:
    values = []
    for seed in range(5):
        found = word_repeats(*words_planted(0.0, seed), np.full(150, "a"), repeats=10, seed=0)
        assert found is not None
        values.append(found["metrics"]["top10"]["value"])
    assert np.mean(values) == pytest.approx(1 / 3, abs=0.12)


def test_a_word_heard_in_one_segment_only_is_no_repeat_though_two_subjects_heard_it() -> None:
    scores, _ = words_planted(0.0)
    labels = [f"w{i}" for i in range(150)]
    assert word_repeats(scores, labels, np.full(150, "a"), repeats=10, seed=0) is None
    labels[:2] = ["same", "same"]
    found = word_repeats(scores, labels, np.full(150, "a"), repeats=10, seed=0)
    assert found is not None
    assert found["n_queries"] == 1
    assert word_repeats(scores, labels, np.arange(150).astype(str), repeats=10, seed=0) is None


def test_word_repeats_are_scored_when_they_are_asked_for() -> None:
    pooling = FAST.pooling.model_copy(update={"word_repeats": True})
    result = score_folds(
        toy_folds(noise=12.0), FAST.model_copy(update={"pooling": pooling, "controls": ()}), "test"
    ).result
    found = result["word_repeats"]
    assert found["n_words"] == result["words"]["n_words"] == 7
    assert found["n_queries"] == 14  # two subjects, seven words
    assert found["over"] == "subjects"
