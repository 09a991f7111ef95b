"""The planted effect of word frequency: rare words are answered more strongly than frequent ones.

In: the stories of a cohort and a strength. Out: the size of what each word evokes, and of each phone by the word it is in.
Off unless `lexical` is set. It is there to show that the analysis of what success goes with (docs/evaluation.md) finds a
relation that is in the recordings, and none where none is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from neurodecode.simulation.speech import Speech

GRACE = 1e-4  # s: times are rounded


def word_sizes(stories: Sequence[Speech], strength: float) -> dict[str, float]:
    """Size of what each word evokes: 1 + strength x rarity, at least 0.

    Rarity is minus the logarithm of a word's share of all words of the stories, standardised over these words as they are
    spoken, so that sizes are 1 on average (a little more where some would be below 0).

    Returns
    -------
    dict
        Word in lower case -> size; empty for strength 0 and when all words are equally frequent.
    """
    counts = Counter(label.casefold() for speech in stories for label in speech.events("word")["label"])
    if not strength or len(set(counts.values())) < 2:
        return {}
    times = np.array(list(counts.values()), float)
    rarity = -np.log(times / times.sum())
    middle = np.average(rarity, weights=times)
    spread = np.sqrt(np.average((rarity - middle) ** 2, weights=times))
    return {word: max(0.0, 1 + strength * float(r - middle) / float(spread)) for word, r in zip(counts, rarity)}


def phone_sizes(speech: Speech, sizes: Mapping[str, float]) -> np.ndarray:
    """Size [phones] of each phone of a story: that of the word in which it begins; 1 outside of words and without sizes."""
    phones, words = speech.events("phone"), speech.events("word")
    found = np.ones(len(phones))
    if not sizes or not len(words):
        return found
    onsets = phones["onset"].to_numpy()
    begins = words["onset"].to_numpy()
    ends = begins + words["duration"].to_numpy()
    word = np.searchsorted(begins, onsets + GRACE) - 1
    inside = (word >= 0) & (onsets < ends[word] - GRACE)
    each = np.array([sizes.get(label.casefold(), 1.0) for label in words["label"]])
    found[inside] = each[word[inside]]
    return found
