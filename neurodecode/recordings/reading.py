"""One file of any format -> MNE Raw, and a note of all that was odd; channels typed and named by what they are called.

    raw = read_raw(Path("sub-01_eeg.vhdr")).raw

Signals are not loaded. Whatever a reader raises comes out as one RecordingError that names the file.
"""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodecode.errors import NeurodecodeError, RecordingError
from neurodecode.recordings.brainvision import read_brainvision
from neurodecode.recordings.channel_types import clean_names, set_types, types_by_name
from neurodecode.recordings.edf import read_edf
from neurodecode.recordings.formats import ANT, Format, bti_companion, bti_data_in, refuse_pointer, sniff
from neurodecode.recordings.recording import Note
from neurodecode.recordings.units import without_voltage

if TYPE_CHECKING:
    from mne.io import BaseRaw

# what MNE says of things that are handled here, or that nobody can do anything about
HARMLESS = (
    "does not conform to MNE naming",
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
    "Not setting positions",
    "No info on DataPoints",
)
Given = tuple["BaseRaw", list[Path], dict[str, str]]  # raw, further files, units as written
Reader = Callable[[Path, list[Note]], Given]
JOINS = ("new segment", "boundary")
PATIENCE = 120.0  # s a reader in a process of its own may take
PROBE = (
    "import sys, mne; raw = mne.io.read_raw_ant(sys.argv[1], verbose='error'); "
    "raw.get_data(stop=1); raw.get_data(start=len(raw.times) - 1)"
)
LONGEST_NOTE = 240  # characters of a reader's own warning


@dataclass
class Read:
    """What a reader gives.

    Attributes
    ----------
    raw
        Not loaded (a recording with gaps excepted).
    files
        Every file the signal came from.
    notes
        What was odd.
    units
        Channel -> unit as the file writes it; empty where the format leaves no choice.
    """

    raw: BaseRaw
    files: list[Path]
    notes: list[Note] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)


def read_raw(path: Path) -> Read:
    """Read one recording.

    Parameters
    ----------
    path
        Header file, data file or folder, as its format has it.

    Raises
    ------
    RecordingError
        One line.
    """
    found = sniff(path)
    notes: list[Note] = []
    with guarded(path, found, notes):
        raw, extra, units = READERS[found.key](path, notes)
        if len(raw.times) == 0 or not raw.ch_names:
            raise RecordingError(f"{path}: no samples ({len(raw.ch_names)} channels); copy it again")
    _check_end(path, raw, found)
    _mark_joins(raw, path, notes)
    return Read(raw, source_files(path, raw, extra), notes, units)


def _mark_joins(raw: BaseRaw, path: Path, notes: list[Note]) -> None:
    """Turn the markers of a pause (BrainVision `New Segment`, EEGLAB `boundary`) into `EDGE boundary`, in place.

    The signal before and after one do not follow one another: no filter and no window may run across.
    """
    texts = [str(text).lower() for text in raw.annotations.description]
    joins = [i for i, text in enumerate(texts) if text.rstrip("/ ") in JOINS]
    if not joins:
        return
    onsets = [float(raw.annotations.onset[i]) for i in joins]
    raw.annotations.delete(joins)
    # one at the first sample only says that the recording began
    inner = [onset for onset in onsets if onset - raw.first_time > 0.5 / raw.info["sfreq"]]
    for onset in inner:
        raw.annotations.append(onset, 0.0, "EDGE boundary")
    if inner:
        said = f"{len(inner)} joins, the first at {min(inner) - raw.first_time:g} s"
        notes.append(Note(path.name, said, "marked EDGE: nothing runs across", "warning"))


def _check_end(path: Path, raw: BaseRaw, found: Format) -> None:
    """Read the last sample: a header may announce what the file no longer holds, and some readers then give zeros."""
    if path.name.lower().endswith(".gz"):  # would unpack it all
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw.get_data(start=len(raw.times) - 1, verbose="warning")
            fault = next((one(w.message) for w in caught if "could not be read" in str(w.message)), "")
        except Exception as error:  # readers raise what their parsers happen on
            fault = one(error)
    if fault:
        seconds = len(raw.times) / float(raw.info["sfreq"])
        raise RecordingError(
            f"{path}: {found.name} file announces {seconds:g} s, but its end cannot be read ({fault}); it is cut off: "
            "copy it again"
        )


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
            lost = text.startswith(("Omitted", "Limited"))  # annotations outside the signal
            done, level = ("they are left out", "warning") if lost else ("read as it is", "note")
            notes.append(Note(path.name, f"{found.name} reader says: {text[:LONGEST_NOTE]}", done, level))


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


def name_and_type(
    read: Read, file: str, intracranial: bool = False, stated: Collection[str] = ()
) -> tuple[dict[str, str], list[Note]]:
    """Type the channels that name or unit give away, and take the wrapping off 10-05 names.

    Parameters
    ----------
    read
        As read.
    file
        For messages.
    intracranial
        It lies in a folder of datatype ieeg.
    stated
        Channels whose type a table states.

    Returns
    -------
    tuple
        Old name -> new name, and notes.
    """
    raw = read.raw
    changed, notes = types_by_name(raw.ch_names, raw.get_channel_types(), file, intracranial, stated)
    set_types(raw, changed)
    other = without_voltage(raw, read.units)
    set_types(raw, other)
    if other:
        shown = ", ".join(f"{name} ({read.units[name]})" for name in list(other)[:5])
        notes.append(Note(file, f"units of {len(other)} channels are no voltage: {shown}", "typed misc"))
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


def _plain(name: str) -> Reader:
    """Reader of a format that needs nothing more than its path."""

    def read(path: Path, notes: list[Note]) -> Given:
        return _read(name, path), [], {}

    return read


def _read_fif(path: Path, notes: list[Note]) -> Given:
    return _read("fif", path, allow_maxshield="yes"), [], {}


def _read_eeglab(path: Path, notes: list[Note]) -> Given:
    for beside in path.parent.glob("*.fdt"):
        if beside.stem == path.stem:
            refuse_pointer(beside)
    return _read("eeglab", path), [], {}


def _read_bti(path: Path, notes: list[Note]) -> Given:
    path = (bti_data_in(path) or path) if path.is_dir() else path
    config, shape = bti_companion(path, "config"), bti_companion(path, "hs_file")
    raw = _read("bti", path, config_fname=config, head_shape_fname=shape)
    return raw, [file for file in (config, shape) if file], {}


def _read_nicolet(path: Path, notes: list[Note]) -> Given:
    return _read("nicolet", path, ch_type="eeg"), [path.with_suffix(".head")], {}


def _read_ant(path: Path, notes: list[Note]) -> Given:
    try:
        import antio  # noqa: F401
    except ImportError:
        raise RecordingError(f"{path}: {ANT.name} recordings need the package antio: pip install antio") from None
    ended = survives(PROBE, path)
    if ended:
        raise RecordingError(f"{path}: the reader of {ANT.name} files ended with {ended} on it; export it as EDF")
    return _read("ant", path), [], {}


def survives(code: str, path: Path) -> str:
    """Run a reader in a process of its own first: what it does that Python cannot catch happens there.

    Returns
    -------
    str
        "" when it ended by itself, with or without an exception; else the signal that ended it, or `no end`.
    """
    try:
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "no end"
    return f"signal {-done.returncode}" if done.returncode < 0 else ""


def _read_cnt(path: Path, notes: list[Note]) -> Given:
    """Neuroscan: 16 or 32 bits a sample, which only the sizes in the header tell; a wrong one halves the length."""
    with open(path, "rb") as file:
        head = file.read(900)
    if len(head) < 900:
        raise RecordingError(f"{path}: {len(head)} bytes, a Neuroscan header alone has 900; copy it again")
    channels, samples = struct.unpack_from("<H", head, 370)[0], struct.unpack_from("<i", head, 864)[0]
    begin, end = 900 + 75 * channels, struct.unpack_from("<i", head, 886)[0]
    frame = channels * samples
    width = (end - begin) / frame if frame > 0 else 0.0
    if width not in (2, 4) or end > path.stat().st_size:
        raise RecordingError(
            f"{path}: header of {channels} channels, {samples} samples and {end - begin} bytes of signal in a file of "
            f"{path.stat().st_size}: {width:.3g} bytes a sample, allowed are 2 and 4; export it again, or as EDF"
        )
    return _read("cnt", path, data_format="int16" if width == 2 else "int32"), [], {}


READERS: dict[str, Reader] = {
    "edf": read_edf,
    "bdf": read_edf,
    "gdf": _plain("gdf"),
    "brainvision": read_brainvision,
    "fif": _read_fif,
    "eeglab": _read_eeglab,
    "kit": _plain("kit"),
    "bti": _read_bti,
    "egi": _plain("egi"),
    "nicolet": _read_nicolet,
    "nihon": _plain("nihon"),
    "ant": _read_ant,
    "cnt": _read_cnt,
    "ctf": _plain("ctf"),
    "mef": _plain("mef"),
    "curry": _plain("curry"),
    "persyst": _plain("persyst"),
    "nedf": _plain("nedf"),
    "eximia": _plain("eximia"),
}
