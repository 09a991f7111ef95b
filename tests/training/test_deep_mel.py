"""A run with a trained network for speech: both learn, it resumes, and what is evaluated is what was trained."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from neurodecode.config import EvaluationSettings, SpeechSettings, TrainSettings
from neurodecode.evaluation.retrieval.ridge import standardised
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder, fill_scores, training_deviation
from neurodecode.files import write_json
from neurodecode.models.build import build_model
from neurodecode.models.deep_mel import with_speech
from neurodecode.objectives.clip import clip_scores
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import build_windows
from neurodecode.training.fit import train_fold
from neurodecode.training.load import load_fold
from neurodecode.training.run_folder import SCHEMA, write_layouts
from tests.evaluation import toys
from tests.training.toy import C, F, S, T, toy_data, toy_settings

SPEECH = SpeechSettings(kind="deep_mel", outputs=7, hidden=8, depth=3)


def settings(**training) -> TrainSettings:
    return toy_settings(**training).model_copy(update={"speech": SPEECH})


class Kill(L.Callback):
    """Ends the work within the third epoch."""

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.current_epoch == 2:
            raise RuntimeError("killed")


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "fold-0"
    finished = train_fold(settings(), toy_data(), folder)
    write_json(folder / "finished.json", finished)
    return folder


def test_both_networks_are_trained_by_one_optimiser(undisturbed: Path) -> None:
    chosen = settings()
    torch.manual_seed(chosen.seed)
    layouts = toy_data().layouts
    start = build_model(chosen.model, n_chans=C, n_outputs=7, n_times=T, sfreq=50.0, n_subjects=S, layouts=layouts)
    start = with_speech(start, SPEECH, F)
    after = weights(undisturbed, "last.ckpt")
    still = [name for name, value in start.named_parameters() if torch.equal(value, after[f"model.{name}"])]
    assert still == []
    assert any(name.startswith("model.speech") for name in after)


def test_together_they_find_what_can_be_found(tmp_path: Path) -> None:
    finished = train_fold(settings(epochs=12), toy_data(), tmp_path)
    assert finished["best_valid_loss"] < 0.8 * np.log(12)  # 24 validation windows in two batches


def test_a_killed_run_ends_with_the_same_weights_of_both(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train_fold(settings(), toy_data(), tmp_path, extra=(Kill(),))
    train_fold(settings(), toy_data(), tmp_path)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = weights(undisturbed, name), weights(tmp_path, name)
        assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_a_fold_is_opened_with_the_trained_speech_network(undisturbed: Path) -> None:
    layouts = toy_data().layouts
    write_layouts(undisturbed / "layouts.npz", layouts.positions.numpy(), layouts.placed.numpy(), ["a"] * C)
    sizes = {"n_chans": C, "n_outputs": 7, "n_times": T, "sfreq": 50.0, "n_features": F}
    info = {"schema": SCHEMA, "settings": settings().model_dump(mode="json"), "sizes": sizes, "folds": ["fold-0"]}
    write_json(undisturbed.parent / "run.json", info | {"subjects": ["a"] * S})
    model, opened, _ = load_fold(undisturbed.parent, "fold-0")
    assert opened.speech == SPEECH
    best = weights(undisturbed, "best.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, best[f"model.{name}"])
    assert not model.speech.training


@pytest.mark.parametrize("score", ["clip", "correlation"])
def test_candidates_are_compared_as_the_speech_network_gives_them(score: str) -> None:
    features = toys.ToyFeatures(0)
    index = build_windows(toys.toy_store(features, 1.0, seed=1), toys.toy_settings("content"))
    source = BatchSource(index.fold(index.folds[0]), features)
    source.fit_scalers()
    chosen = settings()
    torch.manual_seed(0)
    model = build_model(
        chosen.model,
        n_chans=source.layouts.n_chans,
        n_outputs=7,
        n_subjects=len(index.subjects),
        layouts=source.layouts,
    )
    model = with_speech(model, SPEECH, source.dimension).eval()
    scale = training_deviation(source, model) if score == "correlation" else None
    rows = source.index.rows("test")[:5]
    found = np.zeros((5, 5), np.float32)
    fill_scores([found], [NetworkDecoder(model, chosen, scale)], source, rows, rows, EvaluationSettings())
    batch = source[rows]
    with torch.no_grad():
        estimate, candidate = model(batch.signal, batch.subject, batch.layout), model.speech(batch.target)
    if scale is None:
        expected = clip_scores(estimate, candidate).numpy()
    else:
        assert scale.shape == (7,)
        expected = (standardised(estimate, scale) @ standardised(candidate, scale).T).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
