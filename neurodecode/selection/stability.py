"""How far rankings of different windows and seeds agree, and how well the best channels decode what no ranking saw.

In: rankings [R, C]. Out: figures a channel, and of the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecode.selection import lda
from neurodecode.selection.features import scaled


def per_channel(ranks: np.ndarray, top: int) -> dict[str, np.ndarray]:
    """Mean rank, its standard deviation, and share of rankings in which a channel is among the `top`; ranks [R, C]."""
    best = ranks <= np.sort(ranks, axis=1)[:, [top - 1]]
    return {"mean_rank": ranks.mean(0), "rank_sd": ranks.std(0), "top_share": best.mean(0)}


def agreement(orders: np.ndarray, ranks: np.ndarray, top: int) -> dict[str, Any]:
    """Mean over pairs of rankings.

    Parameters
    ----------
    orders, ranks
        [R, C].
    top
        Size of the sets that are compared.

    Returns
    -------
    dict
        `k`, `rankings`, `jaccard` (common over all in both), `kuncheva` (common, 1 where equal and 0 as by chance; None where
        all channels are taken), `spearman` of ranks. None each where there is one ranking.
    """
    r, c = orders.shape
    found: dict[str, Any] = {"k": top, "rankings": r, "jaccard": None, "kuncheva": None, "spearman": None}
    if r < 2:
        return found
    member = np.zeros((r, c))
    for row, order in zip(member, orders):
        row[order[:top]] = 1
    pairs = np.triu_indices(r, 1)
    common = (member @ member.T)[pairs]
    found["jaccard"] = float((common / (2 * top - common)).mean())
    if top < c:
        by_chance = top**2 / c
        found["kuncheva"] = float(((common - by_chance) / (top - by_chance)).mean())
    found["spearman"] = float(np.mean([correlation(ranks[i], ranks[j]) for i, j in zip(*pairs)]))
    return found


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of ranks; 0 where one of them says nothing."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size else 0.0


def curve_point(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, held: np.ndarray, order: np.ndarray, ks: list[int]
) -> list[float]:
    """Balanced accuracy on held-out rows of the best k channels together, for each k.

    Parameters
    ----------
    features
        [n, C, d].
    order
        Channels from best to worst, of a ranking that saw no held-out row.
    """
    learnt, asked = scaled(features[train], features[held])
    found = []
    for k in ks:
        chosen = order[:k]
        model = lda.fit(learnt[:, chosen].reshape(1, len(train), -1), labels[train])
        answers = model.answers(asked[:, chosen].reshape(1, len(held), -1))
        found.append(float(lda.balanced_accuracy(answers, labels[held])[0]))
    return found


def best_size(curve: list[dict[str, Any]]) -> int:
    """The k with the highest mean accuracy; the smaller of two alike."""
    return int(max(curve, key=lambda point: (point["accuracy"], -point["k"]))["k"])
