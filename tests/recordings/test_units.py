"""One signal, every spelling of its unit: always the same volts, scaled once; contradictions stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.units import volts
from tests.recordings.makers import bids_stem, write_brainvision, write_edf, write_tsv

SINE = 50 * np.sin(2 * np.pi * 10 * np.arange(2000) / 200)  # uV
NAMES = ["A", "B"]


def edf(root: Path, unit: str, values: np.ndarray = SINE, sidecar: str = "") -> Recording:
    stem = bids_stem(root)
    path = write_edf(stem.with_name(f"{stem.name}_eeg.edf"), [(n, unit, 200, np.round(values)) for n in NAMES])
    if sidecar:
        rows = [[name, "EEG", sidecar] for name in NAMES]
        write_tsv(stem.with_name(f"{stem.name}_channels.tsv"), ["name", "type", "units"], rows, start="\ufeff")
    return expand_source(path)[0].open()


def peak(recording: Recording) -> float:
    return float(np.abs(recording.raw.get_data(picks=["A"])).max())


@pytest.mark.parametrize(
    ("header", "factor", "sidecar"),
    [
        ("uV", 1, ""),
        ("", 1, "\u00b5V"),
        ("", 1, "\u03bcV"),
        ("", 1e-3, "mV"),
        ("uV", 1, "\u03bcV"),
        ("\u00b5V", 1, "uV"),
        ("\u00c2\u00b5V", 1, "microvolts"),  # UTF-8 in a header of Latin-1
        ("nV", 100, "nV"),
        ("UV", 1, ""),
        ("mV", 1e-3, "n/a"),
    ],
)
def test_edf_comes_out_in_volts(tmp_path: Path, header: str, factor: float, sidecar: str) -> None:
    values = SINE * factor
    if factor < 1:  # whole numbers of mV: the peak is another one
        values, expected = SINE, 50e-3
    else:
        expected = 50e-6 * factor * (1e-3 if header == "nV" else 1)
    recording = edf(tmp_path, header, values, sidecar)
    assert peak(recording) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("unit", "resolution"), [("\u00b5V", "0.5"), ("\u03bcV", "0.5"), ("", "0.5"), ("nV", "500")])
@pytest.mark.parametrize("sidecar", ["", "\u00b5V"])
def test_brainvision_comes_out_in_volts(tmp_path: Path, unit: str, resolution: str, sidecar: str) -> None:
    stem = bids_stem(tmp_path)
    values = np.round(np.stack([SINE, SINE]) * 2)
    stem = stem.with_name(f"{stem.name}_eeg")
    header = write_brainvision(stem, values, unit=unit, resolution=resolution, names=NAMES)
    if sidecar and unit != "nV":
        table = stem.with_name(stem.name.replace("_eeg", "_channels.tsv"))
        write_tsv(table, ["name", "type", "units"], [[name, "EEG", sidecar] for name in NAMES])
    recording = expand_source(header)[0].open()
    assert recording.raw.get_channel_types() == ["eeg", "eeg"]
    assert peak(recording) == pytest.approx(50e-6, rel=0.01)


def test_header_and_sidecar_that_disagree_stop_and_print_both(tmp_path: Path) -> None:
    with pytest.raises(
        RecordingError, match=r"channel A is in uV by the header and in mV by .*channels.tsv \(and 1 more"
    ):
        edf(tmp_path, "uV", sidecar="mV")


def test_a_factor_holds_for_every_read_and_for_copies(tmp_path: Path) -> None:
    raw = edf(tmp_path, "", sidecar="uV").raw
    part = raw.get_data(start=100, stop=200)
    assert np.allclose(part, raw.copy().load_data().get_data()[:, 100:200])
    assert np.allclose(part, np.round(SINE[100:200]) * 1e-6)


def test_an_implausible_spread_is_warned_of(tmp_path: Path) -> None:
    recording = edf(tmp_path, "")  # nothing states a unit: MNE takes volts
    warnings = [note.line() for note in recording.notes if note.level == "warning"]
    assert len(warnings) == 1
    assert "standard deviation of 35.3 V" in warnings[0]


def test_a_plausible_spread_is_not(tmp_path: Path) -> None:
    assert not [note for note in edf(tmp_path, "uV").notes if note.level == "warning"]


def test_units_that_are_no_voltage_are_no_brain_signal(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [("A", "uV", 200, SINE), ("Q", "mmHg", 200, SINE), ("R", "", 200, SINE)])
    raw = expand_source(path)[0].open().raw
    assert raw.get_channel_types() == ["eeg", "misc", "eeg"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("V", 1), ("\u00b5V", 1e-6), ("\u03bcV", 1e-6), ("uv", 1e-6), (" mV ", 1e-3), ("nV", 1e-9), ("MV", None)],
)
def test_volts(text: str, value: float | None) -> None:
    assert volts(text) == value


@pytest.mark.parametrize("text", ["", "n/a", "%", "C", "T", "counts"])
def test_no_voltage(text: str) -> None:
    assert volts(text) is None
