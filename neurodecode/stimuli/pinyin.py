"""Mandarin words -> the initials, finals and tones of their syllables, as labels below the word.

    syllables("嘴巴")                      # [Syllable("z", "uei", 3), Syllable("b", "a", 1)]
    parts(["嘴巴", "是"], "tone")          # {"嘴巴": ("3", "1"), "是": ("4",)}

Needs pypinyin (extra `chinese`). Initials and finals are those of the phonetic scheme: 衣 (written yi) has no initial, and
嘴 (zui) ends in uei. The neutral tone is 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from neurodecode.errors import StimulusError

Part = Literal["initial", "final", "tone"]


class Syllable(NamedTuple):
    """One syllable."""

    initial: str
    """Consonant before the vowel; empty where there is none."""
    final: str
    """Vowels and what follows them, without tone; v stands for ü."""
    tone: int
    """1 to 4; 5 is the neutral one."""


def syllables(word: str) -> list[Syllable]:
    """Syllables of a word, one for each character.

    Raises
    ------
    StimulusError
        If pypinyin is not installed, or it knows no reading of a character.
    """
    try:
        from pypinyin import Style, pinyin
    except ImportError:
        raise StimulusError(
            "initials, finals and tones need the package pypinyin; install it with: pip install 'neurodecode[chinese]'"
        ) from None

    def read(style: Style, **options: bool) -> list[str]:
        return [readings[0] for readings in pinyin(word, style=style, errors=lambda _: "", **options)]

    initials, finals = read(Style.INITIALS), read(Style.FINALS)
    toned = read(Style.FINALS_TONE3, neutral_tone_with_five=True)
    if not word or not len(word) == len(initials) == len(finals) == len(toned) or not all(finals):
        raise StimulusError(
            f"{word!r} is no word of Chinese characters that have a reading; label events with such words"
        )
    return [Syllable(i, f, int(t[-1])) for i, f, t in zip(initials, finals, toned)]


def parts(words: Iterable[str], part: Part) -> dict[str, tuple[str, ...]]:
    """One part of all syllables of each word.

    Raises
    ------
    StimulusError
        See `syllables`.
    """
    return {word: tuple(str(getattr(syllable, part)) for syllable in syllables(word)) for word in words}
