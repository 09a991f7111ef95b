"""Settings of which channels a run reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt, model_validator

from neurodecode.config.base import Settings


class ChannelChoice(Settings):
    """Which channels of each subject a run reads: by a ranking, by region, or by name."""

    file: Path | None = None
    """selection.json of `neurodecode channels STORE --config METHOD --out FOLDER`. Refused if what it was ranked on stands in a
    test or validation window of the run."""
    regions: tuple[str, ...] = ()
    """Regions of the channel table, or groups of them such as vSMC and STG; `left STG` takes one side."""
    names: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Subject -> channels, for a choice that was made without these recordings (published lists, clinical knowledge)."""
    top: PositiveInt | None = None
    """So many of the best of `file`; none takes those that the file chose."""

    @model_validator(mode="after")
    def _one_way(self) -> ChannelChoice:
        given = [name for name in ("file", "regions", "names") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"channels needs one of file, regions and names, not {' and '.join(given) or 'none'}")
        if self.top is not None and self.file is None:
            raise ValueError(f"top is {self.top}: only a file has an order, leave top out with {given[0]}")
        return self
