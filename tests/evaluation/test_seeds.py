"""A mean over seeds: its figures are those of numpy, and it stands beside chance and what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.runs.seeds import seeds_tables, summarise_seeds
from neurodecode.files import write_json

TOP10 = (0.50, 0.56, 0.59)
PUBLISHED = [
    {"what": "random", "value": "0.7 ± 0.1", "source": "a paper", "label": "chance", "metric": "top10"},
    {"what": "contrastive", "value": "55.1 ± 0.7", "source": "a paper", "label": "mine", "metric": "top10"},
    {"what": "another", "value": 70.7, "source": "a paper", "label": "other", "metric": "top10"},
]


def evaluated(folder: Path, seed: int, top10: float, **changes: Any) -> Path:
    """A run of which only the evaluation is there."""
    metrics = {"top10": {"value": top10, "chance": 0.1}, "median_rank": {"value": 10.0 * seed, "chance": 50.5}}
    ridge = {"top10": {"value": 0.3, "chance": 0.1}, "median_rank": {"value": 9.0, "chance": 50.5}}
    noise = {"noise": {"metrics": {"top10": {"value": 0.1 * seed, "chance": 0.1}}}}
    write_json(
        folder / "evaluation" / "test.json",
        {
            "name": "toy",
            "simulated": True,
            "provenance": {"settings": {"seed": seed}},
            "n_queries": 200,
            "n_candidates": 100,
            "score": "clip",
            "metrics": metrics,
            "controls": {"ridge": {"metrics": ridge}, **noise},
            **changes,
        },
    )
    return folder


def three(root: Path) -> list[Path]:
    return [evaluated(root / f"seed-{k}", k, value) for k, value in zip((1, 2, 3), TOP10)]


def test_mean_and_deviation_are_those_of_the_seeds(tmp_path: Path) -> None:
    found = summarise_seeds("mine", three(tmp_path), PUBLISHED)
    assert (found["seeds"], found["runs"]) == ([1, 2, 3], ["seed-1", "seed-2", "seed-3"])
    top10 = found["metrics"]["top10"]
    assert top10["value"] == pytest.approx(0.55)
    assert top10["sd"] == pytest.approx(np.sqrt((0.05**2 + 0.01**2 + 0.04**2) / 2))
    assert (top10["each"], top10["chance"]) == (list(TOP10), 0.1)
    assert found["metrics"]["median_rank"] == {"value": 20.0, "sd": 10.0, "each": [10.0, 20.0, 30.0], "chance": 50.5}
    assert found["controls"]["ridge"]["top10"]["sd"] == pytest.approx(0, abs=1e-12)
    assert found["controls"]["noise"]["top10"]["value"] == pytest.approx(0.2)


def test_the_mean_stands_beside_the_published_figure_that_it_repeats_and_chance_beside_chance(tmp_path: Path) -> None:
    found = summarise_seeds("mine", three(tmp_path), PUBLISHED)
    assert [(f["measured"], f["own"]) for f in found["published"]] == [
        ("10.0", False),
        ("55.0 ± 4.6 (3 seeds)", True),
        ("", False),
    ]
    figures, published = seeds_tables(found)
    assert figures[1] == ["", "top-10", "median rank"]
    assert figures[2] == [
        ["seed 1", "0.500", "10.0"],
        ["seed 2", "0.560", "20.0"],
        ["seed 3", "0.590", "30.0"],
        ["mean ± s.d.", "0.550 ± 0.046", "20.0 ± 10.0"],
        ["ridge", "0.300 ± 0.000", "9.0 ± 0.0"],
        ["noise", "0.200 ± 0.100", "-"],
        ["chance", "0.100", "50.5"],
    ]
    assert figures[3][0].startswith("Simulated recordings")
    assert published[2][1] == ["contrastive", "55.1 ± 0.7", "55.0 ± 4.6 (3 seeds)", "a paper"]


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    found = summarise_seeds("mine", three(tmp_path)[:1])
    assert found["metrics"]["top10"]["sd"] is None
    assert len(seeds_tables(found)) == 1
    assert ["mean ± s.d.", "0.500", "10.0"] in seeds_tables(found)[0][2]


@pytest.mark.parametrize(("key", "value"), [("n_candidates", 90), ("n_queries", 7), ("score", "correlation")])
def test_runs_that_were_asked_something_else_have_no_mean(tmp_path: Path, key: str, value: object) -> None:
    runs = [*three(tmp_path), evaluated(tmp_path / "seed-9", 9, 0.5, **{key: value})]
    with pytest.raises(NeurodecodeError, match=f"seed-9: {key} is {value}, of .*seed-1 ") as caught:
        summarise_seeds("mine", runs)
    assert "\n" not in str(caught.value)
    with pytest.raises(NeurodecodeError, match=r"seed-8: not evaluated on test; run: neurodecode evaluate"):
        summarise_seeds("mine", [*three(tmp_path), tmp_path / "seed-8"])
