"""What a segment says, as numbers: phones, word frequency, part of speech, embeddings, bags of words.

In: the candidates of an evaluation, the store they come from, and perhaps a table of features of words. Out: for each
feature set a matrix [segments, columns]. Nothing is downloaded: word frequencies (package wordfreq) and possible parts of
speech (package lemminflect, English) come with the packages of the extra `linguistics`; anything else from a table.

The table is TSV with a column `word` and features beside it. Columns `glove.0`, `glove.1` make one set `glove`; a column of
text is turned into one column a value::

    word      concreteness  class     glove.0  glove.1
    house     4.9           noun      0.21     -0.4
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.speech.words import plain_word
from neurodecode.files import sha256_of_file
from neurodecode.store.store import Store

SILENCES = {"", "sil", "sp", "spn", "pau", "h#", "<p>", "_"}
RARE = 2  # a word or phone that stands in fewer segments gets no column: nothing could be learnt about it
PER_BILLION = 9.0  # Zipf scale: log10 of occurrences a billion words
Speech = dict[str, dict[str, tuple[np.ndarray, list[str]]]]


@dataclass(frozen=True)
class FeatureSet:
    """One kind of description.

    Attributes
    ----------
    values
        float [segments, columns].
    source
        Where the numbers come from.
    covered
        Share of the segments that have any word or phone known to it.
    """

    values: np.ndarray
    source: str
    covered: float


def installed(package: str) -> bool:
    """Whether an optional package is there."""
    return importlib.util.find_spec(package) is not None


def speech_of(store: Store, stimuli: Sequence[str]) -> Speech:
    """Onsets (s in the stimulus) and labels of the words and phones of each stimulus, from the recording that has most."""
    found: Speech = {}
    for recording in store.recordings:
        events = recording.events
        rows = events[events["kind"].isin(["word", "phone"]) & events["stimulus_onset"].notna()]
        for (stimulus, kind), part in rows.groupby(["stimulus", "kind"]):
            if stimulus not in stimuli:
                continue
            part = part.sort_values("stimulus_onset", kind="stable").drop_duplicates(["stimulus_onset", "label"])
            known = found.setdefault(str(stimulus), {})
            if len(part) > len(known.get(str(kind), ((), []))[1]):
                known[str(kind)] = part["stimulus_onset"].to_numpy(float), part["label"].astype(str).tolist()
    return found


def inside(speech: Speech, candidates: pd.DataFrame, kind: str, seconds: float) -> list[list[str]]:
    """Labels of one kind that begin inside each window of `seconds`."""
    result = []
    for stimulus, begin in zip(candidates["stimulus"].astype(str), candidates["time"].astype(float)):
        onsets, labels = speech.get(stimulus, {}).get(kind, (np.zeros(0), []))
        first, last = np.searchsorted(onsets, [begin - 1e-6, begin + seconds - 1e-6])
        result.append(labels[first:last])
    return result


def feature_sets(
    store: Store,
    candidates: pd.DataFrame,
    seconds: float,
    *,
    at_words: bool,
    language: str | None = None,
    table: Path | None = None,
) -> dict[str, FeatureSet]:
    """Feature sets of the segments.

    Parameters
    ----------
    candidates
        One row a segment: `stimulus`, `time`, `word`.
    seconds
        Length of the window after the shift is cut.
    at_words
        Frequency, part of speech and table describe the word at the anchor; otherwise they are means over the words in
        the window.
    language
        Of the speech, for the packages; None: what the store says. Where that is nothing, frequencies are counted in the
        stimuli and there are no parts of speech.
    table
        TSV of features of words.

    Raises
    ------
    NeurodecodeError
        If the stimuli have no words, the table is not as above, or the store says that the speech is of another language.
    """
    language = _language_of(store, language)
    speech = speech_of(store, candidates["stimulus"].astype(str).unique().tolist())
    heard = [[w for w in map(plain_word, labels) if w] for labels in inside(speech, candidates, "word", seconds)]
    phones = [
        [p for p in (label.strip().lower() for label in labels) if p not in SILENCES]
        for labels in inside(speech, candidates, "phone", seconds)
    ]
    if not any(heard):
        raise NeurodecodeError(
            f"{store.path}: its stimuli have no word events, so there is nothing to describe segments by; add word timings"
        )
    focus = [[w] if w else [] for w in map(plain_word, candidates["word"].astype(str))] if at_words else heard
    sets: dict[str, FeatureSet] = {}
    amount = np.array([[len(w), len(p)] for w, p in zip(heard, phones)], float)
    sets["amount of speech"] = FeatureSet(amount, "words and phones that begin in the window", 1.0)
    if any(phones):
        sets["phones"] = _bag(phones, "phone events in the window")
    letters = _mean(focus, lambda w: np.array([float(len(w))]))
    sets["word length"] = FeatureSet(letters[0], "letters", letters[1])
    sets["word frequency"] = _frequency(focus, speech, language)
    if language == "en" and installed("lemminflect"):
        sets["part of speech"] = _part_of_speech(focus)
    if table is not None:
        sets |= _from_table(table, focus, heard if at_words else None)
    sets["bag of words"] = _bag(heard, "word events in the window")
    return sets


def _language_of(store: Store, asked: str | None) -> str:
    """Language of the speech, asked for or stored; empty when nobody says it."""
    known = sorted({recording.language for recording in store.recordings} - {""})
    if asked is not None and known and asked not in known:
        raise NeurodecodeError(
            f"--language {asked}: the store says that its speech is {', '.join(known)}; leave the option out, or mend "
            "`language` of the cohort's card and run preprocess again"
        )
    if asked is None and len(known) > 1:
        raise NeurodecodeError(f"{store.path}: its speech is {', '.join(known)}; say with --language which to look at")
    return asked or "".join(known)


def _bag(labels: list[list[str]], source: str) -> FeatureSet:
    """Counts [segments, distinct labels] of labels that stand in RARE segments or more."""
    spread = Counter(label for one in labels for label in set(one))
    known = sorted(label for label, n in spread.items() if n >= RARE)
    column = {label: i for i, label in enumerate(known)}
    values = np.zeros((len(labels), len(known)))
    for row, one in enumerate(labels):
        for label in one:
            if label in column:
                values[row, column[label]] += 1
    return FeatureSet(values, f"{source}, {len(known)} kinds", float((values > 0).any(axis=1).mean()))


def _mean(words: list[list[str]], value: Callable[[str], np.ndarray | None]) -> tuple[np.ndarray, float]:
    """Mean of a value over each segment's known words; segments without any get the mean of the others."""
    cache: dict[str, np.ndarray | None] = {}
    rows: list[np.ndarray | None] = []
    for one in words:
        for word in one:
            if word not in cache:
                cache[word] = value(word)
        found = [v for v in (cache[word] for word in one) if v is not None]
        rows.append(np.mean(found, axis=0) if found else None)
    present = [row for row in rows if row is not None]
    if not present:
        return np.zeros((len(words), 1)), 0.0
    middle = np.mean(present, axis=0)
    return np.stack([middle if row is None else row for row in rows]), len(present) / len(rows)


def _frequency(focus: list[list[str]], speech: Speech, language: str) -> FeatureSet:
    """Zipf frequency from wordfreq, or from the words of these stimuli when it is not installed."""
    if language and installed("wordfreq"):
        from wordfreq import available_languages, zipf_frequency

        if language not in available_languages():
            raise NeurodecodeError(
                f"--language {language}: wordfreq knows {', '.join(sorted(available_languages()))}; choose one of these"
            )

        def general(word: str) -> np.ndarray | None:
            zipf = zipf_frequency(word, language)
            return np.array([zipf]) if zipf > 0 else None

        return FeatureSet(*_swap(_mean(focus, general), f"Zipf scale, wordfreq, {language}"))
    counts = Counter(
        word for kinds in speech.values() for word in map(plain_word, kinds.get("word", ((), []))[1]) if word
    )
    total = sum(counts.values())

    def here(word: str) -> np.ndarray | None:
        return np.array([np.log10(counts[word] / total) + PER_BILLION]) if counts[word] else None

    better = "pip install neurodecode[linguistics] counts in the language" if language else "--language counts in one"
    source = f"Zipf scale, counted in these stimuli ({better})"
    return FeatureSet(*_swap(_mean(focus, here), source))


def _part_of_speech(focus: list[list[str]]) -> FeatureSet:
    """Which open classes a word can belong to; words of none are function words."""
    from lemminflect import getAllLemmas

    classes = ("NOUN", "VERB", "ADJ", "ADV")

    def possible(word: str) -> np.ndarray:
        tags = getAllLemmas(word)
        return np.array([*(float(tag in tags) for tag in classes), float(not tags)])

    values, covered = _mean(focus, possible)
    return FeatureSet(values, "possible classes out of context, lemminflect", covered)


def _from_table(path: Path, focus: list[list[str]], heard: list[list[str]] | None) -> dict[str, FeatureSet]:
    """Sets of a user's table; for words at anchors also the mean over the window of each set with several columns."""
    table = _read_table(path)
    sets: dict[str, FeatureSet] = {}
    groups: dict[str, list[str]] = {}
    for column in table:
        groups.setdefault(str(column).split(".")[0], []).append(str(column))
    source = f"{path.name}, SHA-256 {sha256_of_file(path)[:12]}"
    for name, columns in groups.items():
        part = table[columns]
        if not all(pd.api.types.is_numeric_dtype(part[c]) for c in columns):
            part = pd.get_dummies(part.astype(str)).astype(float)
        part = part.dropna()
        values = dict(zip(part.index, part.to_numpy(float)))
        sets[name] = FeatureSet(*_swap(_mean(focus, values.get), source))
        if heard is not None and len(columns) > 1:
            sets[f"{name}, phrase"] = FeatureSet(*_swap(_mean(heard, values.get), f"{source}, mean over the window"))
    return sets


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise NeurodecodeError(f"{path}: no such file; give a TSV with a column word and features beside it")
    try:
        table = pd.read_csv(path, sep="\t", encoding="utf-8-sig", dtype={"word": str}, keep_default_na=True, quoting=3)
    except (ValueError, UnicodeDecodeError) as error:
        raise NeurodecodeError(f"{path}: not a TSV in UTF-8 ({' '.join(str(error).split())}); save it as one") from None
    if "word" not in table or len(table.columns) < 2:
        found = ", ".join(map(str, table.columns[:6]))
        raise NeurodecodeError(f"{path}: its columns are {found}; it needs the column word and features beside it")
    table["word"] = table["word"].fillna("").map(plain_word)
    table = table[table["word"] != ""]
    twice = table["word"][table["word"].duplicated()]
    if len(twice):
        raise NeurodecodeError(f"{path}: the word {twice.iloc[0]} stands there twice; keep one row a word")
    return table.set_index("word")


def _swap(found: tuple[np.ndarray, float], source: str) -> tuple[np.ndarray, str, float]:
    return found[0], source, found[1]
