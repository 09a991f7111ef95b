"""One file of any format -> MNE Raw, and a note of all that was odd; channels typed and named by what they are called.

    raw, files, notes = read_raw(Path("sub-01_eeg.vhdr"))

Signals are not loaded. Whatever a reader raises comes out as one RecordingError that names the file.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodecode.errors import NeurodecodeError, RecordingError
from neurodecode.recordings.channel_types import clean_names, set_types, types_by_name
from neurodecode.recordings.formats import ANT, Format, bti_companion, sniff
from neurodecode.recordings.recording import Note

if TYPE_CHECKING:
    from mne.io import BaseRaw

# what MNE says of things that are handled here, or that nobody can do anything about
HARMLESS = (
    "does not conform to MNE naming",
    "Limited 1 annotation",
    "filter settings",
    "Number of records from the header does not match",
    "Online software filter",
    "No coordinate information found",
    "highpass",
    "lowpass",
    "Fiducial",
    "Missing keys",
    "not set for the channels",
    "coordinate frame",
    "Estimating",
    "Opening",
    "annotation(s) that were outside",
    "Omitted",
)
LONGEST_NOTE = 240  # characters of a reader's own warning


def read_raw(path: Path) -> tuple[BaseRaw, list[Path], list[Note]]:
    """Read one recording.

    Parameters
    ----------
    path
        Header file, data file or folder, as its format has it.

    Returns
    -------
    tuple
        Raw (not loaded), source files, notes.

    Raises
    ------
    RecordingError
        One line.
    """
    found = sniff(path)
    notes: list[Note] = []
    with guarded(path, found, notes):
        raw, extra = READERS[found.key](path, notes)
    if len(raw.times) == 0 or not raw.ch_names:
        raise RecordingError(f"{path}: no samples ({len(raw.ch_names)} channels); copy it again")
    return raw, source_files(path, raw, extra), notes


@contextlib.contextmanager
def guarded(path: Path, found: Format, notes: list[Note]) -> Iterator[None]:
    """Turn a reader's exceptions into one line, and its warnings into notes; nothing is printed."""
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            yield
        except NeurodecodeError:
            raise
        except ImportError as error:
            raise RecordingError(f"{path}: {found.name} needs a part that is not installed: {one(error)}") from error
        except (Exception, SystemExit) as error:
            raise RecordingError(
                f"{path}: {found.name} file cannot be read ({one(error)}); it is damaged, cut off, or not quite of that "
                "format: copy or export it again"
            ) from error
    said = []
    for warning in caught:
        text = one(warning.message)
        own = issubclass(warning.category, (RuntimeWarning, UserWarning))
        if own and text not in said and not any(part in text for part in HARMLESS):
            said.append(text)
            notes.append(Note(path.name, f"{found.name} reader says: {text[:LONGEST_NOTE]}", "read as it is"))


def one(error: object) -> str:
    """Text of an exception or warning in one line."""
    text = " ".join(str(error).split())
    return text[:LONGEST_NOTE] if text else type(error).__name__


def source_files(path: Path, raw: BaseRaw, extra: list[Path]) -> list[Path]:
    """Every file the signal came from; a folder counts with all that is in it."""
    files = {Path(name) for name in raw.filenames if name is not None}
    files |= set(extra)
    files.add(path)
    result: set[Path] = set()
    for file in files:
        result |= {p for p in file.rglob("*") if p.is_file()} if file.is_dir() else {file}
    return sorted(file for file in result if file.is_file())


def name_and_type(raw: BaseRaw, file: str) -> tuple[dict[str, str], list[Note]]:
    """Type the channels that their names give away, and take the wrapping off 10-05 names.

    Returns
    -------
    tuple
        Old name -> new name, and notes.
    """
    changed, notes = types_by_name(raw.ch_names, raw.get_channel_types(), file)
    set_types(raw, changed)
    scalp = [name for name, kind in zip(raw.ch_names, raw.get_channel_types()) if kind == "eeg"]
    renamed, said = clean_names(scalp, file)
    taken = set(raw.ch_names) - set(renamed)
    renamed = {old: new for old, new in renamed.items() if new not in taken}
    if renamed:
        raw.rename_channels(renamed, verbose="error")
        notes += said
    return renamed, notes


def _read(name: str, path: Path, **options: Any) -> Any:
    import mne

    return getattr(mne.io, f"read_raw_{name}")(path, preload=False, verbose="warning", **options)


def _plain(name: str) -> Callable[[Path, list[Note]], tuple[BaseRaw, list[Path]]]:
    """Reader of a format that needs nothing more than its path."""

    def read(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
        return _read(name, path), []

    return read


def _read_edf(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    return _read("edf" if path.suffix.lower() != ".bdf" else "bdf", path), []


def _read_fif(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    return _read("fif", path, allow_maxshield="yes"), []


def _read_brainvision(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    return _read("brainvision", path), []


def _read_eeglab(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    return _read("eeglab", path), []


def _read_bti(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    config, shape = bti_companion(path, "config"), bti_companion(path, "hs_file")
    raw = _read("bti", path, config_fname=config, head_shape_fname=shape)
    return raw, [file for file in (config, shape) if file]


def _read_nicolet(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    return _read("nicolet", path, ch_type="eeg"), [path.with_suffix(".head")]


def _read_ant(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path]]:
    try:
        import antio  # noqa: F401
    except ImportError:
        raise RecordingError(f"{path}: {ANT.name} recordings need the package antio: pip install antio") from None
    return _read("ant", path), []


READERS: dict[str, Callable[[Path, list[Note]], tuple[BaseRaw, list[Path]]]] = {
    "edf": _read_edf,
    "bdf": _read_edf,
    "gdf": _plain("gdf"),
    "brainvision": _read_brainvision,
    "fif": _read_fif,
    "eeglab": _read_eeglab,
    "kit": _plain("kit"),
    "bti": _read_bti,
    "egi": _plain("egi"),
    "nicolet": _read_nicolet,
    "nihon": _plain("nihon"),
    "ant": _read_ant,
    "cnt": _plain("cnt"),
    "ctf": _plain("ctf"),
    "mef": _plain("mef"),
    "curry": _plain("curry"),
    "persyst": _plain("persyst"),
    "nedf": _plain("nedf"),
    "eximia": _plain("eximia"),
}
