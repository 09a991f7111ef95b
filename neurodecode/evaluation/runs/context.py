"""What neighbouring windows add, for networks with `model.context`: the same network without them, and with wrong ones.

In: Questions, the sources and networks of all folds. Out: what a window was shown, and two more controls ::

    alone          the same network and windows, no neighbours: what the window itself is worth
    strangers      the neighbours of another window of the same subject: what the place in a block and the subject give

A figure with context reads more signal than a window holds: it must not stand beside figures of single windows. Which
neighbours are missing tells where in its block a window stands; the row `noise` keeps that, and shows what it gives away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config import EvaluationSettings
from neurodecode.evaluation.retrieval.metrics import Ranking, rank
from neurodecode.evaluation.retrieval.questions import Questions
from neurodecode.evaluation.retrieval.scoring import Decoder
from neurodecode.evaluation.retrieval.statistics import compare
from neurodecode.evaluation.runs.controls import Control, score_all
from neurodecode.segments.neighbours import NONE

if TYPE_CHECKING:
    from neurodecode.progress import Bar
    from neurodecode.segments.batches import BatchSource


def shown(questions: Questions, sources: Sequence[BatchSource]) -> dict[str, Any] | None:
    """What a window was shown: `windows`, `step` and `reach` in s, and `neighbours`, the mean number; None without context."""
    context = sources[0].context
    if context is None:
        return None
    found = [
        (source.neighbours[questions.rows[questions.fold == number]] != NONE).sum(1) - 1
        for number, source in enumerate(sources)
    ]
    length = sources[0].index.n_times / sources[0].index.sfreq
    return {
        "windows": context.windows,
        "step": context.step,
        "reach": round(length + (context.windows - 1) * context.step, 4),
        "neighbours": float(np.concatenate(found).mean()),
    }


def context_controls(
    networks: Callable[[int], Decoder],
    questions: Questions,
    sources: Sequence[BatchSource],
    settings: EvaluationSettings,
    bar: Bar,
) -> dict[str, Control]:
    """The rows `alone` and `strangers`; none for a network without context."""
    if sources[0].context is None:
        return {}
    changed = {
        "alone": [source.without_context() for source in sources],
        "strangers": [_strangers(source, questions, number, settings.seed) for number, source in enumerate(sources)],
    }
    rows = {}
    for name, others in changed.items():
        out = score_all(networks, questions, others, settings, bar.stage(name, len(questions)))
        rows[name] = Control(rank(questions.scores(out)), *questions.clusters())
    return rows


def against_alone(
    alone: Ranking, network: Ranking, questions: Questions, settings: EvaluationSettings
) -> dict[str, dict]:
    """With its neighbours minus alone, paired over queries."""
    return {
        metric: compare(
            alone,
            network,
            questions.subjects,
            questions.unit,
            metric=metric,
            repeats=settings.bootstrap,
            seed=settings.seed,
        )
        | {"over": questions.clusters()[1]}
        for metric in ("top1", "top10", "match_mismatch")
    }


def _strangers(source: BatchSource, questions: Questions, number: int, seed: int) -> BatchSource:
    """The source in which the queries of a fold exchange their neighbours within each subject."""
    here = questions.fold == number
    rows, subjects = questions.rows[here], questions.subjects[here]
    rng = np.random.default_rng([seed, number])
    others = rows.copy()
    for subject in np.unique(subjects):
        order = rng.permutation(np.flatnonzero(subjects == subject))
        others[order] = rows[np.roll(order, 1)]  # a turned random order: nobody keeps his own
    return source.with_strangers(rows, others)
