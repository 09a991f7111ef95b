"""Maps show each contact on its shaft at its number, and are drawn of whatever is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.reports.channel_maps import along_shafts, draw_selection, draw_subject, places
from neurodecode.selection.command import selection_tables
from tests.selection.cohort import NAMES, four_runs, store_of
from tests.selection.test_rank import ranked


def size(path: Path) -> tuple[int, int]:
    from matplotlib.image import imread

    image = imread(path)
    assert image[..., :3].std() > 0.02  # not blank
    return image.shape[1], image.shape[0]


def test_contacts_stand_on_their_shaft_at_their_number() -> None:
    rows = [{"name": name, "shaft": name.rstrip("0123456789")} for name in ("B2", "A'10", "A'2", "B1")]
    assert along_shafts(rows) == {"A'": [(2, 2), (10, 1)], "B": [(1, 3), (2, 0)]}
    assert along_shafts([{"name": "Cz", "shaft": ""}]) == {}
    assert np.isnan(places([{"x": None}], ("x",))).all()


def test_every_subject_gets_a_picture_with_shafts_curve_and_three_views(tmp_path) -> None:
    selection = ranked(store_of(*four_runs([2, 4])), tmp_path)
    (path,) = draw_selection(selection, tmp_path)
    assert path.name == "fold-0_sub-01.png"
    width, height = size(path)
    assert width > 1000
    assert height > 600
    title, columns, rows, notes = selection_tables(selection, tmp_path)[0]
    assert "2 of 8 chosen, ranked on 60 training windows, 3 labels" in title
    assert len(columns) == len(rows[0])
    assert {row[1] for row in rows if row[-1] == "yes"} == {NAMES[2], NAMES[4]}
    assert any("Kuncheva" in note for note in notes)
    assert any("says nothing about a brain" in note for note in notes)


def entry(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"channels": rows, "chosen": [rows[0]["name"]], "curve": None, "chance": None} | more


def test_sensors_outside_the_head_are_drawn_on_a_plane(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"name": f"E{k}", "shaft": "", "score": float(k), "x2d": x, "y2d": y}
        for k, (x, y) in enumerate(rng.random((9, 2)))
    ]
    assert draw_subject(entry(rows), "eeg", tmp_path / "a.png", "score")
    size(tmp_path / "a.png")


def test_regions_without_scores_are_drawn_and_nothing_is_drawn_of_nothing(tmp_path) -> None:
    rows = [{"name": f"A{k}", "shaft": "A", "x": None, "y": None, "z": None} for k in (1, 2)]
    assert draw_subject(entry(rows), "regions", tmp_path / "a.png", "score")
    assert not draw_subject(entry([{"name": "Cz", "shaft": ""}]), "none", tmp_path / "b.png", "score")
    assert not (tmp_path / "b.png").exists()
