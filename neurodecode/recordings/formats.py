"""Which format a file is in, judged by its first bytes and only then by its ending; nothing is decoded here.

In: a path. Out: a `Format`, or one line that says why the file is no recording. A file whose reader could bring the
process down is refused here, before the reader sees it.
"""

from __future__ import annotations

import gzip
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from neurodecode.errors import RecordingError

HEAD = 512  # bytes looked at
POINTER = 1024  # bytes; a longer file is no pointer of git-annex or Git LFS
# tag 100 (FIFF_FILE_ID) of type 31 and 20 bytes begins every FIF file
FIF_ID = b"\x00\x00\x00\x64\x00\x00\x00\x1f\x00\x00\x00\x14"
FIF_RAW = frozenset({102, 112, 119})  # blocks FIFFB_RAW_DATA, FIFFB_CONTINUOUS_DATA, FIFFB_IAS_RAW_DATA
MEASURED = 100  # block FIFFB_MEAS
FIF_CONTENTS = {  # FIFFB_* block -> what the file holds, the most telling first
    373: "epochs",
    104: "averages (evoked)",
    355: "a noise covariance",
    351: "source spaces or an inverse solution",
    352: "a forward solution",
    374: "an independent component analysis",
    3810: "annotations",
    115: "events",
    361: "events",
    313: "projectors",
}


@dataclass(frozen=True)
class Format:
    """A format that can be read.

    Attributes
    ----------
    key
        Of the reader in `reading.READERS`.
    name
        For people.
    """

    key: str
    name: str


EDF = Format("edf", "EDF")
BDF = Format("bdf", "BDF")
GDF = Format("gdf", "GDF")
BRAINVISION = Format("brainvision", "BrainVision")
FIF = Format("fif", "FIF")
EEGLAB = Format("eeglab", "EEGLAB")
KIT = Format("kit", "KIT")
BTI = Format("bti", "BTi/4D")
EGI = Format("egi", "EGI simple binary")
MFF = Format("egi", "EGI MFF")
NICOLET = Format("nicolet", "Nicolet")
NIHON = Format("nihon", "Nihon Kohden")
ANT = Format("ant", "ANT eeprobe")
NEUROSCAN = Format("cnt", "Neuroscan CNT")
CTF = Format("ctf", "CTF")
MEFD = Format("mef", "MEF3")

# formats without bytes of their own to know them by: the ending decides, and MNE's reader checks
BY_ENDING = {
    ".cdt": Format("curry", "Curry 8"),
    ".dap": Format("curry", "Curry 7"),
    ".lay": Format("persyst", "Persyst"),
    ".nedf": Format("nedf", "Neuroelectrics"),
    ".nxe": Format("eximia", "Nexstim eXimia"),
}

# what a folder is searched for; companions and results of other kinds are not in this list
RECORDING_ENDINGS = (
    ".fif", ".fif.gz", ".edf", ".bdf", ".gdf", ".vhdr", ".ahdr", ".set", ".cnt", ".sqd", ".con", ".raw", ".data",
    ".eeg", ".cdt", ".dap", ".lay", ".nedf", ".nxe", ".rec",
)  # fmt: skip
RECORDING_FOLDERS = {".ds": CTF, ".mff": MFF, ".mefd": MEFD}

NOT_CONTINUOUS = {
    ".avr": "BESA averages, not a continuous recording",
    ".mul": "BESA averages, not a continuous recording",
    ".erp": "ERPLAB averages, not a continuous recording",
    ".vmrk": "the marker file of a BrainVision recording: give the .vhdr",
    ".amrk": "the marker file of a BrainVision recording: give the .ahdr",
    ".fdt": "the samples of an EEGLAB recording: give the .set",
    ".head": "the header of a Nicolet recording: give the .data",
    ".ceo": "positions or events of a Curry recording: give the .cdt or .dap",
    ".dpa": "the header of a Curry recording: give the .cdt",
    ".mrk": "KIT marker coils, not a recording",
    ".snirf": "optical data (NIRS), which are not supported",
    ".nwb": "NWB, which MNE does not read: convert it to BIDS first",
    ".xdf": "XDF, which MNE does not read: convert it to FIF first",
}


def pointer_of(path: Path) -> str:
    """What a pointer stands for when a file's content was not downloaded, else "".

    git-annex leaves a dangling link or a short text `/annex/objects/...`; Git LFS a short text with a `version` line.
    """
    if path.is_symlink() and not path.exists():
        target = path.readlink().as_posix()
        return target if "annex" in target else f"a link to {target}, which is not there"
    try:
        if not path.is_file() or path.stat().st_size > POINTER:
            return ""
        text = path.read_bytes()
    except OSError:
        return ""
    if text.lstrip(b"./").startswith((b"annex/", b"git/annex/")) or b".git/annex/objects" in text:
        return text.decode("utf-8", "replace").strip().splitlines()[0]
    return "a Git LFS pointer" if text.startswith(b"version https://git-lfs") else ""


def refuse_pointer(path: Path) -> None:
    """Raise when the content of a file was not downloaded."""
    target = pointer_of(path)
    if target:
        raise RecordingError(
            f"{path}: not downloaded, only a pointer is here ({target[:80]}); get it with git annex get, datalad get "
            "or git lfs pull"
        )


def sniff(path: Path) -> Format:
    """Format of a file or folder.

    Raises
    ------
    RecordingError
        If it is missing, empty, not downloaded, or no continuous recording; one line with the next move.
    """
    refuse_pointer(path)
    if not path.exists():
        raise RecordingError(f"{path}: no such file")
    if path.is_dir():
        return _sniff_folder(path)
    ending = ending_of(path)
    if path.stat().st_size == 0:
        raise RecordingError(f"{path}: empty (0 bytes); copy it again from where it was recorded")
    head = _head(path)
    found = _by_bytes(path, ending, head)
    if found is not None:
        return found
    if ending in NOT_CONTINUOUS:
        raise RecordingError(f"{path}: {NOT_CONTINUOUS[ending]}")
    if ending in BY_ENDING:
        return BY_ENDING[ending]
    raise RecordingError(_unknown(path, ending, head))


def ending_of(path: Path) -> str:
    """Lower-case ending; `.fif.gz` counts as one."""
    name = path.name.lower()
    return ".fif.gz" if name.endswith(".fif.gz") else Path(name).suffix


def _head(path: Path) -> bytes:
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as packed:
                return packed.read(HEAD)
        with open(path, "rb") as file:
            return file.read(HEAD)
    except (OSError, EOFError) as error:
        raise RecordingError(f"{path}: cannot be read ({error}); copy it again") from error


def _by_bytes(path: Path, ending: str, head: bytes) -> Format | None:
    """The format that the first bytes state."""
    if head[:8] == b"0       ":
        return EDF
    if head[:7] == b"\xffBIOSEMI"[:7]:
        return BDF
    if head[:4] == b"GDF ":
        return GDF
    if head[:12] == FIF_ID:
        first = first_of_split(path)
        if first is not None:
            raise RecordingError(f"{path}: a later part of the recording that begins with {first.name}: give that")
        refuse_other_fif(path)
        return FIF
    text = head.lstrip(b"\xef\xbb\xbf")
    if ending in (".vhdr", ".ahdr") or text.startswith((b"Brain Vision", b"BrainVision", b"Brain Products")):
        return _brainvision(path, ending, text)
    if ending == ".cnt":
        return _cnt(path, head)
    if ending in (".set", ".mat") and (head.startswith(b"MATLAB 5.0") or b"\x89HDF" in head):
        if ending == ".set":
            return EEGLAB
        raise RecordingError(f"{path}: a MATLAB file, whose layout is not known; read it with an adapter of its study")
    if ending in (".sqd", ".con", ".raw") and _is_kit(head):
        return _kit(path)
    if ending == ".raw" and struct.unpack(">i", head[:4].ljust(4, b"\0"))[0] in range(2, 8):
        return EGI
    if ending == ".eeg" and not head.startswith((b"EEG-", b"QI-", b"DAE-")) and any(path.parent.glob("*.[va]hdr")):
        raise RecordingError(f"{path}: the samples of a BrainVision recording: give the .vhdr")
    if ending == ".data" and path.with_suffix(".head").is_file():
        return NICOLET
    if ending == ".eeg" and head.startswith((b"EEG-", b"QI-", b"DAE-")):
        return NIHON
    if bti_companion(path, "config") is not None and _is_bti(path):
        return BTI
    return None


def first_of_split(path: Path) -> Path | None:
    """The first part of a long FIF when a path is a later one (`x_raw-1.fif`, `x_split-02_meg.fif`), else None."""
    ending = ending_of(path)
    stem = path.name[: len(path.name) - len(ending)]
    bids = re.search(r"_split-0*([0-9]+)(?=_|$)", stem)
    if bids and int(bids.group(1)) > 1:
        width = len(bids.group(0)) - len("_split-")
        return path.with_name(f"{stem[: bids.start()]}_split-{'1'.zfill(width)}{stem[bids.end() :]}{ending}")
    part = re.search(r"-[0-9]+$", stem)
    first = path.with_name(stem[: part.start()] + ending) if part else path
    return first if first != path and first.exists() else None


def _brainvision(path: Path, ending: str, text: bytes) -> Format:
    if b"arker" in text[:64] or ending in (".vmrk", ".amrk"):
        raise RecordingError(f"{path}: {NOT_CONTINUOUS['.vmrk']}")
    if not text.startswith((b"Brain Vision", b"BrainVision")):
        raise RecordingError(
            f"{path}: begins with {text[:24]!r}, a BrainVision header begins with 'Brain Vision Data Exchange Header "
            "File'; export it again"
        )
    return BRAINVISION


def _cnt(path: Path, head: bytes) -> Format:
    """Two formats share the ending, and the reader of one ends the process when given the other."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"CNT ":
        size = struct.unpack("<I", head[4:8])[0]
        if head[:4] == b"RIFF" and size + 8 > path.stat().st_size + 1:
            raise RecordingError(f"{path}: ANT recording cut off after {path.stat().st_size} of {size + 8} bytes")
        return ANT
    if head[:7] == b"Version":
        return NEUROSCAN
    raise RecordingError(
        f"{path}: begins with {head[:8]!r}, which is neither an ANT (RIFF) nor a Neuroscan (Version 3.0) .cnt; "
        "export it again as EDF or BrainVision"
    )


def _is_kit(head: bytes) -> bool:
    """A KIT file begins with a directory of entries of 16 bytes: the first says where the directory itself lies."""
    offset, size, count, used = struct.unpack("<4i", head[:16].ljust(16, b"\0"))
    return offset in (0, 16) and size == 16 and count > 0 and used > 0


def _kit(path: Path) -> Format:
    """Acquisition type: 1 continuous, 2 evoked, 3 epochs (entry 8 of the directory, as MNE reads it)."""
    with open(path, "rb") as file:
        file.seek(16 * 8)
        where = file.read(16)
        if len(where) == 16:
            file.seek(struct.unpack("<4i", where)[0])
            kind = file.read(4)
            if len(kind) == 4 and struct.unpack("<i", kind)[0] in (2, 3):
                what = {2: "averages", 3: "epochs"}[struct.unpack("<i", kind)[0]]
                raise RecordingError(f"{path}: KIT {what}, not a continuous recording")
    return KIT


def bti_companion(path: Path, what: str) -> Path | None:
    """`config` or `hs_file` of a BTi data file: so named in its folder, or named like it with `pdf` replaced."""
    named = {"config": ("config",), "hs_file": ("hs_file",)}[what]
    short = {"config": "config", "hs_file": "hs"}[what]
    candidates = [path.parent / name for name in named]
    if "pdf" in path.name:
        candidates.append(path.with_name(path.name.replace("pdf", short)))
    return next((c for c in candidates if c.is_file() and c != path), None)


def _is_bti(path: Path) -> bool:
    """The last 8 bytes of a BTi data file say where its header lies (big-endian), which is near its end."""
    size = path.stat().st_size
    if size < 256 or path.suffix not in ("", ".pdf"):
        return False
    with open(path, "rb") as file:
        file.seek(-8, 2)
        where = struct.unpack(">q", file.read(8))[0]
    return 0 < where < size


def refuse_other_fif(path: Path) -> None:
    """Raise when a FIF file holds something else than a continuous recording, saying what.

    Walks the tags, which takes as many small reads as the file has tags; a continuous recording shows itself early.
    """
    found: set[int] = set()
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            while len(tag := file.read(16)) == 16:
                kind, _, size, follows = struct.unpack(">iiii", tag)
                if kind == 104 and size == 4:  # FIFF_BLOCK_START
                    block = struct.unpack(">i", file.read(4))[0]
                    found.add(block)
                    if block in FIF_RAW:
                        return
                    size = 0
                if size < 0 or follows == -1:
                    break
                if follows > 0:
                    file.seek(follows)
                else:
                    file.seek(size, 1)
    except (OSError, EOFError, struct.error) as error:
        raise RecordingError(f"{path}: damaged FIF file ({error}); copy it again") from error
    what = [name for block, name in FIF_CONTENTS.items() if block in found]
    raise RecordingError(
        f"{path}: a FIF file without a continuous recording"
        + (f", it holds {what[0]}" if what else " (cut off, maybe)")
    )


def _sniff_folder(path: Path) -> Format:
    for file in path.rglob("*"):
        if file.is_symlink():
            refuse_pointer(file)
    found = RECORDING_FOLDERS.get(path.suffix.lower())
    if found is None and bti_data_in(path) is not None:
        return BTI
    if found is None:
        raise RecordingError(f"{path}: a folder, not a recording")
    return found


def bti_data_in(folder: Path) -> Path | None:
    """The data file of a folder that a BTi system wrote (it holds `config`, and one file with a BTi header at its end)."""
    if not (folder / "config").is_file():
        return None
    found = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name not in ("config", "hs_file") and _is_bti(p)]
    return found[0] if len(found) == 1 else None


def is_recording_folder(path: Path) -> bool:
    """Whether a folder is one recording, as CTF, EGI, MEF3 and BTi write them."""
    return path.is_dir() and (path.suffix.lower() in RECORDING_FOLDERS or bti_data_in(path) is not None)


def _unknown(path: Path, ending: str, head: bytes) -> str:
    if ending in (".edf", ".rec") or ending == ".bdf":
        return (
            f"{path}: begins with {head[:8]!r}, which no {ending[1:].upper()} file does; it is damaged or of another "
            "format: copy or export it again"
        )
    if ending in RECORDING_ENDINGS:
        return (
            f"{path}: begins with {head[:8]!r}, which is not how a {ending} recording begins; copy or export it again"
        )
    return f"{path}: not a recording (ending {ending or 'none'}); allowed are {', '.join(RECORDING_ENDINGS)}"
