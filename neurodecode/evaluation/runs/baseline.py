"""The ridge baseline on the windows of one fold: same windows, scalers and split as the network beside it.

In: a BatchSource of the fold and RidgeSettings. Out: one RidgeModel a subject (or one for all) that predicts windows.
Only rows of the sides before the scored one are read (training and validation for the test split, training for the
validation split); the penalty is chosen among them by leaving out one run (or one group of blocks) in turn. Overlapping
windows are read, but each moment of each recording is counted once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurodecode.config.evaluation import RidgeSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.ridge import (
    Moments,
    RidgeModel,
    bin_average,
    lag_bins,
    lagged,
    solve,
    standardised,
    valid_bins,
)
from neurodecode.evaluation.retrieval.scoring import targets

if TYPE_CHECKING:
    from neurodecode.segments.batches import Batch, BatchSource

log = logging.getLogger(__name__)

DESIGN_BYTES = 1 << 28  # lagged brain held at once while moments are summed
MOMENT_BYTES = 1 << 29  # products of brain and features held at once
TURNS = (0.2, 0.8)  # share of a recording by which features are turned: far from the right place on both sides
EVERYONE = -1  # key of the model of the whole cohort


@dataclass
class RidgeBaseline:
    """Fitted ridge models of one fold.

    Attributes
    ----------
    models
        Index of the subject -> model; EVERYONE when one model serves all.
    step
        Samples averaged into a bin.
    notes
        What was odd: penalties at the edge of the grid, subjects without training data.
    """

    models: dict[int, RidgeModel]
    step: int
    notes: list[str] = field(default_factory=list)

    def prepare(self, target: Tensor) -> Tensor:
        """Candidate features [N, F, T] -> [N, F K] at the rate of the ridge, standardised for the score."""
        return standardised(bin_average(target, self.step), self.feature_scale)

    def estimate(self, batch: Batch) -> Tensor:
        """Predicted features [B, F, K]; the ridge sees each window alone, also where a network sees its neighbours."""
        batch = batch.alone()
        subjects = batch.subject.tolist()
        parts: dict[int, Tensor] = {}
        out: Tensor | None = None
        for subject in dict.fromkeys(subjects):
            here = torch.tensor([s == subject for s in subjects], device=batch.signal.device)
            parts[subject] = self._model(subject).predict(batch.signal[here])
            if out is None:
                out = parts[subject].new_zeros(len(subjects), *parts[subject].shape[1:])
            out[here] = parts[subject]
        assert out is not None
        return out

    def score(self, estimate: Tensor, prepared: Tensor) -> Tensor:
        """Correlation [B, N], see `ridge.window_correlation`."""
        return standardised(estimate, self.feature_scale) @ prepared.T

    @property
    def feature_scale(self) -> Tensor:
        """Deviation [F] of the features in the training data; one for all subjects, who share the candidates."""
        return next(iter(self.models.values())).feature_scale

    def describe(self) -> dict[str, Any]:
        """Penalties and inner correlations, for the record."""
        models = self.models.values()
        return {
            "penalties": sorted({m.penalty for m in models}),
            "penalty_at_edge": sum(m.at_edge for m in models),
            "inner_r": float(np.mean([max(m.inner) for m in models if m.inner] or [float("nan")])),
            "notes": self.notes,
        }

    def _model(self, subject: int) -> RidgeModel:
        return self.models[subject] if subject in self.models else self.models[EVERYONE]


FITTED_ON = {"test": ("train", "valid"), "valid": ("train",)}  # split that is scored -> sides that are read


def fit_ridge(source: BatchSource, settings: RidgeSettings, *, split: str = "test") -> RidgeBaseline:
    """The ridge of one fold, see `fit_ridges`."""
    return fit_ridges(source, settings, split=split)[0]


def fit_ridges(
    source: BatchSource, settings: RidgeSettings, *, split: str = "test", turned: Sequence[int | None] = (None,)
) -> list[RidgeBaseline]:
    """Fit on the windows of the source's fold that the scored split may know.

    Parameters
    ----------
    source
        Windows of one fold with fitted scalers.
    settings
        Lags, penalties, scope.
    split
        What will be scored, test or valid.
    turned
        A seed for each ridge that is wanted: the features of each recording are turned against its brain, by a random
        share of its training windows. The pairing is then wrong, so whatever this scores is not decoding. None leaves
        the features where they are.

    Raises
    ------
    NeurodecodeError
        If the lags do not fit into a window, or there is too little training data.
    """
    index = source.index
    step = max(1, int(index.sfreq // settings.rate))
    shift = index.shift / index.sfreq
    lags = lag_bins(settings.lags, shift, index.sfreq / step)
    bins = source.n_times // step
    inside = valid_bins(bins, lags)
    if inside.stop - inside.start < 1:
        raise NeurodecodeError(
            f"ridge.lags {settings.lags} s do not fit into a window of {source.n_times / index.sfreq:.2f} s; "
            "shorten them"
        )
    rows = np.sort(np.concatenate([index.rows(side) for side in FITTED_ON[split]]))
    subject_of = index.table["subject"].to_numpy()
    asked = np.unique(subject_of[index.rows(split)])
    trained = set(np.unique(subject_of[rows]).tolist())
    orphans = [index.subjects[s] for s in asked if s not in trained]
    wanted: dict[int, np.ndarray] = {}
    notes = []
    if settings.scope == "cohort" or orphans:
        wanted[EVERYONE] = rows
    if settings.scope == "subject":
        for subject in asked[[s in trained for s in asked.tolist()]].tolist():
            wanted[subject] = rows[subject_of[rows] == subject]
    if orphans and settings.scope == "subject":
        notes.append(f"no training window of {', '.join(orphans)}: predicted by the model of all subjects")
    result = [RidgeBaseline({}, step, list(notes)) for _ in turned]
    for key, mine in wanted.items():
        models = _fit(source, mine, settings, lags, step, turned)
        for baseline, model in zip(result, models):
            baseline.models[key] = model
    for baseline, seed in zip(result, turned):
        edges = [m.penalty for m in baseline.models.values() if m.at_edge]
        if edges:
            baseline.notes.append(
                f"{index.fold_name}: the penalty is at the edge of the grid ({min(edges):g}..{max(edges):g}) in "
                f"{len(edges)} of {len(baseline.models)} models; unless the data hold no signal, widen ridge.penalties"
            )
        for note in baseline.notes:
            # a turned ridge has nothing to find, so its penalty runs to an edge by right
            log.log(logging.DEBUG if seed is not None else logging.WARNING, "ridge: %s", note)
    return result


def _fit(
    source: BatchSource,
    rows: np.ndarray,
    settings: RidgeSettings,
    lags: range,
    step: int,
    turned: Sequence[int | None],
) -> list[RidgeModel]:
    """One model for each way of turning the features; the brain is read and decomposed once for many of them."""
    table = source.index.table
    recording, start = table["recording"].to_numpy()[rows], table["start"].to_numpy()[rows]
    order = np.lexsort((start, recording))
    rows, recording, start = rows[order], recording[order], start[order]
    group = inner_groups(source, rows, settings.inner)
    n_groups = int(group.max()) + 1
    bins = source.n_times // step
    fresh = _fresh_bins(recording, start, bins, step, valid_bins(bins, lags))  # [rows, K]
    width = source.layouts.n_chans * len(lags)
    at_once = max(1, MOMENT_BYTES // (8 * n_groups * width * source.dimension))
    size = max(1, DESIGN_BYTES // (4 * width * bins))
    models: list[RidgeModel] = []
    for first in range(0, len(turned), at_once):
        seeds = turned[first : first + at_once]
        partners = [rows if seed is None else turned_rows(rows, recording, seed) for seed in seeds]
        outputs = source.dimension * len(seeds)
        moments = [Moments.empty(width, outputs, source.device) for _ in range(n_groups)]
        for number in range(n_groups):
            members = np.flatnonzero((group == number) & fresh.any(axis=1))
            for begin in range(0, len(members), size):
                part = members[begin : begin + size]
                signal = bin_average(source[rows[part]].signal, step)  # [b, C, K]
                target = torch.cat([targets(source, partner[part]) for partner in partners], dim=1)  # [b, F sets, T]
                kept = torch.as_tensor(fresh[part], device=source.device)  # [b, K]
                design = lagged(signal, lags).permute(0, 3, 1, 2)[kept].flatten(1)  # [n, C L]
                moments[number].add(design, bin_average(target, step).transpose(1, 2)[kept])
        models += solve(moments, settings.penalties, lags, step, len(seeds))
    return models


def inner_groups(source: BatchSource, rows: np.ndarray, most: int) -> np.ndarray:
    """Part [rows] of the training data that each window belongs to, 0 .. at most `most` - 1.

    Runs when the split is by run, else runs of neighbouring blocks (so the same text is on one side for all subjects);
    with a single block or run, stretches of equal length in time.
    """
    table = source.index.table.iloc[rows]
    unit = "block" if source.index.settings.split.rule == "content" else "run"
    _, codes = np.unique(table[unit].to_numpy(), return_inverse=True)
    n = codes.max() + 1
    if n < 2:
        return np.arange(len(rows)) * min(most, len(rows)) // len(rows)
    return codes * min(most, n) // n


def turned_rows(rows: np.ndarray, recording: np.ndarray, seed: int) -> np.ndarray:
    """Another row of the same recording for each row: all of them turned in time by a random share of them."""
    partner = rows.copy()
    for number in np.unique(recording):
        here = np.flatnonzero(recording == number)
        # its own draw for each recording: subjects who heard the same must not be wrong in the same way
        share = np.random.default_rng([seed, int(number)]).uniform(*TURNS)
        partner[here] = np.roll(rows[here], round(share * len(here)))
    return partner


def _fresh_bins(recording: np.ndarray, start: np.ndarray, bins: int, step: int, inside: slice) -> np.ndarray:
    """Bins [rows, K] to read: all their lags are inside the window, and no earlier window of the recording gave them.

    Rows are sorted by recording and start. Of overlapping windows only as many are used as it takes to leave no gap.
    """
    fresh = np.zeros((len(start), bins), bool)
    offsets = np.arange(bins) * step
    for number in np.unique(recording):
        here = np.flatnonzero(recording == number)
        first = start[here] + offsets[inside][0]
        i, covered = 0, np.iinfo(np.int64).min
        while i < len(here):
            times = start[here[i]] + offsets
            fresh[here[i], inside] = times[inside] >= covered
            covered = max(covered, times[inside][-1] + step)
            # next, the latest window that begins where this one ends, or before
            i = max(i + 1, int(np.searchsorted(first, covered, "right")) - 1)
    return fresh
