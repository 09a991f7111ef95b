"""A small tree in the layout of Brennan 2019: two segments of 22 s instead of twelve, 50 s of EEG.

S01 has 61 channels (no sound channel), S03 has 62 (Aux5), S24 lacks the last five words, S05 has no proc. The first sound
begins 0.3 s before the EEG. Epochs begin 150 samples before their word, as in the scripts of those who recorded the data.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS = 50.0
RATE = 500.0
AUDIO_SECONDS = 22.0
BEGINS = (-0.3, 24.0)  # s of the recording at which the sounds begin
ELECTRODES = [str(n) for n in range(1, 62) if n != 29]
SUBJECTS = {"01": ["VEOG"], "03": ["VEOG", "Aux5"], "05": ["VEOG"], "24": ["VEOG", "AUD"]}
TEXTS = [SENTENCES[k] for k in (6, 8, 9, 7, 5, 3, 0, 4, 1, 2)]  # blocks of this order fall on all three sides
PREFIXED = ("01", "24")  # varnames without the names of the first three columns


def story() -> list[dict[str, Any]]:
    """Rows of the table of words."""
    rows = []
    for segment in (1, 2):
        for word in words_of(TEXTS[5 * segment - 5 : 5 * segment]):
            rows.append(
                {
                    "Word": word["word"],
                    "Segment": segment,
                    "onset": word["onset"],
                    "offset": round(word["onset"] + word["duration"], 3),
                    "Order": len(rows) + 1,
                    "Position": word["index"] + 1,
                    "Sentence": word["sentence"] + 1 + 5 * (segment - 1),
                    "LogFreq": 1.5,
                }
            )
    return rows


def build(root: Path) -> Path:
    """Write the tree and return its root."""
    download = root / "download"
    (download / "proc").mkdir(parents=True)
    for segment in (1, 2):
        path = download / "audio" / f"DownTheRabbitHoleFinal_SoundFile{segment}.wav"
        write_wav(path, AUDIO_SECONDS, 44_100, seed=segment)
    with open(download / "AliceChapterOne-EEG.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(story()[0]))
        writer.writeheader()
        writer.writerows(story())
    for subject, extra in SUBJECTS.items():
        scipy.io.savemat(download / f"S{subject}.mat", {"raw": fieldtrip(extra)})
        if subject != "05":
            scipy.io.savemat(download / "proc" / f"S{subject}.mat", {"proc": proc(subject)})
    return root


def cell(values: list[Any]) -> np.ndarray:
    """A cell array."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


def fieldtrip(extra: list[str]) -> dict[str, Any]:
    """The struct raw: a ramp of seconds, in microvolts."""
    labels = [*ELECTRODES, *extra]
    signal = ramp(len(labels), SECONDS, RATE)
    trial = np.empty(1, object)
    trial[0] = signal
    n = signal.shape[1]
    header = {
        "Fs": RATE,
        "nChans": len(labels),
        "nSamples": n,
        "nSamplesPre": 0,
        "nTrials": 1,
        "label": cell(labels),
        "chantype": cell(["eeg"] * len(labels)),
        "chanunit": cell(["uV"] * len(labels)),
    }
    return {"hdr": header, "fsample": RATE, "trial": trial, "sampleinfo": [1, n], "label": cell(labels)}


def proc(subject: str) -> dict[str, Any]:
    """The struct proc: epochs from 0.3 s before each word to 1 s after it, in samples counted from 1."""
    rows = []
    for word in story()[:-5] if subject == "24" else story():
        begin = BEGINS[word["Segment"] - 1]
        at = round(begin * RATE) + math.ceil(round(word["onset"] * RATE, 6)) + 1
        rows.append([at - 150, at + 500, -150, word["Segment"], word["onset"], word["Order"]])
    names = ["segment", "tmin", "Order"]
    return {
        "trl": np.array(rows, float),
        "varnames": cell(names if subject in PREFIXED else ["start_sample", "stop_sample", "offset", *names]),
        "tot_trials": len(rows),
        "tot_chans": 61,
        "impedence": {"bads": cell(["7"])},
        "rejections": {"badchans": cell(["7", "45"])},
        "implicitref": "29",
        "refchannels": cell(["25", "29"]),
        "subject": f"S{subject}",
    }
