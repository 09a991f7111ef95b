"""A small tree in the layout of Schoffelen 2019; the CTF folder is stood in for by a FIF, which MNE can write.

Two listeners, A2002 and A2005, and A2011, who is skipped; ten sentences, one wav each, 7 s apart. The log runs 1.7 s behind
the MEG. Sounds have a trigger of their own, 10 ms after their row; one lacks it. Speech begins 0.5 s after its wav. Quirks: the
log stands twice in its file, a row is broken after a full stop, one fixation has no trigger, one time is negative, one sound
has no row "Audio onset", stimuli.txt has capitals and full stops, one TextGrid is UTF-16.
"""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np

from tests.recordings.studies.parts import SENTENCES, ramp, words_of, write_wav

SECONDS = 80.0
RATE = 1200.0
LATE = 1.7  # s by which the clock of the log is behind that of the MEG
AUDIO_SECONDS = 5.5
FIRST, APART = 2.0, 7.0  # s of the log: the first fixation, and from one to the next
NUMBERS = [7, 186, 12, 33, 45, 51, 60, 88, 101, 120]  # of the wav files
UNTIED = 4  # its fixation has no trigger
NO_OWN = 2  # its sound has no trigger
OWN_LATE = 0.01  # s by which the other triggers of sounds come after their row
NO_ONSET = 8  # its sound has no row "Audio onset"
LISTENERS = ("A2002", "A2005", "A2011")
HEAD = "Subject,Trial,Event Type,Code,Time,TTime,Uncertainty,Duration,Uncertainty,ReqTime,ReqDur,Stim Type,Pair Index"
AGAIN = "Event Type,Code,Type,Response,RT,RT Uncertainty,Time,Uncertainty,Duration,Uncertainty,ReqTime,ReqDur"


def order(listener: str) -> list[int]:
    """Places in NUMBERS and SENTENCES in the order in which a listener heard them."""
    return list(range(10)) if listener != "A2005" else list(range(9, -1, -1))


def onset_of(position: int) -> float:
    """Second of the MEG at which the wav at a position began: at its trigger, or 1.2 s of the log after its fixation."""
    return round(FIRST + APART * position + 1.2 + LATE + (OWN_LATE if position != NO_OWN else 0.0), 4)


def build(root: Path) -> Path:
    """Write the tree and return its root."""
    download = root / "download"
    for number, text in zip(NUMBERS, SENTENCES):
        name = f"EQ_Ramp_Int2_Int1LPF{number:03d}"
        write_wav(download / "stimuli" / "audio_files" / f"{name}.wav", AUDIO_SECONDS, 44_100, seed=number)
        path = download / "derivatives" / "phonemes" / f"{name}.TextGrid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textgrid(text), encoding="utf-16" if number == 12 else "utf-8")
    written = [f"{uid} {text[0].upper()}{text[1:]}." for uid, text in enumerate(SENTENCES, start=1)]
    (download / "stimuli" / "stimuli.txt").write_text("0 header\n" + "\n".join(written) + "\n")
    logs = download / "sourcedata" / "meg_task"
    logs.mkdir(parents=True)
    for listener in LISTENERS:
        folder = download / f"sub-{listener}" / "meg"
        folder.mkdir(parents=True)
        raw(listener).save(folder / f"sub-{listener}_task-auditory_meg.fif", verbose="error")
        (folder / f"sub-{listener}_task-rest_meg.fif").write_bytes(b"")
        (logs / f"{listener}-2-MEG-MOUS-Aud.log").write_text(log(listener))
    (logs / "A2002-1-MEG-MOUS-Vis.log").write_text("of another task")
    return root


def raw(listener: str) -> mne.io.BaseRaw:
    """273 gradiometers of a CTF system, a reference, and the trigger channel."""
    names = [f"{name.split('-')[0]}-2908" for name in mne.channels.read_layout("CTF-275").names[:273]]
    info = mne.create_info(["BG1-2908", "UPPT001", *names], RATE, ["ref_meg", "stim"] + ["mag"] * 273)
    angles = np.linspace(0, 6 * np.pi, 273)
    with info._unlock():
        for channel, angle, height in zip(info["chs"][2:], angles, np.linspace(0.1, -0.02, 273)):
            channel["coil_type"] = mne._fiff.constants.FIFF.FIFFV_COIL_CTF_GRAD
            channel["loc"][:3] = 0.1 * np.cos(angle), 0.1 * np.sin(angle), height
    values = ramp(275, SECONDS, RATE)
    values[1] = 0
    for time, trigger in triggers():
        values[1, round(time * RATE) : round(time * RATE) + 12] = trigger
    return mne.io.RawArray(values, info, verbose="error")


def triggers() -> list[tuple[float, int]]:
    """(s of the MEG, value): an announcement before sounds 0 and 5, a fixation before each, sounds, targets."""
    rows = []
    for position in range(10):
        if position in (0, 5):
            rows.append((FIRST + APART * position - 1.0 + LATE, 10))
        if position != UNTIED:
            rows.append((FIRST + APART * position + LATE, 20))
        if position != NO_OWN:
            rows.append((onset_of(position), 14))
        rows.append((FIRST + APART * position + 4.0 + LATE, 3))
    return rows


def log(listener: str) -> str:
    """The log, twice, with both tables."""
    rows: list[tuple[str, str, float]] = [("Picture", "start", -0.0123)]
    for position, place in enumerate(order(listener)):
        at = FIRST + APART * position
        if position in (0, 5):
            rows.append(("Picture", "ZINNEN" if position == 0 else "WOORDEN", at - 1.0))
        rows.append(("Picture", "FIX", at))
        rows.append(("Sound", f"14 Start File {NUMBERS[place]:03d}.wav", at + 1.2))
        if position != NO_ONSET:
            rows.append(("Nothing", "1 Audio onset", at + 1.7))
        rows.append(("Nothing", "2 target. left" if position == 3 else "2 target", at + 5.0))
        rows.append(("Nothing", "15 End of file", at + 6.7))
    lines, again = [], []
    for number, (kind, code, time) in enumerate(rows):
        ticks = round(time * 10_000)
        broken = code.replace(". ", ".\n ")
        lines.append(f"{listener}\t{number}\t{kind}\t{broken}\t{ticks}\t0\t1\t2\t2\t0\tnext\tother\t0")
        again.append(f"{kind}\t{broken}\tother\t0\t0\t1\t{ticks}\t1\t2\t2\t0\tnext")
    one = "\n".join(
        [
            "Scenario -\tMOUS",
            "Logfile written - 01/02/2012 10:11:12",
            "",
            HEAD.replace(",", "\t"),
            "",
            *lines,
            "",
            "",
            AGAIN.replace(",", "\t"),
            "",
            *again,
            "",
        ]
    )
    return f"junk\n{one}\n{one}"


def textgrid(text: str) -> str:
    """Words and phones of a sentence, with pauses."""
    words = [(row["onset"], round(row["onset"] + 0.3, 3), row["word"]) for row in words_of([text])]
    phones = [(begin, round(begin + 0.1, 3), word[0]) for begin, _, word in words]
    tiers = []
    for number, (name, rows) in enumerate((("ORT-MAU", words), ("KAN-MAU", words), ("MAU", phones)), start=1):
        intervals = [(0.0, 0.5, ""), *rows, (rows[-1][1], AUDIO_SECONDS, "<p:>")]
        body = "".join(
            f'        intervals [{k}]:\n            xmin = {a} \n            xmax = {b} \n            text = "{said}" \n'
            for k, (a, b, said) in enumerate(intervals, start=1)
        )
        head = f'    item [{number}]:\n        class = "IntervalTier" \n        name = "{name}" \n'
        tiers.append(f"{head}        xmin = 0 \n        xmax = {AUDIO_SECONDS} \n        intervals: size = 9 \n{body}")
    return 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 5 \nitem []: \n' + "".join(tiers)
