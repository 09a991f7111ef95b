"""An ensemble averages probabilities of runs that were asked the same, and refuses everything else in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.apart import tables_apart
from neurodecode.evaluation.retrieval.metrics import Scores, rank
from neurodecode.evaluation.retrieval.ranks import ranks_path, read_evaluated, write_ranks
from neurodecode.evaluation.retrieval.tables import evaluation_table
from neurodecode.evaluation.runs.ensemble import ensemble, mean_probability
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.side_by_side.comparison import compare_runs
from tests.evaluation.runs import FAST, toy_folds, toy_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = toy_run(tmp_path_factory.mktemp("runs") / "one", toy_folds(noise=12.0), patch)
        pooling = FAST.pooling.model_copy(update={"sentence": True})
        settings = FAST.model_copy(update={"controls": ("shuffled", "constant", "ridge"), "pooling": pooling})
        evaluate(folder, settings, progress=False)
    return folder


def with_noise(run: Path, out: Path, seed: int) -> Path:
    """A copy of a run whose scores carry independent noise, as another seed's would."""
    shutil.copytree(run, out)
    there = read_evaluated(run)
    path = out / "evaluation" / "test_scores.npz"
    stored = dict(np.load(path))
    noise = np.random.default_rng(seed).normal(size=stored["scores"].shape)
    stored["scores"] = (stored["scores"] + noise * 1.5 * stored["scores"].std()).astype(np.float32)
    np.savez(path, **stored)
    scores = there.questions.scores(stored["scores"])
    write_ranks(ranks_path(out, "test"), there.questions, rank(scores), there.ridge)
    change(out, provenance__settings__seed=seed)
    return out


def change(run: Path, **values: object) -> None:
    path = run / "evaluation" / "test.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    for dotted, value in values.items():
        target = result
        *parents, last = dotted.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(result), encoding="utf-8")


def nearly_again(run: Path, seed: int) -> None:
    """Another seed that answers all but the same."""
    path = run / "evaluation" / "test_scores.npz"
    stored = dict(np.load(path))
    stored["scores"] = stored["scores"] * np.float32(1.0001)
    np.savez(path, **stored)
    change(run, provenance__settings__seed=seed)


def test_the_mean_is_that_of_softmax_probabilities() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(3, 4)).astype(np.float32) * 3 for _ in range(2))
    identity = np.arange(4)
    members = [Scores(m, identity[:3], identity, None, None) for m in (a, b)]  # type: ignore[arg-type]
    p = [np.exp(m) / np.exp(m).sum(axis=1, keepdims=True) for m in (a, b)]
    assert np.exp(mean_probability(members).scores) == pytest.approx((p[0] + p[1]) / 2, rel=1e-5)


def test_what_is_read_back_is_what_was_asked(run: Path) -> None:
    """Candidates are rebuilt from the queries: the figures from files are those of the evaluation."""
    there = read_evaluated(run)
    assert rank(there.scores).per_query()["mrr"].mean() == pytest.approx(there.result["metrics"]["mrr"]["value"])
    assert len(there.questions.candidates) == there.result["n_candidates"]
    assert there.questions.candidates["label"].str.len().min() > 0
    assert there.ridge is not None
    assert there.questions.queries["sentence"].min() >= 0


def test_an_ensemble_of_noisy_members_is_better_than_each_and_keeps_the_ridge(run: Path, tmp_path: Path) -> None:
    members = [with_noise(run, tmp_path / f"seed-{seed}", seed) for seed in range(3)]
    result = ensemble(members, tmp_path / "all")
    best = max(m["metrics"]["mrr"]["value"] for m in result["ensemble"]["members"])
    assert result["metrics"]["mrr"]["value"] > best
    assert result["metrics"]["mrr"]["value"] > result["ensemble"]["mean"]["mrr"]["value"] + 0.02
    assert set(result["controls"]) == {"shuffled", "constant", "ridge"}
    first = json.loads((run / "evaluation" / "test.json").read_text(encoding="utf-8"))
    for name, figure in first["controls"]["ridge"]["metrics"].items():
        assert result["controls"]["ridge"]["metrics"][name]["value"] == pytest.approx(figure["value"]), name
    assert result["sentence_pooled"]["metrics"]["mrr"]["value"] > 0
    assert [m["label"] for m in result["ensemble"]["members"]] == ["seed-0", "seed-1", "seed-2"]


def test_the_gain_over_a_random_member_is_paired_over_windows(run: Path, tmp_path: Path) -> None:
    members = [with_noise(run, tmp_path / f"seed-{seed}", seed) for seed in range(3)]
    result = ensemble(members, tmp_path / "all")
    own, found = result["metrics"]["top10"]["value"], result["ensemble"]["against_mean"]
    assert found["difference"] == pytest.approx(own - result["ensemble"]["mean"]["top10"]["value"])
    assert 0 < found["low"] < found["difference"] < found["high"]
    # the intervals of the members and of the ensemble overlap; that of the pairs is far narrower
    figure = result["metrics"]["top10"]
    assert found["high"] - found["low"] < figure["high"] - figure["low"]
    notes = next(table[3] for table in tables_apart(result) if table[0] == "Members of the ensemble")
    assert f"top-10 {found['difference']:+.3f}" in notes[1]
    del result["ensemble"]["against_mean"]  # as files of earlier versions have it
    assert any("best member" in note for note in tables_apart(result)[0][3])


def test_all_members_hear_one_noise_and_are_at_chance_and_a_member_alone_hears_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = toy_folds(noise=12.0)
    settings = FAST.model_copy(update={"controls": ("noise",)})
    runs = [toy_run(tmp_path / name, folds, monkeypatch) for name in ("a", "b")]
    for run in runs:
        evaluate(run, settings, progress=False)
    nearly_again(runs[1], seed=7)
    result = ensemble(runs, tmp_path / "both")
    found = result["controls"]["noise"]["metrics"]["match_mismatch"]
    assert found["low"] < 0.5 < found["high"]
    assert result["metrics"]["match_mismatch"]["value"] > 0.8
    # two members all but equal: their mean is each of them, so the noise must have been the same, too
    alone = json.loads((runs[0] / "evaluation" / "test.json").read_text(encoding="utf-8"))
    for name, figure in alone["controls"]["noise"]["metrics"].items():
        assert result["controls"]["noise"]["metrics"][name]["value"] == pytest.approx(figure["value"]), name
    assert "noise" in [row[0] for row in evaluation_table(result)[2]]
    assert "noise" not in ensemble(runs, tmp_path / "without", noise=False)["controls"]


def test_networks_that_are_gone_are_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = toy_folds(noise=12.0)
    settings = FAST.model_copy(update={"controls": ("noise",)})
    runs = [toy_run(tmp_path / name, folds, monkeypatch) for name in ("a", "b")]
    for run in runs:
        evaluate(run, settings, progress=False)
    nearly_again(runs[1], seed=7)
    (runs[1] / "run.json").unlink()
    with pytest.raises(NeurodecodeError, match=r"b: has no networks to send noise through; give --no-noise"):
        ensemble(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_its_folder_is_compared_like_a_run_and_its_tables_name_the_members(run: Path, tmp_path: Path) -> None:
    members = [with_noise(run, tmp_path / f"seed-{seed}", seed) for seed in range(2)]
    result = ensemble(members, tmp_path / "both")
    assert json.loads((tmp_path / "both" / "evaluation" / "test.json").read_text(encoding="utf-8")) == result
    found = compare_runs(members[0], tmp_path / "both", metric="mrr")
    means = [result["ensemble"]["members"][0]["metrics"]["mrr"]["value"], result["metrics"]["mrr"]["value"]]
    assert found["difference"] == pytest.approx(means[1] - means[0])
    title, _, rows, _ = evaluation_table(result)
    assert title.startswith("ensemble of 2, toy: test split")
    assert "noise" not in [row[0] for row in rows]
    tables = {table[0]: table for table in tables_apart(result)}
    names = [row[0].strip() for row in tables["Members of the ensemble"][2]]
    assert names == ["ensemble of 2", "seed-0", "seed-1", "(mean of the members)", "chance"]
    assert any(title.startswith("Sentence pooling") for title in tables)


def test_an_ensemble_of_a_run_with_itself_or_alone_is_refused(run: Path, tmp_path: Path) -> None:
    for runs in ([run], [run, run]):
        with pytest.raises(NeurodecodeError, match="needs two different runs or more"):
            ensemble(runs, tmp_path / "out")


def test_one_network_under_two_names_is_refused(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "copied")
    change(copied, provenance__settings__seed=7)  # whatever it says of its seed
    with pytest.raises(NeurodecodeError, match="make no ensemble: they gave the same answers, so they are one network"):
        ensemble([with_noise(run, tmp_path / "a", 1), run, copied], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_runs_of_one_seed_are_refused_whatever_they_are_called_and_two_recipes_of_one_seed_are_not(
    run: Path, tmp_path: Path
) -> None:
    a, b = (with_noise(run, tmp_path / str(seed), seed) for seed in (1, 2))
    change(b, provenance__settings__seed=1, provenance__settings__name="other")
    change(b, provenance__settings__training__devices=2)  # where it was trained makes no other network
    with pytest.raises(
        NeurodecodeError, match="both were trained with the same settings and seed 1; train one"
    ) as caught:
        ensemble([run, a, b], tmp_path / "out")
    assert "\n" not in str(caught.value)
    change(b, provenance__settings__model__depth=3)
    assert [m["seed"] for m in ensemble([a, b], tmp_path / "out")["ensemble"]["members"]] == [1, 1]


def test_the_folder_of_a_run_is_never_written_into(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NeurodecodeError, match="is a run; give another --out"):
        ensemble([with_noise(run, tmp_path / "b", 0), run], run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split__seed": 99}, "their splits differ"),
        ({"split__counts": {"train": 1, "valid": 1, "test": 1}}, "their splits differ"),
        ({"provenance__store_sha256s": {"sub-0_run-0": "f" * 64}}, "their recordings differ"),
        ({"score": "correlation"}, "no logarithms of probabilities"),
    ],
)
def test_runs_that_were_not_asked_the_same_are_refused(
    run: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    other = with_noise(run, tmp_path / "other", 0)
    change(other, **changes)
    with pytest.raises(NeurodecodeError, match=message) as caught:
        ensemble([run, other], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_windows_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = toy_run(tmp_path / "loro", toy_folds(noise=12.0, rule="leave-one-run-out"), monkeypatch)
    evaluate(other, FAST.model_copy(update={"controls": ()}), progress=False)
    with pytest.raises(NeurodecodeError, match="make no ensemble: 154 windows and 77 candidates against 464 and 232;"):
        ensemble([run, other], tmp_path / "out")


def test_a_run_without_kept_scores_is_named_with_the_way_out(run: Path, tmp_path: Path) -> None:
    other = with_noise(run, tmp_path / "other", 0)
    (other / "evaluation" / "test_scores.npz").unlink()
    with pytest.raises(NeurodecodeError, match=r"scores were not kept; run: neurodecode evaluate .*save_scores"):
        ensemble([run, other], tmp_path / "out")
