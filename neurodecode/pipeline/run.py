"""Runs the stages of a pipeline: cohort -> store -> channels -> runs -> evaluations -> tables -> reports.

In: PipelineSettings. Out: a folder ::

    OUT/cohort/            the simulated cohort, when the card makes one
    OUT/store/             the store and its features
    OUT/channels/          the ranking of channels that runs read, and its maps
    OUT/runs/<label>/      one trained run a label, with evaluation/ and report.html; codebook stages may have one a
                           subject and seed below it (training/jobs.py), aligners one a seed, and seeds.json with their mean
    OUT/tables/<label>/    one table of baselines a label, with report.html
    OUT/summary.json       of the codebook classifiers: figures over seeds and subjects; OUT/report.html shows them
    OUT/stages.json        key of each finished stage: what is done, and why something is redone
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import (
    CodebookTrainSettings,
    EvaluationSettings,
    PipelineSettings,
    PreprocessingSettings,
    TrainSettings,
)
from neurodecode.files import sha256_of_value
from neurodecode.pipeline.aligner import run_aligner
from neurodecode.pipeline.cards import load_card
from neurodecode.pipeline.codebook import run_codebook
from neurodecode.pipeline.cohort import find_cohort, make_store, signals
from neurodecode.pipeline.settings import (
    evaluation_settings,
    ranking_settings,
    stage_settings,
    table_settings,
    trained_alone,
    training_settings,
)
from neurodecode.pipeline.stages import Say, Stages
from neurodecode.pipeline.tables import make_tables, rank, with_ranking


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
    """Run all stages; returns one line a recording, run or table that failed.

    Raises
    ------
    NeurodecodeError
        One line, for bad settings or data; stages that are done stay done.
    """
    # every setting is read before any work: a typing error in the last stage must not cost an hour
    preprocessing = stage_settings(PreprocessingSettings, settings.preprocessing, "configs/preprocessing")
    ranking = ranking_settings(settings)
    trainings = training_settings(settings)
    tables = table_settings(settings)
    codebook = {k: v for k, v in trainings.items() if isinstance(v, CodebookTrainSettings)}
    alone = trained_alone(settings, codebook)
    if codebook:
        from neurodecode.training.jobs import check_starts

        check_starts(codebook, alone)
    evaluation = stage_settings(EvaluationSettings, settings.evaluation, "configs/evaluation")
    evaluations = evaluation_settings(settings)
    card = load_card(settings.cohort)
    out.mkdir(parents=True, exist_ok=True)
    stages = Stages(out / "stages.json", say)

    sources, cohort_key = find_cohort(card, out, stages)
    failed = make_store(sources, out / "store", preprocessing, workers, on_error, progress, say)
    store_key = sha256_of_value({"cohort": cohort_key, "signals": signals(out / "store")})
    if ranking is not None:
        file = rank(ranking, out, store_key, stages, progress)
        codebook = with_ranking(codebook, file)

    for label, training in trainings.items():
        if isinstance(training, TrainSettings):
            own = evaluations.get(label, evaluation)
            run_aligner(label, training, settings, own, out, store_key, stages, progress, show)
    if codebook:
        failed += run_codebook(settings, codebook, alone, evaluation, out, stages, on_error, progress, show)
    failed += make_tables(tables, out, stages, on_error, progress, show)
    return failed
