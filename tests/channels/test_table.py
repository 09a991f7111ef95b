"""The channel table states names, places, shafts and units as the recording has them, and NaN where it has none."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.channels.layout import unit_square
from neurodecode.channels.shafts import Contact, contact_of
from neurodecode.channels.table import COLUMNS, channel_table


def raw_of(names: list[str], kind: str = "eeg") -> mne.io.RawArray:
    return mne.io.RawArray(np.zeros((len(names), 10)), mne.create_info(names, 100.0, kind), verbose="error")


@pytest.mark.parametrize(
    ("name", "shaft", "number"),
    [
        ("A'1", "A'", 1),
        ("A1", "A", 1),
        ("A'10", "A'", 10),
        ("A'02", "A'", 2),
        ("LAMT01", "LAMT", 1),
        ("POL TI'4", "TI'", 4),
        ("EEG X'3-Ref", "X'", 3),
        ("B\u20197", "B'", 7),
        ("A'1-A'2", "A'", 1),
    ],
)
def test_a_contact_name_states_shaft_and_number(name: str, shaft: str, number: int) -> None:
    assert contact_of(name) == Contact(shaft, number)


@pytest.mark.parametrize("name", ["EKG", "DC", "A'1-B'2", "1", "", "Fp1-A2x"])
def test_a_name_without_shaft_and_number_states_none(name: str) -> None:
    assert contact_of(name) is None


@given(st.text(alphabet="ABCDEFGH", min_size=1, max_size=3), st.booleans(), st.integers(0, 400), st.integers(0, 2))
def test_any_shaft_and_number_come_back(letters: str, primed: bool, number: int, zeros: int) -> None:
    shaft = letters + ("'" if primed else "")
    assert contact_of(f"{shaft}{'0' * zeros}{number}") == Contact(shaft, number)


def test_electrodes_of_a_cap_fill_the_unit_square_with_left_to_the_left() -> None:
    names = mne.channels.make_standard_montage("biosemi64").ch_names
    table = channel_table(raw_of(names).set_montage("biosemi64")).set_index("name")
    assert table[["x2d", "y2d"]].min().tolist() == [0.0, 0.0]
    assert table[["x2d", "y2d"]].max().tolist() == [1.0, 1.0]
    assert table.loc["T7", "x2d"] < table.loc["Cz", "x2d"] < table.loc["T8", "x2d"]
    assert table.loc["Oz", "y2d"] < table.loc["Cz", "y2d"] < table.loc["Fpz", "y2d"]
    assert table.loc["Cz", "x2d"] == pytest.approx(0.5, abs=0.02)
    assert set(table["unit"]) == {"V"}


def test_channels_without_a_position_are_nan_and_leave_the_others_where_they_are() -> None:
    names = ["Fp1", "Cz", "Oz", "T7", "T8"]
    placed = channel_table(raw_of(names).set_montage("standard_1020")).set_index("name")
    with_strangers = raw_of([*names, "X1", "X2"]).set_montage("standard_1020", on_missing="ignore")
    table = channel_table(with_strangers).set_index("name")
    assert table.loc[["X1", "X2"], ["x", "x2d", "y2d"]].isna().to_numpy().all()
    np.testing.assert_allclose(table.loc[names, "x2d"], placed.loc[names, "x2d"])


def test_no_positions_at_all_and_all_zero_positions_are_unknown_never_the_origin() -> None:
    raw = raw_of(["Fz", "Cz", "Pz"])
    for channel in raw.info["chs"]:
        channel["loc"][:3] = 0.0
    table = channel_table(raw)
    assert table[["x", "y", "z", "x2d", "y2d"]].isna().to_numpy().all()
    assert tuple(table.columns) == COLUMNS


def test_contacts_have_shafts_regions_and_flattened_positions() -> None:
    raw = raw_of(["A'1", "A'2", "B1", "EKG"], "seeg")
    raw.set_channel_types({"EKG": "ecg"}, verbose="error")
    for channel, place in zip(raw.info["chs"], [(-0.04, 0.0, 0.03), (-0.05, 0.0, 0.03), (0.05, 0.01, 0.04)]):
        channel["loc"][:3] = place
    raw.info["bads"] = ["A'2"]
    table = channel_table(raw, {"A'1": "insula"}).set_index("name")
    assert table["shaft"].to_dict() == {"A'1": "A'", "A'2": "A'", "B1": "B", "EKG": ""}
    assert table["region"].to_dict() == {"A'1": "insula", "A'2": "", "B1": "", "EKG": ""}
    assert table["bad"].to_dict() == {"A'1": False, "A'2": True, "B1": False, "EKG": False}
    assert table.loc["A'2", "x2d"] == 0.0
    assert table.loc["B1", "x2d"] == 1.0
    assert np.isnan(table.loc["EKG", "x2d"])


def test_an_axis_without_extent_becomes_zero_and_nan_stays() -> None:
    result = unit_square(np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, np.nan]]))
    np.testing.assert_array_equal(result, [[0, 0], [1, 0], [np.nan, np.nan]])


@pytest.mark.shared_data
def test_kit_and_bti_sensors_all_have_a_place(shared_data: Path) -> None:
    for file, count in (("kit/tests/data/test_bin_raw.fif", 157), ("bti/tests/data/exported4D_linux_raw.fif", 248)):
        raw = mne.io.read_raw_fif(shared_data / "formats" / file, verbose="error")
        table = channel_table(raw)
        sensors = table[table["type"] == "mag"]
        assert len(sensors) == count
        assert sensors[["x2d", "y2d"]].notna().to_numpy().all()
        assert set(sensors["unit"]) == {"T"}
