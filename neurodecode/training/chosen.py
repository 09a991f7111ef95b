"""Which channels of each subject a run reads, and the check that no ranking saw what the run is judged by.

In: a `ChannelChoice` and a fold of the run. Out: subject -> names, or None for all. A ranking tells the seconds of every
recording that it was made from; if one of them stands in a validation or test window of the fold, the run is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.channels.areas import matching
from neurodecode.channels.selection import first_seen, read_selection
from neurodecode.config.channels import ChannelChoice
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.files import read_json
from neurodecode.segments.windows import WindowIndex

if TYPE_CHECKING:
    from neurodecode.store.store import StoredRecording

CHANNELS = "channels.json"  # of a fold of a run: subject -> names
SIDES = {"test": "tests", "valid": "validates on"}


def chosen_channels(choice: ChannelChoice | None, fold: WindowIndex) -> dict[str, list[str]] | None:
    """Channels of each subject of a fold; None takes all.

    Raises
    ------
    SettingsError
        If there is no such file, fold, subject or region.
    LeakageError
        If the channels were ranked on validation or test windows of this fold.
    """
    if choice is None:
        return None
    if choice.names:
        missing = [subject for subject in fold.subjects if not choice.names.get(subject)]
        if missing:
            raise SettingsError(
                f"channels.names: none for subject {', '.join(missing)}; name them, or other subjects in subjects"
            )
        return {subject: list(choice.names[subject]) for subject in fold.subjects}
    if choice.regions:
        return in_regions(fold.recordings, choice.regions)
    assert choice.file is not None
    return _from_file(choice, choice.file, fold)


def resolved(choice: ChannelChoice | None) -> ChannelChoice | None:
    """The same choice whatever the working directory is."""
    if choice is None or choice.file is None:
        return choice
    return choice.model_copy(update={"file": choice.file.resolve()})


def refuse_other_channels(folder: Path, channels: dict[str, list[str]] | None) -> None:
    """Stop if a fold that is under way read other channels: the file that chose them was ranked anew since.

    Raises
    ------
    SettingsError
        Naming the folder.
    """
    path = folder / CHANNELS
    if path.is_file() and read_json(path) != channels:
        raise SettingsError(
            f"{folder}: began with other channels than channels.file chooses now; give another --out, or delete it"
        )


def described(choice: ChannelChoice | None) -> dict[str, Any] | None:
    """What run.json says of a choice, beside the settings: the method and the hash of a file, so that a table can tell."""
    if choice is None:
        return None
    if choice.file is None:
        return {"method": "region" if choice.regions else "names"}
    selection = read_selection(choice.file)
    return {"method": selection["method"], "file": choice.file.as_posix(), "sha256": selection["sha256"]}


def in_regions(recordings: Sequence[StoredRecording], regions: tuple[str, ...]) -> dict[str, list[str]]:
    """Good channels of each subject of some recordings whose region is one of some; what the channel tables say, no signal.

    Raises
    ------
    SettingsError
        If no subject, or one of them, has a channel there.
    """
    found: dict[str, dict[str, str]] = {subject: {} for subject in sorted({r.subject for r in recordings})}
    for recording in recordings:
        table = recording.channels
        labels = table["region"] if "region" in table else [""] * len(table)
        rows = zip(table["name"], labels, table["bad"])
        found[recording.subject] |= {str(name): str(region) for name, region, bad in rows if region and not bad}
    inside = matching([label for names in found.values() for label in names.values()], regions)
    flags = iter(inside)
    chosen = {subject: [name for name in names if next(flags)] for subject, names in found.items()}
    empty = [subject for subject, names in chosen.items() if not names]
    if empty:
        raise SettingsError(
            f"channels.regions: subject {', '.join(empty)} has no channel in {', '.join(regions)}; name other regions, or "
            "other subjects in subjects"
        )
    return chosen


def _from_file(choice: ChannelChoice, file: Path, fold: WindowIndex) -> dict[str, list[str]]:
    selection = read_selection(file)
    folds = selection["folds"]
    name = fold.fold_name if fold.fold_name in folds else next(iter(folds))
    if name != fold.fold_name and len(folds) > 1:
        raise SettingsError(
            f"channels.file: {file} has no {fold.fold_name}; there are {', '.join(folds)}; rank with the run's "
            "labels.split"
        )
    subjects = folds[name]["subjects"]
    missing = [subject for subject in fold.subjects if subject not in subjects]
    if missing:
        raise SettingsError(
            f"channels.file: {file} ranks no channels of subject {', '.join(missing)}; rank them, too, or name "
            "others in subjects"
        )
    for subject, entry in subjects.items():  # of all subjects: a ranking may have seen them all together
        refuse_ranked_on(fold, entry["seen"], f"channels.file: {file} ranked the channels of {subject} ({name})")
    chosen = {}
    for subject in fold.subjects:
        entry = subjects[subject]
        ranked = [channel["name"] for channel in entry["channels"]]
        if choice.top is not None and choice.top > len(ranked):
            raise SettingsError(f"channels.top: {choice.top}, but {file} ranks {len(ranked)} channels of {subject}")
        chosen[subject] = list(entry["chosen"]) if choice.top is None else ranked[: choice.top]
    return chosen


def refuse_ranked_on(fold: WindowIndex, seen: list[dict[str, Any]], what: str) -> None:
    """Check that no second in `seen` stands in a validation or test window of a fold.

    Recordings are the same if their names or their signals are.

    Raises
    ------
    LeakageError
        Naming the first such window.
    """
    how = "the same labels.split as the run"
    if not hasattr(fold, "labels"):  # segments of speech are split by other settings, by content as a rule
        how = "a labels.split that has the run's test and validation recordings, as segments.split by run; or choose by regions"
    for side, verb in SIDES.items():
        rows = fold.table.iloc[fold.rows(side)]
        for number in np.unique(rows["recording"]):
            recording = fold.recordings[number]
            spans = [
                span
                for entry in seen
                if entry["recording"] == recording.name or entry["sha256"] == recording.sha256_signal
                for span in entry["spans"]
            ]
            starts = rows["start"][rows["recording"] == number].to_numpy() / fold.sfreq
            at = first_seen(spans, starts, fold.n_times / fold.sfreq) if spans else None
            if at is not None:
                raise LeakageError(
                    f"{what} on second {at:.2f} of {recording.name}, which {fold.fold_name} {verb} here; rank with "
                    f"{how}"
                )
