"""Which part of a store a run trains on: subjects, sessions, and the first minutes of each.

In: settings, a store, the window index of a fold. Out: names of subjects; the same index in which windows that are not
used stand on no side; which recordings are one session.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from neurodecode.config import TrainSettings
from neurodecode.errors import SettingsError
from neurodecode.models.layers.session_layer import Sessions
from neurodecode.segments.windows import WindowIndex
from neurodecode.store.store import Store

LEAST_MINUTES = 1.0  # of signal give the scaler its median and range, also where nothing is trained


def chosen_subjects(settings: TrainSettings, store: Store) -> tuple[str, ...]:
    """Names of the subjects that a run is about, as `build_windows` takes them: none named are all.

    Raises
    ------
    SettingsError
        If `exclude` names somebody who is not there, or nobody is left.
    """
    if not settings.exclude:
        return settings.subjects
    known = sorted({r.subject for r in store.recordings})
    missing = sorted(set(settings.exclude) - set(known))
    if missing:
        raise SettingsError(f"exclude: {store.path} has no subject {missing[0]}; there are {', '.join(known)}")
    left = tuple(s for s in known if s not in settings.exclude and (not settings.subjects or s in settings.subjects))
    if not left:
        raise SettingsError(f"exclude: nobody is left of {', '.join(known)}; exclude fewer")
    return left


def within_minutes(index: WindowIndex, minutes: float | None) -> WindowIndex:
    """The same fold, in which of each subject only windows of the first minutes train or validate.

    Minutes are those of signal that training or validation windows cover, in the order of recordings and time; what is
    tested does not count and stays. At least `LEAST_MINUTES` are kept, for the scalers (`trained_rows` knows better).
    """
    if minutes is None:
        return index
    table = index.table
    split = table["split"].to_numpy().astype(object).copy()
    wanted = max(minutes, LEAST_MINUTES) * 60 * index.sfreq  # samples
    for subject in np.unique(table["subject"].to_numpy()):
        rows = np.flatnonzero((table["subject"].to_numpy() == subject) & np.isin(split, ("train", "valid")))
        rows = rows[np.lexsort((table["start"].to_numpy()[rows], table["recording"].to_numpy()[rows]))]
        split[rows[_covered(table["recording"].to_numpy()[rows], table["start"].to_numpy()[rows], index) > wanted]] = ""
    limited = replace(index, table=table.assign(split=split))
    if not len(limited.rows("train")):
        raise SettingsError(f"minutes: no training window lies within {minutes:g} min of each subject; raise it")
    return limited


def _covered(recording: np.ndarray, start: np.ndarray, index: WindowIndex) -> np.ndarray:
    """Samples covered by windows up to and with each of them, [n]; overlaps count once. Windows are in order."""
    apart = np.full(len(start), index.n_times, float)
    apart[1:] = np.where(np.diff(recording) == 0, np.minimum(np.diff(start), index.n_times), index.n_times)
    return np.cumsum(apart)


def trained_rows(index: WindowIndex, minutes: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train and rows that validate; the first stand in where the minutes hold no validation window."""
    train, valid = index.rows("train"), index.rows("valid")
    if minutes == 0:
        return train[:0], valid[:0]
    return train, valid if len(valid) else train


def sessions_of(index: WindowIndex, unit: str) -> Sessions:
    """Which recordings are one session, and which sessions have training windows; `unit` as in the settings."""
    table = index.table
    names = [(r.subject, r.name) if unit == "recording" else (r.subject, r.session or r.name) for r in index.recordings]
    distinct = sorted(set(names))
    of = torch.tensor([distinct.index(name) for name in names])
    owner = torch.tensor([index.subjects.index(subject) for subject, _ in distinct])
    seen = torch.zeros(len(distinct), dtype=torch.bool)
    seen[of[torch.from_numpy(np.unique(table["recording"].to_numpy()[index.rows("train")]))]] = True
    return Sessions(of, owner, seen)


def session_names(index: WindowIndex, unit: str) -> list[str]:
    """Names of the sessions in the order of `sessions_of`, for run.json."""
    return [
        f"{subject} {name}"
        for subject, name in sorted(
            {(r.subject, r.name) if unit == "recording" else (r.subject, r.session or r.name) for r in index.recordings}
        )
    ]
