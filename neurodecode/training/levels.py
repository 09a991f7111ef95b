"""A classifier with labels below the word: what it minimises, what is logged, and the file that says what its numbers mean.

RUN/fold-<k>/levels.json   `levels`: level -> values in the order of their numbers; `candidates`: words in the order of theirs;
                           `words`: word -> its values. What a run is scored by, so the table may be moved afterwards.

Logged an epoch: as any classifier, and `valid_accuracy_<level>`. The losses are weighted sums of cross-entropies; the epoch
that is kept is the one with the lowest sum on validation windows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from neurodecode.config import CodebookTrainSettings
from neurodecode.errors import SettingsError
from neurodecode.files import read_json, write_json
from neurodecode.models.codebook.classifier_levels import LevelAnswers, LevelClassifier
from neurodecode.objectives.levels import level_losses
from neurodecode.segments.batches import Batch
from neurodecode.segments.label_levels import FoldLevels, number_levels, weights_of, word_levels
from neurodecode.segments.labels import UNKNOWN, LabelIndex
from neurodecode.training.codebook_task import ClassifyTask, moved

FILE = "levels.json"  # of a fold


def levels_of_folds(settings: CodebookTrainSettings, index: LabelIndex, run: Path) -> dict[str, FoldLevels | None]:
    """Levels of every fold, asked for before the first is trained; None where words are all there is.

    Raises
    ------
    NeurodecodeError
        If words have no values, or levels or weights do not fit (see `segments.label_levels`); or if a fold of the run began
        with other values: the table has changed since.
    """
    wanted = settings.levels
    if wanted is None:
        return dict.fromkeys(index.folds)
    table = word_levels(wanted, index.contents)
    weights_of(wanted, table.names)
    found: dict[str, FoldLevels | None] = {}
    for name in index.folds:
        levels = number_levels(table, index.fold(name), wanted.word == "compose")
        if (run / name / FILE).is_file() and read_levels(run / name) != levels:
            raise SettingsError(
                f"{run / name}: began with other values of words than there are now; give another --out, or delete {run}"
            )
        found[name] = levels
    return found


def write_levels(folder: Path, levels: FoldLevels | None) -> None:
    """Write the levels of a fold, if it has any."""
    if levels is not None:
        write_json(folder / FILE, levels.plain())


def read_levels(folder: Path) -> FoldLevels | None:
    """Levels of a fold; None where it has none."""
    return FoldLevels.from_plain(read_json(folder / FILE)) if (folder / FILE).is_file() else None


def level_sizes(settings: CodebookTrainSettings, levels: FoldLevels | None) -> dict[str, Any]:
    """What the network needs to know of levels, beside the sizes of its stage."""
    if levels is None or settings.levels is None:
        return {}
    composition = levels.numbers(levels.candidates).tolist() if settings.levels.word == "compose" else None
    return {"n_outputs": len(levels.candidates), "levels": levels.sizes, "composition": composition}


def accuracy_columns(levels: FoldLevels | None) -> tuple[str, ...]:
    """What is logged of each level."""
    return () if levels is None else tuple(f"valid_accuracy_{name.replace(' ', '_')}" for name in levels.names)


class LevelsTask(ClassifyTask):
    """Words and the levels below them.

    Parameters
    ----------
    levels
        Of the fold.
    model, settings, n_subjects, furthest
        See `ClassifyTask`.
    """

    def __init__(
        self,
        model: LevelClassifier,
        settings: CodebookTrainSettings,
        n_subjects: int,
        furthest: int,
        levels: FoldLevels,
    ) -> None:
        super().__init__(model, settings, n_subjects, furthest)
        assert settings.levels is not None
        # in lists: no part of what is saved
        self._network = [model]
        self._numbers = [torch.from_numpy(levels.numbers(levels.candidates))]
        self._weights = weights_of(settings.levels, levels.names)
        self._own = settings.levels.weights.get("word", 1.0)
        self._columns = accuracy_columns(levels)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch; shifts as in `ClassifyTask`."""
        signal = batch.signal
        if self.furthest:
            signal = moved(signal, torch.randint(-self.furthest, self.furthest + 1, (len(batch),)))
        answers = self._network[0].answer(signal, self.subject(batch))
        loss = self.loss(answers, batch.identity, self.settings.label_smoothing)
        self.record(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss without smoothing, and accuracies; a word that training lacks is wrong at every level."""
        answers = self._network[0].answer(batch.signal, self.subject(batch))
        known = batch.identity != UNKNOWN
        if known.any():
            mine = LevelAnswers(answers.words[known], [scores[known] for scores in answers.levels])
            loss = self.loss(mine, batch.identity[known])
            self.log("valid_loss", loss, on_step=False, on_epoch=True, batch_size=int(known.sum()))
        targets = torch.where(known[:, None], self.numbers(batch.identity.clamp(min=0)), UNKNOWN)
        right = {"valid_accuracy": answers.words.argmax(1) == batch.identity}
        right |= {
            c: scores.argmax(1) == targets[:, k] for k, (c, scores) in enumerate(zip(self._columns, answers.levels))
        }
        self.record(batch, **{name: hits.float().mean() for name, hits in right.items()})

    def numbers(self, identity: torch.Tensor) -> torch.Tensor:
        """[B] numbers of words -> [B, L] numbers of their values."""
        return self._numbers[0].to(identity.device)[identity]

    def loss(self, answers: LevelAnswers, identity: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Weighted sum of the cross-entropies of words (unless they are composed) and levels."""
        losses = level_losses(answers.levels, self.numbers(identity), label_smoothing)
        total = (losses * losses.new_tensor(self._weights)).sum()
        if self._network[0].composition is not None:
            return total
        words = functional.cross_entropy(answers.words.float(), identity, label_smoothing=label_smoothing)
        return total + self._own * words
