"""A card's files come from their hosts into its folder, and what is there already is respected."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neurodecode.cli import main
from neurodecode.config import CohortCard, load_settings
from neurodecode.config.base import validate
from neurodecode.download.cohort import MANIFEST, download, files_of
from neurodecode.download.hosts import authorization
from neurodecode.download.transfer import Web
from neurodecode.errors import DownloadError
from tests.download.server import Site, serve

A, B = b"a" * 700, b"b" * 300


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site()) as started:
        yield started


def card_of(*sources: dict[str, Any]) -> CohortCard:
    return validate(CohortCard, {"name": "toy", "licence": "CC0-1.0", "download": list(sources)}, "toy")


def quiet() -> Web:
    return Web(pause=lambda seconds: None)


def listed(card: CohortCard) -> list[tuple[str, int | None, str | None]]:
    return [(f.path, f.bytes, f.digest) for f in files_of(card, quiet())]


class TestHosts:
    def test_osf_is_walked_through_folders_and_pages(self, site: Site) -> None:
        def entry(path: str, body: bytes) -> dict[str, Any]:
            return {
                "attributes": {
                    "kind": "file",
                    "materialized_path": path,
                    "size": len(body),
                    "extra": {"hashes": {"sha256": sha256(body)}},
                },
                "links": {"download": f"{site.url}/get{path}"},
            }

        folder = {
            "attributes": {"kind": "folder"},
            "relationships": {"files": {"links": {"related": {"href": f"{site.url}/sub/"}}}},
        }
        top = "/nodes/ag3kj/files/osfstorage/?page%5Bsize%5D=100"
        site.files[top] = json.dumps({"data": [folder], "links": {"next": f"{site.url}/page2"}}).encode()
        site.files["/page2"] = json.dumps({"data": [entry("/b.tsv", B)], "links": {"next": None}}).encode()
        site.files["/sub/?page%5Bsize%5D=100"] = json.dumps(
            {"data": [entry("/sub-01/a.con", A)], "links": {"next": None}}
        ).encode()
        card = card_of({"host": "osf", "node": "ag3kj", "api": site.url})
        assert listed(card) == [
            ("b.tsv", 300, f"sha256:{sha256(B)}"),
            ("sub-01/a.con", 700, f"sha256:{sha256(A)}"),
        ]

    def test_the_card_of_libribrain_takes_what_its_adapter_reads(self, site: Site) -> None:
        card = load_settings(CohortCard, "libribrain", "datasets")
        assert [source.host for source in card.download] == ["huggingface"]
        source = card.download[0].model_copy(update={"api": site.url})
        assert source.repository in card.source
        stem = "sub-0_ses-1_task-Sherlock1_run-1"
        read = [
            f"Sherlock1/derivatives/events/{stem}_events.tsv",
            f"Sherlock1/derivatives/serialised/{stem}_proc-{card.options['processing']}_meg.h5",
            "Sherlock1/stimuli/audio/a.wav",
            "metadata/sensor_xyz.json",
        ]
        others = [f"Sherlock1/sub-0/ses-1/meg/{stem}_meg.fif", "README.md"]
        entries = [{"type": "file", "path": path, "size": 3} for path in [*read, *others]]
        listing = f"/api/datasets/{source.repository}/tree/main?recursive=true"
        site.files[listing] = json.dumps(entries).encode()
        found = files_of(card.model_copy(update={"download": (source,)}), quiet())
        assert sorted(file.path for file in found) == sorted(read)

    def test_hugging_face_pages_follow_the_link_header(self, site: Site) -> None:
        first = "/api/datasets/lab/Data/tree/v1?recursive=true"
        site.files[first] = json.dumps(
            [{"type": "directory", "path": "data"}, {"type": "file", "path": "README.md", "size": 3}]
        ).encode()
        site.headers[first] = {"Link": f'<{site.url}/more>; rel="next"'}
        large = {"type": "file", "path": "data/run 1", "size": 9, "lfs": {"oid": sha256(A), "size": 700}}
        site.files["/more"] = json.dumps([large]).encode()
        source = {"host": "huggingface", "repository": "lab/Data", "revision": "v1", "api": site.url}
        assert listed(card_of(source)) == [("README.md", 3, None), ("data/run 1", 700, f"sha256:{sha256(A)}")]
        only = card_of({**source, "include": ["data/*"], "into": "there"})
        assert listed(only) == [("there/data/run 1", 700, f"sha256:{sha256(A)}")]
        assert files_of(only, quiet())[0].url == f"{site.url}/datasets/lab/Data/resolve/v1/data/run%201"

    def test_dryad_lists_the_version_and_leaves_out_deleted_files(self, site: Site) -> None:
        site.files["/api/v2/datasets/doi%3A10.5061%2Fdryad.070jc"] = json.dumps(
            {"_links": {"stash:version": {"href": "/api/v2/versions/7"}}}
        ).encode()
        kept = {
            "path": "a.zip",
            "size": 700,
            "digest": hashlib.md5(A).hexdigest(),
            "digestType": "md5",
            "_links": {"stash:download": {"href": "/api/v2/files/1/download"}},
        }
        gone = {**kept, "path": "old.zip", "status": "deleted"}
        site.files["/api/v2/versions/7/files"] = json.dumps(
            {"_embedded": {"stash:files": [kept, gone]}, "_links": {}}
        ).encode()
        card = card_of({"host": "dryad", "doi": "10.5061/dryad.070jc", "api": site.url})
        assert listed(card) == [("a.zip", 700, f"md5:{hashlib.md5(A).hexdigest()}")]

    def test_openneuro_goes_on_with_the_token_and_takes_whole_tags_only(self, site: Site) -> None:
        def page(key: str, tag: str, more: str) -> bytes:
            space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
            entry = f"<Contents><Key>{key}</Key><Size>700</Size><ETag>&quot;{tag}&quot;</ETag></Contents>"
            return f"<ListBucketResult {space}>{entry}{more}</ListBucketResult>".encode()

        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t=</NextContinuationToken>"
        tag = hashlib.md5(A).hexdigest()
        start = "/?list-type=2&prefix=ds000001/"
        site.files[start] = page("ds000001/a.edf", tag, more)
        site.files[f"{start}&continuation-token=t%3D"] = page("ds000001/b.edf", f"{tag}-2", "")
        card = card_of({"host": "openneuro", "dataset": "ds000001", "api": site.url})
        assert listed(card) == [("a.edf", 700, f"md5:{tag}"), ("b.edf", 700, None)]

    def test_a_list_of_sums_names_the_files(self, site: Site) -> None:
        site.files["/eegmat/1.0.0/SHA256SUMS.txt"] = f"{sha256(A)} Subject00_1.edf\n\n{sha256(B)} *x/b.csv\n".encode()
        card = card_of({"host": "checksums", "url": f"{site.url}/eegmat/1.0.0"})
        assert listed(card) == [
            ("Subject00_1.edf", None, f"sha256:{sha256(A)}"),
            ("x/b.csv", None, f"sha256:{sha256(B)}"),
        ]

    def test_a_page_that_is_no_listing_is_named(self, site: Site) -> None:
        site.files["/nodes/x/files/osfstorage/?page%5Bsize%5D=100"] = b"<html>log in</html>"
        with pytest.raises(DownloadError, match="osf x: the listing is not what osf gives"):
            files_of(card_of({"host": "osf", "node": "x", "api": site.url}), quiet())

    def test_patterns_that_match_nothing_are_named(self, site: Site) -> None:
        source = {"host": "files", "files": [{"url": f"{site.url}/a", "path": "a"}], "include": ["b*"]}
        with pytest.raises(DownloadError, match=r"none of its 1 files matches include \['b\*'\]"):
            files_of(card_of(source), quiet())

    def test_a_token_goes_to_its_own_host_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OSF_TOKEN", "secret")
        sources = card_of({"host": "osf", "node": "ag3kj"}).download
        assert authorization("https://files.osf.io/v1/x", sources) == {"Authorization": "Bearer secret"}
        assert authorization("https://osf.io.example.org/x", sources) == {}
        assert authorization("https://storage.example.org/x", sources) == {}


@pytest.fixture
def toy(site: Site) -> CohortCard:
    site.files |= {"/a.edf": A, "/b.edf": B}
    site.etags |= {"/a.edf": '"1"', "/b.edf": '"1"'}
    files = [
        {"url": f"{site.url}/a.edf", "path": "sub-01/a.edf", "bytes": 700, "digest": f"sha256:{sha256(A)}"},
        {"url": f"{site.url}/b.edf", "path": "sub-02/b.edf", "bytes": 300},
    ]
    return card_of({"host": "files", "files": files})


class TestCohort:
    def test_files_come_into_their_folders_with_a_record(self, toy: CohortCard, tmp_path: Path) -> None:
        done = download(toy, tmp_path, web=quiet())
        assert done.fetched == ["sub-01/a.edf", "sub-02/b.edf"]
        assert (tmp_path / "sub-01/a.edf").read_bytes() == A
        record = json.loads((tmp_path / MANIFEST).read_text())
        assert record["files"]["sub-02/b.edf"]["sha256"] == sha256(B)
        assert record["licence"] == "CC0-1.0"

    def test_a_second_call_asks_for_nothing(self, toy: CohortCard, site: Site, tmp_path: Path) -> None:
        download(toy, tmp_path, web=quiet())
        site.asked.clear()
        done = download(toy, tmp_path, web=quiet())
        assert (done.fetched, done.present) == ([], ["sub-01/a.edf", "sub-02/b.edf"])
        assert site.asked == []

    def test_a_file_of_the_user_is_left_alone_and_named(self, toy: CohortCard, tmp_path: Path) -> None:
        mine = tmp_path / "sub-01/a.edf"
        mine.parent.mkdir()
        mine.write_bytes(b"mine")
        done = download(toy, tmp_path, web=quiet())
        assert mine.read_bytes() == b"mine"
        assert done.failed["sub-01/a.edf"].startswith(f"{mine}: has 4 bytes, 700 are right")
        assert done.fetched == ["sub-02/b.edf"]

    def test_a_file_that_changed_here_is_found_by_check(self, toy: CohortCard, tmp_path: Path) -> None:
        download(toy, tmp_path, web=quiet())
        (tmp_path / "sub-02/b.edf").write_bytes(b"c" * 300)
        assert download(toy, tmp_path, web=quiet()).failed == {}
        failed = download(toy, tmp_path, check=True, web=quiet()).failed
        assert list(failed) == ["sub-02/b.edf"]

    def test_one_failure_does_not_stop_the_others(self, toy: CohortCard, site: Site, tmp_path: Path) -> None:
        del site.files["/a.edf"]
        done = download(toy, tmp_path, web=quiet())
        assert done.fetched == ["sub-02/b.edf"]
        assert "HTTP 404" in done.failed["sub-01/a.edf"]

    def test_patterns_take_a_part(self, toy: CohortCard, tmp_path: Path) -> None:
        assert download(toy, tmp_path, include=["sub-02/*"], web=quiet()).fetched == ["sub-02/b.edf"]
        assert not (tmp_path / "sub-01").exists()

    def test_a_folder_of_another_card_is_refused(self, toy: CohortCard, tmp_path: Path) -> None:
        download(toy, tmp_path, web=quiet())
        with pytest.raises(DownloadError, match="holds the download of toy; give other a folder of its own"):
            download(toy.model_copy(update={"name": "other"}), tmp_path, web=quiet())

    def test_a_disk_too_small_stops_before_the_first_byte(
        self, toy: CohortCard, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = type("Usage", (), {"free": 1 << 28})
        monkeypatch.setattr("neurodecode.download.cohort.shutil.disk_usage", lambda root: usage)
        with pytest.raises(DownloadError, match="are free; make room"):
            download(toy, tmp_path, web=quiet())
        assert site.asked == []

    def test_two_hosts_may_not_give_one_path(self, site: Site) -> None:
        source = {"host": "files", "files": [{"url": f"{site.url}/a", "path": "a"}]}
        with pytest.raises(DownloadError, match="a comes from .* and from"):
            files_of(card_of(source, source), quiet())

    def test_a_card_without_a_host_says_how_to_get_it(self) -> None:
        card = load_settings(CohortCard, "schoffelen2019", "datasets")
        with pytest.raises(DownloadError, match="names no host to download from; accept the agreement"):
            files_of(card, quiet())

    @pytest.mark.parametrize("inside", ["proc/S01.mat", "S01.mat"])
    def test_an_archive_becomes_one_folder_of_its_name(self, site: Site, tmp_path: Path, inside: str) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(inside, "x")
        site.files["/proc.zip"] = packed.getvalue()
        source = {"host": "files", "unpack": True, "files": [{"url": f"{site.url}/proc.zip", "path": "proc.zip"}]}
        assert download(card_of(source), tmp_path, web=quiet()).unpacked == ["proc.zip"]
        assert (tmp_path / "proc/S01.mat").read_text() == "x"
        again = download(card_of(source), tmp_path, web=quiet())
        assert (again.unpacked, again.failed) == ([], {})

    def test_a_damaged_archive_is_named_and_leaves_no_folder(self, site: Site, tmp_path: Path) -> None:
        site.files["/proc.zip"] = b"PK\x03\x04 cut"
        source = {"host": "files", "unpack": True, "files": [{"url": f"{site.url}/proc.zip", "path": "proc.zip"}]}
        done = download(card_of(source), tmp_path, web=quiet())
        assert "cannot be unpacked" in done.failed["proc.zip"]
        assert not (tmp_path / "proc").exists()


class TestCommand:
    @pytest.fixture
    def file(self, toy: CohortCard, tmp_path: Path) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(json.dumps({"name": "toy", "download": [toy.download[0].model_dump(mode="json")]}))
        return path

    def test_it_fetches_and_counts(self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main(["download", str(file), "--root", str(tmp_path / "data")])
        assert end.value.code == 0
        assert "2 files fetched, 0 already there, 0 failed" in capsys.readouterr().out
        assert (tmp_path / "data/sub-01/a.edf").read_bytes() == A

    def test_a_dry_run_lists_and_writes_nothing(
        self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["download", str(file), "--root", str(tmp_path / "data"), "--dry-run"])
        assert "sub-01/a.edf  700 bytes" in capsys.readouterr().out
        assert not (tmp_path / "data").exists()

    def test_a_failed_file_is_exit_code_1(self, file: Path, site: Site, tmp_path: Path) -> None:
        del site.files["/b.edf"]
        with pytest.raises(SystemExit) as end:
            main(["download", str(file), "--root", str(tmp_path / "data")])
        assert end.value.code == 1

    def test_no_folder_is_one_line(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main(["download", str(file)])
        assert end.value.code == 2
        assert "nothing says where the data shall lie; give --root FOLDER" in capsys.readouterr().err
