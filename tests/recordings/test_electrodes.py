"""Electrode tables that do not fit the recording: matched by name only where that is certain, metres or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.electrodes import match_names
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import bids_stem, ramp, write_edf, write_json, write_tsv

SHAFTS = ["A'1", "A'2", "A'10", "A1", "EKG", "SpO2"]


def recording_of(
    root: Path,
    rows: list[list[object]],
    names: list[str] = SHAFTS,
    system: dict | None = None,
    datatype: str = "ieeg",
    types: list[str] | None = None,
    extra: tuple[str, ...] = (),
    start: str = "",
    space: str = "",
) -> Recording:
    stem = bids_stem(root, datatype)
    path = write_edf(stem.with_name(f"{stem.name}_{datatype}.edf"), [(n, "uV", 200, ramp(2, 200)) for n in names])
    table = stem.with_name(f"sub-01{space}_electrodes.tsv")
    write_tsv(table, ["name", "x", "y", "z", *extra], rows, start=start)
    if system is not None:
        write_json(stem.with_name(f"sub-01{space}_coordsystem.json"), system)
    if types:
        write_tsv(stem.with_name(f"{stem.name}_channels.tsv"), ["name", "type"], [list(r) for r in zip(names, types)])
    return expand_source(path)[0].open()


def places(recording: Recording) -> dict[str, list[float] | None]:
    """Name -> millimetres, None when unknown."""
    found = {}
    for channel in recording.raw.info["chs"]:
        loc = channel["loc"][:3]
        known = np.isfinite(loc).all() and np.any(loc != 0)
        found[channel["ch_name"]] = np.round(loc * 1e3, 3).tolist() if known else None
    return found


def notes_of(recording: Recording) -> str:
    return " | ".join(note.line() for note in recording.notes)


MM = {"iEEGCoordinateSystem": "Other", "iEEGCoordinateUnits": "mm"}


def test_a_table_with_holes_is_read(tmp_path: Path) -> None:
    rows = [["A'1", -40, 10, 5], ["A'02", -45, 10, 5], ["A'10", "n/a", "n/a", "n/a"], ["A1", 0, 0, 0]]
    recording = recording_of(tmp_path, rows, types=["SEEG"] * 4 + ["ECG", "MISC"], system=MM)
    found = places(recording)
    assert found["A'1"] == [-40, 10, 5]
    assert found["A'2"] == [-45, 10, 5]
    assert found["A'10"] is None
    assert found["A1"] is None
    assert "no position for 2 of 4 channels" in notes_of(recording)


def test_without_coordsystem_only_a_unit_beyond_doubt_is_taken(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [["A'1", -40, 10, 5], ["A1", 45, 10, 5]], types=["SEEG"] * 4 + ["ECG", "MISC"])
    assert places(recording)["A'1"] == [-40, 10, 5]
    assert "no unit stated" in notes_of(recording)
    assert "read as mm" in notes_of(recording)


def test_without_a_unit_and_with_values_that_fit_several_nothing_is_guessed(tmp_path: Path) -> None:
    rows = [["A'1", -4, 1, 0.5], ["A1", 4.5, 1, 0.5]]  # cm, or a deep shaft in mm
    recording = recording_of(tmp_path, rows, types=["SEEG"] * 4 + ["ECG", "MISC"])
    assert places(recording)["A'1"] is None
    assert "positions unknown" in notes_of(recording)


@pytest.mark.parametrize(("unit", "factor"), [("m", 1e-3), ("cm", 0.1), ("mm", 1.0)])
def test_stated_units_give_metres(tmp_path: Path, unit: str, factor: float) -> None:
    rows = [["A'1", -40 * factor, 10 * factor, 5 * factor], ["A1", 45 * factor, 0, 0]]
    found = places(recording_of(tmp_path, rows, system=MM | {"iEEGCoordinateUnits": unit}))
    assert found["A'1"] == [-40, 10, 5]


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1e-3), ("m", 1.0), ("cm", 1e-3), ("m", 0.1)])
def test_a_unit_that_the_values_contradict_stops(tmp_path: Path, unit: str, factor: float) -> None:
    rows = [["A'1", -80 * factor, 10 * factor, 5 * factor], ["A1", 45 * factor, 0, 0]]
    with pytest.raises(RecordingError, match=rf"coordsystem.json says {unit}: that is .* correct the unit"):
        recording_of(tmp_path, rows, system=MM | {"iEEGCoordinateUnits": unit})


def test_pixels_are_no_positions(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [["A'1", 400, 100, 5]], system=MM | {"iEEGCoordinateUnits": "pixels"})
    assert places(recording)["A'1"] is None
    assert "coordinates in pixels" in notes_of(recording)


def test_an_mni_table_is_preferred_and_regions_are_read(tmp_path: Path) -> None:
    recording_of(tmp_path, [["A'1", -1, -70, 5]], system=MM, space="_space-Other")
    rows = [["A'1", -40, 10, 5, "Insula"], ["A'2", -45, 10, 5, "n/a"], ["A1", 45, 0, 0, "Unknown"]]
    recording = recording_of(tmp_path, rows, system=MM, space="_space-MNI152NLin2009aSym", extra=("Anatomical_Label",))
    assert places(recording)["A'1"] == [-40, 10, 5]
    assert recording.regions == {"A'1": "Insula"}
    assert any("space-MNI" in file.name for file in recording.files)


def test_a_byte_order_mark_does_not_hide_the_names(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [["A'1", -40, 10, 5]], system=MM, start="\ufeff")
    assert places(recording)["A'1"] == [-40, 10, 5]


def test_scalp_positions_are_turned_into_the_head_frame_by_their_landmarks(tmp_path: Path) -> None:
    system = {
        "EEGCoordinateSystem": "CTF",  # x to the nose, y to the left
        "EEGCoordinateUnits": "m",
        "AnatomicalLandmarkCoordinates": {"NAS": [0.1, 0, 0], "LPA": [0, 0.075, 0], "RPA": [0, -0.075, 0]},
        "AnatomicalLandmarkCoordinateUnits": "m",
    }
    rows = [["Cz", 0, 0, 0.1], ["Fz", 0.08, 0, 0.08], ["T8", 0, -0.08, 0.02]]
    found = places(recording_of(tmp_path, rows, ["Cz", "Fz", "T8"], system, "eeg"))
    assert found["Fz"] == pytest.approx([0, 80, 80], abs=0.01)  # y to the nose
    assert found["T8"] == pytest.approx([80, 0, 20], abs=0.01)  # x to the right


def test_scalp_positions_of_another_frame_without_landmarks_are_warned_of(tmp_path: Path) -> None:
    system = {"EEGCoordinateSystem": "CTF", "EEGCoordinateUnits": "m"}
    rows = [["Cz", 0, 0, 0.1], ["Fz", 0.08, 0, 0.08]]
    recording = recording_of(tmp_path, rows, ["Cz", "Fz"], system, "eeg")
    assert "coordinates in the frame CTF, without landmarks" in notes_of(recording)
    assert places(recording)["Fz"] == [80, 0, 80]


def test_names_match_only_where_it_is_certain() -> None:
    found, _ = match_names(["A'1", "A'2", "A1"], ["A1", "A'02", "A'1"], "t", scalp=False)
    assert found == {"A'1": 2, "A'2": 1, "A1": 0}
    clash, _ = match_names(["LAMT1", "LAMT01"], ["LAMT001"], "t", scalp=False)
    assert clash == {}  # either may be meant
    double, notes = match_names(["A1"], ["A1", "A1"], "t", scalp=False)
    assert double == {}
    assert "A1 stand in more than one row" in notes[0].line()
    assert match_names(["FP1"], ["Fp1"], "t", scalp=True)[0] == {"FP1": 0}
    assert match_names(["a1"], ["A1"], "t", scalp=False)[0] == {}
    assert match_names(["LAMT01"], ["LAMT1"], "t", scalp=False)[0] == {"LAMT01": 0}


def test_a_template_is_used_only_for_recordings_of_10_05_names(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "x.edf", [(n, "uV", 200, ramp(2, 200)) for n in ("EEG Cz", "EEG Fp1-REF", "T3")])
    recording = expand_source(path)[0].open()
    found = places(recording)
    assert all(found.values())
    assert found["Fp1"][1] > 50 > -50 > found["T3"][0]
    grid = write_edf(tmp_path / "y.edf", [(f"C{i}", "uV", 200, ramp(2, 200)) for i in range(1, 30)])
    assert not any(places(expand_source(grid)[0].open()).values())
