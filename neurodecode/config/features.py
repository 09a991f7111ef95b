"""Settings of the stage stimulus -> feature array."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from neurodecode.config.base import Settings


class FeatureSettings(Settings):
    """One representation of the stimulus."""

    kind: Literal["mel", "envelope", "array"] = "mel"
    """mel: log-mel spectrogram; envelope: speech envelope; array: values that came with the recording."""
    audio_rate: PositiveFloat = 16_000.0
    """Rate at which audio is analysed, Hz."""
    bands: PositiveInt = 120
    """Mel bands (paper section 4.8: 120)."""
    n_fft: PositiveInt = 512
    """Samples of a mel analysis window (paper: 512)."""
    hop: PositiveInt = 128
    """Samples between mel frames (paper: 128, that is 125 frames a second at 16 kHz)."""
    f_min: float = Field(0.0, ge=0)
    """Lowest mel frequency, Hz."""
    f_max: PositiveFloat = 8_000.0
    """Highest mel frequency, Hz."""
    standardize_audio: bool = True
    """Scale the audio of a stimulus to zero mean and unit variance first (as published)."""
    log_floor: PositiveFloat = 1e-5
    """Added before the logarithm (paper: 1e-5)."""
    compression: PositiveFloat = 0.6
    """Envelope only: power applied after band-wise magnitude."""
    low_pass: PositiveFloat | None = None
    """Zero-phase low-pass of the feature, Hz (array and envelope)."""
    high_pass: PositiveFloat | None = None
    """Zero-phase high-pass of the feature, Hz (array and envelope)."""
    rate: PositiveFloat | None = None
    """Frames a second stored for envelope and array; none keeps the native rate (array) or 100 Hz (envelope)."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type on disk."""
