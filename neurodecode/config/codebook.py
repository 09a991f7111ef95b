"""Settings of the codebook-guided masked encoder (Du-IN). Sizes (channels, samples, subjects, classes) come from data.

Defaults are the published single-subject model. Where the paper and the released code disagree, a setting takes the
values `paper` and `released`; where we depart from both, the setting says so.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings


class CodebookEncoderSettings(Settings):
    """The encoder that tokenizer, masked encoder and classifier share."""

    front: Literal["mix", "own"] = "mix"
    """mix: a read-in a subject to shared channels, then one stack of convolutions (the published single-subject
    model); own: a stack of convolutions a subject (the published multi-subject model)."""
    mixed_channels: PositiveInt = 16
    """Shared channels (mix only)."""
    patch: PositiveInt = 100
    """Samples of a token: 0.1 s at 1000 Hz; best between 0.10 and 0.14 s, poor under 0.06 s (figure 5c)."""
    filters: tuple[PositiveInt, ...] = (128, 128, 16)
    """Channels after each convolution."""
    kernels: tuple[PositiveInt, ...] = (19, 3, 3)
    """Samples of each convolution, odd."""
    strides: tuple[PositiveInt, ...] = (10, 1, 1)
    """Step of each convolution; a token has patch / (product of strides) x (last of filters) numbers: 160."""
    depth: PositiveInt = 8
    """Transformer blocks."""
    heads: PositiveInt = 8
    """Attention heads."""
    head_width: PositiveInt = 64
    """Numbers of a head; heads x head_width may exceed the width of a token."""
    feed_forward: PositiveInt = 320
    """Hidden numbers of the two linear maps in a block."""
    attention_dropout: float = Field(0.2, ge=0, lt=1)
    """Of attention weights."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """After the first linear map of a block."""

    @property
    def width(self) -> int:
        """Numbers of a token, D."""
        return self.patch // math.prod(self.strides) * self.filters[-1]

    @model_validator(mode="after")
    def _consistent(self) -> CodebookEncoderSettings:
        counts = {len(self.filters), len(self.kernels), len(self.strides)}
        if len(counts) > 1 or not self.filters:
            raise ValueError("filters, kernels and strides must be of one length, a number for each convolution")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels are {self.kernels}: each must be odd, or it would move time by half a sample")
        if self.patch % math.prod(self.strides):
            raise ValueError(f"patch is {self.patch}: it must be a multiple of all strides, {self.strides}")
        if self.width % 2:
            raise ValueError(f"a token has {self.width} numbers: it must be an even number, for the code of time")
        return self


class QuantizerSettings(Settings):
    """The table of codes."""

    kind: Literal["ema", "finite-scalar", "product", "shared-private"] = "ema"
    """ema: unit rows that follow the tokens they win (paper); finite-scalar: a fixed grid; product: a table for each
    part of a token; shared-private: rows of that kind for all subjects, and some for each subject alone (H2DiLR)."""
    codes: PositiveInt = 2048
    """Rows of a table (ema, product) or that all subjects share (shared-private); 2048 was the best of 512 to 8192 (figure 5a),
    1024 in the multi-subject model, 128 in H2DiLR."""
    private: PositiveInt = 32
    """Rows of each subject alone (shared-private only; H2DiLR: 32)."""
    dimension: PositiveInt = 64
    """Numbers of a row (ema, shared-private) or of all parts together (product); 64 was the best (figure 5b)."""
    groups: PositiveInt = 4
    """Tables (product only)."""
    decorrelation: float = Field(0.0, ge=0)
    """Weight of the mean squared partial correlation between parts of a token, so that tables do not say the same
    (product only; BrainStratify has such a penalty, its weight could not be read; 0: none)."""
    levels: tuple[int, ...] = (8, 8, 8, 4)
    """Levels of each number; their product is the number of codes (finite-scalar only)."""
    decay: float = Field(0.99, gt=0, lt=1)
    """Of rows and of their hits, a step (all but finite-scalar)."""
    commitment: PositiveFloat = 1.0
    """Weight of the squared distance between a token and its row (all but finite-scalar)."""
    start_tokens: int | None = Field(None, ge=0)
    """Tokens for the k-means that the table starts from: none takes 4 x codes, 0 starts from random rows; private rows take as
    many for each row, from their subject. The released code took the first batch it saw, also in evaluation and also with
    fewer tokens than rows."""
    revive_below: float = Field(0.03, ge=0, lt=1)
    """A row with fewer hits than this share of the mean is put on a token of the batch; 0: never, as published."""
    start_after: int = Field(0, ge=0)
    """Training steps in which tokens pass without the table, which starts after them (all but finite-scalar); 0: none, as
    published. In trainings of hundreds of steps the table otherwise collapses before tokens say anything."""

    @model_validator(mode="after")
    def _consistent(self) -> QuantizerSettings:
        if self.kind == "product" and self.dimension % self.groups:
            raise ValueError(f"dimension is {self.dimension}: it must be a multiple of groups, {self.groups}")
        if self.decorrelation and self.kind != "product":
            raise ValueError(f"decorrelation is {self.decorrelation}: kind {self.kind} has no parts, set it to 0")
        if self.start_tokens is not None and 0 < self.start_tokens < self.codes:
            raise ValueError(f"start_tokens is {self.start_tokens}: k-means of {self.codes} rows needs as many, or 0")
        if self.kind == "finite-scalar" and (not self.levels or min(self.levels) < 2):
            raise ValueError(f"levels are {self.levels}: each must be 2 or more")
        return self


class TokenizerSettings(Settings):
    """Stage 1: a VQ-VAE whose codes become the targets of stage 2."""

    kind: Literal["codebook-tokenizer"] = "codebook-tokenizer"
    encoder: CodebookEncoderSettings = CodebookEncoderSettings()
    quantizer: QuantizerSettings = QuantizerSettings()
    decoder_depth: PositiveInt = 4
    """Transformer blocks between table and signal."""


class MaskedEncoderSettings(Settings):
    """Stage 2: predicts what hidden tokens are. Sizes of codes and embeddings come from the tokenizer."""

    kind: Literal["codebook-masked"] = "codebook-masked"
    encoder: CodebookEncoderSettings = CodebookEncoderSettings()
    target: Literal["codes", "embeddings", "patches"] = "codes"
    """What is predicted of a hidden token (table 13: 62.7, 60.9 and 58.7 % words after fine-tuning). codes: its index in the
    tokenizer's table, by cross-entropy; embeddings: the row of the table, by cosine; patches: its stretch of the signal, by
    squared error, without a tokenizer."""
    mask_ratio: float = Field(0.5, gt=0, lt=1)
    """Share of tokens that the first view hides; 0.5 was the best of 0.1 to 0.5 (table 14)."""
    mirror: bool = True
    """A second view hides the other tokens, so every token is predicted."""


class ClassifierSettings(Settings):
    """Stage 3: words."""

    kind: Literal["codebook-classifier"] = "codebook-classifier"
    encoder: CodebookEncoderSettings = CodebookEncoderSettings()
    hidden: tuple[PositiveInt, ...] = (128,)
    """Hidden linear maps of the head."""
    output: Literal["logits", "sigmoid"] = "logits"
    """sigmoid, as published: no class of 61 can get more than 4.3 %, and the loss stays above 3.139 nats."""
    head_dropout: float = Field(0.0, ge=0, lt=1)
    """Before the last linear map (published: none)."""
    quantizer: QuantizerSettings | None = None
    """Keep the tokenizer's table between encoder and head (vqvae+vq of the paper, worse than a random start)."""


class TokenizerObjectiveSettings(Settings):
    """What stage 1 minimises."""

    kind: Literal["tokenizer"] = "tokenizer"
    sums: Literal["released", "paper"] = "released"
    """released: means of squared errors over samples and channels, and over numbers of tokens; paper (equation 5): sums
    over a window, so that the balance of the two terms depends on its length and channels."""
    reconstruction: float = Field(1.0, ge=0)
    """Weight of the squared error of the signal."""
    quantizer: float = Field(1.0, ge=0)
    """Weight of the quantizer's own loss."""


class MaskedObjectiveSettings(Settings):
    """What stage 2 minimises where it predicts codes: cross-entropy."""

    kind: Literal["masked"] = "masked"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all codes (published: none)."""
