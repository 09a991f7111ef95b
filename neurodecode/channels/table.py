"""The channel table of a recording: one row a channel, as the store keeps it.

    channel_table(raw)[["name", "type", "x2d", "y2d", "shaft"]]

In: an MNE Raw. Out: a DataFrame; positions in metres in the frame the recording states (head frame for EEG and
intracranial contacts, device frame for MEG sensors), and on the unit square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurodecode.channels.layout import INTRACRANIAL, flat_positions
from neurodecode.channels.shafts import contact_of

if TYPE_CHECKING:
    from mne.io import BaseRaw

UNITS = {"mag": "T", "grad": "T/m", "ref_meg": "T"}
COLUMNS = ("name", "type", "unit", "x", "y", "z", "x2d", "y2d", "shaft", "region", "bad")


def channel_table(raw: BaseRaw, regions: dict[str, str] | None = None) -> pd.DataFrame:
    """Describe the channels of a recording.

    Parameters
    ----------
    raw
        MNE Raw.
    regions
        Channel name -> brain region, where a table states it.

    Returns
    -------
    DataFrame
        `name`, `type` (as MNE names types), `unit` (V, T, T/m), `x`, `y`, `z` (m; NaN unknown), `x2d`, `y2d` (unit
        square; NaN unknown), `shaft` (intracranial only, else ""), `region` ("" unknown), `bad`.
    """
    info = raw.info
    kinds = info.get_channel_types()
    places = np.array([_place(channel["loc"]) for channel in info["chs"]], float).reshape(-1, 3)
    flat = flat_positions(info)
    shafts = [_shaft(name, kind) for name, kind in zip(info["ch_names"], kinds)]
    return pd.DataFrame(
        {
            "name": list(info["ch_names"]),
            "type": kinds,
            "unit": [UNITS.get(kind, "V") for kind in kinds],
            "x": places[:, 0],
            "y": places[:, 1],
            "z": places[:, 2],
            "x2d": flat[:, 0],
            "y2d": flat[:, 1],
            "shaft": shafts,
            "region": [(regions or {}).get(name, "") for name in info["ch_names"]],
            "bad": [name in info["bads"] for name in info["ch_names"]],
        },
        columns=list(COLUMNS),
    )


def _place(loc: np.ndarray) -> np.ndarray:
    """Metres; all-zero and NaN both mean unknown, never the origin."""
    place = np.asarray(loc[:3], float)
    return place if np.isfinite(place).all() and np.any(place != 0) else np.full(3, np.nan)


def _shaft(name: str, kind: str) -> str:
    contact = contact_of(name) if kind in INTRACRANIAL else None
    return contact.shaft if contact else ""
