"""Writers of small recordings with known values, byte by byte where a library would not write the fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TAL_SAMPLES = 60  # samples of the annotation signal in a record


def write_edf(
    path: Path,
    signals: list[tuple[str, str, int, np.ndarray]],
    starts: list[float] | None = None,
    annotations: list[tuple[float, float, str]] = (),
    kind: str = "EDF+C",
    announced: int | None = None,
    width: int = 2,
) -> Path:
    """Write EDF or BDF with records of one second.

    `signals` are (label, unit, rate, whole numbers); physical and digital values are the same, so that numbers come back
    exactly. `starts` are the times of the records.
    """
    records = len(signals[0][3]) // signals[0][2] if signals else len(starts)
    starts = list(range(records)) if starts is None else starts
    limit = 32767 if width == 2 else 8388607
    rows = [(label, unit, rate) for label, unit, rate, _ in signals]
    if kind:
        rows.append((f"{kind[:3]} Annotations", "", TAL_SAMPLES))
    count = len(rows)

    def field(value: object, size: int) -> bytes:
        text = value if isinstance(value, bytes) else str(value).encode("latin-1")
        return text[:size].ljust(size)

    head = (field("0", 8) if width == 2 else b"\xffBIOSEMI") + field("X X X X", 80) + field("Startdate X X X X", 80)
    head += field("01.01.20", 8) + field("00.00.00", 8) + field(256 * (count + 1), 8) + field(kind, 44)
    head += field(records if announced is None else announced, 8) + field("1", 8) + field(count, 4)
    head += b"".join(field(label, 16) for label, _, _ in rows) + field("", 80) * count
    head += b"".join(field(unit, 8) for _, unit, _ in rows)
    for value in (-limit - 1, limit, -limit - 1, limit):
        head += field(value, 8) * count
    head += field("", 80) * count + b"".join(field(rate, 8) for _, _, rate in rows) + field("", 32) * count
    body = b""
    for number, start in enumerate(starts):
        for _, _, rate, values in signals:
            part = np.asarray(values[number * rate : (number + 1) * rate], "<i4")
            body += part.astype("<i2").tobytes() if width == 2 else part.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        if kind:
            tal = f"+{start:g}\x14\x14\x00".encode()
            for onset, duration, text in annotations:
                if start <= onset < start + 1:
                    tal += f"+{onset:g}\x15{duration:g}\x14{text}\x14\x00".encode()
            body += tal.ljust(TAL_SAMPLES * width, b"\0")
    path.write_bytes(head + body)
    return path


def ramp(seconds: int, rate: int, offset: int = 0) -> np.ndarray:
    """Sample number, plus an offset."""
    return np.arange(seconds * rate) + offset


def write_brainvision(
    stem: Path,
    values: np.ndarray,
    sfreq: float = 200.0,
    unit: str = "uV",
    resolution: str = "1",
    data_file: str | None = None,
    marker_file: str | None = None,
    markers: list[tuple[str, int]] = (("S  1", 101),),
    first_line: bool = True,
    names: list[str] | None = None,
) -> Path:
    """Write header, 16-bit data and markers (description, position counted from 1); returns the header."""
    data_file = f"{stem.name}.eeg" if data_file is None else data_file
    marker_file = f"{stem.name}.vmrk" if marker_file is None else marker_file
    names = names or [f"E{i}" for i in range(len(values))]
    lines = ["Brain Vision Data Exchange Header File Version 1.0", "[Common Infos]", "Codepage=UTF-8"]
    lines += [f"DataFile={data_file}"] if data_file else []
    lines += [f"MarkerFile={marker_file}"] if marker_file else []
    lines += ["DataFormat=BINARY", "DataOrientation=MULTIPLEXED", f"NumberOfChannels={len(values)}"]
    lines += [f"SamplingInterval={1e6 / sfreq:g}", "[Binary Infos]", "BinaryFormat=INT_16", "[Channel Infos]"]
    lines += [f"Ch{i}={name},,{resolution},{unit}" for i, name in enumerate(names, start=1)]
    header = stem.with_name(f"{stem.name}.vhdr")
    header.write_bytes("\r\n".join([*lines, ""]).encode("utf-8"))
    stem.with_name(f"{stem.name}.eeg").write_bytes(np.asarray(values).T.astype("<i2").tobytes())
    if marker_file:
        rows = ["Brain Vision Data Exchange Marker File, Version 1.0"] if first_line else []
        rows += ["[Common Infos]", "Codepage=UTF-8", f"DataFile={data_file}", "[Marker Infos]"]
        for i, (text, at) in enumerate(markers, start=1):
            rows.append(f"Mk{i}={'New Segment,' if text == 'New Segment' else f'Stimulus,{text}'},{at},1,0")
        stem.with_name(f"{stem.name}.vmrk").write_text("\r\n".join([*rows, ""]))
    return header


def write_tsv(path: Path, columns: list[str], rows: list[list[Any]], start: str = "", encoding: str = "utf-8") -> Path:
    """Write a table; `start` stands before the header, for a byte-order mark."""
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + "\n".join(lines) + "\n").encode(encoding))
    return path


def bids_stem(root: Path, datatype: str = "eeg", subject: str = "01", task: str = "listen", run: str = "") -> Path:
    """Stem of a recording in a BIDS tree that is made on the way, without its suffix."""
    folder = root / f"sub-{subject}" / datatype
    folder.mkdir(parents=True, exist_ok=True)
    write_json(root / "dataset_description.json", {"Name": "test", "BIDSVersion": "1.10.0"})
    return folder / (f"sub-{subject}_task-{task}" + (f"_run-{run}" if run else ""))


def write_json(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(json.dumps(value))
    return path


def write_wav(path: Path, seconds: float, rate: int = 8000) -> Path:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * rate)), rate)
    return path
