"""Lightning's trainer, set up the same for every task: device, precision, callbacks, loaders, one folder of checkpoints.

In: a task, where its batches come from, the rows that train and validate. Out: a trained fold in its folder, which goes on
from its last checkpoint if there is one.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from neurodecode.config import CodebookTrainSettings, TrainSettings
from neurodecode.errors import SettingsError
from neurodecode.segments.windows import WindowIndex
from neurodecode.training.callbacks import EpochSeed, KeepBestAndLast, MetricsTable, Patience
from neurodecode.training.data import RowBatches, Source, WindowBatches, loader

AnySettings = TrainSettings | CodebookTrainSettings  # what training itself needs is the same in both
SHARE_OF_MEMORY = 0.5  # of the free memory of a CUDA device may hold signals


def train_task(
    task: L.LightningModule,
    settings: AnySettings,
    source: Source,
    rows: tuple[np.ndarray, np.ndarray],
    folder: Path,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    progress: bool = False,
    extra: tuple[L.Callback, ...] = (),
    table: MetricsTable | None = None,
) -> dict[str, Any]:
    """Train any task in a folder, from its last checkpoint if there is one.

    Parameters
    ----------
    task
        Logs `train_loss` and `valid_loss`.
    source, rows
        Where batches come from, and the rows that train and validate.
    table
        Of metrics; by default that of the aligner.

    Returns
    -------
    dict
        As `train_fold`.
    """
    training = settings.training
    patience, keeper = Patience(training.patience), KeepBestAndLast(folder)
    table = table or MetricsTable(folder / "metrics.csv")
    _quiet()
    trainer = L.Trainer(
        max_epochs=training.epochs,
        accelerator="gpu" if accelerator == "cuda" else accelerator,
        devices=training.devices if accelerator != "cpu" or training.devices != "auto" else 1,
        strategy="auto" if training.devices == 1 else "ddp",
        precision=precision,  # type: ignore[arg-type]
        gradient_clip_val=training.gradient_clip,
        deterministic=training.deterministic,
        callbacks=[EpochSeed(settings.seed), table, *extra, patience, keeper],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=True,
        enable_model_summary=False,
        enable_progress_bar=progress and sys.stderr.isatty(),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    train, valid = _loaders(settings, source, rows, trainer)
    last = folder / "last.ckpt"
    trainer.fit(task, train, valid, ckpt_path=last if last.is_file() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return {
        "epochs": len(table.rows),
        "best_epoch": keeper.best_epoch,
        "best_valid_loss": keeper.best_loss,
        "stopped": "patience" if patience.exhausted else "epochs",
    }


def resolve_accelerator(settings: AnySettings) -> str:
    """Cpu, cuda or mps."""
    wanted = settings.training.accelerator
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not there[wanted]:
        raise SettingsError(f"training.accelerator: {wanted} is not on this machine; use auto or cpu")
    return wanted


def resolve_precision(settings: AnySettings) -> str:
    """Lightning's word for the precision."""
    wanted, accelerator = settings.training.precision, resolve_accelerator(settings)
    if wanted == "auto":
        return "bf16-mixed" if accelerator == "cuda" else "32-true"
    if wanted == "16-mixed" and accelerator == "cpu":
        raise SettingsError("training.precision: 16-mixed needs CUDA; on a CPU use 32 or bf16-mixed")
    return "32-true" if wanted == "32" else wanted


def data_device(settings: AnySettings, accelerator: str, index: WindowIndex) -> torch.device:
    """Where signals lie during training."""
    wanted = settings.training.data_device
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if accelerator == "cuda" else None
    if wanted == "cuda" and here is None:
        raise SettingsError("training.data_device: cuda needs training.accelerator=cuda and a CUDA device; use auto")
    if wanted == "cpu" or here is None:
        return torch.device("cpu")
    needed = 4 * sum(r.n_channels * r.n_samples for r in index.recordings)
    free, _ = torch.cuda.mem_get_info(here)
    if wanted == "auto" and (needed > SHARE_OF_MEMORY * free or settings.training.workers):
        return torch.device("cpu")
    return here


def first_process() -> bool:
    """Whether this is the process that writes, before Lightning has set up any others."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def _loaders(
    settings: AnySettings, source: Source, rows: tuple[np.ndarray, np.ndarray], trainer: L.Trainer
) -> tuple[Any, Any]:
    training = settings.training
    if training.batch_size % trainer.world_size:
        raise SettingsError(
            f"training.batch_size: {training.batch_size} windows cannot be shared by {trainer.world_size} devices; "
            "use a multiple"
        )
    dataset = WindowBatches(source, training.control, rows, settings.seed)
    place: dict[str, Any] = {
        "rank": trainer.global_rank,
        "world": trainer.world_size,
        "limit": training.steps_per_epoch,
    }
    sides = zip(rows, (True, False))
    batches = [RowBatches(side, training.batch_size, settings.seed, training=t, **place) for side, t in sides]
    return loader(dataset, batches[0], training.workers), loader(dataset, batches[1], training.workers)


def _quiet() -> None:
    """Lightning's announcements of devices and tips say nothing a run folder does not hold."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # a table that is kept must be
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between Lightning and torch, nothing of ours
