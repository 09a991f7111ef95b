"""The Lightning side of the masked stage: what hidden tokens are compared with, and what stands beside the figure.

Logged an epoch besides the losses, of hidden validation tokens, by `model.target`:

codes       `valid_accuracy` beside `valid_majority`, the share of their most frequent code
embeddings  `valid_cosine` beside `valid_mean_embedding`, the cosine of the one answer that is best for all of them: their mean
patches     `valid_loss` (squared error) beside `valid_zero`, that of silence (1 for standardised signals), and `valid_mean`,
            that of each channel's mean in the window, hidden patches included
"""

from __future__ import annotations

import torch
from torch.nn import functional

from neurodecode.config import CodebookTrainSettings
from neurodecode.models.codebook.masked import MaskedEncoder, MaskedPrediction
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer_processes import in_step
from neurodecode.objectives.masked import (
    MaskedCodeLoss,
    MaskedEmbeddingLoss,
    MaskedPatchLoss,
    code_accuracy,
    patches_of,
)
from neurodecode.segments.batches import Batch
from neurodecode.training.codebook_task import StageTask
from neurodecode.training.data import seed_of


class MaskedTask(StageTask):
    """Stage 2.

    Parameters
    ----------
    tokenizer
        Trained; it is not part of what is saved. None where patches are predicted.
    places
        [S]: which of the tokenizer's subjects each of ours is; None where it has one.
    model, settings, n_subjects, crop
        See `StageTask`.
    """

    def __init__(
        self,
        model: MaskedEncoder,
        settings: CodebookTrainSettings,
        n_subjects: int,
        tokenizer: CodebookTokenizer | None,
        places: torch.Tensor | None,
        crop: int = 0,
    ) -> None:
        super().__init__(model, settings, n_subjects, crop)
        self.masked = [model]  # in a list: its weights are those of `model`, and must not be saved twice
        self.codes_loss = MaskedCodeLoss(settings.masked_objective.label_smoothing)
        self.embeddings_loss, self.patches_loss = MaskedEmbeddingLoss(), MaskedPatchLoss()
        self._tokenizer = [] if tokenizer is None else [tokenizer.eval().requires_grad_(False)]
        self._places = places
        self._sum = torch.zeros(())  # of this epoch's hidden validation tokens: hits [G, K], or unit embeddings [1, D]
        self._tokens = torch.zeros(())

    def on_fit_start(self) -> None:
        """Put the tokenizer where the network is."""
        for tokenizer in self._tokenizer:
            tokenizer.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch; masks come from the random state that each epoch's seed sets."""
        batch = self.seen(batch, training=True)
        found = self.model(batch.signal, self.subject(batch))
        loss = self._loss(found, self._target(batch), batch)
        self.record(batch, train_loss=loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self._sum = torch.zeros((), device=self.device)
        self._tokens = torch.zeros((), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and figures under masks that are the same in every epoch."""
        batch = self.seen(batch, training=False)
        generator = torch.Generator().manual_seed(seed_of(self.settings.seed, batch_idx))
        found = self.model(batch.signal, self.subject(batch), generator=generator)
        target = self._target(batch)
        loss = self._loss(found, target, batch)
        self.record(batch, valid_loss=loss)
        hidden = target[found.predicted]  # [M, ...]
        self._tokens += len(hidden)
        if self.masked[0].target == "codes":
            self.record(batch, valid_accuracy=code_accuracy(found.logits, target, found.predicted))
            self._sum = self._sum + functional.one_hot(hidden, self.masked[0].codes).sum(0)  # [G, K]
        elif self.masked[0].target == "embeddings":
            self.record(batch, valid_cosine=1 - loss)
            self._sum = self._sum + functional.normalize(hidden, dim=-1).sum(0, keepdim=True)  # [1, D]
        else:
            silent, mean = torch.zeros_like(target), target.mean((1, 3), keepdim=True).expand_as(target)
            zero, constant = (self._loss(found._replace(answer=a), target, batch) for a in (silent, mean))
            self.record(batch, valid_zero=zero, valid_mean=constant)

    def on_validation_epoch_end(self) -> None:
        """What one answer for all hidden tokens would get."""
        if self.masked[0].target == "patches":
            return
        best = in_step(self._sum) / in_step(self._tokens)  # [G, K] or [1, D]
        if self.masked[0].target == "codes":
            self.log("valid_majority", best.amax(1).mean())
        else:  # of all unit vectors the mean's direction has the largest mean cosine, which is the mean's length
            self.log("valid_mean_embedding", best.norm())

    def _loss(self, found: MaskedPrediction, target: torch.Tensor, batch: Batch) -> torch.Tensor:
        kind = self.masked[0].target
        if kind == "codes":
            return self.codes_loss(found.logits, target, found.predicted)
        if kind == "embeddings":
            return self.embeddings_loss(found.answer, target, found.predicted)
        present = self.masked[0].present(self.subject(batch), len(batch)).to(target.device)
        return self.patches_loss(found.answer, target, found.predicted, present)

    def _target(self, batch: Batch) -> torch.Tensor:
        """Codes [B, N, G], embeddings [B, N, D] or patches [B, N, C, samples]."""
        if not self._tokenizer:
            return patches_of(batch.signal, self.masked[0].encoder.patch)
        places, tokenizer = self._places, self._tokenizer[0]
        subject = None if places is None else places.to(batch.subject.device)[batch.subject]
        # the tokenizer may know someone with more channels than all of ours
        more = max(tokenizer.encoder.n_channels) - batch.signal.shape[1]
        codes = tokenizer.codes(functional.pad(batch.signal, (0, 0, 0, more)), subject)
        return codes if self.masked[0].target == "codes" else tokenizer.embeddings(codes)
