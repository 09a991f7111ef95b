"""BrainVision files that were renamed, lost their markers, or were never downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import write_brainvision

VALUES = np.arange(4000) % 1000 + 100 * np.arange(4)[:, None]


def open_one(path: Path) -> Recording:
    (source,) = expand_source(path)
    return source.open()


def notes_of(recording: Recording) -> str:
    return " | ".join(note.line() for note in recording.notes)


def assert_whole(recording: Recording, events: int = 1) -> None:
    assert np.allclose(recording.raw.get_data() * 1e6, VALUES)
    assert len(recording.events) == events
    if events:
        assert recording.events["onset"][0] == 0.5


def test_a_file_as_it_should_be(tmp_path: Path) -> None:
    recording = open_one(write_brainvision(tmp_path / "x", VALUES))
    assert_whole(recording)
    assert {f.name for f in recording.files} == {"x.vhdr", "x.eeg", "x.vmrk"}


@pytest.mark.parametrize("data", ["old.eeg", "SHA256E-s1024--0f2e.eeg", r"C:\recordings\old.eeg", ""])
def test_a_renamed_file_is_read_from_its_only_sibling(tmp_path: Path, data: str) -> None:
    header = write_brainvision(tmp_path / "sub-01_eeg", VALUES, data_file=data)
    text = header.read_text().replace("MarkerFile=sub-01_eeg.vmrk", "MarkerFile=old.vmrk")
    header.write_text(text)
    before = {f: f.read_bytes() for f in tmp_path.iterdir()}
    recording = open_one(header)
    assert_whole(recording)
    assert "sub-01_eeg.eeg is used" in notes_of(recording)
    assert "sub-01_eeg.vmrk is used" in notes_of(recording)
    assert {f: f.read_bytes() for f in tmp_path.iterdir()} == before
    assert {f.name for f in recording.files} == {"sub-01_eeg.vhdr", "sub-01_eeg.eeg", "sub-01_eeg.vmrk"}


def test_it_asks_when_the_old_name_is_there_too(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path / "new", VALUES, data_file="old.eeg")
    (tmp_path / "old.eeg").write_bytes(b"\0" * 800)
    with pytest.raises(RecordingError, match=r"DataFile is old.eeg, which is there, and new.eeg is there too"):
        open_one(header)


def test_it_asks_when_two_siblings_could_be_meant(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path / "new", VALUES, data_file="old.eeg")
    (tmp_path / "new.dat").write_bytes(b"\0" * 800)
    with pytest.raises(RecordingError, match=r"new.dat, new.eeg may be meant"):
        open_one(header)


def test_a_header_may_name_another_stem(tmp_path: Path) -> None:
    write_brainvision(tmp_path / "data", VALUES)
    header = tmp_path / "other.vhdr"
    (tmp_path / "data.vhdr").rename(header)
    assert_whole(open_one(header))


@pytest.mark.parametrize("marker", ["", "gone.vmrk"])
def test_without_markers_there_are_no_events_and_it_is_said_once(tmp_path: Path, marker: str) -> None:
    header = write_brainvision(tmp_path / "x", VALUES, marker_file=marker)
    (tmp_path / "x.vmrk").unlink(missing_ok=True)
    recording = open_one(header)
    assert_whole(recording, events=0)
    assert notes_of(recording).count("read without markers") == 1


def test_a_marker_file_without_its_first_line_is_read(tmp_path: Path) -> None:
    recording = open_one(write_brainvision(tmp_path / "x", VALUES, first_line=False))
    assert_whole(recording)
    assert "lacks its first line" in notes_of(recording)


def test_missing_data_are_named(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path / "x", VALUES, data_file="SHA256E-s1024--0f2e.eeg")
    (tmp_path / "x.eeg").unlink()
    with pytest.raises(RecordingError, match="git-annex key SHA256E-s1024--0f2e.eeg"):
        open_one(header)


@pytest.mark.parametrize("pointed", ["x.eeg", "x.vhdr", "x.vmrk"])
@pytest.mark.parametrize("how", ["text", "link"])
def test_a_pointer_is_not_downloaded(tmp_path: Path, pointed: str, how: str) -> None:
    header = write_brainvision(tmp_path / "x", VALUES)
    (tmp_path / pointed).unlink()
    if how == "text":
        (tmp_path / pointed).write_text("/annex/objects/SHA256E-s1024--0f2e.eeg\n")
    else:
        (tmp_path / pointed).symlink_to("../.git/annex/objects/aa/bb/SHA256E-s1024--0f2e/SHA256E-s1024--0f2e")
    with pytest.raises(RecordingError, match="not downloaded"):
        open_one(header)


def test_an_empty_data_file_is_refused(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path / "x", VALUES)
    (tmp_path / "x.eeg").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"x.eeg: empty \(0 bytes\)"):
        open_one(header)


def test_a_data_file_that_ends_within_a_sample_is_read_up_to_it(tmp_path: Path) -> None:
    header = write_brainvision(tmp_path / "x", VALUES)
    data = tmp_path / "x.eeg"
    data.write_bytes(data.read_bytes()[:-3])
    recording = open_one(header)
    assert np.allclose(recording.raw.get_data() * 1e6, VALUES[:, :-1])
    assert "ends within a sample" in notes_of(recording)


def test_companions_are_no_recordings_of_their_own(tmp_path: Path) -> None:
    write_brainvision(tmp_path / "x", VALUES)
    assert [s.path.name for s in expand_source(tmp_path)] == ["x.vhdr"]
    for name in ("x.eeg", "x.vmrk"):
        with pytest.raises(RecordingError, match="give the .vhdr"):
            open_one(tmp_path / name)


def test_a_new_segment_is_a_join_and_no_event(tmp_path: Path) -> None:
    markers = [("New Segment", 1), ("S  1", 101), ("New Segment", 2001), ("S  2", 2101)]
    recording = open_one(write_brainvision(tmp_path / "x", VALUES, markers=markers))
    assert recording.events["label"].tolist() == ["Stimulus/S  1", "Stimulus/S  2"]
    edges = [a["onset"] for a in recording.raw.annotations if a["description"] == "EDGE boundary"]
    assert edges == [10.0]
    assert "1 joins, the first at 10 s" in notes_of(recording)
