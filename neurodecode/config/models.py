"""Settings of networks. Sizes (channels, samples, subjects, outputs) come from data, never from here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from neurodecode.config.base import Settings


class ModelSettings(Settings):
    """The contrastive network (Défossez et al. 2023); the defaults are the paper's final configuration."""

    kind: Literal["aligner"] = "aligner"
    spatial_attention: bool = True
    """Attention over sensor positions (section 4.2); without it, channels enter as they are."""
    spatial_channels: PositiveInt = 270
    """Outputs of the spatial attention."""
    fourier_frequencies: PositiveInt = 32
    """Frequencies an axis: 32 x 32 x (cos, sin) = 2048 basis functions."""
    spatial_margin: PositiveFloat = 0.2
    """Margin around the unit square of positions."""
    spatial_dropout: float = Field(0.2, ge=0)
    """Radius around one random point whose sensors are banned in training."""
    initial_convolution: bool = True
    """1x1 convolution after the attention."""
    subjects: Literal["layer", "embedding", "none"] = "layer"
    """One matrix a subject, an embedding concatenated to the input, or nothing."""
    subject_dimension: PositiveInt = 64
    """Width of the subject embedding (embedding only)."""
    hidden: PositiveInt = 320
    """Channels of the convolution stack."""
    depth: PositiveInt = 10
    """Dilated convolutions."""
    kernel: int = Field(3, ge=1)
    """Samples of a convolution, odd: an even one would move time by half a sample."""
    dilation_period: PositiveInt = 5
    """Dilation of convolution k is 2 ** (k mod period)."""
    skip: bool = True
    """Residual sums where shapes agree."""
    glu_every: int = Field(2, ge=0)
    """A gated convolution after every so many convolutions; 0 for none."""
    batch_norm: bool = True
    """Batch normalisation after each dilated convolution."""
    activation: Literal["gelu", "relu"] = "gelu"
    """After each dilated convolution and inside the head (gelu: the exact one)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the convolution stack (paper: none)."""
    head: bool = True
    """Two final 1x1 convolutions (section 4.5); without it, one."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, for example 3: an even kernel cannot keep the number of samples")
        return value


class SpeechSettings(Settings):
    """A network on the side of the speech, trained together with the one on the side of the brain."""

    kind: Literal["none", "deep_mel"] = "none"
    """deep_mel: the features pass a convolution stack before they are compared (section 4.7); none: as they are."""
    outputs: PositiveInt = 768
    """Dimensions of what is compared (paper: 768)."""
    hidden: PositiveInt = 320
    """Channels of the stack (paper: 320)."""
    depth: PositiveInt = 10
    """Dilated convolutions (paper: 10)."""
