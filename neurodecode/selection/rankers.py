"""Four ways to tell which channels carry the labels; each sees only the rows of the training side that it is given.

In: a `TrainingSide`, its features [n, C, d], rows and a seed. Out: `Ranked`, a score a channel. Nothing is kept from one call
to the next, so a ranking on some rows owes nothing to the rows that it is judged on.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from neurodecode.config import CodebookTrainSettings
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import SettingsError
from neurodecode.models.codebook.build import build_classifier
from neurodecode.selection import lda
from neurodecode.selection.features import BATCH, scaled
from neurodecode.selection.windows import TrainingSide
from neurodecode.training.codebook_task import ClassifyTask
from neurodecode.training.data import seed_of
from neurodecode.training.trainer import resolve_accelerator, resolve_precision, train_task


@dataclass(frozen=True)
class Ranked:
    """One ranking.

    Attributes
    ----------
    scores
        [C], higher is better.
    ties
        [C], decides between equal scores.
    groups
        [C] number of each channel's group, or None.
    """

    scores: np.ndarray
    ties: np.ndarray
    groups: np.ndarray | None = None

    def order(self) -> np.ndarray:
        """Channels from best to worst, [C]."""
        return np.lexsort((-self.ties, -self.scores))

    def ranks(self) -> np.ndarray:
        """Rank of each channel from 1, [C]; channels that nothing tells apart share their mean rank."""
        pairs = np.stack([-self.scores, -self.ties], axis=1)
        _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return (last - (counts - 1) / 2)[place.reshape(-1)]


class Ranker(Protocol):
    """Rows and a seed -> a ranking."""

    def __call__(self, rows: np.ndarray, seed: int) -> Ranked:
        """Rank the channels on these rows of the training side."""


def held_out_accuracy(side: TrainingSide, features: np.ndarray, rows: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Balanced accuracy of a discriminant on each channel alone, [C]: mean over inner folds of `rows`.

    Parameters
    ----------
    features
        [n, C, d] of all rows of the side.
    """
    labels, found = side.labels, []
    for train, held in side.folds(rows, folds, np.random.default_rng(seed)):
        if len(np.unique(labels[train])) < 2:
            continue
        learnt, asked = scaled(features[train], features[held])
        model = lda.fit(learnt.transpose(1, 0, 2), labels[train])
        found.append(lda.balanced_accuracy(model.answers(asked.transpose(1, 0, 2)), labels[held]))
    return np.mean(found, axis=0) if found else np.zeros(features.shape[1])


@dataclass(frozen=True)
class Decodability:
    """Each channel alone: balanced accuracy of a discriminant on its features, by inner folds."""

    side: TrainingSide
    features: np.ndarray
    folds: int

    def __call__(self, rows: np.ndarray, seed: int) -> Ranked:
        """See `Ranker`."""
        scores = held_out_accuracy(self.side, self.features, rows, self.folds, seed)
        return Ranked(scores, np.zeros(len(scores)))


@dataclass(frozen=True)
class Groups:
    """Channels that are alike, found by spectral clustering; a group's score is the accuracy of all its channels together.

    Inside a group channels stand in the order of their own decodability.
    """

    side: TrainingSide
    features: np.ndarray
    folds: int
    likeness: np.ndarray | None
    """[n, C, C] of the windows (see `products`); None compares band power from window to window."""
    n_groups: int

    def __call__(self, rows: np.ndarray, seed: int) -> Ranked:
        """See `Ranker`."""
        from sklearn.cluster import SpectralClustering

        alone = held_out_accuracy(self.side, self.features, rows, self.folds, seed)
        alike = self._alike(rows)
        cluster = SpectralClustering(
            n_clusters=min(self.n_groups, len(alike) - 1), affinity="precomputed", random_state=seed % 2**31
        )
        groups = cluster.fit_predict(alike)
        scores = np.zeros(len(alike))
        for group in np.unique(groups):
            mine = groups == group
            together = self.features[:, mine].reshape(len(self.features), 1, -1)
            scores[mine] = held_out_accuracy(self.side, together, rows, self.folds, seed)[0]
        return Ranked(scores, alone, groups)

    def _alike(self, rows: np.ndarray) -> np.ndarray:
        """[C, C] in [0, 1]: size of the correlation."""
        if self.likeness is None:
            values = scaled(self.features[rows])[0].transpose(2, 1, 0).astype(np.float64)  # [d, C, n]
            sums = values @ values.transpose(0, 2, 1)
        else:
            sums = self.likeness[rows].sum(0, dtype=np.float64)[None]
        size = np.sqrt(np.maximum(np.einsum("dcc->dc", sums), np.finfo(float).tiny))
        alike = np.abs(sums / size[:, :, None] / size[:, None]).mean(0)
        np.fill_diagonal(alike, 1.0)
        return np.clip(alike, 1e-6, 1)  # a graph in one piece


def products(side: TrainingSide) -> np.ndarray:
    """Products of channels in each window around its mean, [n, C, C] float32, so that any rows can be correlated."""
    source, parts = side.source(), []
    for first in range(0, len(side.rows), BATCH):
        signal = source[side.rows[first : first + BATCH]].signal.numpy()
        signal = signal - signal.mean(-1, keepdims=True)
        spread = signal.std(axis=(0, 2), keepdims=True)
        signal = signal / np.where(spread > 0, spread, 1)  # volts squared would be lost in float32
        parts.append(np.einsum("nct,ndt->ncd", signal, signal, optimize=True) / signal.shape[-1])
    return np.concatenate(parts)


@dataclass(frozen=True)
class Weights:
    """Mean size of each channel's weights in the read-in of a classifier trained from scratch (section 5 of the paper's
    specification), over the largest.

    A share of the windows chooses the epoch; scalers, weights and that choice come from `rows` alone.
    """

    side: TrainingSide
    settings: SelectionSettings

    def __call__(self, rows: np.ndarray, seed: int) -> Ranked:
        """See `Ranker`."""
        settings, index = self._settings(seed), self.side.index
        rng = np.random.default_rng(seed)
        n = max(2, round(1 / self.settings.weights.watch))
        train, watch = next(iter(self.side.folds(rows, n, rng, self.side.blocks)))
        data = self.side.source(rows)
        torch.manual_seed(seed)
        model = build_classifier(
            settings.model,  # type: ignore[arg-type]
            n_chans=data.counts,
            n_outputs=max(2, int(self.side.labels.max()) + 1),
            n_times=index.n_times,
            sfreq=index.sfreq,
        )
        task = ClassifyTask(model, settings, 1, round(settings.shift * index.sfreq))
        accelerator, precision = resolve_accelerator(settings), resolve_precision(settings)
        with tempfile.TemporaryDirectory() as folder:
            train_task(task, settings, data, (train, watch), Path(folder), accelerator=accelerator, precision=precision)
            best = torch.load(Path(folder) / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        model.load_state_dict({key.removeprefix("model."): v for key, v in best.items() if key.startswith("model.")})
        weights = model.cpu().channel_weights(0).numpy()
        return Ranked(weights, np.zeros(len(weights)))

    def _settings(self, seed: int) -> CodebookTrainSettings:
        own, index = self.settings.weights, self.side.index
        patch = own.model.encoder.patch
        if index.n_times % patch:
            raise SettingsError(
                f"weights.model.encoder.patch: {patch} samples, but windows have {index.n_times} at {index.sfreq:g} Hz; "
                "change labels.window, onset.seconds or patch"
            )
        if own.model.encoder.front != "mix" or own.model.quantizer is not None:
            raise SettingsError("weights.model: a ranking needs encoder.front mix and no quantizer; set them so")
        return CodebookTrainSettings(
            task="classify",
            model=own.model,
            labels=self.settings.labels,
            training=own.training,
            label_smoothing=own.label_smoothing,
            shift=own.shift,
            seed=seed_of(self.settings.seed, seed) % 2**31,
        )
