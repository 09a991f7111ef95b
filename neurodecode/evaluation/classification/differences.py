"""Is a row of the table better than another? Differences of the same people on the same windows, with their tests.

In: rows of a table of baselines, and which windows each got right. Out: plain numbers, one entry a row::

    compare_rows(rows, right, person, reference="lda", figure="auc", repeats=2000)

Figures of a person rest on his own windows, so people are the units wherever there are several. With fewer than six people no
test over people can reach 0.05; there the windows are counted that only one of two rows got right (McNemar), which takes
windows as independent and says nothing about other people.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from neurodecode.evaluation.classification.figures import FIGURES, LEVEL
from neurodecode.evaluation.retrieval.statistics import FEWEST_FOR_WILCOXON, bootstrap

LOWER_IS_BETTER = ("cross_entropy",)
UNTESTED = ("chance", "majority")  # no method: shown, compared with if wanted, never one of the rows that are tested


def row_name(row: dict[str, Any], several: bool) -> str:
    """As `BaselineSettings.row_names` has it."""
    return f"{row['method']}.{row['scaling']}" if several and row["scaling"] else str(row["method"])


def compare_rows(
    rows: list[dict[str, Any]],
    right: dict[str, np.ndarray],
    person: np.ndarray,
    *,
    reference: str,
    figure: str,
    repeats: int,
) -> dict[str, Any]:
    """Each method's row minus the reference, paired.

    Parameters
    ----------
    rows
        Of baselines.json, each with `name`, `method` and `subjects`.
    right
        Name of a row -> share of its seeds that got each window right, [n], windows in one order for all rows. Chance is
        expected, not drawn, and has none.
    person
        [n]: whose windows they are.
    reference
        Name of a row.
    figure
        One of `figures.FIGURES`.
    repeats
        Resamples behind each interval.

    Returns
    -------
    dict
        `reference`, `figure`, `over` (people, or windows of one person), `test`, `n_people`, and `rows`: `row`,
        `difference` (of the means over people), `low` and `high` (95 %, bootstrap; None where the figure of one person is no
        mean over windows), `p` (two-sided), `p_holm` (Holm's step-down over the rows that have a p), `better` and `worse`
        (people, or windows), `n` (what was counted). `test` is wilcoxon (signed rank over people's figures), or sign:
        windows of which a larger share of seeds was right in one row, an exact test of a fair coin; with one seed a row that is
        McNemar's.
    """
    base = next(row for row in rows if row["name"] == reference)
    people = len(np.unique(person.astype(str)))
    test = "wilcoxon" if people >= FEWEST_FOR_WILCOXON else "sign"
    found = []
    for row in rows:
        if row["name"] == reference or row["method"] in UNTESTED:
            continue
        entry = (
            _over_people(row, base, figure, repeats) if people > 1 else _over_windows(row, base, right, figure, repeats)
        )
        if test == "wilcoxon":
            entry |= _wilcoxon(row, base, figure)
        else:
            entry |= _sign(right[row["name"]], right.get(reference))
        found.append({"row": row["name"]} | entry)
    for entry, corrected in zip(found, holm([entry["p"] for entry in found])):
        entry["p_holm"] = corrected
    return {
        "reference": reference,
        "figure": figure,
        "over": "people" if people > 1 else "windows",
        "test": test,
        "n_people": people,
        "rows": found,
    }


def holm(values: list[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979); those that are None are no test and do not count."""
    tested = [k for k, value in enumerate(values) if value is not None]
    out: list[float | None] = [None] * len(values)
    largest = 0.0
    for place, k in enumerate(sorted(tested, key=lambda k: float(values[k] or 0.0))):
        largest = max(largest, min(1.0, (len(tested) - place) * float(values[k] or 0.0)))
        out[k] = largest
    return out


def smallest_p(people: int) -> float:
    """What the signed-rank test of so many people says when all of them agree."""
    return 2.0 / 2**people


def _differences(row: dict[str, Any], base: dict[str, Any], figure: str) -> np.ndarray:
    """Each person's figure minus that of the reference; people for whom one of the two does not exist are left out."""
    values = [
        [entry["metrics"][figure]["value"] for entry in sorted(side["subjects"], key=lambda e: str(e["subject"]))]
        for side in (row, base)
    ]
    difference = np.array(values[0], float) - np.array(values[1], float)
    return np.asarray(difference[np.isfinite(difference)])


def _over_people(row: dict[str, Any], base: dict[str, Any], figure: str, repeats: int) -> dict[str, Any]:
    difference = _differences(row, base, figure)
    if not len(difference):
        return {"difference": None, "low": None, "high": None}
    draws = np.random.default_rng(0).integers(len(difference), size=(repeats, len(difference)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(difference[draws].mean(1), [tail, 1 - tail])
    return {"difference": float(difference.mean()), "low": float(low), "high": float(high)}


def _over_windows(
    row: dict[str, Any], base: dict[str, Any], right: dict[str, np.ndarray], figure: str, repeats: int
) -> dict[str, Any]:
    """Of one person: an interval over windows, where the figure is a mean over windows."""
    difference = _differences(row, base, figure)
    found = {"difference": float(difference[0]) if len(difference) else None, "low": None, "high": None}
    if figure == "accuracy" and base["name"] in right:
        apart = right[row["name"]] - right[base["name"]]
        low, high = bootstrap({"d": apart}, np.arange(len(apart)), repeats=repeats, seed=0)["d"]
        found |= {"low": low, "high": high}
    return found


def _wilcoxon(row: dict[str, Any], base: dict[str, Any], figure: str) -> dict[str, Any]:
    difference = _differences(row, base, figure)
    better = -difference if figure in LOWER_IS_BETTER else difference
    p: float | None = None
    if len(difference) >= FEWEST_FOR_WILCOXON:  # where nobody differs the test does not exist, but it was made
        p = float(stats.wilcoxon(difference).pvalue) if np.any(difference != 0) else 1.0
    return {
        "p": p,
        "better": int((better > 0).sum()),
        "worse": int((better < 0).sum()),
        "n": len(difference),
    }


def _sign(row: np.ndarray, base: np.ndarray | None) -> dict[str, Any]:
    if base is None:
        return {"p": None, "better": None, "worse": None, "n": len(row)}
    better, worse = int((row > base).sum()), int((row < base).sum())
    p = float(stats.binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0
    return {"p": p, "better": better, "worse": worse, "n": len(row)}


def comparison_columns(comparison: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Two more columns of the printed table, and what stands there for each row."""
    figure, reference = FIGURES[comparison["figure"]], comparison["reference"]
    several = sum(entry["p"] is not None for entry in comparison["rows"]) > 1
    columns = [f"{figure} - {reference}", "p (Holm)" if several else "p"]
    cells = {}
    for entry in comparison["rows"]:
        text = "-" if entry["difference"] is None else f"{entry['difference']:+.3f}"
        text += "" if entry["low"] is None else f" [{entry['low']:+.3f}, {entry['high']:+.3f}]"
        cells[entry["row"]] = [text, "-" if entry["p"] is None else f"{entry['p_holm']:.2g}"]
    return columns, cells


def comparison_notes(comparison: dict[str, Any]) -> list[str]:
    """What the two columns are, and how far they go."""
    people, reference = comparison["n_people"], comparison["reference"]
    tests = sum(entry["p"] is not None for entry in comparison["rows"])
    notes = [
        f"Differences from {reference} are paired over {comparison['over']} [95 % interval, bootstrap over "
        f"{comparison['over']}]."
    ]
    if comparison["test"] == "wilcoxon":
        least = smallest_p(people)
        text = f"p: two-sided signed-rank test over {people} people"
        if tests > 1:
            text += f", corrected by Holm for {tests} rows; with all people on one side p is {least:.2g}, corrected "
            text += f"{min(1.0, tests * least):.2g} for the first of {tests}"
        notes.append(text + ".")
    elif tests:
        text = "p: of accuracy, exact two-sided test over windows that one row has right and the other has not (McNemar; seeds "
        text += (
            f"are averaged first){f', corrected by Holm for {tests} rows' if tests > 1 else ''}. It takes windows as "
        )
        text += f"independent, which neighbours in time are not; {people} people are too few for a test over people."
        notes.append(text if people > 1 else text.replace(f"{people} people are", "one person is"))
    else:
        notes.append(f"{reference} answers no window, and {people} person(s) are too few for a test over people: no p.")
    return notes
