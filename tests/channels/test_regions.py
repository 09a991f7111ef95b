"""A contact gets the region of the nearest labelled voxel within the distance, and none without a known MNI position."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurodecode.channels import regions
from neurodecode.channels.regions import Atlas, find_regions, read_atlas, regions_of, stated_space
from neurodecode.config.preprocessing import RegionSettings
from neurodecode.errors import NeurodecodeError, RecordingError, SettingsError

# 2 mm voxels, x runs from right to left in the file, voxel (5, 0, 0) lies at x = 0
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2.0, 0, -8], [0, 0, 2.0, 4], [0, 0, 0, 1]])


def numbers() -> np.ndarray:
    volume = np.zeros((10, 8, 6), np.int16)
    volume[2, 4, 3] = 7  # at (6, 0, 10) mm
    volume[8, 4, 3] = 9  # at (-6, 0, 10) mm
    return volume


@pytest.fixture
def atlas() -> Atlas:
    return Atlas(numbers(), AFFINE, {7: "right insula", 9: "left insula"})


def write_atlas(
    folder: Path, volume: np.ndarray | None = None, labels: str = "index\tname\n7\tright insula\n9\tleft insula\n"
) -> RegionSettings:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(numbers() if volume is None else volume, AFFINE)
    nibabel.save(image, folder / "atlas.nii.gz")
    (folder / "atlas.tsv").write_text(labels, encoding="utf-8")
    return RegionSettings(atlas=str(folder / "atlas.nii.gz"), labels=str(folder / "atlas.tsv"))


def at(*millimetres: float) -> np.ndarray:
    return np.array([millimetres]) * 1e-3


def test_the_voxel_that_holds_the_contact_gives_the_region_and_left_is_not_right(atlas: Atlas) -> None:
    assert regions_of(at(6, 0, 10), atlas, 0.0) == ["right insula"]
    assert regions_of(at(-6, 0, 10), atlas, 0.0) == ["left insula"]
    assert regions_of(at(6.9, 0.9, 10.9), atlas, 0.0) == ["right insula"]
    assert regions_of(at(7.1, 0, 10), atlas, 0.0) == [""]


@pytest.mark.parametrize(("length", "name"), [(2.9, "right insula"), (3.1, "")])
@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, -1), (0.6, 0.8, 0), (0, -0.6, 0.8)])
def test_the_nearest_labelled_voxel_counts_up_to_the_distance(
    atlas: Atlas, length: float, name: str, direction
) -> None:
    assert regions_of(at(*(np.array([6.0, 0, 10]) + length * np.array(direction))), atlas, 0.003) == [name]


def test_between_two_regions_the_nearer_one_wins(atlas: Atlas) -> None:
    assert regions_of(at(0.5, 0, 10), atlas, 0.02) == ["right insula"]
    assert regions_of(at(-0.5, 0, 10), atlas, 0.02) == ["left insula"]


def test_unknown_positions_and_those_outside_the_volume_have_no_region(atlas: Atlas) -> None:
    assert regions_of(np.full((1, 3), np.nan), atlas, 0.003) == [""]
    assert regions_of(at(500, -500, 0), atlas, 0.003) == [""]
    assert regions_of(np.empty((0, 3)), atlas, 0.003) == []


def test_every_voxel_centre_of_a_turned_volume_gets_its_own_number() -> None:
    turn = np.array([[0, -1.5, 0.2], [1.4, 0, 0.1], [0.1, 0, 1.6]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, [-20, 5, 12]
    volume = np.arange(1, 61).reshape(3, 4, 5)
    atlas = Atlas(volume, affine, {n: f"r{n}" for n in range(1, 61)})
    centres = np.argwhere(volume > 0) @ turn.T + affine[:3, 3]
    assert regions_of(centres * 1e-3, atlas, 0.0) == [f"r{n}" for n in range(1, 61)]


def test_an_atlas_file_and_its_table_are_read(tmp_path: Path) -> None:
    settings = write_atlas(tmp_path)
    atlas = read_atlas(Path(settings.atlas), settings.labels)
    assert np.array_equal(atlas.numbers, numbers())
    np.testing.assert_allclose(atlas.affine, AFFINE)
    assert atlas.names == {7: "right insula", 9: "left insula"}


def test_background_by_name_is_no_region_and_text_tables_are_read(tmp_path: Path) -> None:
    settings = write_atlas(tmp_path)
    table = tmp_path / "names.txt"
    table.write_text("# number name r g b a\n\n7 Unknown 0 0 0 0\n9 Left-Insula 10 20 30 0\n", encoding="utf-8")
    assert read_atlas(Path(settings.atlas), str(table)).names == {9: "Left-Insula"}


def test_freesurfers_own_numbers_are_known(tmp_path: Path) -> None:
    volume = numbers()
    volume[volume == 7], volume[volume == 9] = 2, 17
    settings = write_atlas(tmp_path, volume)
    names = read_atlas(Path(settings.atlas), "freesurfer").names
    assert names == {2: "Left-Cerebral-White-Matter", 17: "Left-Hippocampus"}


def test_what_is_no_atlas_is_refused_in_one_line(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    settings = write_atlas(tmp_path, labels="index\tname\n7\tinsula\n")
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no volume")
    shares = tmp_path / "shares.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((2, 2, 2, 3), 0.5, np.float32), AFFINE), shares)
    nowhere = tmp_path / "nowhere.nii.gz"
    image = nibabel.Nifti1Image(numbers(), None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, nowhere)
    (tmp_path / "other.tsv").write_text("id\tlabel\n7\tinsula\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("nothing here\n", encoding="utf-8")
    atlas, table = settings.atlas, settings.labels
    cases = [
        (str(tmp_path / "none.nii"), table, "none.nii is not there; give the path of a label volume"),
        (atlas, "none.tsv", "none.tsv is not there; give a table of index and name, or freesurfer"),
        (atlas, table, r"has no name for 1 numbers of atlas.nii.gz \(9\); give the table that belongs"),
        (str(broken), table, "is not a volume that nibabel reads"),
        (str(shares), table, r"has shape \[2, 2, 2, 3\], broken numbers; allowed is one 3-D volume of whole numbers"),
        (str(nowhere), table, "does not state where its voxels lie"),
        (atlas, str(tmp_path / "other.tsv"), "has the columns id, label; index and name are needed"),
        (atlas, str(tmp_path / "empty.txt"), "holds no line with a number and a name"),
    ]
    for volume, labels, message in cases:
        with pytest.raises(SettingsError, match=message) as error:
            read_atlas(Path(volume), labels)
        assert "\n" not in str(error.value)


PLACES = {"A1": np.array([0.006, 0, 0.01]), "A2": np.array([0.0, 0, 0.01])}


@pytest.mark.parametrize("space", ["MNI152NLin2009aSym", "MNI152Lin", "ICBM452AirSpace"])
def test_stated_mni_positions_are_looked_up(tmp_path: Path, space: str) -> None:
    assert find_regions(PLACES, write_atlas(tmp_path), space, "01", "sub-01") == {"A1": "right insula"}


@pytest.mark.parametrize(
    ("space", "said"), [("LIA", "the space LIA"), ("ACPC", "the space ACPC"), ("", "a space that nothing states")]
)
def test_subject_positions_are_refused_unless_someone_says_they_are_mni(tmp_path: Path, space: str, said: str) -> None:
    settings = write_atlas(tmp_path)
    with pytest.raises(
        RecordingError, match=f"sub-01: an atlas needs MNI positions, .* {said}; give regions.transform"
    ) as e:
        find_regions(PLACES, settings, space, "01", "sub-01")
    assert "\n" not in str(e.value)
    mni = settings.model_copy(update={"space": "mni"})
    assert find_regions(PLACES, mni, space, "01", "sub-01") == {"A1": "right insula"}


def test_a_transform_of_the_subject_takes_its_positions_to_mni(tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = [-12, 0, 0]  # mm
    np.savetxt(tmp_path / "sub-01.txt", moved)
    settings = write_atlas(tmp_path).model_copy(update={"transform": str(tmp_path / "sub-{subject}.txt")})
    assert find_regions(PLACES, settings, "LIA", "01", "sub-01") == {"A1": "left insula"}
    with pytest.raises(NeurodecodeError, match="sub-02.txt is not there; give a text file of 4 x 4 numbers"):
        find_regions(PLACES, settings, "LIA", "02", "sub-02")
    np.savetxt(tmp_path / "sub-02.txt", np.eye(3))
    with pytest.raises(NeurodecodeError, match="sub-02.txt is no affine of 4 x 4 numbers"):
        find_regions(PLACES, settings, "LIA", "02", "sub-02")


def test_the_space_is_the_stated_one_before_the_one_in_the_name(tmp_path: Path) -> None:
    table = tmp_path / "sub-01_space-MNI152Lin_electrodes.tsv"
    system = tmp_path / "sub-01_space-MNI152Lin_coordsystem.json"
    system.write_text(json.dumps({"iEEGCoordinateSystem": "ACPC"}), encoding="utf-8")
    assert stated_space([tmp_path / "sub-01_ieeg.edf", table]) == "MNI152Lin"
    assert stated_space([table, system]) == "ACPC"
    assert stated_space([tmp_path / "sub-01_space-x_ieeg.edf"]) == ""


def test_what_is_made_changes_with_the_content_of_the_atlas(tmp_path: Path) -> None:
    first = write_atlas(tmp_path)
    before = first.content()
    changed = numbers()
    changed[0, 0, 0] = 7
    write_atlas(tmp_path, changed)
    assert set(first.content()) == {first.atlas, first.labels}
    assert first.content()[first.atlas] != before[first.atlas]
    assert first.content()[first.labels] == before[first.labels]
    settings = first.model_copy(update={"transform": str(tmp_path / "{subject}.txt")})
    (tmp_path / "01.txt").write_text("x", encoding="utf-8")
    assert str(tmp_path / "01.txt") in settings.content()


CORTEX = ["Background", "Left Insular Cortex", "Right Insular Cortex"]
BELOW = ["Background", "Left Cerebral White Matter", "Left Cerebral Cortex", "Right Hippocampus"]


def cortex_and_below() -> tuple[np.ndarray, np.ndarray]:
    """Two volumes on the grid of AFFINE: the second has something where the first has, and elsewhere."""
    cortex, below = np.zeros((10, 8, 6), np.uint8), np.zeros((10, 8, 6), np.uint8)
    cortex[2, 4, 3], cortex[8, 4, 3] = 2, 1  # at (6, 0, 10) and (-6, 0, 10) mm
    below[8, 4, 3], below[8, 5, 3], below[8, 6, 3], below[2, 6, 3] = 1, 1, 2, 3
    return cortex, below


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[types.ModuleType]:
    """nilearn's module, whose fetching is replaced by what stands above; `asked` holds what was asked for."""
    nibabel = pytest.importorskip("nibabel")
    module = types.ModuleType("nilearn.datasets")
    module.asked = []

    class Bunch(dict):
        __getattr__ = dict.__getitem__

    def fetch_atlas_harvard_oxford(name: str, symmetric_split: bool = False, verbose: int = 1) -> Bunch:
        module.asked.append((name, symmetric_split))
        cortex, below = cortex_and_below()
        volume, labels = (below, BELOW) if name.startswith("sub") else (cortex, CORTEX)
        image = nibabel.Nifti1Image(volume, AFFINE)
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
        return Bunch(maps=image, labels=labels, filename=str(tmp_path / f"{name}.nii.gz"))

    module.fetch_atlas_harvard_oxford = fetch_atlas_harvard_oxford
    monkeypatch.setitem(sys.modules, "nilearn", types.ModuleType("nilearn"))
    monkeypatch.setitem(sys.modules, "nilearn.datasets", module)
    regions._harvard_oxford.cache_clear()
    yield module
    regions._harvard_oxford.cache_clear()


def harvard_oxford() -> RegionSettings:
    return RegionSettings(atlas="harvard-oxford", distance=0.0)


def test_an_atlas_by_name_is_fetched_once_and_has_cortex_before_what_lies_below(fetched: types.ModuleType) -> None:
    places = {
        "cortex right": np.array([0.006, 0, 0.01]),
        "cortex left, white matter below": np.array([-0.006, 0, 0.01]),
        "white matter left": np.array([-0.006, 0.002, 0.01]),
        "cortex of the lower atlas": np.array([-0.006, 0.004, 0.01]),
        "hippocampus right": np.array([0.006, 0.004, 0.01]),
        "nothing": np.array([0.0, 0, 0.01]),
    }
    for _ in range(2):
        assert find_regions(places, harvard_oxford(), "MNI152Lin", "01", "sub-01") == {
            "cortex right": "Right Insular Cortex",
            "cortex left, white matter below": "Left Insular Cortex",
            "white matter left": "Left Cerebral White Matter",
            "hippocampus right": "Right Hippocampus",
        }
    assert fetched.asked == [("cort-maxprob-thr25-1mm", True), ("sub-maxprob-thr25-1mm", False)]
    assert [path.name for path in regions.atlas_of(harvard_oxford()).files] == [f"{n}.nii.gz" for n, _ in fetched.asked]
    with pytest.raises(RecordingError, match="an atlas needs MNI positions"):
        find_regions(places, harvard_oxford(), "ACPC", "01", "sub-01")
    assert harvard_oxford().content() == {}


def test_an_atlas_by_name_that_cannot_be_had_is_one_line(
    fetched: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to\nhost")

    good = fetched.fetch_atlas_harvard_oxford

    def other(name: str, **options: object) -> dict:
        found = good(name)
        found["labels"] = found["labels"][:1]
        return found

    for fetch, said in (
        (
            offline,
            r"could not be fetched by nilearn \(no route to host\); try again online, or give the path of a volume",
        ),
        (other, "what nilearn gives is not the atlas that is known here; give the path"),
    ):
        fetched.fetch_atlas_harvard_oxford = fetch
        with pytest.raises(SettingsError, match=said) as error:
            find_regions(PLACES, harvard_oxford(), "MNI152Lin", "01", "sub-01")
        assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)  # as if it were not installed
    with pytest.raises(
        SettingsError, match=r"nilearn, which is not installed; pip install 'neurodecode\[atlases\]', or give"
    ):
        find_regions(PLACES, harvard_oxford(), "MNI152Lin", "01", "sub-01")
    with pytest.raises(ValueError, match="harvard-oxford brings its own names; set labels to null"):
        RegionSettings(atlas="harvard-oxford", labels="freesurfer")


def test_nilearn_itself_gives_what_is_read_from_files_laid_out_as_it_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nilearn")
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path / "fsl" / "data" / "atlases"
    (folder / "HarvardOxford").mkdir(parents=True)
    files = ("cortl", "Cortical-Lateralized", CORTEX), ("sub", "Subcortical", BELOW)
    for (short, table, labels), volume in zip(files, cortex_and_below()):
        image = nibabel.Nifti1Image(volume, AFFINE)
        nibabel.save(image, folder / "HarvardOxford" / f"HarvardOxford-{short}-maxprob-thr25-1mm.nii.gz")
        lines = [f'<label index="{n}" x="0" y="0" z="0">{label}</label>' for n, label in enumerate(labels[1:])]
        (folder / f"HarvardOxford-{table}.xml").write_text(f"<atlas><data>{''.join(lines)}</data></atlas>")
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path))
    regions._harvard_oxford.cache_clear()
    atlas = regions.atlas_of(harvard_oxford())
    regions._harvard_oxford.cache_clear()
    assert regions_of(at(6, 0, 10), atlas, 0.0) == ["Right Insular Cortex"]
    assert regions_of(at(-6, 0, 10), atlas, 0.0) == ["Left Insular Cortex"]
    assert regions_of(at(-6, 2, 10), atlas, 0.0) == ["Left Cerebral White Matter"]
    assert regions_of(at(6, 4, 10), atlas, 0.0) == ["Right Hippocampus"]
    assert len(atlas.files) == 2


@pytest.mark.shared_data
def test_the_tables_of_a_public_cohort_state_mni_for_the_positions_that_are(shared_data: Path) -> None:
    folder = shared_data / "bids_tables" / "ds005574" / "sub-04" / "ieeg"
    assert stated_space(sorted(folder.glob("*space-MNI*"))) == "MNI152NLin2009aSym"
    assert not stated_space(sorted(folder.glob("*space-Other*"))).lower().startswith("mni")


@pytest.mark.shared_data
@pytest.mark.parametrize("subject", ["03", "04"])
def test_real_mni_contacts_fall_on_the_side_that_their_names_state(shared_data: Path, subject: str) -> None:
    folder = shared_data / "bids_tables" / "ds005574" / f"sub-{subject}" / "ieeg"
    table = pd.read_csv(next(folder.glob("*space-MNI*electrodes.tsv")), sep="\t", na_values="n/a")
    table = table[table["name"].str.match("[LR]") & table[["x", "y", "z"]].notna().all(axis=1)]
    places = {row["name"]: row[["x", "y", "z"]].to_numpy(float) * 1e-3 for _, row in table.iterrows()}
    affine = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -126], [0, 0, 2.0, -72], [0, 0, 0, 1]])  # as MNI152 at 2 mm
    sides = np.where(np.arange(91) > 45, 1, 2)[:, None, None] * np.ones((91, 109, 91), int)
    found = regions_of(np.array(list(places.values())), Atlas(sides, affine, {1: "L", 2: "R"}), 0.003)
    wrong = [name for name, side in zip(places, found) if name[0] != side]
    assert len(places) > 20
    assert len(wrong) <= 0.02 * len(places)  # a contact beside the midline may cross it
