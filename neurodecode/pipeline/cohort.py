"""The first stages: recordings found or simulated, and the store that is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from neurodecode.config import CohortCard, PreprocessingSettings, SimulationSettings, load_settings
from neurodecode.files import read_json, sha256_of_value
from neurodecode.pipeline.stages import Say, Stages


def find_cohort(card: CohortCard, out: Path, stages: Stages) -> tuple[list, str]:
    """Recordings of the cohort, simulated first if the card says so."""
    from neurodecode.recordings.sources import expand_source

    if not card.simulate:
        sources = expand_source(card)
        if card.expected_recordings and len(sources) != card.expected_recordings:
            stages.say(f"{card.name}: {len(sources)} recordings found, the card expects {card.expected_recordings}")
        subjects = len({source.subject for source in sources})
        if card.expected_subjects and subjects != card.expected_subjects:
            stages.say(f"{card.name}: {subjects} subjects found, the card expects {card.expected_subjects}")
        return sources, sha256_of_value(card.model_dump(mode="json", exclude={"root"}))
    simulation = load_settings(SimulationSettings, card.simulate, "configs/simulation", _as_overrides(card.options))
    key = sha256_of_value(simulation.model_dump(mode="json"))
    if stages.wanted("simulate", key, out / "cohort"):
        from neurodecode.simulation.simulate import simulate

        simulate(simulation, out / "cohort", overwrite=True)
        stages.finished("simulate", key)
    return expand_source(out / "cohort"), key


def _as_overrides(options: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def make_store(
    sources: list,
    store: Path,
    settings: PreprocessingSettings,
    workers: int,
    on_error: Literal["stop", "continue"],
    progress: bool,
    say: Say,
) -> list[str]:
    """Preprocess; the store itself knows which recordings are done, and why one is redone."""
    from neurodecode.store.build import preprocess
    from neurodecode.store.notes import warning_lines

    summary = preprocess(sources, store, settings, workers=workers, on_error=on_error, progress=progress)
    say(
        f"preprocess: {len(summary.done)} prepared, {len(summary.skipped)} already done, "
        f"{len(summary.failed)} failed -> {store}"
    )
    for name, reason in sorted(summary.reasons.items()):
        if reason != "new":
            say(f"  {name} redone: {reason}")
    for line in warning_lines(store):
        say(line)
    failed = [issue_line(issue) for issue in summary.failed]
    for line in failed:
        say(f"failed: {line}")
    return failed


def issue_line(issue: dict[str, str]) -> str:
    """One line about a recording that failed; the file is named once."""
    path = issue["file"].partition(" (")[0]  # without the recording's name
    return issue["error"] if issue["error"].startswith(path) else f"{issue['file']}: {issue['error']}"


def signals(store: Path) -> list[str]:
    """Names and hashes of all signals of a store, sorted."""
    return sorted(f"{r['name']} {r['sha256_signal']}" for r in read_json(store / "cohort.json")["recordings"])
