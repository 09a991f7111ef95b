"""What answers are worth: figures of each person, their mean, and how sure that mean is.

In: scores [n, K] of test windows with their labels, people and folds, once for each seed. Out: plain numbers. People are
what a claim is about, so a figure is the mean over people, and its interval resamples people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import log_softmax

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "auc": "AUC",
    "pooled_auc": "AUC, pooled",
    "top5": "top-5",
    "macro_f1": "macro-F1",
    "cross_entropy": "CE, nats",
}
LEVEL = 0.95


@dataclass
class Answers:
    """What one seed of one method said about all test windows.

    Attributes
    ----------
    scores
        [n, K]: larger is likelier.
    identity
        [n]: the right number; -1 for a label that training lacks, always wrong.
    person
        [n]: names.
    fold
        [n]: names; scores of different folds come from different models.
    probabilities
        Whether scores are logarithms of probabilities; else there is no cross-entropy.
    """

    scores: np.ndarray
    identity: np.ndarray
    person: np.ndarray
    fold: np.ndarray
    probabilities: bool

    def of(self, person: str) -> Answers:
        """Those of one person."""
        mine = self.person == person
        return Answers(self.scores[mine], self.identity[mine], self.person[mine], self.fold[mine], self.probabilities)

    def right(self) -> np.ndarray:
        """[n], 1 or 0: whether the likeliest label is the right one."""
        return (np.argsort(-self.scores, axis=1, kind="stable")[:, 0] == self.identity).astype(float)


def figures(answers: Answers) -> dict[str, float]:
    """Figures of all windows in `answers`, which should be one person's.

    `balanced_accuracy` is the mean over labels that are tested of the share that is right; `macro_f1` the mean over labels
    that are tested or answered; `auc` (two labels only) is taken within each fold and averaged by windows, ties half;
    `top5` is there above five labels; `pooled_auc` is of a cohort (see `summarise`). NaN where a figure does not exist.
    """
    scores, identity = answers.scores, answers.identity
    order = np.argsort(-scores, axis=1, kind="stable")
    answer, right = order[:, 0], order[:, 0] == identity
    tested = np.unique(identity)
    n_classes = scores.shape[1]
    found = {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[identity == k].mean() for k in tested])),
        "macro_f1": macro_f1(answer, identity),
        "auc": area(answers) if n_classes == 2 else float("nan"),
        "pooled_auc": float("nan"),
        "top5": float((order[:, :5] == identity[:, None]).any(1).mean()) if n_classes > 5 else float("nan"),
        "cross_entropy": float("nan"),
    }
    known = identity >= 0
    if answers.probabilities and known.any():
        logs = log_softmax(np.maximum(scores[known], -1e4), axis=1)
        # a label that a subject's training lacks is not impossible: it is as likely as once in 10 000
        logs = np.logaddexp(logs, np.log(1e-4 / n_classes)) - np.log1p(1e-4)
        found["cross_entropy"] = float(-logs[np.arange(len(logs)), identity[known]].mean())
    return found


def macro_f1(answer: np.ndarray, identity: np.ndarray) -> float:
    """Mean F1 over labels that are tested or answered."""
    labels = np.union1d(answer, identity)
    hits = np.array([(answer == k) @ (identity == k).astype(float) for k in labels])
    total = np.array([(answer == k).sum() + (identity == k).sum() for k in labels])
    return float((2 * hits / total).mean())


def area(answers: Answers) -> float:
    """Area under the ROC curve of label 1 against label 0, within folds; NaN if no fold has both."""
    values, weights = [], []
    for fold in np.unique(answers.fold):
        mine = answers.fold == fold
        margin = answers.scores[mine, 1] - answers.scores[mine, 0]
        positive, negative = margin[answers.identity[mine] == 1], margin[answers.identity[mine] == 0]
        if len(positive) and len(negative):
            above = stats.rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
            values.append((above - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))
            weights.append(int(mine.sum()))
    return float(np.average(values, weights=weights)) if values else float("nan")


def chance(answers: Answers) -> dict[str, float]:
    """Figures expected of answers drawn alike from all labels, in the long run; F1 from the expected counts."""
    n_classes, n = answers.scores.shape[1], len(answers.identity)
    share = np.bincount(answers.identity[answers.identity >= 0], minlength=n_classes) / n
    return {
        "accuracy": 1 / n_classes,
        "balanced_accuracy": 1 / n_classes,
        "macro_f1": float(np.mean(2 * share / n_classes / (share + 1 / n_classes))),
        "auc": 0.5 if n_classes == 2 else float("nan"),
        "pooled_auc": float("nan"),
        "top5": min(1.0, 5 / n_classes) if n_classes > 5 else float("nan"),
        "cross_entropy": float(np.log(n_classes)),
    }


def pooled_area(seeds: list[Answers], repeats: int) -> dict[str, Any] | None:
    """Area under the ROC curve over the windows of all people as one list, mean over seeds, as an entry of `metrics`.

    Windows of one person are compared with those of others, so it tells whether one threshold serves everyone, which the mean
    of people's own areas does not ask. None for one person or other than two labels.
    """
    people = sorted(set(seeds[0].person))
    if len(people) < 2 or seeds[0].scores.shape[1] != 2:
        return None
    draws = np.random.default_rng(0).integers(len(people), size=(repeats, len(people)))
    times = np.stack([(draws == k).sum(1) for k in range(len(people))], 1).astype(float)  # [repeats, people]
    means, resampled = [], []
    for answers in seeds:
        margin = answers.scores[:, 1] - answers.scores[:, 0]
        sides = [
            [np.sort(margin[(answers.person == person) & (answers.identity == k)]) for person in people] for k in (0, 1)
        ]
        counts = np.array([[len(values) for values in side] for side in sides], float)
        wins = np.array([[_wins(above, below) for below in sides[0]] for above in sides[1]])  # [people, people]
        with np.errstate(invalid="ignore"):  # a draw may lack a label
            means.append(wins.sum() / (counts[0].sum() * counts[1].sum()))
            resampled.append(np.einsum("ra,ab,rb->r", times, wins, times) / ((times @ counts[0]) * (times @ counts[1])))
    spread = np.mean(resampled, 0)
    low, high = np.nanquantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if np.isfinite(means).all() else (None, None)
    return {
        "value": float(np.mean(means)),
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
        "over": "people",
        "seed_deviation": float(np.std(means, ddof=1)) if len(seeds) > 1 else None,
    }


def _wins(above: np.ndarray, below: np.ndarray) -> float:
    """Pairs in which the first is larger, ties half; `below` is sorted."""
    return float((np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")).sum() / 2)


def summarise(seeds: list[Answers], *, repeats: int, pooled: bool = False) -> dict[str, Any]:
    """Figures of a method from the answers of its seeds.

    Parameters
    ----------
    seeds
        Each over all test windows.
    repeats
        Resamples behind intervals over people.
    pooled
        Whether people are compared with each other (see `pooled_area`): one model serves them all.

    Returns
    -------
    dict
        `metrics`: figure -> `value` (mean over people of the mean over seeds), `low` and `high` (95 %: over people by
        bootstrap, or over seeds for one person; None where neither varies), `over`, `seed_deviation` (of the cohort's mean,
        None with one seed); `subjects`: the same for each person, intervals over seeds (Student's t);
        `confusion` [K, K]: test windows by right label and answer, mean over seeds.
    """
    people = sorted(set(seeds[0].person))
    table = [[figures(answers.of(person)) for person in people] for answers in seeds]
    metrics = _cohort(people, table, repeats)
    if pooled and (found := pooled_area(seeds, repeats)) is not None:
        metrics["pooled_auc"] = found
    return _summary(people, table) | {"metrics": metrics, "confusion": _confusion(seeds)}


def summarise_chance(answers: Answers, *, pooled: bool = False) -> dict[str, Any]:
    """As `summarise`, of answers that are not drawn but expected."""
    people = sorted(set(answers.person))
    table = [[chance(answers.of(person)) for person in people]]
    metrics = {
        key: {
            "value": _mean([entry[key] for entry in table[0]]),
            "low": None,
            "high": None,
            "over": "",
            "seed_deviation": None,
        }
        for key in FIGURES
    }
    if pooled and len(people) > 1:
        metrics["pooled_auc"]["value"] = metrics["auc"]["value"]
    return _summary(people, table) | {"metrics": metrics, "confusion": None}


def _summary(people: list[str], table: list[list[dict[str, float]]]) -> dict[str, Any]:
    subjects = []
    for number, person in enumerate(people):
        metrics = {}
        for key in FIGURES:
            values = np.array([row[number][key] for row in table])
            low, high = _t_interval(values)
            metrics[key] = {"value": float(values.mean()), "low": low, "high": high}
        subjects.append({"subject": person, "metrics": metrics})
    return {"subjects": subjects}


def _cohort(people: list[str], table: list[list[dict[str, float]]], repeats: int) -> dict[str, Any]:
    # the same people are drawn for every figure and every method, so rows can be compared by eye
    draws = np.random.default_rng(0).integers(len(people), size=(repeats, len(people)))
    found: dict[str, Any] = {}
    for key in FIGURES:
        values = np.array([[entry[key] for entry in row] for row in table])  # [seeds, people]
        each, low, high, over = values.mean(0), None, None, ""
        fine = np.isfinite(each)
        if len(people) > 1 and fine.all():
            low, high = (float(v) for v in np.quantile(each[draws].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            over = "people"
        elif len(people) == 1:
            low, high = _t_interval(values[:, 0])
            over = "seeds" if low is not None else ""
        seed_means = [_mean(list(row)) for row in values]
        found[key] = {
            "value": _mean(list(each)),
            "low": low,
            "high": high,
            "over": over,
            "seed_deviation": float(np.std(seed_means, ddof=1)) if len(values) > 1 else None,
        }
    return found


def _mean(values: list[float]) -> float:
    fine = [v for v in values if np.isfinite(v)]
    return float(np.mean(fine)) if fine else float("nan")


def _t_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of the mean over seeds; None with one seed."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None, None
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _confusion(seeds: list[Answers]) -> list[list[float]]:
    n_classes = seeds[0].scores.shape[1]
    counts = np.zeros((n_classes, n_classes))
    for answers in seeds:
        known = answers.identity >= 0
        np.add.at(counts, (answers.identity[known], answers.scores[known].argmax(1)), 1)
    return (counts / len(seeds)).tolist()
