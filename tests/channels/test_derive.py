"""Derived channels join neighbours only: consecutive numbers, one shaft, both good; whoever is left out has a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.channels.derive import bipolar, laplacian
from neurodecode.channels.shafts import contact_of, is_derived


def names_of(montage) -> list[str]:
    return [derivation.name for derivation in montage.derivations]


def test_pairs_follow_numbers_not_the_order_of_the_file_and_stop_at_gaps() -> None:
    names = ["A'10", "A'1", "A'3", "A1", "A'2", "A'11", "A2"]
    montage = bipolar(names, ["seeg"] * 7, [])
    assert names_of(montage) == ["A'10-A'11", "A'1-A'2", "A1-A2", "A'2-A'3"]
    assert montage.gaps == ["A'3 and A'10"]
    assert montage.left_out == {}


def test_a_bad_contact_enters_no_pair_and_no_pair_is_made_across_it() -> None:
    montage = bipolar(["B1", "B2", "B3", "B4", "B5"], ["seeg"] * 5, {"B3": "flat"})
    assert names_of(montage) == ["B1-B2", "B4-B5"]
    assert montage.left_out == {"B3": "bad"}
    assert montage.gaps == ["B2 and B4"]


def test_contacts_without_a_sure_place_or_neighbour_are_left_out_with_the_reason() -> None:
    names = ["A1", "A2", "A02", "A3", "A4", "DC", "C7"]
    montage = bipolar(names, ["seeg"] * 7, [])
    assert names_of(montage) == ["A3-A4"]
    assert montage.left_out == {
        "A1": "no neighbour on its shaft",
        "A2": "A2 and A02 state the same contact",
        "A02": "A2 and A02 state the same contact",
        "DC": "its name states no shaft and number",
        "C7": "no neighbour on its shaft",
    }


def test_names_lose_what_the_amplifier_wrote_and_keep_their_zeros() -> None:
    montage = bipolar(["POL A1", "POL A2", "LAMT09-Ref", "LAMT10-Ref", "B\u20191", "B'2"], ["seeg"] * 6, [])
    assert names_of(montage) == ["A1-A2", "LAMT09-LAMT10", "B'1-B'2"]
    assert montage.derivations[0].plus == "POL A1"
    assert montage.derivations[0].minus == ("POL A2",)


def test_contacts_of_two_types_are_no_neighbours() -> None:
    assert names_of(bipolar(["A1", "A2", "A3"], ["seeg", "seeg", "ecog"], [])) == ["A1-A2"]


def test_a_laplacian_needs_both_neighbours() -> None:
    montage = laplacian(["A1", "A2", "A3", "A4", "A6", "A7"], ["seeg"] * 6, [])
    assert names_of(montage) == ["A2-(A1+A3)", "A3-(A2+A4)"]
    assert montage.derivations[0].points == ("A2",)
    assert montage.left_out == dict.fromkeys(("A6", "A7"), "no two neighbours on its shaft")


@pytest.mark.parametrize("name", ["A'1-A'2", "A'2-(A'1+A'3)", "LAMT09-LAMT10"])
def test_a_derived_name_states_its_shaft_and_that_it_is_derived(name: str) -> None:
    assert contact_of(name).shaft == name[: len(name.split("-")[0].rstrip("0123456789"))]
    assert is_derived(name)


@pytest.mark.parametrize("name", ["A'1", "EEG X'3-Ref", "Fp1-F7x", "A'1-B"])
def test_other_names_are_not_taken_for_derived_ones(name: str) -> None:
    assert not is_derived(name)


def test_rows_of_an_ecog_grid_are_not_joined_when_positions_tell() -> None:
    names = [f"G{k}" for k in range(1, 33)]  # 4 rows of 8, 10 mm apart
    places = {name: np.array([0.01 * (k % 8), 0.01 * (k // 8), 0.05]) for k, name in enumerate(names)}
    montage = bipolar(names, ["ecog"] * 32, [], places)
    assert len(montage.derivations) == 28
    assert montage.gaps[0] == "G8 and G9 (71 mm apart, 10 mm are usual)"
    assert montage.doubts == []
    assert len(bipolar(names, ["seeg"] * 32, [], places).derivations) == 28  # a grid that nobody typed
    assert "32 ecog contacts G, not all with positions" in bipolar(names, ["ecog"] * 32, []).doubts[0]


def test_the_region_of_a_derived_channel_is_stated_only_where_its_contacts_agree() -> None:
    regions = {"A1": "insula", "A2": "insula", "A3": "putamen"}
    pairs = bipolar(["A1", "A2", "A3", "A4"], ["seeg"] * 4, []).derivations
    assert [pair.region(regions) for pair in pairs] == ["insula", "", ""]
    assert laplacian(["A1", "A2", "A3"], ["seeg"] * 3, []).derivations[0].region(regions) == "insula"


def test_groups_of_contacts_on_a_depth_electrode_are_joined() -> None:
    depths = [0, 3.5, 7, 10.5, 14, 25, 28.5, 32, 35.5, 39]  # mm, two groups of five
    names = [f"A{k}" for k in range(1, 11)]
    places = {name: np.array([depth * 1e-3, 0.0, 0.03]) for name, depth in zip(names, depths)}
    assert len(bipolar(names, ["seeg"] * 10, [], places).derivations) == 9


@pytest.mark.shared_data
@pytest.mark.parametrize("subject", ["01", "07"])
def test_the_rows_of_a_real_grid_are_found_by_its_positions(shared_data: Path, subject: str) -> None:
    folder = shared_data / "bids_tables" / "ds005574" / f"sub-{subject}" / "ieeg"
    table = pd.read_csv(next(folder.glob("*space-MNI*electrodes.tsv")), sep="\t")
    grid = table[table["name"].str.fullmatch(r"G\d+")]
    places = {row["name"]: row[["x", "y", "z"]].to_numpy(float) * 1e-3 for _, row in grid.iterrows()}
    montage = bipolar(grid["name"].tolist(), ["ecog"] * len(grid), [], places)
    assert [gap.split(" (")[0] for gap in montage.gaps] == [f"G{k} and G{k + 1}" for k in range(8, 64, 8)]


@given(st.sets(st.integers(1, 30), min_size=1), st.sets(st.integers(1, 30)), st.randoms(use_true_random=False))
def test_every_contact_is_used_or_left_out_and_the_file_order_changes_nothing(numbers, bad_numbers, random) -> None:
    names = [f"S{number}" for number in sorted(numbers)]
    bads = {f"S{number}" for number in bad_numbers}
    montage = bipolar(names, ["seeg"] * len(names), bads)
    used = {name for pair in montage.derivations for name in (pair.plus, *pair.minus)}
    assert used | set(montage.left_out) == set(names)
    assert not used & (set(montage.left_out) | bads)
    assert len(montage.derivations) == sum(n + 1 in numbers and not {n, n + 1} & bad_numbers for n in numbers)
    shuffled = list(names)
    random.shuffle(shuffled)
    again = bipolar(shuffled, ["seeg"] * len(names), bads)
    assert sorted(names_of(again)) == sorted(names_of(montage))
