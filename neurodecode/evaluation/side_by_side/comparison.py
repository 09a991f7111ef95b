"""Two evaluated runs side by side: the difference on the queries that both answered.

In: two run folders, each with `evaluation/<split>.json` and `<split>_ranks.csv.gz`. Out: a plain dict, and its table::

    result = compare_runs(Path("runs/one"), Path("runs/two"), metric="top10")
    result["difference"], result["low"], result["high"], result["wilcoxon_p"]

Runs may differ in everything but the question: signals cleaned in another way, other features, another network. What was
asked (which windows, against which candidates) must be the same, or the difference means nothing. Classifiers are compared
by their answers, and more than two stand in one table (`answers`, `summary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.ranks import read_ranks
from neurodecode.evaluation.retrieval.statistics import FEWEST_FOR_WILCOXON, FEWEST_SUBJECTS, compare
from neurodecode.evaluation.retrieval.tables import COLUMNS, figure_text, signed
from neurodecode.evaluation.side_by_side.answers import compare_answers, is_classification, runs_below
from neurodecode.evaluation.side_by_side.summary import summarise
from neurodecode.files import plain, read_json
from neurodecode.segments.windows import SAME_PLACE

NAMES = {**COLUMNS, "percentile_rank": "percentile rank", "median_rank": "mean rank"}
NAMES |= {"accuracy": "accuracy", "top5": "top-5", "cross_entropy": "cross-entropy, nats"}
LOWER_IS_BETTER = {"median_rank", "cross_entropy"}


def compare_any(runs: Sequence[Path], split: str = "test", metric: str | None = None) -> dict[str, Any]:
    """Two runs paired, or several classifiers in one summary.

    Parameters
    ----------
    runs
        Two runs of the aligner; or runs of classifiers, or folders that hold one a subject or seed.
    split
        test or valid; classifiers have test only.
    metric
        By default top10, of classifiers accuracy.

    Raises
    ------
    NeurodecodeError
        If they cannot be compared; see `compare_runs`, `compare_answers`, `summarise`.
    """
    absent = [run for run in runs if not Path(run).is_dir()]
    if absent:
        raise NeurodecodeError(f"{absent[0]}: no such folder; give evaluated runs, or folders of classifiers")
    kinds = [is_classification(run) for run in runs]
    if any(kinds) and not all(kinds):
        odd = runs[kinds.index(not kinds[0])]
        raise NeurodecodeError(f"{odd}: of another kind than {runs[0]}; compare classifiers with classifiers")
    if not any(kinds):
        if len(runs) != 2:
            raise NeurodecodeError(f"compare: {len(runs)} runs of the aligner; give two")
        return compare_runs(runs[0], runs[1], split, metric or "top10")
    if split != "test":
        raise NeurodecodeError(f"--split {split}: classifiers are scored on test windows only; use test")
    if len(runs) != 2:
        return summarise("classifiers", runs)
    sides = [runs_below(run) for run in runs]
    found = compare_answers(sides[0], sides[1], metric or "accuracy")
    for name, run in zip(("first", "second"), runs):
        found[name]["run"] = str(run)
    return {"kind": "classification-comparison", "split": split} | found


def compare_runs(
    first: Path,
    second: Path,
    split: str = "test",
    metric: str = "top10",
    *,
    repeats: int = 1_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Second run minus first, paired over queries.

    Parameters
    ----------
    first, second
        Folders of evaluated runs.
    split
        test or valid; both runs must be evaluated on it.
    metric
        A figure of the evaluation. Ranks are compared by their mean (`median_rank`): the median of a difference is not
        the difference of medians.
    repeats, seed
        Bootstrap resamples, and their seed.

    Returns
    -------
    dict
        `metric`, `split`, `n_queries`, `first` and `second` (`run`, `name`, `value`: mean over queries), `chance`,
        `difference` with `low`, `high`, `over`; `n_subjects`; `wilcoxon_p` (section 6.4: two-sided signed-rank over
        subjects; None with fewer than 6); `simulated`.

    Raises
    ------
    NeurodecodeError
        If a run is not evaluated on this split, the queries or candidates differ, or there is no such metric.
    """
    runs = (Path(first), Path(second))
    rankings, tables, results = [], [], []
    for run in runs:
        ranking, table = read_ranks(run, split)
        order = np.lexsort((table["start"].to_numpy(float), table["recording"].to_numpy(str)))
        rankings.append(ranking.take(order))
        tables.append(table.iloc[order].reset_index(drop=True))
        path = run / "evaluation" / f"{split}.json"
        if not path.is_file():
            raise NeurodecodeError(f"{path}: gone; run: neurodecode evaluate {run} --split {split}")
        results.append(read_json(path))
    _refuse_other_questions(runs, tables, results)
    queries = tables[0]
    found = compare(
        rankings[0],
        rankings[1],
        queries["subject"].to_numpy(),
        queries["unit"].to_numpy(),
        metric=metric,
        repeats=repeats,
        seed=seed,
    )
    sides = [
        {"run": str(run), "name": result["name"], "value": float(ranking.per_query()[metric].mean())}
        for run, result, ranking in zip(runs, results, rankings)
    ]
    if found["over"] == "segments" and queries["unit"].nunique() < results[0]["n_candidates"]:
        found["over"] = "stretches"  # windows overlap: units are stretches of a stimulus
    return plain(
        {
            "split": split,
            "n_queries": len(queries),
            "n_candidates": results[0]["n_candidates"],
            "first": sides[0],
            "second": sides[1],
            "chance": float(rankings[0].chance_per_query()[metric].mean()),
            **found,
            "simulated": any(result["simulated"] for result in results),
        }
    )


def comparison_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, columns, rows and notes of a comparison, all strings."""
    metric = result["metric"]
    data = "SIMULATED data" if result["simulated"] else "recorded data"
    title = f"{NAMES[metric]}, {result['split']} split, {data}, the same {result['n_queries']} windows"
    p_value = "-" if result["wilcoxon_p"] is None else f"{result['wilcoxon_p']:.2g}"
    interval = f"[{signed(metric, result['low'])}, {signed(metric, result['high'])}]"
    exact = result.get("exact")
    test = f"p = {p_value}" if exact is None else f"p = {p_value}, exact p = {exact['p']:.2g}"
    rows = [
        ["first", result["first"]["run"], figure_text(metric, result["first"]["value"])],
        ["second", result["second"]["run"], figure_text(metric, result["second"]["value"])],
        ["second - first", test, f"{signed(metric, result['difference'])} {interval}"],
        ["chance", "", figure_text(metric, result["chance"])],
    ]
    return title, ["", "run", NAMES[metric]], rows, _notes(result)


def _notes(result: dict[str, Any]) -> list[str]:
    notes = [f"[95 % interval over {result['over']}, paired]; p: two-sided signed-rank over subjects' means."]
    exact = result.get("exact")
    if exact is not None:
        notes.append(
            f"Exact p: McNemar, two-sided; {exact['only_first']} windows only the first got right, {exact['only_second']} only "
            "the second. It takes windows as independent, which neighbours in time are not."
        )
    counts = [len(result[side].get("runs", [])) for side in ("first", "second")]
    if max(counts) > 1:
        notes.append(f"Runs behind the two sides: {counts[0]} and {counts[1]}; a window's seeds are averaged first.")
    if result["wilcoxon_p"] is None and result["n_subjects"] < FEWEST_FOR_WILCOXON:
        notes.append(
            f"{result['n_subjects']} subject(s): a signed-rank test of fewer than {FEWEST_FOR_WILCOXON} cannot reach 0.05, "
            "so there is no p."
        )
    if 1 < result["n_subjects"] < FEWEST_SUBJECTS:
        notes.append(f"Only {result['n_subjects']} subjects: intervals over subjects are too short to lean on.")
    if result["n_subjects"] == 1:
        notes.append("One subject: the interval says how sure the difference is for this person, not for others.")
    if result["low"] <= 0 <= result["high"]:
        notes.append("The interval holds 0: these queries do not tell the runs apart.")
    else:
        better = (result["difference"] > 0) != (result["metric"] in LOWER_IS_BETTER)
        notes.append(f"On these windows the {'second' if better else 'first'} run is better.")
    if result["simulated"]:
        notes.append("Simulated: the response was planted. The figures test the code; they say nothing about brains.")
    return notes


def _refuse_other_questions(runs: tuple[Path, Path], tables: list[pd.DataFrame], results: list[dict[str, Any]]) -> None:
    """Stop unless both runs were asked the same; tables are sorted by recording and start."""
    a, b = tables
    between = f"{runs[0]} and {runs[1]} were not asked the same"
    advice = "evaluate runs with the same segments settings on stores of the same recordings"
    if len(a) != len(b):
        raise NeurodecodeError(f"{between}: {len(a)} windows against {len(b)}; {advice}")
    lengths = [result["window_seconds"] for result in results]
    if lengths[0] != lengths[1]:
        raise NeurodecodeError(f"{between}: windows of {lengths[0]:g} s against {lengths[1]:g} s; {advice}")
    for column in ("recording", "subject", "stimulus", "word"):
        _refuse_row(a[column].to_numpy() != b[column].to_numpy(), a, b, column, f"{between}: ", advice)
    # stores of other rates cut windows at other samples, by less than what makes them another segment
    for column in ("start", "time"):
        far = np.abs(a[column].to_numpy(float) - b[column].to_numpy(float)) > SAME_PLACE
        _refuse_row(far, a, b, column, f"{between}: ", advice)
    _refuse_row(a["pool"].to_numpy() != b["pool"].to_numpy(), a, b, "pool", f"{between}: ", advice)
    # which queries share a segment decides which candidates there are
    codes = [pd.factorize(table["identity"])[0] for table in tables]
    _refuse_row(codes[0] != codes[1], a, b, "identity", f"{between}: ", advice)


def _refuse_row(wrong: np.ndarray, a: pd.DataFrame, b: pd.DataFrame, column: str, between: str, advice: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        row = rows[0]
        where = f"{a['recording'].iloc[row]} at {float(a['start'].iloc[row]):.3f} s"
        raise NeurodecodeError(
            f"{between}{len(rows)} of {len(a)} windows differ in {column} (first: {where}, {a[column].iloc[row]!s} "
            f"against {b[column].iloc[row]!s}); {advice}"
        )
