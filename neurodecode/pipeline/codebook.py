"""Runs of the codebook stages: all labels, subjects and seeds, and the summary of their classifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import CodebookTrainSettings, EvaluationSettings, PipelineSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.files import read_json, sha256_of_value, write_json
from neurodecode.pipeline.stages import Stages, put_other_layout_aside, put_other_run_aside, report_run


def run_codebook(
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
    from neurodecode.evaluation.side_by_side.summary import BASELINES, summarise
    from neurodecode.reports.report import write_report
    from neurodecode.training.codebook import fit_codebook
    from neurodecode.training.jobs import job_key, plan

    store, runs = out / "store", out / "runs"
    recorded = read_json(store / "cohort.json")["recordings"]
    subjects = sorted({entry["subject"] for entry in recorded})
    for label, training in codebook.items():
        seeds = settings.seeds if training.task == "classify" else ()
        put_other_layout_aside(runs / label, f"{label in alone} {bool(seeds)}", stages)
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
            put_other_run_aside(job.run, job.settings, store, stages.say)
            try:
                fit_codebook(job.settings, store, job.run, progress=progress)
            except NeurodecodeError as error:
                if on_error == "stop":
                    raise type(error)(f"{job.name}: {error}") from None
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
        report_run(job.name, job.run, key, settings, stages)
    classifiers = [runs / label for label, training in codebook.items() if training.task == "classify"]
    there = [folder for folder in classifiers if any(run == folder or folder in run.parents for run in keys)]
    if there:
        published = {label: value.model_dump() for label, value in settings.published_accuracy.items()}
        summary = summarise(settings.name, there, published, keep=tuple(keys), title=settings.title)
        write_json(out / "summary.json", summary)
        if show is not None:
            show(summary)
        stages.say(f"report: {write_report(out)}")
    return failed
