"""The Lightning side of the three codebook stages: which loss, which optimiser, what is logged.

Logged an epoch in all of them: `train_loss`, `valid_loss`. Tokenizer: `valid_reconstruction` beside `valid_zero`, the error of
a silent answer (1 for standardised signals), and `valid_mean`, that of each channel's mean in the window, and of the codes that
training hit in the epoch `usage` (share of the table) and `perplexity`; with private rows also both of each table
(`table_columns`) and `shared_tokens`, the share of tokens that took a shared row.
Masked: see `codebook_masked`. Classify: `valid_accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn import functional

from neurodecode.config import CodebookTrainSettings, MaskedEncoderSettings, QuantizerSettings, TokenizerSettings
from neurodecode.config.codebook_training import CodebookTrainingSettings
from neurodecode.errors import SettingsError
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer_rows import spread
from neurodecode.objectives.codebook import TokenizerLoss, TokenizerLosses
from neurodecode.segments.batches import Batch
from neurodecode.segments.labels import UNKNOWN

LOGGED = {
    "tokenizer": ("valid_reconstruction", "valid_zero", "valid_mean", "usage", "perplexity"),
    "masked": ("valid_accuracy", "valid_majority"),
    "masked embeddings": ("valid_cosine", "valid_mean_embedding"),
    "masked patches": ("valid_zero", "valid_mean"),
    "classify": ("valid_accuracy",),
}


def logged(settings: CodebookTrainSettings) -> tuple[str, ...]:
    """Columns of metrics.csv that belong to a stage."""
    model = settings.model
    if isinstance(model, MaskedEncoderSettings) and model.target != "codes":
        return LOGGED[f"masked {model.target}"]
    return LOGGED[settings.task]


def table_columns(settings: CodebookTrainSettings, subjects: Sequence[str]) -> tuple[str, ...]:
    """Columns of metrics.csv for the tables of subjects, if there are such."""
    if not isinstance(settings.model, TokenizerSettings) or settings.model.quantizer.kind != "shared-private":
        return ()
    tables = ["shared", *(f"private_{name}" for name in subjects)]
    return ("shared_tokens", *(f"{what}_{table}" for table in tables for what in ("usage", "perplexity")))


def answered_by_constant(row: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """What a stage predicts no better than a constant answer does -> its figure, and that of the best constant.

    Parameters
    ----------
    row
        Logged figures of the epoch that is kept; what was not logged is not asked.

    Returns
    -------
    dict
        Of reconstruction, patches (errors, beside silence and each channel's mean), codes (accuracy, beside the most frequent
        one) and embeddings (cosine, beside their mean).
    """
    found = {}
    constant = min(row.get("valid_zero", math.inf), row.get("valid_mean", math.inf))
    what = "reconstruction" if "valid_reconstruction" in row else "patches"
    error = row.get("valid_reconstruction", row["valid_loss"])
    if error >= constant:
        found[what] = (error, constant)
    for what, mine, other in (
        ("codes", "valid_accuracy", "valid_majority"),
        ("embeddings", "valid_cosine", "valid_mean_embedding"),
    ):
        if mine in row and other in row and row[mine] <= row[other]:
            found[what] = (row[mine], row[other])
    return found


def refuse_late_table(
    quantizer: QuantizerSettings,
    training: CodebookTrainingSettings,
    windows: int,
    each: int,
    place: str = "model.quantizer",
    instead: str = "lower codes and start_tokens, or train on more windows",
) -> None:
    """Stop if a table would not get the tokens of its k-means within one epoch: codes before that mean nothing.

    Parameters
    ----------
    windows, each
        Training windows, and tokens of each.
    place, instead
        Of the setting, and what to do where there are too few tokens, for the message.

    Raises
    ------
    SettingsError
        One line.
    """
    if quantizer.kind == "finite-scalar" or not each:  # no table; or no token, which `stage_sizes` tells of
        return
    wanted = 4 * quantizer.codes if quantizer.start_tokens is None else quantizer.start_tokens
    steps = min(max(1, windows // training.batch_size), training.steps_per_epoch or windows)
    tokens = each * min(windows, steps * training.batch_size)
    if tokens < wanted:
        raise SettingsError(
            f"{place}.start_tokens: k-means waits for {wanted} tokens, an epoch has {tokens}; {instead}"
        )
    before = quantizer.start_after % steps
    # tokens that wait are not part of a checkpoint
    if quantizer.start_after and tokens * (steps - before) < wanted * steps:
        raise SettingsError(
            f"{place}.start_after: k-means would wait for {wanted} tokens from step {before + 1} of an epoch of "
            f"{steps} steps, beyond its end; set start_after={quantizer.start_after - before}"
        )
    if quantizer.start_after >= steps * training.epochs:
        raise SettingsError(
            f"{place}.start_after: {quantizer.start_after} steps, but the whole training has {steps * training.epochs}: the "
            "table would never start; lower it"
        )


class StageTask(L.LightningModule):
    """What the stages share.

    Parameters
    ----------
    model
        The network of the stage.
    settings
        Objective and training.
    n_subjects
        With one, networks are not asked whose a window is.
    crop
        Samples of a window that are seen; 0: all.
    """

    def __init__(self, model: nn.Module, settings: CodebookTrainSettings, n_subjects: int, crop: int = 0) -> None:
        super().__init__()
        self.model, self.settings, self.n_subjects, self.crop = model, settings, n_subjects, crop
        if settings.training.compile:
            self.model.compile()  # in place, so that names in the state dict stay what they are

    def subject(self, batch: Batch) -> torch.Tensor | None:
        """[B], or None for one subject."""
        return batch.subject if self.n_subjects > 1 else None

    def seen(self, batch: Batch, *, training: bool) -> Batch:
        """What the network sees of each window: in training a stretch that the random state of the epoch's seed chooses, else
        the middle."""
        room = batch.signal.shape[-1] - self.crop
        if not self.crop or not room:
            return batch
        middle = torch.full((len(batch),), room // 2)
        starts = torch.randint(0, room + 1, (len(batch),)) if training else middle
        return replace(batch, signal=stretch(batch.signal, starts, self.crop))

    def record(self, batch: Batch, **values: torch.Tensor) -> None:
        """Log means over the epoch, weighted by windows."""
        detached = {name: value.detach() for name, value in values.items()}
        self.log_dict(detached, on_step=False, on_epoch=True, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        """AdamW without decay of vectors; a warm-up and a half cosine, both by epochs (tables 5 to 7 of the paper)."""
        training = self.settings.training
        weights = [p for p in self.model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in weights if p.ndim > 1]},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=training.learning_rate,
            betas=training.betas,
            weight_decay=training.weight_decay,
            fused=self.device.type == "cuda" or None,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: rate(self.settings, epoch))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches know how to move."""
        return batch.to(device)


def rate(settings: CodebookTrainSettings, epoch: int) -> float:
    """Factor of the learning rate in an epoch: (e + 1) / warm-up, then from 1 down to final_rate in the last epoch."""
    training = settings.training
    if epoch < training.warmup:
        return (epoch + 1) / training.warmup
    if training.schedule == "constant":
        return 1.0
    last = max(1, training.epochs - 1 - training.warmup)
    least = training.final_rate / training.learning_rate
    return least + (1 - least) * (1 + math.cos(math.pi * min(1.0, (epoch - training.warmup) / last))) / 2


class TokenizerTask(StageTask):
    """Stage 1.

    Parameters
    ----------
    subjects
        Names, for the columns of tables of their own.
    model, settings, n_subjects, crop
        See `StageTask`.
    """

    def __init__(
        self,
        model: CodebookTokenizer,
        settings: CodebookTrainSettings,
        n_subjects: int,
        crop: int = 0,
        subjects: Sequence[str] = (),
    ) -> None:
        super().__init__(model, settings, n_subjects, crop)
        self.subjects = tuple(subjects)
        objective = settings.objective
        self.objective = TokenizerLoss(objective.sums, objective.reconstruction, objective.quantizer)
        self.tokenizer = [model]  # in a list: its weights are those of `model`, and must not be saved twice
        quantizer = model.bottleneck.quantizer
        self._hits = torch.zeros(quantizer.groups, quantizer.codes)  # in this epoch's training

    def on_train_epoch_start(self) -> None:
        """Count anew."""
        self._hits = torch.zeros_like(self._hits, device=self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch."""
        losses, codes, _ = self._losses(self.seen(batch, training=True))
        for group, hits in enumerate(self._hits):
            hits += torch.bincount(codes[..., group].flatten(), minlength=len(hits))
        self.record(batch, train_loss=losses.total)
        return losses.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, its visible part, and that part of two answers that know no code."""
        batch = self.seen(batch, training=False)
        losses, _, present = self._losses(batch)
        signal, nothing = batch.signal, losses.total.new_zeros(())
        silent, mean = torch.zeros_like(signal), signal.mean(2, keepdim=True).expand_as(signal)
        numbers = 1  # of the quantizer, whose loss is not asked here
        self.record(
            batch,
            valid_loss=losses.total,
            valid_reconstruction=losses.reconstruction,
            valid_zero=self.objective(silent, signal, nothing, present, numbers).reconstruction,
            valid_mean=self.objective(mean, signal, nothing, present, numbers).reconstruction,
        )

    def on_validation_epoch_end(self) -> None:
        """How much of the table this epoch's training used, mean over tables."""
        if self._hits.sum() == 0:
            return
        usage, perplexity = zip(*(spread(hits) for hits in self._hits))
        found = {"usage": torch.stack(usage).mean(), "perplexity": torch.stack(perplexity).mean()}
        hits = self._hits[0]
        for name, rows in self.tokenizer[0].bottleneck.quantizer.parts(self.subjects).items():
            found[f"usage_{name}"], found[f"perplexity_{name}"] = spread(hits[rows])
            if name == "shared":
                found["shared_tokens"] = hits[rows].sum() / hits.sum()
        self.log_dict(found)

    def _losses(self, batch: Batch) -> tuple[TokenizerLosses, torch.Tensor, torch.Tensor]:
        """Losses, codes [B, N, G], and which channels are there [B, C]."""
        model, subject = self.tokenizer[0], self.subject(batch)
        found = model(batch.signal, subject)
        present = model.present(subject, len(batch)).to(batch.signal.device)
        numbers = found.codes.shape[1] * model.bottleneck.quantizer.dimension
        losses = self.objective(found.reconstruction, batch.signal, found.quantizer_loss, present, numbers)
        return losses, found.codes, present


class ClassifyTask(StageTask):
    """Stage 3.

    Parameters
    ----------
    furthest
        Samples that training windows are moved by at most.
    """

    def __init__(
        self, model: CodebookClassifier, settings: CodebookTrainSettings, n_subjects: int, furthest: int = 0
    ) -> None:
        super().__init__(model, settings, n_subjects)
        self.furthest = furthest

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch; shifts come from the random state that each epoch's seed sets."""
        signal = batch.signal
        if self.furthest:
            signal = moved(signal, torch.randint(-self.furthest, self.furthest + 1, (len(batch),)))
        logits = self.model(signal, self.subject(batch))
        loss = functional.cross_entropy(logits.float(), batch.identity, label_smoothing=self.settings.label_smoothing)
        self.record(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Cross-entropy without smoothing, and accuracy; a label that training lacks is always wrong."""
        logits = self.model(batch.signal, self.subject(batch)).float()
        known = batch.identity != UNKNOWN
        if known.any():
            loss = functional.cross_entropy(logits[known], batch.identity[known])
            self.log("valid_loss", loss, on_step=False, on_epoch=True, batch_size=int(known.sum()))
        self.record(batch, valid_accuracy=(logits.argmax(1) == batch.identity).float().mean())


def stretch(signal: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """Samples of each window [B, C, T] from its start [B] on: [B, C, length]."""
    place = (starts[:, None] + torch.arange(length)).to(signal.device)  # [B, length]
    return signal.gather(2, place[:, None].expand(-1, signal.shape[1], -1))


def moved(signal: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Move each window [B, C, T] later by its number of samples [B], earlier if negative; zeros fill it up."""
    n_times = signal.shape[-1]
    place = torch.arange(n_times) - offsets[:, None]  # [B, T]
    inside = ((place >= 0) & (place < n_times)).to(signal.device)
    place = place.clamp(0, n_times - 1).to(signal.device)
    values = signal.gather(2, place[:, None].expand(-1, signal.shape[1], -1))
    return torch.where(inside[:, None], values, 0)
