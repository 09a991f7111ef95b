"""Names inside a BIDS tree: entities, the root, and which sidecars speak of a recording. Nothing is read here."""

from __future__ import annotations

import re
from pathlib import Path

from neurodecode.recordings.formats import first_of_split, is_recording_folder

DATATYPES = ("meg", "eeg", "ieeg")
ENTITY = re.compile(r"(?:^|_)([a-zA-Z]+)-([^_]+)")


def bids_root_of(path: Path) -> Path | None:
    """The BIDS root at or above a path: the nearest folder with a dataset_description.json, or with sub-* folders."""
    start = path if path.is_dir() and not is_recording_folder(path) else path.parent
    for folder in (start, *start.parents):
        if (folder / "dataset_description.json").is_file():
            return folder
    if any(p.is_dir() for p in start.glob("sub-*")):
        return start
    if path == start:
        return None
    entities = entities_of(path.name)
    parents = {p.name: p for p in path.parents}
    subject = parents.get(f"sub-{entities.get('sub')}")
    return subject.parent if subject and path.parent.name in DATATYPES else None


def entities_of(name: str) -> dict[str, str]:
    """`sub-01_task-x_run-2_eeg.edf` -> {sub: 01, task: x, run: 2}."""
    stem = name.split(".", 1)[0]
    return {key.lower(): value for key, value in ENTITY.findall(stem)}


def is_companion(path: Path) -> bool:
    """Whether a file is a part of another recording of the same name."""
    if path.suffix.lower() == ".eeg" and any(path.with_suffix(e).exists() for e in (".vhdr", ".ahdr")):
        return True
    return path.suffix.lower() in (".fif", ".gz") and first_of_split(path) is not None


def sidecars(path: Path, root: Path, suffix: str, ending: str) -> list[Path]:
    """Files that speak of a recording, the nearest last (the inheritance principle).

    A sidecar applies when each of its entities is one of the recording's with the same value; `space` is free.
    """
    mine = entities_of(path.name)
    folders = [root]
    for part in path.parent.relative_to(root).parts:
        folders.append(folders[-1] / part)
    found = []
    for folder in folders:
        here = []
        for file in sorted(folder.glob(f"*{suffix}{ending}")):
            if file.name != f"{suffix}{ending}" and not file.name.endswith(f"_{suffix}{ending}"):
                continue
            theirs = {k: v for k, v in entities_of(file.name).items() if k != "space"}
            if all(mine.get(key) == value for key, value in theirs.items()):
                here.append((len(theirs), file.name, file))
        found += [file for *_, file in sorted(here)]
    return found


def datatype_of_file(path: Path) -> str:
    """meg, eeg or ieeg: by the suffix of the name, else by the folder."""
    suffix = path.name.split(".", 1)[0].rsplit("_", 1)[-1]
    return suffix if suffix in DATATYPES else path.parent.name
