"""A run is opened with the windows it was trained with: same samples, same sides, same segments under test."""

from __future__ import annotations

import pandas as pd
import pytest

from neurodecode.training.load import same_windows

TABLE = pd.DataFrame(
    {
        "start": [0, 60, 120, 180, 240, 300],
        "split": ["train", "train", "valid", "test", "test", "test"],
        "identity": [0, 1, 2, 3, 4, 3],
    }
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"identity": [5, 5, 5, 17, 8, 17]}, True),  # other numbers for the same tested segments, training left aside
        ({"identity": [0, 1, 2, 3, 4, 4]}, False),  # another pair of tested windows is one segment
        ({"identity": [0, 1, 2, 3, 4, 5]}, False),
        ({"start": [0, 60, 120, 180, 240, 301]}, False),
        ({"split": ["train", "train", "valid", "test", "test", ""]}, False),
    ],
)
def test_windows_are_the_same_whatever_number_a_segment_goes_by(change: dict, same: bool) -> None:
    assert same_windows(TABLE.assign(**change), TABLE) is same
    assert not same_windows(TABLE[:-1], TABLE)
