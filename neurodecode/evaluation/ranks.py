"""What an evaluation leaves for later: one row a query, and the score matrix.

RUN/evaluation/<split>_ranks.csv.gz    who was asked what, candidates better than and tied with the true one, pool size
RUN/evaluation/<split>_scores.npz      scores [Q, N], query_identity [Q], candidate_identity [N]

    first, queries = read_ranks(Path("run-a"))
    second, _ = read_ranks(Path("run-b"))
    compare(first, second, queries["subject"].to_numpy(), queries["unit"].to_numpy())
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.questions import Questions
from neurodecode.evaluation.retrieval import Ranking, Scores
from neurodecode.files import atomic_path

MEGABYTE = 1_000_000
TEXT = ("subject", "recording", "run", "stimulus", "word", "label", "fold")


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
