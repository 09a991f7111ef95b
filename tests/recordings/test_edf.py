"""EDF and BDF: rates, gaps, damage; every sample and every annotation lands where it was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.preprocessing.stretches import find_stretches
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import ramp, write_edf


def open_one(path: Path) -> Recording:
    (source,) = expand_source(path)
    return source.open()


def notes_of(recording: Recording) -> str:
    return " | ".join(note.line() for note in recording.notes)


def test_a_slow_channel_changes_neither_length_nor_values_nor_times(tmp_path: Path) -> None:
    signals = [
        ("A", "uV", 200, ramp(60, 200)),
        ("SpO2", "%", 1, ramp(60, 1, 90)),
        ("B", "uV", 200, ramp(60, 200, 100)),
    ]
    recording = open_one(write_edf(tmp_path / "x.edf", signals, annotations=[(55.0, 0.5, "word")]))
    assert recording.raw.ch_names == ["A", "B"]
    assert len(recording.raw.times) == 12000
    assert np.allclose(recording.raw.get_data() * 1e6, [ramp(60, 200), ramp(60, 200, 100)], atol=1e-6)
    assert recording.events[["onset", "duration", "label"]].values.tolist() == [[55.0, 0.5, "word"]]
    assert "SpO2; left out" in notes_of(recording)


def test_a_faster_audio_channel_does_not_set_the_rate(tmp_path: Path) -> None:
    signals = [("Cz", "uV", 200, ramp(4, 200)), ("Pz", "uV", 200, ramp(4, 200)), ("Audio", "mV", 2000, ramp(4, 2000))]
    raw = open_one(write_edf(tmp_path / "x.edf", signals)).raw
    assert raw.info["sfreq"] == 200
    assert np.allclose(raw.get_data()[0] * 1e6, ramp(4, 200))


def test_a_slow_trigger_channel_stays(tmp_path: Path) -> None:
    trigger = np.zeros(40, int)
    trigger[15] = 3
    signals = [("Cz", "uV", 200, ramp(4, 200)), ("TRIGGER", "", 10, trigger)]
    recording = open_one(write_edf(tmp_path / "x.edf", signals, kind=""))
    assert np.allclose(recording.raw.get_data(picks=["Cz"]) * 1e6, ramp(4, 200)[None])
    assert recording.events[["onset", "label"]].values.tolist() == [[1.5, "3"]]


@pytest.mark.parametrize("first", [0.0, 0.25])
def test_gaps_become_marked_spans_and_later_events_keep_their_time(tmp_path: Path, first: float) -> None:
    starts = [first + t for t in (*range(10), *range(20, 30))]
    path = write_edf(
        tmp_path / "x.edf",
        [("A", "uV", 200, ramp(20, 200))],
        starts=starts,
        annotations=[(first + 5, 0.1, "before"), (first + 25, 0.1, "after")],
        kind="EDF+D",
    )
    recording = open_one(path)
    assert len(recording.raw.times) == 30 * 200
    assert recording.events["onset"].tolist() == [5.0, 25.0]
    data = recording.raw.get_data()[0] * 1e6
    assert data[5 * 200] == pytest.approx(5 * 200)
    assert data[25 * 200] == pytest.approx(15 * 200)  # the sixteenth recorded second
    skips = [(a["onset"], a["duration"]) for a in recording.raw.annotations if a["description"] == "BAD_ACQ_SKIP"]
    assert skips == [(10.0, 10.0)]
    assert find_stretches(recording.raw, 1).good == [(0, 2000), (4000, 6000)]
    assert "1 gaps between records, the first at 10 s, 10 s long" in notes_of(recording)
    assert path in recording.files


def test_edf_d_without_gaps_is_read_like_any_other(tmp_path: Path) -> None:
    recording = open_one(write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(3, 200))], kind="EDF+D"))
    assert np.allclose(recording.raw.get_data()[0] * 1e6, ramp(3, 200))
    assert not len(recording.raw.annotations)


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(3, 200))], starts=[0, 1, 1.5], kind="EDF+D")
    with pytest.raises(RecordingError, match=r"record 2 begins at 1.5 s, before record 1 ends at 2 s"):
        open_one(path)


def test_bdf_values_and_triggers(tmp_path: Path) -> None:
    status = np.zeros(400, int)
    status[100:110] = 0x10000 | 7  # a flag of the amplifier above the 16 bits of the trigger
    signals = [("Cz", "uV", 200, ramp(2, 200)), ("Status", "Boolean", 200, status)]
    recording = open_one(write_edf(tmp_path / "x.bdf", signals, kind="", width=3))
    assert np.allclose(recording.raw.get_data(picks=["Cz"])[0] * 1e6, ramp(2, 200))
    assert recording.events[["onset", "label"]].values.tolist() == [[0.5, "7"]]


def test_annotations_alone_are_no_recording(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [], starts=[0.0, 1.0], annotations=[(0.5, 0, "a")])
    with pytest.raises(RecordingError, match="holds annotations only"):
        open_one(path)


def test_a_text_mode_copy_is_refused(tmp_path: Path) -> None:
    values = np.tile([10, 2570, 5, 7], 500)  # bytes of line feeds
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, values)])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(RecordingError, match="binary mode"):
        open_one(path)


def test_line_feeds_in_a_good_file_do_not_make_it_damaged(tmp_path: Path) -> None:
    values = np.tile([10, 2570, 5, 7], 500)
    assert len(open_one(write_edf(tmp_path / "x.edf", [("A", "uV", 200, values)])).raw.times) == 2000


@pytest.mark.parametrize(
    ("keep", "match"), [(0, "empty"), (100, "header"), (600, "header"), (1100, "before its first record")]
)
def test_a_file_cut_off_early_is_refused_in_one_line(tmp_path: Path, keep: int, match: str) -> None:
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(3, 200))])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RecordingError, match=match) as caught:
        open_one(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_cut_off_late_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(5, 200))])
    path.write_bytes(path.read_bytes()[:-300])
    recording = open_one(path)
    assert np.allclose(recording.raw.get_data()[0] * 1e6, ramp(4, 200))
    assert "announces 5 records, the file holds 4 and" in notes_of(recording)


def test_a_recording_never_closed_is_read(tmp_path: Path) -> None:
    recording = open_one(write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(5, 200))], announced=-1))
    assert len(recording.raw.times) == 1000


def test_latin1_annotations_are_read(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, ramp(3, 200))], annotations=[(1.0, 0, "XYZ")])
    path.write_bytes(path.read_bytes().replace(b"XYZ", b"M\xfcl"))
    assert open_one(path).events["label"].tolist() == ["M\u00fcl"]
