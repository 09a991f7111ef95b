"""A small tree in the layout of Armeni 2022; the CTF folder is stood in for by a FIF, which MNE can write.

Two sessions of listener 001. A session hears the wavs of two runs of 40 s, from 3 s and from 50 s on; their words begin half
a second into the wav, a pause (`sp`) stands after every tenth. Quirks: values between quotes, capital letters, a trigger and a
`wav_onset` before the first run that no word follows.
"""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS = 95.0
RATE = 1200.0
BEGINS = {1: 3.0, 2: 50.0}  # s, of the wavs
AUDIO_SECONDS = 40.0


def build(root: Path, recordings: tuple[tuple[str, str], ...] = (("001", "001"), ("001", "010"))) -> Path:
    """Write the tree for (subject, session) and return its root."""
    for subject, session in recordings:
        for run in BEGINS:
            path = root / "stimuli" / "audio" / f"{int(session):02d}_{run}.wav"
            write_wav(path, AUDIO_SECONDS, seed=10 * int(session) + run)
        folder = root / f"sub-{subject}" / f"ses-{session}" / "meg"
        folder.mkdir(parents=True)
        stem = f"sub-{subject}_ses-{session}_task-compr"
        raw().save(folder / f"{stem}_meg.fif", verbose="error")
        (folder / f"{stem}_events.tsv").write_text(events())
    return root


def raw() -> mne.io.BaseRaw:
    """Six gradiometers of a CTF system, and a reference."""
    names = ["MLC11-4408", "MLC12-4408", "MLT11-4408", "MRC11-4408", "MRT11-4408", "MZC01-4408", "BG1-4408"]
    info = mne.create_info(names, RATE, ["mag"] * 6 + ["ref_meg"])
    with info._unlock():
        for number, channel in enumerate(info["chs"]):
            channel["coil_type"] = mne._fiff.constants.FIFF.FIFFV_COIL_CTF_GRAD
            channel["loc"][:3] = 0.1 * np.cos(number), 0.1 * np.sin(number), 0.05
    return mne.io.RawArray(ramp(7, SECONDS, RATE), info, verbose="error")


def spoken(run: int) -> list[dict]:
    """Words of a run."""
    return words_of([*SENTENCES[5 * (run - 1) : 5 * run], *SENTENCES[5 * (run - 1) : 5 * run]][:9])


def events() -> str:
    """The events table as text."""
    rows = [(0.5, 0.0, "trigger", "64"), (1.0, 0.0, "wav_onset", '"x"')]
    for run, begin in BEGINS.items():
        rows.append((begin, 0.0, "wav_onset", '"x"'))
        for count, word in enumerate(spoken(run)):
            at = round(begin + word["onset"], 4)
            rows.append((at, word["duration"], f"word_onset_0{run}", f'"{word["word"].upper()}"'))
            rows.append((at, 0.1, f"phoneme_onset_0{run}", '"AH0"'))
            if count % 10 == 9:
                rows.append((at + 0.3, 0.1, f"word_onset_0{run}", '"sp"'))
                rows.append((at + 0.3, 0.1, f"phoneme_onset_0{run}", '"sp"'))
    lines = [f"{on}\t{length}\t{round(on * RATE) + 1}\t{kind}\t{value}" for on, length, kind, value in rows]
    return "\n".join(["onset\tduration\tsample\ttype\tvalue", *lines]) + "\n"
