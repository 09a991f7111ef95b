"""Which revision of a published data set a folder holds, as the tools that download it leave it behind.

In: the root of a data set and a file below it. Out: a commit, or None when nothing tells. Looked at are the metadata of
`hf download --local-dir`, the snapshots of the Hugging Face cache, and a git clone whose top is the root.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

COMMIT = re.compile(r"^[0-9a-f]{40}$")
METADATA = Path(".cache") / "huggingface" / "download"


def revision_of(root: Path, path: Path) -> str | None:
    """Commit that a file came with.

    Parameters
    ----------
    root
        Of the data set.
    path
        A file below it.
    """
    for folder in (root, *root.parents):
        if path.is_relative_to(folder):
            stated = folder / METADATA / f"{path.relative_to(folder)}.metadata"
            if stated.is_file():
                return _commit(_first_line(stated))
    parts = path.absolute().parts  # not resolved: the cache holds links to blobs without a revision
    for before, name in pairwise(parts):
        if before == "snapshots" and COMMIT.match(name):
            return name
    return _of_clone(root / ".git")


def _of_clone(git: Path) -> str | None:
    """Commit that a clone has checked out."""
    head = _first_line(git / "HEAD")
    if not head.startswith("ref: "):
        return _commit(head)
    reference = head.removeprefix("ref: ")
    packed = git / "packed-refs"
    lines = packed.read_text(encoding="utf-8", errors="replace").splitlines() if packed.is_file() else []
    named = [line.split(" ")[0] for line in lines if line.endswith(f" {reference}")]
    return _commit(_first_line(git / reference)) or _commit(named[0] if named else "")


def _first_line(path: Path) -> str:
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(200).strip()


def _commit(text: str) -> str | None:
    return text if COMMIT.match(text) else None
