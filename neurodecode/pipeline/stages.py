"""What is done, and what is put aside: keys of finished stages, reports, runs that other settings replace.

A stage is done when its key (a hash of its settings and of the keys of the stages it reads) is the one in OUT/stages.json.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurodecode.config import CodebookTrainSettings, PipelineSettings, TrainSettings, validate
from neurodecode.files import read_json, sha256_of_file, sha256_of_value, write_json

Say = Callable[[str], None]


class Stages:
    """Which stages are done, by key, in OUT/stages.json."""

    def __init__(self, path: Path, say: Say) -> None:
        self.path, self.say = path, say
        self.keys: dict[str, str] = read_json(path) if path.is_file() else {}

    def wanted(self, name: str, key: str, product: Path) -> bool:
        """Whether a stage must run; says why."""
        if self.keys.get(name) == key and product.exists():
            self.say(f"{name}: done before")
            return False
        if name not in self.keys:
            reason = "not done yet"
        elif not product.exists():
            reason = f"{product.name} is gone"
        else:
            reason = "its settings or what it reads changed"
        self.say(f"{name}: {reason}")
        return True

    def finished(self, name: str, key: str) -> None:
        """Write down that a stage is done."""
        self.keys[name] = key
        write_json(self.path, self.keys)


def report_run(name: str, run: Path, key: str, settings: PipelineSettings, stages: Stages) -> None:
    """Write the report of a run when it, its evaluations or the published figures have changed."""
    write_json(run / "published.json", [figure.model_dump() for figure in settings.published])
    evaluations = [sha256_of_file(path) for path in sorted((run / "evaluation").glob("*.json"))]
    key = sha256_of_value({"evaluation": key, "files": evaluations, "published": read_json(run / "published.json")})
    if stages.wanted(f"report {name}", key, run / "report.html"):
        from neurodecode.reports.report import write_report

        write_report(run)
        stages.finished(f"report {name}", key)


def put_other_run_aside(run: Path, settings: TrainSettings | CodebookTrainSettings, store: Path, say: Say) -> None:
    """Rename a run of other settings, signals or beginnings: results are kept, never mixed. One that can go on stays."""
    from neurodecode.training.run_folder import read_run

    if not (run / "run.json").is_file():
        return
    reason = _why_another(read_run(run), settings, store)
    if reason:
        say(f"  the run that was there ({reason}) is now {_put_aside(run).name}")


def _why_another(info: dict[str, Any], settings: TrainSettings | CodebookTrainSettings, store: Path) -> str:
    """Why a run cannot be continued with these settings on this store; empty if it can."""
    from neurodecode.training.chosen import described
    from neurodecode.training.codebook_stages import checkpoints
    from neurodecode.training.run_folder import first_difference

    cls = type(settings)
    if ("task" in info["settings"]) != (cls is CodebookTrainSettings):
        return "of another kind"
    begun = validate(cls, info["settings"], "run.json").model_dump(mode="json")
    different = first_difference(begun, settings.model_dump(mode="json"))
    if different:
        return f"{different[0]} was {different[1]}"
    stored = read_json(store / "cohort.json")["recordings"]
    chosen = [r for r in stored if not settings.subjects or r["subject"] in settings.subjects]
    if {r["name"]: r["sha256_signal"] for r in chosen} != info["store_sha256s"]:
        return "its signals were others"
    if info.get("channel_choice") != described(settings.channels):
        return "its channels were chosen otherwise"
    start = info.get("start_from")
    if (
        start
        and "checkpoints" in start
        and checkpoints(Path(start["run"]), list(start["checkpoints"])) != start["checkpoints"]
    ):
        return f"{Path(start['run']).name}, with which it began, was another"
    return ""


def put_other_layout_aside(folder: Path, layout: str, stages: Stages, before: str | None = None) -> None:
    """Rename the folder of a label that holds one run where many are wanted, or the other way round.

    Parameters
    ----------
    layout
        How it is split now.
    before
        How a folder is split of which no earlier command wrote it down; None: as now.
    """
    name = f"layout {folder.name}"
    if folder.exists() and stages.keys.get(name, before or layout) != layout:
        stages.say(
            f"{folder.name}: what was there, split otherwise by subject and seed, is now {_put_aside(folder).name}"
        )
    stages.finished(name, layout)


def _put_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return folder.rename(aside)
