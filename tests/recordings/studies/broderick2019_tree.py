"""A small tree in the layout of Broderick 2019: two listeners, two runs of 48 s; Subject2 lacks run 2.

Quirks: one word that Gentle did not align, one `<unk>`, one aligned word that the transcript does not have, the first word of
the fourth sentence not aligned.
"""

from __future__ import annotations

import json
from pathlib import Path

import scipy.io

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS = 48.0
RATE = 128.0
AUDIO_SECONDS = 47.0
RECORDINGS = ((1, 1), (1, 2), (2, 1))
NOT_ALIGNED = ((1, 3), (3, 0))  # (sentence, index)
UNKNOWN = (0, 4)
OTHER = (2, 2)  # aligned as another word than the transcript has


def texts(run: int) -> list[str]:
    """Sentences of a run."""
    return SENTENCES if run == 1 else [f"{text} again" for text in SENTENCES[:6]]


def written(text: str) -> str:
    """As the transcript writes it."""
    return f"{text[0].upper()}{text[1:]}."


def build(root: Path) -> Path:
    """Write the tree and return its root."""
    download = root / "download"
    for subject, run in RECORDINGS:
        folder = download / "Natural Speech" / "EEG" / f"Subject{subject}"
        folder.mkdir(parents=True, exist_ok=True)
        eeg = ramp(128, SECONDS, RATE).T
        values = {"eegData": eeg, "fs": RATE, "mastoids": eeg[:, :2]}
        scipy.io.savemat(folder / f"Subject{subject}_Run{run}.mat", values)
    for run in (1, 2):
        write_wav(download / "private" / f"audio{run}.wav", AUDIO_SECONDS, 44_100, seed=run)
        (download / "private" / f"align{run}.json").write_text(json.dumps(alignment(run)))
        text = "\n\n".join([" ".join(map(written, texts(run)[:4])), "\n".join(map(written, texts(run)[4:]))])
        (download / "private" / f"oldman_run{run}.txt").write_text(text)
    return root


def alignment(run: int) -> dict:
    """As Gentle writes it."""
    words = []
    for word in words_of(texts(run)):
        place = (word["sentence"], word["index"])
        entry = {"word": word["word"], "case": "success", "startOffset": 0, "endOffset": 0}
        if place in NOT_ALIGNED:
            words.append(entry | {"case": "not-found-in-audio"})
            continue
        phones = [{"phone": "dh_B", "duration": 0.1}, {"phone": "ah_E", "duration": 0.2}]
        entry |= {"start": word["onset"], "end": round(word["onset"] + word["duration"], 3), "phones": phones}
        entry["alignedWord"] = "<unk>" if place == UNKNOWN else word["word"]
        entry["word"] = "xylophone" if place == OTHER else word["word"]
        words.append(entry)
    return {"transcript": "", "words": words}


def spoken(run: int) -> dict[float, str]:
    """Onset of each word that has a row -> its label."""
    return {round(w["start"], 3): w["word"] for w in alignment(run)["words"] if w["case"] == "success"}
