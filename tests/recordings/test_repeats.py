"""Signal that is there twice is found wherever it lies and however its channels are scaled, and chance is not."""

from __future__ import annotations

import numpy as np
import pytest

from neurodecode.recordings.repeats import ONE_IN, fingerprints, holder, overlap

NAMES = ["A1", "A2", "B1"]


def noise(samples: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((channels, samples))


@pytest.mark.parametrize(("length", "found"), [(4000, 4000), (8000, 8000), (100, 100), (99, 0), (0, 0)])
def test_the_end_of_the_piece_before_is_found_sample_by_sample(length: int, found: int) -> None:
    long = noise(16_000 - length)
    before, after = long[:, :8000], long[:, 8000 - length :]
    assert after.shape[1] == 8000
    assert overlap(before, after) == found


def test_what_differs_in_one_channel_or_does_not_change_is_no_overlap() -> None:
    long = noise(12_000)
    before, after = long[:, :8000], long[:, 4000:].copy()
    after[2, 3999] += 1e-9
    assert overlap(before, after) == 0
    flat = np.zeros((3, 8000))
    assert overlap(flat, flat) == 0
    later = noise(8000, 1)
    later[:, :500] = before[:, -1:]  # a clipped end, and a start clipped at the same value
    clipped = before.copy()
    clipped[:, -300:] = before[:, -1:]
    assert overlap(clipped, later) == 0
    ends = np.round(noise(8000, 2)[:1])  # one channel of few values: its first one is often there
    assert overlap(ends[:, :7000], ends[:, 2000:]) == 5000


def test_a_shorter_piece_inside_the_one_before_is_not_its_end() -> None:
    long = noise(8000)
    assert overlap(long, long[:, 2000:4000]) == 0
    assert overlap(long[:, :0], long) == 0


def test_a_stretch_is_found_elsewhere_scaled_shifted_rounded_and_in_another_order_of_channels() -> None:
    trial, long = noise(3000), noise(20_000, 1)
    own = fingerprints(trial, NAMES)
    assert 0.5 * 3000 / ONE_IN < len(own) < 2 * 3000 / ONE_IN
    assert not np.isin(own, fingerprints(long, NAMES)).any()
    long[:, 7777:10_777] = 3e5 * trial * np.array([[1.0], [2.0], [7.0]]) + 3
    assert np.isin(own, fingerprints(long, NAMES)).all()
    assert np.isin(own, fingerprints(long[[2, 0, 1]], ["B1", "A1", "A2"])).all()
    assert np.isin(own, fingerprints(long.astype(np.float32), NAMES)).mean() > 0.9
    half = fingerprints(long[:, :9277], NAMES)  # the first half of the trial
    assert 0.3 < np.isin(own, half).mean() < 0.6


def test_the_file_that_shares_most_with_a_signal_is_named_and_none_when_nothing_is_shared() -> None:
    first, second = noise(6000, 1), noise(6000, 2)
    known = {"1": fingerprints(first, NAMES), "2": fingerprints(second, NAMES)}
    mixed = np.concatenate([first[:, :1500], second[:, :4000]], axis=1)
    assert holder(mixed, NAMES, known) == "2"
    assert holder(mixed[:, :2000], NAMES, known) == "1"
    assert holder(noise(6000, 3), NAMES, known) == ""
    assert holder(mixed, NAMES, {}) == ""
    one = {"1": fingerprints(mixed, NAMES)[:1]}  # one alone may be chance
    assert holder(mixed, NAMES, one) == ""


def test_other_channels_are_another_signal() -> None:
    trial = noise(3000)
    assert not np.isin(fingerprints(trial, NAMES), fingerprints(trial, ["A1", "A2", "B2"])).any()
    assert not np.isin(fingerprints(trial, NAMES), fingerprints(-trial, NAMES)).any()


def test_flat_stretches_lines_and_short_ones_have_no_fingerprint() -> None:
    line = np.arange(3000.0)[None] * np.ones((3, 1))
    slow = np.sin(np.arange(3000.0) / 400)[None] * np.ones((3, 1))
    for signal in (np.zeros((3, 3000)), line, slow, noise(251)):
        assert len(fingerprints(signal, NAMES)) == 0
