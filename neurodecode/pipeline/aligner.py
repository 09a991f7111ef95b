"""Runs of the aligner: features, training, evaluation, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurodecode.config import EvaluationSettings, PipelineSettings, TrainSettings
from neurodecode.files import read_json, sha256_of_value
from neurodecode.pipeline.stages import Stages, put_other_run_aside, report_run


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
    """Train, score and report one label."""
    run = out / "runs" / label
    feature_key = _features(out / "store", training, label, stages, store_key, progress)
    run_key = sha256_of_value({"training": training.model_dump(mode="json"), "features": feature_key})
    if stages.wanted(f"train {label}", run_key, run / "run.json"):
        from neurodecode.training.fit import fit

        put_other_run_aside(run, training, out / "store", stages.say)
        fit(training, out / "store", run, progress=progress)
        stages.finished(f"train {label}", run_key)
    key = sha256_of_value({"evaluation": evaluation.model_dump(mode="json"), "run": run_key})
    written = run / "evaluation" / "test.json"
    if stages.wanted(f"evaluate {label}", key, written):
        from neurodecode.evaluation.evaluate import evaluate

        evaluate(run, evaluation, progress=progress)
        stages.finished(f"evaluate {label}", key)
    report_run(label, run, key, settings, stages)
    if show is not None:
        show(read_json(written))
    stages.say(f"report: {run / 'report.html'}")


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
