"""The pipelines of the four studies: the rows of table 2 as published, on cards whose adapters exist."""

from __future__ import annotations

import pytest

from neurodecode.config import (
    CohortCard,
    EvaluationSettings,
    PipelineSettings,
    PreprocessingSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.pipeline import stage_settings
from neurodecode.pipeline.settings import evaluation_settings

# top-10 in table 2, wav2vec 2.0; recordings and listeners in table 1
STUDIES = {
    "gwilliams2022": ("70.7 ± 0.1", 196, 27, 50.0),
    "schoffelen2019": ("67.5 ± 0.4", 96, 96, 50.0),
    "broderick2019": ("17.7 ± 0.6", 380, 19, 50.0),
    "brennan2019": ("25.7 ± 2.9", 33, 33, 60.0),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_pipeline_holds_the_published_rows_and_settings_for_each(name: str) -> None:
    pipeline = load_settings(PipelineSettings, name, "pipelines")
    assert pipeline.published[-1].value == STUDIES[name][0]
    assert [figure.value for figure in pipeline.published[-2:]] == [STUDIES[name][0]] * 2
    assert len(pipeline.published) == 6
    runs = {k: stage_settings(TrainSettings, v, "configs/training") for k, v in pipeline.training.items()}
    rows = [(run.features.kind, run.objective.kind, run.speech.kind) for run in runs.values()]
    assert rows == [
        ("mel", "mse", "none"),
        ("mel", "clip", "none"),
        ("mel", "clip", "deep_mel"),
        ("encoder", "clip", "none"),
        ("encoder", "clip", "none"),
    ]
    # the row of the article, as its text and as its code have it: no mixture of both
    whole = {k: load_settings(TrainSettings, k, "configs/training") for k in ("paper_wav2vec2", "released")}
    assert runs["wav2vec2"].model_copy(update={"name": "paper_wav2vec2"}) == whole["paper_wav2vec2"]
    assert (runs["released"].features, runs["released"].model) == (whole["released"].features, whole["released"].model)
    extents = {k: run.segments.split.extent for k, run in runs.items()}
    # MOUS shuffles its sentences; the others hear all sounds of a recording in one order
    assert extents.pop("released") == ("stimulus" if name == "schoffelen2019" else "recording")
    assert set(extents.values()) == {"stimulus"}
    # each figure names the run that repeats it
    assert [figure.label for figure in pipeline.published] == ["chance", *pipeline.training]
    assert [run.name for run in runs.values()] == list(pipeline.training)
    # one split for all rows of the article, else they could not be compared
    assert len({run.segments.model_dump_json() for label, run in runs.items() if label != "released"}) == 1
    # the baseline is ranked as published, all others by what they were trained for
    evaluations = evaluation_settings(pipeline)
    assert {label: own.score for label, own in evaluations.items()} == {"regression": "clip"}
    assert (
        evaluations["regression"].controls
        == load_settings(EvaluationSettings, "default", "configs/evaluation").controls
    )
    cleaning = stage_settings(PreprocessingSettings, pipeline.preprocessing, "configs/preprocessing")
    assert (cleaning.sfreq, cleaning.high_pass, cleaning.low_pass, cleaning.line_noise) == (120.0, None, None, None)


@pytest.mark.parametrize("name", STUDIES)
def test_a_card_states_what_to_expect(name: str) -> None:
    card = load_settings(CohortCard, name, "datasets")
    _, recordings, subjects, mains = STUDIES[name]
    assert (card.adapter, str(card.root_below)) == (name, name)
    assert (card.expected_recordings, card.expected_subjects, card.line_frequency) == (recordings, subjects, mains)
    assert card.source
    assert card.licence
    assert card.how_to_get
