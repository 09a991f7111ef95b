"""The networks of codebook runs: built from settings, begun with an earlier run, read back from a run folder.

    model, settings = load_stage(Path("tokenizer"))
    start = Start(Path("tokenizer"), index, data)      # what a masked or classify run begins with
    task = stage_task(settings, model, data, start)    # what Lightning trains

No run is trained here; `training/codebook.py` does that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from neurodecode.config import (
    ClassifierSettings,
    CodebookTrainSettings,
    MaskedEncoderSettings,
    TokenizerSettings,
    validate,
)
from neurodecode.errors import SettingsError
from neurodecode.files import read_json, sha256_of_file
from neurodecode.models.codebook.build import build_classifier, build_masked_encoder, build_quantizer, build_tokenizer
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.classifier_levels import LevelClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.label_levels import FoldLevels
from neurodecode.segments.labels import LabelFeatures, LabelIndex
from neurodecode.segments.scaling import Scalers
from neurodecode.training import run_folder
from neurodecode.training.chosen import CHANNELS
from neurodecode.training.codebook_data import SubjectSource, refuse_seen_tests
from neurodecode.training.codebook_masked import MaskedTask
from neurodecode.training.codebook_task import ClassifyTask, StageTask, TokenizerTask
from neurodecode.training.levels import LevelsTask, level_sizes, read_levels

Stage = CodebookTokenizer | MaskedEncoder | CodebookClassifier


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
        quantizer = None
        if model.target != "patches":
            table = validate(TokenizerSettings, sizes["tokenizer"], "run.json").quantizer
            quantizer = build_quantizer(table, sizes.get("tokenizer_subjects", 1))
        return build_masked_encoder(model, n_chans=n_chans, quantizer=quantizer)
    return build_classifier(
        model,
        n_chans=n_chans,
        n_outputs=sizes["n_outputs"],
        n_times=sizes["n_times"],
        sfreq=sizes["sfreq"],
        levels=sizes.get("levels", ()),
        composition=sizes.get("composition"),
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
    sizes = info["sizes"] | {"n_outputs": len(vocabulary), "n_chans": counts}
    model = build_stage(settings, sizes | level_sizes(settings, read_levels(run / fold)))
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


def seen_samples(settings: CodebookTrainSettings, index: LabelIndex) -> int:
    """Samples that a network sees of a window."""
    if settings.crop is None:
        return index.n_times - index.shift
    return round(settings.crop * index.sfreq)


def stage_sizes(
    settings: CodebookTrainSettings, index: LabelIndex, data: SubjectSource, start: Start | None
) -> dict[str, Any]:
    """What a network needs to know of its data, checked."""
    n_times, patch = seen_samples(settings, index), settings.model.encoder.patch
    if n_times % patch or not n_times:
        what, change = ("crop", "crop") if settings.crop else ("labels.window", "tmin, tmax")
        raise SettingsError(
            f"{what}: {n_times} samples at {index.sfreq:g} Hz are no multiple of model.encoder.patch, {patch}; "
            f"change {change} or patch"
        )
    sizes: dict[str, Any] = {
        "n_chans": data.counts,
        "n_times": n_times,
        "sfreq": index.sfreq,
        "n_outputs": len(index.vocabulary),
    }
    if settings.crop:
        sizes["n_window"] = index.n_times  # of which a part is seen at a time
    if start is None:
        return sizes
    if isinstance(settings.model, MaskedEncoderSettings):
        if not isinstance(start.settings.model, TokenizerSettings):
            raise SettingsError(f"start_from: {start.run} is a {start.settings.task} run; masked needs a tokenizer's")
        if start.settings.model.encoder.patch != patch:
            raise SettingsError(
                f"model.encoder.patch: {patch} samples, the tokenizer has {start.settings.model.encoder.patch}; set it so"
            )
        if start.settings.model.quantizer.kind == "finite-scalar" and settings.model.target == "embeddings":
            raise SettingsError(
                "model.target: points of a finite-scalar grid differ in length, which a cosine does not see; use codes"
            )
        missing = [name for name, place in zip(index.subjects, start.places) if place is None]
        if missing:
            raise SettingsError(f"start_from: {start.run} has no subject {', '.join(missing)}; name others in subjects")
        theirs = {"tokenizer_subjects": len(start.info["subjects"])}
        return sizes | {"tokenizer": start.settings.model.model_dump(mode="json")} | theirs
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
        kept, theirs = settings.model.quantizer.model_dump(), start.settings.model.quantizer.model_dump()
        for key, value in kept.items():
            if theirs[key] != value:
                raise SettingsError(
                    f"model.quantizer.{key}: {value}, but the tokenizer that start_from names has {theirs[key]}; set it so"
                )
    return sizes


def stage_task(
    settings: CodebookTrainSettings,
    model: Stage,
    data: SubjectSource,
    start: Start | None,
    levels: FoldLevels | None = None,
) -> StageTask:
    n_subjects, index = len(data.channels), data.source.index
    crop = 0 if settings.crop is None else round(settings.crop * index.sfreq)
    if isinstance(model, CodebookTokenizer):
        return TokenizerTask(model, settings, n_subjects, crop, index.subjects)
    if isinstance(model, MaskedEncoder):
        if start is None:  # patches
            return MaskedTask(model, settings, n_subjects, None, None, crop)
        assert isinstance(start.model, CodebookTokenizer)
        alone = len(start.info["subjects"]) == 1
        places = None if alone else torch.tensor([place for place in start.places if place is not None])
        return MaskedTask(model, settings, n_subjects, start.model, places, crop)
    if start is not None:
        assert isinstance(start.model, CodebookTokenizer | MaskedEncoder)
        model.start_from(start.model, start.places)
    furthest = round(settings.shift * index.sfreq)
    if levels is not None and isinstance(model, LevelClassifier):
        return LevelsTask(model, settings, n_subjects, furthest, levels)
    return ClassifyTask(model, settings, n_subjects, furthest)


def checkpoints(run: Path, folds: list[str]) -> dict[str, str]:
    """SHA-256 of the best checkpoint of each fold: which training a stage began with."""
    paths = {name: run / name / "best.ckpt" for name in folds}
    return {name: sha256_of_file(path) for name, path in paths.items() if path.is_file()}
