"""References of contacts: what is stored is the stated difference, at the stated place, with either engine."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.preprocessing.clean import CleanSignal, clean
from neurodecode.recordings.recording import Recording, empty_events

PLAIN = PreprocessingSettings(sfreq=100.0, find_bads=False)
NAMES = ["A'1", "A'2", "A'3", "A'5", "B1", "B2", "EKG"]
TYPES = ["seeg"] * 6 + ["ecg"]


def with_reference(reference, **more) -> PreprocessingSettings:
    return PLAIN.model_copy(update={"reference": reference, **more})


def placed(recording: Recording) -> Recording:
    """Contact k lies at (k, 2 k, 30) mm; the last two contacts nowhere."""
    for k, channel in enumerate(recording.raw.info["chs"][:4]):
        channel["loc"][:3] = [1e-3 * (k + 1), 2e-3 * (k + 1), 0.03]
    return recording


@pytest.mark.parametrize("engine", ["mne", "streaming"])
def test_pairs_of_ramps_are_constants_and_their_times_stay(make_recording, engine: str) -> None:
    times = np.arange(4000) / 200.0
    values = 1e-6 * np.stack([times, 3 * times, 10 - times, times**0, times, 5 + times, times])
    result = clean(make_recording(values, names=NAMES, types=TYPES), with_reference("bipolar", engine=engine))
    assert result.channels["name"].tolist() == ["A'1-A'2", "A'2-A'3", "B1-B2"]
    stored = np.arange(2000) / 100.0
    expected = 1e-6 * np.stack([-2 * stored, 4 * stored - 10, np.full(2000, -5.0)])
    assert np.abs(result.signal - expected).max() < 1e-10  # V
    assert result.signal.dtype == np.float32
    assert result.datatype == "ieeg"
    assert result.report["n_channels"] == 3


def test_a_laplacian_is_the_centre_minus_the_mean_of_its_neighbours(make_recording, noise) -> None:
    recording = make_recording(noise(n_channels=7), names=NAMES, types=TYPES)
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("laplacian"))
    assert result.channels["name"].tolist() == ["A'2-(A'1+A'3)"]
    np.testing.assert_allclose(result.signal[0], plain[1] - (plain[0] + plain[2]) / 2, atol=1e-10)


def test_a_pair_lies_at_the_midpoint_and_keeps_shaft_and_agreed_region(make_recording, noise) -> None:
    recording = placed(make_recording(noise(n_channels=7), names=NAMES, types=TYPES))
    recording.regions = {"A'1": "insula", "A'2": "insula", "A'3": "putamen"}
    table = clean(recording, with_reference("bipolar")).channels.set_index("name")
    np.testing.assert_allclose(table.loc["A'1-A'2", ["x", "y", "z"]].to_numpy(float), [1.5e-3, 3e-3, 0.03])
    np.testing.assert_allclose(table.loc["A'2-A'3", ["x", "y", "z"]].to_numpy(float), [2.5e-3, 5e-3, 0.03])
    assert table.loc["B1-B2", ["x", "y", "z"]].isna().all()
    assert table["shaft"].tolist() == ["A'", "A'", "B"]
    assert table["region"].tolist() == ["insula", "", ""]
    assert table["type"].tolist() == ["seeg"] * 3
    assert not table["bad"].any()
    centre = clean(recording, with_reference("laplacian")).channels.iloc[0]
    np.testing.assert_allclose(centre[["x", "y", "z"]].to_numpy(float), [2e-3, 4e-3, 0.03])
    assert (centre["shaft"], centre["region"]) == ("A'", "insula")


def test_what_was_made_and_left_out_is_said_and_counted(make_recording, noise) -> None:
    recording = make_recording(noise(n_channels=7), names=NAMES, types=TYPES, bads=["A'2"])
    result = clean(recording, with_reference("bipolar"))
    assert result.channels["name"].tolist() == ["B1-B2"]
    assert [note.line() for note in result.notes] == [
        "sub-01: reference is bipolar; 1 channels made of 6 contacts",
        "sub-01: 4 contacts: no neighbour on its shaft: A'1, A'3, A'5; bad: A'2; left out",
        "sub-01: no neighbours on their shaft: A'1 and A'3; A'3 and A'5; nothing derived across the gap",
    ]
    assert result.report["reference"]["derived"] == 1
    assert result.report["reference"]["left_out"]["A'2"] == "bad"
    assert result.report["bads"] == {"A'2": "marked in the recording"}


def test_a_contact_that_holds_nan_or_is_found_bad_enters_no_pair(make_recording, noise) -> None:
    values = noise(n_channels=6, seconds=30.0)
    values[1, 700:900] = np.nan
    values[4] = 1e-3
    names = ["A1", "A2", "A3", "A4", "A5", "A6"]
    recording = make_recording(values, names=names, types="seeg")
    result = clean(recording, with_reference("bipolar", find_bads=True))
    assert result.channels["name"].tolist() == ["A3-A4"]
    np.testing.assert_allclose(result.signal[0], clean(recording, PLAIN).signal[2:4].T @ [1, -1], atol=1e-10)


def test_channels_of_other_types_are_kept_beside_the_pairs_in_the_order_of_the_file(make_recording, noise) -> None:
    values = noise(n_channels=5)
    names, types = ["Fz", "A1", "A2", "Cz", "A3"], ["eeg", "seeg", "seeg", "eeg", "seeg"]
    recording = make_recording(values, names=names, types=types, bads=["Cz"])
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("bipolar"))
    assert result.channels["name"].tolist() == ["Fz", "A1-A2", "A2-A3", "Cz"]
    assert result.channels["bad"].tolist() == [False, False, False, True]
    assert np.array_equal(result.signal[[0, 3]], plain[[0, 3]])
    dropped = clean(recording, with_reference("bipolar", bads="drop"))
    assert dropped.channels["name"].tolist() == ["Fz", "A1-A2", "A2-A3"]
    assert np.array_equal(dropped.signal, result.signal[:3])


def test_the_average_of_a_shaft_is_that_of_its_good_contacts(make_recording, noise) -> None:
    names = ["A1", "A2", "A3", "B1", "B2", "C1"]
    recording = make_recording(noise(n_channels=6), names=names, types="seeg", bads=["A3"])
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("shaft-average"))
    assert result.channels["name"].tolist() == names[:5]
    np.testing.assert_allclose(result.signal[:3], plain[:3] - plain[:2].mean(axis=0), atol=1e-11)
    np.testing.assert_allclose(result.signal[3:], plain[3:5] - plain[3:5].mean(axis=0), atol=1e-11)
    assert result.report["reference"]["left_out"] == {"C1": "1 good contacts on its shaft give no average"}


def test_white_matter_is_the_mean_of_the_good_contacts_there(make_recording, noise) -> None:
    recording = make_recording(noise(n_channels=6), names=NAMES[:6], types="seeg", bads=["A'3"])
    recording.regions = {
        "A'1": "Left-Cerebral-White-Matter",
        "A'2": "wm-lh-insula",
        "A'3": "white matter",
        "A'5": "ctx-lh-insula",
        "B1": "WM",
    }
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("white-matter"))
    np.testing.assert_allclose(result.signal, plain - plain[[0, 1, 4]].mean(axis=0), atol=1e-11)
    assert result.notes[-1].line().endswith("the mean of 3 contacts subtracted from 6: A'1, A'2, B1")


def test_what_cannot_be_made_is_refused_in_one_line(make_recording, noise) -> None:
    contacts = make_recording(noise(), names=["A1", "A3", "B1", "C1"], types="seeg")
    cases = [
        (contacts, "bipolar", "no two good contacts are neighbours on a shaft .* set reference to none or average"),
        (contacts, "laplacian", "no two good contacts are neighbours"),
        (contacts, "white-matter", "of 4 contacts 0 state a region, 0 white matter, 0 of these good, and 2 are needed"),
        (make_recording(noise(), types="eeg"), "bipolar", r"there is no seeg, ecog, dbs channel \(types: eeg\)"),
        (
            make_recording(noise(), names=["A1-A2", "A2-A3", "A3-A4", "B1-B2"], types="seeg"),
            "shaft-average",
            "the channel A1-A2 is a difference of contacts already; set reference to none",
        ),
        (
            make_recording(noise(), names=["A1", "B1", "C1", "D1"], types="seeg"),
            "shaft-average",
            "no shaft has two good contacts",
        ),
        (
            make_recording(noise(), names=["A1", "A2", "POL A1", "POL A2"], types=["seeg", "seeg", "ecog", "ecog"]),
            "bipolar",
            "two channels would be named A1-A2",
        ),
    ]
    for recording, reference, message in cases:
        with pytest.raises(RecordingError, match=message) as error:
            clean(recording, with_reference(reference))
        assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Recording:
    """The sEEG of mne-misc-data with the positions and regions of its table; its contacts stand out of order."""
    raw = mne.io.read_raw(shared_data / "ieeg" / "sample_seeg.edf", verbose="error")
    others = {name: "misc" for name in raw.ch_names if name.startswith(("DC", "EKG"))}
    raw.set_channel_types(dict.fromkeys(raw.ch_names, "seeg") | others, verbose="error")
    raw.info["bads"] = ["O'3"]
    table = pd.read_csv(shared_data / "ieeg" / "sample_seeg_electrodes_9104ea1.tsv", sep="\t").set_index("name")
    places = {name: row[["x", "y", "z"]].to_numpy(float) * 1e-3 for name, row in table.iterrows()}
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), on_missing="ignore", verbose="error")
    return Recording(raw, empty_events(), "01", regions=table["desikan-killiany"].to_dict(), line_frequency=60.0)


def cleaned(recording: Recording, reference: str, engine: str) -> CleanSignal:
    settings = PreprocessingSettings(reference=reference, high_pass=1.0, low_pass=40.0, sfreq=120.0, engine=engine)
    return clean(recording, settings.model_copy(update={"find_bads": False}))


@pytest.mark.shared_data
@pytest.mark.parametrize("reference", ["bipolar", "laplacian", "average", "shaft-average", "white-matter"])
def test_both_engines_agree_on_real_contacts(real: Recording, reference: str) -> None:
    streamed, reference_made = (cleaned(real, reference, engine) for engine in ("streaming", "mne"))
    pd.testing.assert_frame_equal(streamed.channels, reference_made.channels)
    spread = np.maximum(reference_made.signal.std(axis=1, keepdims=True), 1e-7)
    assert (np.abs(streamed.signal - reference_made.signal) / spread).max() < 1e-3


@pytest.mark.shared_data
def test_real_pairs_equal_mnes_bipolar_reference(real: Recording) -> None:
    result = cleaned(real, "bipolar", "mne")
    # L' 14, N' 12, F' 14, O' 16, G' 16, X' 16 contacts: one pair less each, and O'3 takes two
    assert len(result.channels) == 13 + 11 + 13 + 13 + 15 + 15
    table = result.channels.set_index("name")
    assert "L'8-L'9" in table.index  # they stand eleven rows apart in the file
    assert "L'8-L'11" not in table.index
    first, second = zip(*result.channels["name"].str.split("-"))
    by_mne = mne.set_bipolar_reference(
        real.raw.copy().load_data(verbose="error"), list(first), list(second), verbose="error", on_bad="ignore"
    ).pick(list(result.channels["name"]))
    plain = clean(
        Recording(by_mne, empty_events(), "01"),
        PreprocessingSettings(high_pass=1.0, low_pass=40.0, sfreq=120.0, engine="mne", find_bads=False),
    )
    order = [list(plain.channels["name"]).index(name) for name in table.index]
    assert np.abs(result.signal - plain.signal[order]).max() < 1e-9  # V
    by_table = real.raw.get_montage().get_positions()["ch_pos"]
    middle = (by_table["L'8"] + by_table["L'9"]) / 2
    np.testing.assert_allclose(table.loc["L'8-L'9", ["x", "y", "z"]].to_numpy(float), middle, atol=1e-6)


def test_regions_come_from_the_table_first_then_from_the_atlas_and_reach_the_reference(
    make_recording, noise, tmp_path: Path
) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((8, 12, 40), np.uint8)
    volume[1:3] = 2  # x from 1 to 2 mm: white matter
    volume[3:] = 1
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "atlas.nii")
    (tmp_path / "atlas.tsv").write_text("index\tname\n1\tcortex\n2\tWhite Matter\n", encoding="utf-8")
    recording = placed(make_recording(noise(n_channels=7), names=NAMES, types=TYPES))
    recording.regions = {"A'3": "insula"}
    atlas = {"atlas": str(tmp_path / "atlas.nii"), "labels": str(tmp_path / "atlas.tsv"), "space": "mni"}
    settings = PreprocessingSettings(sfreq=100.0, find_bads=False, reference="white-matter", regions=atlas)
    result = clean(recording, settings)
    table = result.channels.set_index("name")
    assert table["region"].tolist() == ["White Matter", "White Matter", "insula", "cortex", "", ""]
    assert any("the mean of 2 contacts subtracted from 6: A'1, A'2" in note.done for note in result.notes)
    assert result.report["regions"]["table"] == 1
    assert result.report["regions"]["atlas"] == 3
    assert result.notes[0].line() == (
        "sub-01: 5 contacts without a region in a table, 2 of them without a position; "
        "3 have one within 3 mm in atlas.nii, 0 have none"
    )
    assert len(settings.identity()["regions"]["content"]) == 2
    stated = settings.model_copy(update={"regions": settings.regions.model_copy(update={"space": "stated"})})
    with pytest.raises(RecordingError, match="an atlas needs MNI positions"):
        clean(recording, stated)
