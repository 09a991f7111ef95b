"""Make the embedded speech: our own text, spoken by flite, with exact sentence, word and phone times.

In: `datasets/speech/stories.txt`. Out, in the same or another folder: `<story>.ogg` (mono, 16 kHz), `<story>.tsv`
(onset, duration in seconds from the start of the audio; kind sentence, word or phone; label) and `speech.json`::

    python -m neurodecode.simulation.make_speech --out datasets/speech

The folder is in the repository, so this runs only when the text changes. It needs the Debian package libflite1.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.files import atomic_path, sha256_of_file, write_json
from neurodecode.resources import resource_folder
from neurodecode.simulation.flite import Flite
from neurodecode.simulation.speech import SpeechError

VOICES = ("slt", "rms", "awb")  # a female US, a male US and a male Scottish speaker
PAUSE = 0.3  # s of silence added after each sentence
LEVEL = 0.06  # root mean square of a story, full scale = 1
CHUNK = 16000  # samples written at once: libsndfile crashes on one big OGG write
COLUMNS = ["onset", "duration", "kind", "label"]
KINDS = ["sentence", "word", "phone"]
LAYOUT = {"columns": COLUMNS, "kinds": KINDS, "unit": "s"}


def read_stories(path: Path) -> dict[str, list[str]]:
    """Read the text: `# name` opens a story, every other line is a sentence.

    Raises
    ------
    SpeechError
        If a sentence comes twice, stands before the first name, or holds what has no single reading.
    """
    stories: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), start=1):
        line = line.strip()
        if heading := re.fullmatch(r"# ([a-z]+)", line):
            stories[heading[1]] = []
        elif line and not line.startswith("#"):
            if not stories:
                raise SpeechError(f"{path} line {number}: a sentence before the first '# name'; name the story first")
            if not re.fullmatch(r"[A-Za-z',. ]+", line):
                raise SpeechError(f"{path} line {number}: only letters, ' , . and spaces; write numbers as words")
            if line in seen:
                raise SpeechError(f"{path} line {number}: the sentence of line {seen[line]} again; change one")
            seen[line] = number
            list(stories.values())[-1].append(line)
    return stories


def speak_story(
    synthesiser: Flite, sentences: list[str], voice: str, seed: int
) -> tuple[np.ndarray, int, pd.DataFrame]:
    """Speak the sentences in a row.

    Returns
    -------
    audio
        float64 [samples] at root mean square `LEVEL`.
    rate
        Samples a second.
    timings
        Columns onset, duration (s), kind, label; sorted by onset.
    """
    pieces: list[np.ndarray] = []
    rows: list[tuple[float, float, str, str]] = []
    at = rate = 0
    for number, sentence in enumerate(sentences):
        spoken = synthesiser.speak(sentence, voice, seed=1000 * seed + number)
        rate, begin = spoken.rate, at / spoken.rate
        first, last = spoken.phones[0][0], spoken.phones[-1][1]
        rows.append((begin + first, last - first, "sentence", sentence))
        rows += [(begin + start, end - start, "word", word) for start, end, word in spoken.words]
        rows += [(begin + start, end - start, "phone", phone) for start, end, phone in spoken.phones]
        pieces += [spoken.audio / 32768.0, np.zeros(round(PAUSE * rate))]
        at += len(pieces[-2]) + len(pieces[-1])
    audio = np.concatenate(pieces)
    timings = pd.DataFrame([dict(zip(COLUMNS, row)) for row in rows])
    order = {kind: i for i, kind in enumerate(KINDS)}
    timings = timings.sort_values(["onset", "kind"], key=lambda c: c.map(order) if c.name == "kind" else c.round(6))
    return audio * LEVEL / np.sqrt(np.mean(audio**2)), rate, timings.reset_index(drop=True)


def write_ogg(path: Path, audio: np.ndarray, rate: int) -> None:
    """Write mono OGG Vorbis in small pieces."""
    import soundfile

    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(temporary, "w", samplerate=rate, channels=1, format="OGG", subtype="VORBIS") as file,
    ):
        for start in range(0, len(audio), CHUNK):
            file.write(audio[start : start + CHUNK])


def make_speech(out: Path, text: Path | None = None) -> Path:
    """Write the speech folder; `text` is `datasets/speech/stories.txt` when not given."""
    text = text or resource_folder("datasets") / "speech" / "stories.txt"
    out.mkdir(parents=True, exist_ok=True)
    synthesiser = Flite(VOICES)
    card: dict[str, dict] = {}
    for number, (name, sentences) in enumerate(read_stories(text).items()):
        voice = VOICES[number % len(VOICES)]
        audio, rate, timings = speak_story(synthesiser, sentences, voice, seed=number)
        write_ogg(out / f"{name}.ogg", audio, rate)
        with atomic_path(out / f"{name}.tsv") as temporary:
            timings.to_csv(temporary, sep="\t", index=False, float_format="%.5f")
        counts = timings["kind"].value_counts()
        card[name] = {
            "voice": voice,
            "rate": rate,
            "samples": len(audio),
            "seconds": round(len(audio) / rate, 5),
            **{f"{kind}s": int(counts[kind]) for kind in KINDS},
            "sha256": {e: sha256_of_file(out / f"{name}.{e}") for e in ("ogg", "tsv")},
        }
    write_json(
        out / "speech.json",
        {
            "schema": 1,
            "synthesiser": "flite 2.2 (Debian libflite1)",
            "licence": "text CC0-1.0; voices: see README.md",
            "layout": LAYOUT,
            "stories": card,
        },
    )
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--text", type=Path, help="stories.txt to speak instead of the embedded one")
    arguments = parser.parse_args()
    print(make_speech(arguments.out, arguments.text))


if __name__ == "__main__":
    main()
