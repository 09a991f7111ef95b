"""Every real file at hand is read, or refused in one line; nothing else comes out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.pipeline import load_card
from neurodecode.recordings.inspect import describe_source
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import write_json

pytestmark = pytest.mark.shared_data

# how many recordings each folder holds, all other files there must be refused; of formats: 13 BrainVision headers,
# 5 continuous FIF, 2 BTi, 5 EDF, 2 BDF, 1 EGI, 2 KIT, 1 Nicolet
READABLE = {"formats": 31, "eeglab": 1, "bids_tiny": 1, "eegmat": 16, "ieeg": 3, "ieeg_edf": 1}


@pytest.mark.parametrize("folder", READABLE)
def test_every_file_is_read_or_refused_in_one_line(shared_data: Path, folder: str) -> None:
    read = []
    for path in sorted((shared_data / folder).rglob("*")):
        if not path.is_file():
            continue
        (entry,) = describe_source(path)
        if "error" in entry:
            assert "\n" not in entry["error"]
            assert str(path) in entry["error"]
            assert len(entry["error"]) < 700
        else:
            assert entry["seconds"] > 0
            assert sum(entry["channels"].values()) > 0
            read.append(path.name)
    assert len(read) == READABLE[folder], read


def test_a_folder_gives_the_same_recordings_as_its_files(shared_data: Path) -> None:
    entries = describe_source(shared_data / "formats")
    refused = {Path(e["file"]).name for e in entries if "error" in e}
    assert len([e for e in entries if "error" not in e]) == READABLE["formats"]
    # of what looks like a recording by ending and name, this is none
    assert refused == {"test-epoch.raw", "trans-sample.fif"}
    names = [e["name"] for e in entries if "error" not in e]
    assert len(set(names)) == len(names)


def types_of(recording: Recording) -> dict[str, int]:
    return dict(Counter(recording.raw.get_channel_types()))


def test_real_channels_are_typed(shared_data: Path) -> None:
    def of(path: str) -> dict[str, int]:
        return types_of(expand_source(shared_data / path)[0].open())

    assert of("eegmat/Subject00_2.edf") == {"eeg": 19, "misc": 1, "ecg": 1}
    assert of("ieeg/sample_seeg.edf") == {"seeg": 88, "misc": 8, "ecg": 2}
    assert of("ieeg_edf/tiny_test.edf") == {"eeg": 104, "misc": 8, "stim": 1, "ecg": 2}


def test_the_tiny_tree(shared_data: Path) -> None:
    recording = expand_source(shared_data / "bids_tiny" / "tiny_bids")[0].open()
    assert recording.name == "sub-01_ses-eeg_task-rest"
    assert recording.events[["onset", "label"]].values.tolist() == [[0.0, "start_experiment"], [0.2, "show_stimulus"]]
    assert recording.line_frequency == 60
    assert recording.raw.info["bads"] == ["PO10"]
    places = np.array([c["loc"][:3] for c in recording.raw.info["chs"]])[: types_of(recording)["eeg"]]
    assert np.isfinite(places).all()
    assert 0.08 < np.linalg.norm(places, axis=1).max() < 0.17


def tree_of(shared_data: Path, root: Path, table: str, system: str | None = None) -> Path:
    """A BIDS tree around one of the real intracranial recordings, made of links."""
    folder = root / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    kind = "ecog" if "ecog" in table else "seeg"
    (folder / "sub-01_task-x_ieeg.edf").symlink_to(shared_data / "ieeg" / f"sample_{kind}.edf")
    (folder / "sub-01_electrodes.tsv").symlink_to(shared_data / "ieeg" / table)
    if system:
        (folder / "sub-01_coordsystem.json").symlink_to(shared_data / "ieeg" / system)
    write_json(root / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    return root


def test_a_real_table_in_metres_beside_a_json_that_says_mm_stops(shared_data: Path, tmp_path: Path) -> None:
    root = tree_of(shared_data, tmp_path, "sample_ecog_electrodes.tsv", "sample_ecog_coordsystem.json")
    with pytest.raises(RecordingError, match=r"says mm: that is .* \(in m it would fit\)"):
        expand_source(root)[0].open()


@pytest.mark.parametrize(("version", "regions"), [("3070367", True), ("653a18f", False), ("9104ea1", True)])
def test_real_shafts_get_places_and_regions(shared_data: Path, tmp_path: Path, version: str, regions: bool) -> None:
    root = tree_of(shared_data, tmp_path, f"sample_seeg_electrodes_{version}.tsv")
    recording = expand_source(root)[0].open()
    placed = [c for c in recording.raw.info["chs"] if np.isfinite(c["loc"][:3]).all() and c["loc"][:3].any()]
    assert len(placed) >= 80
    assert bool(recording.regions) == regions
    assert any("no unit stated" in note.line() for note in recording.notes)


def test_the_cocktail_cohort(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURODECODE_SHARED_DATA", str(shared_data))
    card = load_card("cocktail_eeg")
    recordings = [source.open() for source in expand_source(card)]
    assert [r.name for r in recordings] == [f"sub-01_task-cocktail_run-{i:02d}" for i in range(1, 6)]
    assert len(recordings) == card.expected_recordings
    assert [sorted(r.stimuli) for r in recordings][:2] == [["female-01", "male-26"], ["female-02", "male-23"]]
    first = recordings[0]
    assert first.raw.get_data().shape == (130, 7680)
    assert first.raw.ch_names[-2:] == ["M1", "M2"]
    assert set(first.raw.get_channel_types()) == {"eeg"}
    assert 1e-6 < np.median(first.raw.get_data().std(axis=1)) < 50e-6
    row = first.events[first.events["kind"] == "stimulus"].iloc[0]
    assert row[["onset", "duration", "stimulus", "stimulus_onset", "label"]].tolist() == [
        0,
        60,
        "female-01",
        0,
        "attended",
    ]
    ignored = first.events[first.events["kind"] == "ignored"].iloc[0]
    assert (ignored["stimulus"], ignored["ignored_stimulus"]) == ("", "male-26")
    envelope = first.stimuli["female-01"]
    assert (envelope.values.shape, envelope.rate, envelope.t0) == ((7680, 1), 128.0, 0.0)
    assert first.line_frequency == 50


def test_a_bti_folder_in_a_tree_is_one_recording(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "meg" / "sub-01_task-x_meg"
    folder.mkdir(parents=True)
    write_json(tmp_path / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    for name, real in (("c,rfDC", "pdf"), ("config", "config"), ("hs_file", "hs")):
        (folder / name).write_bytes((shared_data / "formats/bti/tests/data" / f"test_{real}_linux").read_bytes())
    for path in (tmp_path, folder):
        recording = expand_source(path)[0].open()
        assert recording.name == "sub-01_task-x"
        assert types_of(recording)["mag"] == 248
        assert {file.name for file in recording.files} == {"c,rfDC", "config", "hs_file"}
