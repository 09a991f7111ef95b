"""What the answers below the word are worth, and those about words that only test: figures, files, rows of tables.

In: logits of a fold's test windows. Out: the entry `levels` of RUN/evaluation/test.json, RUN/evaluation/test_levels.csv.gz with
one row a test window and level, and, where words are held out and composed, test_held_out.csv.gz: their windows with only
held-out words to choose from. The figures of words themselves stand where those of any classifier do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from neurodecode.segments.label_levels import FoldLevels
from neurodecode.segments.labels import LabelIndex
from neurodecode.training import run_folder
from neurodecode.training.judging import figures, judge, named

FEWEST_FOR_TOP5 = 6  # values: with five or fewer every answer is among the first five


@dataclass
class LevelAnswerTable:
    """Answers of folds below the word.

    Attributes
    ----------
    levels
        One row a window and level: as those of words, and `level` and `word`.
    held_out
        One row a window of a held-out word, answered among held-out words only; None where there is no such answer.
    """

    levels: pd.DataFrame
    held_out: pd.DataFrame | None


def judge_levels(
    fold: LabelIndex, levels: FoldLevels, words: torch.Tensor, logits: Sequence[torch.Tensor], composed: bool
) -> LevelAnswerTable:
    """Answers of one fold.

    Parameters
    ----------
    fold, levels
        Windows, and the numbers of their words' values.
    words
        [n, candidates]: logits of the test windows' words.
    logits
        Of each level: [n, K_l].
    composed
        Whether held-out words can be answered.
    """
    test = fold.table.iloc[fold.rows("test")]
    right = levels.numbers(test["label"].tolist())  # [n, L]
    parts = []
    for k, name in enumerate(levels.names):
        counts = _counts(fold, levels, k)[test["subject"]]
        judged = judge(logits[k], right[:, k], counts)
        values = np.array([levels.values[word][k] for word in test["label"]], object)
        part = named(fold, test, values, judged, levels.vocabularies[k])
        parts.append(part.assign(level=name, word=test["label"].to_numpy()))
    held = fold.labels.split.held_out
    mine = test["label"].isin(held).to_numpy()
    among = None
    if composed and len(held) > 1 and mine.any():
        places = {word: k for k, word in enumerate(levels.candidates)}
        chosen = test[mine]
        identity = np.array([held.index(word) for word in chosen["label"]])
        scores = words[np.flatnonzero(mine)][:, [places[word] for word in held]]
        judged = judge(scores, identity, np.zeros((len(chosen), len(held))))
        among = named(fold, chosen, chosen["label"].to_numpy(), judged, held)
    return LevelAnswerTable(pd.concat(parts, ignore_index=True), among)


def _counts(fold: LabelIndex, levels: FoldLevels, k: int) -> np.ndarray:
    """How often training windows of each subject have each value of a level, [S, K_l]."""
    train = fold.table.iloc[fold.rows("train")]
    numbers = levels.numbers(train["label"].tolist())[:, k]
    own = [numbers[(train["subject"] == s).to_numpy()] for s in range(len(fold.subjects))]
    return np.stack([np.bincount(values, minlength=levels.sizes[k]) for values in own])


def level_result(
    folder: Path, tables: Sequence[LevelAnswerTable], words: pd.DataFrame, how: str, held: Sequence[str]
) -> dict[str, Any]:
    """Write the tables of answers, and return the entry `levels` of test.json.

    Parameters
    ----------
    folder
        RUN/evaluation.
    tables
        Of all folds.
    words
        Answers about words.
    how
        head or compose.
    held
        Words that only test.

    Returns
    -------
    dict
        `word` (how words are answered); `levels`: level -> `n_values`, `metrics`; `subjects`: `subject` and `metrics` (level ->
        figures); `held_out` (None without such words): `words`, and for `trained` and `held_out` words apart `n_windows`,
        `metrics` (of words; None where a head cannot name them) and `levels`; `among`: figures of held-out words if only they
        can be answered.
    """
    answers = pd.concat([table.levels for table in tables], ignore_index=True)
    run_folder.write_windows(folder / "test_levels.csv.gz", answers)
    among = [table.held_out for table in tables if table.held_out is not None]
    result: dict[str, Any] = {
        "word": how,
        "levels": {
            str(name): {"n_values": int(rows["classes"].max()), "metrics": level_figures(rows)}
            for name, rows in answers.groupby("level", sort=False)
        },
        "subjects": [
            {"subject": subject, "metrics": _each(rows)} for subject, rows in answers.groupby("subject", sort=True)
        ],
        "held_out": None,
    }
    if not held:
        return result
    sides = {}
    for side, asked in (("trained", ~words["label"].isin(held)), ("held_out", words["label"].isin(held))):
        below = answers["word"].isin(held) == (side == "held_out")
        answerable = asked.any() and (side == "trained" or how == "compose")
        sides[side] = {
            "n_windows": int(asked.sum()),
            "metrics": figures(words[asked]) if answerable else None,
            "levels": _each(answers[below]),
        }
    result["held_out"] = {"words": list(held), **sides, "among": None}
    if among:
        joined = pd.concat(among, ignore_index=True)
        run_folder.write_windows(folder / "test_held_out.csv.gz", joined)
        result["held_out"]["among"] = level_figures(joined)
    return result


def _each(answers: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    return {str(name): level_figures(rows) for name, rows in answers.groupby("level", sort=False)}


def level_figures(answers: pd.DataFrame) -> dict[str, dict[str, float]]:
    """As those of words; top-5 only above five values."""
    found = figures(answers)
    if answers["classes"].max() < FEWEST_FOR_TOP5:
        del found["top5"]
    return found


def level_lines(result: dict[str, Any]) -> list[tuple[str, str, dict[str, float]]]:
    """(what, figure, its values) of the entry `levels`, in the order of a table."""
    lines = [
        (f"{name} ({entry['n_values']} values)", key, figure)
        for name, entry in result["levels"].items()
        for key, figure in entry["metrics"].items()
    ]
    held = result["held_out"]
    if held is None:
        return lines
    for side, what in (("trained", "trained words"), ("held_out", "held-out words")):
        entry = held[side]
        lines += [(what, key, figure) for key, figure in (entry["metrics"] or {}).items()]
        lines += [
            (f"{what}, {name}", key, metrics[key])
            for name, metrics in entry["levels"].items()
            for key in ("accuracy", "balanced_accuracy")
        ]
    lines += [("held-out words among themselves", key, figure) for key, figure in (held["among"] or {}).items()]
    return lines


def level_rows(result: dict[str, Any], keys: Sequence[str]) -> list[list[str]]:
    """One row for each of `level_lines`' subjects: what, and of each figure `value (majority, chance)`."""
    rows: dict[str, dict[str, str]] = {}
    for what, key, figure in level_lines(result):
        numbers = [
            "-" if figure[name] is None or math.isnan(figure[name]) else f"{figure[name]:.3f}"
            for name in ("value", "majority", "chance")
        ]
        rows.setdefault(what, {})[key] = f"{numbers[0]} ({numbers[1]}, {numbers[2]})"
    return [[what, *(cells.get(key, "-") for key in keys)] for what, cells in rows.items()]


def level_notes(result: dict[str, Any]) -> list[str]:
    """What a reader must know of these figures."""
    notes = [
        "Levels: all follow from the word, so words trained on can be told by heart; only held-out words show that values were "
        "heard."
    ]
    if any(name[-1:].isdigit() for name in result["levels"]):
        notes.append("n/a, no such syllable, counts as a value.")
    if result["word"] == "compose":
        notes.append("Words are composed: the sum of the log-probabilities of their values.")
    held = result["held_out"]
    if held is not None:
        how = (
            "among all words, and among themselves"
            if result["word"] == "compose"
            else "which a head for words cannot name"
        )
        notes.append(f"{len(held['words'])} held-out words have no training or validation window ({how}).")
    return notes
