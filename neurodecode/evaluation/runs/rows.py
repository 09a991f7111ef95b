"""The figures of scores: headline, pooled, pools, words. What `evaluate` and `ensemble` have in common.

In: Scores [Q, N] of the decoder (and of the ridge, if there is one) with the Questions they answer. Out: parts of the
dict that `evaluate` writes; keys in docs/evaluation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodecode.config import EvaluationSettings
from neurodecode.evaluation.retrieval import pooled
from neurodecode.evaluation.retrieval.metrics import Ranked, Ranking, Scores, rank, summarise
from neurodecode.evaluation.retrieval.pools import SampledPool, rank_in_story, rank_near
from neurodecode.evaluation.retrieval.questions import NO_SENTENCE, Questions
from neurodecode.evaluation.retrieval.sentences import evidence, hearings, random_bias, rank_with_bias, sentence_bias
from neurodecode.evaluation.retrieval.statistics import compare, metrics_with_intervals, permutation_p_value
from neurodecode.evaluation.speech.word_repeats import word_repeats
from neurodecode.evaluation.speech.words import word_figures


@dataclass
class Answers:
    """Scores of the decoder, and what is beside them.

    Attributes
    ----------
    questions, scores, settings
        What was asked, what was answered, and how many resamples stand behind each interval.
    ridge
        Scores of the ridge; None when it was left out.
    probable
        Whether a softmax of the scores is a probability: contrastive networks, not correlations.
    at_words
        Whether windows are anchored at words.
    """

    questions: Questions
    scores: Scores
    settings: EvaluationSettings
    ridge: Scores | None = None
    probable: bool = True
    at_words: bool = False

    def metrics(self, ranking: Ranked, cluster: np.ndarray) -> dict[str, dict]:
        """Figures with intervals, all with the same number of resamples and seed."""
        return metrics_with_intervals(ranking, cluster, repeats=self.settings.bootstrap, seed=self.settings.seed)


def headline(answers: Answers, ranking: Ranking) -> dict[str, Any]:
    """Single windows against all candidates: `metrics`, `over`, `p_value`, `per_subject` and the sizes."""
    questions, settings = answers.questions, answers.settings
    cluster, over = questions.clusters()
    return {
        "n_queries": len(questions),
        "n_candidates": len(questions.candidate_identity),
        "n_subjects": len(np.unique(questions.subjects)),
        "metrics": answers.metrics(ranking, cluster),
        "over": over,
        "p_value": permutation_p_value(
            answers.scores,
            repeats=settings.permutations,
            seed=settings.seed,
            scheme="shift" if questions.overlapping else "free",
        ),
        "p_value_pairings": "turned in time" if questions.overlapping else "free",
        "per_subject": per_subject(ranking, questions.subjects),
    }


def further(answers: Answers, ranking: Ranking, ridge: Ranking | None) -> dict[str, Any]:
    """What answers other questions than the headline, each under a key of its own."""
    result: dict[str, Any] = {
        "pooled": same_stimulus(answers),
        "same_run": same_run(answers),
        "pools": candidate_pools(answers, ranking, ridge),
        "sentence_pooled": sentence_pooled(answers) if answers.settings.pooling.sentence else None,
        "words": None,
        "word_repeats": None,
    }
    if answers.at_words and answers.probable:
        questions, settings = answers.questions, answers.settings
        repeats, seed = settings.bootstrap, settings.seed
        labels = questions.candidates["word"].tolist()
        cluster, over = questions.clusters()
        result["words"] = word_figures(answers.scores, labels, cluster, over, repeats=repeats, seed=seed)
        if settings.pooling.word_repeats:
            subjects = questions.subjects
            result["word_repeats"] = word_repeats(answers.scores, labels, subjects, repeats=repeats, seed=seed)
    return result


def per_subject(ranking: Ranking, subjects: np.ndarray) -> dict[str, dict[str, float]]:
    """Figures of each subject's queries."""
    result = {}
    for name in np.unique(subjects):
        rows = np.flatnonzero(subjects == name)
        result[str(name)] = {"n_queries": len(rows), **summarise(ranking.take(rows).per_query())}
    return result


def against_ridge(ridge: Ranking, network: Ranking, answers: Answers) -> dict[str, dict]:
    """Network minus ridge, paired over queries."""
    questions, settings = answers.questions, answers.settings
    return {
        metric: compare(
            ridge,
            network,
            questions.subjects,
            questions.unit,
            metric=metric,
            repeats=settings.bootstrap,
            seed=settings.seed,
        )
        | {"over": questions.clusters()[1]}
        for metric in ("top10", "match_mismatch")
    }


def same_stimulus(answers: Answers) -> dict[str, Any] | None:
    """Figures of same-stimulus pooling; None when no segment was heard twice."""
    questions = answers.questions
    found = pooled.pool(answers.scores)
    if found is None:
        return None
    together, sizes = found
    # one row a segment, in the order of their identities
    cluster = questions.unit[np.unique(questions.query_identity, return_index=True)[1]]
    result: dict[str, Any] = {
        "n_queries": len(sizes),
        "windows_per_segment": float(sizes.mean()),
        "over": "stretches" if questions.overlapping else "segments",
        "metrics": answers.metrics(rank(together), cluster),
        "controls": {},
    }
    random_groups = pooled.pool_random_groups(answers.scores, answers.settings.seed)
    if random_groups is not None:
        result["controls"]["random-groups"] = {"metrics": answers.metrics(rank(random_groups[0]), cluster)}
    if answers.ridge is not None:
        linear = pooled.pool(answers.ridge)
        assert linear is not None
        result["controls"]["ridge"] = {"metrics": answers.metrics(rank(linear[0]), cluster)}
    return result


def same_run(answers: Answers) -> dict[str, Any] | None:
    """Figures among the segments of the query's own run: slow drift cannot tell them apart by run."""
    pools = answers.questions.queries["run"].to_numpy()
    linear = None if answers.ridge is None else rank(answers.ridge, pools)
    return _within(answers, rank(answers.scores, pools), linear)


def candidate_pools(answers: Answers, ranking: Ranking, ridge: Ranking | None) -> list[dict[str, Any]]:
    """Figures in the pools that `settings.pool` asks for, each with its kind and its chance."""
    pool, scores, linear = answers.settings.pool, answers.scores, answers.ridge
    result: list[dict[str, Any]] = []
    cluster, over = answers.questions.clusters()
    for size in pool.size:
        entry: dict[str, Any] = {"kind": "random", "size": size, "n_queries": len(answers.questions)}
        entry |= {"n_candidates": float(size), "over": over, "controls": {}}
        entry["metrics"] = answers.metrics(SampledPool(ranking, size), cluster)
        if ridge is not None:
            entry["controls"]["ridge"] = {"metrics": answers.metrics(SampledPool(ridge, size), cluster)}
        result.append(entry)
    if pool.story:
        beside = None if linear is None else rank_in_story(linear)
        found = _within(answers, rank_in_story(scores), beside)
        result.append({"kind": "story"} | (found or {"n_queries": 0}))
    if pool.near is not None:
        beside = None if linear is None else rank_near(linear, pool.near)
        found = _within(answers, rank_near(scores, pool.near), beside)
        result.append({"kind": "near", "seconds": pool.near} | (found or {"n_queries": 0}))
    return result


def _within(answers: Answers, ranking: Ranking, ridge: Ranking | None) -> dict[str, Any] | None:
    """Figures of queries whose pool holds more than one candidate; None when there is none."""
    rows = np.flatnonzero(ranking.pool > 1)  # a pool of one asks nothing
    if not len(rows):
        return None
    cluster, over = answers.questions.clusters(rows)
    result: dict[str, Any] = {
        "n_queries": len(rows),
        "n_candidates": float(np.median(ranking.pool[rows])),
        "over": over,
        "metrics": answers.metrics(ranking.take(rows), cluster),
        "controls": {},
    }
    if ridge is not None:
        result["controls"]["ridge"] = {"metrics": answers.metrics(ridge.take(rows), cluster)}
    return result


def sentence_pooled(answers: Answers) -> dict[str, Any] | None:
    """Figures with the bias of the sentence, beside random groups; None when no stimulus has sentences."""
    questions, seed = answers.questions, answers.settings.seed
    sentence = questions.queries["sentence"].to_numpy()
    if (sentence == NO_SENTENCE).all():
        return None
    group = hearings(questions.queries)
    cluster, over = questions.clusters()
    standardise = not answers.probable
    said, codes = evidence(answers.scores, standardise)
    own = rank_with_bias(answers.scores, sentence_bias(said, group), codes, standardise)
    control = rank_with_bias(answers.scores, random_bias(said, group, seed), codes, standardise)
    result: dict[str, Any] = {
        "n_queries": len(questions),
        "n_sentences": len(np.unique(sentence[sentence != NO_SENTENCE])),
        "windows_per_sentence": float(np.bincount(group)[group].mean()),
        "without_sentence": int((sentence == NO_SENTENCE).sum()),
        "over": over,
        "metrics": answers.metrics(own, cluster),
        "controls": {"random-groups": {"metrics": answers.metrics(control, cluster)}},
    }
    if answers.ridge is not None:
        said, codes = evidence(answers.ridge, standardise=True)
        linear = rank_with_bias(answers.ridge, sentence_bias(said, group), codes, standardise=True)
        result["controls"]["ridge"] = {"metrics": answers.metrics(linear, cluster)}
    return result
