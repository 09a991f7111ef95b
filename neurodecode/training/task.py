"""The Lightning side of the aligner: which loss, which optimiser, what is logged. All science is in models and objectives.

Logged an epoch: `train_loss`, `valid_loss` (the objective's), `valid_top10` (share of windows whose own target is among
the ten best of its batch, or of its part of `objective.negatives`; ties get their middle rank).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from torch import nn

from neurodecode.config import TrainSettings
from neurodecode.models.deep_mel import embed
from neurodecode.objectives.clip import ClipLoss, parts_of, top_k_share
from neurodecode.objectives.regression import RegressionLoss
from neurodecode.objectives.siglip import contrastive_scores, siglip_loss
from neurodecode.segments.batches import Batch, apart
from neurodecode.training.augment import augment
from neurodecode.training.load import answer


class AlignerTask(L.LightningModule):
    """Trains a network on batches of windows.

    Parameters
    ----------
    model
        (signal [B, C, T], subject [B], layout [B]) -> estimate [B, F, T], with the places of neighbours as a fourth argument
        if batches have them; a network for speech inside it is trained too.
    settings
        Objective and training.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self.kind = settings.objective.kind
        self.clip = ClipLoss(
            settings.objective.mask_duplicates,
            settings.objective.share_duplicates,
            settings.objective.label_smoothing,
        )
        self.regression = RegressionLoss()
        if settings.training.compile:
            self.model.compile()  # in place, so that names in the state dict stay what they are

    def forward(self, batch: Batch) -> torch.Tensor:
        """[B, F, T]."""
        return answer(self.model, batch)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch."""
        batch = augment(batch, self.settings.training.augment, getattr(self.model, "sfreq", None))
        estimate = self(batch)
        loss = self._loss(estimate, *self._candidates(batch), batch)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return loss

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Where only subjects learn, running means of the others' signals stay as they are."""
        if self.settings.train_only == "subject":
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and retrieval within the batch."""
        estimate = self(batch)
        candidates, identity = self._candidates(batch)

        def top10(rows: slice, part: slice, first: int) -> torch.Tensor:
            scores = contrastive_scores(self.model, estimate[rows], candidates[part])
            return top_k_share(scores, torch.arange(len(scores), device=scores.device) + first)

        values = {
            "valid_loss": self._loss(estimate, candidates, identity, batch),
            "valid_top10": self._over_parts(len(batch), len(candidates), self._offset(batch), top10),
        }
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam as published (section 5): lr 3e-4, betas 0.9 and 0.999, no decay, no schedule, unless settings say so."""
        training = self.settings.training
        kind = torch.optim.AdamW if training.weight_decay else torch.optim.Adam
        # scale and bias of siglip are no weights: decay would pull them away from where they belong
        learning = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        free = [p for name, p in learning if name.startswith("siglip.")]
        weights = [p for name, p in learning if not name.startswith("siglip.")]
        groups: list[dict[str, Any]] = [{"params": weights}]
        if free:
            groups.append({"params": free, "weight_decay": 0.0})
        optimizer = kind(
            groups,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=self.device.type == "cuda" or None,
        )
        if training.schedule == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches know how to move."""
        return batch.to(device)

    def _candidates(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets [N, F, T] and places [N] of all processes: negatives do not depend on the number of devices."""
        own, _ = self._copies(batch)
        if self.trainer.world_size == 1:
            return embed(self.model, batch.target), own
        # targets are data, so no gradient has to come back through the gathering; each process embeds all of them
        target = cast(torch.Tensor, self.all_gather(batch.target))  # [processes, N, F, T]
        identity = cast(torch.Tensor, self.all_gather(own))
        return embed(self.model, target.flatten(0, 1)), identity.flatten(0, 1)

    def _copies(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """What tells copies in a batch, [B], and how far apart the numbers of two copies are at most."""
        if batch.place is None:
            return batch.identity, 0
        seconds = batch.target.shape[-1] / cast(float, self.model.sfreq)
        return batch.place, apart(self.settings.objective.duplicate_overlap, seconds)

    def _offset(self, batch: Batch) -> int:
        return 0 if self.trainer.world_size == 1 else self.trainer.global_rank * len(batch)

    def _loss(
        self, estimate: torch.Tensor, candidates: torch.Tensor, identity: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        if self.kind == "mse":
            return self.regression(estimate, batch.target)
        own, within = self._copies(batch)

        def loss(rows: slice, part: slice, first: int) -> torch.Tensor:
            if self.kind == "clip":
                return self.clip(estimate[rows], candidates[part], own[rows], identity[part], first, within)
            logits = contrastive_scores(self.model, estimate[rows], candidates[part])
            return siglip_loss(logits, own[rows], identity[part], first, within)

        return self._over_parts(len(estimate), len(candidates), self._offset(batch), loss)

    def _over_parts(
        self, count: int, n: int, offset: int, measure: Callable[[slice, slice, int], torch.Tensor]
    ) -> torch.Tensor:
        """Mean over this process's windows of what each is given among the candidates of its part of the batch.

        Parameters
        ----------
        count, n, offset
            Windows of this process, candidates of all, and number of the first of this process's own among these.
        measure
            (rows of the windows, candidates of their part, number of the first row's own among these) -> mean over rows.
        """
        found = []
        for first, last in parts_of(n, self.settings.objective.negatives):
            begin, end = max(first, offset), min(last, offset + count)
            if begin < end:
                measured = measure(slice(begin - offset, end - offset), slice(first, last), begin - first)
                found.append(measured if end - begin == count else measured * ((end - begin) / count))
        return torch.stack(found).sum() if len(found) > 1 else found[0]
