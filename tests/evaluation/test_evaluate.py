"""A run is scored over all folds, beside controls that must fail and a ridge that must not, and written down whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodecode.config import EvaluationSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.retrieval.metrics import rank_matrix
from neurodecode.evaluation.retrieval.questions import ask
from neurodecode.evaluation.retrieval.ranks import read_ranks
from neurodecode.evaluation.retrieval.statistics import compare
from neurodecode.evaluation.retrieval.tables import evaluation_table
from neurodecode.evaluation.runs.evaluate import Folds, Outcome, evaluate, score_folds
from tests.evaluation.runs import FAST, toy_folds, toy_run

METRICS = {"top1", "top5", "top10", "median_rank", "mrr", "match_mismatch", "percentile_rank"}


@pytest.fixture(scope="module")
def planted() -> Outcome:
    """A response that is there but weak: 2 subjects, all four runs held out in turn."""
    return score_folds(toy_folds(noise=12.0, rule="leave-one-run-out"), FAST, "test")


@pytest.fixture(scope="module")
def absent() -> Outcome:
    return score_folds(toy_folds(noise=1e6, rule="leave-one-run-out"), FAST, "test")


def test_the_constant_control_is_chance_exactly(planted: Outcome) -> None:
    control = planted.result["controls"]["constant"]
    for name, figure in control["metrics"].items():
        assert figure["value"] == pytest.approx(figure["chance"], abs=1e-12), name
        assert figure["value"] == pytest.approx(planted.result["metrics"][name]["chance"], abs=1e-12), name


def test_a_planted_response_is_found_by_network_and_ridge_and_by_no_control(planted: Outcome) -> None:
    result = planted.result
    chance = result["metrics"]["top10"]["chance"]
    assert result["metrics"]["top10"]["low"] > 3 * chance
    assert result["controls"]["ridge"]["metrics"]["top10"]["low"] > 3 * chance
    assert result["controls"]["ridge"]["r"] > 0.2
    assert result["p_value"] == pytest.approx(1 / 61)
    for name in ("noise", "shuffled"):
        figure = result["controls"][name]["metrics"]["match_mismatch"]
        assert abs(figure["value"] - 0.5) < 0.06, name
        assert result["controls"][name]["metrics"]["top10"]["value"] < 2 * chance, name
    shifted = result["controls"]["ridge-shifted"]
    assert abs(shifted["metrics"]["percentile_rank"]["value"] - 0.5) < 0.15
    assert abs(shifted["r"]) < 0.1
    assert shifted["pairings"] == 16
    assert shifted["over"] == "pairings"


def test_without_a_response_everything_is_at_chance(absent: Outcome) -> None:
    result = absent.result
    assert result["p_value"] > 0.01
    for name, metrics in [("decoder", result["metrics"])] + [
        (name, control["metrics"]) for name, control in result["controls"].items()
    ]:
        assert abs(metrics["match_mismatch"]["value"] - 0.5) < 0.09, name


def test_pooling_over_subjects_beats_single_windows_and_random_groups_do_not(planted: Outcome) -> None:
    pooled = planted.result["pooled"]
    single = planted.result["metrics"]["mrr"]["value"]
    assert pooled["windows_per_segment"] == 2
    assert pooled["n_queries"] == planted.result["n_candidates"]
    assert pooled["metrics"]["mrr"]["value"] > single + 0.05
    assert pooled["controls"]["ridge"]["metrics"]["mrr"]["value"] > single + 0.05
    assert pooled["controls"]["random-groups"]["metrics"]["mrr"]["value"] < single


def test_candidates_are_all_held_out_segments_once_though_two_subjects_heard_each() -> None:
    folds = toy_folds(noise=1.0, rule="leave-one-run-out")
    questions = ask(folds.sources, "test")
    assert len(questions) == 2 * len(questions.candidate_rows)
    assert len(np.unique(questions.candidate_identity)) == len(questions.candidate_identity)
    places = questions.candidates[["stimulus", "time"]].drop_duplicates()
    assert len(places) == len(questions.candidate_identity)
    assert sorted(questions.candidates["stimulus"].unique()) == ["alpha", "beta", "delta", "gamma"]
    asked = [folds.sources[k].index.rows("test") for k in range(4)]
    assert len(questions) == sum(map(len, asked))
    assert questions.queries["fold"].tolist() == [f"fold-{k}" for k in range(4) for _ in asked[k]]
    for fold, run in zip(questions.queries["fold"], questions.queries["run"]):
        assert fold == f"fold-{run}"


def test_each_fold_answers_its_own_run_with_its_own_network_and_scalers(planted: Outcome) -> None:
    """Scoring one fold alone, against the same pool, gives the rows that the whole gives."""
    folds = toy_folds(noise=12.0, rule="leave-one-run-out")
    questions, number = planted.questions, 2
    source, network = folds.sources[number], folds.network(number)
    here = np.flatnonzero(questions.fold == number)
    with torch.inference_mode():
        estimates = network.estimate(source[questions.rows[here]])
        candidates = source[questions.candidate_rows].target
        norm = candidates.flatten(1).norm(dim=1)
        expected = estimates.flatten(1) @ candidates.flatten(1).T / norm
    assert planted.scores.scores[here] == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-4)


def test_small_memory_and_small_batches_give_the_same_scores(planted: Outcome) -> None:
    small = FAST.model_copy(update={"memory": 1e-4, "batch_size": 50, "controls": ()})
    outcome = score_folds(toy_folds(noise=12.0, rule="leave-one-run-out"), small, "test")
    assert isinstance(outcome.scores.scores, np.memmap)
    assert outcome.scores.scores == pytest.approx(planted.scores.scores, rel=1e-4, abs=1e-4)
    assert outcome.result["controls"] == {}
    assert "against_ridge" not in outcome.result


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_figures_of_the_cpu(planted: Outcome) -> None:
    outcome = score_folds(toy_folds(noise=12.0, rule="leave-one-run-out", device="cuda"), FAST, "test")
    assert outcome.scores.scores == pytest.approx(planted.scores.scores, rel=1e-2, abs=1e-2)
    for name, figure in planted.result["metrics"].items():
        assert outcome.result["metrics"][name]["value"] == pytest.approx(figure["value"], rel=0.02), name


def test_the_figures_are_those_of_the_ranks(planted: Outcome) -> None:
    scores = planted.scores
    ranking = rank_matrix(np.asarray(scores.scores), scores.query_identity, scores.candidate_identity)
    assert planted.result["metrics"]["top1"]["value"] == pytest.approx(ranking.top(1).mean())
    per_subject = planted.result["per_subject"]
    assert set(per_subject) == {"0", "1"}
    weights = [per_subject[s]["n_queries"] for s in ("0", "1")]
    mean = np.average([per_subject[s]["top10"] for s in ("0", "1")], weights=weights)
    assert mean == pytest.approx(planted.result["metrics"]["top10"]["value"])
    assert sum(planted.result["rank_histogram"]["counts"]) == planted.result["n_queries"]


def test_same_run_pools_are_smaller_and_have_their_own_chance(planted: Outcome) -> None:
    same = planted.result["same_run"]
    assert same["n_candidates"] == planted.result["n_candidates"] / 4
    assert same["metrics"]["top10"]["chance"] == pytest.approx(10 / same["n_candidates"])


def test_a_regression_network_is_scored_by_correlation() -> None:
    folds = toy_folds(noise=1.0, training={"objective": {"kind": "mse"}})
    settings = FAST.model_copy(update={"controls": ()})
    outcome = score_folds(folds, settings, "test")
    assert outcome.result["score"] == "correlation"
    assert np.abs(outcome.scores.scores).max() <= 1 + 1e-5
    assert outcome.result["metrics"]["top1"]["value"] > 0.7


def test_examples_name_the_words_that_were_heard(planted: Outcome) -> None:
    for example in planted.result["examples"]:
        words = example["query"]["label"].split()
        assert len(words) == 6  # a window of 2.85 s holds six words, one each 0.5 s
        assert all(word.startswith("word") for word in words)
        right = [c for c in example["top5"] if c["correct"]]
        assert all(c["label"] == example["query"]["label"] for c in right)


def test_a_stimulus_without_words_is_named_by_place() -> None:
    folds = toy_folds(noise=1.0, rule="leave-one-run-out")
    for recording in folds.sources[0].index.recordings:
        recording.events = recording.events[recording.events["kind"] != "word"]
    assert ask(folds.sources, "test").candidates["label"][0] == "alpha at 0.0 s"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    with pytest.MonkeyPatch.context() as patch:
        run = toy_run(tmp_path_factory.mktemp("run"), toy_folds(noise=12.0, rule="leave-one-run-out"), patch)
        return run, evaluate(run, FAST, progress=False)


def test_the_written_file_is_plain_json_and_holds_every_key(written: tuple[Path, dict]) -> None:
    run, returned = written

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    result = json.loads((run / "evaluation" / "test.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert result == returned
    assert set(result) >= {
        "schema", "name", "n_queries", "n_candidates", "metrics", "over", "p_value", "per_subject", "controls", "pooled",
        "same_run", "rank_histogram", "examples", "split", "simulated", "provenance", "seconds", "against_ridge",
    }  # fmt: skip
    assert set(result["metrics"]) == METRICS
    for rows in (result["metrics"], result["pooled"]["metrics"], result["same_run"]["metrics"]):
        for figure in rows.values():
            assert set(figure) == {"value", "chance", "low", "high"}
            assert figure["low"] <= figure["high"]
    assert set(result["controls"]) == {"noise", "shuffled", "constant", "ridge", "ridge-shifted"}
    assert all(set(control["metrics"]) == METRICS for control in result["controls"].values())
    assert {"r", "penalties", "per_subject"} <= set(result["controls"]["ridge"])
    assert {"name", "rule", "seed", "counts", "overlap"} <= set(result["split"])
    assert result["split"]["overlap"] == 0
    assert result["simulated"] is True
    assert set(result["provenance"]) >= {"settings", "evaluation", "store_sha256s", "versions", "command", "folds"}
    assert not list(run.rglob("*.part"))


def test_scores_and_ranks_are_kept_for_later(written: tuple[Path, dict]) -> None:
    run, result = written
    ranking, queries = read_ranks(run)
    stored = np.load(run / "evaluation" / "test_scores.npz")
    again = rank_matrix(stored["scores"], stored["query_identity"], stored["candidate_identity"])
    assert np.array_equal(ranking.better, again.better)
    assert ranking.per_query()["mrr"].mean() == pytest.approx(result["metrics"]["mrr"]["value"])
    subjects, identities = queries["subject"].to_numpy(), queries["unit"].to_numpy()
    itself = compare(ranking, ranking, subjects, identities)
    assert itself["difference"] == 0


def test_a_matrix_that_is_too_large_is_not_written_and_an_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(tmp_path, toy_folds(noise=1.0), monkeypatch)
    kept = FAST.model_copy(update={"controls": ()})
    evaluate(run, kept, progress=False)
    assert (run / "evaluation" / "test_scores.npz").is_file()
    evaluate(run, kept.model_copy(update={"save_scores": 1e-6}), progress=False)
    assert not (run / "evaluation" / "test_scores.npz").exists()
    assert (run / "evaluation" / "test_ranks.csv.gz").is_file()


def test_the_validation_split_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = toy_folds(noise=1.0)
    run = toy_run(tmp_path, folds, monkeypatch)
    result = evaluate(run, FAST.model_copy(update={"controls": ("ridge",)}), split="valid", progress=False)
    assert result["n_queries"] == len(folds.sources[0].index.rows("valid"))
    assert result["split"]["name"] == "valid"
    assert [p.name for p in (run / "evaluation").glob("*.json")] == ["valid.json"]


def test_the_same_run_evaluated_twice_gives_the_same_figures(written: tuple[Path, dict], planted: Outcome) -> None:
    _, result = written
    assert result["metrics"] == planted.result["metrics"]
    assert result["controls"]["ridge-shifted"]["metrics"] == planted.result["controls"]["ridge-shifted"]["metrics"]
    assert result["controls"]["noise"]["metrics"] == planted.result["controls"]["noise"]["metrics"]


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--split train: there is no such split to score; use test or valid"):
        evaluate(tmp_path, EvaluationSettings(), split="train")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a run"):
        evaluate(tmp_path, EvaluationSettings())


def test_an_unfinished_fold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run(tmp_path, toy_folds(noise=1.0, rule="leave-one-run-out"), monkeypatch)
    (run / "fold-3" / "finished.json").unlink()
    with pytest.raises(SettingsError, match=r"training of 1 of 4 folds did not finish \(fold-3\); run the same"):
        evaluate(run, EvaluationSettings())


def test_ranks_of_a_run_that_is_not_evaluated_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NeurodecodeError, match="not evaluated on test; run: neurodecode evaluate"):
        read_ranks(tmp_path)


def test_one_distinct_segment_is_refused() -> None:
    folds: Folds = toy_folds(noise=1.0)
    source = folds.sources[0]
    source.index.table.loc[source.index.rows("test"), "identity"] = 5
    with pytest.raises(NeurodecodeError, match=r"test: 154 windows of 1 distinct segment\(s\), retrieval needs 2"):
        ask(folds.sources, "test")


def test_one_subject_with_overlapping_windows_is_resampled_by_stretches() -> None:
    """Neighbouring windows share signal: resampling them one by one would make intervals too short."""
    questions = ask(toy_folds(noise=1.0, rule="leave-one-run-out", subjects=1).sources, "test")
    unit, over = questions.clusters()
    assert over == "stretches"
    assert len(np.unique(unit)) == 4 * 7  # windows of 3 s start within 58 s of each of four stimuli, 9 s a stretch
    for number in np.unique(unit):
        here = questions.queries[unit == number]
        assert here["stimulus"].nunique() == 1
        assert here["time"].max() - here["time"].min() <= 9.0


def test_several_subjects_are_resampled_and_controls_of_few_by_stretches(planted: Outcome) -> None:
    assert planted.result["over"] == "subjects"
    assert planted.result["controls"]["ridge"]["over"] == "subjects"
    assert planted.result["controls"]["noise"]["over"] == "stretches"


def test_a_window_scored_by_two_folds_is_refused() -> None:
    source = toy_folds(noise=1.0).sources[0]
    with pytest.raises(NeurodecodeError, match="scored by two folds"):
        ask([source, source], "test")


def test_the_table_shows_every_row_and_says_what_must_be_known(written: tuple[Path, dict]) -> None:
    _, result = written
    title, columns, rows, notes = evaluation_table(result)
    assert columns[1:] == ["top-1", "top-5", "top-10", "median rank", "MRR", "match-mismatch"]
    assert [row[0] for row in rows] == [
        "decoder",
        "decoder, 2 windows pooled",
        "ridge",
        "ridge, 2 windows pooled",
        "ridge-shifted",
        "noise",
        "shuffled",
        "constant",
        "chance",
    ]
    assert all(len(row) == len(columns) and all(isinstance(cell, str) for cell in row) for row in rows)
    assert rows[-1][1:] == rows[-2][1:]  # constant is chance, and its interval has no width
    assert f"464 windows of 3 s, {result['n_candidates']} candidates" in title
    assert "SIMULATED" in title
    text = " ".join(notes)
    for part in ("leave-one-run-out", "shared between sides: 0", "mean r", "penalties", "Simulated", "Only 2 subjects"):
        assert part in text


def test_the_table_says_plainly_when_the_network_is_not_above_the_ridge(written: tuple[Path, dict]) -> None:
    _, result = written
    for low, high, sentence in (
        (-0.05, 0.02, "The network is not above the ridge: top-10"),
        (-0.05, -0.01, "The network is below the ridge: top-10"),
        (0.01, 0.05, "The network is above the ridge: top-10"),
    ):
        difference = {"difference": (low + high) / 2, "low": low, "high": high}
        changed = result | {"against_ridge": {"top10": difference, "match_mismatch": difference}}
        assert sum(note.startswith(sentence) for note in evaluation_table(changed)[3]) == 1


def test_the_table_warns_of_a_control_that_is_above_chance(written: tuple[Path, dict]) -> None:
    _, result = written
    assert not any(note.startswith("Warning") for note in evaluation_table(result)[3])
    broken = json.loads(json.dumps(result))
    broken["controls"]["noise"]["metrics"]["match_mismatch"] |= {"value": 0.7, "low": 0.65, "high": 0.75}
    assert any(note.startswith("Warning: noise is above chance") for note in evaluation_table(broken)[3])


def test_a_network_trained_on_a_control_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run(tmp_path, toy_folds(noise=1.0), monkeypatch, control="shuffled")
    result = evaluate(run, FAST.model_copy(update={"controls": ("constant",)}), progress=False)
    notes = evaluation_table(result)[3]
    assert "This network was trained on a control: shuffled." in notes
    assert any(note.startswith("No ridge beside the network") for note in notes)
