"""One file over HTTP: resumed where it broke off, checked, and only then given its name.

A file that is under way is `.<name>.part` beside its place, with `.<name>.part.json` saying which version of the remote file it
belongs to. It goes on only if the host says that the version is the same, or if a digest is known to check the whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from neurodecode.config.download import RemoteFile
from neurodecode.errors import DownloadError
from neurodecode.files import CHUNK, PART, read_json, write_json

TIMEOUT = (30.0, 90.0)  # s, to connect and between two pieces
ATTEMPTS = 6  # in a row that bring nothing
LONGEST_PAUSE = 900.0  # s; a host that asks for more is not waited for
PIECE = 1 << 14  # bytes read at once: so much at most is lost when a connection drops
LATER = (429, 500, 502, 503, 504)  # answers that may be other ones in a while


class BrokenOff(requests.RequestException):
    """Less came than was announced."""


class Web:
    """Requests with patience: a dropped connection or an overloaded host is asked again.

    Parameters
    ----------
    headers
        Of a URL: authorization, mostly.
    pause
        Waits for so many seconds.
    """

    def __init__(
        self,
        headers: Callable[[str], dict[str, str]] = lambda url: {},
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.headers, self.pause = headers, pause

    @contextmanager
    def get(self, url: str, **headers: str) -> Iterator[requests.Response]:
        """One answer, its body not read yet; requests.RequestException when there is none."""
        # bytes as they are stored: a length that counts compressed bytes would be of no use
        asked = {"Accept-Encoding": "identity", "User-Agent": "neurodecode", **self.headers(url), **headers}
        with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as answer:
            yield answer

    def wait(self, tries: int, answer: requests.Response | None, what: str) -> None:
        """Pause before another attempt; longer each time, or as long as the host says."""
        said = (answer.headers.get("Retry-After") or "") if answer is not None else ""
        seconds = float(said) if said.isdigit() else min(2.0**tries, 60.0)
        if seconds > LONGEST_PAUSE:
            raise DownloadError(
                f"{what}: the host asks to wait {seconds:.0f} s; the same command goes on from here later"
            )
        self.pause(seconds)

    def text(self, url: str) -> str:
        """Body of an answer, as text."""
        return self._read(url)[0]

    def json(self, url: str) -> Any:
        """Body of an answer, as JSON."""
        return json.loads(self.text(url))

    def json_page(self, url: str) -> tuple[Any, str | None]:
        """Body as JSON, and the next page that the header `Link` names."""
        text, following = self._read(url)
        return json.loads(text), following

    def _read(self, url: str) -> tuple[str, str | None]:
        for tries in range(ATTEMPTS):
            answer = None
            try:
                with self.get(url) as answer:
                    if answer.status_code == 200:
                        return answer.text, answer.links.get("next", {}).get("url")
                    _refuse(answer, url)
            except requests.RequestException as error:
                reason = _why(error)
            else:
                reason = f"HTTP {answer.status_code}"
            if tries + 1 < ATTEMPTS:
                self.wait(tries, answer, url)
        raise DownloadError(f"{url}: no answer after {ATTEMPTS} attempts ({reason}); try again later")


def transfer(file: RemoteFile, target: Path, web: Web, step: Callable[[int], None] = lambda count: None) -> str:
    """Bring a file to `target`; give its SHA-256.

    Parameters
    ----------
    file
        What and where; its size and digest are checked if known.
    target
        Takes its name only when it is whole. Must not exist.
    web
        How to ask.
    step
        Is told of bytes as they come; of a negative number when some turn out to be useless.

    Raises
    ------
    DownloadError
        The host refuses, stays away, or gives other bytes than it announces.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}{PART}")
    note = part.with_name(part.name + ".json")
    step(_size(part))
    spoilt = False
    tries = 0
    while True:
        before = _size(part)
        try:
            total = _continue(file, part, note, web, step)
            if _size(part) != total:
                raise BrokenOff(f"the connection ended after {_size(part)} of {total} bytes")
        except requests.RequestException as error:
            # an attempt that brought something does not count
            tries = 0 if _size(part) > before else tries + 1
            if tries >= ATTEMPTS:
                raise DownloadError(
                    f"{file.url}: broke off at {_size(part)} bytes and {ATTEMPTS} attempts brought no more "
                    f"({_why(error)}); the same command goes on from there"
                ) from None
            web.wait(tries, error.response, file.url)
            continue
        except OSError as error:
            raise DownloadError(
                f"{part}: cannot be written ({_why(error)}); the same command goes on from here"
            ) from None
        wrong, sha256 = _check(file, part)
        if not wrong:
            with open(part, "rb+") as whole:
                os.fsync(whole.fileno())
            os.replace(part, target)
            note.unlink(missing_ok=True)
            return sha256
        step(-_size(part))
        part.unlink()
        note.unlink(missing_ok=True)
        if spoilt:
            raise DownloadError(f"{file.url}: {wrong}, twice; nothing of it is kept")
        # perhaps stitched from two versions of the remote file: once more, from the start
        spoilt = True


def _continue(file: RemoteFile, part: Path, note: Path, web: Web, step: Callable[[int], None]) -> int:
    """Ask for what is missing of `part` and append it; give the announced size of the whole."""
    have = _size(part)
    known = read_json(note) if note.is_file() else {}
    tag = known.get("etag") if known.get("url") == file.url else None
    if have and not (tag or file.digest):
        # nothing tells whether the rest belongs to the same version
        step(-have)
        part.unlink()
        have = 0
    if have and have == file.bytes:
        return have
    asked = {"Range": f"bytes={have}-"} if have else {}
    if have and tag:
        asked["If-Range"] = tag
    with web.get(file.url, **asked) as answer:
        if answer.status_code == 416 and have:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                return have
            step(-have)
            part.unlink()
            raise BrokenOff("the host has fewer bytes than are here already")
        if answer.status_code in LATER:
            raise requests.HTTPError(f"HTTP {answer.status_code}", response=answer)
        _refuse(answer, file.url)
        mode = "ab"
        if answer.status_code == 206 and have:
            span = answer.headers.get("Content-Range", "")
            if not span.startswith(f"bytes {have}-"):
                raise DownloadError(f"{file.url}: asked for bytes from {have} on, got {span!r}")
            size = span.rpartition("/")[2]
            total = int(size) if size.isdigit() else have + int(answer.headers["Content-Length"])
        else:
            # the whole file: the host knows no ranges, or has another version by now
            step(-have)
            mode, have = "wb", 0
            length = answer.headers.get("Content-Length")
            if length is None and file.bytes is None:
                raise DownloadError(f"{file.url}: neither the host nor the card says how long it is; give its bytes")
            total = int(length) if length is not None else int(file.bytes or 0)
        if file.bytes is not None and total != file.bytes:
            raise DownloadError(f"{file.url}: has {total} bytes, {file.bytes} are announced; look at it in a browser")
        etag = answer.headers.get("ETag")
        # a weak tag promises the same meaning, not the same bytes
        write_json(note, {"url": file.url, "etag": etag if etag and not etag.startswith("W/") else None})
        with open(part, mode) as out:
            for piece in answer.iter_content(PIECE):
                out.write(piece)
                step(len(piece))
    return total


def _check(file: RemoteFile, path: Path) -> tuple[str, str]:
    """What is wrong with a whole file ("" if nothing), and its SHA-256."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as opened:
        while chunk := opened.read(CHUNK):
            sha256.update(chunk)
            if file.digest and file.digest.startswith("md5"):
                md5.update(chunk)
    if not file.digest:
        return "", sha256.hexdigest()
    kind, _, value = file.digest.partition(":")
    found = (sha256 if kind == "sha256" else md5).hexdigest()
    wrong = "" if found == value else f"{kind} is {found[:12]}.., {value[:12]}.. is announced"
    return wrong, sha256.hexdigest()


def digest_agrees(file: RemoteFile, path: Path) -> tuple[bool, str]:
    """Whether a file here is the announced one (True if no digest is known), and its SHA-256."""
    wrong, sha256 = _check(file, path)
    return not wrong, sha256


def _refuse(answer: requests.Response, url: str) -> None:
    """Stop at an answer that no patience will change."""
    status = answer.status_code
    if status in (401, 403):
        raise DownloadError(
            f"{url}: the host refuses (HTTP {status}): log in there, or set its token (docs/studies.md)"
        )
    if status >= 400 and status not in LATER:
        raise DownloadError(f"{url}: the host answers HTTP {status}; look at it in a browser")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _why(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
