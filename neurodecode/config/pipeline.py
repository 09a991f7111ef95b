"""Settings of cohort cards (datasets/*.yaml) and pipelines (pipelines/*.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings
from neurodecode.config.download import DownloadSource

CHANCE = "chance"  # in place of the label of a published figure


class CohortCard(Settings):
    """One cohort: where it comes from, what may be done with it, what to expect of it."""

    name: str
    title: str = ""
    adapter: str = "auto"
    """auto: file, folder or BIDS root; else the name of a module of recordings/studies."""
    root: Path | None = None
    """Folder of the data on this machine; given with --set root=… or by the environment variable below."""
    root_variable: str | None = None
    """Environment variable that names the folder when root is not given."""
    root_below: Path | None = None
    """Sub-folder of what root_variable names."""
    simulate: str | None = None
    """Name of a simulation preset: the cohort is made, not found."""
    source: str = ""
    licence: str = ""
    revision: str = ""
    how_to_get: str = ""
    download: tuple[DownloadSource, ...] = ()
    """Public hosts of its files, for `neurodecode download`; where there is none, how_to_get says what to do."""
    line_frequency: PositiveFloat | None = None
    """Mains frequency where it was recorded, Hz."""
    language: str = Field("", pattern="^([a-z]{2})?$")
    """ISO 639-1 code of the speech, for frequencies and classes of words; empty: not known."""
    expected_recordings: PositiveInt | None = None
    """A line says so when another number is found; likewise below."""
    expected_subjects: PositiveInt | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the adapter."""


class PublishedFigure(Settings):
    """A figure from the literature, printed beside ours and marked as published."""

    what: str
    value: float | str
    source: str
    label: str | None = None
    """Label whose run repeats it, so that the report sets what was measured beside it; `chance`: the chance of each run."""
    metric: str = "top10"
    """Figure of the evaluation that it is to be compared with."""


class PublishedAccuracy(Settings):
    """Published accuracies of one method, printed beside the runs of one label."""

    source: str
    cohort: str
    """Mean and standard error over subjects, %."""
    subjects: dict[str, str] = Field(default_factory=dict)
    """Subject -> mean and standard deviation over seeds, %."""


class PipelineSettings(Settings):
    """This cohort x these configs, stage by stage."""

    name: str
    title: str = ""
    cohort: CohortCard | str
    """A card, or the name of one in datasets/."""
    preprocessing: dict[str, Any] | str
    """Settings, or the name of a preset in configs/preprocessing; likewise below."""
    channels: dict[str, Any] | str | None = None
    """Rank the channels first (settings or preset of configs/selection, with the labels and subjects of `common`); runs of
    codebook stages without `channels` of their own read those that it chose. None: all channels."""
    training: dict[str, dict[str, Any] | str] = Field(default_factory=dict)
    """Label -> settings or preset in configs/training: one run each. A codebook stage (with the key `task`) may name an
    earlier label in start_from."""
    common: dict[str, Any] = Field(default_factory=dict)
    """Settings of all runs: over what their presets say, under what stands with the label."""
    each_subject: bool | tuple[str, ...] = False
    """Codebook stages that are trained once a subject, on that subject alone: all (true), none, or these labels."""
    seeds: tuple[int, ...] = ()
    """Each classifier and each aligner is trained once a seed, classifiers from the same pretraining; empty: once, with its
    own seed."""
    baselines: dict[str, dict[str, Any] | str] = Field(default_factory=dict)
    """Label -> settings or preset in configs/baselines: one table of classification methods each, on all channels."""
    evaluation: dict[str, Any] | str = Field(default_factory=dict)
    evaluations: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Label of an aligner -> settings of its evaluation over `evaluation`, for example `{regression: {score: clip}}`."""
    published: tuple[PublishedFigure, ...] = ()
    published_accuracy: dict[str, PublishedAccuracy] = Field(default_factory=dict)
    """Label -> published accuracies."""

    @model_validator(mode="after")
    def _labels_are_there(self) -> PipelineSettings:
        if not self.training and not self.baselines:
            raise ValueError("nothing is trained and no table is made: give training or baselines")
        named = {"each_subject": self.each_subject if isinstance(self.each_subject, tuple) else ()}
        named["published_accuracy"] = tuple(self.published_accuracy)
        named["evaluations"] = tuple(self.evaluations)
        named["published"] = tuple(f.label for f in self.published if f.label not in (None, CHANCE))
        for key, labels in named.items():
            strange = sorted(set(labels) - set(self.training))
            if strange:
                raise ValueError(f"{key} names {', '.join(strange)}: the labels are {', '.join(self.training)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}: each may stand there once")
        return self
