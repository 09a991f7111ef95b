"""Runs the stages of a pipeline: cohort -> store -> features -> runs -> evaluations -> reports.

In: PipelineSettings. Out: a folder ::

    OUT/cohort/            the simulated cohort, when the card makes one
    OUT/store/             the store and its features
    OUT/runs/<label>/      one trained run a label, with evaluation/ and report.html
    OUT/stages.json        key of each finished stage: what is done, and why something is redone

A stage is done when its key (a hash of its settings and of the keys of the stages it reads) is the one written down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import (
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
from neurodecode.config.base import S
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.files import read_json, sha256_of_value, write_json
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
    trainings = {k: stage_settings(TrainSettings, v, "configs/training") for k, v in settings.training.items()}
    evaluation = stage_settings(EvaluationSettings, settings.evaluation, "configs/evaluation")
    card = load_card(settings.cohort)
    out.mkdir(parents=True, exist_ok=True)
    stages = Stages(out / "stages.json", say)

    sources, cohort_key = _cohort(card, out, stages)
    failed = _store(sources, out / "store", preprocessing, workers, on_error, progress, say)
    store_key = sha256_of_value({"cohort": cohort_key, "signals": _signals(out / "store")})

    for label, training in trainings.items():
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
        write_json(run / "published.json", [figure.model_dump() for figure in settings.published])
        report_key = sha256_of_value({"evaluation": key, "published": read_json(run / "published.json")})
        if stages.wanted(f"report {label}", report_key, run / "report.html"):
            from neurodecode.reports.report import write_report

            write_report(run)
            stages.finished(f"report {label}", report_key)
        if show is not None:
            show(read_json(written))
        say(f"report: {run / 'report.html'}")
    return failed


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
    from neurodecode.stimuli.features import compute_features
    from neurodecode.store.store import Store

    made = compute_features(Store(store), training.features, progress=progress)
    stages.say(f"features {label}: {len(made.names)} stimuli, {made.dimension} dimension(s)")
    return sha256_of_value({"features": training.features.model_dump(mode="json"), "store": store_key})


def _put_other_run_aside(run: Path, settings: TrainSettings, store: Path, say: Say) -> None:
    """Rename a run of other settings or other signals: results are kept, never mixed. One that can go on stays."""
    from neurodecode.training.run_folder import first_difference, read_run, run_settings

    if not (run / "run.json").is_file():
        return
    info = read_run(run)
    recorded = {r["name"]: r["sha256_signal"] for r in read_json(store / "cohort.json")["recordings"]}
    same_data = {name: recorded.get(name) for name in info["store_sha256s"]} == info["store_sha256s"]
    begun = run_settings(info, str(run / "run.json")).model_dump(mode="json")
    different = first_difference(begun, settings.model_dump(mode="json"))
    if same_data and not different:
        return
    reason = f"{different[0]} was {different[1]}" if different else "its signals were others"
    number = 1
    while (aside := run.with_name(f"{run.name}.before-{number}")).exists():
        number += 1
    run.rename(aside)
    say(f"  the run that was there ({reason}) is now {aside.name}")
