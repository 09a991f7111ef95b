"""The best attainable score: 1 when the response is loud, chance when there is none, in between in between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodecode.simulation.cohort import plan_cohort
from neurodecode.simulation.observer import Projection, hits, rank_spans
from tests.simulation.conftest import small


def ceiling(root: Path) -> dict:
    return json.loads((root / "simulation.json").read_text(encoding="utf-8"))["ceiling"]


@pytest.mark.parametrize("modality", ["meg", "eeg", "seeg"])
def test_a_loud_response_is_solved(make, modality: str) -> None:
    found = ceiling(make(modality=modality, snr=10))
    assert found["ideal"]["top1"] == found["ideal"]["top10"] == 1.0
    assert found["candidates"] > 100


def test_without_a_response_the_score_is_chance_exactly(make) -> None:
    found = ceiling(make(snr=0))
    for k in (1, 10):
        assert found["chance"][f"top{k}"] == k / found["candidates"]
        assert found["ideal"][f"top{k}"] == pytest.approx(k / found["candidates"])


def test_the_score_grows_with_snr_and_knowing_the_envelope_alone_gives_less(make) -> None:
    scores = [ceiling(make(snr=snr, linear=0.3)) for snr in (0.01, 0.06, 0.3)]
    ideal = [found["ideal"]["top1"] for found in scores]
    assert ideal[0] < ideal[1] < ideal[2]
    assert 0.1 < ideal[1] < 0.95
    assert all(found["envelope"]["top1"] < found["ideal"]["top1"] for found in scores[1:])


def test_knowing_the_response_of_another_cohort_is_worth_nothing(make) -> None:
    """The observer's templates matter: those of other phone patterns and heads do not solve it."""
    from neurodecode.simulation.observer import Observer

    own, other = plan_cohort(small(snr=1, linear=0)), plan_cohort(small(snr=1, linear=0, seed=99))
    observer = Observer(own)
    observer.cohort = other
    observer.prepare(other.subjects[0])
    observer.cohort = own
    for run, signal in own.clean_runs(own.subjects[0]):
        observer.observe(own.subjects[0], run, signal)
    assert observer.result()["ideal"]["top1"] < 0.3
    assert ceiling(make(snr=1, linear=0))["ideal"]["top1"] > 0.99


def test_the_projected_background_is_white_and_uncorrelated() -> None:
    cohort = plan_cohort(small(snr=0, stories=2))
    subject = cohort.subjects[0]
    projection = Projection(subject)
    for run, signal in cohort.clean_runs(subject):
        spectrum = np.fft.rfft(signal, axis=1)
        series = projection.channels(spectrum, run.n_samples, 100, 0.0)
        power = np.abs(np.fft.rfft(series, axis=1)) ** 2 / series.shape[1]
        frequencies = np.fft.rfftfreq(series.shape[1], 0.01)
        for low, high in ((0.6, 2), (2, 8), (8, 12), (12, 30)):
            inside = (frequencies > low) & (frequencies < high)
            assert power[:, inside].mean() == pytest.approx(1.0, abs=0.15)
        correlation = np.corrcoef(series) - np.eye(len(series))
        assert np.abs(correlation).max() < 0.15


def test_ties_share_their_ranks() -> None:
    scores = np.array([[3.0, 1, 2], [1, 1, 1], [0, 5, 5]])
    spans = rank_spans(scores, np.array([0, 1, 2]))
    assert spans.tolist() == [[0, 1], [0, 3], [0, 2]]
    assert hits(spans, 1) == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
