"""Units of stored signals: what a header states, what a sidecar states, and whether the values look like either.

In: unit texts in all their spellings, and an MNE Raw. Out: factors to volts, a Raw scaled once, notes; two statements
that disagree stop. Micro sign U+00B5 and Greek mu U+03BC are one letter here.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note
from neurodecode.recordings.tables import is_missing

if TYPE_CHECKING:
    from mne.io import BaseRaw

VOLTS = {
    "V": 1.0, "volt": 1.0, "volts": 1.0,
    "mV": 1e-3, "millivolt": 1e-3, "millivolts": 1e-3,
    "uV": 1e-6, "microvolt": 1e-6, "microvolts": 1e-6,
    "nV": 1e-9, "nanovolt": 1e-9, "nanovolts": 1e-9,
}  # fmt: skip
IN_LOWER = {name.lower(): value for name, value in VOLTS.items()}
# UTF-8 and Shift-JIS bytes of the two mu, read as Latin-1 by readers that expect one byte a letter
MISREAD = {"\u00c2\u00b5": "u", "\u00ce\u00bc": "u", "\u0083\u00ca": "u"}
# spread of a typical channel; outside, a unit is likely wrong by a factor of a thousand or a million
PLAUSIBLE = {
    ("eeg",): (1e-6, 500e-6, "V"),
    ("seeg", "ecog", "dbs"): (1e-6, 5e-3, "V"),
    ("mag",): (1e-15, 1e-10, "T"),
    ("grad",): (1e-14, 1e-8, "T/m"),
}
EXCERPT = 10.0  # s looked at, from the middle
NEURAL = ("eeg", "seeg", "ecog", "dbs")


def volts(unit: str) -> float | None:
    """Volts in one of a unit; None when the text is missing or no unit of voltage."""
    if is_missing(unit):
        return None
    text = unit.strip()
    for wrong, right in MISREAD.items():
        text = text.replace(wrong, right)
    text = unicodedata.normalize("NFKC", text).replace("\u03bc", "u").replace(" ", "")
    if text in VOLTS:
        return VOLTS[text]
    # MV would be a million volts or a thousandth: not for lower case to decide
    return None if text == "MV" else IN_LOWER.get(text.lower())


def scale(raw: BaseRaw, factors: dict[str, float]) -> None:
    """Multiply channels by factors when they are read; nothing is loaded."""
    for name, factor in factors.items():
        row = raw.ch_names.index(name)
        if raw.preload:
            raw._data[row] *= factor
        else:
            raw._cals[row] *= factor


def settle_units(raw: BaseRaw, header: dict[str, str], stated: dict[str, str], file: str, sidecar: str) -> list[Note]:
    """Bring header and channels.tsv together, and scale what only the latter states.

    Parameters
    ----------
    raw
        As read: what its header gives no unit for was taken as volts.
    header, stated
        Channel -> unit of the file and of channels.tsv.
    file, sidecar
        For messages.

    Raises
    ------
    RecordingError
        If both state a unit of voltage and the two differ.
    """
    filled: dict[str, float] = {}
    wrong = []
    for name, kind in zip(raw.ch_names, raw.get_channel_types()):
        if kind not in NEURAL or name not in stated or name not in header:
            continue
        mine, theirs = volts(header[name]), volts(stated[name])
        if theirs is None:
            continue
        if mine is None and is_missing(header[name]):
            filled[name] = theirs
        elif mine is not None and not np.isclose(mine, theirs):
            wrong.append(f"{name} is in {header[name]} by the header and in {stated[name]} by {sidecar}")
    if wrong:
        more = f" (and {len(wrong) - 1} more channels)" if len(wrong) > 1 else ""
        raise RecordingError(f"{file}: channel {wrong[0]}{more}; correct the one that is wrong")
    scale(raw, filled)
    if not filled:
        return []
    units = ", ".join(sorted({stated[name] for name in filled}))
    return [Note(file, f"no unit in the header for {len(filled)} channels", f"in {units}, as {sidecar} says")]


def without_voltage(raw: BaseRaw, header: dict[str, str]) -> dict[str, str]:
    """Channels that the reader calls brain signal although the file states a unit that is no voltage (`%`, `mmHg`)."""
    return {
        name: "misc"
        for name, kind in zip(raw.ch_names, raw.get_channel_types())
        if kind in NEURAL and not is_missing(header.get(name, "")) and volts(header[name]) is None
    }


def plausibility(raw: BaseRaw, file: str) -> list[Note]:
    """A warning for each type of channel whose median spread no head gives."""
    kinds = np.array(raw.get_channel_types())
    notes = []
    half, sfreq = len(raw.times) // 2, float(raw.info["sfreq"])
    reach = int(EXCERPT * sfreq / 2) + 1
    for types, (low, high, unit) in PLAUSIBLE.items():
        rows = np.flatnonzero(np.isin(kinds, types))
        if not len(rows):
            continue
        data = raw.get_data(picks=rows, start=max(half - reach, 0), stop=min(half + reach, len(raw.times)))
        spread = np.nanstd(np.where(np.isfinite(data), data, np.nan), axis=1)
        spread = spread[np.isfinite(spread) & (spread > 0)]
        if len(spread) and not low <= float(np.median(spread)) <= high:
            said = (
                f"the median {'/'.join(types)} channel has a standard deviation of {np.median(spread):.3g} {unit}, "
                f"expected are {low:g} to {high:g}"
            )
            notes.append(Note(file, said, "check the unit; read as stated", "warning"))
    return notes
