"""What an evaluation leaves for later: one row a query, and the score matrix.

RUN/evaluation/<split>_ranks.csv.gz    who was asked what, candidates better than and tied with the true one, pool size
RUN/evaluation/<split>_scores.npz      scores [Q, N], query_identity [Q], candidate_identity [N]

    first, queries = read_ranks(Path("run-a"))
    second, _ = read_ranks(Path("run-b"))
    compare(first, second, queries["subject"].to_numpy(), queries["unit"].to_numpy())
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Ranking, Scores
from neurodecode.evaluation.retrieval.questions import NO_SENTENCE, Questions
from neurodecode.files import atomic_path, read_json

MEGABYTE = 1_000_000
OWN_COLUMNS = ("identity", "unit", "better", "tied", "pool", "ridge_better", "ridge_tied")
TEXT = ("subject", "recording", "run", "stimulus", "word", "label", "fold")


@dataclass
class Evaluated:
    """An evaluation as its files hold it.

    Attributes
    ----------
    run, result
        Its folder, and the content of `<split>.json`.
    questions, scores
        What was asked and answered. `questions.rows` counts queries: the rows of the window table are not kept.
    ridge
        Ranking of the ridge, if there was one.
    """

    run: Path
    result: dict[str, Any]
    questions: Questions
    scores: Scores
    ridge: Ranking | None


def read_evaluated(run: Path, split: str = "test") -> Evaluated:
    """Queries, candidates and scores of an evaluated run, without its network or store.

    Raises
    ------
    NeurodecodeError
        If the run is not evaluated, or its scores were too large to be kept.
    """
    ranking, table = read_ranks(run, split)
    folder = run / "evaluation"
    again = f"neurodecode evaluate {run} --split {split}"
    if not (folder / f"{split}.json").is_file():
        raise NeurodecodeError(f"{folder / f'{split}.json'}: gone; run: {again}")
    path = folder / f"{split}_scores.npz"
    if not path.is_file():
        raise NeurodecodeError(f"{path}: not there, the scores were not kept; run: {again} --set save_scores=100000")
    if "sentence" not in table:
        table["sentence"] = NO_SENTENCE  # written before sentences were numbered
    with np.load(path, allow_pickle=False) as stored:
        matrix, identity, candidate_identity = (
            stored[name] for name in ("scores", "query_identity", "candidate_identity")
        )
    if not np.array_equal(table["identity"].to_numpy(np.int64), identity):
        raise NeurodecodeError(f"{path}: holds other windows than {ranks_path(run, split).name}; run: {again}")
    result = read_json(folder / f"{split}.json")
    first = np.unique(identity, return_index=True)[1]  # candidates are the first occurrences, ordered by identity
    candidates = table.iloc[first][["stimulus", "time", "label", "run", "word", "sentence"]].reset_index(drop=True)
    queries = table.drop(columns=[c for c in table if c in OWN_COLUMNS])
    questions = Questions(
        rows=np.arange(len(table)),
        fold=pd.factorize(table["fold"])[0],
        candidate_rows=first,
        query_identity=identity,
        candidate_identity=candidate_identity,
        queries=queries,
        candidates=candidates,
        overlapping=result["p_value_pairings"] == "turned in time",
        unit=table["unit"].to_numpy(np.int64),
        seen=result["scope"] == "within-subject",
    )
    ridge = None
    if "ridge_better" in table:
        better, tied = (table[c].to_numpy(np.int64) for c in ("ridge_better", "ridge_tied"))
        ridge = Ranking(better, tied, ranking.pool)
    return Evaluated(run, result, questions, questions.scores(matrix), ridge)


def ranks_path(run: Path, split: str) -> Path:
    """Where the ranks of a run lie."""
    return Path(run) / "evaluation" / f"{split}_ranks.csv.gz"


def read_ranks(run: Path, split: str = "test") -> tuple[Ranking, pd.DataFrame]:
    """Ranking of every query of an evaluated run, and who the queries are (for `statistics.compare`).

    Raises
    ------
    NeurodecodeError
        If the run is not evaluated.
    """
    path = ranks_path(run, split)
    if not path.is_file():
        raise NeurodecodeError(f"{run}: not evaluated on {split}; run: neurodecode evaluate {run} --split {split}")
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)
    return Ranking(*(table[c].to_numpy(np.int64) for c in ("better", "tied", "pool"))), table


def write_ranks(path: Path, questions: Questions, ranking: Ranking, ridge: Ranking | None) -> None:
    """Write one row a query; equal rankings give equal bytes."""
    columns = {"better": ranking.better, "tied": ranking.tied, "pool": ranking.pool}
    if ridge is not None:
        columns |= {"ridge_better": ridge.better, "ridge_tied": ridge.tied}
    table = questions.queries.assign(identity=questions.query_identity, unit=questions.unit, **columns)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, compression={"method": "gzip", "mtime": 0})


def write_scores(path: Path, scores: Scores, most: float) -> None:
    """Write the matrix with its identities; one larger than `most` MB is not written, and an older one does not stay."""
    if scores.scores.nbytes > most * MEGABYTE:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            scores=np.asarray(scores.scores),
            query_identity=scores.query_identity,
            candidate_identity=scores.candidate_identity,
        )
