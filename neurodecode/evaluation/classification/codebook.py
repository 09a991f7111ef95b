"""The codebook-guided encoder as a row of the table: its classifier from scratch, or after pretraining without labels.

In: trials, a seed, a folder for checkpoints. Out: log-probabilities of the test windows [n, K]. All people of a fold share one
read-in, since the tested ones have none of their own; so their channels are the same ones, by name. Pretraining sees whole
recordings of the training side, chooses its epoch on those of the validation side, and never meets the test side.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from neurodecode.config import CodebookTrainSettings, MaskedEncoderSettings
from neurodecode.config.baselines import CodebookMethod, PretrainingSettings, StageTrainingSettings
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.evaluation.classification.networks import answers, class_weights
from neurodecode.evaluation.classification.trials import Trials
from neurodecode.files import atomic_path
from neurodecode.models.codebook.build import build_classifier, build_masked_encoder, build_tokenizer
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.segments.batches import Batch, BatchSource
from neurodecode.segments.labels import LabelFeatures
from neurodecode.training.callbacks import MetricsTable
from neurodecode.training.codebook_data import strided
from neurodecode.training.codebook_masked import MaskedTask
from neurodecode.training.codebook_task import ClassifyTask, StageTask, TokenizerTask, logged, refuse_late_table
from neurodecode.training.trainer import train_task


class WeightedClassifyTask(ClassifyTask):
    """Classification with a weight for each label, in training and in the choice of the epoch."""

    def __init__(
        self, model: CodebookClassifier, settings: CodebookTrainSettings, weights: torch.Tensor | None
    ) -> None:
        super().__init__(model, settings, n_subjects=1)
        self.weights = [weights]  # in a list: no part of what is saved

    def _loss(self, batch: Batch) -> torch.Tensor:
        weights = self.weights[0]
        weights = weights if weights is None else weights.to(batch.signal.device)
        return functional.cross_entropy(self.model(batch.signal).float(), batch.identity, weight=weights)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch."""
        loss = self._loss(batch)
        self.record(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss; all labels here are known to training."""
        self.record(batch, valid_loss=self._loss(batch))


def codebook(trials: Trials, method: CodebookMethod, balanced: bool, seed: int, work: Path) -> np.ndarray:
    """Log-probabilities of the test windows, [n, K].

    Parameters
    ----------
    trials
        Windows of one fold.
    method
        Networks and how they are trained.
    balanced
        Whether labels weigh alike.
    seed
        Of weights, order, masks and dropout.
    work
        Folder of checkpoints; training goes on from there after a kill.

    Raises
    ------
    SettingsError
        If a window holds no whole number of tokens, or too few tokens for k-means.
    """
    patch = method.model.encoder.patch
    if trials.n_times % patch:
        raise SettingsError(
            f"model.encoder.patch: {patch} samples, and a window of {trials.n_times} is no multiple of it; change one of them"
        )
    start = None if method.pretraining is None else _pretrain(trials, method.pretraining, seed, work)
    torch.manual_seed(seed)  # just before the weights are drawn
    classifier = build_classifier(
        method.model,
        n_chans=len(trials.columns),
        n_outputs=trials.n_classes,
        n_times=trials.n_times,
        sfreq=trials.sfreq,
    )
    if start is not None:
        classifier.start_from(start)
    settings = _settings("classify", trials, method.model, method.training, seed)
    task = WeightedClassifyTask(classifier, settings, class_weights(trials) if balanced else None)
    _train(task, settings, trials, work / "classifier")
    return answers(classifier, trials, trials.test).cpu().numpy()


def unlabelled(trials: Trials, stride: float) -> Trials:
    """Windows at regular times of the same people's recordings, scaled alike; the test side is empty.

    Raises
    ------
    LeakageError
        If a recording of someone who is tested would train.
    """
    index = strided(trials.index, stride)
    source = BatchSource(index, LabelFeatures(), trials.source.scalers, trials.source.device)  # type: ignore[arg-type]
    people = np.unique(trials.people(trials.all_rows()))
    mine = np.isin(index.table["subject"].to_numpy(), people)
    train, valid = (rows[mine[rows]] for rows in (index.rows("train"), index.rows("valid")))
    pretraining = replace(trials, source=source, index=index, train=train, valid=valid, test=np.zeros(0, int))
    seen = np.concatenate([pretraining.train, pretraining.valid])
    recordings = set(index.table["recording"].to_numpy()[seen])
    tested = set(trials.index.table["recording"].to_numpy()[trials.test])
    if recordings & tested:
        name = index.recordings[min(recordings & tested)].name
        raise LeakageError(
            f"{index.fold_name}: pretraining would see {name}, which is tested; split by run or by people"
        )
    return pretraining


def _pretrain(
    trials: Trials, settings: PretrainingSettings, seed: int, work: Path
) -> CodebookTokenizer | MaskedEncoder:
    """The network whose encoder the classifier starts from."""
    data = unlabelled(trials, settings.stride)
    torch.manual_seed(seed)
    if settings.masked is not None and settings.masked.target == "patches":
        return _mask(trials, data, settings.masked, settings, seed, work, None)
    tokenizer = build_tokenizer(settings.tokenizer, n_chans=len(trials.columns))
    stage = _settings("tokenizer", data, settings.tokenizer, settings.tokenizer_training, seed)
    place, each = "pretraining.tokenizer.quantizer", data.n_times // settings.tokenizer.encoder.patch
    windows = len(data.train)
    refuse_late_table(settings.tokenizer.quantizer, stage.training, windows, each, place, "lower codes or stride")
    _train(TokenizerTask(tokenizer, stage, 1), stage, data, work / "tokenizer")
    if settings.masked is None:
        return tokenizer.eval()
    return _mask(trials, data, settings.masked, settings, seed, work, tokenizer.eval())


def _mask(
    trials: Trials,
    data: Trials,
    model: MaskedEncoderSettings,
    settings: PretrainingSettings,
    seed: int,
    work: Path,
    tokenizer: CodebookTokenizer | None,
) -> MaskedEncoder:
    """The masked encoder, which needs no tokenizer for patches."""
    torch.manual_seed(seed + 1)
    quantizer = None if tokenizer is None else tokenizer.bottleneck.quantizer
    masked = build_masked_encoder(model, n_chans=len(trials.columns), quantizer=quantizer)
    start = None if tokenizer is None else work / "tokenizer"
    stage = _settings("masked", data, model, settings.masked_training, seed, start=start)
    _train(MaskedTask(masked, stage, 1, tokenizer, None), stage, data, work / "masked")
    return masked.eval()


def _settings(
    task: str, trials: Trials, model: Any, training: StageTrainingSettings, seed: int, start: Path | None = None
) -> CodebookTrainSettings:
    """Settings of a stage as the trainer reads them."""
    return CodebookTrainSettings(
        task=task,  # type: ignore[arg-type]
        model=model,
        labels=trials.index.labels,
        start_from=start,
        seed=seed,
        training={  # type: ignore[arg-type]
            **training.model_dump(),
            "warmup": min(training.warmup, training.epochs - 1),
            "final_rate": training.learning_rate / 100,
            "accelerator": "cpu",
        },
    )


def _train(task: StageTask, settings: CodebookTrainSettings, data: Trials, folder: Path) -> None:
    """Train, and leave the best weights in the task's network; a stage that is done is read."""
    done = folder / "done.pt"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        columns = ("epoch", "step", "train_loss", "valid_loss", *logged(settings), "learning_rate", "seconds")
        table = MetricsTable(folder / "metrics.csv", columns, "labels.scaling.clamp")
        train_task(task, settings, data, (data.train, data.valid), folder, table=table)
        state = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        with atomic_path(done) as temporary:
            torch.save({k: v for k, v in state.items() if k.startswith("model.")}, temporary)
        for name in ("best.ckpt", "last.ckpt"):
            (folder / name).unlink(missing_ok=True)
    state = torch.load(done, map_location="cpu", weights_only=True)
    task.model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
