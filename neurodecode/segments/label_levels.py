"""Labels below the word: what each word's values are at every level, and their numbers in one fold.

    table = word_levels(LevelSettings(parts=("initial", "tone")), ["嘴巴", "是"])
    table.names                     # ("initial 1", "initial 2", "tone 1", "tone 2")
    table.values["是"]              # ("sh", "n/a", "4", "n/a")
    levels = number_levels(table, index.fold("fold-0"))

All windows of a word share its values, so nothing is added to the windows: a fold's FoldLevels says them of the word's number.
A level's values are numbered by the training windows alone. What a word lacks (a second syllable) is a value of its own, n/a,
as in BIDS tables: so each word has a value at every level, and scores of long and short words are sums of as many terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config.levels import LevelSettings
from neurodecode.errors import SettingsError
from neurodecode.stimuli.pinyin import parts

if TYPE_CHECKING:
    from neurodecode.segments.labels import LabelIndex

ABSENT = "n/a"  # a value: the word has no such syllable
ZERO = "∅"  # the initial of a syllable that begins with its vowel
UNKNOWN = -1  # number of a value that no training window has


@dataclass(frozen=True)
class WordLevels:
    """Values of words.

    Attributes
    ----------
    names
        Of the levels.
    values
        Word -> its value at each level.
    """

    names: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class FoldLevels:
    """Values and their numbers in one fold.

    Attributes
    ----------
    names, values
        As in WordLevels; of all words of the cohort.
    vocabularies
        Of each level: the values of training windows, in the order of their numbers.
    candidates
        Words that can be answered, in the order of their numbers: those of the fold, then, where words are composed, those
        that are held out.
    """

    names: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    vocabularies: tuple[tuple[str, ...], ...]
    candidates: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Values of each level."""
        return [len(vocabulary) for vocabulary in self.vocabularies]

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Numbers of words' values, [words, levels]; -1 for one that no training window has."""
        places = [{value: k for k, value in enumerate(vocabulary)} for vocabulary in self.vocabularies]
        rows = [
            [place.get(value, UNKNOWN) for place, value in zip(places, self.values.get(word, ()))] for word in words
        ]
        empty = [UNKNOWN] * len(places)  # a word of a given vocabulary that the cohort lacks
        return np.array([row or empty for row in rows], np.int64).reshape(len(words), len(places))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "levels": {name: list(vocabulary) for name, vocabulary in zip(self.names, self.vocabularies)},
            "candidates": list(self.candidates),
            "words": {word: list(values) for word, values in self.values.items()},
        }

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> FoldLevels:
        """What `plain` gave."""
        return cls(
            tuple(content["levels"]),
            {word: tuple(values) for word, values in content["words"].items()},
            tuple(tuple(vocabulary) for vocabulary in content["levels"].values()),
            tuple(content["candidates"]),
        )


def word_levels(settings: LevelSettings, words: Sequence[str]) -> WordLevels:
    """Values of words, from their syllables or from a table.

    Raises
    ------
    SettingsError
        If the table cannot be used, or lacks a word.
    StimulusError
        If pypinyin is not installed, or a word is not of Chinese characters.
    """
    if settings.table is not None:
        return _of_table(settings.table, settings.columns, words)
    read = {part: parts(words, part) for part in settings.parts}
    places = range(max((len(found) for found in read[settings.parts[0]].values()), default=0))
    names = [f"{part} {place + 1}" if len(places) > 1 else part for part in settings.parts for place in places]
    values = {word: tuple(_value(read[part][word], place) for part in read for place in places) for word in words}
    return WordLevels(tuple(names), values)


def _value(found: Sequence[str], place: int) -> str:
    return ABSENT if place >= len(found) else found[place] or ZERO


def _of_table(path: Path, columns: Sequence[str], words: Sequence[str]) -> WordLevels:
    header, rows = _read(path)
    names = list(columns) or [name for name in header if name != "word"]
    missing = [name for name in ["word", *names] if name not in header]
    if missing or not names:
        raise SettingsError(
            f"levels.table: {path}: no column {missing[0] if missing else 'beside word'}; there are "
            f"{', '.join(header)} (separated by tabs)"
        )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["word"] in found:
            raise SettingsError(f"levels.table: {path}: the word {row['word']} has more than one row")
        found[row["word"]] = row
    for word in words:
        if word not in found:
            raise SettingsError(f"levels.table: {path}: no row for the word {word}; add one")
        empty = [name for name in names if not found[word][name]]
        if empty:
            raise SettingsError(
                f"levels.table: {path}: the word {word} has no {empty[0]}; write {ABSENT} if there is none"
            )
    return WordLevels(tuple(names), {word: tuple(found[word][name] for name in names) for word in words})


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a TSV, without blanks around cells."""
    if not path.is_file():
        raise SettingsError(f"levels.table: {path}: no such file; give a TSV with a column word and one a level")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"levels.table: {path}: is not UTF-8; save it so") from None
    lines = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines()]
    header = lines[0] if lines else []
    for number, cells in enumerate(lines, start=1):
        if any(cells) and len(cells) != len(header):
            raise SettingsError(
                f"levels.table: {path}: line {number} has {len(cells)} cells, the header has {len(header)}"
            )
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise SettingsError(f"levels.table: {path}: two columns are called {twice[0] or 'nothing'}")
    return header, [dict(zip(header, cells)) for cells in lines[1:] if any(cells)]


def weights_of(settings: LevelSettings, names: Sequence[str]) -> list[float]:
    """Weight of the loss of each level; that of a part holds for all its places.

    Raises
    ------
    SettingsError
        If a weight names no level, or all are 0.
    """

    def part(name: str) -> str:
        return name.rsplit(" ", 1)[0] if settings.parts else name

    strange = sorted(set(settings.weights) - {"word", *map(part, names)})
    if strange:
        raise SettingsError(
            f"levels.weights: {strange[0]} is no level; there are {', '.join(dict.fromkeys(map(part, names)))}"
        )
    weights = [settings.weights.get(part(name), 1.0) for name in names]
    own = 0.0 if settings.word == "compose" else settings.weights.get("word", 1.0)
    if not sum(weights) + own:
        raise SettingsError("levels.weights: all are 0, so nothing would be learnt")
    return weights


def number_levels(table: WordLevels, fold: LabelIndex, compose: bool = False) -> FoldLevels:
    """Numbers of values in a fold, from its training windows.

    Parameters
    ----------
    table
        Of all words of the cohort.
    fold
        A chosen fold.
    compose
        Whether words are composed of their values: then held-out words can be answered, too.

    Raises
    ------
    SettingsError
        If all training windows have the same value of a level; or, where words are composed, if two words have the same
        values, or a held-out word has one that no training window has.
    """
    known = sorted(set(fold.table["label"].iloc[fold.rows("train")]))
    vocabularies = tuple(tuple(sorted({table.values[word][k] for word in known})) for k in range(len(table.names)))
    for name, vocabulary in zip(table.names, vocabularies):
        if len(vocabulary) < 2:
            raise SettingsError(
                f"levels: {name} is {vocabulary[0]} in all training windows of {fold.fold_name}, so there is nothing to tell "
                "apart; leave it out"
            )
    held = [word for word in fold.labels.split.held_out if word not in fold.vocabulary] if compose else []
    levels = FoldLevels(table.names, table.values, vocabularies, (*fold.vocabulary, *held))
    if compose:
        _refuse_what_cannot_be_composed(levels, fold)
    return levels


def _refuse_what_cannot_be_composed(levels: FoldLevels, fold: LabelIndex) -> None:
    first: dict[tuple[str, ...], str] = {}
    for word in levels.candidates:
        values = levels.values.get(word)
        if values is not None and first.setdefault(values, word) != word:
            raise SettingsError(
                f"levels.word: compose cannot tell {first[values]} and {word} apart, whose values are the same: "
                f"{', '.join(values)}; add a level, or set word to head"
            )
    for word in fold.labels.split.held_out:
        for name, value, number in zip(levels.names, levels.values[word], levels.numbers([word])[0]):
            if number == UNKNOWN:
                raise SettingsError(
                    f"levels.word: compose cannot score the held-out word {word}: no training window of {fold.fold_name} "
                    f"has {name} {value}; hold out other words, or set word to head"
                )
