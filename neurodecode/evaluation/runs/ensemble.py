"""Seed ensembles in score space: the mean of the members' probabilities, scored as a run of its own.

In: two evaluated runs or more, that answered the same windows against the same candidates on the same split. Out: a folder
that `compare` reads like a run::

    OUT/evaluation/<split>.json            as `evaluate` writes it, and `ensemble` with each member's figures
    OUT/evaluation/<split>_ranks.csv.gz    one row a query
    OUT/evaluation/<split>_scores.npz      logarithms of the mean probabilities

The members' score matrices are read, not computed again; only the row `noise` runs their networks, all on one and the same
noise. The ridge is that of the members, when it is the same in all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from neurodecode.config import EvaluationSettings, validate
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import (
    CHUNK,
    Ranked,
    Ranking,
    Scores,
    examples,
    histogram,
    rank,
    retrieval_metrics,
)
from neurodecode.evaluation.retrieval.questions import Questions, ask
from neurodecode.evaluation.retrieval.ranks import Evaluated, ranks_path, read_evaluated, write_ranks, write_scores
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder
from neurodecode.evaluation.retrieval.statistics import FEWEST_SUBJECTS, compare
from neurodecode.evaluation.runs import controls
from neurodecode.evaluation.runs import evaluate as evaluation
from neurodecode.evaluation.runs.rows import Answers, against_ridge, further, headline, per_subject
from neurodecode.files import plain, write_json
from neurodecode.training.run_folder import first_difference, read_run

SAME_TIME = 1e-6  # s


def ensemble(
    runs: Sequence[Path], out: Path, split: str = "test", *, noise: bool = True, progress: bool = False
) -> dict[str, Any]:
    """Average runs and score the average.

    Parameters
    ----------
    runs
        Folders of evaluated runs, usually of one recipe under several seeds.
    out
        Folder for the result; not one of a run.
    split
        test or valid.
    noise
        Ask all members again with noise in place of the brain, if they were asked so by themselves: the row `noise`. Needs
        their networks and their store.
    progress
        Show a progress bar while features are computed, if standard error is a terminal.

    Returns
    -------
    dict
        As `evaluate`, with `ensemble`: `members` (`run`, `label`, `seed`, `metrics`), `mean` of their figures,
        `against_mean` and `against_best`.

    Raises
    ------
    NeurodecodeError
        If fewer than two runs are given, one is not evaluated or kept no scores, they were not asked the same, two are one
        network twice (equal answers, or equal settings and seed), or the row `noise` is wanted and a network or a store is
        not there.
    """
    out = Path(out)
    if len({Path(run).resolve() for run in runs}) < max(2, len(runs)):
        raise NeurodecodeError(f"an ensemble needs two different runs or more, found {', '.join(map(str, runs))}")
    if (out / "run.json").is_file():
        raise NeurodecodeError(f"{out}: is a run; give another --out for the ensemble")
    members = [read_evaluated(Path(run), split) for run in runs]
    for member in members:
        _refuse(members[0], member)
    for one, other in combinations(members, 2):
        _refuse_twice(one, other)
    first = members[0]
    settings = validate(EvaluationSettings, first.result["provenance"]["evaluation"], str(first.run))
    scores = mean_probability([member.scores for member in members])
    questions = first.questions
    rankings = [rank(member.scores) for member in members]
    ranking = rank(scores)
    on_noise = None
    if noise and "noise" in settings.controls:
        on_noise = _noise(members, questions, settings, split, progress)
    result, ridge = _score(first, members, questions, scores, ranking, settings, on_noise)
    result["ensemble"] = _members(members, rankings, ranking, questions, settings)
    result["split"] = first.result["split"]
    result["training_control"] = first.result["training_control"]
    result["provenance"] = first.result["provenance"] | {
        "run": out.resolve().name,
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
    }
    result = plain(result)
    write_ranks(ranks_path(out, split), questions, ranking, ridge)
    write_scores(out / "evaluation" / f"{split}_scores.npz", scores, settings.save_scores)
    write_json(out / "evaluation" / f"{split}.json", result)
    return result


def mean_probability(members: Sequence[Scores]) -> Scores:
    """Logarithm of the mean over members of each query's softmax over candidates, float32 [Q, N]."""
    first = members[0]
    out = np.empty((len(first.query_identity), len(first.candidate_identity)), np.float32)
    step = max(1, CHUNK // max(1, out.shape[1]))
    for begin in range(0, len(out), step):
        part = slice(begin, begin + step)
        logs = [_log_softmax(np.asarray(member.scores[part], np.float64)) for member in members]
        out[part] = logsumexp(np.stack(logs), axis=0) - np.log(len(members))
    return Scores(out, first.query_identity, first.candidate_identity, first.queries, first.candidates)


def _log_softmax(block: np.ndarray) -> np.ndarray:
    return block - logsumexp(block, axis=1, keepdims=True)


def _score(
    first: Evaluated,
    members: Sequence[Evaluated],
    questions: Questions,
    scores: Scores,
    ranking: Ranking,
    settings: EvaluationSettings,
    on_noise: controls.Control | None,
) -> tuple[dict[str, Any], Ranking | None]:
    """The figures that scores give."""
    at_words = first.result.get("words") is not None
    answers = Answers(questions, scores, settings, None, True, at_words)
    cluster, over = questions.clusters()
    kept = ("simulated", "scope", "folds", "window_seconds", "score")
    result: dict[str, Any] = {
        "schema": first.result["schema"],
        "name": f"ensemble of {len(members)}, {first.result['name']}",
        **{key: first.result[key] for key in kept},
        "context": first.result.get("context"),
        **headline(answers, ranking),
        "controls": {},
    }
    rows = {}
    if "constant" in settings.controls:
        rows["constant"] = controls.constant(questions)
    if "shuffled" in settings.controls:
        rows["shuffled"] = controls.shuffled(scores, questions, settings.seed)
    if on_noise is not None:
        rows["noise"] = on_noise
    ridge = _common_ridge(members)
    if ridge is not None:
        details = next(m.result["controls"]["ridge"] for m in members if "ridge" in m.result["controls"])
        details = {key: value for key, value in details.items() if key not in ("metrics", "over", "per_subject")}
        details["per_subject"] = per_subject(ridge, questions.subjects)
        rows["ridge"] = controls.Control(ridge, cluster, over, details)
        result["against_ridge"] = against_ridge(ridge, ranking, answers)
    for name, row in rows.items():
        metrics = answers.metrics(row.ranking, row.cluster)
        result["controls"][name] = {"metrics": metrics, "over": row.over, **row.details}
    result |= further(answers, ranking, ridge)
    result["rank_histogram"] = histogram(ranking)
    result["examples"] = examples(scores, ranking, settings.examples)
    return result, ridge


def _noise(
    members: Sequence[Evaluated], questions: Questions, settings: EvaluationSettings, split: str, progress: bool
) -> controls.Control:
    """The same mean of probabilities when every member hears the same noise in place of the brain."""
    answers = [_scores_on_noise(member, settings, split, progress) for member in members]
    return controls.Control(rank(mean_probability(answers)), *questions.clusters(fewest=FEWEST_SUBJECTS))


def _scores_on_noise(member: Evaluated, settings: EvaluationSettings, split: str, progress: bool) -> Scores:
    """What the networks of a member say of noise [Q, N]; the noise depends on the window and the seed alone."""
    if not (member.run / "run.json").is_file():
        raise NeurodecodeError(f"{member.run}: has no networks to send noise through; give --no-noise to go without")
    folds = evaluation.open_folds(member.run, read_run(member.run), settings, progress)
    questions = ask(folds.sources, split)
    if not np.array_equal(questions.query_identity, member.questions.query_identity):
        raise NeurodecodeError(
            f"{member.run}: its store now gives other windows than were evaluated; run neurodecode evaluate again"
        )

    def on_noise(number: int) -> NetworkDecoder:
        return replace(folds.network(number), noise=settings.seed)

    return questions.scores(controls.score_all(on_noise, questions, folds.sources, settings, lambda n: None))


def _common_ridge(members: Sequence[Evaluated]) -> Ranking | None:
    """Ranking of the ridge, when members that have one agree on it."""
    found = [member.ridge for member in members if member.ridge is not None]
    same = all(np.array_equal(f.better, found[0].better) and np.array_equal(f.tied, found[0].tied) for f in found)
    return found[0] if found and same else None


def _members(
    members: Sequence[Evaluated],
    rankings: Sequence[Ranking],
    ranking: Ranking,
    questions: Questions,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Each member's figures, their mean, and the ensemble minus their mean and minus the best of them."""
    metric = "top10" if len(questions.candidate_identity) > 20 else "top1"
    each = [retrieval_metrics(r) for r in rankings]
    best = int(np.argmax([metrics[metric]["value"] for metrics in each]))
    labels = [member.run.name for member in members]

    def against(other: Ranked) -> dict[str, Any]:
        subjects, units, repeats = questions.subjects, questions.unit, settings.bootstrap
        return compare(other, ranking, subjects, units, metric=metric, repeats=repeats, seed=settings.seed)

    return {
        "members": [
            {
                "run": str(member.run),
                "label": label,
                "seed": member.result["provenance"]["settings"]["seed"],
                "metrics": metrics,
            }
            for member, label, metrics in zip(members, labels, each)
        ],
        "mean": {
            name: {"value": float(np.mean([m[name]["value"] for m in each])), "chance": each[0][name]["chance"]}
            for name in each[0]
        },
        "against_mean": against(_Mean(rankings)),
        "against_best": {"member": labels[best], **against(rankings[best])},
    }


@dataclass(frozen=True)
class _Mean:
    """What a member drawn at random gives for each query, on average."""

    members: Sequence[Ranked]

    def per_query(self) -> dict[str, np.ndarray]:
        return self._mean([member.per_query() for member in self.members])

    def chance_per_query(self) -> dict[str, np.ndarray]:
        return self._mean([member.chance_per_query() for member in self.members])

    @staticmethod
    def _mean(each: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.mean([figures[name] for figures in each], axis=0) for name in each[0]}


def _refuse(first: Evaluated, other: Evaluated) -> None:
    """Stop unless a member was asked what the first was, after training on the same side of the same split."""
    between = f"{first.run} and {other.run} make no ensemble"
    for member in (first, other):
        score = member.result["score"]
        if score == "correlation" or member.result["provenance"]["settings"]["objective"]["kind"] == "mse":
            raise NeurodecodeError(
                f"{between}: the scores of {member.run} are no logarithms of probabilities ({score}); use runs trained with "
                "objective.kind clip or siglip"
            )
    a, b = first.scores, other.scores
    if a.scores.shape != b.scores.shape:
        raise NeurodecodeError(
            f"{between}: {a.scores.shape[0]} windows and {a.scores.shape[1]} candidates against {b.scores.shape[0]} and "
            f"{b.scores.shape[1]}; evaluate runs with the same segments settings on one store"
        )
    for what, same in (
        ("windows", _same_windows(a, b)),
        ("candidates", np.array_equal(a.candidate_identity, b.candidate_identity)),
        ("recordings", first.result["provenance"]["store_sha256s"] == other.result["provenance"]["store_sha256s"]),
        ("splits", _split(first) == _split(other)),
        ("neighbours (model.context)", first.result.get("context") == other.result.get("context")),
    ):
        if not same:
            raise NeurodecodeError(
                f"{between}: their {what} differ; evaluate runs with the same segments settings on one store"
            )


def _refuse_twice(one: Evaluated, other: Evaluated) -> None:
    """Stop when two members are one network twice: their mean would say of chance in training what it cannot know."""
    between = f"{one.run} and {other.run} make no ensemble"
    if np.array_equal(one.scores.scores, other.scores.scores):
        raise NeurodecodeError(f"{between}: they gave the same answers, so they are one network; train another seed")
    a, b = ({**m.result["provenance"]["settings"], "name": ""} for m in (one, other))
    if first_difference(a, b) is None:
        raise NeurodecodeError(
            f"{between}: both were trained with the same settings and seed {a['seed']}; train one of them with another, "
            f"for example --set seed={a['seed'] + 1}"
        )


def _same_windows(a: Scores, b: Scores) -> bool:
    names = all(
        np.array_equal(a.queries[c].to_numpy(str), b.queries[c].to_numpy(str)) for c in ("recording", "subject", "fold")
    )
    near = np.abs(a.queries["start"].to_numpy(float) - b.queries["start"].to_numpy(float)) < SAME_TIME
    return names and bool(near.all()) and np.array_equal(a.query_identity, b.query_identity)


def _split(member: Evaluated) -> tuple[Any, ...]:
    split = member.result["split"]
    return split["rule"], split["seed"], split["counts"], member.result["window_seconds"]
