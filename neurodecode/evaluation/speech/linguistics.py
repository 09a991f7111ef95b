"""What the decoder's success goes with: phones, word frequency, part of speech, embeddings (paper section 6.4).

In: an evaluated run and the store it was trained on. Out: for each feature set the correlation R between the decoder's
success on a segment and what a ridge predicts of it, beside the same with success and features turned or shuffled
against each other::

    analyse(Path("run"))["sets"]["word frequency"]["r"]

Success is the logarithm of the probability of the true segment times the number of candidates; for windows anchored at
words, of the true word over the share of segments that have it, so that a word does not look easy because it is frequent
among the candidates. For scores that are no probabilities it is the percentile rank. It is averaged over all windows of
a segment: a segment is one observation, however many people heard it. R says what success goes with, not what the brain does:
features of speech go together, and loudness or rate may stand behind any of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import CHUNK, rank, true_columns
from neurodecode.evaluation.retrieval.ranks import Evaluated, read_evaluated
from neurodecode.evaluation.speech.word_features import FeatureSet, feature_sets
from neurodecode.evaluation.speech.words import NO_WORD, vocabulary, word_log_probabilities
from neurodecode.files import plain, write_json
from neurodecode.store.store import Store

FOLDS = 5
FEWEST = 40  # segments; with fewer, five folds leave a handful to predict
PENALTIES = 10.0 ** np.arange(
    -2, 5
)  # in units of the mean eigenvalue; chosen by leaving one out inside the training part
ALL = "all together"


def analyse(
    run: Path,
    split: str = "test",
    *,
    language: str | None = None,
    table: Path | None = None,
    store: Path | None = None,
    shuffles: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Analyse a run, and write `RUN/evaluation/<split>_linguistics.json`.

    Parameters
    ----------
    run
        Folder of an evaluated run, or of an ensemble.
    language, table
        As in `feature_sets`.
    store
        Where the store lies now, if it was moved.
    shuffles, seed
        Wrong pairings behind the control, and their seed.

    Returns
    -------
    dict
        `success` (what is predicted), `n_segments`, `pairings`, `sets`: name -> `r`, `unique` (R of all sets minus R of all
        but this one), `control` (`mean`, `high`: 95 % of wrong pairings lie below), `p_value`, `columns`, `covered`,
        `source`.

    Raises
    ------
    NeurodecodeError
        If the run is not evaluated, its stimuli have no words, or there are too few segments.
    """
    run = Path(run)
    found = read_evaluated(run, split)
    settings = found.result["provenance"]["settings"]["segments"]
    at_words = found.result.get("words") is not None
    candidates = found.questions.candidates
    seconds = found.result["window_seconds"] - settings["window"]["shift"]
    opened = Store(store or Path(found.result["provenance"]["store"]))
    sets = feature_sets(opened, candidates, seconds, at_words=at_words, language=language, table=table)
    success, what = success_of_queries(found, at_words)
    column = true_columns(found.scores.query_identity, found.scores.candidate_identity)
    known = np.isfinite(success)
    counts = np.bincount(column[known], minlength=len(candidates))
    mean = np.bincount(column[known], success[known], minlength=len(candidates)) / np.maximum(counts, 1)
    keep = np.flatnonzero(counts > 0)
    if len(keep) < FEWEST:
        raise NeurodecodeError(
            f"{run}: {len(keep)} segments with a known answer are too few for the analysis, it needs {FEWEST}; take a larger "
            "test share or shorter strides"
        )
    # in the order of time, so that neighbours stand beside each other
    order = keep[np.lexsort((candidates["time"].to_numpy()[keep], candidates["stimulus"].to_numpy(str)[keep]))]
    unit = np.zeros(len(candidates), np.int64)
    unit[column] = found.questions.unit
    result: dict[str, Any] = {
        "name": found.result["name"],
        "split": split,
        "simulated": found.result["simulated"],
        "success": what,
        "described": "the word at the anchor" if at_words else "the words in the window",
        "n_segments": len(order),
        "n_queries": int(known.sum()),
        "pairings": "turned in time" if found.questions.overlapping else "free",
        "shuffles": shuffles,
        "sets": relate(
            {name: FeatureSet(s.values[order], s.source, s.covered) for name, s in sets.items()},
            mean[order],
            unit[order],
            turned=found.questions.overlapping,
            shuffles=shuffles,
            seed=seed,
        ),
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
    }
    result = plain(result)
    write_json(run / "evaluation" / f"{split}_linguistics.json", result)
    return result


def success_of_queries(found: Evaluated, at_words: bool) -> tuple[np.ndarray, str]:
    """Success [Q] of each window (NaN where there is no known word), and what it is."""
    scores, n = found.scores, len(found.scores.candidate_identity)
    if found.result["score"] == "correlation":
        return rank(scores).per_query()["percentile_rank"], "percentile rank of the true segment"
    column = true_columns(scores.query_identity, scores.candidate_identity)
    words = vocabulary(scores.candidates["word"].astype(str).tolist())
    out = np.full(len(column), np.nan)
    step = max(1, CHUNK // n)
    for begin in range(0, len(column), step):
        rows = np.arange(begin, min(begin + step, len(column)))
        block = np.asarray(scores.scores[rows], np.float64)
        if not at_words:
            out[rows] = block[np.arange(len(rows)), column[rows]] - logsumexp(block, axis=1) + np.log(n)
            continue
        word = words.candidate[column[rows]]
        here = word != NO_WORD
        log_p = word_log_probabilities(block[here], words)
        share = words.counts[word[here]] / n
        out[rows[here]] = log_p[np.arange(here.sum()), word[here]] - np.log(share)
    if at_words:
        return out, "log probability of the true word over its share of the segments"
    return out, "log probability of the true segment over chance"


def relate(
    sets: dict[str, FeatureSet], success: np.ndarray, unit: np.ndarray, *, turned: bool, shuffles: int, seed: int
) -> dict[str, dict[str, Any]]:
    """R of each feature set and of all together, with its control.

    Parameters
    ----------
    sets
        Values [n, columns], rows in the order of time.
    success
        [n].
    unit
        [n]; rows with equal numbers stand in one fold.
    turned
        Wrong pairings keep the order in time and turn it (neighbours resemble each other); otherwise any pairing.
    """
    n = len(success)
    rng = np.random.default_rng(seed)
    pairings = [np.arange(n)]
    pairings += [np.roll(np.arange(n), rng.integers(1, n)) if turned else rng.permutation(n) for _ in range(shuffles)]
    targets = success[np.stack(pairings)].T  # [n, 1 + shuffles]
    folds = _folds(unit)
    together = np.concatenate([s.values for s in sets.values()], axis=1)
    found = {name: cross_validated(s.values, targets, folds) for name, s in sets.items()}
    found[ALL] = cross_validated(together, targets, folds)
    result: dict[str, dict[str, Any]] = {}
    for name, r in found.items():
        wrong = r[1:]
        entry: dict[str, Any] = {"r": float(r[0])}
        if name != ALL and len(sets) > 1:
            rest = np.concatenate([s.values for other, s in sets.items() if other != name], axis=1)
            entry["unique"] = float(found[ALL][0] - cross_validated(rest, targets[:, :1], folds)[0])
        entry["control"] = {"mean": float(wrong.mean()), "high": float(np.quantile(wrong, 0.95))}
        entry["p_value"] = float((1 + (wrong >= r[0]).sum()) / (1 + len(wrong)))
        if name != ALL:
            one = sets[name]
            entry |= {"columns": one.values.shape[1], "covered": one.covered, "source": one.source}
        result[name] = entry
    return result


def cross_validated(values: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Correlation [P] of targets [n, P] with ridge predictions of held-out folds, mean over folds.

    The penalty is chosen for each target by leaving one row out inside the training part. Within folds, not over all
    rows at once: the mean of a training part lies opposite to that of its test part, which would pull R below 0.
    """
    r = np.zeros((int(folds.max()) + 1, targets.shape[1]))
    for fold in range(len(r)):
        train, test = folds != fold, folds == fold
        predicted = _predict(values[train], targets[train], values[test])
        r[fold] = _pearson(predicted, targets[test])
    return r.mean(axis=0)


def _predict(values: np.ndarray, targets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Ridge on standardised columns, penalty by leave-one-out; [m, P]."""
    centre, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x, z = (values - centre) / scale, (wanted - centre) / scale
    mean = targets.mean(axis=0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ (targets - mean)  # [r, P]
    unit = max(float((s**2).mean()), 1e-12)
    errors = []
    for penalty in PENALTIES * unit:
        shrink = s**2 / (s**2 + penalty)
        residual = targets - mean - u @ (shrink[:, None] * projected)
        leverage = 1 / len(x) + (u**2) @ shrink  # the mean was fitted, too
        errors.append(((residual / (1 - leverage)[:, None]) ** 2).mean(axis=0))
    best = (PENALTIES * unit)[np.argmin(errors, axis=0)]  # [P]
    weights = vt.T @ (s[:, None] / (s[:, None] ** 2 + best) * projected)
    return z @ weights + mean


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of columns; 0 where one does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(norm > 1e-12, (a * b).sum(axis=0) / np.where(norm > 1e-12, norm, 1.0), 0.0)


def _folds(unit: np.ndarray) -> np.ndarray:
    """Fold [n] of each row: neighbouring rows together, a unit never cut."""
    codes = pd.factorize(unit)[0]
    return codes * FOLDS // (int(codes.max()) + 1)


def linguistics_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, columns, rows and notes of the analysis, all strings."""
    data = "SIMULATED data" if result["simulated"] else "recorded data"
    title = (
        f"{result['name']}: what success goes with, {result['split']} split, {data}, {result['n_segments']} segments"
    )
    columns = ["features", "columns", "R", "unique", "wrong pairings", "p"]
    rows = []
    for name, entry in result["sets"].items():
        control = f"{entry['control']['mean']:+.3f} (95 % below {entry['control']['high']:+.3f})"
        unique = f"{entry['unique']:+.3f}" if "unique" in entry else ""
        rows.append(
            [name, str(entry.get("columns", "")), f"{entry['r']:+.3f}", unique, control, f"{entry['p_value']:.3f}"]
        )
    notes = [
        f"R: correlation of success with a cross-validated ridge on {result['described']}; success: {result['success']}.",
        "unique: R of all together minus R without this set. p is not corrected for the number of sets.",
        "Features of speech go together: R says what success goes with, not what the brain answers to.",
    ]
    notes += [f"{name}: {entry['source']}." for name, entry in result["sets"].items() if "source" in entry]
    low = [
        f"{name} ({entry['covered']:.0%})" for name, entry in result["sets"].items() if entry.get("covered", 1) < 0.9
    ]
    if low:
        notes.append(f"Known for part of the segments only, the others got the mean: {', '.join(low)}.")
    if result["simulated"]:
        notes.append("Simulated: the response was planted. The figures test the code; they say nothing about brains.")
    return title, columns, rows, notes
