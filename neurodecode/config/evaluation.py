"""Settings of the evaluation and its controls."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from neurodecode.config.base import Settings

# half decades: finer grids change the chosen correlation by less than its error over inner folds
PENALTIES = tuple(float(f"{10.0**p:.3g}") for p in (k / 2 for k in range(-8, 11)))


class RidgeSettings(Settings):
    """The backward linear model that stands beside every network."""

    lags: tuple[float, float] = (0.0, 0.25)
    """Brain lags after the sound that predict it, s."""
    penalties: tuple[PositiveFloat, ...] = Field(default=PENALTIES, min_length=1)
    """Tried on held-out parts of the training data only; in units of the mean eigenvalue of the brain's covariance."""
    scope: Literal["subject", "cohort"] = "subject"
    """One model a subject, or one for all."""
    rate: PositiveFloat = 32.0
    """Brain and features are averaged down to at least this rate, Hz; speech tracking lies below 10 Hz."""
    inner: int = Field(default=5, ge=2)
    """At most so many parts of the training data (runs, or groups of blocks) are held out in turn for the penalty."""
    wrong_pairings: PositiveInt = 40
    """ridge-shifted averages at least so many wrong pairings, counted as turns x folds x subjects."""

    @field_validator("lags")
    @classmethod
    def _ordered(cls, lags: tuple[float, float]) -> tuple[float, float]:
        if lags[0] > lags[1]:
            raise ValueError(f"the first lag ({lags[0]} s) must not be later than the last ({lags[1]} s)")
        return lags

    @field_validator("penalties")
    @classmethod
    def _ascending(cls, penalties: tuple[float, ...]) -> tuple[float, ...]:
        if list(penalties) != sorted(set(penalties)):
            raise ValueError("penalties must ascend, each once: the edges of the grid are looked at")
        return penalties


class PoolSettings(Settings):
    """Candidate pools beside the full one; each stands in a table of its own, with its own chance."""

    size: tuple[int, ...] = ()
    """Random pools of so many candidates, the true one among them, in exact expectation; one number or a list, none: off."""
    story: bool = False
    """Only candidates of the query's own stimulus: voice, recording level and topic cannot help."""
    near: PositiveFloat | None = None
    """Only candidates of the query's own stimulus that begin at most so many seconds before or after; none: off."""

    @field_validator("size", mode="before")
    @classmethod
    def _several(cls, size: object) -> object:
        return (size,) if isinstance(size, int) else size

    @field_validator("size")
    @classmethod
    def _at_least_two(cls, size: tuple[int, ...]) -> tuple[int, ...]:
        if any(n < 2 for n in size):
            raise ValueError(f"a pool needs at least 2 candidates, found {min(size)}")
        if list(size) != sorted(set(size)):
            raise ValueError("sizes must ascend, each once")
        return size


class PoolingSettings(Settings):
    """Answers from several windows together; never single-trial figures, so they stand in a table of their own."""

    sentence: bool = False
    """Add to each window's scores what all windows of its sentence say about each sentence (needs sentence events)."""
    word_repeats: bool = False
    """Mean over the occasions at which one subject heard a word (needs windows anchored at words)."""


class EvaluationSettings(Settings):
    """What is scored and against what."""

    score: Literal["auto", "clip", "correlation"] = "auto"
    """auto: what the objective trained; clip: the score of the contrastive objective (section 5; of siglip its logit);
    correlation: as for mse and ridge."""
    bootstrap: PositiveInt = 1_000
    """Resamples behind each 95 % interval."""
    permutations: PositiveInt = 1_000
    """Redrawn pairings behind the p-value, whose smallest value is 1 / (this + 1)."""
    seed: int = 0
    """Seed of noise, permutations and resamples."""
    controls: tuple[Literal["noise", "shuffled", "constant", "ridge", "ridge-shifted", "context"], ...] = (
        "noise",
        "shuffled",
        "constant",
        "ridge",
        "ridge-shifted",
        "context",
    )
    """Rows beside the model; leave one out only to save time. ridge-shifted brings ridge with it. context: the rows alone
    and strangers, for networks with model.context only."""
    ridge: RidgeSettings = RidgeSettings()
    pool: PoolSettings = PoolSettings()
    """Further candidate pools; none by default."""
    pooling: PoolingSettings = PoolingSettings()
    """Answers from several windows together, beside same-stimulus pooling; none by default."""
    baselines: tuple[Literal["lda", "ridge"], ...] = ("lda", "ridge")
    """Of a classification run only: linear methods beside it, on its windows and sides; none leaves them out."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is a device, else the CPU, wherever the run was trained."""
    batch_size: PositiveInt = 256
    """Windows a forward pass."""
    memory: PositiveFloat = 1.0
    """Candidate features held at once, GiB; more candidates cost further passes over the queries, never more memory."""
    save_scores: PositiveFloat = 500.0
    """Score matrices larger than this, MB, are not written; ranks always are."""
    examples: int = Field(default=6, ge=0)
    """Queries shown with their top five candidates in the report."""


class ForecastSettings(Settings):
    """What more hours would give: the recipe refitted on parts of the training data."""

    fractions: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Parts of the training data, each inside the next; the last is all of it."""
    repeats: PositiveInt = 3
    """Random orders of the blocks; all the data need one fit of the ridge, and one a seed of the network."""
    network: bool = False
    """Refit the network, too, with as many updates for each part as for all the data: fractions x repeats trainings."""
    metric: Literal["auto", "top1", "top5", "top10", "mrr", "match_mismatch", "percentile_rank"] = "auto"
    """auto: top-10, or match-mismatch with 20 candidates or fewer."""
    bootstrap: PositiveInt = 1_000
    """Resamples behind each 95 % interval."""
    seed: int = Field(default=0, ge=0)
    """Of the orders of blocks and of the resamples."""
    ridge: RidgeSettings = RidgeSettings()
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the ridge is fitted and the network is asked; it is trained where its own settings say."""

    @field_validator("fractions")
    @classmethod
    def _nested(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if list(fractions) != sorted(set(fractions)) or not fractions or fractions[0] <= 0 or fractions[-1] != 1:
            raise ValueError("fractions must ascend, lie above 0 and end with 1")
        if len(fractions) < 3:
            raise ValueError(f"a line needs 3 fractions or more, found {len(fractions)}")
        return fractions
