"""Brain regions of contacts by name, from a table that someone made: for data without positions.

    table_regions(Path("regions.tsv"), "001", ["SM8", "P4"], "sub-001")     # ({"SM8": "vSMC"}, ["SM9"])

In: a TSV with the columns subject, name and region, one line a contact; `sub-001` and `001` are one subject. Out: regions of
the channels that it names, and the names that no channel has.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from neurodecode.errors import RecordingError, SettingsError
from neurodecode.recordings.tables import is_missing

COLUMNS = ("subject", "name", "region")


def table_regions(
    path: Path, subject: str, channels: list[str], recording: str
) -> tuple[dict[str, str], list[str] | None]:
    """Channel -> region, and the names of the subject's table that are no channel; None if it does not name the subject.

    Parameters
    ----------
    path
        Of the table.
    subject
        Whose channels they are.
    channels
        All names of the recording.
    recording
        Name, for messages.

    Raises
    ------
    SettingsError
        If the table is missing or is no such table.
    RecordingError
        If it names contacts of the subject, and none of them is a channel.
    """
    if not path.is_file():
        raise SettingsError(f"regions.table: {path} is not there; give a TSV with the columns {', '.join(COLUMNS)}")
    rows = _read_table(path, path.stat().st_mtime_ns).get(subject.removeprefix("sub-"))
    if rows is None:
        return {}, None
    absent = [name for name in rows if name not in channels]
    if len(absent) == len(rows):
        raise RecordingError(
            f"{recording}: none of its {len(channels)} channels ({_some(channels)}) is among the {len(rows)} names of subject "
            f"{subject} in {path} ({_some(absent)}); write names as recorded"
        )
    return {name: region for name, region in rows.items() if region and name in channels}, absent


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


@lru_cache(maxsize=4)
def _read_table(path: Path, _: int) -> dict[str, dict[str, str]]:
    """Subject -> name -> region, "" where it is not known; the last argument is there for the cache alone."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own are kinds of ValueError
        reason = " ".join(str(error).split())[:120]
        raise SettingsError(f"regions.table: {path} is not readable as a TSV ({reason})") from None
    if not set(COLUMNS) <= set(table.columns):
        found = ", ".join(map(str, table.columns))
        raise SettingsError(f"regions.table: {path} has the columns {found}; {', '.join(COLUMNS)} are needed")
    regions: dict[str, dict[str, str]] = {}
    for subject, name, region in table[list(COLUMNS)].to_numpy().tolist():
        own = regions.setdefault(subject.strip().removeprefix("sub-"), {})
        region = "" if is_missing(region) else region.strip()
        if own.get(name.strip(), region) != region:
            raise SettingsError(
                f"regions.table: {path} gives {name.strip()} of subject {subject.strip()} the regions "
                f"{own[name.strip()] or 'n/a'} and {region or 'n/a'}; keep one"
            )
        own[name.strip()] = region
    return regions
