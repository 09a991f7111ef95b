"""The ridge on one real listener: what it must reach, what must fall to chance, and what would smell of a leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.config import CohortCard, EvaluationSettings, PreprocessingSettings, TrainSettings, load_settings
from neurodecode.config.evaluation import RidgeSettings
from neurodecode.evaluation.retrieval.metrics import rank, retrieval_metrics
from neurodecode.evaluation.retrieval.questions import ask
from neurodecode.evaluation.runs import controls
from neurodecode.pipeline import load_card
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import build_windows
from neurodecode.stimuli.features import compute_features
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five trials of 60 s, preprocessed as the preset says."""
    root = shared_data / "cocktail_eeg"
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    card = load_card(load_settings(CohortCard, "cocktail_eeg", "datasets"), root)
    settings = load_settings(PreprocessingSettings, "cocktail_eeg", "configs/preprocessing")
    path = tmp_path_factory.mktemp("cocktail") / "store"
    preprocess(expand_source(card), path, settings, progress=False)
    return Store(path)


@pytest.mark.parametrize(
    ("preset", "candidates", "top10", "match_mismatch"),
    [("cocktail_eeg_10s", 30, 0.55, 0.65), ("cocktail_eeg", 60, 0.27, 0.62)],
)
def test_ridge_finds_what_a_real_listener_heard_and_wrong_pairings_do_not(
    store: Store, preset: str, candidates: int, top10: float, match_mismatch: float
) -> None:
    training = load_settings(TrainSettings, preset, "configs/training")
    index = build_windows(store, training.segments)
    features = compute_features(store, training.features, progress=False)
    sources = []
    for name in index.folds:
        source = BatchSource(index.fold(name), features)
        source.fit_scalers()
        sources.append(source)
    questions = ask(sources, "test")
    settings = EvaluationSettings(ridge=RidgeSettings(inner=4))  # four training trials, each left out once
    answer = controls.ridge(questions, sources, settings, "test", lambda n: None)
    metrics = retrieval_metrics(rank(answer.scores))
    assert len(questions) == len(questions.candidate_rows) == candidates
    assert metrics["top10"]["value"] >= top10
    assert metrics["match_mismatch"]["value"] >= match_mismatch
    assert 0.03 < answer.details["r"] < 0.25  # above: a leak
    assert answer.details["notes"] == []  # the penalty lies inside the grid
    assert answer.shifted is not None
    wrong = retrieval_metrics(answer.shifted.ranking)
    assert 0.44 < wrong["percentile_rank"]["value"] < 0.58
    assert abs(answer.shifted.details["r"]) < 0.03
    assert np.isfinite(np.asarray(answer.scores.scores)).all()
