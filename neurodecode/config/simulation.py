"""Settings of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings


class SimulationSettings(Settings):
    """A cohort with a planted response to speech."""

    name: str = "simulated"
    modality: Literal["meg", "eeg", "seeg"] = "meg"
    subjects: PositiveInt = 4
    channels: int = Field(60, ge=4, le=256)
    """Sensors (meg, eeg) or contacts (seeg) of a subject."""
    sfreq: float = Field(250.0, ge=100, le=5000)
    """Rate of the written files, Hz; at least 100, since the response is planted up to 40 Hz."""
    stories: PositiveInt | None = None
    """So many of the embedded stories; none takes all."""
    speech: Path | None = None
    """A folder of own speech in the embedded layout instead."""
    run_seconds: PositiveFloat = 180.0
    """Length of a run aimed at, s: whole stories are put together until about this."""
    snr: float = Field(1.0, ge=0)
    """Difficulty: planted response over background, root mean square between 0.5 and 20 Hz at the best sensor, for the
    median subject; 0 plants nothing."""
    linear: float = Field(0.5, ge=0, le=1)
    """Share of the planted power that is the acoustic envelope filtered linearly; phones evoke the rest. Power is that
    between 0.5 and 20 Hz, summed over channels, the two parts taken apart from one another."""
    position_spread: float = Field(0.01, ge=0)
    """Head position differs between subjects by about this, m."""
    gain_spread: float = Field(0.3, ge=0)
    """Sensor gains and source strengths differ between subjects by about this share."""
    latency_spread: float = Field(0.008, ge=0, le=0.03)
    """Response latency differs between subjects by about this, s."""
    orientation_spread: float = Field(30.0, ge=0, le=90)
    """Source orientation differs between subjects by about this, degrees."""
    background: Path | None = None
    """A real recording to lay under the response instead of coloured noise."""
    line_noise: PositiveFloat | None = 50.0
    """Mains frequency added, Hz."""
    artefacts: PositiveFloat | None = None
    """Large artefacts a minute (none: no artefacts)."""
    artefact_size: PositiveFloat = 25.0
    """Largest peak of an artefact over the background; of a real electrode that pops or a squid that jumps: hundreds."""
    movement: float = Field(0.0, ge=0)
    """The head (meg) or the cap (eeg) moves from run to run of one subject by about this, m; files state the first place."""
    bad_channels: int = Field(0, ge=0)
    """Channels of each subject that are flat, and marked bad in channels.tsv."""
    seed: int = Field(0, ge=0)
    """Of every random draw; the same seed makes the same signals."""

    @model_validator(mode="after")
    def _possible(self) -> SimulationSettings:
        if self.line_noise is not None and self.line_noise >= self.sfreq / 2:
            raise ValueError(
                f"line_noise ({self.line_noise:g} Hz) needs sfreq above {2 * self.line_noise:g} Hz; "
                f"raise sfreq or set line_noise: null"
            )
        if self.bad_channels > self.channels // 2:
            raise ValueError(f"bad_channels ({self.bad_channels}) may be at most half of channels ({self.channels})")
        if self.movement and (self.modality == "seeg" or self.background is not None):
            raise ValueError("movement must be 0 for seeg (contacts stay where they are) and with a real background")
        if self.modality == "seeg" and self.sfreq != round(self.sfreq):
            raise ValueError(f"sfreq ({self.sfreq:g} Hz) must be a whole number for seeg: EDF holds whole seconds")
        return self
