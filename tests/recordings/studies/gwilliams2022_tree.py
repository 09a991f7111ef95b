"""A small tree in the layout of Gwilliams 2022; the KIT file is stood in for by a FIF, which MNE can write.

Two listeners; sub-A0002 lacks task-1, and sub-A0003 all. A recording hears two wav files of 22 s from 2 s and 25.5 s on. In
each: five sentences, then a word list. Quirks: the word with index 2 of the first sentence has no row, the third sentence
has no row of index 0, words with an apostrophe, `nan` in a dict, `_0.0.wav` in sound rows and capital letters.
"""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS = 50.0
RATE = 1000.0
SOUNDS = (2.0, 25.5)  # s, onsets
AUDIO_SECONDS = 22.0
STORY = {"0": "lw1", "1": "cable_spool_fort"}
WORD_LISTS = ("herring don't ledger", "ledger don't harbour")


def build(
    root: Path, recordings: tuple[tuple[str, str, str], ...] = (("A0001", "0", "0"), ("A0001", "0", "1"))
) -> Path:
    """Write the tree for (subject, session, task) and return its root."""
    download = root / "download"
    download.mkdir(parents=True)
    (download / "participants.tsv").write_text("participant_id\tage\nsub-A0001\t20\nsub-A0002\t21\nsub-A0003\tn/a\n")
    for number, story in enumerate(STORY.values()):
        for k in range(2):
            path = download / "stimuli" / "audio" / f"{story.lower()}_{k}.wav"
            write_wav(path, AUDIO_SECONDS, seed=10 * number + k)
    for subject, session, task in recordings:
        stem = download / f"sub-{subject}" / f"ses-{session}" / "meg" / f"sub-{subject}_ses-{session}_task-{task}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        raw().save(f"{stem}_meg.fif", verbose="error")
        Path(f"{stem}_events.tsv").write_text(events(task))
        rows = "".join(f"MEG {i:03d}\tMEGGRADAXIAL\tT\t{'bad' if i == 5 else 'good'}\n" for i in range(1, 209))
        Path(f"{stem}_channels.tsv").write_text("name\ttype\tunits\tstatus\n" + rows)
    return root


def raw() -> mne.io.BaseRaw:
    """208 gradiometers of a KIT system, and a reference."""
    names = [f"MEG {i:03d}" for i in range(1, 209)]
    info = mne.create_info([*names, "MEG 209"], RATE, ["mag"] * 208 + ["ref_meg"])
    angles = np.linspace(0, 6 * np.pi, 208)
    with info._unlock():
        info["kit_system_id"] = 442
        for channel, angle, height in zip(info["chs"], angles, np.linspace(0.1, -0.02, 208)):
            channel["coil_type"] = mne._fiff.constants.FIFF.FIFFV_COIL_KIT_GRAD
            channel["loc"][:3] = 0.1 * np.cos(angle), 0.1 * np.sin(angle), height
    return mne.io.RawArray(ramp(209, SECONDS, RATE), info, verbose="error")


def sentences(k: int) -> list[str]:
    """Heard in wav k; the last is a word list."""
    return [*SENTENCES[5 * k : 5 * k + 5], WORD_LISTS[k]]


def events(task: str) -> str:
    """The events table as text."""
    story = STORY[task]
    rows = []
    for k, onset in enumerate(SOUNDS):
        base = {"story": story, "story_uid": float(task), "sound_id": float(k)}
        shown = story.title() if task == "1" else story
        rows.append((onset, 0.0, base | {"kind": "sound", "start": 0.0, "sound": f"stimuli/audio/{shown}_{k}.0.wav"}))
        for word in words_of(sentences(k)):
            listed = word["sentence"] == 5
            number = word["sentence"] + 6 * k
            said = base | {
                "start": word["onset"],
                "sound": f"stimuli/audio/{shown}_{k}.wav",
                "sequence_id": float(number),
                "condition": "word_list" if listed else "sentence",
                "word_index": float(word["index"]),
                "speech_rate": 205.0,
                "voice": "Ava",
                "pronounced": 1.0 if word["index"] else float("nan"),
            }
            if (number, word["index"]) in ((0, 2), (2, 0)):
                continue
            at = round(onset + word["onset"], 3)
            rows.append((at, word["duration"], said | {"kind": "word", "word": word["word"]}))
            if word["index"] == 1:
                rows.append((at, 0.1, said | {"kind": "phoneme", "phoneme": "dh_B"}))
    lines = [f"{on}\t{length}\t{said}\t{i}\t{round(on * RATE)}" for i, (on, length, said) in enumerate(rows)]
    return "\n".join(["onset\tduration\ttrial_type\tvalue\tsample", *lines]) + "\n"
