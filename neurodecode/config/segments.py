"""Settings of windows, splits and scaling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from neurodecode.config.base import Settings


class WindowSettings(Settings):
    """A window of brain signal around an anchor, and the feature frames that face it."""

    tmin: float = -0.5
    """Start relative to the anchor, s (paper section 3.2)."""
    tmax: float = 2.5
    """End relative to the anchor, s."""
    closed: bool = True
    """Both ends included, as MNE epochs are: 361 samples for 3 s at 120 Hz."""
    baseline: tuple[float, float] | None = (-0.5, 0.0)
    """Interval (s, relative to the anchor) whose mean is subtracted per channel; none leaves it."""
    shift: float = Field(0.150, ge=0)
    """The brain answers this much later than the sound, s (paper section 3.6): 18 samples at 120 Hz."""

    @model_validator(mode="after")
    def _ordered(self) -> WindowSettings:
        if self.tmin >= self.tmax:
            raise ValueError(f"tmin ({self.tmin} s) must lie before tmax ({self.tmax} s)")
        if self.shift >= self.tmax - self.tmin:
            raise ValueError(f"shift ({self.shift} s) must be shorter than the window ({self.tmax - self.tmin} s)")
        if self.baseline and not self.tmin <= self.baseline[0] < self.baseline[1] <= self.tmax:
            raise ValueError(f"baseline {self.baseline} must lie inside the window ({self.tmin}, {self.tmax})")
        return self


class AnchorSettings(Settings):
    """Where windows start."""

    kind: Literal["stride", "event"] = "stride"
    """stride: every so many seconds; event: at the onsets of events of one kind."""
    stride: PositiveFloat = 0.5
    """Seconds between anchors (paper: 0.5 s for train and valid)."""
    origin: Literal["stimulus", "recording"] = "stimulus"
    """Zero of the stride: each stimulus (so that all subjects share segments), or the recording (as published)."""
    event: str = "word"
    """Kind of the events that anchor windows (paper: word onsets for test)."""
    limit: int | None = Field(None, ge=1)
    """At most so many windows a recording, evenly spread; none keeps all."""


class SplitSettings(Settings):
    """Which windows train, validate and test. Content decides, never chance alone."""

    rule: Literal["content", "run", "leave-one-run-out"] = "content"
    """content: hash of each block's text or audio; run: named runs; leave-one-run-out: each run is tested once."""
    unit: Literal["block", "stimulus"] = "block"
    """content only: what is hashed."""
    extent: Literal["stimulus", "recording"] = "stimulus"
    """content only: blocks are merged within each stimulus, so that they are the same for everyone who heard it; or over
    all sentences of a recording in their order (as published; needs the same order for everyone)."""
    hashed: Literal["text", "uid"] = "text"
    """content only: what of a sentence is hashed: its text, or its number where its row of the events has one (column
    `sequence_uid`; as published for MOUS: the number of the line in stimuli.txt)."""
    seed: int = 12
    """Added to the hash (paper: 12)."""
    valid: float = Field(0.1, ge=0, lt=1)
    """Share of blocks for validation."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share of blocks for test."""
    block_seconds: PositiveFloat = 6.0
    """Sentences are merged into blocks longer than this (paper section 3.3)."""
    repeated: Literal["together", "error", "apart"] = "together"
    """content only: blocks that share a sentence of four words or more go to one side (together), such a split is refused
    (error), or each stays where its own text puts it (apart: as published; table and report then say what leaks)."""
    test_runs: tuple[str, ...] = ()
    """run only: names of runs that are tested."""
    valid_runs: tuple[str, ...] = ()
    """run only: names of runs that validate."""
    on_unheard: Literal["drop", "error"] = "drop"
    """Events that anchor windows and do not belong to what is heard at their onset, and sounds that the store lacks: dropped
    and counted, or an error."""

    @model_validator(mode="after")
    def _shares(self) -> SplitSettings:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid + test is {self.valid + self.test}, which leaves nothing to train on")
        if self.rule == "run" and not self.test_runs:
            raise ValueError("rule run needs test_runs, for example [run-05]")
        return self


class ScalingSettings(Settings):
    """Scalers are fitted on training windows only and applied per batch."""

    scope: Literal["recording", "session", "subject", "cohort"] = "recording"
    """Whose training windows give a recording's centre and scale (paper: recording); cohort: all, for people held out."""
    brain: Literal["robust", "standard", "none"] = "robust"
    """robust: median and interquartile range; standard: mean and standard deviation."""
    clamp: PositiveFloat | None = 20.0
    """Scaled brain values are cut at plus and minus this (paper: 20; without it the network fails)."""
    feature: Literal["global", "dimension", "none"] = "global"
    """One mean and deviation for all dimensions (paper), one for each, or none."""
    fit_windows: int = Field(512, ge=1)
    """At most so many random training windows of each scope are looked at (paper: whole batches, 256 with its setup)."""
    feature_windows: int = Field(2048, ge=1)
    """At most so many random training windows give the mean and deviation of the features (paper: 8000)."""
    feature_where: Literal["everywhere", "word"] = "everywhere"
    """Samples that count for them: all, or those at which a word is sounding (paper)."""


class SegmentSettings(Settings):
    """All about windows."""

    window: WindowSettings = WindowSettings()
    train_anchors: AnchorSettings = AnchorSettings()
    """Anchors of training and validation windows."""
    test_anchors: AnchorSettings = AnchorSettings(kind="event", event="word")
    """Anchors of test windows."""
    split: SplitSettings = SplitSettings()
    scaling: ScalingSettings = ScalingSettings()
    interpolation: Literal["linear", "nearest"] = "linear"
    """How feature frames are brought to the rate of the brain signal, at exact times (as published: nearest)."""
    columns: Literal["name", "recording"] = "name"
    """name: column k is the same named channel in every recording; recording: each recording's own order."""
