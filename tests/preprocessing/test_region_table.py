"""Contacts without positions get regions by name from a table, and what the table and the recording do not share is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodecode.channels import regions
from neurodecode.channels.region_table import table_regions
from neurodecode.channels.regions import Atlas
from neurodecode.config import PreprocessingSettings, load_settings
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import NeurodecodeError, RecordingError, SettingsError
from neurodecode.files import sha256_of_file
from neurodecode.preprocessing.clean import clean
from neurodecode.recordings.sources import expand_source
from neurodecode.selection.rank import rank_channels
from neurodecode.store.build import preprocess
from tests.recordings.studies import duin2024_tree as tree
from tests.recordings.studies.parts import card_of

HEAD = "subject\tname\tregion\n"
CONTACTS = ["A'1", "A'2", "A'3", "A'4"]


def written(folder: Path, lines: str, head: str = HEAD) -> Path:
    path = folder / "regions.tsv"
    path.write_text(head + lines, encoding="utf-8")
    return path


def settings(**named: object) -> PreprocessingSettings:
    return PreprocessingSettings(sfreq=100.0, find_bads=False, regions=named)


def test_each_channel_gets_the_region_of_its_own_subject(tmp_path: Path) -> None:
    path = written(tmp_path, "sub-01\tA1\tvSMC\n01\tA2\tn/a\n01\t A3 \tleft STG\n02\tA1\tinsula\n01\tB1\tMTG\n")
    assert table_regions(path, "01", ["A1", "A2", "A3", "A4"], "r") == ({"A1": "vSMC", "A3": "left STG"}, ["B1"])
    assert table_regions(path, "02", ["A1"], "r") == ({"A1": "insula"}, [])
    assert table_regions(path, "03", ["A1"], "r") == ({}, None)
    written(tmp_path, "03\tA1\tSTG\n01\tA1\tSTG\n")
    assert table_regions(path, "03", ["A1"], "r") == ({"A1": "STG"}, [])


def test_a_table_that_is_none_or_contradicts_itself_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "regions.tsv"
    with pytest.raises(
        SettingsError, match="regions.tsv is not there; give a TSV with the columns subject, name, region"
    ):
        table_regions(path, "01", ["A1"], "r")
    for lines, head, said in (
        (
            "01\tA1\tx\n",
            "subject\tchannel\tregion\n",
            "has the columns subject, channel, region; subject, name, region are",
        ),
        ("01\tA1\tSTG\n01\tA1\tMTG\n", HEAD, "gives A1 of subject 01 the regions STG and MTG; keep one"),
        ("01\tA1\tSTG\n01\tA1\tn/a\n", HEAD, "gives A1 of subject 01 the regions STG and n/a; keep one"),
        ("", "", "is not readable as a TSV"),
    ):
        written(tmp_path, lines, head)
        path.touch()
        with pytest.raises(SettingsError, match=said) as caught:
            table_regions(path, "01", ["A1"], "r")
        assert "\n" not in str(caught.value)
    written(tmp_path, "01\tA01\tSTG\n01\tA02\tSTG\n")
    with pytest.raises(
        RecordingError, match=r"sub-01: none of its 1 channels \(A1\) is among the 2 names .* \(A01, A02\)"
    ):
        table_regions(path, "01", ["A1"], "sub-01")


def test_the_recordings_own_regions_come_first_and_the_rest_is_counted(make_recording, noise, tmp_path: Path) -> None:
    table = written(tmp_path, "01\tA'1\tSTG\n01\tA'2\tMTG\n01\tA'3\tMTG\n01\tZ9\tSTG\n01\tEEG1\tSTG\n")
    recording = make_recording(noise(n_channels=5), names=[*CONTACTS, "EEG1"], types=["seeg"] * 4 + ["eeg"])
    recording.regions = {"A'3": "insula"}
    result = clean(recording, settings(table=str(table)))
    assert dict(zip(result.channels["name"], result.channels["region"])) == {
        "A'1": "STG",
        "A'2": "MTG",
        "A'3": "insula",
        "A'4": "",
        "EEG1": "",
    }
    assert result.notes[0].line() == (
        "sub-01: 2 of 3 contacts have a region in regions.tsv; 1 names in it are no channel (Z9)"
    )
    assert result.notes[0].level == "warning"
    assert {key: result.report["regions"][key] for key in ("table", "named", "atlas")} == {
        "table": 1,
        "named": 2,
        "atlas": 0,
    }
    assert list(result.report["regions"]["files"]) == [str(table)]
    written(tmp_path, "02\tA'1\tSTG\n")
    other = clean(make_recording(noise(n_channels=4), names=CONTACTS, types=["seeg"] * 4), settings(table=str(table)))
    assert not other.channels["region"].any()
    assert other.notes[0].line() == (
        "sub-01: regions.tsv names no contact of subject 01; 4 contacts have no region from it"
    )


def test_bipolar_channels_have_the_region_that_both_contacts_share(make_recording, noise, tmp_path: Path) -> None:
    table = written(tmp_path, "01\tA'1\tSTG\n01\tA'2\tSTG\n01\tA'3\tMTG\n01\tA'4\tMTG\n")
    recording = make_recording(noise(n_channels=4), names=CONTACTS, types=["seeg"] * 4)
    result = clean(recording, settings(table=str(table)).model_copy(update={"reference": "bipolar"}))
    assert dict(zip(result.channels["name"], result.channels["region"])) == {
        "A'1-A'2": "STG",
        "A'2-A'3": "",
        "A'3-A'4": "MTG",
    }


def test_the_atlas_is_asked_for_what_the_table_leaves_open(make_recording, noise, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 20, 20), np.uint8), np.eye(4)), tmp_path / "atlas.nii")
    (tmp_path / "atlas.tsv").write_text("index\tname\n1\tcortex\n", encoding="utf-8")
    atlas = {"atlas": str(tmp_path / "atlas.nii"), "labels": str(tmp_path / "atlas.tsv"), "space": "mni"}
    recording = make_recording(noise(n_channels=2), names=["A1", "A2"], types=["seeg"] * 2)
    for channel in recording.raw.info["chs"]:
        channel["loc"][:3] = 0.005
    result = clean(recording, settings(table=str(written(tmp_path, "01\tA1\tSTG\n")), **atlas))
    assert result.channels["region"].tolist() == ["STG", "cortex"]
    assert [result.report["regions"][key] for key in ("named", "atlas")] == [1, 1]


def test_the_report_names_the_files_of_an_atlas_that_was_downloaded(
    make_recording, noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = written(tmp_path, "stands for a volume")
    atlas = Atlas(np.ones((20, 20, 20), int), np.eye(4), {1: "Left Insular Cortex"}, (volume,))
    monkeypatch.setattr(regions, "_harvard_oxford", lambda: atlas)
    recording = make_recording(noise(n_channels=2), names=["A1", "A2"], types=["seeg"] * 2)
    recording.raw.info["chs"][1]["loc"][:3] = 0.005
    result = clean(recording, settings(atlas="harvard-oxford", space="mni"))
    assert result.channels["region"].tolist() == ["", "Left Insular Cortex"]
    assert result.report["regions"]["files"] == {str(volume): sha256_of_file(volume)}


def test_settings_name_a_table_or_an_atlas_with_its_labels_and_older_identities_stay() -> None:
    for named, said in (
        ({}, "names neither a table nor an atlas"),
        ({"atlas": "a.nii"}, "give regions.labels"),
        ({"table": "t.tsv", "labels": "freesurfer"}, "give regions.atlas"),
    ):
        with pytest.raises(ValueError, match=said):
            settings(**named)
    assert settings(atlas="a.nii", labels="freesurfer").identity()["regions"] == {
        "atlas": "a.nii",
        "labels": "freesurfer",
        "distance": 0.003,
        "space": "stated",
        "transform": None,
        "content": {},
    }


def test_another_content_of_the_table_makes_other_stores(tmp_path: Path) -> None:
    own = settings(table=str(written(tmp_path, "01\tA1\tSTG\n")))
    before = own.identity()
    written(tmp_path, "01\tA1\tMTG\n")
    assert own.identity() != before


def test_contacts_of_a_release_without_positions_are_chosen_by_region(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "duin", runs=(1, 2, 3))
    names = {"001": {"TI'1": "left precentral", "TI'2": "left insula", "E3": "left STG"}, "002": {"E1": "left vSMC"}}
    lines = [f"{subject}\t{name}\t{region}\n" for subject, own in names.items() for name, region in own.items()]
    table = written(tmp_path, "".join(lines))
    released = load_settings(
        PreprocessingSettings, "duin_released", "configs/preprocessing", [f"regions.table={table}"]
    )
    summary = preprocess(expand_source(card_of("duin2024", root)), tmp_path / "store", released, progress=False)
    assert summary.failed == []
    chosen = load_settings(SelectionSettings, "region", "configs/selection")
    found = rank_channels(chosen, tmp_path / "store", tmp_path / "ranking")
    subjects = found["folds"]["fold-0"]["subjects"]
    assert {name: entry["chosen"] for name, entry in subjects.items()} == {"001": ["TI'1", "E3"], "002": ["E1"]}
    with pytest.raises(NeurodecodeError, match="subject 002 has no channel in insula"):
        rank_channels(chosen.model_copy(update={"regions": ("insula",)}), tmp_path / "store", tmp_path / "none")
