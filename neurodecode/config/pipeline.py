"""Settings of cohort cards (datasets/*.yaml) and pipelines (pipelines/*.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from neurodecode.config.base import Settings


class CohortCard(Settings):
    """One cohort: where it comes from, what may be done with it, what to expect of it."""

    name: str
    title: str = ""
    adapter: str = "auto"
    """auto: file, folder or BIDS root; else the name of a module of recordings/studies."""
    root: Path | None = None
    """Folder of the data on this machine; given with --set root=… or by the environment variable below."""
    root_variable: str | None = None
    """Environment variable that names the folder when root is not given."""
    root_below: Path | None = None
    """Sub-folder of what root_variable names."""
    simulate: str | None = None
    """Name of a simulation preset: the cohort is made, not found."""
    source: str = ""
    licence: str = ""
    revision: str = ""
    how_to_get: str = ""
    line_frequency: PositiveFloat | None = None
    """Mains frequency where it was recorded, Hz."""
    expected_recordings: PositiveInt | None = None
    expected_subjects: PositiveInt | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """Passed to the adapter."""


class PublishedFigure(Settings):
    """A figure from the literature, printed beside ours and marked as published."""

    what: str
    value: float | str
    source: str


class PipelineSettings(Settings):
    """This cohort x these configs, stage by stage."""

    name: str
    title: str = ""
    cohort: CohortCard | str
    """A card, or the name of one in datasets/."""
    preprocessing: dict[str, Any] | str
    """Settings, or the name of a preset in configs/preprocessing; likewise below."""
    training: dict[str, dict[str, Any] | str]
    """Label -> settings or preset in configs/training: one run each."""
    evaluation: dict[str, Any] | str = Field(default_factory=dict)
    published: tuple[PublishedFigure, ...] = ()
