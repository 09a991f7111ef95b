"""What the report of a codebook run shows: a tokenizer, a masked encoder, a classifier, or all classifiers of a pipeline.

In: run.json, metrics.csv of each fold and, of a classifier, evaluation/test.json and test_answers.csv.gz. Out: values for the
templates codebook.html.j2 and summary.html.j2. Figures stand in those files already; only answers are counted here.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from neurodecode.evaluation.classification.beside import beside_table
from neurodecode.evaluation.side_by_side.summary import BASELINES, comparison_lines, subjects_table, summary_table
from neurodecode.files import read_json
from neurodecode.reports import label_figures
from neurodecode.training.classification import FIGURES, read_classification
from neurodecode.training.level_scores import level_rows
from neurodecode.training.run_folder import read_run

QUESTIONS = {
    "tokenizer": "How much of the signal survives a table of codes?",
    "masked": "Can hidden codes be told from the others?",
    "classify": "Which label was it?",
}
NOTHING = {  # what a constant answers as well, by the names of `answered_by_constant`
    "reconstruction": "The reconstruction is no better than a constant answer: the codes hold nothing of the signal.",
    "patches": "Hidden patches are predicted no better than by a constant answer: this stage has learned nothing.",
    "codes": "Hidden codes are named no better than by the most frequent code: this stage has learned nothing.",
    "embeddings": "Hidden embeddings are predicted no better than by their mean: this stage has learned nothing.",
}
RULES = {
    "run": "Whole runs stand on one side; the test runs chose nothing.",
    "leave-one-run-out": "Each run is tested once, by a network that saw none of it.",
    "paper": "Trials are dealt as in the released code, which cuts through runs: trials of one run stand on several sides, so "
    "whatever drifts slowly is shared between them.",
    "time": "Nothing is marked in these recordings: the last tenth of each validates, and nothing is tested.",
    "subjects": "Whole people stand on one side.",
}
PAIRS = 12  # rows of the table of confusions
ENDS = 6  # best labels, and as many worst


def run_content(run: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Everything the template shows of a run of any stage."""
    task = info["settings"]["task"]
    folds = metrics(run, info)
    if task == "classify":  # a guess among the labels of training, beside the curve
        known = info["split"]["labels"]["train"]
        folds = {name: table | {"chance": np.full(len(table["epoch"]), 1 / known)} for name, table in folds.items()}
    content: dict[str, Any] = {
        "info": info,
        "question": QUESTIONS[task],
        "labelled": task == "classify",
        "split": info["split"],
        "rule_meaning": RULES.get(info["split"]["rule"], ""),
        "drops": info["split"].get("dropped", {}),
        "curves": _curves(task, folds),
        "warnings": _warnings(task, info, folds),
        "cards": _pretraining_cards(task, folds),
        "facts": _facts(info),
        "published": read_json(run / "published.json") if (run / "published.json").is_file() else [],
        "table": None,
        "subjects": None,
        "confusion": None,
        "levels": None,
    }
    if task == "classify" and info["finished"] and (run / "evaluation" / "test.json").is_file():
        content |= _classification(run)
    return content


def metrics(run: Path, info: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Columns of `metrics.csv` of each fold that has one; what a row lacks is NaN."""
    found = {}
    for fold in info["folds"]:
        path = run / fold / "metrics.csv"
        if not path.is_file():
            continue
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if rows:
            found[fold] = {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]}
    return found


def _best(folds: dict[str, dict[str, np.ndarray]], column: str) -> float | None:
    """Mean over folds of a column in the epoch that was kept."""
    values = [
        float(table[column][int(np.nanargmin(table["valid_loss"]))]) for table in folds.values() if column in table
    ]
    mean = float(np.mean(values)) if values else math.nan
    return None if math.isnan(mean) else mean


def _pretraining_cards(task: str, folds: dict[str, dict[str, np.ndarray]]) -> list[dict[str, str]]:
    """The figures a reader wants first, each beside what costs nothing; of the kept epoch, on validation windows."""
    cards = []
    if task == "tokenizer" and (error := _best(folds, "valid_reconstruction")) is not None:
        zero, mean = _best(folds, "valid_zero"), _best(folds, "valid_mean")
        beside = "" if zero is None or mean is None else f"silence {zero:.3f}, each channel's mean {mean:.3f}"
        cards.append({"label": "reconstruction error", "value": f"{error:.3f}", "beside": beside})
        for column, label, form in (("usage", "codes in use", "{:.0%}"), ("perplexity", "perplexity", "{:.1f}")):
            if (value := _best(folds, column)) is not None:
                cards.append({"label": label, "value": form.format(value), "beside": "in the training of that epoch"})
    if task == "masked" and (accuracy := _best(folds, "valid_accuracy")) is not None:
        majority = _best(folds, "valid_majority")
        beside = "" if majority is None else f"the most frequent code {majority:.3f}"
        cards.append({"label": "hidden codes named", "value": f"{accuracy:.3f}", "beside": beside})
        if (loss := _best(folds, "valid_loss")) is not None:
            cards.append({"label": "cross-entropy", "value": f"{loss:.3f}", "beside": "nats a hidden token"})
    if task == "masked" and (cosine := _best(folds, "valid_cosine")) is not None:
        mean = _best(folds, "valid_mean_embedding")
        beside = "" if mean is None else f"the mean embedding {mean:.3f}"
        cards.append({"label": "cosine to hidden embeddings", "value": f"{cosine:.3f}", "beside": beside})
    if task == "masked" and (zero := _best(folds, "valid_zero")) is not None:
        error, mean = _best(folds, "valid_loss"), _best(folds, "valid_mean")
        beside = f"silence {zero:.3f}" + ("" if mean is None else f", each channel's mean {mean:.3f}")
        cards.append({"label": "error of hidden patches", "value": f"{error:.3f}", "beside": beside})
    return cards


def _warnings(task: str, info: dict[str, Any], folds: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """What a reader must know before any figure."""
    found = []
    usage = _best(folds, "usage")
    if task == "tokenizer" and usage is not None and usage < info["settings"]["least_usage"]:
        found.append(
            f"The table has collapsed: {usage:.1%} of its codes are in use "
            f"(least_usage is {info['settings']['least_usage']:.0%})."
        )
    if task != "classify" and folds:
        from neurodecode.training.codebook_task import (
            answered_by_constant,  # brings Lightning, which no other page needs
        )

        figures = {name: _best(folds, name) for table in folds.values() for name in table}
        known = {name: value for name, value in figures.items() if value is not None}
        found += [NOTHING[what] for what in answered_by_constant(known)]
    if task == "classify" and info["split"]["rule"] == "paper":
        found.append("The published split cuts through runs: its figures are no forecast for another day.")
    return found


def _curves(task: str, folds: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    if not folds:
        return []
    from neurodecode.reports import figures

    plain = {
        name: {k: table[k].tolist() for k in ("epoch", "train_loss", "valid_loss")} for name, table in folds.items()
    }
    curves = [{"figure": Markup(figures.learning_curves(plain)), "caption": "The loss that is minimised."}]
    drawn = {
        "tokenizer": [
            (
                "reconstruction",
                ["valid_reconstruction", "valid_zero", "valid_mean"],
                "Squared error on validation windows.",
            ),
            ("usage of the table", ["usage"], "Share of the codes that an epoch's training hit."),
            ("perplexity", ["perplexity"], "As many equally frequent codes would be as hard to guess."),
        ],
        "masked": [
            ("accuracy of hidden codes", ["valid_accuracy", "valid_majority"], "On validation windows."),
            ("cosine to hidden embeddings", ["valid_cosine", "valid_mean_embedding"], "On validation windows."),
            ("error of hidden patches", ["valid_loss", "valid_zero", "valid_mean"], "On validation windows."),
        ],
        "classify": [
            ("accuracy", ["valid_accuracy", "chance"], "On validation windows; the test windows chose nothing.")
        ],
    }
    for title, columns, caption in drawn[task]:
        if columns[-1] not in next(iter(folds.values())):  # what stands beside the figure belongs to another target
            continue
        there = [c for c in columns if all(c in table and np.isfinite(table[c]).any() for table in folds.values())]
        if there:
            curves.append({"figure": Markup(label_figures.metric_curves(folds, there, title)), "caption": caption})
    return curves


def _classification(run: Path) -> dict[str, Any]:
    result = read_classification(run)
    beside = run / "evaluation" / BASELINES
    result |= {"baselines": read_json(beside)["baselines"]} if beside.is_file() else {}
    title, columns, rows, notes = beside_table(result)
    # subjects and levels have tables of their own
    rows = [row for row in rows if row[0] in FIGURES.values()]
    cards = []
    for key in ("accuracy", "top5", "balanced_accuracy"):
        figure = result["metrics"][key]
        if figure["chance"] >= 1:  # top-5 of five labels is right whatever is answered
            continue
        nothing = f"chance {figure['chance']:.3f}, majority {figure['majority']:.3f}"
        cards.append({"label": FIGURES[key], "value": f"{figure['value']:.3f}", "beside": nothing})
    content: dict[str, Any] = {
        "cards": cards,
        "table": {"title": title, "columns": columns, "rows": rows, "notes": notes},
        "confusion": _confusion(run),
    }
    if "levels" in result:
        content["levels"] = {"columns": list(FIGURES.values()), "rows": level_rows(result["levels"], tuple(FIGURES))}
    if len(result["subjects"]) > 1:
        shown = [key for key in FIGURES if key in result["subjects"][0]["metrics"]]
        table = [
            [entry["subject"], str(entry["n_windows"]), *(_text(entry["metrics"][key]["value"]) for key in shown)]
            for entry in result["subjects"]
        ]
        values = {entry["subject"]: entry["metrics"]["accuracy"] for entry in result["subjects"]}
        content["subjects"] = {"columns": [FIGURES[key] for key in shown], "rows": table}
        content["subjects_figure"] = Markup(label_figures.subject_dots({"accuracy": values}, {}))
    return content


def _confusion(run: Path) -> dict[str, Any] | None:
    path = run / "evaluation" / "test_answers.csv.gz"
    if not path.is_file():
        return None
    answers = pd.read_csv(path, dtype={"label": str, "answer": str}, keep_default_na=False)
    labels, counts = confusion(answers)
    shown, given = counts.sum(1), counts.sum(0)
    share = np.divide(counts, shown[:, None], out=np.zeros(counts.shape), where=shown[:, None] > 0)
    wrong = [
        (int(counts[i, j]), i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and counts[i, j]
    ]
    wrong.sort(key=lambda row: (-row[0], -row[0] / shown[row[1]], row[1], row[2]))
    asked = [k for k in range(len(labels)) if shown[k]]
    ends = asked if len(asked) <= 2 * ENDS else asked[:ENDS] + asked[-ENDS:]
    return {
        "figure": Markup(label_figures.confusion_matrix(share, labels)),
        "pairs": [[labels[i], labels[j], str(n), f"{n / shown[i]:.0%}"] for n, i, j in wrong[:PAIRS]],
        "labels": [[labels[k], f"{share[k, k]:.0%}", str(int(shown[k])), str(int(given[k]))] for k in ends],
    }


def confusion(answers: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Labels from the one that is named best to the one named worst, and counts [shown, answered] in that order."""
    share = answers.assign(hit=answers["label"] == answers["answer"]).groupby("label")["hit"].mean()
    never = set(answers["answer"]) - set(share.index)  # answers that no test window has
    labels = sorted(share.index, key=lambda name: (-share[name], name)) + sorted(never)
    counts = pd.crosstab(answers["label"], answers["answer"]).reindex(index=labels, columns=labels, fill_value=0)
    return labels, counts.to_numpy()


def _facts(info: dict[str, Any]) -> list[tuple[str, str]]:
    sizes, names = info["sizes"], info["subjects"]
    counts = sorted(set(sizes["n_chans"]))
    start = info["start_from"]
    return [
        ("subjects", f"{len(names)}: {', '.join(names[:12])}{' ...' * (len(names) > 12)}"),
        ("channels", f"{' to '.join(map(str, {counts[0], counts[-1]}))} a subject at {sizes['sfreq']:g} Hz"),
        ("window", f"{sizes['n_times'] / sizes['sfreq']:g} s"),
        ("encoder from", "scratch" if start is None else f"{start['task']} run {start['run']}"),
        ("parameters", f"{info['n_parameters']:,}"),
        ("folds", str(len(info["folds"]))),
        ("seed", str(info["settings"]["seed"])),
        ("state", "finished" if info["finished"] else "training not finished"),
    ]


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def summary_content(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Everything the template shows of all classifiers of a pipeline."""
    title, columns, rows, notes = summary_table(summary)
    lines = comparison_lines(summary)
    mine, heads, lists = _stacked(*subjects_table(summary))
    values = {
        label: {subject: row["accuracy"] for subject, row in entry["subjects"].items()}
        for label, entry in (summary["labels"] | summary["baselines"]).items()
    }
    published = {
        label: {s: _leading(text) for s, text in entry["published"].get("subjects", {}).items()}
        for label, entry in summary["labels"].items()
    }
    runs = [
        _linked(folder, Path(run)) | {"label": label, "start": "scratch" if entry["start"] is None else entry["start"]}
        for label, entry in summary["labels"].items()
        for run in entry["runs"]
    ]
    pretraining = [_linked(folder, run) | _pretrained(run) for run in _starts(folder, summary)]
    return {
        "summary": summary,
        "question": summary.get("title") or QUESTIONS["classify"],
        "table": {"title": title, "columns": columns, "rows": rows, "notes": [n for n in notes if n not in lines]},
        "meanings": [RULES[rule] for rule in summary["rules"] if rule in RULES],
        "n_labels": max(entry["n_classes"] for entry in summary["labels"].values()),
        "lines": lines,
        "subjects": {"title": mine, "columns": heads, "rows": lists},
        "published": any(entry["published"] for entry in summary["labels"].values()),
        "figure": Markup(label_figures.subject_dots(values, published)),
        "pretraining": pretraining,
        "warned": sum(bool(row["warnings"]) for row in pretraining),
        "runs": runs,
    }


def _stacked(title: str, columns: list[str], rows: list[list[str]]) -> tuple[str, list[str], list[list[list[str]]]]:
    """Cells as lines, so that many labels fit a page: an interval and a published figure stand under the figure."""
    beside = [
        columns[k + 1] if columns[k + 1 : k + 2] == [f"{name}, published"] else "" for k, name in enumerate(columns)
    ]
    kept = [k for k, name in enumerate(columns) if name not in beside]
    found = []
    for row in rows:
        cells = []
        for k in kept:
            figure, _, interval = row[k].partition(" [")
            cells.append([figure, *([f"[{interval}"] if interval else [])])
            if beside[k] and row[k + 1] != "-":
                cells[-1].append(f"published {row[k + 1]}")
        found.append(cells)
    return title, [columns[k] for k in kept], found


def _there(folder: Path, run: Path) -> Path:
    """Where a run of a pipeline is now: its folder may have been moved since, or named from elsewhere."""
    top, parts = folder.resolve(), run.parts
    if not (run / "run.json").is_file() and "runs" in parts:
        moved = top.joinpath(*parts[len(parts) - 1 - parts[::-1].index("runs") :])
        return moved if (moved / "run.json").is_file() else run
    return run.resolve()


def _linked(folder: Path, run: Path) -> dict[str, str]:
    """Name of a run as seen from a page, and the link to its report; no link where there is none."""
    whole, top = _there(folder, run), folder.resolve()
    below = whole.relative_to(top) if whole.is_relative_to(top) else run
    there = (whole / "report.html").is_file()
    return {"name": below.as_posix(), "link": f"{below.as_posix()}/report.html" if there else ""}


def _starts(folder: Path, summary: dict[str, Any]) -> list[Path]:
    """Runs that the encoders came from, and those that these came from, each once, the first stage first."""
    found: list[Path] = []
    for entry in summary["labels"].values():
        for name in entry["runs"]:
            chain, run = [], _there(folder, Path(name))
            while (run / "run.json").is_file() and (start := read_run(run)["start_from"]):
                run = _there(folder, Path(start["run"]))
                chain.append(run)
            found += [run for run in reversed(chain) if run not in found and (run / "run.json").is_file()]
    return found


def _pretrained(run: Path) -> dict[str, Any]:
    """The first figure of a run without labels, what costs nothing beside it, and what speaks against the run."""
    info = read_run(run)
    task, folds = info["settings"]["task"], metrics(run, info)
    cards = _pretraining_cards(task, folds)
    figure = cards[0] if cards else {"label": "-", "value": "-", "beside": ""}
    return {
        "task": task,
        "subjects": ", ".join(info["subjects"]),
        "figure": figure,
        "warnings": _warnings(task, info, folds),
    }


def _leading(text: str) -> float:
    """78.6 of "78.60 ± 0.79", as a share; NaN where there is no number."""
    try:
        return float(text.split("±")[0]) / 100
    except ValueError:
        return math.nan
