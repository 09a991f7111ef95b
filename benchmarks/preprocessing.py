"""Streaming engine against MNE's own methods: the same filters on the same recording; time, memory, and the difference.

python benchmarks/preprocessing.py
"""

from __future__ import annotations

import tracemalloc

import mne
import numpy as np
from side_by_side import side_by_side

from neurodecode.config import PreprocessingSettings
from neurodecode.preprocessing.clean import clean
from neurodecode.recordings.recording import Recording, empty_events

CHANNELS, SECONDS, RATE = 64, 300, 1000.0
SETTINGS = {"high_pass": 0.5, "low_pass": 40.0, "line_noise": 50.0, "sfreq": 120.0}


def recording() -> Recording:
    rng = np.random.default_rng(0)
    values = 1e-5 * rng.standard_normal((CHANNELS, int(SECONDS * RATE)))
    raw = mne.io.RawArray(values, mne.create_info(CHANNELS, RATE, "eeg"), verbose="error")
    return Recording(raw, empty_events(), "01")


def main() -> None:
    made = recording()
    settings = {e: PreprocessingSettings(engine=e, **SETTINGS) for e in ("mne", "streaming")}  # type: ignore[arg-type]
    side_by_side(
        f"{CHANNELS} channels, {SECONDS} s at {RATE:g} Hz: notch, 0.5-40 Hz, to 120 Hz",
        {engine: lambda s=s: clean(made, s) for engine, s in settings.items()},
        rounds=3,
    )
    signals = {}
    for engine, chosen in settings.items():
        tracemalloc.start()
        signals[engine] = clean(made, chosen).signal
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{engine}: peak of {peak / 2**20:.0f} MiB beside the recording")
    difference = np.abs(signals["mne"] - signals["streaming"]).max() / signals["mne"].std()
    print(f"largest difference: {difference:.1e} standard deviations")


if __name__ == "__main__":
    main()
