"""Progress on standard error, where a person looks: the one bar of every long stage.

    with Bar(wanted=True) as bar:
        step = bar.stage("preprocessing", total=12)
        step()              # one is done
        step(5)             # five more
    for item in watched(items, "features mel", wanted=True):
        ...

Nothing is shown, and rich is not imported, unless it is wanted and standard error is a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Step(Protocol):
    """Told how many more are done."""

    def __call__(self, n: int = 1, /) -> None: ...


class Bar:
    """A bar with a line for each stage; silent without a terminal.

    Parameters
    ----------
    wanted
        Whether to show anything at all.
    transient
        Whether the lines vanish at the end.
    """

    def __init__(self, wanted: bool, transient: bool = False) -> None:
        self.wanted = wanted and sys.stderr.isatty()
        self.transient = transient
        self.progress: Any = None

    def __enter__(self) -> Bar:
        if self.wanted:
            from rich.console import Console
            from rich.progress import Progress

            self.progress = Progress(console=Console(stderr=True), transient=self.transient)
            self.progress.start()
        return self

    def stage(self, title: str, total: int | None) -> Step:
        """A new line of `total` steps (None: not known); call what it returns as they are done."""
        if self.progress is None or total == 0:
            return _silent
        task = self.progress.add_task(title, total=total)

        def step(n: int = 1, /) -> None:
            self.progress.advance(task, n)

        return step

    def __exit__(self, *exception: object) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def watched(items: Sequence[T], title: str, wanted: bool) -> Iterator[T]:
    """The same items, with a bar that counts those that were dealt with."""
    with Bar(wanted) as bar:
        step = bar.stage(title, len(items))
        for item in items:
            yield item
            step()


def _silent(n: int = 1, /) -> None:
    """Where nobody looks."""
