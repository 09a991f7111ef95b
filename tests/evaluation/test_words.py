"""Words are scored by the summed probabilities of their segments; whoever knows nothing gets what frequency gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Scores
from neurodecode.evaluation.retrieval.tables import evaluation_table, word_table
from neurodecode.evaluation.runs.evaluate import evaluate, score_folds
from neurodecode.evaluation.speech.words import (
    NO_WORD,
    balanced,
    plain_word,
    rank_words,
    vocabulary,
    word_figures,
    word_log_probabilities,
)
from neurodecode.reports.report import _environment
from tests.evaluation.runs import FAST, toy_folds, toy_run
from tests.evaluation.test_retrieval import toy

# 12 segments: "the" is anchored five times, "cat" three times, "sat" twice, "on" and "mat" once
LABELS = ["The", "the", "cat", "the,", "sat", "mat", "the", "cat", "on", "sat", "cat", "THE"]
COUNTS = {"cat": 3, "mat": 1, "on": 1, "sat": 2, "the": 5}


def asked(matrix: np.ndarray, repeats: int = 1) -> Scores:
    """Each segment is asked for `repeats` times."""
    return toy(matrix.astype(np.float32), np.repeat(np.arange(12), repeats), np.arange(12))


def figures(scores: Scores, labels: list[str] = LABELS) -> dict:
    found = word_figures(scores, labels, scores.query_identity, "segments", repeats=200, seed=0)
    assert found is not None
    return found


def test_a_constant_predictor_is_the_majority_baseline_exactly_and_balanced_it_is_chance() -> None:
    result = figures(asked(np.full((12, 12), 3.7)))
    assert result["n_words"] == 5
    for name, figure in result["metrics"].items():
        assert figure["value"] == pytest.approx(result["majority"][name]["value"], abs=1e-12), name
        if name.startswith("balanced"):
            assert figure["value"] == pytest.approx(figure["chance"], abs=1e-12), name
    assert result["majority"]["top1"]["value"] == pytest.approx(5 / 12)  # always "the"
    assert result["metrics"]["top1"]["chance"] == 1 / 5
    assert result["metrics"]["balanced_top5"]["chance"] == 1
    assert result["most_frequent"] == {"word": "the", "share": 5 / 12}
    assert result["against_majority"]["top1"] == {"difference": 0, "low": 0, "high": 0}


def test_a_perfect_predictor_gets_every_word() -> None:
    result = figures(asked(50 * np.eye(12)))
    for name, figure in result["metrics"].items():
        assert (figure["value"], figure["low"], figure["high"]) == (1, 1, 1), name
    assert result["against_majority"]["top1"]["low"] > 0


def test_another_segment_of_the_same_word_is_right_for_the_word_and_wrong_for_the_segment() -> None:
    words = vocabulary(LABELS)
    partner = np.array([1, 0, 7, 6, 9, 5, 3, 10, 8, 4, 2, 0])  # a segment of the same word, another where there is one
    matrix = np.zeros((12, 12))
    matrix[np.arange(12), partner] = 50.0
    result = figures(asked(matrix))
    assert result["metrics"]["top1"]["value"] == 1
    assert (words.candidate[partner] == words.candidate).all()


def test_probabilities_are_the_softmax_summed_over_the_segments_of_a_word() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(7, 12)) * 3
    words = vocabulary(LABELS)
    assert words.words == sorted(COUNTS)
    assert words.counts.tolist() == list(COUNTS.values())
    expected = np.zeros((7, 5))
    for row in range(7):
        for column, probability in enumerate(softmax(matrix[row])):
            expected[row, words.words.index(LABELS[column].lower().strip(","))] += probability
    np.testing.assert_allclose(np.exp(word_log_probabilities(matrix, words)), expected, rtol=1e-12)


def test_many_small_probabilities_add_up_to_more_than_one_larger_one() -> None:
    matrix = np.full((12, 12), -20.0)
    matrix[:, [0, 1, 3, 6, 11]] = 1.0  # five of "the": 5 e
    matrix[:, 8] = 2.0  # "on": e squared, the best segment
    ranking, _, true = rank_words(asked(matrix), vocabulary(LABELS))
    assert ranking.better[true == 4].tolist() == [0] * 5
    assert ranking.better[true == 2].tolist() == [1]


def test_words_far_below_the_best_are_still_ranked_and_not_all_tied() -> None:
    row = -2000.0 - 10.0 * np.arange(12)
    row[0] = 0.0  # every probability but one underflows
    ranking, _, true = rank_words(asked(np.tile(row, (12, 1))), vocabulary(LABELS))
    places = {word: int(ranking.better[true == i][0]) for i, word in enumerate(sorted(COUNTS))}
    assert places == {"the": 0, "cat": 1, "sat": 2, "mat": 3, "on": 4}
    assert (ranking.tied == 1).all()


def test_balanced_is_the_mean_over_words_of_each_words_share() -> None:
    hits, true = np.array([1, 1, 1, 0, 0, 1.0]), np.array([4, 4, 4, 4, 1, 2])
    assert balanced(hits, true) == pytest.approx((0.75 + 0 + 1) / 3)


def test_intervals_hold_the_figures_and_resample_whole_clusters() -> None:
    rng = np.random.default_rng(1)
    scores = asked(2 * np.repeat(np.eye(12), 20, axis=0) + rng.normal(size=(240, 12)), repeats=20)
    result = figures(scores)
    for name, figure in result["metrics"].items():
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert result["metrics"]["top1"]["low"] < result["metrics"]["top1"]["high"]
    one = word_figures(scores, LABELS, np.zeros(240), "subjects", repeats=50, seed=0)
    assert one is not None
    for name in ("top1", "balanced_top1"):  # one cluster: every resample is the whole
        figure = one["metrics"][name]
        assert figure["low"] == pytest.approx(figure["value"])
        assert figure["high"] == pytest.approx(figure["value"])


def test_marks_and_bare_punctuation_are_no_words_and_their_queries_are_left_out() -> None:
    assert [plain_word(x) for x in ("Don't", " «Caf\u0065\u0301» ", "<unk>", "--", "_x_", "")] == [
        "don't", "caf\u00e9", "", "", "x", "",
    ]  # fmt: skip
    labels = ["<unk>", *LABELS[1:11], "..."]
    assert vocabulary(labels).candidate[[0, 11]].tolist() == [NO_WORD, NO_WORD]
    result = figures(asked(50 * np.eye(12)), labels)
    assert (result["n_queries"], result["without_word"]) == (10, 2)
    assert result["metrics"]["top1"]["value"] == 1
    assert word_figures(asked(np.eye(12)), ["same"] * 12, np.arange(12), "segments", repeats=5, seed=0) is None


def test_not_a_number_is_refused() -> None:
    matrix = np.eye(12)
    matrix[3, 4] = np.nan
    with pytest.raises(NeurodecodeError, match="NaN"):
        figures(asked(matrix))


def test_an_evaluation_at_word_onsets_reports_words_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FAST.model_copy(update={"controls": ()})
    run = toy_run(tmp_path / "run", toy_folds(noise=6.0), monkeypatch)
    result = evaluate(run, settings, progress=False)
    assert json.loads((run / "evaluation" / "test.json").read_text(encoding="utf-8"))["words"] == result["words"]
    words = result["words"]
    assert words["n_words"] == 7  # word0 ... word6
    assert words["n_queries"] == result["n_queries"]
    assert words["metrics"]["top1"]["low"] > words["majority"]["top1"]["value"]
    note = next(n for n in evaluation_table(result)[3] if n.startswith("Word at the anchor, 7 words: top-1"))
    assert ", above the most frequent words" in note
    assert f"chance {1 / 7:.3f}" in note
    table = word_table(result)
    assert table is not None
    columns, rows = table
    assert columns[1:] == ["top-1", "top-5", "top-10", "balanced top-1", "balanced top-5", "balanced top-10"]
    assert [row[0] for row in rows] == ["decoder", "most frequent words", "chance"]
    assert rows[2][1] == f"{1 / 7:.3f}"
    for other in (
        evaluate(run, settings, split="valid", progress=False),  # anchored by stride
        score_folds(toy_folds(noise=6.0, training={"objective": {"kind": "mse"}}), settings, "test").result,
        score_folds(toy_folds(noise=6.0, rule="leave-one-run-out"), settings, "test").result,
    ):
        assert other["words"] is None
        assert word_table(other) is None


def test_a_decoder_without_a_brain_is_not_above_the_most_frequent_words() -> None:
    settings = FAST.model_copy(update={"controls": ()})
    words = score_folds(toy_folds(noise=1e6), settings, "test").result["words"]
    assert words["against_majority"]["top1"]["low"] <= 0
    assert words["metrics"]["balanced_top1"]["low"] < 2 / 7


def test_the_section_of_the_report_escapes_words_and_shows_every_row() -> None:
    source, _, _ = _environment().loader.get_source(_environment(), "report.html.j2")
    section = source[source.index("{% if words %}") : source.index("{% for title, columns, rows, notes in apart %}")]
    result = {
        "words": {"n_words": 5, "over": "subjects", "most_frequent": {"word": "<b>the</b>", "share": 0.25}},
    }
    table = (
        ["", "top-1"],
        [["decoder", "0.500 [0.400, 0.600]"], ["most frequent words", "0.417"], ["chance", "0.200"]],
    )
    page = _environment().from_string(section).render(words=table, result=result)
    assert "&lt;b&gt;the&lt;/b&gt;, 25.0 % of the segments" in page
    assert "among 5" in page
    for text in ("0.500<br>", "[0.400, 0.600]", "most frequent words", "0.417", "0.200"):
        assert text in page
