"""How often a classifier names the right label, beside chance and beside always naming the commonest: figures and table.

In: a trained classify run. Out: RUN/evaluation/test.json (`kind: classification`), RUN/evaluation/test_answers.csv.gz with
one row a test window, and a table as text. Each window is asked once, by the fold that tests it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from neurodecode.errors import SettingsError
from neurodecode.files import plain, read_json, write_json
from neurodecode.segments.labels import LabelIndex
from neurodecode.store.store import Store
from neurodecode.training import run_folder

SCHEMA = 1
BATCH = 64  # windows asked at a time
FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "top5": "top-5 accuracy",
    "cross_entropy": "cross-entropy, nats",
}


def score(run: Path, store: Store, index: LabelIndex, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Ask every fold of a run about its test windows, and write the result.

    Parameters
    ----------
    run
        Folder whose folds are trained.
    store, index
        What it was trained on.
    device
        Where signals and networks are.

    Returns
    -------
    dict
        The content of RUN/evaluation/test.json.
    """
    info = run_folder.read_run(run)
    answers = pd.concat([_ask(run, info, name, index, device) for name in info["folds"]], ignore_index=True)
    result = {
        "schema": SCHEMA,
        "kind": "classification",
        "name": info["name"],
        "simulated": info["simulated"],
        "split": {"name": "test", **{k: v for k, v in info["split"].items() if k != "per_fold"}},
        "folds": info["folds"],
        "start_from": info["start_from"],
        "n_windows": len(answers),
        "n_classes": int(answers["classes"].max()),
        "metrics": figures(answers),
        "subjects": [
            {"subject": name, "n_windows": len(rows), "metrics": figures(rows)}
            for name, rows in answers.groupby("subject", sort=True)
        ],
        "provenance": {
            "run": run.resolve().as_posix(),
            "store": store.path.resolve().as_posix(),
            "versions": run_folder.versions(),
        },
    }
    result = plain(result)
    folder = run / "evaluation"
    folder.mkdir(exist_ok=True)
    run_folder.write_windows(folder / "test_answers.csv.gz", answers)
    write_json(folder / "test.json", result)
    return result


@torch.inference_mode()
def _ask(run: Path, info: dict[str, Any], name: str, index: LabelIndex, device: torch.device | str) -> pd.DataFrame:
    """One row a test window of a fold; see `judge`."""
    from neurodecode.training.codebook_stages import load_stage, load_windows

    model, _ = load_stage(run, name, device)
    data = load_windows(run, name, index, device)
    fold = data.source.index
    assert isinstance(fold, LabelIndex)
    rows = fold.rows("test")
    logits = []
    for first in range(0, len(rows), BATCH):
        batch = data[rows[first : first + BATCH]]
        logits.append(model(batch.signal, batch.subject if len(data.channels) > 1 else None).float().cpu())
    table = fold.table.iloc[rows]
    train = fold.table.iloc[fold.rows("train")]
    own = [train["identity"][train["subject"] == s].to_numpy() for s in range(len(fold.subjects))]
    counts = np.stack([np.bincount(labels, minlength=len(fold.vocabulary)) for labels in own])  # [S, K]
    judged = judge(torch.cat(logits), table["identity"].to_numpy(), counts[table["subject"]])
    vocabulary = np.array(fold.vocabulary, object)
    return pd.DataFrame(
        {
            "fold": name,
            "recording": [fold.recordings[i].name for i in table["recording"]],
            "start": table["start"].to_numpy(),
            "subject": [fold.subjects[i] for i in table["subject"]],
            "label": table["label"].to_numpy(),
            "answer": vocabulary[judged.pop("answer")],
            "majority_answer": vocabulary[judged.pop("majority_answer")],
            "classes": len(vocabulary),
            **judged,
        }
    )


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


def read_classification(run: Path, split: str = "test") -> dict[str, Any]:
    """The result that training wrote.

    Raises
    ------
    SettingsError
        If the run is of another stage, is not finished, or another split is asked for.
    """
    info = run_folder.read_run(run)
    if info["settings"].get("task") != "classify":
        raise SettingsError(
            f"{run}: a run of the codebook task {info['settings'].get('task')}, which has no labels to be scored by; "
            "train a classifier with start_from set to it"
        )
    path = Path(run) / "evaluation" / "test.json"
    if split != "test":
        raise SettingsError(f"--split {split}: a classifier is scored on test windows only; use test")
    if not info["finished"] or not path.is_file():
        raise SettingsError(f"{run}: training did not finish; run the same neurodecode train command again")
    return read_json(path)


def classification_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, columns, rows and notes, all text."""
    title = (
        f"{result['name']}: {result['n_windows']} test windows, {result['n_classes']} labels, "
        f"{len(result['subjects'])} subject(s)"
    )
    rows = []
    for key, name in FIGURES.items():
        if key not in result["metrics"]:  # written before this figure was added
            continue
        figure = result["metrics"][key]
        rows.append([name, *(_text(figure[column]) for column in ("value", "majority", "chance"))])
    for entry in result["subjects"] if len(result["subjects"]) > 1 else []:
        figure = entry["metrics"]["accuracy"]
        rows.append(
            [f"accuracy of {entry['subject']}", *(_text(figure[column]) for column in ("value", "majority", "chance"))]
        )
    start = result["start_from"]
    notes = [
        f"Split by rule {result['split']['rule']}; encoder from {'scratch' if start is None else start['task'] + ' run'}.",
        "Majority: the answer of training labels' frequencies, each subject's own. Chance: all labels alike.",
    ]
    if result["split"]["rule"] == "paper":
        notes.append("Rule paper cuts through runs: test trials come from runs that were trained on.")
    if result["simulated"]:
        notes.insert(0, "Simulated recordings: this says nothing about a brain.")
    return title, ["figure", "classifier", "majority", "chance"], rows, notes


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
