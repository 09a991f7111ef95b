"""Small real files: FIF ramps with a wav stimulus in a BIDS-like tree of one's own."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pytest
import soundfile

SETTINGS = ["picks=[eeg]", "find_bads=false", "sfreq=50"]


def write_ramps(folder: Path, subjects: tuple[str, ...] = ("01", "02", "03"), seconds: float = 20.0) -> Path:
    """One recording a subject: channel k is a sine of k + 1 Hz on a slow ramp, 40 uV; a story of 15 s from second 2."""
    (folder / "stimuli").mkdir(parents=True)
    rng = np.random.default_rng(0)
    soundfile.write(folder / "stimuli" / "story.wav", 0.1 * rng.standard_normal(16_000 * 15), 16_000)
    (folder / "dataset_description.json").write_text('{"Name": "ramps", "BIDSVersion": "1.9.0"}', encoding="utf-8")
    for number, subject in enumerate(subjects):
        times = np.arange(round(seconds * 200)) / 200
        values = [4e-5 * np.sin(2 * np.pi * (k + 1) * times + number) + 1e-6 * times for k in range(4)]
        raw = mne.io.RawArray(
            np.array(values), mne.create_info(["Fz", "Cz", "Pz", "Oz"], 200.0, "eeg"), verbose="error"
        )
        target = folder / f"sub-{subject}" / "eeg"
        target.mkdir(parents=True)
        # BIDS knows no FIF for EEG, so the signal is written as EDF
        mne.export.export_raw(target / f"sub-{subject}_task-story_eeg.edf", raw, verbose="error")
        rows = "onset\tduration\ttrial_type\tstim_file\n2.0\t15.0\tstimulus\tstory.wav\n"
        (target / f"sub-{subject}_task-story_events.tsv").write_text(rows, encoding="utf-8")
    return folder


@pytest.fixture
def ramps(tmp_path: Path) -> Path:
    return write_ramps(tmp_path / "raw")
