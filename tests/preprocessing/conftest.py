"""Toy recordings of this room: sample value = time, channel offset = index."""

from __future__ import annotations

from collections.abc import Callable

import mne
import numpy as np
import pytest

from neurodecode.recordings.recording import Recording, empty_events, events_table


def ramp_values(n_channels: int, sfreq: float, seconds: float) -> np.ndarray:
    """uV: time in seconds + 100 x channel index, given in V."""
    times = np.arange(round(seconds * sfreq)) / sfreq
    return (times[None] + 100 * np.arange(n_channels)[:, None]) * 1e-6


@pytest.fixture(scope="session")
def make_recording() -> Callable[..., Recording]:
    def make(
        values: np.ndarray | None = None,
        sfreq: float = 200.0,
        seconds: float = 20.0,
        n_channels: int = 4,
        types: str | list[str] = "eeg",
        names: list[str] | None = None,
        annotations: list[tuple[float, float, str]] = (),
        first_samp: int = 0,
        meas_date: float | None = None,
        events: list[dict] = (),
        line_frequency: float | None = None,
        bads: list[str] = (),
    ) -> Recording:
        if values is None:
            values = ramp_values(n_channels, sfreq, seconds)
        names = names or [f"E{i}" for i in range(len(values))]
        raw = mne.io.RawArray(values, mne.create_info(names, sfreq, types), first_samp=first_samp, verbose="error")
        if meas_date is not None:
            raw.set_meas_date(meas_date)
        raw.info["bads"] = list(bads)
        if annotations:
            # without orig_time MNE counts these onsets from the first sample
            raw.set_annotations(mne.Annotations(*zip(*annotations)))
        table = events_table(list(events)) if events else empty_events()
        return Recording(raw, table, "01", line_frequency=line_frequency)

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    def make(n_channels: int = 4, sfreq: float = 200.0, seconds: float = 20.0, seed: int = 0) -> np.ndarray:
        """White noise of 10 uV with a drift and mains, V."""
        rng = np.random.default_rng(seed)
        times = np.arange(round(seconds * sfreq)) / sfreq
        values = 1e-5 * rng.standard_normal((n_channels, len(times)))
        values += 5e-5 * np.sin(2 * np.pi * 50 * times + rng.uniform(0, 6, (n_channels, 1)))
        return values + 1e-5 * rng.standard_normal((n_channels, 1)) * times / seconds

    return make
