"""BrainVision: header, data and marker file brought together again after a renaming, without touching any of them.

In: a .vhdr. Out: MNE Raw. Where the header names files that are not there, MNE is given a corrected copy of it, made in a
temporary folder; what is corrected is noted. Two candidates are never chosen between.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note

if TYPE_CHECKING:
    from mne.io import BaseRaw

DATA_ENDINGS = (".eeg", ".dat", ".avg", ".seg")
MARKER_ENDINGS = (".vmrk", ".amrk")
MARKER_LINE = b"Brain Vision Data Exchange Marker File, Version 1.0\r\n"
ANNEX_KEY = re.compile(r"^[A-Z0-9]+E?-s\d+--")
ENTRY = r"(?im)^([ \t]*{key}[ \t]*=)([^\r\n]*)"
CHANNEL = re.compile(r"(?im)^Ch(\d+)[ \t]*=([^\r\n]*)")
GREEK_MU = re.compile(r"\u00ce\u00bcV")  # U+03BC in UTF-8, its bytes read one letter each
WIDTHS = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}


def read_brainvision(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path], dict[str, str]]:
    """Read one recording.

    Returns
    -------
    tuple
        Raw; the files beside the header that it was read from; channel -> unit, `uV` where the header states none.

    Raises
    ------
    RecordingError
        If data are missing, not downloaded, empty or cut off where that matters, or if it is not clear which file is meant.
    """
    import mne

    text = path.read_bytes().decode("latin-1")  # one byte a letter: names of any code page come through unchanged
    data = _named(path, text, "DataFile", DATA_ENDINGS)
    if data is None:
        raise RecordingError(_no_data(path, text))
    refuse_pointer(data)
    _check_size(path, text, data, notes)
    marker = _named(path, text, "MarkerFile", MARKER_ENDINGS)
    if marker is not None:
        refuse_pointer(marker)
    markers = marker.read_bytes() if marker is not None else b""
    whole = _decoded(markers).lstrip("\ufeff").lower().startswith(("brain vision", "brainvision"))
    options = {"preload": False, "verbose": "warning"}
    files = [file for file in (data, marker) if file is not None]
    plain = GREEK_MU.sub("uV", text)  # MNE knows the micro sign only, and would take the other for no voltage
    as_named = _value(text, "DataFile") == data.name and marker and _value(text, "MarkerFile") == marker.name
    if as_named and whole and plain == text:
        raw = mne.io.read_raw_brainvision(path, **options)
        return raw, files, _units(raw, text)
    if _value(text, "DataFile") != data.name:
        notes.append(Note(path.name, f"names the data {_value(text, 'DataFile')!r}", f"{data.name} is used"))
    if marker is None:
        said = _value(text, "MarkerFile")
        found = f"names the markers {said!r}, which are not there" if said else "names no marker file"
        notes.append(Note(path.name, found, "read without markers", "warning"))
    elif _value(text, "MarkerFile") != marker.name:
        notes.append(Note(path.name, f"names the markers {_value(text, 'MarkerFile')!r}", f"{marker.name} is used"))
    if marker is not None and not whole:
        notes.append(Note(marker.name, "lacks its first line", "read as a BrainVision marker file"))
        markers = MARKER_LINE + markers
    with tempfile.TemporaryDirectory() as folder:
        ending = path.suffix.lower()
        copy = Path(folder) / f"header{ending}"
        beside = Path(folder) / ("markers" + MARKER_ENDINGS[ending == ".ahdr"])
        beside.write_bytes(markers or MARKER_LINE + b"\r\n[Marker Infos]\r\n")
        fixed = _with_value(plain, "DataFile", str(data.resolve()).encode().decode("latin-1"))
        copy.write_bytes(_with_value(fixed, "MarkerFile", beside.name).encode("latin-1"))
        raw = mne.io.read_raw_brainvision(copy, **options)
    return raw, files, _units(raw, text)


def _units(raw: BaseRaw, text: str) -> dict[str, str]:
    """Channel -> unit; without one it is the microvolt, as the format defines."""
    stated = {}
    for number, entry in CHANNEL.findall(text):
        cells = entry.split(",")
        unit = cells[3].strip() if len(cells) > 3 else ""
        with contextlib.suppress(UnicodeDecodeError):  # the header is in an older code page
            unit = unit.encode("latin-1").decode("utf-8")
        stated[int(number)] = unit or "uV"
    return {name: stated[i] for i, name in enumerate(raw.ch_names, start=1) if i in stated}


def _decoded(data: bytes) -> str:
    return data[:200].decode("utf-8", "replace").strip()


def _value(text: str, key: str) -> str:
    """Value of a key, "" when it is missing."""
    match = re.search(ENTRY.format(key=key), text)
    return match.group(2).strip() if match else ""


def _with_value(text: str, key: str, value: str) -> str:
    """The header with a key set, added below [Common Infos] when it is missing."""
    if re.search(ENTRY.format(key=key), text):
        return re.sub(ENTRY.format(key=key), lambda match: match.group(1) + value, text, count=1)
    return re.sub(r"(?im)^(\[Common Infos\][^\r\n]*)", lambda m: f"{m.group(1)}\r\n{key}={value}", text, count=1)


def _named(path: Path, text: str, key: str, endings: tuple[str, ...]) -> Path | None:
    """The file that a header means: the one it names, or else the only one that has the header's own stem.

    Raises
    ------
    RecordingError
        If the named file is there and one of the header's own stem is there too, or several have that stem.
    """
    stated = _value(text, key).encode("latin-1").decode("utf-8", "replace").replace("$b", path.stem)
    stated = stated.replace("\\", "/").rsplit("/", 1)[-1]  # a path of the recording machine says nothing here
    named = path.with_name(stated) if stated else None
    own = [file for file in _siblings(path, endings) if file.name != stated]
    if named is not None and (named.is_file() or named.is_symlink()):
        if own and named.stem != path.stem:
            raise RecordingError(
                f"{path}: {key} is {stated}, which is there, and {own[0].name} is there too; which is meant? "
                "Correct the header or move one away"
            )
        return named
    if len(own) > 1:
        raise RecordingError(
            f"{path}: {key} is {stated or 'not stated'}, which is not there, and any of "
            f"{', '.join(file.name for file in own)} may be meant; correct the header"
        )
    return own[0] if own else None


def _siblings(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files beside a header with its stem and one of the endings, in any case of letters."""
    return sorted(file for file in path.parent.iterdir() if file.stem == path.stem and file.suffix.lower() in endings)


def _no_data(path: Path, text: str) -> str:
    stated = _value(text, "DataFile")
    if ANNEX_KEY.match(stated):
        return f"{path}: DataFile is the git-annex key {stated[:60]}, and no {path.stem}.eeg is there; datalad get it"
    return f"{path}: DataFile is {stated or 'not stated'}, and neither it nor {path.stem}.eeg is there; put it there"


def _check_size(path: Path, text: str, data: Path, notes: list[Note]) -> None:
    """Whole samples, as many as the header announces."""
    size = data.stat().st_size
    if size == 0:
        raise RecordingError(f"{data}: empty (0 bytes); copy it again from where it was recorded")
    width = WIDTHS.get(_value(text, "BinaryFormat").upper())
    channels = _value(text, "NumberOfChannels")
    if width is None or not channels.isdigit() or path.suffix.lower() != ".vhdr":
        return
    frame = width * int(channels)
    points = _value(text, "DataPoints")
    announced = int(points) * frame if points.isdigit() else None
    if announced is not None and size < announced and _value(text, "DataOrientation").upper() == "VECTORIZED":
        raise RecordingError(
            f"{data}: {size} bytes, {path.name} announces {announced}; channels follow one another in this file, so the "
            "rest cannot be told apart: copy it again"
        )
    if announced is not None and size != announced:
        said = f"{size} bytes, {path.name} announces {announced}"
        notes.append(Note(data.name, said, f"{size // frame} samples are read", "warning"))
    elif size % frame:
        notes.append(Note(data.name, f"ends within a sample ({size % frame} bytes)", "the last is left out", "warning"))
