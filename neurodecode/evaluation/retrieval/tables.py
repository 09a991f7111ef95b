"""The table people read: the decoder beside ridge, controls and chance, and what must be known to read it.

In: the dict of `evaluate`. Out: title, columns, rows and notes, all strings; a figure stands with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from neurodecode.config.pipeline import CHANCE
from neurodecode.evaluation.retrieval.statistics import FEWEST_SUBJECTS

COLUMNS = {
    "top1": "top-1",
    "top5": "top-5",
    "top10": "top-10",
    "median_rank": "median rank",
    "mrr": "MRR",
    "match_mismatch": "match-mismatch",
}
WORD_COLUMNS = {f"{kind}top{k}": f"{kind.replace('_', ' ')}top-{k}" for kind in ("", "balanced_") for k in (1, 5, 10)}
SURE = 1.5  # a control must be above chance by so many half intervals before the table warns: 1 run in 600 by accident
ROWS = ("alone", "strangers", "ridge", "ridge-shifted", "noise", "shuffled", "constant")


def evaluation_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Turn a result into a table.

    Returns
    -------
    title, columns, rows, notes
        Strings; the first column names the row.
    """
    rows = [_row("decoder", result["metrics"])]
    pooled = result.get("pooled")
    if pooled:
        rows.append(_row(f"decoder, {pooled['windows_per_segment']:.3g} windows pooled", pooled["metrics"]))
    controls = result["controls"]
    for name in ROWS:
        if name not in controls:
            continue
        rows.append(_row(name, controls[name]["metrics"]))
        if name == "ridge" and pooled and "ridge" in pooled["controls"]:
            label = f"ridge, {pooled['windows_per_segment']:.3g} windows pooled"
            rows.append(_row(label, pooled["controls"]["ridge"]["metrics"]))
    rows.append(["chance", *(figure_text(m, result["metrics"][m]["chance"]) for m in COLUMNS)])
    return _title(result), ["", *COLUMNS.values()], rows, _notes(result)


def figure_text(metric: str, value: float | None) -> str:
    """A figure as it stands in tables: ranks with one decimal, shares with three."""
    if value is None:
        return "-"
    return f"{value:.1f}" if metric == "median_rank" else f"{value:.3f}"


def signed(metric: str, value: float) -> str:
    """A difference of figures with its sign."""
    return f"{value:+.1f}" if metric == "median_rank" else f"{value:+.3f}"


def _row(label: str, metrics: dict[str, Any]) -> list[str]:
    return [label, *(cell(metric, metrics[metric]) for metric in COLUMNS)]


def cell(metric: str, figure: dict[str, float | None]) -> str:
    """A figure with its interval, when there is one."""
    text = figure_text(metric, figure["value"])
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return text
    ends = figure_text(metric, low), figure_text(metric, high)
    return text if set(ends) == {text} else f"{text} [{ends[0]}, {ends[1]}]"


def _title(result: dict[str, Any]) -> str:
    data = "SIMULATED data" if result["simulated"] else "recorded data"
    context = result.get("context")
    around = "" if not context else f" (with {context['neighbours']:.3g} neighbours within {context['reach']:.3g} s)"
    return (
        f"{result['name']}: {result['split']['name']} split{', LEAKY' if leaky(result['split']) else ''}, {data}, "
        f"{result['scope']}, {result['n_queries']} windows "
        f"of {result['window_seconds']:.3g} s{around}, {result['n_candidates']} candidates"
    )


def published_row(
    figure: Mapping[str, Any], label: str, metrics: Mapping[str, Any], own: Callable[[Mapping[str, Any]], str]
) -> dict[str, Any]:
    """A published figure and what was measured of it, in %.

    Parameters
    ----------
    figure
        As `config.PublishedFigure` has it.
    label
        Of the run or runs that are shown.
    metrics
        Figures of these; none: not evaluated.
    own
        One of them -> text, where `label` is what repeats the figure.

    Returns
    -------
    dict
        `what`, `value`, `source`, `measured` (empty where another label repeats it, or none), `own`.
    """
    named, metric, measured = figure.get("label"), metrics.get(figure.get("metric", "top10")), ""
    if metric is not None and named == CHANCE:
        measured = f"{100 * metric['chance']:.1f}"
    elif metric is not None and named == label:
        measured = own(metric)
    return {
        **{key: str(figure[key]) for key in ("what", "value", "source")},
        "measured": measured,
        "own": named == label,
    }


def leaky(split: dict[str, Any]) -> str:
    """What a split by the published rule lets through, in a sentence; nothing when it lets nothing through."""
    audit = split.get("audit", {})
    if not audit.get("sentences_shared"):
        return ""
    return (
        f"LEAKY by the published rule (segments.split.repeated: apart): {audit['sentences_shared']} sentences of four words or "
        f"more stand on two sides; {audit['test_windows_repeated']} of {split['counts']['test']} test windows lie in blocks "
        "that hold a sentence from training or validation."
    )


def _notes(result: dict[str, Any]) -> list[str]:
    split, metrics = result["split"], result["metrics"]
    notes = [
        f"Single windows unless said otherwise; [95 % interval over {result['over']}]; p = {_p_text(result)} "
        f"(pairings redrawn within recordings, {result['p_value_pairings']})."
    ]
    if result["n_subjects"] == 1:
        notes.append("One subject: intervals say how sure the figures are for this person, not for others.")
    elif result["n_subjects"] < FEWEST_SUBJECTS:
        notes.append(f"Only {result['n_subjects']} subjects: intervals over subjects are too short to lean on.")
    counts = ", ".join(f"{n} {side}" for side, n in split["counts"].items())
    folds = f", {len(result['folds'])} folds" if len(result["folds"]) > 1 else ""
    notes.append(
        f"Split by {split['rule']}{folds}, seed {split['seed']}: {counts} windows; "
        f"stimulus content shared between sides: {split['overlap']:g} s."
    )
    if leaking := leaky(split):
        notes.append(leaking)
    chance = metrics["top10"]["chance"]
    notes.append(f"Every distinct segment is a candidate once: chance of top-10 is {100 * chance:.3g} %.")
    if result["n_candidates"] <= 10:
        notes.append(f"With {result['n_candidates']} candidates top-10 says nothing: everything is among the ten best.")
    notes += _ridge_notes(result)
    same_run = result.get("same_run")
    if same_run:
        figure = same_run["metrics"]["match_mismatch"]
        notes.append(
            f"Among the {same_run['n_candidates']:g} segments of its own run: match-mismatch "
            f"{cell('match_mismatch', figure)}, top-1 {cell('top1', same_run['metrics']['top1'])} "
            f"(chance {figure_text('top1', same_run['metrics']['top1']['chance'])})."
        )
    if result.get("pooled") is None:
        notes.append("No segment was heard twice, so there is nothing to pool.")
    elif "random-groups" in result["pooled"]["controls"]:
        figure = result["pooled"]["controls"]["random-groups"]["metrics"]["top10"]
        notes.append(f"Pooled with random other windows instead: top-10 {cell('top10', figure)}.")
    notes += _word_notes(result)
    notes += _warnings(result)
    if result["simulated"]:
        notes.append("Simulated: the response was planted. The figures test the code; they say nothing about brains.")
    return notes


def _ridge_notes(result: dict[str, Any]) -> list[str]:
    ridge = result["controls"].get("ridge")
    if ridge is None:
        return ["No ridge beside the network: leave it in evaluation.controls to know what a linear model does."]
    penalties = ", ".join(f"{p:.3g}" for p in ridge["penalties"])
    notes = [
        f"Ridge ({ridge['scope']}, lags {ridge['lags'][0]:g}..{ridge['lags'][1]:g} s): mean r with the true features "
        f"{ridge['r']:.3f}, penalties {penalties}, chosen inside the training data."
    ]
    notes += [f"Ridge: {note}" for note in ridge["notes"]]
    metric = "top10" if result["n_candidates"] > 10 else "match_mismatch"
    difference = result["against_ridge"][metric]
    found = (
        f"{COLUMNS[metric]} {signed(metric, difference['difference'])} "
        f"[{signed(metric, difference['low'])}, {signed(metric, difference['high'])}]"
    )
    if difference["low"] > 0:
        notes.append(f"The network is above the ridge: {found}.")
    else:
        worse = "below" if difference["high"] < 0 else "not above"
        notes.append(f"The network is {worse} the ridge: {found}.")
    return notes


def word_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Columns and rows of the figures over words; None when there are none."""
    words = result.get("words")
    if words is None:
        return None
    rows = [
        ["decoder", *(cell(metric, words["metrics"][metric]) for metric in WORD_COLUMNS)],
        ["most frequent words", *(cell(metric, words["majority"][metric]) for metric in WORD_COLUMNS)],
        ["chance", *(figure_text(metric, words["metrics"][metric]["chance"]) for metric in WORD_COLUMNS)],
    ]
    return ["", *WORD_COLUMNS.values()], rows


def _word_notes(result: dict[str, Any]) -> list[str]:
    words = result.get("words")
    if words is None:
        return []
    metric = "top10" if words["n_words"] > 20 else "top1"
    figures, blind = words["metrics"], words["majority"][metric]["value"]
    gain = words["against_majority"][metric]
    verdict = "above" if gain["low"] > 0 else "below" if gain["high"] < 0 else "not above"
    note = (
        f"Word at the anchor, {words['n_words']} words: {COLUMNS[metric]} {cell(metric, figures[metric])}, {verdict} the "
        f"most frequent words ({figure_text(metric, blind)}); balanced over words "
        f"{cell(metric, figures[f'balanced_{metric}'])}; chance {figure_text(metric, figures[metric]['chance'])}."
    )
    if words["without_word"]:
        note += f" {words['without_word']} windows have no known word at their anchor and are left out of this."
    return [note]


def _warnings(result: dict[str, Any]) -> list[str]:
    """What must not be above chance and is, and what looks too good."""
    notes = []
    for name in ("noise", "shuffled", "ridge-shifted"):
        control = result["controls"].get(name)
        if control is None:
            continue
        figure = control["metrics"]["match_mismatch"]
        if figure["low"] is not None and figure["value"] - figure["chance"] > SURE * (figure["value"] - figure["low"]):
            notes.append(
                f"Warning: {name} is above chance (match-mismatch {cell('match_mismatch', figure)}): something other "
                "than the brain's answer to a segment gives it away."
            )
    if result.get("training_control", "none") != "none":
        notes.append(f"This network was trained on a control: {result['training_control']}.")
    return notes


def _p_text(result: dict[str, Any]) -> str:
    value = result["p_value"]
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"
