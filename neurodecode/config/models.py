"""Settings of networks. Sizes (channels, samples, subjects, outputs) come from data, never from here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from neurodecode.config.base import Settings

MOST_FREQUENCIES_3D = 12  # an axis: 2 x 12^3 = 3456 basis functions


class ContextSettings(Settings):
    """A transformer over what the convolutions say about neighbouring windows (beyond the paper; off)."""

    windows: int = Field(1, ge=1)
    """Windows that are seen together, odd: the one that is asked about and as many on each side; 1 is off."""
    step: PositiveFloat = 1.0
    """Seconds between the beginnings of neighbours. They are taken from the training anchors, the nearest to each place."""
    layers: int = Field(1, ge=0)
    """Blocks of the transformer; 0 is off."""
    width: PositiveInt = 64
    """Numbers of a token."""
    heads: PositiveInt = 4
    """Attention heads; they share the width equally."""
    pieces: PositiveInt = 4
    """Tokens a window: means of so many equal stretches of it."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Inside the transformer."""
    alone: float = Field(0.2, ge=0, lt=1)
    """Share of training windows that are shown without their neighbours, so that a window alone can be answered, too."""

    @property
    def on(self) -> bool:
        """Whether there is anything to build."""
        return self.windows > 1 and self.layers > 0

    @field_validator("windows")
    @classmethod
    def _middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, for example 5: the window that is asked about stands in the middle")
        return value

    @model_validator(mode="after")
    def _divisible(self) -> ContextSettings:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 x heads, {2 * self.heads}")
        return self


class ModelSettings(Settings):
    """The contrastive network (Défossez et al. 2023); the defaults are the paper's final configuration."""

    kind: Literal["aligner"] = "aligner"
    instance_norm: bool = False
    """Each channel of each window to mean 0 and deviation 1 before all else (beyond the paper)."""
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
    positions: Literal["2d", "3d"] = "2d"
    """2d: the layout on a plane (paper); 3d: metres, which differ between heads and caps (beyond the paper)."""
    unplaced: Literal["masked", "token"] = "masked"
    """Good sensors without a position: left out (paper), or weighed by a learnt number a head (beyond the paper)."""
    initial_convolution: bool = True
    """1x1 convolution after the attention."""
    subjects: Literal["layer", "embedding", "none"] = "layer"
    """One matrix a subject, an embedding concatenated to the input, or nothing."""
    subject_dimension: PositiveInt = 64
    """Width of the subject embedding (embedding only)."""
    sessions: Literal["none", "deviation", "own"] = "none"
    """deviation: a matrix a session is added to that of its subject, starting at 0; own: it stands in its place (both
    beyond the paper). A session that was not trained gets the mean of its subject's."""
    session_unit: Literal["recording", "session"] = "recording"
    """What counts as a session: every file, or the files of one subject with one session label."""
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
    head: bool | Literal["none"] = True
    """Two final 1x1 convolutions (section 4.5); false: one; none: the last dilated convolution gives the features itself,
    without norm and activation (`complex_out=false` in the published code)."""
    context: ContextSettings = ContextSettings()
    """Neighbouring windows of the same block."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, for example 3: an even kernel cannot keep the number of samples")
        return value

    @model_validator(mode="after")
    def _possible(self) -> ModelSettings:
        if self.sessions != "none" and self.subjects != "layer":
            raise ValueError(f"sessions {self.sessions} needs subjects layer, not {self.subjects}")
        if not self.spatial_attention and (self.positions != "2d" or self.unplaced != "masked"):
            raise ValueError("positions and unplaced are read by spatial_attention: set it to true, or leave them out")
        if self.positions == "3d" and self.fourier_frequencies > MOST_FREQUENCIES_3D:
            raise ValueError(
                f"positions 3d has 2 x fourier_frequencies^3 basis functions: {self.fourier_frequencies} is too many, use "
                f"at most {MOST_FREQUENCIES_3D}, for example 6"
            )
        return self


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
