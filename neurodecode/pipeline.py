"""Runs the stages of a pipeline: cohort -> store -> features -> runs -> evaluations -> reports.

In: PipelineSettings. Out: a folder ::

    OUT/cohort/            the simulated cohort, when the card makes one
    OUT/store/             the store and its features
    OUT/runs/<label>/      one trained run a label, with evaluation/ and report.html; codebook stages may have one a
                           subject and seed below it (training/jobs.py)
    OUT/summary.json       of the codebook classifiers: figures over seeds and subjects; OUT/report.html shows them
    OUT/stages.json        key of each finished stage: what is done, and why something is redone

A stage is done when its key (a hash of its settings and of the keys of the stages it reads) is the one written down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import (
    CodebookTrainSettings,
    CohortCard,
    EvaluationSettings,
    PipelineSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    apply_overrides,
    load_settings,
    read_yaml,
    validate,
    with_base,
)
from neurodecode.config.base import S, merge
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.files import read_json, sha256_of_file, sha256_of_value, write_json
from neurodecode.resources import find_yaml

SHARED = "NEURODECODE_SHARED_DATA"  # names the folder of the recordings that tests and measurements use
Say = Callable[[str], None]


def folder_of(card: CohortCard, root: Path | None = None) -> Path | None:
    """Folder of a card's data: given, of the card, or found through its environment variable; it need not exist."""
    folder = root or card.root
    if folder is None and card.root_variable:
        named = os.environ.get(card.root_variable)
        # a checkout with the shared recordings beside it needs no variable
        beside = Path(__file__).resolve().parents[2] / "shared" / "data"
        shared = card.root_variable == SHARED and beside.is_dir()
        base = Path(named) if named else beside if shared else None
        folder = base / card.root_below if base and card.root_below else base
    return folder


def load_card(card: CohortCard | str | Path, root: Path | None = None) -> CohortCard:
    """A cohort card with its root resolved (given, or found through its environment variable)."""
    if not isinstance(card, CohortCard):
        card = load_settings(CohortCard, card, "datasets")
    if card.simulate:
        return card
    folder = folder_of(card, root)
    if folder is None:
        how = f" (set {card.root_variable} or " if card.root_variable else " ("
        get = f"; to get it: {card.how_to_get}" if card.how_to_get else ""
        raise SettingsError(f"{card.name}: the folder of the data is not known{how}--set cohort.root=FOLDER){get}")
    if not Path(folder).exists():
        get = f"; to get it: {card.how_to_get}" if card.how_to_get else ""
        raise SettingsError(f"{card.name}: {folder} does not exist{get}")
    return card.model_copy(update={"root": Path(folder)})


def sources_of(source: str | Path, root: Path | None = None) -> list:
    """Recordings of a file, folder, BIDS root or cohort card."""
    from neurodecode.recordings.sources import expand_source

    path = Path(source)
    if path.suffix in (".yaml", ".yml") or not path.exists():
        try:
            find_yaml(source, "datasets")
        except SettingsError:
            raise NeurodecodeError(
                f"{source}: no such file or folder, and no card of datasets/ has that name"
            ) from None
        card = load_card(source, root)
        if card.simulate:
            raise NeurodecodeError(
                f"{card.name} is simulated: neurodecode simulate {card.simulate} --out FOLDER makes it"
            )
        return expand_source(card)
    return expand_source(path)


def load_pipeline(name_or_file: str | Path, overrides: Sequence[str] = ()) -> PipelineSettings:
    """A pipeline with overrides that may reach into what it names.

    `cohort.root=FOLDER` changes the card that the pipeline names, `training.aligner.seed=7` the preset, and so on.

    Raises
    ------
    SettingsError
        One line, for an unknown name, key or value.
    """
    values = read_yaml(find_yaml(name_or_file, "pipelines"))
    for override in overrides:
        stage, *rest = override.partition("=")[0].strip().split(".")
        runs = values.get("training")
        if stage == "cohort" and rest and isinstance(values.get("cohort"), str):
            values["cohort"] = read_yaml(find_yaml(values["cohort"], "datasets"))
        elif stage in ("preprocessing", "evaluation") and rest:
            if isinstance(values.get(stage), str):
                values[stage] = {"base": values[stage]}
        elif stage == "training" and len(rest) > 1 and isinstance(runs, dict) and isinstance(runs.get(rest[0]), str):
            runs[rest[0]] = {"base": runs[rest[0]]}
    if isinstance(values.get("cohort"), dict):
        values["cohort"] = with_base(values["cohort"], "datasets")
    return validate(PipelineSettings, apply_overrides(values, overrides), str(name_or_file))


class Stages:
    """Which stages are done, by key, in OUT/stages.json."""

    def __init__(self, path: Path, say: Say) -> None:
        self.path, self.say = path, say
        self.keys: dict[str, str] = read_json(path) if path.is_file() else {}

    def wanted(self, name: str, key: str, product: Path) -> bool:
        """Whether a stage must run; says why."""
        if self.keys.get(name) == key and product.exists():
            self.say(f"{name}: done before")
            return False
        if name not in self.keys:
            reason = "not done yet"
        elif not product.exists():
            reason = f"{product.name} is gone"
        else:
            reason = "its settings or what it reads changed"
        self.say(f"{name}: {reason}")
        return True

    def finished(self, name: str, key: str) -> None:
        """Write down that a stage is done."""
        self.keys[name] = key
        write_json(self.path, self.keys)


def stage_settings(cls: type[S], value: dict[str, Any] | str, kind: str) -> S:
    """Settings given inline, or the name of a preset; inline settings may name a preset to start from as `base`."""
    if isinstance(value, str):
        return load_settings(cls, value, kind)
    return validate(cls, with_base(value, kind), kind)


def run_pipeline(
    settings: PipelineSettings,
    out: Path,
    *,
    workers: int = 1,
    on_error: Literal["stop", "continue"] = "stop",
    progress: bool = False,
    say: Say = print,
    show: Callable[[dict[str, Any]], None] | None = None,
) -> list[str]:
    """Run all stages; returns one line a recording that failed.

    Raises
    ------
    NeurodecodeError
        One line, for bad settings or data; stages that are done stay done.
    """
    # every setting is read before any work: a typing error in the last stage must not cost an hour
    preprocessing = stage_settings(PreprocessingSettings, settings.preprocessing, "configs/preprocessing")
    trainings = training_settings(settings)
    codebook = {k: v for k, v in trainings.items() if isinstance(v, CodebookTrainSettings)}
    alone = _alone(settings, codebook)
    if codebook:
        from neurodecode.training.jobs import check_starts

        check_starts(codebook, alone)
    evaluation = stage_settings(EvaluationSettings, settings.evaluation, "configs/evaluation")
    card = load_card(settings.cohort)
    out.mkdir(parents=True, exist_ok=True)
    stages = Stages(out / "stages.json", say)

    sources, cohort_key = _cohort(card, out, stages)
    failed = _store(sources, out / "store", preprocessing, workers, on_error, progress, say)
    store_key = sha256_of_value({"cohort": cohort_key, "signals": _signals(out / "store")})

    for label, training in trainings.items():
        if isinstance(training, CodebookTrainSettings):
            continue
        run = out / "runs" / label
        feature_key = _features(out / "store", training, label, stages, store_key, progress)
        run_key = sha256_of_value({"training": training.model_dump(mode="json"), "features": feature_key})
        if stages.wanted(f"train {label}", run_key, run / "run.json"):
            from neurodecode.training.fit import fit

            _put_other_run_aside(run, training, out / "store", say)
            fit(training, out / "store", run, progress=progress)
            stages.finished(f"train {label}", run_key)
        key = sha256_of_value({"evaluation": evaluation.model_dump(mode="json"), "run": run_key})
        written = run / "evaluation" / "test.json"
        if stages.wanted(f"evaluate {label}", key, written):
            from neurodecode.evaluation.evaluate import evaluate

            evaluate(run, evaluation, progress=progress)
            stages.finished(f"evaluate {label}", key)
        _report(label, run, key, settings, stages)
        if show is not None:
            show(read_json(written))
        say(f"report: {run / 'report.html'}")
    if codebook:
        failed += _codebook(settings, codebook, alone, evaluation, out, stages, on_error, progress, show)
    return failed


def training_settings(settings: PipelineSettings) -> dict[str, TrainSettings | CodebookTrainSettings]:
    """Label -> settings; those of codebook stages lie over `common`, which lies over their presets.

    Raises
    ------
    SettingsError
        One line, for a setting that is not allowed.
    """
    kind = "configs/training"
    found: dict[str, TrainSettings | CodebookTrainSettings] = {}
    for label, value in settings.training.items():
        values = {"base": value} if isinstance(value, str) else value
        if "task" in with_base(values, kind):
            merged = with_base(merge(settings.common, values), kind)
            found[label] = validate(CodebookTrainSettings, merged, f"training.{label}")
        else:
            found[label] = stage_settings(TrainSettings, value, kind)
    return found


def _alone(settings: PipelineSettings, codebook: dict[str, CodebookTrainSettings]) -> tuple[str, ...]:
    """Labels that are trained once a subject."""
    if isinstance(settings.each_subject, bool):
        return tuple(codebook) if settings.each_subject else ()
    strange = [label for label in settings.each_subject if label not in codebook]
    if strange:
        raise SettingsError(f"each_subject: {strange[0]} is no codebook stage; only those are trained once a subject")
    return settings.each_subject


def _codebook(
    settings: PipelineSettings,
    codebook: dict[str, CodebookTrainSettings],
    alone: tuple[str, ...],
    evaluation: EvaluationSettings,
    out: Path,
    stages: Stages,
    on_error: Literal["stop", "continue"],
    progress: bool,
    show: Callable[[dict[str, Any]], None] | None,
) -> list[str]:
    """Train, score and report the runs of all codebook labels; returns one line a run that failed."""
    from neurodecode.evaluation.classification.beside import evaluate_classification
    from neurodecode.evaluation.summary import BASELINES, summarise
    from neurodecode.reports.report import write_report
    from neurodecode.training.codebook import fit_codebook
    from neurodecode.training.jobs import job_key, plan

    store, runs = out / "store", out / "runs"
    recorded = read_json(store / "cohort.json")["recordings"]
    subjects = sorted({entry["subject"] for entry in recorded})
    for label, training in codebook.items():
        seeds = settings.seeds if training.task == "classify" else ()
        _put_other_layout_aside(runs / label, f"{label in alone} {bool(seeds)}", stages)
    keys: dict[Path, str] = {}
    asked: set[str | None] = set()
    failed: list[str] = []
    for job in plan(codebook, runs, subjects, alone=alone, seeds=settings.seeds):
        if job.start is not None and job.start not in keys:
            failed.append(f"{job.name}: not trained, since {job.start.relative_to(runs)} failed")
            stages.say(f"failed: {failed[-1]}")
            continue
        key = job_key(job, store, keys)
        classify = job.settings.task == "classify"
        product = job.run / "evaluation" / "test.json" if classify else job.run / "run.json"
        if stages.wanted(f"train {job.name}", key, product):
            _put_other_run_aside(job.run, job.settings, store, stages.say)
            try:
                fit_codebook(job.settings, store, job.run, progress=progress)
            except NeurodecodeError as error:
                if on_error == "stop":
                    raise
                failed.append(f"{job.name}: {error}")
                stages.say(f"failed: {failed[-1]}")
                continue
            stages.finished(f"train {job.name}", key)
        keys[job.run] = key
        # linear methods depend on windows and sides alone: once a subject, beside its first classifier
        if classify and evaluation.baselines and job.subject not in asked:
            asked.add(job.subject)
            beside = sha256_of_value({"baselines": evaluation.baselines, "run": key})
            if stages.wanted(f"evaluate {job.name}", beside, job.run / "evaluation" / BASELINES):
                evaluate_classification(job.run, evaluation)
                stages.finished(f"evaluate {job.name}", beside)
        _report(job.name, job.run, key, settings, stages)
    classifiers = [runs / label for label, training in codebook.items() if training.task == "classify"]
    there = [folder for folder in classifiers if any(run == folder or folder in run.parents for run in keys)]
    if there:
        published = {label: value.model_dump() for label, value in settings.published_accuracy.items()}
        summary = summarise(settings.name, there, published, keep=tuple(keys))
        write_json(out / "summary.json", summary)
        if show is not None:
            show(summary)
        stages.say(f"report: {write_report(out)}")
    return failed


def _report(name: str, run: Path, key: str, settings: PipelineSettings, stages: Stages) -> None:
    """Write the report of a run when it, its evaluations or the published figures have changed."""
    write_json(run / "published.json", [figure.model_dump() for figure in settings.published])
    evaluations = [sha256_of_file(path) for path in sorted((run / "evaluation").glob("*.json"))]
    key = sha256_of_value({"evaluation": key, "files": evaluations, "published": read_json(run / "published.json")})
    if stages.wanted(f"report {name}", key, run / "report.html"):
        from neurodecode.reports.report import write_report

        write_report(run)
        stages.finished(f"report {name}", key)


def _cohort(card: CohortCard, out: Path, stages: Stages) -> tuple[list, str]:
    """Recordings of the cohort, simulated first if the card says so."""
    from neurodecode.recordings.sources import expand_source

    if not card.simulate:
        sources = expand_source(card)
        if card.expected_recordings and len(sources) != card.expected_recordings:
            stages.say(f"{card.name}: {len(sources)} recordings found, the card expects {card.expected_recordings}")
        return sources, sha256_of_value(card.model_dump(mode="json", exclude={"root"}))
    simulation = load_settings(SimulationSettings, card.simulate, "configs/simulation", _as_overrides(card.options))
    key = sha256_of_value(simulation.model_dump(mode="json"))
    if stages.wanted("simulate", key, out / "cohort"):
        from neurodecode.simulation.simulate import simulate

        simulate(simulation, out / "cohort", overwrite=True)
        stages.finished("simulate", key)
    return expand_source(out / "cohort"), key


def _as_overrides(options: dict[str, Any]) -> list[str]:
    import json

    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def _store(
    sources: list,
    store: Path,
    settings: PreprocessingSettings,
    workers: int,
    on_error: Literal["stop", "continue"],
    progress: bool,
    say: Say,
) -> list[str]:
    """Preprocess; the store itself knows which recordings are done, and why one is redone."""
    from neurodecode.store.build import preprocess

    summary = preprocess(sources, store, settings, workers=workers, on_error=on_error, progress=progress)
    say(
        f"preprocess: {len(summary.done)} prepared, {len(summary.skipped)} already done, "
        f"{len(summary.failed)} failed -> {store}"
    )
    for name, reason in sorted(summary.reasons.items()):
        if reason != "new":
            say(f"  {name} redone: {reason}")
    failed = [issue_line(issue) for issue in summary.failed]
    for line in failed:
        say(f"failed: {line}")
    return failed


def issue_line(issue: dict[str, str]) -> str:
    """One line about a recording that failed; the file is named once."""
    return issue["error"] if issue["error"].startswith(issue["file"]) else f"{issue['file']}: {issue['error']}"


def _signals(store: Path) -> list[str]:
    return sorted(f"{r['name']} {r['sha256_signal']}" for r in read_json(store / "cohort.json")["recordings"])


def _features(store: Path, training: TrainSettings, label: str, stages: Stages, store_key: str, progress: bool) -> str:
    """Features are cached by content, so this only computes what is missing."""
    from neurodecode.segments.windows import build_windows
    from neurodecode.stimuli.features import compute_features
    from neurodecode.store.store import Store

    opened, borders = Store(store), None
    if training.features.extent == "block":
        borders = build_windows(opened, training.segments, training.subjects).borders
    made = compute_features(opened, training.features, progress, borders)
    stages.say(f"features {label}: {len(made.names)} stimuli, {made.dimension} dimension(s)")
    return sha256_of_value({"features": training.features.model_dump(mode="json"), "store": store_key})


def _put_other_run_aside(run: Path, settings: TrainSettings | CodebookTrainSettings, store: Path, say: Say) -> None:
    """Rename a run of other settings, signals or beginnings: results are kept, never mixed. One that can go on stays."""
    from neurodecode.training.run_folder import read_run

    if not (run / "run.json").is_file():
        return
    reason = _why_another(read_run(run), settings, store)
    if reason:
        say(f"  the run that was there ({reason}) is now {_put_aside(run).name}")


def _why_another(info: dict[str, Any], settings: TrainSettings | CodebookTrainSettings, store: Path) -> str:
    """Why a run cannot be continued with these settings on this store; empty if it can."""
    from neurodecode.training.chosen import described
    from neurodecode.training.codebook_stages import checkpoints
    from neurodecode.training.run_folder import first_difference

    cls = type(settings)
    if ("task" in info["settings"]) != (cls is CodebookTrainSettings):
        return "of another kind"
    begun = validate(cls, info["settings"], "run.json").model_dump(mode="json")
    different = first_difference(begun, settings.model_dump(mode="json"))
    if different:
        return f"{different[0]} was {different[1]}"
    stored = read_json(store / "cohort.json")["recordings"]
    chosen = [r for r in stored if not settings.subjects or r["subject"] in settings.subjects]
    if {r["name"]: r["sha256_signal"] for r in chosen} != info["store_sha256s"]:
        return "its signals were others"
    if isinstance(settings, CodebookTrainSettings) and info.get("channel_choice") != described(settings.channels):
        return "its channels were chosen otherwise"
    start = info.get("start_from")
    if (
        start
        and "checkpoints" in start
        and checkpoints(Path(start["run"]), list(start["checkpoints"])) != start["checkpoints"]
    ):
        return f"{Path(start['run']).name}, with which it began, was another"
    return ""


def _put_other_layout_aside(folder: Path, layout: str, stages: Stages) -> None:
    """Rename the folder of a label that holds one run where many are wanted, or the other way round."""
    name = f"layout {folder.name}"
    if folder.exists() and stages.keys.get(name, layout) != layout:
        stages.say(
            f"{folder.name}: what was there, split otherwise by subject and seed, is now {_put_aside(folder).name}"
        )
    stages.finished(name, layout)


def _put_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return folder.rename(aside)
