"""Seed ensembles in score space: the mean of the members' probabilities, scored as a run of its own.

In: two evaluated runs or more, that answered the same windows against the same candidates on the same split. Out: a folder
that `compare` reads like a run::

    OUT/evaluation/<split>.json            as `evaluate` writes it, and `ensemble` with each member's figures
    OUT/evaluation/<split>_ranks.csv.gz    one row a query
    OUT/evaluation/<split>_scores.npz      logarithms of the mean probabilities

Nothing is run again: the members' score matrices are read. So there is no `noise` row, which needs the networks, and the
ridge is that of the members, when it is the same in all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from neurodecode.config import EvaluationSettings, validate
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation import controls
from neurodecode.evaluation.questions import Questions
from neurodecode.evaluation.ranks import Evaluated, ranks_path, read_evaluated, write_ranks, write_scores
from neurodecode.evaluation.retrieval import CHUNK, Ranking, Scores, examples, histogram, rank, retrieval_metrics
from neurodecode.evaluation.rows import Answers, against_ridge, further, headline, per_subject
from neurodecode.evaluation.statistics import compare
from neurodecode.files import plain, write_json

SAME_TIME = 1e-6  # s


def ensemble(runs: Sequence[Path], out: Path, split: str = "test") -> dict[str, Any]:
    """Average runs and score the average.

    Parameters
    ----------
    runs
        Folders of evaluated runs, usually of one recipe under several seeds.
    out
        Folder for the result; not one of a run.
    split
        test or valid.

    Returns
    -------
    dict
        As `evaluate`, with `ensemble`: `members` (`run`, `label`, `seed`, `metrics`), `mean` of their figures,
        `against_best`.

    Raises
    ------
    NeurodecodeError
        If fewer than two runs are given, one is not evaluated or kept no scores, or they were not asked the same.
    """
    out = Path(out)
    if len({Path(run).resolve() for run in runs}) < max(2, len(runs)):
        raise NeurodecodeError(f"an ensemble needs two different runs or more, found {', '.join(map(str, runs))}")
    if (out / "run.json").is_file():
        raise NeurodecodeError(f"{out}: is a run; give another --out for the ensemble")
    members = [read_evaluated(Path(run), split) for run in runs]
    for member in members:
        _refuse(members[0], member)
    first = members[0]
    settings = validate(EvaluationSettings, first.result["provenance"]["evaluation"], str(first.run))
    scores = mean_probability([member.scores for member in members])
    questions = first.questions
    rankings = [rank(member.scores) for member in members]
    ranking = rank(scores)
    result, ridge = _score(first, members, questions, scores, ranking, settings)
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
) -> tuple[dict[str, Any], Ranking | None]:
    """The figures that scores give without networks."""
    at_words = first.result.get("words") is not None
    answers = Answers(questions, scores, settings, None, True, at_words)
    cluster, over = questions.clusters()
    kept = ("simulated", "scope", "folds", "window_seconds", "score")
    result: dict[str, Any] = {
        "schema": first.result["schema"],
        "name": f"ensemble of {len(members)}, {first.result['name']}",
        **{key: first.result[key] for key in kept},
        **headline(answers, ranking),
        "controls": {},
    }
    rows = {}
    if "constant" in settings.controls:
        rows["constant"] = controls.constant(questions)
    if "shuffled" in settings.controls:
        rows["shuffled"] = controls.shuffled(scores, questions, settings.seed)
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
    """Each member's figures, their mean, and the ensemble minus the best of them."""
    metric = "top10" if len(questions.candidate_identity) > 20 else "top1"
    each = [retrieval_metrics(r) for r in rankings]
    best = int(np.argmax([metrics[metric]["value"] for metrics in each]))
    labels = [member.run.name for member in members]
    against = compare(
        rankings[best],
        ranking,
        questions.subjects,
        questions.unit,
        metric=metric,
        repeats=settings.bootstrap,
        seed=settings.seed,
    )
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
        "against_best": {"member": labels[best], **against},
    }


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
    ):
        if not same:
            raise NeurodecodeError(
                f"{between}: their {what} differ; evaluate runs with the same segments settings on one store"
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
