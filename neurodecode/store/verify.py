"""Is every byte of a store what it was when it was written?

A store folder in; a list of problems out, empty when all is well. `neurodecode verify STORE` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurodecode.errors import StoreError
from neurodecode.files import PART
from neurodecode.store.read import damage_of, read_attributes
from neurodecode.store.store import STIMULI, StoredStimulus, hash_of_stimulus, read_index


@dataclass(frozen=True)
class Problem:
    """Something wrong with one file.

    Attributes
    ----------
    file
        Path inside the store.
    what
        One line.
    """

    file: str
    what: str

    def line(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.what}"


def verify_store(path: Path | str) -> list[Problem]:
    """Check every checksum, and that files and index name each other.

    Raises
    ------
    StoreError
        If there is no readable index at all.
    """
    root = Path(path)
    index = read_index(root)
    problems = []
    for entry in index["recordings"]:
        file = root / entry["file"]
        if not file.is_file():
            problems.append(Problem(entry["file"], "in the index, but there is no such file"))
            continue
        damage = damage_of(file)
        problems += [Problem(entry["file"], what) for what in damage]
        if not damage:
            attributes = read_attributes(file)
            differing = [
                name
                for name, value in (("sha256_signal", attributes["sha256"]["signal"]), ("key", attributes["key"]))
                if entry[name] != value
            ]
            problems += [Problem(entry["file"], f"{name} differs from the index") for name in differing]
    for name, entry in index["stimuli"].items():
        stimulus = StoredStimulus(name, root / entry["file"], entry["sha256"], entry["kind"])
        try:
            if hash_of_stimulus(stimulus) != entry["sha256"]:
                problems.append(Problem(entry["file"], f"the stimulus {name} differs from its checksum"))
        except StoreError as error:
            problems.append(Problem(entry["file"], str(error).removeprefix(f"{stimulus.path}: ")))
    indexed = {entry["file"] for entry in [*index["recordings"], *index["stimuli"].values()]}
    for file in recording_files(root) + sorted(root.glob(f"{STIMULI}/*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and not file.name.endswith(PART) and name not in indexed:
            problems.append(Problem(name, "not in the index; run preprocess again, or delete it"))
    for file in part_files(root):
        name = file.relative_to(root).as_posix()
        problems.append(Problem(name, "left behind by a killed run; the next preprocess removes it"))
    return problems


def recording_files(root: Path) -> list[Path]:
    """Every HDF5 file that lies where recordings lie, sorted."""
    return sorted([*root.glob("sub-*/*.h5"), *root.glob("sub-*/ses-*/*.h5")])


def part_files(root: Path) -> list[Path]:
    """Temporary files of unfinished writes, in the places where this room writes, sorted."""
    patterns = (f".*{PART}", f"sub-*/.*{PART}", f"sub-*/ses-*/.*{PART}", f"{STIMULI}/.*{PART}")
    return sorted(file for pattern in patterns for file in root.glob(pattern))
