"""The settings of all stages of a pipeline, read and checked before any work is done.

In: the name of a pipeline and overrides, or its settings. Out: typed settings of each stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurodecode.config import (
    CodebookTrainSettings,
    EvaluationSettings,
    PipelineSettings,
    TrainSettings,
    apply_overrides,
    load_settings,
    read_yaml,
    validate,
    with_base,
)
from neurodecode.config.base import S, merge
from neurodecode.config.baselines import BaselineSettings
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import SettingsError
from neurodecode.resources import find_yaml


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
        if stage == "cohort" and rest and isinstance(values.get("cohort"), str):
            values["cohort"] = read_yaml(find_yaml(values["cohort"], "datasets"))
        elif stage in ("preprocessing", "evaluation", "channels") and rest:
            if isinstance(values.get(stage), str):
                values[stage] = {"base": values[stage]}
        elif stage in ("training", "baselines") and len(rest) > 1:
            runs = values.get(stage)
            if isinstance(runs, dict) and isinstance(runs.get(rest[0]), str):
                runs[rest[0]] = {"base": runs[rest[0]]}
    if isinstance(values.get("cohort"), dict):
        values["cohort"] = with_base(values["cohort"], "datasets")
    return validate(PipelineSettings, apply_overrides(values, overrides), str(name_or_file))


def stage_settings(cls: type[S], value: dict[str, Any] | str, kind: str) -> S:
    """Settings given inline, or the name of a preset; inline settings may name a preset to start from as `base`."""
    if isinstance(value, str):
        return load_settings(cls, value, kind)
    return validate(cls, with_base(value, kind), kind)


def ranking_settings(settings: PipelineSettings) -> SelectionSettings | None:
    """How channels are ranked: over `common.labels` and `common.subjects`, which lie over the preset; None if they are not.

    Raises
    ------
    SettingsError
        One line, for a setting that is not allowed.
    """
    if settings.channels is None:
        return None
    kind = "configs/selection"
    above = {"base": settings.channels} if isinstance(settings.channels, str) else settings.channels
    shared: dict[str, Any] = {key: settings.common[key] for key in ("labels", "subjects") if key in settings.common}
    return validate(SelectionSettings, with_base(merge(shared, above), kind), "channels")


def table_settings(settings: PipelineSettings) -> dict[str, BaselineSettings]:
    """Label -> settings of the tables of baselines.

    Raises
    ------
    SettingsError
        One line, for a setting that is not allowed.
    """
    kind = "configs/baselines"
    return {label: stage_settings(BaselineSettings, value, kind) for label, value in settings.baselines.items()}


def training_settings(settings: PipelineSettings) -> dict[str, TrainSettings | CodebookTrainSettings]:
    """Label -> settings; they lie over `common`, which lies over their presets.

    Raises
    ------
    SettingsError
        One line, for a setting that is not allowed.
    """
    kind = "configs/training"
    found: dict[str, TrainSettings | CodebookTrainSettings] = {}
    for label, value in settings.training.items():
        values = {"base": value} if isinstance(value, str) else value
        merged = with_base(merge(settings.common, values), kind)
        cls: type[TrainSettings | CodebookTrainSettings] = TrainSettings
        if "task" in with_base(values, kind):
            cls = CodebookTrainSettings
        found[label] = validate(cls, merged, f"training.{label}")
    _refuse_unused(settings, found)
    return found


def _refuse_unused(settings: PipelineSettings, trainings: Mapping[str, TrainSettings | CodebookTrainSettings]) -> None:
    """Stop where a setting of the pipeline would change nothing."""
    codebook = [label for label, value in trainings.items() if isinstance(value, CodebookTrainSettings)]
    aligners = [label for label in trainings if label not in codebook]
    classifiers = [k for k, v in trainings.items() if isinstance(v, CodebookTrainSettings) and v.task == "classify"]
    if settings.seeds and not aligners and not classifiers:
        raise SettingsError("seeds: there is no aligner and no classifier, and nothing else is trained once a seed")
    if settings.common and not trainings and settings.channels is None:
        raise SettingsError("common: nothing is trained and no channels are ranked, so it would change nothing")
    if settings.each_subject is True and aligners:
        raise SettingsError(
            f"each_subject: {aligners[0]} is no codebook stage; only those are trained once a subject: name them"
        )
    for key, labels, what in (
        ("evaluations", codebook, "a codebook stage, of which all are evaluated alike; change evaluation"),
        ("published_accuracy", aligners, "an aligner; give its figures under published"),
    ):
        strange = [label for label in getattr(settings, key) if label in labels]
        if strange:
            raise SettingsError(f"{key}: {strange[0]} is {what}")


def evaluation_settings(settings: PipelineSettings) -> dict[str, EvaluationSettings]:
    """Aligner label -> how it is evaluated: what `evaluations` says of it over `evaluation`.

    Raises
    ------
    SettingsError
        One line, for a setting that is not allowed.
    """
    kind = "configs/evaluation"
    shared = {"base": settings.evaluation} if isinstance(settings.evaluation, str) else settings.evaluation
    return {
        label: validate(EvaluationSettings, with_base(merge(shared, own), kind), f"evaluations.{label}")
        for label, own in settings.evaluations.items()
    }


def trained_alone(settings: PipelineSettings, codebook: dict[str, CodebookTrainSettings]) -> tuple[str, ...]:
    """Labels that are trained once a subject."""
    if isinstance(settings.each_subject, bool):
        return tuple(codebook) if settings.each_subject else ()
    strange = [label for label in settings.each_subject if label not in codebook]
    if strange:
        raise SettingsError(f"each_subject: {strange[0]} is no codebook stage; only those are trained once a subject")
    return settings.each_subject
