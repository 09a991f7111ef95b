"""Where sensors lie on a plane: the positions that spatial attention reads.

MNE's layout of the recording's own channels, each axis scaled to [0, 1] (Défossez et al. 2023; specification section
4.1). What has no place there is NaN, and is masked by the attention.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mne import Info

INTRACRANIAL = ("seeg", "ecog", "dbs")


def flat_positions(info: Info) -> np.ndarray:
    """Position of each channel on the unit square.

    MEG and EEG are laid out apart, each filling the square: a recording of both has two layouts, one over the other.
    Contacts inside the head, for which MNE has no layout, are flattened by azimuth and angle from the vertical.

    Returns
    -------
    ndarray
        [channels, 2] float64 in [0, 1]; NaN where unknown.
    """
    import mne

    kinds = np.array(info.get_channel_types())
    result = np.full((len(kinds), 2), np.nan)
    for group, finder in ((("mag", "grad"), _layout), (("eeg",), _layout), (INTRACRANIAL, _flattened)):
        rows = np.flatnonzero(np.isin(kinds, group))
        if len(rows):
            result[rows] = unit_square(finder(mne.pick_info(info, rows, verbose="error")))
    return result


def unit_square(places: np.ndarray) -> np.ndarray:
    """Scale each axis of [channels, 2] to [0, 1] over the known rows; an axis without extent becomes 0."""
    known = np.isfinite(places).all(1)
    result = np.full(places.shape, np.nan)
    if known.any():
        low, high = places[known].min(0), places[known].max(0)
        result[known] = (places[known] - low) / np.where(high > low, high - low, 1.0)
    return result


def _layout(info: Info) -> np.ndarray:
    """Lower-left corners of MNE's layout boxes, looked up by name up to the last dash (CTF writes a suffix)."""
    import mne

    places = np.full((len(info["ch_names"]), 2), np.nan)
    # an automatic layout invents places for channels that have no position, so it is not told of them
    rows = np.flatnonzero([_placed(channel["loc"]) for channel in info["chs"]])
    if not len(rows):
        return places
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            layout = mne.channels.find_layout(mne.pick_info(info, rows, verbose="error"))
        except (RuntimeError, ValueError):
            return places  # MNE cannot lay these sensors out, for example when all lie on one point
    corner = {_stem(name): place[:2] for name, place in zip(layout.names, layout.pos)}
    for row in rows:
        places[row] = corner.get(_stem(info["ch_names"][row]), (np.nan, np.nan))
    return places


def _stem(name: str) -> str:
    """Name up to its last dash, without spaces (Neuromag files differ in them)."""
    return (name.rsplit("-", 1)[0] if "-" in name else name).replace(" ", "")


def _placed(loc: np.ndarray) -> bool:
    """Whether a position is known: all-zero and NaN both mean unknown, never the origin."""
    return bool(np.isfinite(loc[:3]).all() and np.any(loc[:3] != 0))


def _flattened(info: Info) -> np.ndarray:
    """Azimuthal equidistant projection of 3-D positions: angle from the vertical on the radius."""
    places = np.array([ch["loc"][:3] if _placed(ch["loc"]) else [np.nan] * 3 for ch in info["chs"]], float)
    x, y, z = places.T
    angle, azimuth = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    return np.stack([angle * np.cos(azimuth), angle * np.sin(azimuth)], axis=1)
