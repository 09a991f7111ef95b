"""A file comes whole or not at all, whatever the connection does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurodecode.config.download import RemoteFile
from neurodecode.download.transfer import ATTEMPTS, PIECE, Web, transfer
from neurodecode.errors import DownloadError
from tests.download.server import Site, serve

BODY = bytes(range(256)) * 400  # 102,400 bytes whose place each value tells
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/a.con": BODY}, etags={"/a.con": '"v1"'})) as started:
        yield started


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def web(pauses: list[float]) -> Web:
    return Web(pause=pauses.append)


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_a_file_arrives_with_its_bytes_and_its_sum(site: Site, web: Web, tmp_path: Path) -> None:
    counted: list[int] = []
    sha256 = transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web, counted.append)
    assert (tmp_path / "a.con").read_bytes() == BODY
    assert sha256 == SHA256
    assert sum(counted) == len(BODY)
    assert leftovers(tmp_path) == []


def test_a_dropped_connection_goes_on_where_it_broke(site: Site, web: Web, tmp_path: Path) -> None:
    site.drop_after, site.drops = 2 * PIECE, 2
    counted: list[int] = []
    transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web, counted.append)
    assert (tmp_path / "a.con").read_bytes() == BODY
    assert [wanted for _, wanted in site.asked] == [None, f"bytes={2 * PIECE}-", f"bytes={4 * PIECE}-"]
    assert sum(counted) == len(BODY)


def test_a_host_that_only_drops_ends_in_one_line_and_keeps_what_came(site: Site, web: Web, tmp_path: Path) -> None:
    site.drop_after, site.drops = 0, 99
    file = RemoteFile(url=f"{site.url}/a.con", path="a.con")
    with pytest.raises(DownloadError, match=f"broke off at 0 bytes and {ATTEMPTS} attempts"):
        transfer(file, tmp_path / "a.con", web)
    assert not (tmp_path / "a.con").exists()
    assert len(site.asked) == ATTEMPTS


def test_a_killed_transfer_resumes_and_asks_for_the_rest_only(site: Site, web: Web, tmp_path: Path) -> None:
    file = RemoteFile(url=f"{site.url}/a.con", path="a.con")
    site.drop_after, site.drops = PIECE, 1

    class Killed(BaseException):
        pass

    def killed(_: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        transfer(file, tmp_path / "a.con", Web(pause=killed))
    assert leftovers(tmp_path) == [".a.con.part", ".a.con.part.json"]
    assert not (tmp_path / "a.con").exists()
    transfer(file, tmp_path / "a.con", web)
    assert (tmp_path / "a.con").read_bytes() == BODY
    assert site.asked[-1] == ("/a.con", f"bytes={PIECE}-")


def test_two_versions_of_a_file_are_never_stitched(site: Site, web: Web, tmp_path: Path) -> None:
    (tmp_path / ".a.con.part").write_bytes(BODY[:5_000])
    (tmp_path / ".a.con.part.json").write_text(f'{{"url": "{site.url}/a.con", "etag": "\\"v0\\""}}')
    transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)
    assert (tmp_path / "a.con").read_bytes() == BODY


def test_a_part_of_unknown_version_starts_again_without_a_digest(site: Site, web: Web, tmp_path: Path) -> None:
    (tmp_path / ".a.con.part").write_bytes(b"x" * 5_000)
    transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)
    assert (tmp_path / "a.con").read_bytes() == BODY
    assert site.asked == [("/a.con", None)]


def test_a_wrong_part_is_found_by_the_digest_and_fetched_anew(site: Site, web: Web, tmp_path: Path) -> None:
    (tmp_path / ".a.con.part").write_bytes(b"x" * 5_000)
    counted: list[int] = []
    file = RemoteFile(url=f"{site.url}/a.con", path="a.con", digest=f"sha256:{SHA256}")
    transfer(file, tmp_path / "a.con", web, counted.append)
    assert (tmp_path / "a.con").read_bytes() == BODY
    assert [wanted for _, wanted in site.asked] == ["bytes=5000-", None]
    assert sum(counted) == len(BODY)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_other_bytes_than_announced_are_refused_and_not_kept(site: Site, web: Web, tmp_path: Path, kind: str) -> None:
    digest = f"{kind}:{hashlib.new(kind, b'other').hexdigest()}"
    with pytest.raises(DownloadError, match=f"{kind} is .* is announced, twice; nothing of it is kept"):
        transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con", digest=digest), tmp_path / "a.con", web)
    assert list(tmp_path.iterdir()) == []


def test_a_host_without_ranges_gives_the_whole_again(site: Site, web: Web, tmp_path: Path) -> None:
    site.ranges = False
    site.drop_after, site.drops = 2 * PIECE, 1
    transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)
    assert (tmp_path / "a.con").read_bytes() == BODY


def test_a_length_that_is_not_the_announced_one_is_refused(site: Site, web: Web, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has 102400 bytes, 9000 are announced"):
        transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con", bytes=9_000), tmp_path / "a.con", web)
    assert not (tmp_path / "a.con").exists()


def test_a_busy_host_is_asked_again_after_the_time_it_says(
    site: Site, web: Web, pauses: list[float], tmp_path: Path
) -> None:
    site.answers = [(429, {"Retry-After": "7"}), (503, {})]
    transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)
    assert pauses == [7.0, 4.0]
    assert (tmp_path / "a.con").read_bytes() == BODY


def test_a_host_that_asks_for_an_hour_is_not_waited_for(site: Site, web: Web, tmp_path: Path) -> None:
    site.answers = [(429, {"Retry-After": "3600"})]
    with pytest.raises(DownloadError, match="asks to wait 3600 s; the same command goes on from here later"):
        transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)


@pytest.mark.parametrize(("status", "line"), [(403, "the host refuses"), (404, "answers HTTP 404")])
def test_a_refusal_is_one_line_at_once(site: Site, web: Web, tmp_path: Path, status: int, line: str) -> None:
    site.answers = [(status, {})]
    with pytest.raises(DownloadError, match=line):
        transfer(RemoteFile(url=f"{site.url}/a.con", path="a.con"), tmp_path / "a.con", web)
    assert len(site.asked) == 1


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "C:/a", "a\\b", ""])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="does not stay inside"):
        RemoteFile(url="http://127.0.0.1/a", path=path)
