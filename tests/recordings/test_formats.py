"""What is a recording and what is not, told from the first bytes; no file ends the process."""

from __future__ import annotations

import struct
from pathlib import Path

import mne
import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import sniff
from neurodecode.recordings.inspect import describe_source
from neurodecode.recordings.reading import survives
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import ramp, write_edf


def raw_of(seconds: float = 4.0, sfreq: float = 100.0, channels: int = 3) -> mne.io.RawArray:
    info = mne.create_info([f"E{i}" for i in range(channels)], sfreq, "eeg")
    values = np.arange(round(seconds * sfreq)) * 1e-6 + np.zeros((channels, 1))
    return mne.io.RawArray(values, info, verbose="error")


def refusal(path: Path) -> str:
    (entry,) = describe_source(path)
    assert "\n" not in entry["error"]
    return entry["error"]


@pytest.mark.parametrize(
    "ending", ["edf", "bdf", "vhdr", "fif", "cnt", "set", "sqd", "raw", "data", "eeg", "gdf", "cdt"]
)
def test_empty_files_are_named_as_such(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(b"")
    assert "empty (0 bytes)" in refusal(path)


@pytest.mark.parametrize("ending", ["edf", "bdf", "vhdr", "fif", "fif.gz", "cnt", "set", "sqd", "con", "raw", "gdf"])
@pytest.mark.parametrize("content", [b"\0" * 4000, b"<html>404 Not Found</html>" * 40, bytes(range(256)) * 20])
def test_bytes_of_something_else_are_refused_in_one_line(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(content)
    assert str(path) in refusal(path)


@pytest.mark.parametrize(
    "text", ["/annex/objects/MD5E-s12--ab.edf", "version https://git-lfs.github.com/spec/v1\noid x"]
)
def test_pointers_are_not_downloaded(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.edf"
    path.write_text(text)
    assert "not downloaded" in refusal(path)


def test_an_ant_file_is_told_from_a_neuroscan_file_before_a_reader_sees_it(tmp_path: Path) -> None:
    ant = tmp_path / "ant.cnt"
    ant.write_bytes(b"RIFF" + struct.pack("<I", 400) + b"CNT " + b"\0" * 396)
    assert sniff(ant).name == "ANT eeprobe"
    cut = tmp_path / "cut.cnt"
    cut.write_bytes(ant.read_bytes()[:200])
    assert "cut off after 200 of 408 bytes" in refusal(cut)
    wave = tmp_path / "wave.cnt"
    wave.write_bytes(b"RIFF" + struct.pack("<I", 400) + b"WAVE" + b"\0" * 396)
    assert "neither an ANT (RIFF) nor a Neuroscan" in refusal(wave)


def test_a_reader_that_ends_its_process_is_found_out(tmp_path: Path) -> None:
    assert survives("import os; os.abort()", tmp_path) == "signal 6"
    assert survives("raise ValueError", tmp_path) == ""  # this one can be caught where the file is read


def neuroscan(path: Path, values: np.ndarray, width: int, samples: int | None = None) -> Path:
    """A Neuroscan file of [channels, samples] whole numbers with unit calibration, and an empty event table."""
    channels, count = values.shape
    head = bytearray(900 + 75 * channels)
    head[:12] = b"Version 3.0\0"
    head[225:247] = b"01/01/20  10:00:00    "
    struct.pack_into("<H", head, 370, channels)
    struct.pack_into("<H", head, 376, 100)
    struct.pack_into("<i", head, 864, count if samples is None else samples)
    struct.pack_into("<i", head, 886, len(head) + values.size * width)
    for i in range(channels):
        at = 900 + 75 * i
        head[at : at + 3] = f"E{i}\0".encode()
        struct.pack_into("<f", head, at + 59, 204.8)
        struct.pack_into("<f", head, at + 71, 1.0)
    body = values.T.astype(f"<i{width}").tobytes()
    path.write_bytes(bytes(head) + body + struct.pack("<Bii", 1, 0, 9))
    return path


@pytest.mark.parametrize("width", [2, 4])
def test_neuroscan_sample_width_comes_from_the_sizes(tmp_path: Path, width: int) -> None:
    values = np.arange(300)[None] + 1000 * np.arange(2)[:, None]
    recording = expand_source(neuroscan(tmp_path / "x.cnt", values, width))[0].open()
    assert len(recording.raw.times) == 300
    assert np.allclose(recording.raw.get_data() * 1e6, values)


def test_neuroscan_sizes_that_fit_neither_width_are_refused(tmp_path: Path) -> None:
    path = neuroscan(tmp_path / "x.cnt", np.zeros((2, 300), int), 2, samples=200)
    assert "3 bytes a sample, allowed are 2 and 4" in refusal(path)


def fif_of(kind: str, folder: Path) -> Path:
    raw = raw_of()
    epochs = mne.Epochs(raw, np.array([[100, 0, 1], [200, 0, 1]]), tmin=0, tmax=0.5, baseline=None, preload=True)
    path = folder / f"x-{kind}.fif"
    if kind == "epo":
        epochs.save(path)
    elif kind == "ave":
        epochs.average().save(path)
    elif kind == "cov":
        mne.compute_covariance(epochs, verbose="error").save(path)
    elif kind == "annot":
        mne.Annotations([1], [1], ["a"]).save(path)
    else:
        mne.write_events(path, np.array([[100, 0, 1]]))
    return path


@pytest.mark.parametrize(
    ("kind", "said"), [("epo", "epochs"), ("ave", "averages"), ("cov", "a noise covariance"), ("eve", "events")]
)
def test_fif_files_of_other_content_say_what_they_hold(tmp_path: Path, kind: str, said: str) -> None:
    with mne.utils.use_log_level("error"):
        path = fif_of(kind, tmp_path)
    assert refusal(path).endswith(f"without a continuous recording, it holds {said}" + " (evoked)" * (kind == "ave"))


def test_annotations_in_a_fif_file_are_no_recording(tmp_path: Path) -> None:
    assert "without a continuous recording" in refusal(fif_of("annot", tmp_path))


@pytest.mark.parametrize("keep", [100, 2000, 0.5, 0.99])
def test_a_fif_file_cut_off_is_refused_and_never_zeros(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x_raw.fif"
    raw_of(60).save(path, verbose="error")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    assert "cut off" in refusal(path)


def test_parts_of_a_split_fif_are_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "x_raw.fif"
    raw_of(4000, 200.0).save(path, split_size="2MB", verbose="error")
    parts = sorted(tmp_path.glob("*.fif"))
    assert len(parts) > 2
    (source,) = expand_source(tmp_path)
    recording = source.open()
    assert len(recording.raw.times) == 800_000
    assert {file.name for file in recording.files} == {part.name for part in parts}
    assert "a later part of the recording that begins with x_raw.fif" in refusal(tmp_path / "x_raw-1.fif")


@pytest.mark.parametrize("ending", ["avr", "mul", "fdt", "vmrk", "nwb", "snirf", "txt", "csv", "mat"])
def test_what_is_no_continuous_recording_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(b"MATLAB 5.0 MAT-file" if ending == "mat" else b"content")
    assert str(path) in refusal(path)


def test_a_recording_with_a_wrong_ending_is_told_which(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.rec", [("A", "uV", 100, ramp(2, 100))])
    assert refusal(path).endswith("an EDF file with the ending .rec; rename it to .edf")


def test_a_missing_path_and_an_empty_folder(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "gone.edf")
    assert "no recording in this folder" in refusal(tmp_path)
    with pytest.raises(RecordingError):
        expand_source(tmp_path)
