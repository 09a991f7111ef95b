"""Brain regions of contacts from their MNI positions, by the nearest labelled voxel of an atlas volume.

    atlas = read_atlas(Path("atlas.nii.gz"), "atlas.tsv")
    regions_of(np.array([[-0.042, 0.012, 0.02]]), atlas, distance=0.003)     # ["insula"], or [""] where nothing is near

In: positions [contacts, 3] in metres in the space of the atlas; a label volume (NIfTI or MGZ) and the names of its numbers.
Out: names, "" where no labelled voxel lies within the distance. Positions in a subject's own space are never looked up
without a transform: an atlas gives a name to any point, right or wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.config.preprocessing import RegionSettings
from neurodecode.errors import RecordingError, SettingsError
from neurodecode.recordings.bids_names import entities_of
from neurodecode.recordings.tables import read_sidecar

NOT_A_REGION = frozenset({"", "unknown", "background", "clear label", "???"})
MILLIMETRES = 1e3


@dataclass(frozen=True, eq=False)
class Atlas:
    """A label volume.

    Attributes
    ----------
    numbers
        [i, j, k] integers; 0 and numbers whose name says background are no region.
    affine
        [4, 4]: voxel index -> mm in the space of the atlas.
    names
        Number -> region.
    files
        That were downloaded for it.
    """

    numbers: np.ndarray
    affine: np.ndarray
    names: dict[int, str]
    files: tuple[Path, ...] = ()


def regions_of(places: np.ndarray, atlas: Atlas, distance: float) -> list[str]:
    """Region of each position.

    Parameters
    ----------
    places
        [contacts, 3], m, in the space of the atlas; NaN unknown.
    atlas
        Of the same space.
    distance
        m; how far the centre of the nearest labelled voxel may lie. The voxel that holds the position always counts.
    """
    inverse = np.linalg.inv(atlas.affine)
    shape = np.array(atlas.numbers.shape)
    # how many voxels along each axis a sphere of this radius reaches
    reach = MILLIMETRES * distance * np.linalg.norm(inverse[:3, :3], axis=1)
    found = []
    for place in np.asarray(places, float) * MILLIMETRES:
        if not np.isfinite(place).all():
            found.append("")
            continue
        voxel = inverse[:3, :3] @ place + inverse[:3, 3]
        holder = np.rint(voxel).astype(int)
        inside = bool((holder >= 0).all() and (holder < shape).all())
        name = atlas.names.get(int(atlas.numbers[tuple(holder)]), "") if inside else ""
        found.append(name or _nearest(place, voxel, reach, atlas, MILLIMETRES * distance))
    return found


def _nearest(place: np.ndarray, voxel: np.ndarray, reach: np.ndarray, atlas: Atlas, distance: float) -> str:
    """Name of the labelled voxel whose centre is nearest to `place` (mm), "" beyond `distance` (mm)."""
    shape = np.array(atlas.numbers.shape)
    low = np.clip(np.ceil(voxel - reach), 0, shape).astype(int)
    high = np.clip(np.floor(voxel + reach) + 1, 0, shape).astype(int)
    box = atlas.numbers[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    labelled = np.argwhere(np.isin(box, list(atlas.names)))
    if not len(labelled):
        return ""
    centres = (labelled + low) @ atlas.affine[:3, :3].T + atlas.affine[:3, 3]
    lengths = np.linalg.norm(centres - place, axis=1)
    nearest = int(np.argmin(lengths))
    if lengths[nearest] > distance:
        return ""
    return atlas.names[int(box[tuple(labelled[nearest])])]


def read_atlas(volume: Path, labels: str) -> Atlas:
    """Read a label volume and the names of its numbers.

    Parameters
    ----------
    volume
        NIfTI or MGZ.
    labels
        File with the names: TSV with columns `index` and `name`, or text with a number and a name a line; or the word
        `freesurfer` for FreeSurfer's own table, which MNE ships.

    Raises
    ------
    SettingsError
        If a file is missing or is no such thing, or a number of the volume has no name.
    """
    if not volume.is_file():
        raise SettingsError(
            f"regions.atlas: {volume} is not there; give the path of a label volume (.nii, .nii.gz, .mgz)"
        )
    if labels != "freesurfer" and not Path(labels).is_file():
        raise SettingsError(f"regions.labels: {labels} is not there; give a table of index and name, or freesurfer")
    changed = (volume.stat().st_mtime_ns, Path(labels).stat().st_mtime_ns if labels != "freesurfer" else 0)
    return _read_atlas(volume, labels, changed)


@lru_cache(maxsize=2)
def _read_atlas(volume: Path, labels: str, changed: tuple[int, int]) -> Atlas:
    """`changed` is there for the cache alone: files that were written again are read again."""
    numbers, affine = _read_volume(volume)
    names = _read_names(labels)
    there = {int(number) for number in np.unique(numbers)} - {0}
    nameless = sorted(there - set(names))
    if nameless:
        shown = ", ".join(map(str, nameless[:5])) + (", ..." if len(nameless) > 5 else "")
        raise SettingsError(
            f"regions.labels: {labels} has no name for {len(nameless)} numbers of {volume.name} ({shown}); "
            "give the table that belongs to this volume"
        )
    return Atlas(numbers, affine, {n: names[n] for n in there if names[n].lower() not in NOT_A_REGION})


def _read_volume(volume: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import nibabel
    except ImportError:
        raise SettingsError(
            f"regions.atlas: {volume.name} is read by nibabel, which is not installed; pip install nibabel"
        ) from None
    try:
        image: Any = nibabel.load(volume)
        values = np.asarray(image.dataobj)
    except Exception as error:  # nibabel, gzip and zlib each raise their own on damaged files
        reason = " ".join(str(error).split())
        raise SettingsError(f"regions.atlas: {volume} is not a volume that nibabel reads ({reason[:120]})") from None
    codes = [int(image.header[key]) for key in ("sform_code", "qform_code") if key in image.header]
    if codes and not any(codes):
        raise SettingsError(f"regions.atlas: {volume} does not state where its voxels lie (sform and qform are 0)")
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 or not np.array_equal(values, np.rint(values)):
        raise SettingsError(
            f"regions.atlas: {volume} has shape {list(values.shape)}, "
            f"{'whole' if np.array_equal(values, np.rint(values)) else 'broken'} numbers; allowed is one 3-D volume of whole "
            "numbers, such as a maximum-probability atlas"
        )
    return np.rint(values).astype(np.int32), np.asarray(image.affine, float)


def _read_names(labels: str) -> dict[int, str]:
    if labels == "freesurfer":
        import mne

        return {int(number): str(name) for name, number in mne.read_freesurfer_lut()[0].items()}
    path = Path(labels)
    if path.suffix == ".tsv":
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        if not {"index", "name"} <= set(table.columns):
            found = ", ".join(map(str, table.columns))
            raise SettingsError(f"regions.labels: {labels} has the columns {found}; index and name are needed")
        rows: Iterable[list[str]] = table[["index", "name"]].to_numpy().tolist()
    else:
        rows = [line.split()[:2] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    names = {int(row[0]): row[1].strip() for row in rows if len(row) == 2 and row[0].strip().isdecimal()}
    if not names:
        raise SettingsError(
            f"regions.labels: {labels} holds no line with a number and a name; write a TSV of index and name"
        )
    return names


def atlas_of(settings: RegionSettings) -> Atlas:
    """The atlas that settings name.

    Raises
    ------
    SettingsError
        If a file is missing or is no such thing, or the atlas cannot be downloaded.
    """
    if settings.fetched:
        return _harvard_oxford()
    return read_atlas(Path(settings.atlas or ""), settings.labels or "")


@lru_cache(maxsize=1)
def _harvard_oxford() -> Atlas:
    """Cortex of the Harvard-Oxford atlas by side, and where it has none the structures below it, at 1 mm."""
    name = "regions.atlas: harvard-oxford"
    otherwise = "or give the path of a volume and regions.labels"
    try:
        from nilearn.datasets import fetch_atlas_harvard_oxford
    except ImportError:
        raise SettingsError(
            f"{name} is fetched by nilearn, which is not installed; pip install 'neurodecode[atlases]', {otherwise}"
        ) from None
    try:
        parts = [
            fetch_atlas_harvard_oxford("cort-maxprob-thr25-1mm", symmetric_split=True, verbose=0),
            fetch_atlas_harvard_oxford("sub-maxprob-thr25-1mm", verbose=0),
        ]
    except Exception as error:  # of the network, of the disk, of a damaged archive
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SettingsError(
            f"{name} could not be fetched by nilearn ({reason}); try again online, {otherwise}"
        ) from None
    numbers, affine, names = np.zeros((0, 0, 0), np.int32), np.eye(4), {0: ""}
    for part in parts:
        own = np.rint(np.asarray(part.maps.dataobj)).astype(np.int32)
        labels = {number: str(label) for number, label in enumerate(part.labels)}
        taken = {
            n
            for n, label in labels.items()
            if label.lower() not in NOT_A_REGION and not label.endswith(" Cerebral Cortex")
        }
        if not numbers.size:
            numbers, affine = np.zeros_like(own), np.asarray(part.maps.affine, float)
        if (
            own.shape != numbers.shape
            or not np.allclose(affine, part.maps.affine)
            or not set(np.unique(own)) <= set(labels)
        ):
            raise SettingsError(f"{name}: what nilearn gives is not the atlas that is known here; {otherwise[3:]}")
        free, offset = (numbers == 0) & np.isin(own, list(taken)), max(names)
        numbers[free] = own[free] + offset
        names |= {offset + number: labels[number] for number in taken}
    files = tuple(Path(part.filename) for part in parts if Path(str(part.get("filename", ""))).is_file())
    return Atlas(numbers, affine, {number: label for number, label in names.items() if label}, files)


def stated_space(files: Iterable[Path]) -> str:
    """The space that a recording's coordsystem.json or electrodes.tsv states, "" when none does."""
    space = ""
    for file in files:
        if file.name.endswith("coordsystem.json"):
            for key, value in read_sidecar(file).items():
                if key == "iEEGCoordinateSystem" and str(value).strip().lower() not in ("", "n/a", "other"):
                    return str(value).strip()
        if file.name.endswith(("coordsystem.json", "electrodes.tsv")):
            space = space or entities_of(file.name).get("space", "")
    return space


def find_regions(
    places: dict[str, np.ndarray], settings: RegionSettings, space: str, subject: str, recording: str
) -> dict[str, str]:
    """Channel -> region, for the channels near one.

    Parameters
    ----------
    places
        Channel -> position [3], m, as recorded.
    settings
        Atlas, transform, distance.
    space
        That the recording states, "" when it states none.
    subject
        Fills `{subject}` in the path of the transform.
    recording
        Name, for messages.

    Raises
    ------
    RecordingError
        If the positions are not known to be in MNI space and no transform takes them there.
    SettingsError
        If the atlas or the transform cannot be read.
    """
    points = np.array(list(places.values()), float).reshape(-1, 3)
    if settings.transform is not None:
        matrix = _read_transform(Path(settings.transform.replace("{subject}", subject)))
        points = points @ matrix[:3, :3].T + matrix[:3, 3] / MILLIMETRES
    elif settings.space != "mni" and not space.lower().startswith(("mni", "icbm")):
        raise RecordingError(
            f"{recording}: an atlas needs MNI positions, but those of the contacts are in "
            f"{f'the space {space}' if space else 'a space that nothing states'}; give regions.transform, or set "
            "regions.space to mni if they are, or regions to null"
        )
    found = zip(places, regions_of(points, atlas_of(settings), settings.distance))
    return {name: region for name, region in found if region}


def _read_transform(path: Path) -> np.ndarray:
    """[4, 4] that takes mm of the subject to mm of MNI."""
    try:
        matrix = np.loadtxt(path, ndmin=2)
    except OSError:
        raise SettingsError(f"regions.transform: {path} is not there; give a text file of 4 x 4 numbers (mm)") from None
    except ValueError:
        matrix = np.empty((0, 0))
    if matrix.shape != (4, 4) or not np.allclose(matrix[3], [0, 0, 0, 1]) or abs(np.linalg.det(matrix)) < 1e-3:
        raise SettingsError(
            f"regions.transform: {path} is no affine of 4 x 4 numbers with a last line of 0 0 0 1 that takes mm of the subject "
            "to mm of MNI"
        )
    return matrix
