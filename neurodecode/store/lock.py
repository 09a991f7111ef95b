"""Who writes a store right now: two advisory file locks that vanish with their process, however it ends.

`.lock` is held shared by every running `preprocess`; whoever can get it exclusively for a moment knows that nobody else
is writing, and may remove what a killed run left. `.index.lock` is held exclusively while index and stimuli change.
On a system without `fcntl` (Windows) there is no lock: run one writer at a time there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WRITERS = ".lock"
INDEX_LOCK = ".index.lock"


@contextmanager
def writing(root: Path, tidy: Callable[[], None]) -> Iterator[None]:
    """Be one of the writers of a store; calls `tidy` first if there is no other."""
    descriptor = os.open(root / WRITERS, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is None:
            tidy()
        else:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                tidy()
            except BlockingIOError:
                pass
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while another one tidies
        yield
    finally:
        os.close(descriptor)  # closing lets go of the lock


@contextmanager
def changing_index(root: Path) -> Iterator[None]:
    """Hold the index alone; waits for whoever holds it."""
    descriptor = os.open(root / INDEX_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
