"""One run of training: a store and settings in, a run folder out.

    fit(load_settings(TrainSettings, "demo", kind="configs/training"), Path("store"), Path("run"))

Killed at any moment and started again with the same arguments, a run ends with the weights it would have had undisturbed:
finished folds are skipped, and the fold that was under way goes on at the end of its last written epoch.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn

from neurodecode.config import TrainSettings
from neurodecode.files import read_json, write_json
from neurodecode.models.build import build_model, count_parameters
from neurodecode.models.deep_mel import compared_dimensions, with_speech
from neurodecode.models.layers.session_layer import Sessions
from neurodecode.objectives.siglip import with_siglip
from neurodecode.segments.audit import audit_features
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.neighbours import audit_neighbours, find_neighbours
from neurodecode.segments.windows import WindowIndex, build_windows
from neurodecode.stimuli.features import FeatureStore, compute_features
from neurodecode.store.store import Store
from neurodecode.training import run_folder
from neurodecode.training.chosen import CHANNELS, chosen_channels, described, refuse_other_channels, resolved
from neurodecode.training.data import Source
from neurodecode.training.imported import Weights, refuse_other_weights
from neurodecode.training.portion import chosen_subjects, session_names, sessions_of, trained_rows, within_minutes
from neurodecode.training.start import Start, freeze, write_start
from neurodecode.training.task import AlignerTask
from neurodecode.training.trainer import data_device, first_process, resolve_accelerator, resolve_precision, train_task

FEW_CANDIDATES = 32  # issue 1 of section 7: batches of 16 sat at chance, and nothing said so


@dataclass(frozen=True)
class FoldData:
    """What one fold trains on."""

    source: Source
    train: np.ndarray
    valid: np.ndarray
    layouts: Any
    n_chans: int
    n_features: int
    n_times: int
    sfreq: float
    n_subjects: int
    sessions: Sessions | None = None


def fit(
    settings: TrainSettings,
    store: Path,
    out: Path,
    *,
    resume: bool = True,
    progress: bool = True,
    weights: Weights | None = None,
) -> Path:
    """Train.

    Parameters
    ----------
    settings
        All about the run; sizes come from the store.
    store
        Folder that `preprocess` wrote.
    out
        Folder of the run.
    resume
        Go on with a run that is there; False throws it away.
    progress
        Show a progress bar, if a person looks (standard error is a terminal).
    weights
        Take these, and train nothing: see `imported.import_weights`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    NeurodecodeError
        If the store cannot be trained on with these settings, or `out` holds another run.
    """
    out = Path(out)
    if settings.start_from is not None:  # the same run whatever the working directory is
        settings = settings.model_copy(update={"start_from": settings.start_from.resolve()})
    settings = settings.model_copy(update={"channels": resolved(settings.channels)})
    accelerator, precision = resolve_accelerator(settings), resolve_precision(settings)
    opened = Store(store)
    names = chosen_subjects(settings, opened)
    chosen = [r for r in opened.recordings if not names or r.subject in names]
    info = run_folder.claim(out, settings, {r.name: r.sha256_signal for r in chosen}, resume)
    refuse_other_weights(out, info, weights)
    if info is not None and info["finished"]:
        return out
    index = build_windows(opened, settings.segments, names)
    if weights is not None:
        weights.refuse_folds(index.folds, f"segments.split.rule {settings.segments.split.rule}", "content")
    features = compute_features(opened, settings.features, progress, index.borders)
    if weights is None:
        _warn_about_batches(settings, index)
    device = data_device(settings, accelerator, index)
    kept: dict[str, dict[str, list[str]] | None] = dict.fromkeys(index.folds)
    if settings.channels is not None:  # all folds are asked before the first is trained
        for name in index.folds:
            kept[name] = chosen_channels(settings.channels, index.fold(name))
            refuse_other_channels(out / name, kept[name])

    def opened_fold(name: str) -> BatchSource:
        """Windows of a fold with the channels that it reads, unscaled."""
        fold = within_minutes(index.fold(name), settings.minutes)
        return BatchSource(fold, features, None, device, settings.model.context).only(kept[name])

    first = opened_fold(index.folds[0])
    if info is None:
        info = _describe(settings, opened, index, features, first)
        if weights is not None:  # what does not fit is said before anything is written
            weights.fill(_network(settings, _fold_data(settings, first)), info, first.layouts, settings)
            info["weights"] = weights.described
        if first_process():
            run_folder.write_run(out, info)
    for name in index.folds:
        folder = out / name
        if (folder / "finished.json").is_file():
            continue
        source = first
        if name != index.folds[0]:
            source = opened_fold(name)
        start = None if settings.start_from is None else Start(settings, name)
        source.scalers = source.fit_scalers() if start is None else start.scalers(source.fit_scalers())
        data = _fold_data(settings, source)
        if first_process():
            _write_fold(data, source, folder, kept[name])
        fill = None if start is None else partial(start.fill, info=info)
        if weights is not None:
            fill = partial(weights.fill, info=info, layouts=source.layouts, settings=settings)
            data = replace(data, train=data.train[:0])
        finished = train_fold(
            settings,
            data,
            folder,
            accelerator=accelerator,
            precision=precision,
            progress=progress,
            start=fill,
        )
        if first_process():
            write_json(folder / "finished.json", finished)
    if first_process():
        run_folder.write_run(out, info | {"finished": True})
    return out


def train_fold(
    settings: TrainSettings,
    data: FoldData,
    folder: Path,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    progress: bool = False,
    extra: tuple[L.Callback, ...] = (),
    start: Callable[[nn.Module], None] | None = None,
) -> dict[str, Any]:
    """Train one fold in its folder, from its last checkpoint if there is one.

    Parameters
    ----------
    start
        Gives the fresh network the weights of another run.

    Returns
    -------
    dict
        `epochs` trained, `best_epoch`, `best_valid_loss`, and `stopped` (patience or epochs).
    """
    torch.manual_seed(settings.seed)  # just before the weights are drawn, as published
    model = _network(settings, data)
    if start is not None:
        start(model)
    if settings.train_only == "subject":
        freeze(model)
    if not len(data.train):
        return write_start(model, folder)
    return train_task(
        AlignerTask(model, settings),
        settings,
        data.source,
        (data.train, data.valid),
        folder,
        accelerator=accelerator,
        precision=precision,
        progress=progress,
        extra=extra,
    )


def _fold_data(settings: TrainSettings, source: BatchSource) -> FoldData:
    """Sizes and rows of a fold."""
    index = source.index
    train, valid = trained_rows(index, settings.minutes)
    return FoldData(
        source=source,
        train=train,
        valid=valid,
        layouts=source.layouts,
        n_chans=source.layouts.n_chans,
        n_features=source.dimension,
        n_times=source.n_times,
        sfreq=index.sfreq,
        n_subjects=len(index.subjects),
        sessions=None if settings.model.sessions == "none" else sessions_of(index, settings.model.session_unit),
    )


def _write_fold(data: FoldData, source: BatchSource, folder: Path, channels: dict[str, list[str]] | None) -> None:
    """Write what the fold's evaluation needs."""
    assert source.scalers is not None
    source.scalers.save(folder / "scalers.npz")
    run_folder.write_windows(folder / "windows.csv.gz", source.index.table)
    if channels is not None:
        write_json(folder / CHANNELS, channels)
    layouts = source.layouts
    more = {"valid": layouts.valid.numpy(), "places": layouts.places.numpy()}
    if data.sessions is not None:
        more |= {f"session_{key}": getattr(data.sessions, key).numpy() for key in ("of", "owner", "seen")}
    run_folder.write_layouts(
        folder / "layouts.npz", layouts.positions.numpy(), layouts.placed.numpy(), layouts.names, more
    )


def _network(settings: TrainSettings, data: FoldData) -> nn.Module:
    """The network of a fold, with weights as they are drawn."""
    model = build_model(
        settings.model,
        n_chans=data.n_chans,
        n_outputs=compared_dimensions(settings.speech, data.n_features),
        n_times=data.n_times,
        sfreq=data.sfreq,
        n_subjects=data.n_subjects,
        layouts=data.layouts,
        sessions=data.sessions,
    )
    return with_siglip(with_speech(model, settings.speech, data.n_features), settings.objective)


def _describe(
    settings: TrainSettings, store: Store, index: WindowIndex, features: FeatureStore, source: BatchSource
) -> dict[str, Any]:
    """The content of `run.json` before training."""
    chosen = {name: within_minutes(index.fold(name), settings.minutes) for name in index.folds}
    summaries = {name: fold.summary() for name, fold in chosen.items()}
    for name, summary in summaries.items():
        summary["audit"] |= audit_features(index, features)
        if settings.model.context.on:
            summary["audit"] |= audit_neighbours(chosen[name], find_neighbours(chosen[name], settings.model.context))
    split = dict(summaries[index.folds[0]])
    if len(summaries) > 1:
        # each window is tested once over all folds; the other counts are sums over folds as well
        for what in ("counts", "segments", "blocks"):
            split[what] = {side: sum(s[what][side] for s in summaries.values()) for side in split[what]}
        split["overlap"] = sum(s["overlap"] for s in summaries.values())
        split["per_fold"] = summaries
    data = _fold_data(settings, source)
    sizes = {
        "n_chans": data.n_chans,
        "n_outputs": compared_dimensions(settings.speech, data.n_features),
        "n_times": data.n_times,
        "sfreq": data.sfreq,
        "n_features": data.n_features,
    }
    unit = settings.model.session_unit
    return {
        "schema": run_folder.SCHEMA,
        "name": settings.name,
        "settings": settings.model_dump(mode="json"),
        "store": store.path.resolve().as_posix(),
        "store_sha256s": {r.name: r.sha256_signal for r in index.recordings},
        "features": Path(features.path).as_posix(),
        "sizes": sizes,
        "subjects": index.subjects,
        "recordings": [r.name for r in index.recordings],
        "channel_names": source.layouts.names,
        "channel_choice": described(settings.channels),
        "session_names": [] if data.sessions is None else session_names(source.index, unit),
        "start_from": None if settings.start_from is None else {"run": settings.start_from.as_posix()},
        "split": split,
        "folds": index.folds,
        "n_parameters": count_parameters(_network(settings, data)),
        "versions": run_folder.versions(),
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
        "finished": False,
    }


def _warn_about_batches(settings: TrainSettings, index: WindowIndex) -> None:
    if settings.objective.kind == "mse" or settings.minutes == 0:
        return
    rows = min(len(within_minutes(index.fold(name), settings.minutes).rows("train")) for name in index.folds)
    candidates = min(settings.objective.negatives or settings.training.batch_size, rows)
    if candidates < FEW_CANDIDATES:
        why = f"training.batch_size is {settings.training.batch_size}"
        if settings.objective.negatives is not None:
            why = f"objective.negatives is {settings.objective.negatives}"
        if rows == candidates:
            why = f"there are {rows} training windows"
        warnings.warn(
            f"the contrastive loss sees only {candidates} candidates a step ({why}); below {FEW_CANDIDATES} it is known "
            "to stay near chance: use larger batches, shorter strides or more data",
            stacklevel=3,
        )


def finished_folds(run: Path) -> list[dict[str, Any]]:
    """`finished.json` of every fold that is done, each with its `name`."""
    info = run_folder.read_run(run)
    paths = [(name, run / name / "finished.json") for name in info["folds"]]
    return [{"name": name, **read_json(path)} for name, path in paths if path.is_file()]
