"""Settings of the stage raw recording -> store."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings
from neurodecode.files import sha256_of_file

FETCHED_ATLASES = ("harvard-oxford",)  # by nilearn, which keeps them in its data folder


class RegionSettings(Settings):
    """Regions of the contacts that the recording's own tables give none: from a table of names, then from an atlas."""

    table: str | None = None
    """Path of a TSV with the columns subject, name (of the channel, as recorded) and region; no position is needed."""
    atlas: str | None = None
    """Path of a label volume in MNI space (NIfTI or MGZ: a volume of whole numbers), or harvard-oxford, which nilearn
    downloads once. Positions must be in MNI space."""
    labels: str | None = None
    """Path of the names of its numbers: TSV with `index` and `name`, or text with number and name a line; or the word
    freesurfer for FreeSurfer's own numbers."""
    distance: float = Field(0.003, ge=0)
    """How far the nearest labelled voxel may lie, m; beyond it the region is unknown."""
    space: Literal["stated", "mni"] = "stated"
    """stated: positions are taken only where coordsystem.json says MNI; mni: they are MNI whatever is stated."""
    transform: str | None = None
    """Path of a text file of 4 x 4 numbers that takes mm of the subject to mm of MNI; `{subject}` stands for the name."""

    @model_validator(mode="after")
    def _something_to_look_in(self) -> RegionSettings:
        if self.table is None and self.atlas is None:
            raise ValueError("regions names neither a table nor an atlas: give one, or set regions to null")
        if self.fetched and self.labels is not None:
            raise ValueError(f"regions.labels: {self.atlas} brings its own names; set labels to null")
        if self.atlas is not None and not self.fetched and self.labels is None:
            raise ValueError(
                "regions.atlas is a volume of numbers: give regions.labels, the names of these (by name alone there is "
                f"{', '.join(FETCHED_ATLASES)})"
            )
        if self.atlas is None and self.labels is not None:
            raise ValueError("regions.labels names the numbers of an atlas: give regions.atlas, or set labels to null")
        return self

    @property
    def fetched(self) -> bool:
        """Whether the atlas is one that nilearn downloads."""
        return self.atlas in FETCHED_ATLASES

    def content(self) -> dict[str, str]:
        """File -> SHA-256 of the files that are there, for the identity of what is made with them."""
        transforms = glob.glob(self.transform.replace("{subject}", "*")) if self.transform else []
        volume = None if self.fetched else self.atlas
        files = [Path(file) for file in (self.table, volume, self.labels, *sorted(transforms)) if file]
        return {str(file): sha256_of_file(file) for file in files if file.is_file()}


class PreprocessingSettings(Settings):
    """Steps run in this order: pick, bad channels, line noise, band-pass, reference, envelope, resample, interpolate."""

    picks: tuple[Literal["meg", "mag", "grad", "eeg", "seeg", "ecog", "dbs"], ...] = (
        "meg",
        "eeg",
        "seeg",
        "ecog",
    )
    """Channel types kept. `meg` is mag and grad without reference channels."""
    exclude: tuple[str, ...] = ()
    """Names of channels left out, whatever their type."""
    bads: Literal["mark", "drop", "interpolate"] = "mark"
    """Bad channels: kept and marked (masked later), dropped, or interpolated by MNE (EEG and MEG with positions)."""
    find_bads: bool = True
    """Look for flat and far-out channels and record them. A channel that holds NaN or infinity is always bad."""
    bad_deviation: float = Field(8.0, gt=0)
    """A channel is far out when the logarithm of its spread lies so many robust deviations from the median channel
    of its type, and the spread itself is more than five times larger or smaller."""
    line_noise: PositiveFloat | Literal["auto"] | None = None
    """Mains frequency to notch with its harmonics, Hz; auto takes it from the recording or card; none leaves it."""
    high_pass: PositiveFloat | None = None
    """Lower edge, Hz (FIR, zero phase, designed as MNE designs it)."""
    low_pass: PositiveFloat | None = None
    """Upper edge, Hz."""
    reference: Literal["none", "average", "shaft-average", "bipolar", "laplacian", "white-matter"] | tuple[str, ...] = (
        "none"
    )
    """As recorded; `average` of the good channels, EEG and each intracranial type apart; or the mean of named channels,
    subtracted from EEG and dropped. For contacts also: `shaft-average`, `bipolar` (each contact minus the next of its
    shaft), `laplacian` (minus the mean of its two neighbours), `white-matter` (minus the mean of the contacts there)."""
    envelope: tuple[PositiveFloat, PositiveFloat] | None = None
    """Band in Hz, for example [70, 150] (high gamma), whose envelope is stored in place of the signal, same unit: mean
    magnitude of sub-bands of about 20 Hz, after the reference and before resampling. Asks for engine: mne."""
    regions: RegionSettings | None = None
    """A table or an atlas for the contacts without a region; null takes regions from electrodes.tsv alone."""
    sfreq: PositiveFloat = 120.0
    """Rate of the stored signal, Hz; polyphase resampling, times are exact."""
    block_seconds: PositiveFloat = 30.0
    """Seconds read at once by the streaming engine; changes memory, not the result."""
    engine: Literal["mne", "streaming"] = "streaming"
    """mne: the reference, whole recording in float64; streaming: the same filters in bounded memory."""
    minimum_seconds: PositiveFloat = 1.0
    """Recordings (or good stretches) shorter than this are refused (or dropped and counted)."""
    schema_version: PositiveInt = 1
    """Raised when the meaning of a setting changes, so that stored recordings are made again."""

    @model_validator(mode="after")
    def _band_is_a_band(self) -> PreprocessingSettings:
        if self.high_pass and self.low_pass and self.high_pass >= self.low_pass:
            raise ValueError(f"high_pass ({self.high_pass} Hz) must lie below low_pass ({self.low_pass} Hz)")
        if self.low_pass and self.low_pass > self.sfreq / 2:
            raise ValueError(f"low_pass ({self.low_pass} Hz) must not exceed sfreq / 2 ({self.sfreq / 2} Hz)")
        self._check_envelope()
        if not self.picks:
            raise ValueError("picks is empty: name at least one channel type, for example [meg]")
        return self

    def _check_envelope(self) -> None:
        if self.envelope is None:
            return
        low, high = self.envelope
        if low >= high:
            raise ValueError(f"envelope [{low:g}, {high:g}] Hz: the first edge must lie below the second")
        if self.engine != "mne":
            raise ValueError(f"envelope is made by the engine mne alone, not by {self.engine}: set engine to mne")
        if self.high_pass or self.low_pass:
            raise ValueError("envelope makes its own band: set high_pass and low_pass to null")
        if self.bads == "interpolate":
            raise ValueError("an envelope cannot be interpolated from its neighbours: set bads to mark or drop")

    def identity(self) -> dict:
        """The settings that can change the stored numbers: all but `block_seconds`."""
        settings = self.model_dump(mode="json", exclude={"block_seconds"})
        if self.reference == "average":
            # it left contacts as they were before it was taken of each type: only such recordings are made again
            settings["reference"] = "average of each type"
        for later in ("envelope", "regions"):  # stores made before these settings existed are what null makes
            if settings[later] is None:
                del settings[later]
        if self.regions is not None:
            settings["regions"]["content"] = self.regions.content()
            if self.regions.table is None:
                del settings["regions"]["table"]  # as above
        return settings
