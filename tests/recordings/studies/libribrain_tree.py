"""A small tree in the layout of LibriBrain: two sessions of one book, serialised, with events, audio and positions.

Six channels at 250 Hz, 50 s. The chapter begins at 4.25 s of the recording. Quirks: a word of negative duration, `oov_S`,
rows of silence, numbers of words from 0, and another processing beside the standard one.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import mne
import numpy as np

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS, RATE, BEGIN = 50.0, 250.0, 4.25
NAMES = ["MEG0111", "MEG0112", "MEG0113", "MEG1421", "MEG1422", "MEG1423"]
KINDS = ["mag", "grad", "grad", "mag", "grad", "grad"]
PROCESSING = "bads+headpos+sss+notch+bp+ds"


def build(root: Path, sessions: tuple[str, ...] = ("1", "10")) -> Path:
    """Write the tree and return its root."""
    book = root / "Sherlock1"
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "sensor_xyz.json").write_text(json.dumps([[0.01 * k, 0.05, 0.1] for k in range(6)]))
    for session in sessions:
        write_wav(book / "stimuli" / "audio" / f"Sherlock1_{session}.wav", 44.0, seed=int(session))
        for processing in (PROCESSING, "ds"):
            serialise(path_of(root, session, processing))
        events_of(root, session).parent.mkdir(exist_ok=True)
        events_of(root, session).write_text(events())
    return root


def path_of(root: Path, session: str, processing: str = PROCESSING) -> Path:
    name = f"sub-0_ses-{session}_task-Sherlock1_run-1_proc-{processing}_meg.h5"
    return root / "Sherlock1" / "derivatives" / "serialised" / name


def events_of(root: Path, session: str) -> Path:
    return root / "Sherlock1" / "derivatives" / "events" / f"sub-0_ses-{session}_task-Sherlock1_run-1_events.tsv"


def serialise(path: Path) -> None:
    """Ramps (seconds) as the release stores signals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=ramp(6, SECONDS, RATE).astype(np.float32), chunks=(6, 50))
        file.create_dataset("times", data=np.arange(round(SECONDS * RATE), dtype=np.float32) / RATE, chunks=(50,))
        file.attrs["sample_frequency"] = RATE
        file.attrs["highpass_cutoff"], file.attrs["lowpass_cutoff"] = 0.1, 125.0
        file.attrs["channel_names"], file.attrs["channel_types"] = ", ".join(NAMES), ", ".join(KINDS)


def spoken() -> list[dict]:
    return words_of(SENTENCES)


def events() -> str:
    """The events table as text."""
    columns = "idx wavfile kind segment sentenceidx wordidx phonemeidx timemeg timeds timechapter timesentence duration"
    rows = []
    for count, word in enumerate(spoken()):
        at, inside = round(word["onset"] + BEGIN, 3), word["onset"]
        place = [word["sentence"], word["index"]]
        length = -0.04 if count == 3 else word["duration"]
        rows.append(["word", word["word"], *place, "", at, at, inside, 0.0, length])
        rows.append(["phoneme", "oov_S" if count == 5 else "ah_B", *place, 0, at, at, inside, 0.0, 0.1])
    rows.append(["silence", "", "", "", "", 48.0, 48.0, 43.75, "", 0.5])
    lines = ["\t".join(map(str, [number, "segments/", *row])) for number, row in enumerate(rows)]
    return "\n".join([columns.replace(" ", "\t"), *lines]) + "\n"


def positions() -> np.ndarray:
    return np.array([[0.01 * k, 0.05, 0.1] for k in range(6)])


def is_vectorview(raw: mne.io.BaseRaw) -> bool:
    return [ch["coil_type"] for ch in raw.info["chs"]] == [3024, 3012, 3012, 3024, 3012, 3012]
