"""Settings of the evaluation and its controls."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from neurodecode.config.base import Settings


class RidgeSettings(Settings):
    """The backward linear model that stands beside every network."""

    lags: tuple[float, float] = (0.0, 0.25)
    """Brain lags after the sound that predict it, s."""
    penalties: tuple[float, ...] = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Tried on held-out parts of the training data only; in units of the mean eigenvalue."""
    scope: Literal["subject", "cohort"] = "subject"
    """One model a subject, or one for all."""


class EvaluationSettings(Settings):
    """What is scored and against what."""

    score: Literal["auto", "clip", "correlation"] = "auto"
    """auto: what the objective trained (clip: section 5; correlation for mse and ridge)."""
    candidates: Literal["all", "same-run"] = "all"
    """Pool of the main figure: every distinct test segment once, or those of the query's own run."""
    bootstrap: PositiveInt = 1_000
    permutations: PositiveInt = 1_000
    seed: int = 0
    controls: tuple[Literal["noise", "shuffled", "constant", "ridge", "ridge-shifted"], ...] = (
        "noise",
        "shuffled",
        "constant",
        "ridge",
        "ridge-shifted",
    )
    ridge: RidgeSettings = RidgeSettings()
    batch_size: PositiveInt = 256
    examples: int = Field(6, ge=0)
    """Queries shown with their top five candidates in the report."""
