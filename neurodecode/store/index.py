"""The index `cohort.json`, its stimuli and `issues.jsonl`: changed by the parent process alone, under the index lock.

Entries in; files out, each replaced as a whole, so that a reader sees the old index or the new one.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.errors import StoreError
from neurodecode.files import atomic_path, sha256_of_file, write_json, write_text
from neurodecode.recordings.recording import Stimulus
from neurodecode.store.lock import changing_index
from neurodecode.store.read import read_attributes
from neurodecode.store.store import (
    INDEX,
    INDEX_SCHEMA,
    ISSUES,
    STIMULI,
    StoredStimulus,
    hash_of_array_stimulus,
    hash_of_stimulus,
    read_index,
)
from neurodecode.store.verify import part_files

AUDIO = (".wav", ".flac", ".ogg", ".mp3")
OWN = frozenset({INDEX, ISSUES, STIMULI, "features", ".lock", ".index.lock"})


@dataclass(frozen=True)
class StimulusContent:
    """A stimulus of a source with its content hash, before it is copied."""

    stimulus: Stimulus
    sha256: str
    kind: str
    suffix: str


def content_of(stimulus: Stimulus) -> StimulusContent:
    """Hash a stimulus.

    Raises
    ------
    StoreError
        If it has neither audio nor values, or its audio is missing or of another format.
    """
    if "/" in stimulus.name or "\\" in stimulus.name or stimulus.name.startswith(".") or not stimulus.name:
        raise StoreError(f"stimulus {stimulus.name!r}: cannot be a file name; rename it in the events")
    if stimulus.audio is not None:
        audio = Path(stimulus.audio)
        suffix = audio.suffix.lower()
        if not audio.is_file():
            raise StoreError(f"stimulus {stimulus.name}: the audio {audio} is missing; put it there")
        if suffix not in AUDIO:
            raise StoreError(f"stimulus {stimulus.name}: {audio.name} is not one of {', '.join(AUDIO)}; convert it")
        return StimulusContent(stimulus, sha256_of_file(audio), "audio", suffix)
    if stimulus.values is None or not stimulus.rate:
        raise StoreError(f"stimulus {stimulus.name}: neither audio nor values with a rate")
    values = np.asarray(stimulus.values)
    digest = hash_of_array_stimulus(values, float(stimulus.rate), float(stimulus.t0))
    return StimulusContent(stimulus, digest, "array", ".npz")


def prepare_folder(root: Path) -> None:
    """Make the folder of a store, or accept one that is a store or empty.

    Raises
    ------
    StoreError
        If it holds something else.
    """
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root}: is a file; give the folder of a store")
    strange = []
    if root.is_dir() and not (root / INDEX).is_file():
        strange = sorted(p.name for p in root.iterdir() if p.name not in OWN and not p.name.endswith(".part"))
    if strange:
        raise StoreError(f"{root}: holds {strange[0]} but no {INDEX}: not a store; give an empty or a new folder")
    root.mkdir(parents=True, exist_ok=True)
    with changing_index(root):
        if not (root / INDEX).is_file():
            write_json(root / INDEX, {"schema": INDEX_SCHEMA, "recordings": [], "stimuli": {}, "issues": 0})


def tidy(root: Path) -> None:
    """Remove what killed runs left: temporary files, and index entries whose file is gone. For a lone writer only."""
    for file in part_files(root):
        file.unlink(missing_ok=True)
    with changing_index(root):
        index = _index(root)
        recordings = [entry for entry in index["recordings"] if (root / entry["file"]).is_file()]
        stimuli = {name: entry for name, entry in index["stimuli"].items() if (root / entry["file"]).is_file()}
        if len(recordings) < len(index["recordings"]) or len(stimuli) < len(index["stimuli"]):
            write_json(root / INDEX, index | {"recordings": recordings, "stimuli": stimuli})


def index_entry(root: Path, file: str) -> dict[str, Any]:
    """The index's entry of a stored recording, from the file itself."""
    attributes = read_attributes(root / file)
    names = ("name", "subject", "session", "task", "run", "datatype", "sfreq")
    return {
        "file": file,
        **{name: attributes[name] for name in names},
        "simulated": bool(attributes.get("simulated", False)),
        "language": attributes.get("language", ""),
        "n_channels": attributes["n_channels"],
        "n_samples": attributes["n_samples"],
        "seconds": attributes["n_samples"] / attributes["sfreq"],
        "sha256_signal": attributes["sha256"]["signal"],
        "key": attributes["key"],
        "n_notes": len(attributes["notes"]),
    }


def check_stimuli(root: Path, stimuli: list[StimulusContent], overwrite: bool) -> None:
    """Refuse a stimulus whose name stands for something else in the store.

    Raises
    ------
    StoreError
        Unless `overwrite` is set.
    """
    present = read_index(root)["stimuli"]
    for content in stimuli:
        name = content.stimulus.name
        if not overwrite and name in present and present[name]["sha256"] != content.sha256:
            raise StoreError(
                f"{root}: the stimulus {name} is in the store with other content; two stimuli need two names, "
                "or pass --overwrite if the source was changed on purpose"
            )


def add_recording(root: Path, entry: dict[str, Any], stimuli: list[StimulusContent], overwrite: bool) -> None:
    """Copy stimuli and put a recording into the index, in one change under the lock.

    Raises
    ------
    StoreError
        As `check_stimuli`.
    """
    with changing_index(root):
        check_stimuli(root, stimuli, overwrite)
        index = _index(root)
        for content in stimuli:
            index["stimuli"][content.stimulus.name] = _copy_stimulus(root, content)
        index["stimuli"] = dict(sorted(index["stimuli"].items()))
        # one name is one recording: an entry of another datatype or folder is what the recording was before
        others = [e for e in index["recordings"] if e["name"] != entry["name"]]
        for old in index["recordings"]:
            if old["name"] == entry["name"] and old["file"] != entry["file"]:
                (root / old["file"]).unlink(missing_ok=True)
        index["recordings"] = sorted([*others, entry], key=lambda e: (e["subject"], e["session"], e["name"]))
        write_json(root / INDEX, index)


def write_issues(root: Path, failed: list[dict[str, str]], tried: set[str]) -> None:
    """Replace the lines of `issues.jsonl` about the sources of this run; lines about other sources stay."""
    with changing_index(root):
        path = root / ISSUES
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [issue for issue in map(json.loads, lines) if issue["file"] not in tried]
        issues = sorted(kept + failed, key=lambda issue: (issue["file"], issue["name"]))
        if issues or path.is_file():
            write_text(path, "".join(json.dumps(issue, ensure_ascii=False) + "\n" for issue in issues))
        index = _index(root)
        if index["issues"] != len(issues):
            write_json(root / INDEX, index | {"issues": len(issues)})


def _copy_stimulus(root: Path, content: StimulusContent) -> dict[str, str]:
    stimulus = content.stimulus
    file = f"{STIMULI}/{stimulus.name}{content.suffix}"
    target = StoredStimulus(stimulus.name, root / file, content.sha256, content.kind)
    if not _is_there(target):
        for other in (*AUDIO, ".npz"):  # the same name in another format is what it was before
            if other != content.suffix:
                (root / STIMULI / f"{stimulus.name}{other}").unlink(missing_ok=True)
        with atomic_path(target.path) as temporary:
            if content.kind == "audio":
                assert stimulus.audio is not None
                shutil.copyfile(stimulus.audio, temporary)
            else:
                with open(temporary, "wb") as opened:
                    np.savez(
                        opened,
                        values=np.asarray(stimulus.values),
                        rate=float(stimulus.rate or 0),
                        t0=float(stimulus.t0),
                    )
    return {"file": file, "sha256": content.sha256, "kind": content.kind}


def _is_there(target: StoredStimulus) -> bool:
    try:
        return hash_of_stimulus(target) == target.sha256
    except StoreError:
        return False


def _index(root: Path) -> dict[str, Any]:
    """The index, or an empty one when it is damaged: every recording of the run is put in again."""
    try:
        return read_index(root)
    except StoreError:
        return {"schema": INDEX_SCHEMA, "recordings": [], "stimuli": {}, "issues": 0}
