"""Settings of objectives and training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings
from neurodecode.config.channels import ChannelChoice
from neurodecode.config.features import FeatureSettings
from neurodecode.config.models import ModelSettings, SpeechSettings
from neurodecode.config.segments import SegmentSettings


class ObjectiveSettings(Settings):
    """What training minimises."""

    kind: Literal["clip", "siglip", "mse"] = "clip"
    """clip: contrastive cross-entropy over the batch (paper section 5); siglip: each pair by itself, copies of a segment
    belong together; mse: regression of the features."""
    negatives: int | None = Field(None, ge=2)
    """Candidates that a window is compared with, its own among them: the batch over all devices is cut into parts of so many
    (the published code: 128 of 256, a part a device). None, or as many as the batch has: all of it."""
    mask_duplicates: bool = False
    """Copies of a segment in the batch are not counted as negatives (the paper counts them; siglip never does)."""
    share_duplicates: bool = False
    """Copies of a segment in the batch are right answers, too, and share the target equally (clip only)."""
    duplicate_overlap: float = Field(0.9, gt=0, le=1)
    """Windows of the batch are copies of a segment when they share this much of the stimulus; 0.9 of 3 s: when they begin
    less than 0.29 s apart, so that listeners whose strides have other phases (the paper's) share segments. 1: within 20 ms."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all candidates (clip only; paper: none)."""
    scale: PositiveFloat = 10.0
    """Start of the learnt factor of the cosine (siglip only)."""
    bias: float = -10.0
    """Start of the learnt logit of an unrelated pair (siglip only); near -log of the candidates starts at the prior."""

    @model_validator(mode="after")
    def _consistent(self) -> ObjectiveSettings:
        if self.mask_duplicates and self.share_duplicates:
            raise ValueError("mask_duplicates and share_duplicates exclude each other: set one of them to false")
        for name in ("share_duplicates", "label_smoothing"):
            if getattr(self, name) and self.kind != "clip":
                raise ValueError(f"{name} needs kind clip, not {self.kind}: set it to {type(getattr(self, name))()}")
        if self.negatives is not None and self.kind == "mse":
            raise ValueError(
                "negatives needs kind clip or siglip: mse compares a window with nothing but its own target"
            )
        return self


class AugmentSettings(Settings):
    """Changes to training batches that keep a network from learning them by heart (beyond the paper; all off)."""

    time_mask: float = Field(0.0, ge=0, lt=1)
    """In each window one stretch of all channels is set to 0; its length is uniform up to this share of the window."""
    channel_mask: float = Field(0.0, ge=0, lt=1)
    """Chance of each channel of each window to be set to 0."""
    onset_jitter: float = Field(0.0, ge=0, le=0.5)
    """The brain is moved against the speech by up to so many seconds, early or late, each window for itself."""


class TrainingSettings(Settings):
    """How it is minimised."""

    epochs: PositiveInt = 200
    batch_size: PositiveInt = 256
    """Windows a step over all devices; with the CLIP loss also the number of candidates, if objective.negatives is none."""
    steps_per_epoch: int | None = Field(1_200, ge=1)
    """At most so many updates an epoch; none sees every training window once."""
    learning_rate: PositiveFloat = 3e-4
    """Of Adam (paper: 3e-4)."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW (paper: none)."""
    schedule: Literal["constant", "cosine"] = "constant"
    """cosine: the rate falls to 0 over all epochs, step by step."""
    gradient_clip: PositiveFloat | None = None
    """Largest norm of the gradient; none leaves it (paper)."""
    patience: PositiveInt = 10
    """Stop after so many epochs without a lower validation loss."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto: CUDA where there is a device, else the CPU."""
    devices: PositiveInt | Literal["auto"] = 1
    """Devices of this machine; candidates of all of them are put together, so the result does not hang on it."""
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "32"
    """auto: bf16 autocast on CUDA, float32 on a CPU."""
    compile: bool = False
    """torch.compile the network."""
    deterministic: bool = False
    """Refuse operations whose result may differ between two runs on CUDA (a CPU repeats itself anyway)."""
    data_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the signal lies: auto keeps it on the device when it fits."""
    workers: int = Field(0, ge=0)
    """Processes that prepare batches beside training; for signals that lie on the CPU and training on CUDA."""
    augment: AugmentSettings = AugmentSettings()
    """Masks and jitter."""
    control: Literal["none", "noise", "shuffled"] = "none"
    """Train on Gaussian noise, or on shuffled pairs, to see what structure alone gives away."""


class TrainSettings(Settings):
    """One training run."""

    name: str = "aligner"
    """Shown in reports."""
    features: FeatureSettings = FeatureSettings()
    segments: SegmentSettings = SegmentSettings()
    model: ModelSettings = ModelSettings()
    speech: SpeechSettings = SpeechSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings = TrainingSettings()
    subjects: tuple[str, ...] = ()
    """Only these subjects; empty takes all."""
    exclude: tuple[str, ...] = ()
    """Not these subjects, for example to calibrate to them later."""
    channels: ChannelChoice | None = None
    """Only these channels of each subject; the others are masked as if no recording had them. None takes all."""
    start_from: Path | None = None
    """A finished run of this network whose weights are the start; subjects it does not know start with the mean."""
    train_only: Literal["all", "subject"] = "all"
    """subject: only what belongs to a subject or session learns, all else stays (needs start_from)."""
    minutes: float | None = Field(None, ge=0)
    """Of each subject, only windows within the first so many minutes of what is not tested; none takes all, 0 trains
    nothing (needs start_from)."""
    seed: int = Field(2036, ge=0)
    """Seed of weights, order and dropout (paper: 2036, 2037, 2038)."""

    @model_validator(mode="after")
    def _start(self) -> TrainSettings:
        if self.start_from is None and (self.train_only != "all" or self.minutes == 0):
            raise ValueError("train_only subject and minutes 0 need start_from: name a finished run")
        if self.train_only == "subject" and self.model.subjects == "none":
            raise ValueError(
                "train_only subject needs model.subjects layer or embedding: with none nothing would learn"
            )
        both = sorted({*self.subjects} & {*self.exclude})
        if both:
            raise ValueError(f"subject {both[0]} stands in subjects and in exclude: leave it out of one of them")
        return self

    @model_validator(mode="after")
    def _parts_are_whole(self) -> TrainSettings:
        size, part = self.training.batch_size, self.objective.negatives
        if part is not None and size > part and size % part:
            raise ValueError(
                f"training.batch_size {size} is no multiple of objective.negatives {part}: windows would have different "
                "numbers of candidates"
            )
        return self

    @model_validator(mode="after")
    def _speech_needs_negatives(self) -> TrainSettings:
        if self.speech.kind != "none" and self.objective.kind == "mse":
            raise ValueError(
                f"speech.kind {self.speech.kind} needs objective.kind clip or siglip: under {self.objective.kind} both "
                "networks would agree on a constant"
            )
        return self
