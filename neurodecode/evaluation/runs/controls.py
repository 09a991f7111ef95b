"""Controls: what is scored when the answer cannot be in the brain, and the linear baseline beside the network.

In: Questions, one source and one network a fold. Out: a Ranking of each control with what its interval resamples.

noise          the same network, Gaussian noise in place of the brain: what the network says without a brain
shuffled       the network's scores, each query asked for another segment of its recording: what a recording gives away
constant       every candidate scores the same: chance exactly, since ties get the middle rank
ridge          linear, penalty chosen inside the training data: the baseline to beat
ridge-shifted  the ridge, fitted to features that are turned in time: what the ridge finds where nothing is
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config import EvaluationSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Ranking, Scores, rank_columns, rank_matrix, stack, true_columns
from neurodecode.evaluation.retrieval.questions import Questions
from neurodecode.evaluation.retrieval.scoring import Decoder, fill_scores, matrix
from neurodecode.evaluation.retrieval.statistics import FEWEST_SUBJECTS
from neurodecode.evaluation.runs.baseline import fit_ridges

if TYPE_CHECKING:
    from neurodecode.segments.batches import BatchSource

Advance = Callable[[int], None]
SHUFFLES = 20  # at most so many redrawn pairings are averaged
ENOUGH = 2_000  # shuffled queries; more would not make the figure steadier


@dataclass
class Control:
    """Ranking of a control, and the label of each query that its bootstrap resamples."""

    ranking: Ranking
    cluster: np.ndarray
    over: str
    details: dict[str, Any] = field(default_factory=dict)


def score_all(
    decoders: Callable[[int], Decoder],
    questions: Questions,
    sources: Sequence[BatchSource],
    settings: EvaluationSettings,
    advance: Advance,
) -> np.ndarray:
    """Scores [Q, N] of all folds; `decoders` gives the decoder of a fold, one at a time."""
    out = matrix(len(questions), len(questions.candidate_rows), settings.memory)
    for number, source in enumerate(sources):
        here = np.flatnonzero(questions.fold == number)  # one stretch: queries are in the order of folds
        if len(here):
            stretch = out[here[0] : here[-1] + 1]
            fill_scores(
                [stretch],
                [decoders(number)],
                source,
                questions.rows[here],
                questions.candidate_rows,
                settings,
                advance,
            )
    return out


def constant(questions: Questions) -> Control:
    """Equal scores for all candidates, ranked like any others."""
    equal = np.broadcast_to(np.float32(0), (len(questions), len(questions.candidate_rows)))
    ranking = rank_matrix(equal, questions.query_identity, questions.candidate_identity)
    return Control(ranking, *questions.clusters())


def shuffled(scores: Scores, questions: Questions, seed: int) -> Control:
    """Each query's scores, asked for the segment of another query of its recording.

    A decoder that only knows which recording it looks at (drift, noise level, block) scores as well here as it does
    with the right pairs. One that knows the segment lands a hair below chance: its own segment takes a good place.

    Raises
    ------
    NeurodecodeError
        If no recording asks for two different segments.
    """
    column = true_columns(scores.query_identity, scores.candidate_identity)
    recording = scores.queries["recording"].to_numpy()
    groups = [np.flatnonzero(recording == name) for name in dict.fromkeys(recording)]
    groups = [rows for rows in groups if len(np.unique(column[rows])) > 1]
    if not groups:
        raise NeurodecodeError(
            "evaluation.controls: shuffled needs a recording with two different segments, there is none; leave it out"
        )
    rng = np.random.default_rng(seed)
    repeats = int(np.clip(np.ceil(ENOUGH / len(column)), 1, SHUFFLES))
    rows, asked = [], []
    for _ in range(repeats):
        for members in groups:
            # a turned random order: nobody meets itself, and whoever meets a copy of itself is left out
            order = rng.permutation(members)
            partner = np.roll(order, 1)
            other = column[order] != column[partner]
            rows.append(order[other])
            asked.append(column[partner[other]])
    chosen = np.concatenate(rows)
    ranking = rank_columns(scores.scores, chosen, np.concatenate(asked))
    return Control(ranking, *questions.clusters(chosen, FEWEST_SUBJECTS), {"repeats": repeats})


@dataclass
class RidgeAnswer:
    """The ridge of all folds.

    Attributes
    ----------
    scores
        [Q, N] of the honest ridge.
    details
        `r`, the mean correlation of prediction and true features over queries (`r_per_subject`, too), and what was
        chosen in the folds.
    shifted
        The control, when it was asked for.
    """

    scores: Scores
    details: dict[str, Any]
    shifted: Control | None


def ridge(
    questions: Questions,
    sources: Sequence[BatchSource],
    settings: EvaluationSettings,
    split: str,
    advance: Advance,
) -> RidgeAnswer:
    """Fit the ridge of each fold and score all queries with it; likewise on features turned in time, several times.

    One wrong pairing alone can land far from chance, on either side: its weights are a random mixture, but the same one
    for all queries of a subject and fold. So several are averaged, and the interval resamples pairings.
    """
    column = true_columns(questions.query_identity, questions.candidate_identity)
    models = np.unique([f"{f} {s}" for f, s in zip(questions.fold, questions.subjects)], return_inverse=True)[1]
    n_models = int(models.max()) + 1
    turns = int(np.ceil(settings.ridge.wrong_pairings / n_models)) if "ridge-shifted" in settings.controls else 0
    seeds = np.random.default_rng(settings.seed).integers(2**31, size=(len(sources), turns)).tolist()
    out = matrix(len(questions), len(questions.candidate_rows), settings.memory)
    wrong = [Ranking(*(np.ones(len(questions), np.int64) for _ in range(3))) for _ in range(turns)]
    wrong_r = np.zeros((turns, len(questions)))
    fitted = []
    for number, source in enumerate(sources):
        here = np.flatnonzero(questions.fold == number)
        if not len(here):
            continue
        honest, *others = fit_ridges(source, settings.ridge, split=split, turned=[None, *seeds[number]])
        fitted.append(honest.describe())
        stretch = slice(here[0], here[-1] + 1)  # queries are in the order of folds
        answers = [matrix(len(here), len(questions.candidate_rows), settings.memory / (1 + turns)) for _ in others]
        fill_scores(
            [out[stretch], *answers],
            [honest, *others],
            source,
            questions.rows[stretch],
            questions.candidate_rows,
            settings,
            advance,
        )
        for turn, scores in enumerate(answers):
            ranking = rank_columns(scores, np.arange(len(here)), column[stretch])
            wrong_r[turn, stretch] = scores[np.arange(len(here)), column[stretch]]
            for name in ("better", "tied", "pool"):
                getattr(wrong[turn], name)[stretch] = getattr(ranking, name)
    own, subjects = out[np.arange(len(questions)), column], questions.subjects
    details = {
        "r": float(np.mean(own)),
        "r_per_subject": {str(s): float(own[subjects == s].mean()) for s in np.unique(subjects)},
        "penalties": sorted({p for fold in fitted for p in fold["penalties"]}),
        "inner_r": float(np.mean([fold["inner_r"] for fold in fitted])),
        "lags": list(settings.ridge.lags),
        "scope": settings.ridge.scope,
        "notes": [note for fold in fitted for note in fold["notes"]],
    }
    shifted = None
    if turns:
        pairing = np.concatenate([models + number * n_models for number in range(turns)])
        about = {"r": float(wrong_r.mean()), "pairings": n_models * turns}
        shifted = Control(stack(wrong), pairing, "pairings", about)
    return RidgeAnswer(questions.scores(out), details, shifted)
