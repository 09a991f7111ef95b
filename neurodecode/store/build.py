"""Raw recordings -> store, resumable, in parallel, with one line for each failure.

    from neurodecode.store.build import preprocess
    summary = preprocess(expand_source(path), Path("STORE"), PreprocessingSettings(), workers=4, on_error="continue")

Two rounds over the sources. The first opens each, hashes its files and says what has to be done and why (`plan`); the
second cleans and writes what has to be. Workers write recordings; this process alone writes stimuli and index. A run
that is killed leaves whole files only, and the same command goes on where it stopped.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError, StoreError
from neurodecode.files import sha256_of_file, sha256_of_value
from neurodecode.preprocessing.clean import clean
from neurodecode.preprocessing.parallel import Outcome, run_parallel
from neurodecode.progress import Bar
from neurodecode.recordings.recording import Recording, RecordingSource
from neurodecode.store.index import (
    StimulusContent,
    add_recording,
    check_stimuli,
    content_of,
    index_entry,
    prepare_folder,
    tidy,
    write_issues,
)
from neurodecode.store.lock import writing
from neurodecode.store.read import damage_of, read_attributes
from neurodecode.store.write import DATATYPES, recording_file, write_recording

DEPENDENCIES = ("mne", "numpy", "scipy", "h5py", "pandas")
Reason = Literal["new", "settings changed", "source changed", "damaged", "overwrite", "done before"]


@dataclass(frozen=True)
class Plan:
    """What one source asks for.

    Attributes
    ----------
    name
        Of the recording.
    file
        The stored file when there is one, else "".
    key
        Hash of settings and source identity.
    identity
        What the source is: files with hashes, adapter, options, stimuli.
    reason
        Why it is made (again), or `done before`.
    stimuli
        Of the recording, hashed.
    """

    name: str
    file: str
    key: str
    identity: dict[str, Any]
    reason: Reason
    stimuli: tuple[StimulusContent, ...]


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    done, skipped
        Names of recordings made, and of those that were already there; sorted.
    failed
        Each {file, name, error}.
    reasons
        Name -> why it was made: new, settings changed, source changed, damaged, overwrite.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def preprocess(
    sources: Sequence[RecordingSource],
    store: Path | str,
    settings: PreprocessingSettings,
    *,
    workers: int = 1,
    dask: str | None = None,
    on_error: Literal["stop", "continue"] = "stop",
    overwrite: bool = False,
    progress: bool = True,
    command: str | None = None,
) -> Summary:
    """Make or complete a store.

    Parameters
    ----------
    sources
        What to read; nothing is ever written there.
    store
        Folder: new, empty, or a store.
    settings
        Of preprocessing.
    workers
        Processes on this machine.
    dask
        Address of a Dask scheduler whose workers see the same folders; takes the place of `workers`.
    on_error
        stop: the first failure is raised, after what was finished has been indexed; continue: failures are collected
        in `issues.jsonl` and in the summary.
    overwrite
        Make everything again, and replace stimuli whose content differs.
    progress
        Show a bar on stderr when that is a terminal.
    command
        Written into each file; the command line of this process by default.

    Raises
    ------
    RecordingError, StoreError
        With `on_error="stop"`, the first failure; always when the folder is not a store.
    """
    if on_error not in ("stop", "continue"):
        raise StoreError(f"on_error is {on_error!r}, allowed are stop and continue")
    root = Path(store)
    if not sources:
        raise RecordingError("no recording to preprocess: the source is empty")
    prepare_folder(root)
    summary = Summary()
    command = " ".join(sys.argv) if command is None else command
    spread = {"workers": workers, "dask": dask}
    tried = {_source_name(source) for source in sources}
    with writing(root, partial(tidy, root)):
        try:
            plans = _plans(sources, root, settings, overwrite, on_error, summary, progress, spread)
            _work(plans, root, settings, overwrite, on_error, summary, progress, command, spread)
        finally:  # also after a failure or an interrupt: what is finished is in the index, what failed is on record
            summary.done.sort()
            summary.skipped.sort()
            summary.failed.sort(key=lambda issue: (issue["file"], issue["name"]))
            write_issues(root, summary.failed, tried)
    return summary


def plan(
    sources: Sequence[RecordingSource],
    store: Path | str,
    settings: PreprocessingSettings,
    *,
    workers: int = 1,
    overwrite: bool = False,
) -> tuple[list[Plan], list[dict[str, str]]]:
    """What `preprocess` would do, without writing anything: plans, and failures as {file, name, error}."""
    summary = Summary()
    spread = {"workers": workers, "dask": None}
    plans = _plans(sources, Path(store), settings, overwrite, "continue", summary, False, spread)
    return [made for _, made in plans], summary.failed


def _plans(
    sources: Sequence[RecordingSource],
    root: Path,
    settings: PreprocessingSettings,
    overwrite: bool,
    on_error: str,
    summary: Summary,
    progress: bool,
    spread: dict[str, Any],
) -> list[tuple[RecordingSource, Plan]]:
    """First round: (source, plan) of every source that can be read, in the order given."""
    found: dict[int, Plan] = {}
    failures: dict[int, Outcome] = {}
    function = partial(_plan_one, root=root, settings=settings, overwrite=overwrite)
    with Bar(progress) as bar:
        step = bar.stage("looking", len(sources))
        for outcome in run_parallel(function, sources, progress=lambda _: step(), **spread):
            if outcome.error is None:
                found[outcome.index] = outcome.value
            else:
                failures[outcome.index] = outcome
    first_of: dict[str, int] = {}
    for index in sorted(found):
        name = found[index].name
        if name in first_of:
            error = (
                f"{_source_name(sources[index])}: makes the recording {name}, and so does "
                f"{_source_name(sources[first_of[name]])}; give them different subject, session, task or run"
            )
            failures[index] = Outcome(index, None, error)
            del found[index]
        else:
            first_of[name] = index
    for index in sorted(failures):  # by index: the same failure is named whatever the workers' order
        _failed(summary, sources[index], "", failures[index], on_error)
    return [(sources[index], found[index]) for index in sorted(found)]


def _work(
    plans: list[tuple[RecordingSource, Plan]],
    root: Path,
    settings: PreprocessingSettings,
    overwrite: bool,
    on_error: str,
    summary: Summary,
    progress: bool,
    command: str,
    spread: dict[str, Any],
) -> None:
    """Second round: clean and write what has to be made; put everything into the index."""
    contents: dict[str, str] = {}  # stimulus -> hash, of this run
    waiting = []
    for source, made in plans:
        try:
            _agree(made, contents)
            check_stimuli(root, list(made.stimuli), overwrite)
            if made.reason == "done before":
                add_recording(root, index_entry(root, made.file), list(made.stimuli), overwrite)
                summary.skipped.append(made.name)
            else:
                waiting.append((source, made))
        except StoreError as error:
            _failed(summary, source, made.name, Outcome(0, None, str(error)), on_error)
    function = partial(_make_one, root=root, settings=settings, command=command)
    with Bar(progress) as bar:
        step = bar.stage("preprocessing", len(waiting))
        for outcome in run_parallel(function, waiting, progress=lambda _: step(), **spread):
            source, made = waiting[outcome.index]
            if outcome.error is None:
                add_recording(root, outcome.value, list(made.stimuli), overwrite)
                summary.done.append(made.name)
                summary.reasons[made.name] = made.reason
            else:
                _failed(summary, source, made.name, outcome, on_error)


def _plan_one(source: RecordingSource, *, root: Path, settings: PreprocessingSettings, overwrite: bool) -> Plan:
    """Open a source, hash what it is made of, and compare with what is stored."""
    recording = source.open()
    stimuli = tuple(content_of(recording.stimuli[name]) for name in sorted(recording.stimuli))
    identity = {
        "adapter": source.adapter,
        "options": [list(option) for option in source.options],
        "line_frequency": recording.line_frequency,
        "files": _files_of(recording, source),
        "stimuli": {content.stimulus.name: content.sha256 for content in stimuli},
    }
    if recording.language:
        identity["language"] = recording.language
    key = sha256_of_value({"settings": settings.identity(), "source": identity})
    stored = _stored_file(root, recording)
    reason: Reason = "new"
    if stored:
        reason = "overwrite" if overwrite else _compare(root / stored, settings, identity, key)
    return Plan(recording.name, stored, key, identity, reason, stimuli)


def _compare(path: Path, settings: PreprocessingSettings, identity: dict, key: str) -> Reason:
    if damage_of(path):
        return "damaged"
    attributes = read_attributes(path)
    if attributes["key"] == key:
        return "done before"
    stored = attributes["settings"]
    before = {name: stored.get(name) for name in settings.identity()}
    return "source changed" if before == settings.identity() else "settings changed"


def _stored_file(root: Path, recording: Recording) -> str:
    """The file that holds a recording of this name now, whatever its datatype; "" when there is none."""
    for datatype in DATATYPES:
        file = recording_file(recording.name, recording.subject, recording.session, datatype)
        if (root / file).is_file():
            return file
    return ""


def _make_one(
    item: tuple[RecordingSource, Plan], *, root: Path, settings: PreprocessingSettings, command: str
) -> dict[str, Any]:
    """Clean one recording and write it; returns its entry in the index. Runs in a worker."""
    source, made = item
    recording = source.open()
    if recording.name != made.name:
        raise RecordingError(f"{_source_name(source)}: was {made.name} and is now {recording.name}; run again")
    result = clean(recording, settings)
    file = recording_file(recording.name, recording.subject, recording.session, result.datatype)
    attributes = {
        "name": recording.name,
        "subject": recording.subject,
        "session": recording.session,
        "task": recording.task,
        "run": recording.run,
        "datatype": result.datatype,
        "sfreq": result.sfreq,
        "n_channels": len(result.signal),
        "line_frequency": recording.line_frequency,
        "simulated": recording.simulated,
        "language": recording.language,
        "source": made.identity,
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "command": command,
        "notes": [vars(note) for note in result.notes],
        "report": result.report,
        "key": made.key,
    }
    write_recording(root / file, result.signal, result.channels, result.events, result.bad_spans, attributes)
    return index_entry(root, file)


def _agree(made: Plan, contents: dict[str, str]) -> None:
    """Within a run one stimulus name stands for one content."""
    for content in made.stimuli:
        name = content.stimulus.name
        if contents.setdefault(name, content.sha256) != content.sha256:
            raise StoreError(
                f"{made.name}: the stimulus {name} has other content than in a recording before it; "
                "two stimuli need two names"
            )


def _files_of(recording: Recording, source: RecordingSource) -> list[dict[str, Any]]:
    """Each source file: path below the source's root, size and SHA-256; sorted."""
    base = (source.root or source.path.parent).resolve()
    entries = []
    for file in {Path(file).resolve() for file in recording.files}:
        if not file.is_file():
            raise RecordingError(f"{file}: vanished while {recording.name} was read; put it back")
        name = file.relative_to(base).as_posix() if file.is_relative_to(base) else file.name
        entries.append({"file": name, "bytes": file.stat().st_size, "sha256": sha256_of_file(file)})
    return sorted(entries, key=lambda entry: (entry["file"], entry["sha256"]))


def versions() -> dict[str, str]:
    """Of this package, of Python, and of what computes the signal."""
    found = {"python": platform.python_version()}
    for package in ("neurodecode", *DEPENDENCIES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _failed(summary: Summary, source: RecordingSource, name: str, outcome: Outcome, on_error: str) -> None:
    file = _source_name(source)
    error = outcome.error or ""
    summary.failed.append({"file": file, "name": name, "error": error})
    if on_error == "stop":
        there = (file, str(source.path), *([name] if name else []))  # what a message may name it by
        named = error if any(text in error for text in there) else f"{file}: {error}"
        failure = RecordingError(named)
        if outcome.details:
            failure.add_note(outcome.details)  # for --debug
        raise failure


def _source_name(source: RecordingSource) -> str:
    parts = [
        f"{key}-{value}"
        for key, value in (("sub", source.subject), ("ses", source.session), ("task", source.task), ("run", source.run))
        if value
    ]
    path = Path(source.path).as_posix()
    return path if Path(source.path).is_file() or not parts else f"{path} ({'_'.join(parts)})"
