"""Praat TextGrids: interval tiers, long text format, UTF-8 or UTF-16.

In: a .TextGrid. Out: tier name -> intervals (begin, end in s from the start of the audio; text), empty ones left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer

Interval = tuple[float, float, str]
TIER = re.compile(r'class\s*=\s*"(\w+)"\s*name\s*=\s*"((?:[^"]|"")*)"')
INTERVAL = re.compile(r'xmin\s*=\s*([-+.\deE]+)\s*xmax\s*=\s*([-+.\deE]+)\s*text\s*=\s*"((?:[^"]|"")*)"')


def read_textgrid(path: Path) -> dict[str, list[Interval]]:
    """Read the interval tiers.

    Raises
    ------
    RecordingError
        If it is missing, or no TextGrid in the long format.
    """
    refuse_pointer(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); get it again") from error
    text = _decoded(data)
    marks = list(TIER.finditer(text))
    if "ooTextFile" not in text[:200] or not marks:
        raise RecordingError(
            f"{path}: no TextGrid in Praat's long text format; open it in Praat and save it as text file"
        )
    tiers: dict[str, list[Interval]] = {}
    for mark, following in zip(marks, [*(m.start() for m in marks[1:]), len(text)]):
        if mark.group(1) == "IntervalTier":
            found = INTERVAL.findall(text, mark.end(), following)
            intervals = [(float(begin), float(end), said.replace('""', '"').strip()) for begin, end, said in found]
            tiers[mark.group(2)] = [interval for interval in intervals if interval[2]]
    return tiers


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
