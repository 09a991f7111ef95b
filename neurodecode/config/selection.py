"""Settings of `neurodecode channels`: how channels are ranked, on training windows alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings
from neurodecode.config.codebook import ClassifierSettings
from neurodecode.config.codebook_training import CodebookTrainingSettings
from neurodecode.config.labels import LabelSettings


class BandPowerSettings(Settings):
    """What single channels are decoded from: log power of bands in bins of time, and the waveform."""

    bands: tuple[tuple[PositiveFloat, PositiveFloat], ...] = ((4, 8), (8, 13), (13, 30), (30, 70), (70, 150))
    """Hz, lower edge in, upper edge out; cut at half the sampling rate, and left out above it."""
    step: PositiveFloat = 0.25
    """Length of a bin, s; a band needs a multiple of 1 / step inside it."""
    waveform: PositiveFloat | None = 0.1
    """Length of a bin whose mean signal is one more feature, s; none: band power alone."""

    @model_validator(mode="after")
    def _rising(self) -> BandPowerSettings:
        for low, high in self.bands:
            if low >= high:
                raise ValueError(f"bands has [{low:g}, {high:g}]: the lower edge must come first")
        if not self.bands and self.waveform is None:
            raise ValueError("bands is empty and waveform is none: nothing is left to decode from")
        return self


class WeightSettings(Settings):
    """The classifier whose read-in weighs the channels (method weights), trained from scratch on each subject alone."""

    model: ClassifierSettings = ClassifierSettings()
    training: CodebookTrainingSettings = CodebookTrainingSettings()
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""
    shift: float = Field(0.0, ge=0)
    """Training windows are moved by up to this either way, s."""
    watch: float = Field(0.15, gt=0, lt=0.5)
    """Share of the windows it may read that choose the epoch; they are training windows of the fold, too."""


class OnsetSettings(Settings):
    """Control windows that end before the voice: what ranks high there owes it to no artefact of speaking."""

    event: str = ""
    """Kind of the events that mark the onset; the first one between anchor and end of the window counts. Empty: the
    labelled events themselves."""
    gap: float = Field(0.05, ge=0)
    """Between end of the control window and onset, s."""
    seconds: PositiveFloat = 0.5
    """Length of the control window, s."""
    use: Literal["beside", "instead"] = "beside"
    """beside: a second score, with the rank that it gives; instead: the ranking itself."""


class SelectionSettings(Settings):
    """One ranking of the channels of each subject, for each fold."""

    method: Literal["region", "weights", "decodability", "groups"] = "decodability"
    """region: by name, reads no signal; weights: of a classifier's read-in (Du-IN); decodability: of each channel alone;
    groups: of channels that are alike, together."""
    name: str = "selection"
    """Shown in tables and figures."""
    labels: LabelSettings = LabelSettings()
    """Windows and their split: those of the run that will use the selection. Only its training windows are read."""
    subjects: tuple[str, ...] = ()
    """Only these subjects; empty takes all."""
    regions: tuple[str, ...] = ()
    """Only channels of these regions, or groups of them; empty takes all. Method region needs it."""
    top: PositiveInt | Literal["best"] = 10
    """So many channels are chosen; best: as many of `curve` as decode best inside the training windows. Method groups takes
    whole groups until it has as many, region takes all."""
    folds: int = Field(5, ge=2)
    """Inner folds, of training windows: a ranking on all but one of them is judged on that one."""
    inner: Literal["auto", "run", "block"] = "auto"
    """What inner folds keep whole. run: whole runs; block: stretches of windows; auto: runs where a subject has three."""
    seeds: PositiveInt = 3
    """Rankings of each inner fold: other folds, other windows, other initial weights."""
    share: float = Field(0.8, gt=0, le=1)
    """Each ranking sees such a share of its windows, drawn by its seed, so that seeds tell how stable it is."""
    curve: tuple[PositiveInt, ...] = (1, 2, 5, 10, 20)
    """Numbers of best channels that are judged together; all channels are always judged."""
    features: BandPowerSettings = BandPowerSettings()
    """What channels are decoded from, for the score of decodability and groups, and for the curve of every method."""
    n_groups: int | None = Field(None, ge=2)
    """groups only: their number; none: channels / 10, at least 2 (the published k was 10 for about 110 channels)."""
    likeness: Literal["signal", "power"] = "signal"
    """groups only: correlation of signals, or of band power from window to window; its size counts, not its sign."""
    weights: WeightSettings = WeightSettings()
    """weights only."""
    onset: OnsetSettings | None = None
    """Control windows before the voice; none: no control."""
    seed: int = Field(0, ge=0)
    """Of every random draw."""

    @model_validator(mode="after")
    def _consistent(self) -> SelectionSettings:
        if self.method == "region" and not self.regions:
            raise ValueError("method region needs regions, for example [vSMC, STG]")
        if self.method == "region" and self.onset is not None:
            raise ValueError("method region reads no signal: set onset to null")
        return self
