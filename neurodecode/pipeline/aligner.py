"""Runs of the aligner: features, training, evaluation, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurodecode.config import EvaluationSettings, PipelineSettings, TrainSettings
from neurodecode.files import read_json, sha256_of_value, write_json
from neurodecode.pipeline.stages import Stages, put_other_layout_aside, put_other_run_aside, report_run

ONE, SEEDS = "one", "seeds"  # how the folder of a label is split


def run_aligner(
    label: str,
    training: TrainSettings,
    settings: PipelineSettings,
    evaluation: EvaluationSettings,
    out: Path,
    store_key: str,
    stages: Stages,
    progress: bool,
    show: Callable[[dict[str, Any]], None] | None,
) -> None:
    """Train, score and report one label: one run, or one a seed and their mean."""
    folder = out / "runs" / label
    before = ONE if (folder / "run.json").is_file() else None
    put_other_layout_aside(folder, SEEDS if settings.seeds else ONE, stages, before)
    feature_key = _features(out / "store", training, label, stages, store_key, progress)

    def one(name: str, recipe: TrainSettings, run: Path) -> Path:
        """One run; returns its evaluation."""
        run_key = sha256_of_value({"training": recipe.model_dump(mode="json"), "features": feature_key})
        if stages.wanted(f"train {name}", run_key, run / "run.json"):
            from neurodecode.training.fit import fit

            put_other_run_aside(run, recipe, out / "store", stages.say)
            fit(recipe, out / "store", run, progress=progress)
            stages.finished(f"train {name}", run_key)
        key = sha256_of_value({"evaluation": evaluation.model_dump(mode="json"), "run": run_key})
        written = run / "evaluation" / "test.json"
        if stages.wanted(f"evaluate {name}", key, written):
            from neurodecode.evaluation.runs.evaluate import evaluate

            evaluate(run, evaluation, progress=progress)
            stages.finished(f"evaluate {name}", key)
        report_run(name, run, key, settings, stages)
        return written

    if settings.seeds:
        runs = [folder / f"seed-{seed}" for seed in settings.seeds]
        for seed, run in zip(settings.seeds, runs):
            one(f"{label} seed-{seed}", training.model_copy(update={"seed": seed}), run)
        result = _summary(label, runs, settings)
    else:
        result = read_json(one(label, training, folder))
    if show is not None:
        show(result)
    stages.say(f"report: {folder / 'report.html'}")


def _summary(label: str, runs: list[Path], settings: PipelineSettings) -> dict[str, Any]:
    """Mean and deviation over the seeds of a label, as a file and a page in its folder."""
    from neurodecode.evaluation.runs.seeds import FILE, summarise_seeds
    from neurodecode.reports.report import write_report

    result = summarise_seeds(label, runs, [figure.model_dump() for figure in settings.published])
    write_json(runs[0].parent / FILE, result)
    write_report(runs[0].parent)
    return result


def _features(store: Path, training: TrainSettings, label: str, stages: Stages, store_key: str, progress: bool) -> str:
    """Features are cached by content, so this only computes what is missing."""
    from neurodecode.segments.windows import build_windows
    from neurodecode.stimuli.features import compute_features
    from neurodecode.store.store import Store
    from neurodecode.training.portion import chosen_subjects

    opened, borders = Store(store), None
    if training.features.extent == "block":
        # of the subjects that training asks for: others would give other borders, and a second set of features
        borders = build_windows(opened, training.segments, chosen_subjects(training, opened)).borders
    made = compute_features(opened, training.features, progress, borders)
    stages.say(f"features {label}: {len(made.names)} stimuli, {made.dimension} dimension(s)")
    return sha256_of_value({"features": training.features.model_dump(mode="json"), "store": store_key})
