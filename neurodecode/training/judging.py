"""What the answers of a classifier are worth: each window's, and figures of many, beside chance and the commonest label.

In: logits [n, K] with the right numbers. Out: one row a window, and value, chance and majority of each figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from neurodecode.segments.labels import LabelIndex


def judge(logits: torch.Tensor, identity: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """What each answer is worth, beside that of the training labels' frequencies.

    Parameters
    ----------
    logits
        [n, K].
    identity
        [n], -1 for a label that training lacks: always wrong, and without a cross-entropy.
    counts
        [n, K]: how often training windows of the window's subject have each label.

    Returns
    -------
    dict
        [n] each: `answer`, `right`, `top5`, `loss` (nats), and the same of the frequencies: `majority_answer`,
        `majority_right`, `majority_top5`, `majority_loss`.
    """
    known = identity >= 0
    safe = np.where(known, identity, 0)
    prior = np.log((counts + 1) / (counts + 1).sum(1, keepdims=True))  # a label that a subject lacks is not impossible
    judged: dict[str, np.ndarray] = {}
    for prefix, scores in (("", logits.double().log_softmax(1).numpy()), ("majority_", prior)):
        order = np.argsort(-scores, axis=1, kind="stable")
        judged[f"{prefix}answer"] = order[:, 0]
        judged[f"{prefix}right"] = order[:, 0] == identity
        judged[f"{prefix}top5"] = (order[:, :5] == identity[:, None]).any(1)
        judged[f"{prefix}loss"] = np.where(known, -scores[np.arange(len(safe)), safe], np.nan)
    return judged


def named(
    fold: LabelIndex, table: pd.DataFrame, labels: np.ndarray, judged: dict[str, np.ndarray], vocabulary: Sequence[str]
) -> pd.DataFrame:
    """One row a window: where it is, its label, and what `judge` found, with answers by name."""
    names = np.array(vocabulary, object)
    return pd.DataFrame(
        {
            "fold": fold.fold_name,
            "recording": [fold.recordings[i].name for i in table["recording"]],
            "start": table["start"].to_numpy(),
            "subject": [fold.subjects[i] for i in table["subject"]],
            "label": labels,
            "answer": names[judged.pop("answer")],
            "majority_answer": names[judged.pop("majority_answer")],
            "classes": len(names),
            **judged,
        }
    )


def figures(answers: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Value, chance (all labels alike) and majority (the commonest training labels) of each figure.

    Balanced accuracy is the mean over labels that are tested of the share that is right; macro-F1 the mean over labels that are
    tested or answered of 2 hits / (windows with the label + answers that name it).
    """
    one = 1 / answers["classes"]

    def balanced(column: str) -> float:
        return float(answers.groupby("label")[column].mean().mean())

    def row(value: float, chance: float, majority: float) -> dict[str, float]:
        return {"value": value, "chance": chance, "majority": majority}

    def macro_f1(answer: pd.Series) -> float:
        hits = answers["label"][answers["label"] == answer].value_counts()
        counts = answers["label"].value_counts().add(answer.value_counts(), fill_value=0)
        return float((2 * hits.reindex(counts.index, fill_value=0) / counts).mean())

    share = answers["label"].value_counts(normalize=True)  # answers by chance name each label alike
    guessed = float((2 * share * one.mean() / (share + one.mean())).mean())
    return {
        "accuracy": row(answers["right"].mean(), one.mean(), answers["majority_right"].mean()),
        "balanced_accuracy": row(balanced("right"), one.mean(), balanced("majority_right")),
        "macro_f1": row(macro_f1(answers["answer"]), guessed, macro_f1(answers["majority_answer"])),
        "top5": row(answers["top5"].mean(), (5 * one).clip(upper=1).mean(), answers["majority_top5"].mean()),
        "cross_entropy": row(
            answers["loss"].mean(), float(np.log(answers["classes"]).mean()), answers["majority_loss"].mean()
        ),
    }
