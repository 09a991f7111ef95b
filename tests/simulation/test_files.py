"""The written tree: what MNE reads is what was meant, tables agree with it, and targets are never harmed."""

from __future__ import annotations

import json
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
import soundfile

from neurodecode.errors import SettingsError
from neurodecode.simulation.cohort import plan_cohort
from neurodecode.simulation.simulate import simulate
from tests.simulation.conftest import data_files, read, small

FULL = {"line_noise": 45, "artefacts": 6, "bad_channels": 2, "stories": 2, "run_seconds": 60, "subjects": 2}


def meant(settings) -> list[np.ndarray]:
    cohort, signals = plan_cohort(settings), []
    for subject in cohort.subjects:
        for number, (_, signal) in enumerate(cohort.clean_runs(subject)):
            cohort.disturb(subject, number, signal)
            signals.append(signal.copy())
    return signals


@pytest.mark.parametrize("modality", ["meg", "eeg", "seeg"])
def test_mne_reads_back_what_was_meant(make, modality: str) -> None:
    root = make(modality=modality, **FULL)
    files, signals = data_files(root, modality), meant(small(modality=modality, **FULL))
    assert len(files) == len(signals) == 4
    for path, signal in zip(files, signals):
        found = read(path)
        assert found.shape == signal.shape
        if modality == "meg":  # float32
            np.testing.assert_allclose(found, signal, rtol=1e-6, atol=1e-20)
        elif modality == "eeg":  # steps of 0.1 uV
            np.testing.assert_allclose(found, signal, rtol=0, atol=0.0501e-6)
        else:  # 65535 steps over the range of each channel
            step = 2 * np.maximum(np.abs(signal).max(axis=1, keepdims=True) + 0.1e-6, 1e-6) / 65535
            assert (np.abs(found - signal) <= 0.51 * step).all()


@pytest.mark.parametrize("modality", ["meg", "eeg", "seeg"])
def test_tables_agree_with_the_signal(make, modality: str) -> None:
    root = make(modality=modality, **FULL)
    for path in data_files(root, modality):
        stem = path.with_name(path.name.rsplit("_", 1)[0])
        raw = mne.io.read_raw(path, verbose="error")
        channels = pd.read_csv(f"{stem}_channels.tsv", sep="\t")
        assert list(channels["name"]) == raw.ch_names
        flat = np.ptp(raw.get_data(), axis=1) == 0
        assert list(channels["status"] == "bad") == list(flat)
        assert flat.sum() == 2
        events = pd.read_csv(f"{stem}_events.tsv", sep="\t")
        assert set(events["kind"]) == set(events["trial_type"]) == {"stimulus"}
        for event in events.itertuples():
            audio = soundfile.info(root / "stimuli" / event.stim_file)
            assert event.duration == pytest.approx(audio.frames / audio.samplerate, abs=1e-6)
            assert 1 <= event.onset <= raw.duration - event.duration - 1
            assert (root / "stimuli" / event.stim_file).with_suffix(".tsv").is_file()
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert sidecar["PowerLineFrequency"] == 45
        assert sidecar["SamplingFrequency"] == raw.info["sfreq"] == 100


def test_mne_bids_reads_types_positions_and_mains(make) -> None:
    mne_bids = pytest.importorskip("mne_bids")
    root = make(modality="eeg", **FULL)
    path = mne_bids.BIDSPath(subject="01", task="listening", run="01", datatype="eeg", root=root)
    raw = mne_bids.read_raw_bids(path, verbose="error")
    assert set(raw.get_channel_types()) == {"eeg"}
    assert raw.info["line_freq"] == 45
    positions = np.array([ch["loc"][:3] for ch in raw.info["chs"]])
    np.testing.assert_allclose(
        positions, plan_cohort(small(modality="eeg", **FULL)).subjects[0].sensors.positions, atol=2e-6
    )


def test_depth_electrodes_have_shafts_regions_and_metres(make) -> None:
    root = make(modality="seeg", **FULL)
    table = pd.read_csv(root / "sub-01/ieeg/sub-01_electrodes.tsv", sep="\t")
    system = json.loads((root / "sub-01/ieeg/sub-01_coordsystem.json").read_text(encoding="utf-8"))
    assert system["iEEGCoordinateUnits"] == "m"
    assert np.abs(table[["x", "y", "z"]].to_numpy()).max() < 0.1
    for _, shaft in table.groupby("group"):
        steps = np.linalg.norm(np.diff(shaft[["x", "y", "z"]], axis=0), axis=1)
        np.testing.assert_allclose(steps, 0.0035, atol=3e-6)
    assert table["region"].str.contains("heschl-").any()


def test_the_tree_says_that_it_is_simulated(make) -> None:
    root = make(modality="eeg", **FULL)
    assert "SIMULATED" in (root / "README.md").read_text(encoding="utf-8")
    record = json.loads((root / "simulation.json").read_text(encoding="utf-8"))
    assert record["simulated"] is True
    assert record["settings"] == small(modality="eeg", **FULL).model_dump(mode="json")
    assert list(pd.read_csv(root / "participants.tsv", sep="\t")["participant_id"]) == ["sub-01", "sub-02"]


def test_an_existing_cohort_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = simulate(small(channels=4), tmp_path / "cohort")
    before = (out / "simulation.json").read_bytes()
    with pytest.raises(SettingsError, match="--overwrite") as refusal:
        simulate(small(channels=4, seed=4), out)
    assert "\n" not in str(refusal.value)
    assert (out / "simulation.json").read_bytes() == before
    (out / "old.txt").touch()
    simulate(small(channels=4, seed=4), out, overwrite=True)
    assert json.loads((out / "simulation.json").read_text(encoding="utf-8"))["seed"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]
    assert not (out / "old.txt").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_simulated_cohort_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="not a simulated cohort"):
        simulate(small(), tmp_path / "mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("neurodecode.simulation.simulate.write_root", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(small(channels=4), tmp_path / "cohort")
    assert list(tmp_path.iterdir()) == []
