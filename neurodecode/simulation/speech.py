"""The speech that a simulated cohort hears: audio files with timing tables, in the layout of `datasets/speech`.

In: a folder with `<name>.<ogg|wav|flac>` and `<name>.tsv` (onset, duration in s from the start of the audio; kind
sentence, word or phone; label). Out: `Speech` objects, and the acoustic envelope at any instant.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import oaconvolve

from neurodecode.errors import NeurodecodeError
from neurodecode.files import read_json, sha256_of_file
from neurodecode.resources import resource_folder

AUDIO_ENDINGS = (".ogg", ".wav", ".flac")
KINDS = ("sentence", "word", "phone")
SMOOTHING = 0.02  # s, length of the Hann window over the squared audio: faster than any planted response


class SpeechError(NeurodecodeError):
    """The speech cannot be made or read."""


@dataclass(frozen=True, eq=False)
class Speech:
    """One audio file and what is said in it.

    Attributes
    ----------
    name
        Stem of the files.
    path
        Audio file.
    seconds
        Length of the audio, s.
    timings
        Columns onset, duration (s), kind, label; sorted by onset.
    """

    name: str
    path: Path
    seconds: float
    timings: pd.DataFrame

    @property
    def table(self) -> Path:
        """The timing table."""
        return self.path.with_suffix(".tsv")

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the audio file."""
        return sha256_of_file(self.path)

    def events(self, kind: str) -> pd.DataFrame:
        """Rows of one kind."""
        return self.timings[self.timings["kind"] == kind].reset_index(drop=True)

    @functools.cached_property
    def _power(self) -> tuple[np.ndarray, int]:
        import soundfile

        audio, rate = soundfile.read(self.path, always_2d=True)
        window = np.hanning(round(SMOOTHING * rate) | 1)
        power = oaconvolve(audio.mean(axis=1) ** 2, window / window.sum(), mode="same")
        return np.maximum(power, 0.0), rate

    def envelope(self, times: np.ndarray) -> np.ndarray:
        """Root mean square of the audio around `times` (s from its start), 0 outside of it."""
        power, rate = self._power
        return np.sqrt(np.interp(times, np.arange(len(power)) / rate, power, left=0.0, right=0.0))


def read_timings(path: Path, seconds: float) -> pd.DataFrame:
    """Read a timing table and check it against the length of its audio.

    Raises
    ------
    SpeechError
        If a column is missing, a time is not a number, or a label lies outside the audio.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [c for c in ("onset", "duration", "kind", "label") if c not in table]
    if missing:
        raise SpeechError(f"{path}: no column {missing[0]}; it needs onset, duration, kind and label")
    for column in ("onset", "duration"):
        values = pd.to_numeric(table[column], errors="coerce")
        if bad := list(np.flatnonzero(~np.isfinite(values))):
            raise SpeechError(f"{path} row {bad[0] + 2}: {column} is {table[column][bad[0]]!r}; give seconds")
        table[column] = values.astype(float)
    outside = (table["onset"] < 0) | (table["duration"] < 0) | (table["onset"] + table["duration"] > seconds + 1e-4)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise SpeechError(
            f"{path} row {row + 2}: {table['onset'][row]:.3f} s + {table['duration'][row]:.3f} s lies outside the "
            f"audio of {seconds:.3f} s; correct the times"
        )
    table["order"] = table["kind"].map({kind: i for i, kind in enumerate(KINDS)}).fillna(len(KINDS))
    return table.sort_values(["onset", "order"], kind="stable").drop(columns="order").reset_index(drop=True)


def load_speech(folder: Path | None, stories: int | None) -> list[Speech]:
    """Load a speech folder (the embedded one for None), or its first `stories` files.

    The order is that of `speech.json` where there is one, else by name; never that of the file system.

    Raises
    ------
    SpeechError
        If the folder holds no audio with a timing table, or fewer than `stories`.
    """
    import soundfile

    folder = folder or resource_folder("datasets") / "speech"
    if not folder.is_dir():
        raise SpeechError(f"{folder}: no such folder; give one that holds audio files, each with a .tsv of timings")
    found = {p.stem: p for ending in AUDIO_ENDINGS for p in sorted(folder.glob(f"*{ending}"))}
    found = {name: path for name, path in found.items() if path.with_suffix(".tsv").is_file()}
    order = list(read_json(folder / "speech.json")["stories"]) if (folder / "speech.json").is_file() else []
    names = [name for name in order if name in found] + sorted(set(found) - set(order))
    if not names:
        raise SpeechError(f"{folder}: no {'/'.join(AUDIO_ENDINGS)} file with a .tsv of the same name beside it")
    if stories and stories > len(names):
        raise SpeechError(f"stories: {stories} asked, {folder} holds {len(names)}; ask for at most so many")
    speech = []
    for name in names[:stories]:
        info = soundfile.info(found[name])
        seconds = info.frames / info.samplerate
        speech.append(Speech(name, found[name], seconds, read_timings(found[name].with_suffix(".tsv"), seconds)))
    return speech
