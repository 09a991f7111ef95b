"""The evaluation of a run: which segment was heard, beside chance, ridge and controls.

In: a run folder (and the store it was trained on). Out: a dict, and three files ::

    RUN/evaluation/<split>.json            every figure; keys in docs/evaluation.md
    RUN/evaluation/<split>_ranks.csv.gz    one row a query, for paired comparisons (`ranks.read_ranks`)
    RUN/evaluation/<split>_scores.npz      the score matrix, when it is small enough

    evaluate(Path("run"), EvaluationSettings())["metrics"]["top10"]
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurodecode.config import EvaluationSettings, TrainSettings
from neurodecode.errors import SettingsError
from neurodecode.evaluation.retrieval.metrics import Ranking, Scores, examples, histogram, rank
from neurodecode.evaluation.retrieval.pools import refuse_larger
from neurodecode.evaluation.retrieval.questions import Questions, ask
from neurodecode.evaluation.retrieval.ranks import ranks_path, write_ranks, write_scores
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder, by_correlation, training_deviation
from neurodecode.evaluation.retrieval.statistics import FEWEST_SUBJECTS
from neurodecode.evaluation.runs import controls
from neurodecode.evaluation.runs.context import against_alone, context_controls, shown
from neurodecode.evaluation.runs.rows import Answers, against_ridge, further, headline, per_subject
from neurodecode.files import plain, read_json, write_json
from neurodecode.progress import Bar
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.scaling import Scalers
from neurodecode.training.load import load_fold, load_source
from neurodecode.training.run_folder import read_run, run_settings, versions

SCHEMA = 1
SPLITS = ("test", "valid")


@dataclass
class Folds:
    """All folds of a run: sources that share signals and features, and a way to load each network."""

    sources: list[BatchSource]
    network: Callable[[int], NetworkDecoder]


@dataclass
class Outcome:
    """What was computed: the figures, and the arrays behind them."""

    result: dict[str, Any]
    questions: Questions
    scores: Scores
    ranking: Ranking
    ridge: Ranking | None


def evaluate(run: Path, settings: EvaluationSettings, split: str = "test", progress: bool = True) -> dict:
    """Score all folds of a run, and write the result into its folder.

    Parameters
    ----------
    run
        Folder of a finished run.
    settings
        What is scored and against what.
    split
        test, or valid (then the ridge is fitted without the validation windows, too).
    progress
        Show a progress bar on standard error, if that is a terminal.

    Returns
    -------
    dict
        The content of `RUN/evaluation/<split>.json`.

    Raises
    ------
    NeurodecodeError
        If the run is not finished, its store changed, or there is no such split.
    """
    begin = time.monotonic()
    run = Path(run)
    if split not in SPLITS:
        raise SettingsError(f"--split {split}: there is no such split to score; use {' or '.join(SPLITS)}")
    info = read_run(run)
    _refuse_unfinished(run, info)
    with Bar(progress, transient=True) as bar:
        folds = open_folds(run, info, settings, progress)
        outcome = score_folds(folds, settings, split, bar)
        result = {"schema": SCHEMA, "name": info["name"], **outcome.result}
        result["split"] = {"name": split, **{k: v for k, v in info["split"].items() if k != "per_fold"}}
        result["training_control"] = info["settings"]["training"]["control"]
        result["provenance"] = _provenance(run, info, settings)
        result["seconds"] = round(time.monotonic() - begin, 2)
        result = plain(result)
        folder = run / "evaluation"
        write_ranks(ranks_path(run, split), outcome.questions, outcome.ranking, outcome.ridge)
        write_scores(folder / f"{split}_scores.npz", outcome.scores, settings.save_scores)
        write_json(folder / f"{split}.json", result)
    return result


def open_folds(run: Path, info: dict[str, Any], settings: EvaluationSettings, progress: bool) -> Folds:
    """Open every fold; signals and features are loaded once and shared."""
    device = _device(settings)
    first = load_source(run, info["folds"][0], device, progress=progress)
    sources = [first]
    for name in info["folds"][1:]:
        source = copy.copy(first)
        source.index = first.index.fold(name)
        source.scalers = Scalers.load(run / name / "scalers.npz")
        sources.append(source)
    training = run_settings(info, str(run / "run.json"))

    def network(number: int) -> NetworkDecoder:
        model, _, _ = load_fold(run, info["folds"][number], device)
        scale = training_deviation(sources[number], model) if by_correlation(settings, training) else None
        return NetworkDecoder(model, training, scale)

    return Folds(sources, network)


def score_folds(folds: Folds, settings: EvaluationSettings, split: str, bar: Bar | None = None) -> Outcome:
    """All figures of opened folds. Nothing is written."""
    bar = bar or Bar(False)
    sources = folds.sources
    questions = ask(sources, split)
    for size in settings.pool.size:
        refuse_larger(size, len(questions.candidate_rows))  # before any work
    wanted = settings.controls
    networks = _Kept(folds.network)
    advance = bar.stage("decoder", len(questions))
    scores = questions.scores(controls.score_all(networks, questions, sources, settings, advance))
    correlation = networks(0).feature_scale is not None
    probable = not correlation and networks(0).settings.objective.kind != "mse"
    answers = Answers(questions, scores, settings, None, probable, _at_words(sources[0], split))
    ranking = rank(scores)
    cluster, over = questions.clusters()
    window = sources[0].index.settings.window
    result: dict[str, Any] = {
        "simulated": any(r.simulated for r in sources[0].index.recordings),
        "scope": "within-subject" if questions.seen else "across-subject",
        "folds": [source.index.fold_name for source in sources],
        "window_seconds": round(window.tmax - window.tmin, 4),
        "context": shown(questions, sources),
        "score": "correlation" if correlation else "siglip" if hasattr(networks(0).model, "siglip") else "clip",
        **headline(answers, ranking),
        "controls": {},
    }
    rows: dict[str, controls.Control] = {}
    ridge: controls.RidgeAnswer | None = None
    if "constant" in wanted:
        rows["constant"] = controls.constant(questions)
    if "shuffled" in wanted:
        rows["shuffled"] = controls.shuffled(scores, questions, settings.seed)
    if "noise" in wanted:
        rows["noise"] = _noise(networks, questions, sources, settings, bar)
    if "context" in wanted:
        rows |= context_controls(networks, questions, sources, settings, bar)
    if "ridge" in wanted or "ridge-shifted" in wanted:
        ridge = controls.ridge(questions, sources, settings, split, bar.stage("ridge", len(questions)))
        answers.ridge = ridge.scores
        linear = rank(ridge.scores)
        beside = {"per_subject": per_subject(linear, questions.subjects)}
        rows["ridge"] = controls.Control(linear, cluster, over, beside | ridge.details)
        if ridge.shifted is not None:
            rows["ridge-shifted"] = ridge.shifted
    for name, row in rows.items():
        result["controls"][name] = {
            "metrics": answers.metrics(row.ranking, row.cluster),
            "over": row.over,
            **row.details,
        }
    beside_it = rows["ridge"].ranking if ridge is not None else None
    if beside_it is not None:
        result["against_ridge"] = against_ridge(beside_it, ranking, answers)
    if "alone" in rows:
        result["against_alone"] = against_alone(rows["alone"].ranking, ranking, questions, settings)
    result |= further(answers, ranking, beside_it)
    result["rank_histogram"] = histogram(ranking)
    result["examples"] = examples(scores, ranking, settings.examples)
    return Outcome(result, questions, scores, ranking, beside_it)


class _Kept:
    """The network last asked for is kept: the noise control asks for each once more."""

    def __init__(self, load: Callable[[int], NetworkDecoder]) -> None:
        self.load, self.number = load, -1
        self.last: NetworkDecoder | None = None

    def __call__(self, number: int) -> NetworkDecoder:
        if self.last is None or self.number != number:
            self.last = None  # the old one is let go before the new one is loaded
            self.number, self.last = number, self.load(number)
        return self.last


def _noise(
    networks: Callable[[int], NetworkDecoder],
    questions: Questions,
    sources: Sequence[BatchSource],
    settings: EvaluationSettings,
    bar: Bar,
) -> controls.Control:
    def on_noise(number: int) -> NetworkDecoder:
        network = networks(number)
        return NetworkDecoder(network.model, network.settings, network.feature_scale, settings.seed)

    out = controls.score_all(on_noise, questions, sources, settings, bar.stage("noise", len(questions)))
    ranking = rank(questions.scores(out))
    return controls.Control(ranking, *questions.clusters(fewest=FEWEST_SUBJECTS))


def _at_words(source: BatchSource, split: str) -> bool:
    """Whether the windows of a split are anchored at words."""
    settings = source.index.settings
    anchors = settings.test_anchors if split == "test" else settings.train_anchors
    return anchors.kind == "event" and anchors.event == "word"


def _refuse_unfinished(run: Path, info: dict[str, Any]) -> None:
    missing = [name for name in info["folds"] if not (run / name / "finished.json").is_file()]
    if missing:
        raise SettingsError(
            f"{run}: training of {len(missing)} of {len(info['folds'])} folds did not finish ({', '.join(missing)}); "
            "run the same neurodecode train command again"
        )


def _device(settings: EvaluationSettings) -> torch.device:
    there = torch.cuda.is_available()
    if settings.accelerator == "cuda" and not there:
        raise SettingsError("accelerator: cuda is not on this machine; use auto or cpu")
    return torch.device("cuda" if there and settings.accelerator != "cpu" else "cpu")


def _provenance(run: Path, info: dict[str, Any], settings: EvaluationSettings) -> dict[str, Any]:
    """Where the figures come from: settings, data and code of training and of this evaluation."""
    training: TrainSettings = run_settings(info, str(run / "run.json"))
    return {
        "run": run.resolve().name,
        "settings": training.model_dump(mode="json"),
        "evaluation": settings.model_dump(mode="json"),
        "store": info["store"],
        "store_sha256s": info["store_sha256s"],
        "folds": {name: read_json(run / name / "finished.json") for name in info["folds"]},
        "n_parameters": info["n_parameters"],
        "trained_with": info["versions"],
        "versions": versions(),
        "train_command": info["command"],
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
    }
