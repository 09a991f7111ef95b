"""What a host has: a DownloadSource of a card -> list of RemoteFile, with sizes and digests where the host tells them.

Each host is one function. Nothing is downloaded here but listings.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlparse
from xml.etree import ElementTree

from neurodecode.config.download import (
    ChecksumsSource,
    DownloadSource,
    DryadSource,
    FilesSource,
    HuggingFaceSource,
    OpenNeuroSource,
    OsfSource,
    RemoteFile,
)
from neurodecode.download.transfer import Web
from neurodecode.errors import DownloadError

S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
TOKENS = {"osf": "OSF_TOKEN", "huggingface": "HF_TOKEN", "dryad": "DRYAD_TOKEN"}


def list_files(source: DownloadSource, web: Web) -> list[RemoteFile]:
    """Files of a host that the source asks for, by path.

    Raises
    ------
    DownloadError
        The host does not answer, answers something else than a listing, or has nothing that is asked for.
    """
    try:
        every = list(_LISTINGS[source.host](source, web))
    except (KeyError, TypeError, ValueError, ElementTree.ParseError) as error:
        raise DownloadError(f"{_name(source)}: the listing is not what {source.host} gives ({error!r})") from None
    wanted = [
        file
        for file in every
        if any(fnmatch.fnmatchcase(file.path, p) for p in source.include)
        and not any(fnmatch.fnmatchcase(file.path, p) for p in source.exclude)
    ]
    if not wanted:
        raise DownloadError(
            f"{_name(source)}: none of its {len(every)} files matches include {list(source.include)} "
            f"without exclude {list(source.exclude)}"
        )
    moved = [file.model_copy(update={"path": str(PurePosixPath(source.into) / file.path)}) for file in wanted]
    return sorted(moved, key=lambda file: file.path)


def authorization(url: str, sources: tuple[DownloadSource, ...]) -> dict[str, str]:
    """Headers that carry the user's token to the host that it is for, and to no other."""
    for source in sources:
        variable = TOKENS.get(source.host)
        token = os.environ.get(variable) if variable else None
        api = urlparse(getattr(source, "api", "")).hostname or ""
        host = urlparse(url).hostname or ""
        site = ".".join(api.split(".")[-2:]) if re.search("[a-z]", api) else api
        if token and api and (host == site or host.endswith("." + site)):
            return {"Authorization": f"Bearer {token}"}
    return {}


def _name(source: DownloadSource) -> str:
    for key in ("node", "repository", "doi", "dataset", "url"):
        if hasattr(source, key):
            return f"{source.host} {getattr(source, key)}"
    return source.host


def _osf(source: OsfSource, web: Web) -> Iterator[RemoteFile]:
    folders = [f"{source.api}/nodes/{source.node}/files/osfstorage/?page%5Bsize%5D=100"]
    while folders:
        page = web.json(folders.pop(0))
        for entry in page["data"]:
            attributes = entry["attributes"]
            if attributes["kind"] == "folder":
                inside = entry["relationships"]["files"]["links"]["related"]["href"]
                folders.append(inside + ("&" if "?" in inside else "?") + "page%5Bsize%5D=100")
                continue
            sums = (attributes.get("extra") or {}).get("hashes") or {}
            yield RemoteFile(
                url=entry["links"]["download"],
                path=attributes["materialized_path"].lstrip("/"),
                bytes=attributes.get("size"),
                digest=f"sha256:{sums['sha256']}" if sums.get("sha256") else None,
            )
        following = page["links"].get("next")
        if following:
            folders.insert(0, following)


def _huggingface(source: HuggingFaceSource, web: Web) -> Iterator[RemoteFile]:
    revision = quote(source.revision, safe="")
    url: str | None = f"{source.api}/api/datasets/{source.repository}/tree/{revision}?recursive=true"
    while url:
        entries, url = web.json_page(url)
        for entry in entries:
            if entry["type"] != "file":
                continue
            large = entry.get("lfs") or {}
            yield RemoteFile(
                url=f"{source.api}/datasets/{source.repository}/resolve/{revision}/{quote(entry['path'])}",
                path=entry["path"],
                bytes=large.get("size", entry.get("size")),
                digest=f"sha256:{large['oid'].removeprefix('sha256:')}" if large.get("oid") else None,
            )


def _dryad(source: DryadSource, web: Web) -> Iterator[RemoteFile]:
    found = web.json(f"{source.api}/api/v2/datasets/{quote('doi:' + source.doi, safe='')}")
    url: str | None = urljoin(source.api, found["_links"]["stash:version"]["href"] + "/files")
    while url:
        page = web.json(url)
        for entry in page["_embedded"]["stash:files"]:
            # a file that a newer version took away is still listed
            if entry.get("status") == "deleted":
                continue
            kind = (entry.get("digestType") or "").replace("-", "")
            known = kind in ("md5", "sha256") and entry.get("digest")
            yield RemoteFile(
                url=urljoin(source.api, entry["_links"]["stash:download"]["href"]),
                path=entry["path"],
                bytes=entry.get("size"),
                digest=f"{kind}:{entry['digest'].lower()}" if known else None,
            )
        following = page["_links"].get("next")
        url = urljoin(source.api, following["href"]) if following else None


def _openneuro(source: OpenNeuroSource, web: Web) -> Iterator[RemoteFile]:
    prefix, mark = f"{source.dataset}/", ""
    while True:
        after = f"&continuation-token={quote(mark, safe='')}" if mark else ""
        root = ElementTree.fromstring(web.text(f"{source.api}/?list-type=2&prefix={prefix}{after}"))
        for entry in root.iter(f"{S3}Contents"):
            key = entry.findtext(f"{S3}Key") or ""
            if key.endswith("/"):
                continue
            tag = (entry.findtext(f"{S3}ETag") or "").strip('"')
            yield RemoteFile(
                url=f"{source.api}/{quote(key)}",
                path=key.removeprefix(prefix),
                bytes=int(entry.findtext(f"{S3}Size") or ""),
                # of an upload in parts the tag is no digest of the file
                digest=f"md5:{tag}" if re.fullmatch(r"[0-9a-f]{32}", tag) else None,
            )
        if root.findtext(f"{S3}IsTruncated") != "true":
            return
        mark = root.findtext(f"{S3}NextContinuationToken") or ""


def _checksums(source: ChecksumsSource, web: Web) -> Iterator[RemoteFile]:
    folder = source.url.rstrip("/") + "/"
    for line in web.text(urljoin(folder, source.sums)).splitlines():
        if not line.strip():
            continue
        digest, path = line.split(maxsplit=1)
        path = path.lstrip("*").removeprefix("./")
        yield RemoteFile(url=urljoin(folder, quote(path)), path=path, digest=f"sha256:{digest.lower()}")


def _files(source: FilesSource, web: Web) -> Iterator[RemoteFile]:
    yield from source.files


_LISTINGS: dict[str, Any] = {
    "osf": _osf,
    "huggingface": _huggingface,
    "dryad": _dryad,
    "openneuro": _openneuro,
    "checksums": _checksums,
    "files": _files,
}
