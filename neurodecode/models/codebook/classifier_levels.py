"""Stage 3 with labels below the word: one encoder, a head for words, and a head for each level.

    model = LevelClassifier(n_chans=10, n_outputs=61, n_times=3000, levels=[23, 22])
    model(x, subject)                      # [B, 61], as of any classifier
    words, levels = model.answer(x, subject)   # [B, 61] and [[B, 23], [B, 22]]

With `composition` there is no head for words: a word is scored by the values that it has at each level, also a word that no
training window has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from neurodecode.models.codebook.classifier import CodebookClassifier, read_out


class LevelAnswers(NamedTuple):
    """What the network says of windows."""

    words: torch.Tensor
    """[B, n_outputs]: logits."""
    levels: list[torch.Tensor]
    """Of each level: [B, K_l], logits."""


class LevelClassifier(CodebookClassifier):
    """Words and levels from a window.

    Each head reads all tokens through maps of its own, since an initial and the tone of the next syllable stand at different
    times. The head for words begins with the same weights as without levels.

    Parameters
    ----------
    levels
        Values of each level.
    composition
        [n_outputs, L], integers: the number of each word's value, see `compose`. None: words have a head.
    n_chans, n_outputs, n_times, classifier
        See `CodebookClassifier`.
    """

    def __init__(
        self,
        n_chans: int | Sequence[int],
        n_outputs: int,
        n_times: int,
        *,
        levels: Sequence[int],
        composition: torch.Tensor | None = None,
        **classifier: Any,
    ) -> None:
        super().__init__(n_chans, n_outputs, n_times, **classifier)
        shape = {key: classifier[key] for key in ("hidden", "output", "head_dropout") if key in classifier}
        self.levels = nn.ModuleList(read_out(self.n_tokens * self.encoder.width, size, **shape) for size in levels)
        self.composition: torch.Tensor | None
        self.register_buffer("composition", composition, persistent=False)  # of the words, not of what was learnt
        if composition is not None:
            if composition.shape != (n_outputs, len(levels)):
                raise ValueError(
                    f"composition is {tuple(composition.shape)}, not (words, levels): ({n_outputs}, {len(levels)})"
                )
            self.head = nn.Sequential()

    def answer(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> LevelAnswers:
        """[B, C, T] and [B] (None where there is one subject) -> logits of words and of each level."""
        tokens = self.tokens(x, subject)
        levels = [head(tokens) for head in self.levels]
        words = self.head(tokens) if self.composition is None else compose(levels, self.composition)
        return LevelAnswers(words, levels)

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> [B, n_outputs]."""
        return self.answer(x, subject).words


def compose(logits: Sequence[torch.Tensor], composition: torch.Tensor) -> torch.Tensor:
    """Scores of words: the sum over levels of the log-probability of the word's value.

    That is the log-probability of the word's values if they were independent given the window; over a closed list of words it
    is not normalised, which a softmax over the words does.

    Parameters
    ----------
    logits
        Of each level: [B, K_l].
    composition
        [W, L]: the number of each word's value; -1 for one without a score, whose word is never answered.

    Returns
    -------
    Tensor
        [B, W], at most 0.
    """
    scores = logits[0].new_zeros(len(logits[0]), len(composition), dtype=torch.float32)
    for k, values in enumerate(logits):
        number = composition[:, k]
        score = values.float().log_softmax(1)[:, number.clamp(min=0)]  # [B, W]
        scores = scores + score.masked_fill(number < 0, -torch.inf)
    return scores
