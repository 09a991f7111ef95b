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

from neurodecode.config import (
    ClassifierSettings,
    CodebookTrainSettings,
    MaskedEncoderSettings,
    TokenizerSettings,
    validate,
)
from neurodecode.config.labels import LabelSettings
from neurodecode.errors import SettingsError
from neurodecode.files import read_json, sha256_of_file, write_json
from neurodecode.models.build import count_parameters
from neurodecode.models.codebook.build import build_classifier, build_masked_encoder, build_quantizer, build_tokenizer
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.labels import LabelFeatures, LabelIndex, build_labels
from neurodecode.segments.scaling import Scalers
from neurodecode.store.store import Store
from neurodecode.training import run_folder
from neurodecode.training.callbacks import MetricsTable
from neurodecode.training.chosen import chosen_channels, described
from neurodecode.training.codebook_data import (
    SubjectSource,
    WholeIndex,
    refuse_seen_tests,
    strided,
    unlabelled,
    without_events,
)
from neurodecode.training.codebook_task import LOGGED, ClassifyTask, MaskedTask, StageTask, TokenizerTask
from neurodecode.training.fit import data_device, resolve_accelerator, resolve_precision, train_task

CHANNELS = "channels.json"  # of a fold: subject -> names
Stage = CodebookTokenizer | MaskedEncoder | CodebookClassifier


def fit_codebook(
    settings: CodebookTrainSettings, store: Path, out: Path, *, resume: bool = True, progress: bool = True
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
    if settings.channels is not None and settings.channels.file is not None:
        choice = settings.channels.model_copy(update={"file": settings.channels.file.resolve()})
        settings = settings.model_copy(update={"channels": choice})
    accelerator, precision = resolve_accelerator(settings), resolve_precision(settings)
    opened = Store(store)
    chosen = [r for r in opened.recordings if not settings.subjects or r.subject in settings.subjects]
    info = run_folder.claim(out, settings, {r.name: r.sha256_signal for r in chosen}, resume)
    if info is not None:
        _refuse_other_start(out, info)
        scored = settings.task != "classify" or (out / "evaluation" / "test.json").is_file()
        if info["finished"] and scored:
            return out
    index = _index(settings, opened)
    if settings.start_from is not None:
        _check_all_folds(settings, index, settings.start_from)
    kept: dict[str, dict[str, list[str]] | None] = dict.fromkeys(index.folds)
    if settings.channels is not None:  # all folds are asked before the first is trained
        kept = {name: chosen_channels(settings.channels, _fold(settings, index, name)) for name in index.folds}
    device = data_device(settings, accelerator, index)
    for name in index.folds:
        folder = out / name
        if info is not None and (folder / "finished.json").is_file():
            continue
        fold = _fold(settings, index, name)
        source = fold.source(fit=True, device=str(device))
        data = SubjectSource(source, kept[name])
        _refuse_other_channels(folder, dict(zip(fold.subjects, data.channels)))
        start = None if settings.start_from is None else Start(settings.start_from, fold, data)
        torch.manual_seed(settings.seed)  # just before the weights are drawn
        model = build_stage(settings, _sizes(settings, fold, data, start))
        if info is None:
            info = _describe(settings, opened, index, data, model, start)
            run_folder.write_run(out, info)
        assert source.scalers is not None
        source.scalers.save(folder / "scalers.npz")
        run_folder.write_windows(folder / "windows.csv.gz", fold.table)
        write_json(folder / "vocabulary.json", fold.vocabulary)
        write_json(folder / CHANNELS, dict(zip(fold.subjects, data.channels)))
        task = _task(settings, model, data, start)
        _check_start(settings, fold)
        columns = ("epoch", "step", "train_loss", "valid_loss", *LOGGED[settings.task], "learning_rate", "seconds")
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
        last = {name: table.rows[-1][name] for name in LOGGED[settings.task] if name in table.rows[-1]}
        _warn_about_usage(settings, folder, last)
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


def checkpoints(run: Path, folds: list[str]) -> dict[str, str]:
    """SHA-256 of the best checkpoint of each fold: which training a stage began with."""
    paths = {name: run / name / "best.ckpt" for name in folds}
    return {name: sha256_of_file(path) for name, path in paths.items() if path.is_file()}


def _refuse_other_start(out: Path, info: dict[str, Any]) -> None:
    """Stop if the run that this one began with was trained anew: its figures would belong to another encoder."""
    start = info["start_from"]
    if start is None or "checkpoints" not in start or not (Path(start["run"]) / "run.json").is_file():
        return
    if checkpoints(Path(start["run"]), list(start["checkpoints"])) != start["checkpoints"]:
        raise SettingsError(
            f"{out}: began with {start['run']}, which has been trained anew since; give another --out, or delete {out}"
        )


def _refuse_other_channels(folder: Path, channels: dict[str, list[str]]) -> None:
    """Stop if a fold that is under way read other channels: the file that chose them was ranked anew since."""
    path = folder / CHANNELS
    if path.is_file() and read_json(path) != channels:
        raise SettingsError(
            f"{folder}: began with other channels than channels.file chooses now; give another --out, or delete it"
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


class Start:
    """The earlier run that a stage begins with, and whose subjects are which.

    Parameters
    ----------
    run
        Folder of a finished tokenizer or masked run.
    index
        The fold that is about to be trained.
    data
        Its channels.

    Attributes
    ----------
    model
        In evaluation mode, on the CPU.
    places
        For each of our subjects, which of the earlier run's it is; None for one that it did not have.

    Raises
    ------
    SettingsError
        If there is no such run, fold, or channel.
    LeakageError
        If it saw test windows of this fold.
    """

    def __init__(self, run: Path, index: LabelIndex, data: SubjectSource) -> None:
        self.run = run
        self.info = run_folder.read_run(run)
        folds = self.info["folds"]
        name = index.fold_name if index.fold_name in folds else folds[0]
        if name != index.fold_name and len(folds) > 1:
            raise SettingsError(f"start_from: {run} has no {index.fold_name}; there are {', '.join(folds)}")
        self.fold = name
        self.model, self.settings = load_stage(run, name)
        if float(self.info["sizes"]["sfreq"]) != index.sfreq:
            raise SettingsError(
                f"start_from: {run} was trained at {self.info['sizes']['sfreq']:g} Hz, the store has {index.sfreq:g} Hz"
            )
        refuse_seen_tests(index, run, name, self.info)
        known = channels_of(run, name, self.info)
        self.places: list[int | None] = []
        for subject, names in zip(index.subjects, data.channels):
            if subject in known and known[subject] != names:
                odd = sorted(set(known[subject]) ^ set(names))
                raise SettingsError(
                    f"start_from: subject {subject} has {len(names)} channels here and {len(known[subject])} in {run} "
                    f"(they differ in {', '.join(odd[:3]) or 'order'}); use the same store"
                )
            self.places.append(self.info["subjects"].index(subject) if subject in known else None)


def build_stage(settings: CodebookTrainSettings, sizes: dict[str, Any]) -> Stage:
    """The untrained network of a stage; `sizes` as in run.json, with `n_outputs` for the classifier."""
    model, n_chans = settings.model, sizes["n_chans"]
    if isinstance(model, TokenizerSettings):
        return build_tokenizer(model, n_chans=n_chans)
    if isinstance(model, MaskedEncoderSettings):
        quantizer = build_quantizer(validate(TokenizerSettings, sizes["tokenizer"], "run.json").quantizer)
        return build_masked_encoder(model, n_chans=n_chans, quantizer=quantizer)
    return build_classifier(
        model, n_chans=n_chans, n_outputs=sizes["n_outputs"], n_times=sizes["n_times"], sfreq=sizes["sfreq"]
    )


def load_stage(
    run: Path, fold: str = "fold-0", device: torch.device | str = "cpu"
) -> tuple[Stage, CodebookTrainSettings]:
    """The best network of a fold of a codebook run, in evaluation mode, and its settings.

    Raises
    ------
    SettingsError
        If it is not such a run, or the fold is not finished.
    """
    run = Path(run)
    info = run_folder.read_run(run)
    if "task" not in info["settings"]:
        raise SettingsError(f"{run}: a run of the aligner, not of a codebook stage")
    if fold not in info["folds"]:
        raise SettingsError(f"{run}: there is no {fold}; there are {', '.join(info['folds'])}")
    if not (run / fold / "best.ckpt").is_file() or not (run / fold / "finished.json").is_file():
        raise SettingsError(f"{run / fold}: training did not finish; run the same neurodecode train command again")
    return _load(run, fold, info, device)


def _load(
    run: Path, fold: str, info: dict[str, Any], device: torch.device | str
) -> tuple[Stage, CodebookTrainSettings]:
    settings = validate(CodebookTrainSettings, info["settings"], str(run / "run.json"))
    vocabulary = read_json(run / fold / "vocabulary.json")
    counts = [len(names) for names in channels_of(run, fold, info).values()]
    model = build_stage(settings, info["sizes"] | {"n_outputs": len(vocabulary), "n_chans": counts})
    state = torch.load(run / fold / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    return model.eval().to(device), settings


def load_windows(run: Path, fold: str, index: LabelIndex, device: torch.device | str = "cpu") -> SubjectSource:
    """Batches of a fold, scaled as in training."""
    features: Any = LabelFeatures()
    source = BatchSource(index.fold(fold), features, Scalers.load(run / fold / "scalers.npz"), device)
    return SubjectSource(source, channels_of(run, fold, run_folder.read_run(run)))


def channels_of(run: Path, fold: str, info: dict[str, Any]) -> dict[str, list[str]]:
    """Subject -> channels that a fold was trained on; folds may have chosen different ones."""
    path = run / fold / CHANNELS
    return read_json(path) if path.is_file() else info["channel_names"]  # runs of earlier versions took all


def _fold(settings: CodebookTrainSettings, index: LabelIndex, name: str) -> LabelIndex:
    """Windows of a fold."""
    fold = index.fold(name)
    return fold if settings.stride is None or isinstance(index, WholeIndex) else strided(fold, settings.stride)


def _sizes(
    settings: CodebookTrainSettings, index: LabelIndex, data: SubjectSource, start: Start | None
) -> dict[str, Any]:
    """What a network needs to know of its data, checked."""
    n_times, patch = index.n_times - index.shift, settings.model.encoder.patch
    if n_times % patch:
        raise SettingsError(
            f"labels.window: {n_times} samples at {index.sfreq:g} Hz are no multiple of model.encoder.patch, {patch}; "
            "change tmin, tmax or patch"
        )
    sizes: dict[str, Any] = {
        "n_chans": data.counts,
        "n_times": n_times,
        "sfreq": index.sfreq,
        "n_outputs": len(index.vocabulary),
    }
    if start is None:
        return sizes
    if settings.task == "masked":
        if not isinstance(start.settings.model, TokenizerSettings):
            raise SettingsError(f"start_from: {start.run} is a {start.settings.task} run; masked needs a tokenizer's")
        if start.settings.model.encoder.patch != patch:
            raise SettingsError(
                f"model.encoder.patch: {patch} samples, the tokenizer has {start.settings.model.encoder.patch}; set it so"
            )
        missing = [name for name, place in zip(index.subjects, start.places) if place is None]
        if missing:
            raise SettingsError(f"start_from: {start.run} has no subject {', '.join(missing)}; name others in subjects")
        return sizes | {"tokenizer": start.settings.model.model_dump(mode="json")}
    if start.settings.task == "classify":
        raise SettingsError(f"start_from: {start.run} is a classify run; give a masked or a tokenizer run")
    ours, theirs = settings.model.encoder.model_dump(), start.settings.model.encoder.model_dump()
    for key, value in ours.items():
        if "dropout" not in key and theirs[key] != value:
            raise SettingsError(
                f"model.encoder.{key}: {value}, but the run that start_from names has {theirs[key]}; set it so"
            )
    if isinstance(settings.model, ClassifierSettings) and settings.model.quantizer is not None:
        if not isinstance(start.settings.model, TokenizerSettings):
            raise SettingsError(f"model.quantizer: keeping it needs a tokenizer run, {start.run} is a masked one")
        if settings.model.quantizer != start.settings.model.quantizer:
            raise SettingsError(
                "model.quantizer: differs from that of the tokenizer run; copy its settings or set null"
            )
    return sizes


def _task(settings: CodebookTrainSettings, model: Stage, data: SubjectSource, start: Start | None) -> StageTask:
    n_subjects = len(data.channels)
    if isinstance(model, CodebookTokenizer):
        return TokenizerTask(model, settings, n_subjects)
    if isinstance(model, MaskedEncoder):
        assert start is not None
        assert isinstance(start.model, CodebookTokenizer)
        alone = len(start.info["subjects"]) == 1
        places = None if alone else torch.tensor([place for place in start.places if place is not None])
        return MaskedTask(model, settings, n_subjects, start.model, places)
    if start is not None:
        assert isinstance(start.model, CodebookTokenizer | MaskedEncoder)
        model.start_from(start.model, start.places)
    return ClassifyTask(model, settings, n_subjects, round(settings.shift * data.source.index.sfreq))


def _check_start(settings: CodebookTrainSettings, index: LabelIndex) -> None:
    """Refuse a table that would not get its first tokens within one epoch: codes before that mean nothing."""
    model, training = settings.model, settings.training
    if not isinstance(model, TokenizerSettings) or model.quantizer.kind == "finite-scalar":
        return
    quantizer = model.quantizer
    wanted = 4 * quantizer.codes if quantizer.start_tokens is None else quantizer.start_tokens
    windows = len(index.rows("train"))
    steps = min(max(1, windows // training.batch_size), training.steps_per_epoch or windows)
    tokens = min(windows, steps * training.batch_size) * (index.n_times // model.encoder.patch)
    if tokens < wanted:
        raise SettingsError(
            f"model.quantizer.start_tokens: k-means waits for {wanted} tokens, an epoch has {tokens}; lower codes and "
            "start_tokens, or train on more windows"
        )


def _warn_about_usage(settings: CodebookTrainSettings, folder: Path, last: dict[str, float]) -> None:
    if settings.task == "tokenizer" and last.get("usage", 1.0) < settings.least_usage:
        warnings.warn(
            f"{folder}: only {last['usage']:.1%} of the codes are in use (least_usage is {settings.least_usage:.0%}, "
            f"perplexity {last['perplexity']:.1f}): the table has collapsed, and a masked stage that learns from it may be "
            "worse than none; use fewer codes or more data",
            stacklevel=3,
        )


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
    sizes = _sizes(settings, _fold(settings, index, index.folds[0]), data, start)
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
