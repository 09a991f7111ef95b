"""Settings of the stage raw recording -> store."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings


class PreprocessingSettings(Settings):
    """Steps run in the order of the fields: pick, bad channels, line noise, band-pass, reference, resample."""

    picks: tuple[Literal["meg", "mag", "grad", "eeg", "seeg", "ecog", "dbs"], ...] = (
        "meg",
        "eeg",
        "seeg",
        "ecog",
    )
    """Channel types kept. `meg` is mag and grad without reference channels."""
    exclude: tuple[str, ...] = ()
    """Names of channels left out, on top of those marked bad."""
    bads: Literal["mark", "drop", "interpolate"] = "mark"
    """Bad channels: kept and marked (masked later), dropped, or interpolated by MNE (needs positions)."""
    find_bads: bool = True
    """Look for flat, NaN and far-out channels and record them."""
    line_noise: PositiveFloat | Literal["auto"] | None = None
    """Mains frequency to notch with its harmonics, in Hz; auto takes it from the recording or card; none leaves it."""
    high_pass: PositiveFloat | None = None
    """Lower edge, Hz."""
    low_pass: PositiveFloat | None = None
    """Upper edge, Hz."""
    reference: Literal["none", "average"] | tuple[str, ...] = "none"
    """EEG reference: as recorded, average, or the mean of named channels (dropped afterwards)."""
    sfreq: PositiveFloat = 120.0
    """Rate of the stored signal, Hz; polyphase resampling, times are exact."""
    block_seconds: PositiveFloat = 60.0
    """Seconds filtered at once by the streaming engine; changes memory, not the result."""
    engine: Literal["mne", "streaming"] = "streaming"
    """mne: the reference, whole recording in float64; streaming: the same filters in bounded memory."""
    minimum_seconds: PositiveFloat = 1.0
    """Recordings (or good stretches) shorter than this are refused (or dropped and counted)."""
    schema_version: PositiveInt = 1

    @model_validator(mode="after")
    def _band_is_a_band(self) -> PreprocessingSettings:
        if self.high_pass and self.low_pass and self.high_pass >= self.low_pass:
            raise ValueError(f"high_pass ({self.high_pass} Hz) must lie below low_pass ({self.low_pass} Hz)")
        if self.low_pass and self.low_pass > self.sfreq / 2:
            raise ValueError(f"low_pass ({self.low_pass} Hz) must not exceed sfreq / 2 ({self.sfreq / 2} Hz)")
        return self
