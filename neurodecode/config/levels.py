"""Settings of labels below the word: parts of syllables, or columns of a table, each with a head of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from neurodecode.config.base import Settings


class LevelSettings(Settings):
    """What else a classifier says of each window beside its word; all of it follows from the word.

    Either `parts` or `table` is given.
    """

    parts: tuple[Literal["initial", "final", "tone"], ...] = ()
    """Of the syllables of Mandarin words, a level each place: initial 1, initial 2, ... (extra chinese)."""
    table: Path | None = None
    """TSV with one row a word: a column `word`, and a column a level (first phone, vowel, number of syllables, ...); n/a
    where a word has no such value."""
    columns: tuple[str, ...] = ()
    """table only: columns to take; empty: all."""
    word: Literal["head", "compose"] = "head"
    """head: words have a head of their own beside the levels; compose: a word's score is the sum of the log-probabilities
    of its values, so that words without any training window can be answered."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Of the cross-entropies in the loss: `word` (not with compose), and the name of a part or column, for all of its
    places. What is not named has weight 1."""

    @model_validator(mode="after")
    def _consistent(self) -> LevelSettings:
        if bool(self.parts) == (self.table is not None):
            raise ValueError("give parts (of Mandarin syllables) or table (a TSV with one row a word), one of the two")
        for key, names in (("parts", self.parts), ("columns", self.columns)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key} has {', '.join(twice)} more than once")
        if self.columns and self.table is None:
            raise ValueError("columns belong to table, which is not given")
        if "word" in self.columns:
            raise ValueError("columns has word, which is always answered: leave it out")
        strange = sorted(set(self.weights) - {"word", *self.parts, *self.columns})
        if strange and (self.parts or self.columns):
            raise ValueError(f"weights has {', '.join(strange)}, which is no level here")
        if self.word == "compose" and "word" in self.weights:
            raise ValueError("weights has word, but with word: compose words have no loss of their own: leave it out")
        return self
