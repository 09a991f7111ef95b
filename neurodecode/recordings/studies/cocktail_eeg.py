"""Adapter of datasets/cocktail_eeg.yaml: one listener, two talkers, five trials of one minute.

In: `1_1.mat` .. `1_5.mat` (`eeg` [samples, 128], `mast` [samples, 2], 128 Hz), `F_env.mat` and `M_env.mat` (`stim1`:
40 speech envelopes [frames, 1] each, 128 Hz), `competing_speaker_order.mat` (`blk1_M_Order`). Out: one Recording a trial;
trial t heard the female track t, attended, and the male track `blk1_M_Order[t]`, ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, Recording, RecordingSource, Stimulus, events_table

RATE = 128.0  # Hz, of EEG and envelopes
MICROVOLT = 1e-6
TRIAL = re.compile(r"^1_(\d+)\.mat$")
MASTOIDS = ("M1", "M2")
FEMALE, MALE, ORDER = "F_env.mat", "M_env.mat", "competing_speaker_order.mat"


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a trial.

    Raises
    ------
    RecordingError
        If the folder lacks a file.
    """
    root = Path(card.root or ".")
    trials = sorted((int(m.group(1)), p) for p in root.glob("1_*.mat") if (m := TRIAL.match(p.name)))
    if not trials:
        raise RecordingError(f"{root}: no 1_1.mat .. 1_5.mat there; {card.how_to_get or 'point the root at them'}")
    for name in (FEMALE, MALE, ORDER):
        if not (root / name).exists():
            raise RecordingError(f"{root / name}: missing; the trials cannot be read without it")
    return [
        RecordingSource(
            path,
            "cocktail_eeg",
            subject="01",
            task="cocktail",
            run=f"{number:02d}",
            root=root,
            line_frequency=card.line_frequency,
        )
        for number, path in trials
    ]


def open_recording(source: RecordingSource) -> Recording:
    """Read one trial.

    Raises
    ------
    RecordingError
        If a file is not laid out as described above.
    """
    import mne

    root = source.root or source.path.parent
    trial = int(source.run)
    values = _load(source.path, "eeg", "mast")
    eeg, mast = np.asarray(values["eeg"], float), np.asarray(values["mast"], float)
    if eeg.ndim != 2 or eeg.shape[1] != 128 or mast.shape != (len(eeg), 2):
        raise RecordingError(
            f"{source.path}: eeg is {eeg.shape} and mast {mast.shape}, not [samples, 128] and [samples, 2]"
        )
    order = np.ravel(_load(root / ORDER, "blk1_M_Order")["blk1_M_Order"])
    if not 1 <= trial <= len(order):
        raise RecordingError(f"{source.path}: trial {trial}, but {ORDER} orders {len(order)} trials")
    attended = _envelope(root / FEMALE, trial)
    ignored = _envelope(root / MALE, int(order[trial - 1]))
    names = {"attended": f"female-{trial:02d}", "ignored": f"male-{int(order[trial - 1]):02d}"}

    montage = mne.channels.make_standard_montage("biosemi128")
    info = mne.create_info([*montage.ch_names, *MASTOIDS], RATE, "eeg")
    # samples first in the file, channels first here
    raw = mne.io.RawArray(np.concatenate([eeg, mast], axis=1).T * MICROVOLT, info, verbose="error")
    raw.set_montage(montage, on_missing="ignore", verbose="error")

    seconds = len(eeg) / RATE
    rows: list[dict[str, Any]] = [
        {
            "onset": 0.0,
            "duration": min(seconds, len(attended) / RATE),
            "kind": "stimulus",
            "label": "attended",
            "stimulus": names["attended"],
            "stimulus_onset": 0.0,
            "ignored_stimulus": "",
        },
        {
            "onset": 0.0,
            "duration": min(seconds, len(ignored) / RATE),
            "kind": "ignored",
            "label": "ignored",
            "ignored_stimulus": names["ignored"],
        },
    ]
    spread = float(np.median(eeg.std(axis=0)))
    return Recording(
        raw,
        events_table(rows),
        subject=source.subject,
        task=source.task,
        run=source.run,
        stimuli={
            names["attended"]: Stimulus(names["attended"], values=attended, rate=RATE),
            names["ignored"]: Stimulus(names["ignored"], values=ignored, rate=RATE),
        },
        notes=[
            Note(source.path.name, f"no unit stated; the median channel has a deviation of {spread:.3g}", "read as uV"),
            Note(source.path.name, "no channel names stated; 128 channels", "BioSemi-128 order, likely but not stated"),
        ],
        files=[source.path, root / FEMALE, root / MALE, root / ORDER],
        line_frequency=source.line_frequency,
    )


def _load(path: Path, *keys: str) -> dict[str, Any]:
    import scipy.io

    refuse_pointer(path)
    try:
        values = scipy.io.loadmat(path, variable_names=list(keys))
    except Exception as error:  # scipy raises what its parser happens on
        raise RecordingError(f"{path}: not readable as a MATLAB file ({error}); get it again") from error
    for key in keys:
        if key not in values:
            raise RecordingError(f"{path}: holds no {key}")
    return values


def _envelope(path: Path, track: int) -> np.ndarray:
    """Envelope of a track counted from 1: float32 [frames, 1]."""
    tracks = np.ravel(_load(path, "stim1")["stim1"])
    if not 1 <= track <= len(tracks):
        raise RecordingError(f"{path}: track {track}, but it holds {len(tracks)}")
    return np.asarray(tracks[track - 1], np.float32).reshape(-1, 1)
