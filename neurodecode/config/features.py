"""Settings of the stage stimulus -> feature array."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings


class FeatureSettings(Settings):
    """One representation of the stimulus."""

    kind: Literal["mel", "envelope", "array", "encoder"] = "mel"
    """mel: log-mel spectrogram; envelope: speech envelope; array: values that came with the recording; encoder: hidden
    states of a pretrained speech network."""
    extent: Literal["stimulus", "block"] = "stimulus"
    """mel and encoder only. What a frame may know of: the whole stimulus, or the audio of its own block of the split alone
    (as published, specification section 3.4), so that nothing of another side is heard."""
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
    encoder: str = Field("facebook/wav2vec2-large-xlsr-53", min_length=1)
    """Encoder only: folder of a saved model, or its name on the Hugging Face hub (wav2vec 2.0, HuBERT, WavLM, Whisper,
    wav2vec2-BERT and their kin)."""
    layers: tuple[int, ...] = Field((14, 15, 16, 17, 18), min_length=1)
    """Hidden states that are averaged: 0 is what enters the first block, -1 what leaves the last (as published in code;
    the paper's text says the last four)."""
    context: PositiveFloat | None = 30.0
    """Audio that one pass of the encoder sees, s; none is the whole recording (Whisper: as much as it can take)."""
    overlap: float = Field(6.0, ge=0)
    """At least so many seconds are shared by neighbouring passes, which fade into each other in the middle of them."""
    remove_position: bool = False
    """Whisper only: take from each state the mean state at its place in the window, which has nothing to do with speech."""
    random_weights: bool = False
    """Control: the encoder's architecture with weights that were never trained."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type on disk."""

    @model_validator(mode="after")
    def _fit_together(self) -> FeatureSettings:
        if self.kind == "encoder" and self.context is not None and self.overlap > self.context / 2:
            raise ValueError(f"overlap {self.overlap:g} s must be at most half of context ({self.context / 2:g} s)")
        if self.extent == "block" and self.kind not in ("mel", "encoder"):
            raise ValueError(f"extent block is for mel and encoder; {self.kind} must have extent stimulus")
        return self
