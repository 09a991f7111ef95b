"""Settings of windows that carry a label: words, phones or any other kind of event, for classification."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neurodecode.config.base import Settings
from neurodecode.config.segments import ScalingSettings, SegmentSettings, WindowSettings


class LabelWindowSettings(WindowSettings):
    """A window around a labelled event, where no sound is aligned; the default is a released trial of 3 s, 3000 samples at
    1000 Hz.
    """

    closed: bool = False
    """Both ends included; else the last is left out."""
    baseline: tuple[float, float] | None = None
    shift: float = Field(0.0, ge=0)


class LabelSplitSettings(Settings):
    """Which trials train, validate and test: for each subject alone, or whole subjects."""

    rule: Literal["run", "leave-one-run-out", "paper", "subjects"] = "run"
    """run: whole runs, the last tests and the one before it validates unless named; leave-one-run-out: each run is tested
    once; paper: of each label the first trials train, the others validate and test by chance (Du-IN, released code), so
    that one run stands on several sides; subjects: whole people, each is tested once and trained on in other folds."""
    test_runs: tuple[str, ...] = ()
    """run only: names of the runs that are tested, in every subject; empty: the last of each."""
    valid_runs: tuple[str, ...] = ()
    """run only: names of the runs that validate; empty: the last that is not tested."""
    train: float = Field(0.8, gt=0, lt=1)
    """paper only: share of each label's trials that train; half of the others validate, half test."""
    parts: int | None = Field(None, ge=3)
    """subjects only: people are dealt into so many parts by chance; each part is tested once, and the next validates. None:
    one person a part."""
    held_out: tuple[str, ...] = ()
    """Labels that only test: their windows on other sides are left out. A head for words never names them; one that is
    composed of levels can."""
    seed: int = 42
    """paper: order of trials inside a run, and which validate (published: 42, 0, 1, 2, 3, 4); subjects: how people are
    dealt."""

    @model_validator(mode="after")
    def _consistent(self) -> LabelSplitSettings:
        if self.rule != "run" and (self.test_runs or self.valid_runs):
            raise ValueError(f"test_runs and valid_runs belong to rule run, not to rule {self.rule}")
        if self.rule != "subjects" and self.parts is not None:
            raise ValueError(f"parts belongs to rule subjects, not to rule {self.rule}")
        both = sorted(set(self.test_runs) & set(self.valid_runs))
        if both:
            raise ValueError(f"the runs {', '.join(both)} cannot both test and validate")
        return self


class LabelSettings(Settings):
    """Windows around events of one kind, and what their labels become."""

    event: str = "word"
    """Kind of the events."""
    window: LabelWindowSettings = LabelWindowSettings()
    """Around the onset of the event."""
    vocabulary: tuple[str, ...] = ()
    """Labels in the order of their numbers, for numbers that are the same whatever is absent; empty: those of the training
    windows, sorted."""
    unknown: Literal["refuse", "drop", "wrong"] = "refuse"
    """Labels of validation and test windows that no training window has. refuse: an error; drop: left out and counted;
    wrong: kept with the number -1, which no answer equals."""
    split: LabelSplitSettings = LabelSplitSettings()
    scaling: ScalingSettings = ScalingSettings(scope="subject", brain="standard", feature="none")
    """Fitted on training windows. Scope recording does not fit splits by run: a test run has no training window; rule
    subjects needs scope cohort."""
    columns: Literal["name", "recording"] = "name"
    """name: column k is the same named channel in every recording; recording: each recording's own order."""

    @model_validator(mode="after")
    def _told_apart(self) -> LabelSettings:
        twice = sorted({label for label in self.vocabulary if self.vocabulary.count(label) > 1})
        if twice:
            raise ValueError(f"vocabulary has {', '.join(twice)} more than once")
        if "" in self.vocabulary:
            raise ValueError("vocabulary has an empty label")
        if self.split.rule == "subjects" and self.scaling.brain != "none" and self.scaling.scope != "cohort":
            raise ValueError(
                f"scaling.scope is {self.scaling.scope}, but by split.rule subjects the tested people have no training "
                "window to be scaled by: set scaling.scope to cohort"
            )
        return self

    def segments(self) -> SegmentSettings:
        """What batches need to know of it."""
        return SegmentSettings(window=self.window, scaling=self.scaling, columns=self.columns, interpolation="nearest")
