"""Rankings of channels, and tables of baselines: what a pipeline has beside trained runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import CodebookTrainSettings
from neurodecode.config.baselines import BaselineSettings
from neurodecode.config.channels import ChannelChoice
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.files import read_json, sha256_of_value
from neurodecode.pipeline.stages import Stages


def rank(settings: SelectionSettings, out: Path, store_key: str, stages: Stages, progress: bool) -> Path:
    """Rank the channels of the store, and draw the maps; returns the file that runs read."""
    from neurodecode.channels.selection import FILE

    folder = out / "channels"
    key = sha256_of_value({"channels": settings.model_dump(mode="json"), "store": store_key})
    if stages.wanted("channels", key, folder / FILE):
        from neurodecode.files import plain
        from neurodecode.reports.channel_maps import draw_selection
        from neurodecode.selection.rank import rank_channels

        selection = rank_channels(settings, out / "store", folder, _told(progress))
        draw_selection(plain(selection), folder)
        stages.finished("channels", key)
    return folder / FILE


def with_ranking(stages: Mapping[str, CodebookTrainSettings], file: Path) -> dict[str, CodebookTrainSettings]:
    """The settings of runs, reading the ranked channels where they do not say otherwise."""
    choice = ChannelChoice(file=file)
    return {
        label: training if training.channels is not None else training.model_copy(update={"channels": choice})
        for label, training in stages.items()
    }


def make_tables(
    tables: Mapping[str, BaselineSettings],
    out: Path,
    stages: Stages,
    on_error: Literal["stop", "continue"],
    progress: bool,
    show: Callable[[dict[str, Any]], None] | None,
) -> list[str]:
    """Make the tables of baselines and their pages; returns one line a table that failed."""
    failed = []
    for label, settings in tables.items():
        from neurodecode.evaluation.classification.table import run_baselines
        from neurodecode.pipeline.cohort import signals
        from neurodecode.reports.report import write_report

        folder = out / "tables" / label
        key = sha256_of_value({"table": settings.model_dump(mode="json"), "signals": signals(out / "store")})
        written = folder / "baselines.json"
        if stages.wanted(f"table {label}", key, written):
            try:  # answers that are there already are kept
                run_baselines(settings, out / "store", folder, say=_told(progress))
            except NeurodecodeError as error:
                if on_error == "stop":
                    raise
                failed.append(f"table {label}: {error}")
                stages.say(f"failed: {failed[-1]}")
                continue
            stages.finished(f"table {label}", key)
        stages.say(f"report: {write_report(folder)}")
        if show is not None:
            show(read_json(written))
    return failed


def _told(progress: bool) -> Callable[[str], None]:
    """Where lines about what is being done go: to a person who looks, else nowhere."""
    return (lambda line: print(line, file=sys.stderr)) if progress else (lambda line: None)
