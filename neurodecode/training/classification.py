"""How often a classifier names the right label, beside chance and beside always naming the commonest: figures and table.

In: a trained classify run. Out: RUN/evaluation/test.json (`kind: classification`), RUN/evaluation/test_answers.csv.gz with
one row a test window, and a table as text. Each window is asked once, by the fold that tests it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from neurodecode.errors import SettingsError
from neurodecode.files import plain, read_json, write_json
from neurodecode.segments.labels import LabelIndex
from neurodecode.store.store import Store
from neurodecode.training import run_folder
from neurodecode.training.judging import figures, judge, named
from neurodecode.training.level_scores import LevelAnswerTable, judge_levels, level_lines, level_notes, level_result

if TYPE_CHECKING:
    from neurodecode.training.codebook_data import SubjectSource

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
    asked = [_ask(run, info, name, index, device) for name in info["folds"]]
    answers = pd.concat([words for words, _ in asked], ignore_index=True)
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
    folder = run / "evaluation"
    folder.mkdir(exist_ok=True)
    below = [levels for _, levels in asked if levels is not None]
    if below:
        how = info["settings"]["levels"]["word"]
        result["levels"] = level_result(folder, below, answers, how, index.labels.split.held_out)
    result = plain(result)
    run_folder.write_windows(folder / "test_answers.csv.gz", answers)
    write_json(folder / "test.json", result)
    return result


@torch.inference_mode()
def _ask(
    run: Path, info: dict[str, Any], name: str, index: LabelIndex, device: torch.device | str
) -> tuple[pd.DataFrame, LevelAnswerTable | None]:
    """One row a test window of a fold, see `judge`; and its answers below the word, if there are."""
    from neurodecode.training.codebook_stages import load_stage, load_windows
    from neurodecode.training.levels import read_levels

    model, settings = load_stage(run, name, device)
    data = load_windows(run, name, index, device)
    fold = data.source.index
    assert isinstance(fold, LabelIndex)
    words, below = _logits(model, data, fold.rows("test"))
    table, train = fold.table.iloc[fold.rows("test")], fold.table.iloc[fold.rows("train")]
    levels = read_levels(run / name)
    vocabulary = fold.vocabulary if levels is None else list(levels.candidates)
    composed = settings.levels is not None and settings.levels.word == "compose"
    identity = table["identity"].to_numpy()
    if composed:  # words that only test have a number here, which no training window gives them
        places = {word: vocabulary.index(word) for word in fold.labels.split.held_out}
        identity = np.array([places.get(word, number) for word, number in zip(table["label"], identity)])
    own = [train["identity"][train["subject"] == s].to_numpy() for s in range(len(fold.subjects))]
    counts = np.stack([np.bincount(labels, minlength=len(vocabulary)) for labels in own])  # [S, K]
    judged = judge(words, identity, counts[table["subject"]])
    found = named(fold, table, table["label"].to_numpy(), judged, vocabulary)
    return found, None if levels is None else judge_levels(fold, levels, words, below, composed)


def _logits(model: Any, data: SubjectSource, rows: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Of words [n, K], and of each level [n, K_l], none of them without levels."""
    words: list[torch.Tensor] = []
    below: list[list[torch.Tensor]] = []
    for first in range(0, len(rows), BATCH):
        batch = data[rows[first : first + BATCH]]
        subject = batch.subject if len(data.channels) > 1 else None
        if hasattr(model, "answer"):
            answers = model.answer(batch.signal, subject)
            words.append(answers.words.float().cpu())
            below.append([scores.float().cpu() for scores in answers.levels])
        else:
            words.append(model(batch.signal, subject).float().cpu())
    return torch.cat(words), [torch.cat(scores) for scores in zip(*below)]


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
    below = result.get("levels")
    for what, key, figure in level_lines(below) if below else []:
        rows.append([f"{what}: {FIGURES[key]}", *(_text(figure[column]) for column in ("value", "majority", "chance"))])
    start = result["start_from"]
    notes = [
        f"Split by rule {result['split']['rule']}; encoder from {'scratch' if start is None else start['task'] + ' run'}.",
        "Majority: the answer of training labels' frequencies, each subject's own. Chance: all labels alike.",
    ]
    notes += level_notes(below) if below else []
    if result["split"]["rule"] == "paper":
        notes.append("Rule paper cuts through runs: test trials come from runs that were trained on.")
    if result["simulated"]:
        notes.insert(0, "Simulated recordings: this says nothing about a brain.")
    return title, ["figure", "classifier", "majority", "chance"], rows, notes


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
