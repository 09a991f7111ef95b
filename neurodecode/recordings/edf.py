"""EDF and BDF: header, record times and rates, checked before MNE reads the signal.

In: a path. Out: MNE Raw at the rate of the brain channels, without the channels of other rates, with gaps between records
(EDF+D) filled by zeros and marked `BAD_ACQ_SKIP`. Damage is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.errors import RecordingError
from neurodecode.recordings.channel_types import type_of_name
from neurodecode.recordings.recording import Note
from neurodecode.recordings.tables import is_missing
from neurodecode.recordings.units import scale, volts

if TYPE_CHECKING:
    from mne.io import BaseRaw

TIMES = re.compile(r"^(EDF|BDF) Annotations$")  # the two labels that MNE knows, too
TRIGGERS = re.compile(r"^(STATUS|TRIGGER)$", re.IGNORECASE)  # what MNE reads as trigger channels
MNE_UNITS = {"uV": 1e-6, "\u00b5V": 1e-6, "\u03bcV": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}  # anything else counts as V
LOOKED_AT = 1 << 22  # bytes of signal searched for the marks of a text conversion
FEWEST = 16  # line feeds below which a coincidence is possible
LARGEST = 2e9  # bytes a recording with gaps may take in memory


@dataclass(frozen=True)
class EdfHeader:
    """Fixed fields of a file, one entry a signal in the lists (annotation signals included).

    Attributes
    ----------
    labels, units
        As written, stripped.
    samples
        Samples in a record.
    seconds
        Length of a record.
    records
        As the header says; -1 while recording.
    stored
        Whole records that the file holds.
    rest
        Bytes after the last whole record.
    offset
        Bytes of the header.
    width
        Bytes a sample: 2 (EDF) or 3 (BDF).
    discontinuous
        EDF+D or BDF+D.
    """

    labels: tuple[str, ...]
    units: tuple[str, ...]
    samples: tuple[int, ...]
    seconds: float
    records: int
    stored: int
    rest: int
    offset: int
    width: int
    discontinuous: bool

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return sum(self.samples) * self.width

    @property
    def signals(self) -> list[int]:
        """Signals that are no annotations."""
        return [i for i, label in enumerate(self.labels) if not TIMES.match(label)]


def read_header(path: Path) -> EdfHeader:
    """Read and check the header.

    Raises
    ------
    RecordingError
        If a field is no number, or header and file contradict each other.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        fixed = file.read(256)
        if len(fixed) < 256:
            raise RecordingError(f"{path}: {size} bytes, an EDF header alone has 256 or more; copy it again")
        width = 3 if fixed[:1] == b"\xff" else 2
        count = int(_number(path, fixed[252:256], "number of signals"))
        fields = file.read(256 * count)
    offset = int(_number(path, fixed[184:192], "header size"))
    if count < 1 or len(fields) < 256 * count or offset != 256 * (count + 1):
        raise RecordingError(
            f"{path}: header of {offset} bytes with {count} signals in a file of {size} bytes, expected are "
            f"{256 * (count + 1)} bytes of header; damaged: copy it again, in binary mode"
        )

    def column(start: int, length: int) -> list[str]:
        begin = start * count
        return [fields[begin + i * length : begin + (i + 1) * length].decode("latin-1").strip() for i in range(count)]

    labels, units = column(0, 16), column(96, 8)
    samples = [int(_number(path, text.encode(), f"samples of {label}")) for label, text in zip(labels, column(216, 8))]
    record = sum(samples) * width
    if record <= 0 or min(samples) < 0:
        raise RecordingError(f"{path}: records of {record} bytes; damaged: copy it again")
    return EdfHeader(
        tuple(labels),
        tuple(units),
        tuple(samples),
        _number(path, fixed[244:252], "record length"),
        int(_number(path, fixed[236:244], "number of records")),
        (size - offset) // record,
        (size - offset) % record,
        offset,
        width,
        fixed[192:197].decode("latin-1").upper() in ("EDF+D", "BDF+D"),
    )


def _number(path: Path, text: bytes, what: str) -> float:
    try:
        return float(text.decode("latin-1").replace("\0", " ").strip().replace(",", "."))
    except ValueError:
        raise RecordingError(
            f"{path}: {what} is {text!r} in the header, not a number; damaged: copy it again"
        ) from None


def check_damage(path: Path, header: EdfHeader, notes: list[Note]) -> None:
    """Refuse what a text-mode copy or a missing signal makes worthless; note what is merely cut off."""
    if not header.signals:
        raise RecordingError(f"{path}: holds annotations only, no signal; give the file that holds the signal")
    with open(path, "rb") as file:
        file.seek(header.offset)
        data = file.read(LOOKED_AT)
    feeds, pairs = data.count(b"\n"), data.count(b"\r\n")
    if feeds >= FEWEST and feeds == pairs:
        raise RecordingError(
            f"{path}: each of {feeds} line feeds in the signal follows a carriage return: a text-mode copy inserted "
            "bytes; copy it again, in binary mode"
        )
    if header.stored == 0:
        raise RecordingError(f"{path}: the file ends before its first record; copy it again")
    if header.seconds <= 0:
        raise RecordingError(
            f"{path}: records last {header.seconds:g} s, so that signals have no rate; export it again"
        )
    if header.records >= 0 and (header.stored != header.records or header.rest):
        said = f"the header announces {header.records} records, the file holds {header.stored}"
        said += f" and {header.rest} bytes of another" if header.rest else ""
        notes.append(Note(path.name, said, f"{header.stored * header.seconds:g} s are read", "warning"))
    elif header.records < 0:
        notes.append(Note(path.name, "the number of records was never written", f"{header.stored} records are read"))


def other_rates(header: EdfHeader) -> tuple[list[str], float]:
    """Labels to leave out, and the rate of the rest (Hz): that of most channels which may be brain signal."""
    rates = {i: header.samples[i] / header.seconds for i in header.signals}
    brain = [i for i in rates if type_of_name(header.labels[i]) is None]
    counts = Counter(rates[i] for i in brain or rates)
    rate = max(counts, key=lambda r: (counts[r], r))
    dropped = []
    for i in header.signals:
        slow_trigger = TRIGGERS.match(header.labels[i]) and rates[i] < rate
        if rates[i] != rate and not slow_trigger:
            dropped.append(header.labels[i])
    return dropped, rate


def read_edf(path: Path, notes: list[Note]) -> tuple[BaseRaw, list[Path], dict[str, str]]:
    """Read EDF, EDF+, BDF or BDF+.

    Returns
    -------
    tuple
        Raw; no file but the one; channel -> unit as the header writes it.
    """
    import mne

    header = read_header(path)
    check_damage(path, header, notes)
    dropped, rate = other_rates(header)
    reader = mne.io.read_raw_bdf if header.width == 3 else mne.io.read_raw_edf
    raw = _call(reader, path, dropped, header)
    if dropped:
        shown = ", ".join(dropped[:8]) + (f" and {len(dropped) - 8} more" if len(dropped) > 8 else "")
        notes.append(Note(path.name, f"channels with another rate than {rate:g} Hz: {shown}", "left out"))
    kept = [header.units[i] for i in header.signals if header.labels[i] not in dropped]
    units = dict(zip(raw.ch_names, kept, strict=True))
    _fix_units(raw, units, path, notes)
    if header.discontinuous:
        raw = _with_gaps(raw, path, header, notes)
    return raw, [], units


def _call(reader: object, path: Path, dropped: list[str], header: EdfHeader) -> BaseRaw:
    """MNE's reader, given the ending it insists on when the file has another (`.rec`)."""
    options = {"preload": False, "exclude": dropped, "verbose": "warning", "encoding": _encoding(path, header)}
    ending = ".bdf" if header.width == 3 else ".edf"
    if path.suffix.lower() != ending:
        raise RecordingError(
            f"{path}: an {ending[1:].upper()} file with the ending {path.suffix}; rename it to {ending}"
        )
    return reader(path, **options)  # type: ignore[operator, no-any-return]


def _encoding(path: Path, header: EdfHeader) -> str:
    """UTF-8 as the standard asks for, Latin-1 where the annotations are not UTF-8."""
    try:
        for _, text in _tal_bytes(path, header):
            text.decode("utf-8")
    except UnicodeDecodeError:
        return "latin1"
    return "utf8"


def _fix_units(raw: BaseRaw, units: dict[str, str], path: Path, notes: list[Note]) -> None:
    """Scale units that MNE takes for volts although they state another (nV, UV, a mu in UTF-8)."""
    factors = {}
    for name, unit in units.items():
        factor = None if is_missing(unit) else volts(unit)
        if factor is not None and not np.isclose(factor, MNE_UNITS.get(unit, 1.0)):
            factors[name] = factor / MNE_UNITS.get(unit, 1.0)
    scale(raw, factors)
    if factors:
        shown = ", ".join(sorted({repr(units[name]) for name in factors}))
        notes.append(Note(path.name, f"unit written {shown} in {len(factors)} channels", "scaled accordingly"))


def _tal_bytes(path: Path, header: EdfHeader) -> list[tuple[int, bytes]]:
    """(record, bytes) of each annotation signal of each record."""
    places = []
    start = 0
    for label, samples in zip(header.labels, header.samples):
        if TIMES.match(label):
            places.append((start * header.width, samples * header.width))
        start += samples
    found = []
    if places:
        with open(path, "rb") as file:
            for record in range(header.stored):
                for begin, length in places:
                    file.seek(header.offset + record * header.record_bytes + begin)
                    found.append((record, file.read(length)))
    return found


def read_tals(path: Path, header: EdfHeader) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """Time-stamped annotation lists.

    Returns
    -------
    tuple
        Start of each record (s from the start of the file; NaN when not stated), and annotations as (onset, duration,
        text), onset on the same clock.
    """
    starts = np.full(header.stored, np.nan)
    annotations = []
    for record, data in _tal_bytes(path, header):
        for part in data.split(b"\x14\x00"):
            part = part.strip(b"\x00")
            head, _, texts = part.partition(b"\x14")
            onset, _, length = head.partition(b"\x15")
            try:
                when = float(onset)
            except ValueError:
                continue
            words = [text for text in texts.split(b"\x14") if text]
            if not words and np.isnan(starts[record]):
                starts[record] = when  # the empty annotation of a record keeps its time
            for text in words:
                try:
                    word = text.decode("utf-8")
                except UnicodeDecodeError:
                    word = text.decode("latin-1")
                annotations.append((when, float(length) if length else 0.0, word))
    return starts, annotations


def _with_gaps(raw: BaseRaw, path: Path, header: EdfHeader, notes: list[Note]) -> BaseRaw:
    """Put the records where their time stamps say; gaps become zeros marked BAD_ACQ_SKIP."""
    import mne

    starts, annotations = read_tals(path, header)
    if np.isnan(starts).any():
        raise RecordingError(
            f"{path}: EDF+D, but record {int(np.flatnonzero(np.isnan(starts))[0])} has no time stamp; export it as EDF+C"
        )
    sfreq = float(raw.info["sfreq"])
    length = round(header.seconds * sfreq)  # samples of a record
    begins = np.round((starts - starts[0]) * sfreq).astype(int)
    steps = np.diff(begins) - length
    if (steps < 0).any():
        at = int(np.flatnonzero(steps < 0)[0])
        raise RecordingError(
            f"{path}: record {at + 1} begins at {starts[at + 1]:g} s, before record {at} ends at "
            f"{starts[at] + header.seconds:g} s; export it as EDF+C"
        )
    gaps = [(begins[i] + length, int(steps[i])) for i in np.flatnonzero(steps)]
    if not gaps:
        return raw
    first = f"the first at {gaps[0][0] / sfreq:g} s, {gaps[0][1] / sfreq:g} s long"
    total = int(begins[-1] + length)
    if total * len(raw.ch_names) * 8 > LARGEST:
        raise RecordingError(
            f"{path}: EDF+D with {len(gaps)} gaps, {first}; too long to fill them in memory: cut it at its gaps"
        )
    data = np.zeros((len(raw.ch_names), total))
    for record, begin in enumerate(begins):
        data[:, begin : begin + length] = raw.get_data(start=record * length, stop=(record + 1) * length)
    filled = mne.io.RawArray(data, raw.info, verbose="error")
    filled.filenames = [path]
    times = [(onset - starts[0], duration, text) for onset, duration, text in annotations]
    times += [(begin / sfreq, samples / sfreq, "BAD_ACQ_SKIP") for begin, samples in gaps]
    onset, duration, text = zip(*sorted(times))
    filled.set_annotations(mne.Annotations(onset, duration, text), verbose="error")
    said = f"{len(gaps)} gaps between records, {first}"
    notes.append(Note(path.name, said, "filled with zeros and marked BAD_ACQ_SKIP", "warning"))
    return filled
