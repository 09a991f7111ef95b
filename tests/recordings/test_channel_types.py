"""Channels that readers call EEG are typed by name only where the name leaves no doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.recordings.channel_types import clean_names, shafts, type_of_name, types_by_name
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import bids_stem, ramp, write_edf, write_tsv


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("EKG", "ecg"), ("ECG ECG", "ecg"), ("EKG1", "ecg"), ("EKGL", "ecg"), ("POL EKG2", "ecg"), ("ECG V1", "ecg"),
        ("EOG", "eog"), ("HEOG", "eog"), ("EOG ROC-M1", "eog"), ("VEOGo", "eog"), ("LOC", "eog"), ("EMG Chin", "emg"),
        ("DC01", "misc"), ("POL DC12", "misc"), ("TRIG", "stim"), ("STATUS", "stim"), ("OSAT", "misc"),
        ("SpO2", "misc"), ("Pulse", "misc"), ("EEG A2-A1", "misc"), ("Audio", "misc"), ("Pleth", "misc"),
        ("PR", "misc"), ("Resp", "misc"), ("EDF Annotations", "misc"), ("Mic1", "misc"), ("Photodiode", "misc"),
    ],
)  # fmt: skip
def test_names_of_other_signals(name: str, kind: str) -> None:
    assert type_of_name(name) == kind


@pytest.mark.parametrize(
    "name",
    ["Fp1", "EEG Fp1-REF", "A1", "A2", "M1", "M2", "T3", "Cz", "E12", "EEG 001", "LAMT1", "PR'1", "DC'4", "TI'4", "Pz",
     "POL RA1", "Oz-A1", "Fc5.", "SP1", "AUD1", "ST1"],
)  # fmt: skip
def test_names_that_may_be_brain_signal(name: str) -> None:
    assert type_of_name(name) is None


def test_numbered_like_a_shaft_a_short_name_is_a_contact() -> None:
    names = [f"PR{i}" for i in range(1, 9)] + ["HR", "EKG1", "EKG2", "EKG3", "DC1", "DC2", "DC3"]
    changed, _ = types_by_name(names, ["eeg"] * len(names), "f", intracranial=True)
    assert changed == dict.fromkeys([f"PR{i}" for i in range(1, 9)], "seeg") | {
        "HR": "misc", "EKG1": "ecg", "EKG2": "ecg", "EKG3": "ecg", "DC1": "misc", "DC2": "misc", "DC3": "misc",
    }  # fmt: skip


def test_contacts_are_seeg_in_a_folder_of_that_datatype_and_scalp_names_beside_them_are_not() -> None:
    names = ["LAMT1", "LAMT2", "LAMT3", "Fz", "Cz", "C3", "C4"]
    changed, notes = types_by_name(names, ["eeg"] * 7, "f", intracranial=True)
    assert changed == dict.fromkeys(names[:3], "seeg")
    assert "3 channels named as contacts" in notes[0].line()
    assert types_by_name(names, ["eeg"] * 7, "f", intracranial=False) == ({}, [])


def test_primed_contacts_are_intracranial_anywhere() -> None:
    names = [f"L'{i}" for i in range(1, 11)] + ["EKG"]
    changed, _ = types_by_name(names, ["eeg"] * 11, "f", intracranial=False)
    assert changed["L'10"] == "seeg"
    assert changed["EKG"] == "ecg"


def test_a_stated_type_yields_only_to_what_no_electrode_is_called() -> None:
    names = ["EKG", "DC1", "HR", "TRIG"]
    changed, notes = types_by_name(names, ["seeg"] * 4, "f", intracranial=True, stated=names)
    assert changed == {"EKG": "ecg"}
    assert notes[0].level == "warning"


def test_shafts_are_three_consecutive_numbers_of_one_name() -> None:
    assert shafts(["A1", "A2", "A3", "A'1", "A'2", "F3", "F4", "F7", "F8", "POL B09", "POL B10", "POL B11"]) == {
        "A1", "A2", "A3", "POL B09", "POL B10", "POL B11",
    }  # fmt: skip


def test_wrapped_10_05_names_are_unwrapped_only_when_certain() -> None:
    names = ["EEG Fp1", "EEG FP2-REF", "Fc5.", "Cz..", "Pz", "EEG 001", "EEG T3-LE", "POL A'1", "EEG F3-F4"]
    renamed, notes = clean_names(names, "f")
    assert renamed == {"EEG Fp1": "Fp1", "EEG FP2-REF": "Fp2", "Fc5.": "FC5", "Cz..": "Cz", "EEG T3-LE": "T3"}
    assert "'EEG Fp1' is Fp1" in notes[0].line()


def test_names_that_would_become_one_stay() -> None:
    assert clean_names(["EEG Cz", "Cz.", "EEG Fz"], "f")[0] == {"EEG Fz": "Fz"}
    assert clean_names(["EEG Cz", "Cz"], "f")[0] == {}


def opened(root: Path, names: list[str], rows: list[list[str]], datatype: str = "eeg") -> Recording:
    stem = bids_stem(root, datatype)
    path = write_edf(stem.with_name(f"{stem.name}_{datatype}.edf"), [(n, "uV", 100, ramp(2, 100)) for n in names])
    write_tsv(stem.with_name(f"{stem.name}_channels.tsv"), ["name", "type", "status"], rows, start="\ufeff")
    return expand_source(path)[0].open()


def test_channels_tsv_is_applied_by_name_not_by_place(tmp_path: Path) -> None:
    rows = [["EKG", "ECG", "good"], ["Cz", "EEG", "BAD"], ["Gone", "EEG", "good"], ["Fz", "EEG", "good"]]
    raw = (recording := opened(tmp_path, ["Fz", "Cz", "EKG"], rows)).raw
    assert dict(zip(raw.ch_names, raw.get_channel_types())) == {"Fz": "eeg", "Cz": "eeg", "EKG": "ecg"}
    assert raw.info["bads"] == ["Cz"]
    assert any("1 of 4 channels are not in the recording: Gone" in note.line() for note in recording.notes)


def test_bad_channels_and_regions_follow_a_cleaned_name(tmp_path: Path) -> None:
    recording = opened(tmp_path, ["EEG Fz", "EEG Cz"], [["EEG Fz", "EEG", "bad"], ["EEG Cz", "EEG", "good"]])
    assert recording.raw.ch_names == ["Fz", "Cz"]
    assert recording.raw.info["bads"] == ["Fz"]


def test_an_untyped_intracranial_recording_is_seeg(tmp_path: Path) -> None:
    names = ["LA1", "LA2", "LA3", "EKG"]
    raw = opened(tmp_path, names, [[name, "n/a", "n/a"] for name in names], "ieeg").raw
    assert raw.get_channel_types() == ["seeg", "seeg", "seeg", "ecg"]
