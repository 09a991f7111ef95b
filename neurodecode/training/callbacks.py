"""What happens between epochs: seeds, early stopping, checkpoints, a table of metrics.

All of them keep their state in the checkpoint, and the checkpoint is written last, as a whole file: a run that is killed at
any moment goes on from the end of the last epoch that was written, as if nothing had happened.
"""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping

from neurodecode.errors import NeurodecodeError
from neurodecode.files import atomic_path, write_text
from neurodecode.training.data import seed_of

COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "valid_top10", "learning_rate", "seconds")


class EpochSeed(Callback):
    """Seeds dropout at each epoch's start with (seed, epoch, process): resuming needs no stored random state."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Seed all devices."""
        torch.manual_seed(seed_of(self.seed, trainer.current_epoch, trainer.global_rank))


class MetricsTable(Callback):
    """Writes `metrics.csv`, one row an epoch; the rows are part of the checkpoint.

    Parameters
    ----------
    path
        Of the table.
    columns
        Names of the columns, in order; those that are logged under these names are written.
    clamp
        Setting that limits scaled values, for the error.

    Raises
    ------
    NeurodecodeError
        From training, when a loss is not finite: going on would write weights of NaN.
    """

    def __init__(self, path: Path, columns: tuple[str, ...] = COLUMNS, clamp: str = "segments.scaling.clamp") -> None:
        self.path, self.columns, self.clamp = path, columns, clamp
        self.rows: list[dict[str, float]] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add a row and write the table."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name in self.columns}
        for name in ("train_loss", "valid_loss"):
            if not math.isfinite(values[name]):
                raise NeurodecodeError(
                    f"{self.path.parent}: {name} is {values[name]} in epoch {trainer.current_epoch}; lower "
                    f"training.learning_rate, set {self.clamp}=20, or train in precision 32"
                )
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            **values,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.rows = [r for r in self.rows if r["epoch"] < row["epoch"]] + [row]
        if trainer.is_global_zero:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_text(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these rows."""
        self.rows = list(state_dict["rows"])


class Patience(EarlyStopping):
    """Stops after so many epochs without a lower validation loss, also when the run was killed just then."""

    def __init__(self, patience: int) -> None:
        super().__init__("valid_loss", patience=patience, mode="min", check_finite=False)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """A checkpoint whose patience had run out is not trained further."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    @property
    def exhausted(self) -> bool:
        """Whether patience ran out."""
        return self.wait_count >= self.patience


class KeepBestAndLast(Checkpoint):
    """Writes `best.ckpt` (weights with the lowest validation loss) and then `last.ckpt` (all that resuming needs)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best_loss = math.inf
        self.best_epoch = -1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Runs after all other callbacks, so that their state is the one at the end of this epoch."""
        loss = float(trainer.callback_metrics["valid_loss"])
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, trainer.current_epoch
            self._write(trainer, self.folder / "best.ckpt", weights_only=True)
        self._write(trainer, self.folder / "last.ckpt", weights_only=False)

    def _write(self, trainer: L.Trainer, path: Path, weights_only: bool) -> None:
        if not trainer.is_global_zero:  # takes part in gathering the state; only the first process writes
            trainer.save_checkpoint(path, weights_only=weights_only)
            return
        with atomic_path(path) as temporary:
            trainer.save_checkpoint(temporary, weights_only=weights_only)

    def state_dict(self) -> dict[str, Any]:
        """Best so far."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.best_epoch = state_dict["best_loss"], state_dict["best_epoch"]
