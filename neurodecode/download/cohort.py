"""A whole cohort from its hosts: card -> files in its folder, resumable, each whole or absent.

    neurodecode download duin2024 --root FOLDER --include 'data/seeg.he2023xuanwu/012/*'

FOLDER/.neurodecode-download.json says what came from where and when: URL, size and SHA-256 of each file. A file that is there
already and agrees is not asked for again; one that differs is left as it is, and named.
"""

from __future__ import annotations

import fnmatch
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurodecode.config import CohortCard
from neurodecode.config.download import RemoteFile
from neurodecode.download.hosts import authorization, list_files
from neurodecode.download.transfer import Web, digest_agrees, transfer
from neurodecode.errors import DownloadError
from neurodecode.files import PART, read_json, sha256_of_value, write_json

MANIFEST = ".neurodecode-download.json"
SPARE = 1 << 28  # bytes that stay free on the disk
BETWEEN = 5.0  # s between two writings of the manifest


@dataclass
class Downloaded:
    """What a download did.

    Attributes
    ----------
    fetched, present
        Paths below the folder: brought now, and there before.
    failed
        Path -> one line.
    unpacked
        Archives unpacked now.
    bytes
        Announced size of all files; of those whose host tells it.
    """

    fetched: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unpacked: list[str] = field(default_factory=list)
    bytes: int = 0


def files_of(card: CohortCard, web: Web | None = None, include: Sequence[str] = ()) -> list[RemoteFile]:
    """All files of a card's hosts, by path.

    Raises
    ------
    DownloadError
        The card names no host, a host does not answer, nothing matches, or two files would get one path.
    """
    if not card.download:
        get = f"; {card.how_to_get}" if card.how_to_get else ""
        raise DownloadError(f"{card.name}: its card names no host to download from{get}")
    web = web or Web(lambda url: authorization(url, card.download))
    files = [file for source in card.download for file in list_files(source, web)]
    taken: dict[str, str] = {}
    for file in files:
        if file.path in taken:
            raise DownloadError(f"{card.name}: {file.path} comes from {taken[file.path]} and from {file.url}")
        taken[file.path] = file.url
    return _matching(card, files, include)


def download(
    card: CohortCard,
    root: Path,
    include: Sequence[str] = (),
    workers: int = 4,
    refresh: bool = False,
    check: bool = False,
    web: Web | None = None,
    step: Callable[[int], None] = lambda count: None,
    start: Callable[[int], None] = lambda total: None,
) -> Downloaded:
    """Bring the files of a card to a folder.

    Parameters
    ----------
    card
        With `download`.
    root
        Folder of the cohort; made if absent.
    include
        Patterns of paths to take; all when empty.
    workers
        Files under way at the same time.
    refresh
        List the hosts again; else a listing that an earlier call wrote down is used.
    check
        Read all files that are there and compare them with what they were.
    web, step, start
        How to ask; told of bytes as they come; told of all bytes before the first.

    Raises
    ------
    DownloadError
        The hosts cannot be listed, or the disk is too small. A file that fails is in `failed` instead.
    """
    web = web or Web(lambda url: authorization(url, card.download))
    root.mkdir(parents=True, exist_ok=True)
    manifest = _Manifest(root, card)
    if refresh or not manifest.listing:
        manifest.keep(files_of(card, web))
    files = _matching(card, manifest.listing, include)
    done = Downloaded(bytes=sum(file.bytes or 0 for file in files))
    waiting = [file for file in files if not _there(file, root, manifest, done, check)]
    missing = sum(max(0, (file.bytes or 0) - _under_way(root / file.path)) for file in waiting)
    free = shutil.disk_usage(root).free
    if missing + SPARE > free:
        raise DownloadError(
            f"{root}: {missing / 1e9:.1f} GB are to come, {free / 1e9:.1f} GB are free; "
            "make room, or take a part with --include"
        )
    start(sum(file.bytes or 0 for file in waiting))

    def bring(file: RemoteFile) -> None:
        try:
            sha256 = transfer(file, root / file.path, web, step)
        except DownloadError as error:
            done.failed[file.path] = str(error)
        else:
            manifest.add(file, root / file.path, sha256)
            done.fetched.append(file.path)

    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        list(pool.map(bring, waiting))
    finally:
        # on an interrupt the files that have not begun do not begin
        pool.shutdown(wait=True, cancel_futures=True)
        manifest.write()
    _unpack_all(card, root, files, manifest, done)
    done.fetched.sort()
    return done


class _Manifest:
    """What an earlier call listed and brought, in the cohort's folder."""

    def __init__(self, root: Path, card: CohortCard) -> None:
        self.path = root / MANIFEST
        self.lock = threading.Lock()
        self.written = 0.0
        key = sha256_of_value([source.model_dump(mode="json") for source in card.download])
        found: dict[str, Any] = read_json(self.path) if self.path.is_file() else {}
        if found.get("card") not in (None, card.name):
            raise DownloadError(f"{root}: holds the download of {found['card']}; give {card.name} a folder of its own")
        self.values: dict[str, Any] = {
            "card": card.name,
            "source": card.source,
            "revision": card.revision,
            "licence": card.licence,
            "key": key,
            "listing": found.get("listing", []) if found.get("key") == key else [],
            "files": found.get("files", {}),
            "unpacked": found.get("unpacked", {}),
        }

    @property
    def listing(self) -> list[RemoteFile]:
        return [RemoteFile(**entry) for entry in self.values["listing"]]

    def keep(self, files: list[RemoteFile]) -> None:
        self.values["listing"] = [file.model_dump(mode="json") for file in files]
        self.write()

    def add(self, file: RemoteFile, path: Path, sha256: str) -> None:
        with self.lock:
            self.values["files"][file.path] = {
                "url": file.url,
                "bytes": path.stat().st_size,
                "sha256": sha256,
                "digest": file.digest,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            # of thousands of small files not after each: what is not written down is read and compared next time
            if time.monotonic() - self.written > BETWEEN:
                self.write()

    def write(self) -> None:
        write_json(self.path, self.values)
        self.written = time.monotonic()


def _matching(card: CohortCard, files: list[RemoteFile], include: Sequence[str]) -> list[RemoteFile]:
    wanted = [f for f in files if not include or any(fnmatch.fnmatchcase(f.path, pattern) for pattern in include)]
    if not wanted:
        raise DownloadError(
            f"{card.name}: none of its {len(files)} files matches {', '.join(include)}; --dry-run lists them"
        )
    return sorted(wanted, key=lambda file: file.path)


def _there(file: RemoteFile, root: Path, manifest: _Manifest, done: Downloaded, check: bool) -> bool:
    """Whether nothing is to be brought for a file: it is there, or something else is and stays."""
    path = root / file.path
    if not path.exists():
        return False
    entry = manifest.values["files"].get(file.path)
    size = path.stat().st_size
    known = entry["bytes"] if entry else file.bytes
    if known is not None and size != known:
        wrong = f"has {size} bytes, {known} are right"
    elif entry and entry["digest"] == file.digest and not check:
        wrong = ""
    else:
        agrees, sha256 = digest_agrees(file, path)
        wrong = (
            "" if agrees and (not entry or entry["sha256"] == sha256) else "is not what its host has, or not any more"
        )
        if not wrong and not entry:
            manifest.add(file, path, sha256)
    if wrong:
        done.failed[file.path] = f"{path}: {wrong}; it is left as it is: move it away and repeat the command"
    else:
        done.present.append(file.path)
    return True


def _under_way(target: Path) -> int:
    part = target.with_name(f".{target.name}{PART}")
    return part.stat().st_size if part.is_file() else 0


def _unpack_all(card: CohortCard, root: Path, files: list[RemoteFile], manifest: _Manifest, done: Downloaded) -> None:
    folders = [source.into for source in card.download if source.unpack]
    for file in files:
        asked = any(into == "." or file.path.startswith(f"{into}/") for into in folders)
        if not asked or not file.path.endswith(".zip") or file.path in done.failed:
            continue
        sha256 = manifest.values["files"][file.path]["sha256"]
        target = (root / file.path).with_suffix("")
        if target.exists():
            if manifest.values["unpacked"].get(file.path) != sha256:
                done.failed[file.path] = f"{target}: is there already and did not come from {file.path}; move it away"
            continue
        # before the folder has its name: a kill in between unpacks again, and never disowns what is ours
        manifest.values["unpacked"][file.path] = sha256
        manifest.write()
        try:
            _unpack(root / file.path, target)
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:
            done.failed[file.path] = f"{root / file.path}: cannot be unpacked ({error})"
            continue
        done.unpacked.append(file.path)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack into a folder that takes its name when it is whole; a single folder inside is not doubled."""
    part = target.with_name(f".{target.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(part)
    shutil.rmtree(part / "__MACOSX", ignore_errors=True)
    inside = list(part.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        inside[0].rename(target)
        part.rmdir()
    else:
        part.rename(target)
