"""Adapter of datasets/broderick2019.yaml: 19 listeners, 128-channel EEG, 20 runs of The Old Man and the Sea.

In: `Natural Speech/EEG/Subject1/Subject1_Run1.mat` (`eegData` [samples, 128], `mastoids` [samples, 2], `fs`), and for each
run `private/audio1.wav`, `private/align1.json` (words and phones as Gentle aligned them) and `private/oldman_run1.txt`. Out:
one Recording a run, whose audio begins with its first sample.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.events import audio_seconds
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.speech import (
    Row,
    belong_by_time,
    cohort_notes,
    inside,
    listed,
    load_mat,
    option,
    positive,
    refuse_unknown_options,
    sentence_rows,
    stimulus_rows,
    study_folder,
)
from neurodecode.recordings.tables import read_sidecar, read_text

EEG = Path("Natural Speech") / "EEG"
FILE = re.compile(r"^Subject(\d+)_Run(\d+)\.mat$")
SUBJECTS, RUNS = 19, 20
ELECTRODES = 128
MICROVOLT = 1e-6
MASTOIDS = ("M1", "M2")
FEWEST = 450  # words of a run that must be found in its transcript (as published)
DOUBTFUL = {"15": "words and sound are known to part near 170 s of this run"}
# a sentence ends at . ! or ? (and closing quotes) before white space and a capital or an opening quote; or a paragraph does
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’]*\s+(?=[\"'“‘]?[A-Z0-9])|\n\s*\n")
WORD = re.compile(r"\w+(?:['’]\w+)*")


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a run of a listener; runs that are not there are named in a note.

    Raises
    ------
    RecordingError
        If there is no recording, or no folder of audio and alignments.
    """
    refuse_unknown_options(card, ("mastoids", "fewest_words"))
    mastoids = option(card, "mastoids", "misc", ("misc", "eeg"))
    fewest = int(positive(card, "fewest_words", FEWEST))
    root = study_folder(card, "Natural Speech")
    if not (root / "private").is_dir():
        raise RecordingError(
            f"{root / 'private'}: missing; audio, alignments and transcripts belong there (private.zip)"
        )
    found = {}
    for path in (root / EEG).glob("Subject*/Subject*_Run*.mat"):
        match = FILE.match(path.name)
        if match:
            found[int(match.group(1)), int(match.group(2))] = path
    if not found:
        raise RecordingError(f"{root / EEG}: no Subject1/Subject1_Run1.mat or others there; {card.how_to_get}")
    absent = [f"Subject{s}_Run{r}" for s in range(1, SUBJECTS + 1) for r in range(1, RUNS + 1) if (s, r) not in found]
    said = f"{len(absent)} of {SUBJECTS * RUNS} runs are not there: {listed(absent)}"
    sources = []
    for number, ((subject, run), path) in enumerate(sorted(found.items())):
        options: tuple[tuple[str, object], ...] = (("mastoids", mastoids), ("fewest_words", fewest))
        sources.append(
            RecordingSource(
                path,
                "broderick2019",
                subject=f"{subject:02d}",
                task="oldman",
                run=f"{run:02d}",
                root=root,
                line_frequency=card.line_frequency,
                options=options + ((("absent", said),) if absent and number == 0 else ()),
            )
        )
    return sources


def open_recording(source: RecordingSource) -> Recording:
    """Read one run.

    Raises
    ------
    RecordingError
        If a file is missing or not laid out as described above, or too few aligned words stand in the transcript.
    """
    root = source.root or source.path.parents[3]
    options = dict(source.options)
    run = int(source.run)
    audio = root / "private" / f"audio{run}.wav"
    aligned = root / "private" / f"align{run}.json"
    transcript = root / "private" / f"oldman_run{run}.txt"
    for path in (audio, aligned, transcript):
        refuse_pointer(path)
        if not path.is_file():
            raise RecordingError(f"{path}: missing; run {run} cannot be read without it (private.zip holds it)")
    raw, seconds, notes = _signal(source.path, str(options.get("mastoids", "misc")))
    notes = cohort_notes(source) + notes
    if source.run in DOUBTFUL:
        notes.append(Note(aligned.name, DOUBTFUL[source.run], "read as it is", "warning"))

    name = f"oldman-{source.run}"
    heard, stimuli = stimulus_rows([(name, audio, 0.0, 0.0)], seconds)
    speech, more = _alignment(aligned)
    notes += more
    words = [row for row in speech if row["kind"] == "word"]
    texts, more = _place_in_sentences(words, name, transcript, aligned, int(str(options.get("fewest_words", FEWEST))))
    notes += more
    # every word of the run, whatever the recording holds of it: its sentences are those of all listeners
    sentences, joined = sentence_rows([{**word, "stimulus": name} for word in words], texts)
    sentences = [row for row in sentences if row["stimulus_onset"] < audio_seconds(audio)]
    speech, more = inside(speech, seconds, aligned.name)
    notes += more + belong_by_time(speech, heard, aligned.name)
    if joined:
        said = f"the first word of {joined} sentences has no time"
        notes.append(Note(aligned.name, said, "joined to the sentence before"))
    return Recording(
        raw,
        events_table([*heard, *sentences, *speech]),
        subject=source.subject,
        task=source.task,
        run=source.run,
        stimuli=stimuli,
        notes=notes,
        files=[source.path, aligned, transcript],
        line_frequency=source.line_frequency,
    )


def _signal(path: Path, mastoids: str) -> tuple[Any, float, list[Note]]:
    """MNE Raw of 128 electrodes and two mastoids, its length in s, and what had to be taken on trust."""
    import mne

    values = load_mat(path, "eegData", "mastoids", "fs")
    eeg, mast = np.asarray(values["eegData"], float), np.asarray(values["mastoids"], float)
    fs = np.ravel(np.asarray(values["fs"], float))
    if eeg.ndim != 2 or eeg.shape[1] != ELECTRODES or mast.shape != (len(eeg), 2):
        raise RecordingError(
            f"{path}: eegData is {eeg.shape} and mastoids {mast.shape}, not [samples, 128] and [samples, 2]; get it again"
        )
    if len(fs) != 1 or not fs[0] > 0:
        raise RecordingError(f"{path}: fs is {fs.tolist()}, it must be one rate in Hz; get it again")
    montage = mne.channels.make_standard_montage("biosemi128")
    info = mne.create_info([*montage.ch_names, *MASTOIDS], float(fs[0]), ["eeg"] * ELECTRODES + [mastoids] * 2)
    # samples first in the file, channels first here
    raw = mne.io.RawArray(np.concatenate([eeg, mast], axis=1).T * MICROVOLT, info, verbose="error")
    raw.set_montage(montage, on_missing="ignore", verbose="error")
    spread = float(np.median(eeg.std(axis=0)))
    notes = [
        Note(path.name, f"no unit stated; the median channel has a deviation of {spread:.3g}", "read as uV"),
        Note(path.name, "no channel names stated; 128 channels", "BioSemi-128 order, as the published system has it"),
    ]
    return raw, len(eeg) / float(fs[0]), notes


def _alignment(path: Path) -> tuple[list[Row], list[Note]]:
    """Words and phones of a Gentle alignment; s from the start of the audio, which is that of the recording."""
    words = read_sidecar(path).get("words")
    if not isinstance(words, list):
        raise RecordingError(f"{path}: holds no list called words; it is no alignment of Gentle")
    rows: list[Row] = []
    failed, negative = 0, 0
    for word in words:
        if word.get("case") != "success":
            failed += 1
            continue
        try:
            begin, end = float(word["start"]), float(word["end"])
            phones = [(str(p["phone"]), float(p["duration"])) for p in word.get("phones", [])]
            label = str(word["word"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{path}: a word without word, start, end or phones: {str(word)[:80]}") from error
        negative += end < begin
        unknown = word.get("alignedWord") == "<unk>"
        rows.append(
            {
                "onset": begin,
                "duration": end - begin if end >= begin else np.nan,
                "kind": "word",
                "label": label,
                "stimulus_onset": begin,
                "out_of_vocabulary": float(unknown),
            }
        )
        for name, duration in phones:
            phone, _, position = name.partition("_")
            rows.append(
                {
                    "onset": begin,
                    "duration": duration,
                    "kind": "phone",
                    "label": phone,
                    "stimulus_onset": begin,
                    "position": position,
                }
            )
            begin += duration
    if not rows:
        raise RecordingError(f"{path}: {len(words)} words, none was aligned (case success); get it again")
    notes = []
    if failed:
        notes.append(Note(path.name, f"{failed} of {len(words)} words were not aligned", "left out", "warning"))
    if negative:
        notes.append(Note(path.name, f"{negative} words end before they begin", "their duration is unknown", "warning"))
    return sorted(rows, key=lambda row: row["onset"]), notes


def sentences_of(text: str) -> list[str]:
    """Sentences of a transcript, each on one line. A rule of our own: the published system asked spaCy."""
    parts = (" ".join(part.split()) for part in SENTENCE_END.split(text))
    return [part for part in parts if WORD.search(part)]


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")


def _place_in_sentences(
    words: list[Row], name: str, transcript: Path, aligned: Path, fewest: int
) -> tuple[dict[tuple[str, float], str], list[Note]]:
    """Give each word its sentence and its place in it, in place; returns the texts by stimulus and number.

    Aligned words and words of the transcript are matched in order. A word that finds no match stands in the sentence of the
    word before it, at no known place (NaN).
    """
    texts = sentences_of(read_text(transcript))
    places = [(n, i, _plain(w)) for n, text in enumerate(texts) for i, w in enumerate(WORD.findall(text))]
    matcher = SequenceMatcher(None, [_plain(row["label"]) for row in words], [p[2] for p in places], autojunk=False)
    matched = {a + k: places[b + k] for a, b, size in matcher.get_matching_blocks() for k in range(size)}
    if len(matched) < max(fewest, 1):
        raise RecordingError(
            f"{transcript}: {len(matched)} of {len(words)} words of {aligned.name} stand in it, at least {max(fewest, 1)} "
            "must; it is the text of another run, or lower options.fewest_words"
        )
    sentence = min(place[0] for place in matched.values())
    for number, row in enumerate(words):
        found = matched.get(number)
        sentence = found[0] if found else sentence
        row |= {"sequence_id": float(sentence), "word_index": float(found[1]) if found else np.nan}
    lost = len(words) - len(matched)
    said = f"{lost} of {len(words)} words do not stand in {transcript.name}"
    notes = [Note(aligned.name, said, "they join the sentence of the word before", "warning")] if lost else []
    return {(name, float(number)): text for number, text in enumerate(texts)}, notes
