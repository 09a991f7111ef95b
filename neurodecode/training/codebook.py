"""One run of a codebook stage: a store and settings in, a run folder out.

    fit_codebook(load_training("duin_tokenizer"), Path("store"), Path("tokenizer"))
    fit_codebook(load_training("duin_masked", ["start_from=tokenizer"]), Path("store"), Path("masked"))
    fit_codebook(load_training("duin_classify", ["start_from=masked"]), Path("store"), Path("words"))

The folder is that of any run (`run_folder`), with `kind` in run.json (codebook-tokenizer, codebook-masked,
codebook-classifier), `vocabulary.json` in each fold, and, for the classifier, evaluation/test.json. Killed and started
again, a run goes on as if nothing had happened.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurodecode.config import CodebookTrainSettings, TokenizerSettings
from neurodecode.config.labels import LabelSettings
from neurodecode.errors import SettingsError
from neurodecode.files import write_json
from neurodecode.models.build import count_parameters
from neurodecode.segments.labels import LabelIndex, build_labels
from neurodecode.store.store import Store
from neurodecode.training import run_folder
from neurodecode.training.callbacks import MetricsTable
from neurodecode.training.chosen import CHANNELS, chosen_channels, described, refuse_other_channels, resolved
from neurodecode.training.codebook_data import (
    SubjectSource,
    WholeIndex,
    refuse_seen_tests,
    strided,
    unlabelled,
    without_events,
)
from neurodecode.training.codebook_stages import (
    Start,
    build_stage,
    checkpoints,
    seen_samples,
    stage_sizes,
    stage_task,
)
from neurodecode.training.codebook_task import answered_by_constant, logged, refuse_late_table, table_columns
from neurodecode.training.imported import CodebookWeights, refuse_other_weights
from neurodecode.training.levels import accuracy_columns, level_sizes, levels_of_folds, write_levels
from neurodecode.training.start import write_start
from neurodecode.training.trainer import data_device, resolve_accelerator, resolve_precision, train_task


def fit_codebook(
    settings: CodebookTrainSettings,
    store: Path,
    out: Path,
    *,
    resume: bool = True,
    progress: bool = True,
    weights: CodebookWeights | None = None,
) -> Path:
    """Train one stage; a classifier is scored on its test windows, too.

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
        Show a progress bar, if standard error is a terminal.
    weights
        Take these, and train nothing: see `imported.import_weights`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    NeurodecodeError
        If the store or the earlier run do not fit these settings, or `out` holds another run.
    """
    out = Path(out)
    if settings.start_from is not None:  # the same run whatever the working directory is
        settings = settings.model_copy(update={"start_from": settings.start_from.resolve()})
    settings = settings.model_copy(update={"channels": resolved(settings.channels)})
    if settings.levels is not None and settings.levels.table is not None:
        below = settings.levels.model_copy(update={"table": settings.levels.table.resolve()})
        settings = settings.model_copy(update={"levels": below})
    accelerator, precision = resolve_accelerator(settings), resolve_precision(settings)
    opened = Store(store)
    chosen = [r for r in opened.recordings if not settings.subjects or r.subject in settings.subjects]
    info = run_folder.claim(out, settings, {r.name: r.sha256_signal for r in chosen}, resume)
    refuse_other_weights(out, info, weights)
    if info is not None:
        _refuse_other_start(out, info)
        scored = settings.task != "classify" or (out / "evaluation" / "test.json").is_file()
        if info["finished"] and scored:
            return out
    index = _index(settings, opened)
    if weights is not None:
        weights.refuse_folds(index.folds, f"labels.split.rule {settings.labels.split.rule}", "run or paper")
    if settings.start_from is not None:
        _check_all_folds(settings, index, settings.start_from)
    for name in index.folds:
        if weights is None:
            _check_start(settings, _fold(settings, index, name))
    kept: dict[str, dict[str, list[str]] | None] = dict.fromkeys(index.folds)
    if settings.channels is not None:  # all folds are asked before the first is trained
        kept = {name: chosen_channels(settings.channels, _fold(settings, index, name)) for name in index.folds}
    levels = levels_of_folds(settings, index, out)
    device = data_device(settings, accelerator, index)
    for name in index.folds:
        folder = out / name
        if info is not None and (folder / "finished.json").is_file():
            continue
        fold = _fold(settings, index, name)
        source = fold.source(fit=True, device=str(device))
        data = SubjectSource(source, kept[name])
        refuse_other_channels(folder, dict(zip(fold.subjects, data.channels)))
        start = None if settings.start_from is None else Start(settings.start_from, fold, data)
        torch.manual_seed(settings.seed)  # just before the weights are drawn
        model = build_stage(settings, stage_sizes(settings, fold, data, start) | level_sizes(settings, levels[name]))
        if weights is not None:  # what does not fit is said before anything is written
            weights.fill_stage(model, fold.subjects)
        if info is None:
            info = _describe(settings, opened, index, data, model, start)
            if weights is not None:
                info["weights"] = weights.described
            run_folder.write_run(out, info)
        assert source.scalers is not None
        source.scalers.save(folder / "scalers.npz")
        run_folder.write_windows(folder / "windows.csv.gz", fold.table)
        write_json(folder / "vocabulary.json", fold.vocabulary)
        write_json(folder / CHANNELS, dict(zip(fold.subjects, data.channels)))
        write_levels(folder, levels[name])
        if weights is not None:
            write_json(folder / "finished.json", write_start(model, folder))
            continue
        task = stage_task(settings, model, data, start, levels[name])
        names = (*logged(settings), *table_columns(settings, fold.subjects), *accuracy_columns(levels[name]))
        columns = ("epoch", "step", "train_loss", "valid_loss", *names, "learning_rate", "seconds")
        table = MetricsTable(folder / "metrics.csv", columns, "labels.scaling.clamp")
        rows = (fold.rows("train"), fold.rows("valid"))
        finished = train_task(
            task,
            settings,
            data,
            rows,
            folder,
            accelerator=accelerator,
            precision=precision,
            progress=progress,
            table=table,
        )
        last = {name: table.rows[-1][name] for name in names if name in table.rows[-1]}
        _warn_about_usage(settings, folder, last)
        _warn_about_nothing(folder, min(table.rows, key=lambda row: row["valid_loss"]))
        write_json(folder / "finished.json", finished | last)
    assert info is not None
    if settings.task == "classify":
        from neurodecode.training.classification import score

        score(out, opened, index, device)
    run_folder.write_run(out, info | {"finished": True})
    return out


def label_settings(settings: CodebookTrainSettings) -> LabelSettings:
    """Windows and sides of a run; the first two stages do not read labels, so a label unknown to training is no fault."""
    if settings.task == "classify":
        return settings.labels
    return settings.labels.model_copy(update={"unknown": "wrong", "vocabulary": ()})


def _index(settings: CodebookTrainSettings, store: Store) -> LabelIndex:
    """All windows of a run; those of a cohort without events stand at regular times."""
    labels = label_settings(settings)
    if labels.split.rule == "subjects":
        raise SettingsError(
            "labels.split.rule: subjects holds out whole people, but each has a read-in of their own here, which would be "
            "untrained in the test; use run, leave-one-run-out or paper"
        )
    if settings.task == "classify" or not without_events(store, labels, settings.subjects):
        return build_labels(store, labels, settings.subjects)
    if settings.stride is None:
        raise SettingsError(
            f"{store.path}: no recording has an event of kind {labels.event}, around which windows would stand; set "
            "stride=4 to pretrain on windows every 4 s of whole recordings"
        )
    return unlabelled(store, labels, settings.stride, settings.subjects)


def _refuse_other_start(out: Path, info: dict[str, Any]) -> None:
    """Stop if the run that this one began with was trained anew: its figures would belong to another encoder."""
    start = info["start_from"]
    if start is None or "checkpoints" not in start or not (Path(start["run"]) / "run.json").is_file():
        return
    if checkpoints(Path(start["run"]), list(start["checkpoints"])) != start["checkpoints"]:
        raise SettingsError(
            f"{out}: began with {start['run']}, which has been trained anew since; give another --out, or delete {out}"
        )


def _check_all_folds(settings: CodebookTrainSettings, index: LabelIndex, start: Path) -> None:
    """Ask before the first fold is trained whether the earlier run saw what any fold tests."""
    info = run_folder.read_run(start)
    for name in index.folds if len(index.folds) > 1 else ():
        theirs = name if name in info["folds"] else info["folds"][0]
        if (start / theirs / "finished.json").is_file() and (name in info["folds"] or len(info["folds"]) == 1):
            refuse_seen_tests(_fold(settings, index, name), start, theirs, info)


def what_next(settings: CodebookTrainSettings, run: Path) -> str:
    """The command that follows a stage."""
    if settings.task == "classify":
        return f"neurodecode evaluate {run}"
    stage = "duin_masked" if settings.task == "tokenizer" else "duin_classify"
    return f"neurodecode train {stage} --set start_from={run} --store STORE --out RUN"


def _fold(settings: CodebookTrainSettings, index: LabelIndex, name: str) -> LabelIndex:
    """Windows of a fold."""
    fold = index.fold(name)
    return fold if settings.stride is None or isinstance(index, WholeIndex) else strided(fold, settings.stride)


def _check_start(settings: CodebookTrainSettings, index: LabelIndex) -> None:
    """Ask `refuse_late_table` of the table that a tokenizer learns."""
    if isinstance(settings.model, TokenizerSettings):
        each = seen_samples(settings, index) // settings.model.encoder.patch
        refuse_late_table(settings.model.quantizer, settings.training, len(index.rows("train")), each)


def _warn_about_usage(settings: CodebookTrainSettings, folder: Path, last: dict[str, float]) -> None:
    if settings.task == "tokenizer" and last.get("usage", 1.0) < settings.least_usage:
        warnings.warn(
            f"{folder}: only {last['usage']:.1%} of the codes are in use (least_usage is {settings.least_usage:.0%}, "
            f"perplexity {last['perplexity']:.1f}): the table has collapsed, and a masked stage that learns from it may be "
            "worse than none; use fewer codes or more data",
            stacklevel=3,
        )
    for name, value in last.items():
        if name.startswith("usage_") and value < settings.least_usage:
            warnings.warn(
                f"{folder}: only {value:.1%} of the codes of table {name.removeprefix('usage_')} are in use (least_usage is "
                f"{settings.least_usage:.0%}); use fewer codes there, or more data",
                stacklevel=3,
            )


def _warn_about_nothing(folder: Path, row: dict[str, float]) -> None:
    """Tell if a constant answer was as good in the epoch that is kept: what starts from such a stage may end below scratch."""
    said = {
        "reconstruction": "the reconstruction (error {:.3f}) is no better than a constant ({:.3f})",
        "patches": "the prediction of hidden patches (error {:.3f}) is no better than a constant ({:.3f})",
        "codes": "hidden codes are named no better than by their most frequent one ({:.3f}, {:.3f})",
        "embeddings": "hidden embeddings are predicted no better than by their mean ({:.3f}, {:.3f})",
    }
    for what, figures in answered_by_constant(row).items():
        warnings.warn(
            f"{folder}: {said[what].format(*figures)}, so this stage has learnt nothing, and what starts from it may be worse "
            "than from scratch; train longer, on fewer channels, or let the tokenizer's table start later "
            "(model.quantizer.start_after)",
            stacklevel=3,
        )
        return  # one reason is enough


def _describe(
    settings: CodebookTrainSettings,
    store: Store,
    index: LabelIndex,
    data: SubjectSource,
    model: nn.Module,
    start: Start | None,
) -> dict[str, Any]:
    """The content of `run.json` before training."""
    summaries = {name: _fold(settings, index, name).summary() for name in index.folds}
    split = dict(summaries[index.folds[0]])
    if len(summaries) > 1:
        split["counts"] = {side: sum(s["counts"][side] for s in summaries.values()) for side in split["counts"]}
        split["per_fold"] = summaries
    sizes = stage_sizes(settings, _fold(settings, index, index.folds[0]), data, start)
    del sizes["n_outputs"]  # each fold's own: vocabulary.json
    return {
        "schema": run_folder.SCHEMA,
        "kind": settings.model.kind,
        "name": settings.name,
        "settings": settings.model_dump(mode="json"),
        "store": store.path.resolve().as_posix(),
        "store_sha256s": {r.name: r.sha256_signal for r in index.recordings},
        "simulated": any(r.simulated for r in index.recordings),
        "start_from": None
        if start is None
        else {
            "run": start.run.as_posix(),
            "task": start.settings.task,
            "checkpoints": checkpoints(start.run, start.info["folds"]),
        },
        "sizes": sizes,
        "subjects": index.subjects,
        "recordings": [r.name for r in index.recordings],
        "channel_names": dict(zip(index.subjects, data.channels)),
        "channel_choice": described(settings.channels),
        "split": split,
        "folds": index.folds,
        "n_parameters": count_parameters(model),
        "versions": run_folder.versions(),
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
        "finished": False,
    }
