"""Step 1: which channels are kept.

MNE `Info` in; names in the order of the file out, with notes on what was asked for and is not there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note

if TYPE_CHECKING:
    from mne import Info


def channel_types(info: Info) -> dict[str, str]:
    """Name -> MNE channel type, in the order of the file."""
    return dict(zip(info["ch_names"], info.get_channel_types()))


def pick_channels(info: Info, settings: PreprocessingSettings, name: str) -> tuple[list[str], list[Note]]:
    """Names of the channels of the wanted types, without the excluded ones.

    Parameters
    ----------
    info
        Of the recording.
    settings
        `picks` and `exclude` are used.
    name
        Of the recording, for messages.

    Raises
    ------
    RecordingError
        If nothing is left; the message counts the types there are.
    """
    wanted = set(settings.picks) | ({"mag", "grad"} if "meg" in settings.picks else set())
    types = channel_types(info)
    kept = [channel for channel, kind in types.items() if kind in wanted and channel not in settings.exclude]
    if not kept:
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(types.values()).items()))
        raise RecordingError(
            f"{name}: no channel of the types {', '.join(settings.picks)} (there are: {counts or 'none'}); "
            "change picks or exclude, or correct the types in channels.tsv"
        )
    absent = [channel for channel in settings.exclude if channel not in types]
    notes = [Note(name, f"no channel named {', '.join(absent)}", "nothing to exclude there")] if absent else []
    return kept, notes


def datatype_of(types: list[str]) -> str:
    """BIDS datatype of a set of MNE channel types: meg before ieeg before eeg."""
    if {"mag", "grad"} & set(types):
        return "meg"
    return "ieeg" if {"seeg", "ecog", "dbs"} & set(types) else "eeg"
