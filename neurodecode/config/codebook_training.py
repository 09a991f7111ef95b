"""Settings of the three training stages of the codebook-guided masked encoder: tokenizer, masked, classify.

A YAML file of configs/training that has the key `task` is one of these; any other trains the aligner.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings, apply_overrides, read_yaml, validate, with_base
from neurodecode.config.channels import ChannelChoice
from neurodecode.config.codebook import (
    ClassifierSettings,
    MaskedEncoderSettings,
    MaskedObjectiveSettings,
    TokenizerObjectiveSettings,
    TokenizerSettings,
)
from neurodecode.config.labels import LabelSettings
from neurodecode.config.levels import LevelSettings
from neurodecode.config.training import TrainingSettings, TrainSettings
from neurodecode.resources import find_yaml

NETWORKS = {"tokenizer": "codebook-tokenizer", "masked": "codebook-masked", "classify": "codebook-classifier"}
CodebookModel = Annotated[TokenizerSettings | MaskedEncoderSettings | ClassifierSettings, Field(discriminator="kind")]


class CodebookTrainingSettings(TrainingSettings):
    """How a stage is minimised: AdamW, a warm-up by epochs, then a half cosine by epochs."""

    epochs: PositiveInt = 400
    batch_size: PositiveInt = 64
    """Windows a step (paper: 64 for the first two stages, 32 for the classifier)."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """At most so many updates an epoch; none sees every training window once."""
    learning_rate: PositiveFloat = 3e-4
    """Largest, at the end of the warm-up."""
    weight_decay: float = Field(0.05, ge=0)
    """Decoupled; of matrices only: biases, norms and the hidden token are left alone."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """After the warm-up; cosine: down to final_rate in the last epoch."""
    patience: PositiveInt = 400
    """Epochs without a lower validation loss (published: no early stop)."""
    warmup: int = Field(40, ge=0)
    """Epochs in which the rate grows to learning_rate."""
    final_rate: float = Field(5e-5, ge=0)
    """Rate of the last epoch."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of AdamW: paper; the released code has 0.9 and 0.999."""

    @model_validator(mode="after")
    def _possible(self) -> CodebookTrainingSettings:
        if self.control != "none":
            raise ValueError(f"control is {self.control}: the codebook stages have none, set it to none")
        if self.devices != 1:
            raise ValueError(f"devices is {self.devices}: the codebook stages train on 1")
        if self.final_rate > self.learning_rate:
            raise ValueError(f"final_rate ({self.final_rate}) must not exceed learning_rate ({self.learning_rate})")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: each must lie in [0, 1)")
        return self


class CodebookTrainSettings(Settings):
    """One run of one stage."""

    task: Literal["tokenizer", "masked", "classify"]
    """tokenizer: signal to codes and back; masked: codes of hidden tokens; classify: labels of windows."""
    name: str = "codebook"
    """Shown in tables."""
    model: CodebookModel
    """The network of the task; its `kind` may be left out."""
    objective: TokenizerObjectiveSettings = TokenizerObjectiveSettings()
    """tokenizer only."""
    masked_objective: MaskedObjectiveSettings = MaskedObjectiveSettings()
    """masked only."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """classify only: share of the target spread over all classes (published: none)."""
    shift: float = Field(0.0, ge=0)
    """classify only: each training window is moved by a random time up to this either way, s, and filled up with zeros
    (published: 0.3)."""
    start_from: Path | None = None
    """Folder of an earlier run: masked needs a tokenizer's, but for patches; classify takes a masked or tokenizer run, or
    none."""
    labels: LabelSettings = LabelSettings()
    """Windows and their split. The first two stages read no label (vocabulary and unknown do not matter to them), but keep
    to the sides: test windows are never seen."""
    levels: LevelSettings | None = None
    """classify only: labels below the word, each with a head of its own; none: words alone."""
    stride: PositiveFloat | None = None
    """tokenizer and masked only: windows start every so many seconds of each whole recording, which then stands on its
    run's side, or trains where no event tells (published: 4 s); none: windows stand around the events."""
    crop: PositiveFloat | None = None
    """tokenizer and masked only: of each training window a stretch of so many seconds is seen, whose start is drawn anew each
    epoch; in validation it is the middle (published: 4 s of windows of 8 s, with stride 4); none: whole windows."""
    least_usage: float = Field(0.2, ge=0, le=1)
    """tokenizer: below this share of codes hit in an epoch a warning is given (a poor table is worse than none)."""
    subjects: tuple[str, ...] = ()
    """Only these subjects; empty takes all."""
    channels: ChannelChoice | None = None
    """Only these channels of each subject; none takes all."""
    training: CodebookTrainingSettings = CodebookTrainingSettings()
    seed: int = Field(42, ge=0)
    """Seed of weights, order, masks and dropout (published: 42, 0, 1, 2, 3, 4)."""

    @model_validator(mode="before")
    @classmethod
    def _network_of_the_task(cls, values: Any) -> Any:
        """Fill in the network's kind."""
        if not isinstance(values, dict) or values.get("task") not in NETWORKS:
            return values
        task, model = values["task"], values.get("model", {})
        if not isinstance(model, dict):
            return values
        if model.get("kind", NETWORKS[task]) != NETWORKS[task]:  # before the keys of another network are refused
            raise ValueError(f"task {task} trains {NETWORKS[task]}, not model.kind {model['kind']}")
        return values | {"model": {"kind": NETWORKS[task]} | model}

    @model_validator(mode="after")
    def _consistent(self) -> CodebookTrainSettings:
        if self.model.kind != NETWORKS[self.task]:
            raise ValueError(f"task {self.task} trains {NETWORKS[self.task]}, not model.kind {self.model.kind}")
        if self.task == "tokenizer" and self.start_from is not None:
            raise ValueError(f"task tokenizer starts from nothing, not from {self.start_from}: leave start_from out")
        if isinstance(self.model, MaskedEncoderSettings):
            self._targets(self.model.target)
        if self.shift and self.task != "classify":
            raise ValueError(f"shift is {self.shift}: only task classify moves its windows, set it to 0")
        if self.shift >= self.labels.window.tmax - self.labels.window.tmin:
            raise ValueError(f"shift is {self.shift} s: it must be shorter than labels.window")
        if self.task == "classify" and self.start_from is None and getattr(self.model, "quantizer", None) is not None:
            raise ValueError(
                "model.quantizer: the classifier keeps a tokenizer's table as it is, and without start_from there is none: "
                "name a tokenizer run, or set it to null"
            )
        if self.levels is not None and self.task != "classify":
            raise ValueError("levels belong to task classify: set levels to null")
        if self.levels is not None and isinstance(self.model, ClassifierSettings) and self.model.output != "logits":
            raise ValueError(f"model.output is {self.model.output}: levels need logits")
        if self.crop is not None:
            self._crop(self.crop)
        if self.stride is not None and self.task == "classify":
            raise ValueError(
                f"stride is {self.stride}: windows that are classified stand around events, set it to null"
            )
        if self.stride is not None and self.labels.split.rule == "paper":
            raise ValueError("stride needs whole runs on one side: set labels.split.rule to run or leave-one-run-out")
        if self.labels.window.shift:
            raise ValueError(
                f"labels.window.shift is {self.labels.window.shift}: no sound is aligned here, set it to 0"
            )
        return self

    def _crop(self, crop: float) -> None:
        """A part of a window is not all of it, and a classifier reads tokens by their place."""
        length = self.labels.window.tmax - self.labels.window.tmin
        if self.task == "classify":
            raise ValueError(f"crop is {crop}: only the first two stages see parts of windows, set it to null")
        if crop > length + 1e-9:
            raise ValueError(
                f"crop is {crop:g} s, longer than labels.window, {length:g} s: lower crop or widen the window"
            )

    def _targets(self, target: str) -> None:
        """What the masked stage needs for what it predicts."""
        if target == "patches" and self.start_from is not None:
            raise ValueError(f"model.target patches needs no tokenizer: set start_from to null, not {self.start_from}")
        if target != "patches" and self.start_from is None:
            raise ValueError("task masked needs start_from, the folder of a tokenizer run")
        if target != "codes" and self.masked_objective.label_smoothing:
            raise ValueError(f"masked_objective.label_smoothing is for codes: set it to 0 with model.target {target}")


def load_training(name_or_file: str | Path, overrides: Sequence[str] = ()) -> TrainSettings | CodebookTrainSettings:
    """Settings of `neurodecode train`: those of a codebook stage where the file has the key `task`.

    There `model` may have a `base` of its own, a preset of configs/models.

    Raises
    ------
    SettingsError
        If there is no such file or preset, or a setting is not allowed.
    """
    kind = "configs/training"
    path = find_yaml(name_or_file, kind)
    values = apply_overrides(with_base(read_yaml(path), kind, (str(path.resolve()),)), overrides)
    if "task" in values:
        if isinstance(values.get("model"), dict):
            values = values | {"model": with_base(values["model"], "configs/models")}
        return validate(CodebookTrainSettings, values, str(name_or_file))
    return validate(TrainSettings, values, str(name_or_file))
