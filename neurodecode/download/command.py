"""`neurodecode download`: card by name -> files in its folder, with a bar of bytes and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurodecode.config import CohortCard, load_settings
from neurodecode.config.download import RemoteFile
from neurodecode.download.cohort import Downloaded, download, files_of
from neurodecode.errors import SettingsError
from neurodecode.progress import Bar


def run_download(
    card: CohortCard,
    folder: Path | None,
    include: Sequence[str],
    workers: int,
    check: bool,
    refresh: bool,
    dry_run: bool,
    console: Any,
    progress: bool,
) -> list[str]:
    """Download a card's files, or only list them; give one line for each file that failed.

    Raises
    ------
    SettingsError
        Nothing says in which folder the data shall lie.
    DownloadError
        See `download`.
    """
    if dry_run:
        _print_listing(card, files_of(card, include=include), console)
        return []
    if folder is None and card.download:
        variable = f", or set {card.root_variable}" if card.root_variable else ""
        raise SettingsError(f"{card.name}: nothing says where the data shall lie; give --root FOLDER{variable}")
    if folder is None:
        files_of(card)  # refuses: the card names no host
        return []
    console.print(f"{card.name}: {card.source}", markup=False, soft_wrap=True)
    console.print(f"licence: {card.licence or 'not stated'}", markup=False, soft_wrap=True)
    with Bar(progress) as bar:
        steps: list[Any] = []
        done = download(
            card,
            folder,
            include,
            workers,
            refresh,
            check,
            step=lambda count: steps[0](count) if steps else None,
            start=lambda total: steps.append(bar.stage("bytes", total)),
        )
    _print_summary(folder, done, console)
    return [f"{path}: {reason}" for path, reason in sorted(done.failed.items())]


def load_download_card(name_or_file: str) -> CohortCard:
    """A card; nothing of its data need be there."""
    return load_settings(CohortCard, name_or_file, "datasets")


def _print_listing(card: CohortCard, files: Sequence[RemoteFile], console: Any) -> None:
    for file in files:
        size = "size unknown" if file.bytes is None else f"{file.bytes} bytes"
        console.print(f"{file.path}  {size}", markup=False, soft_wrap=True)
    known = [file.bytes for file in files if file.bytes is not None]
    more = "" if len(known) == len(files) else f" and {len(files) - len(known)} files of unknown size"
    console.print(f"{card.name}: {len(files)} files, {sum(known) / 1e9:.2f} GB{more}", markup=False, soft_wrap=True)


def _print_summary(folder: Path, done: Downloaded, console: Any) -> None:
    unpacked = f", {len(done.unpacked)} archives unpacked" if done.unpacked else ""
    console.print(
        f"{folder}: {len(done.fetched)} files fetched, {len(done.present)} already there, "
        f"{len(done.failed)} failed{unpacked}",
        markup=False,
        soft_wrap=True,
    )
