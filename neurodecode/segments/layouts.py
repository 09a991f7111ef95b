"""Columns and sensor positions of a cohort: column k is the same named channel in every recording.

In: the channel tables of stored recordings. Out: for each recording, which stored row fills which column, which columns
it has, and the 2-D positions that spatial attention reads. A channel that is missing or bad is masked, never zero taken
for signal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from neurodecode.errors import NeurodecodeError, SettingsError

NO_POSITION = -0.1  # section 4.1: what channels without a position get; they are masked by the attention
GENERIC = re.compile(r"^(EEG|MEG|CH|CHAN|CHANNEL|E)?\s*0*\d+$", re.IGNORECASE)


@dataclass
class Layouts:
    """Sensor layouts, one a recording.

    Attributes
    ----------
    names
        Names of the columns (of the first recording that has them, when columns are each recording's own).
    positions
        [recordings, columns, 2] float32 in [0, 1]; NO_POSITION where unknown.
    valid
        [recordings, columns] bool: the recording has this channel, and it is good.
    columns
        For each recording, the column that each stored channel fills.
    places
        [recordings, columns, 3] float32, m, in the frame of the channel table; NaN where unknown.
    """

    names: list[str]
    positions: torch.Tensor
    valid: torch.Tensor
    columns: list[np.ndarray]
    places: torch.Tensor

    @property
    def n_chans(self) -> int:
        """Columns."""
        return self.valid.shape[1]

    @property
    def placed(self) -> torch.Tensor:
        """[recordings, columns] bool: good channels whose position is known."""
        return self.valid & (self.positions >= 0).all(-1)


def build_layouts(tables: list[pd.DataFrame], by: str = "name", source: str = "store") -> Layouts:
    """Line up the channels of recordings.

    Parameters
    ----------
    tables
        Channel table of each recording (`name`, `x2d`, `y2d`, `bad`).
    by
        `name`: the union of names, in natural order, whatever the order of files; `recording`: each its own order.
    source
        Named in errors.

    Raises
    ------
    NeurodecodeError
        If `by` is name and a recording has only numbered channels while another has real names: lining those up would
        be a guess.
    """
    names_of = [table["name"].astype(str).tolist() for table in tables]
    if by == "name":
        generic = [all(GENERIC.match(n) for n in names) for names in names_of]
        if any(generic) and len({tuple(sorted(names)) for names in names_of}) > 1:
            odd = names_of[generic.index(True)]
            raise NeurodecodeError(
                f"{source}: recording {generic.index(True) + 1} has numbered channels ({odd[0]} .. {odd[-1]}) and "
                "others have other names, so channels cannot be lined up by name; set segments.columns=recording (each "
                "subject then needs its own subject layer) or rename them"
            )
        names = sorted({n for names in names_of for n in names}, key=natural_key)
        position = {n: i for i, n in enumerate(names)}
        columns = [np.array([position[n] for n in names_], dtype=np.int64) for names_ in names_of]
    else:
        names = max(names_of, key=len)
        columns = [np.arange(len(names_)) for names_ in names_of]
    positions = torch.full((len(tables), len(names), 2), NO_POSITION)
    places = torch.full((len(tables), len(names), 3), float("nan"))
    valid = torch.zeros(len(tables), len(names), dtype=torch.bool)
    for i, (table, column) in enumerate(zip(tables, columns)):
        xy = table[["x2d", "y2d"]].to_numpy(np.float32)
        known = np.isfinite(xy).all(1)
        positions[i, torch.from_numpy(column[known])] = torch.from_numpy(xy[known])
        if {"x", "y", "z"} <= set(table.columns):
            places[i, torch.from_numpy(column)] = torch.tensor(table[["x", "y", "z"]].to_numpy(np.float32))
        valid[i, torch.from_numpy(column)] = torch.from_numpy(~table["bad"].to_numpy(bool))
    empty = [i for i in range(len(tables)) if not valid[i].any()]
    if empty:
        raise NeurodecodeError(f"{source}: recording {empty[0] + 1} has no good channel; leave it out or mend its bads")
    return Layouts(names, positions, valid, columns, places)


def only_channels(
    layouts: Layouts, names: list[list[str]], subjects: list[str], chosen: Mapping[str, Collection[str]]
) -> Layouts:
    """The same columns, where those that are not chosen are masked as channels that a recording lacks.

    Parameters
    ----------
    layouts
        Of all recordings.
    names, subjects
        Of each recording: names of its stored channels, and whose it is.
    chosen
        Subject -> names of his channels, in any order.

    Raises
    ------
    SettingsError
        If a chosen channel is good in none of the subject's recordings, or a recording has none of them.
    """
    valid = torch.zeros_like(layouts.valid)
    good: dict[str, set[str]] = {subject: set() for subject in subjects}
    for i, (stored, subject) in enumerate(zip(names, subjects)):
        wanted = set(chosen[subject])
        kept = torch.from_numpy(layouts.columns[i][[name in wanted for name in stored]])
        valid[i, kept] = layouts.valid[i, kept]
        good[subject] |= {
            name for name, column in zip(stored, layouts.columns[i]) if name in wanted and valid[i, column]
        }
    for subject, there in good.items():
        missing = [name for name in chosen[subject] if name not in there]
        if missing or not there:
            raise SettingsError(
                f"channels: subject {subject} has no good channel {', '.join(missing[:3]) or 'left'} in this store "
                f"({len(missing)} of {len(chosen[subject])} are not there); choose channels on the store that is trained on"
            )
    empty = [i for i in range(len(valid)) if not valid[i].any()]
    if empty:
        raise SettingsError(
            f"channels: recording {empty[0] + 1} ({subjects[empty[0]]}) has none of the chosen channels, or all of them are "
            "bad; choose more, or leave the recording out"
        )
    return replace(layouts, valid=valid)


def natural_key(name: str) -> tuple:
    """Sort key that puts A2 before A10."""
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name) if p)
