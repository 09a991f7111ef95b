"""A run and its evaluation -> RUN/report.html: one file that opens anywhere and needs nothing else.

    write_report(Path("run"))

It shows what stands in `run.json`, `evaluation/test.json`, `metrics.csv` and `published.json`; it computes no score of its own.
Runs of the codebook stages have a page of their own (`codebook`), and so has the folder of a pipeline (`summary.json`).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from neurodecode.config import TrainSettings
from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.apart import tables_apart
from neurodecode.evaluation.retrieval.tables import evaluation_table, leaky, word_table
from neurodecode.evaluation.runs.seeds import FILE as SEEDS
from neurodecode.evaluation.runs.seeds import seeds_tables
from neurodecode.evaluation.side_by_side.summary import read_summary
from neurodecode.files import read_json, write_text
from neurodecode.reports import codebook, figures
from neurodecode.reports.baselines import baselines_content
from neurodecode.reports.published import published_rows
from neurodecode.reports.topography import sensor_maps
from neurodecode.training.load import load_fold, load_layouts
from neurodecode.training.run_folder import is_codebook, read_run, run_settings

LABELS = {
    "alone": "without its neighbours",
    "strangers": "with another window's neighbours",
    "ridge": "ridge",
    "ridge-shifted": "ridge, shifted in time",
    "noise": "noise in place of brain",
    "shuffled": "shuffled pairs",
    "constant": "constant answer",
}
COLOURS = {"ridge": figures.LINEAR, "ridge-shifted": figures.CONTROL}
MEANINGS = {
    "decoder": "The trained network on single windows.",
    "pooled": "Scores of all windows that heard the same segment, averaged first.",
    "alone": "The same network (model.context), each window by itself.",
    "strangers": "The same network, each window with the neighbours of another window of its subject.",
    "ridge": "A linear backward model with lags, per subject, its penalty chosen inside the training data.",
    "ridge-shifted": "The same model trained on features shifted in time: must fall to chance.",
    "noise": "The network given Gaussian noise: must be at chance.",
    "shuffled": "Answers paired with other windows: must be at chance.",
    "constant": "All candidates scored alike; ties get the middle rank, so this is chance itself.",
}


def write_report(run: Path) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run
        Folder of a run, best after `neurodecode evaluate`; that of a pipeline, which holds summary.json; that of a label with a
        run a seed, which holds seeds.json; or that of a table of baselines.

    Returns
    -------
    Path
        RUN/report.html.

    Raises
    ------
    NeurodecodeError
        If the folder is not a run, or its evaluation is damaged.
    """
    run = Path(run)
    if (run / "summary.json").is_file() and not (run / "run.json").is_file():
        content, template = codebook.summary_content(run, read_summary(run)), "summary.html.j2"
    elif (run / SEEDS).is_file() and not (run / "run.json").is_file():
        seeds = _read(run / SEEDS, "neurodecode run")
        content, template = {"result": seeds, "tables": seeds_tables(seeds)}, "seeds.html.j2"
    elif (run / "baselines.json").is_file():
        content, template = baselines_content(run), "baselines.html.j2"
    elif is_codebook(run):
        info = read_run(run)
        content = codebook.run_content(run, info) | {"settings_rows": _flat(info["settings"])}
        template = "codebook.html.j2"
    else:
        content, template = _content(run, read_run(run), _evaluation(run)), "report.html.j2"
    page = _environment().get_template(template).render(**content)
    write_text(run / "report.html", page)
    return run / "report.html"


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # autoescape: names of subjects, stimuli and words come from files that others wrote
    environment = Environment(
        loader=PackageLoader("neurodecode", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}" if isinstance(value, int) else value
    # a figure and its interval stand on two lines, so that six columns fit a page
    environment.filters["figure"] = lambda cell: cell.partition(" [")[0]
    environment.filters["interval"] = lambda cell: f"[{cell.partition(' [')[2]}" if " [" in cell else ""
    environment.filters["clock"] = lambda seconds: f"{int(seconds // 60)}:{seconds % 60:04.1f}"
    return environment


def _evaluation(run: Path) -> dict[str, Any] | None:
    path = run / "evaluation" / "test.json"
    return _read(path, "neurodecode evaluate") if path.is_file() else None


def _read(path: Path, command: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except ValueError as error:
        raise NeurodecodeError(f"{path}: damaged ({' '.join(str(error).split())}); run {command} again") from None


def _content(run: Path, info: dict[str, Any], result: dict[str, Any] | None) -> dict[str, Any]:
    """Everything the template shows."""
    settings = run_settings(info, str(run / "run.json"))
    content: dict[str, Any] = {
        "info": info,
        "settings": settings,
        "result": result,
        "table": None,
        "headline": [],
        "meanings": MEANINGS,
        "published": published_rows(run, result),
        "split": info["split"],
        "leaky": leaky(info["split"]),
        "curves": _safe(figures.learning_curves(table)) if (table := _metrics(run, info)) else None,
        "topography": _topography(run, info),
        "facts": _facts(info, settings),
        "drops": info["split"].get("dropped", {}),
        "settings_rows": _flat(info["settings"]),
        "commands": _commands(info, result),
    }
    if result is not None:
        title, columns, rows, notes = evaluation_table(result)
        top = _main_metric(result)
        content |= {
            "table": {"title": title, "columns": columns, "rows": rows, "notes": notes},
            "words": word_table(result),
            "apart": tables_apart(result),
            "headline": _headline(result),
            "main_figure": _safe(
                figures.intervals(_interval_rows(result, top), result["metrics"][top]["chance"], _name(top))
            ),
            "histogram": _safe(figures.rank_histogram(result["rank_histogram"])),
            "subjects": _subjects(result, top),
        }
    return content


def _safe(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)


def _main_metric(result: dict[str, Any]) -> str:
    """Top-10, unless there are so few candidates that it says little."""
    return "top10" if result["n_candidates"] > 20 else "match_mismatch"


def _name(metric: str) -> str:
    return {"top10": "top-10 accuracy", "match_mismatch": "match-mismatch accuracy"}[metric]


def _headline(result: dict[str, Any]) -> list[dict[str, str]]:
    """The figures a reader wants first, each with its chance."""
    shown = []
    for metric, label in (("top1", "top-1"), ("top10", "top-10"), ("match_mismatch", "match-mismatch")):
        figure = result["metrics"][metric]
        interval = f"{figure['low']:.3f} to {figure['high']:.3f}" if figure["low"] is not None else ""
        ridge = result["controls"].get("ridge", {}).get("metrics", {}).get(metric)
        shown.append(
            {
                "label": label,
                "value": f"{figure['value']:.3f}",
                "interval": interval,
                "chance": f"{figure['chance']:.3f}",
                "ridge": f"{ridge['value']:.3f}" if ridge else "",
            }
        )
    return shown


def _interval_rows(result: dict[str, Any], metric: str) -> list[tuple[str, dict[str, Any], str]]:
    rows = [("decoder", result["metrics"][metric], figures.DECODER)]
    if result.get("pooled"):
        rows.append(("decoder, pooled", result["pooled"]["metrics"][metric], figures.DECODER))
    for name, label in LABELS.items():
        if name in result["controls"]:
            rows.append((label, result["controls"][name]["metrics"][metric], COLOURS.get(name, figures.CONTROL)))
    return rows


def _subjects(result: dict[str, Any], metric: str) -> Any:
    values = {name: figures_[metric] for name, figures_ in result["per_subject"].items()}
    ridge = result["controls"].get("ridge", {}).get("per_subject", {})
    beside = {name: figures_[metric] for name, figures_ in ridge.items()}
    return _safe(figures.subject_bars(values, beside, result["metrics"][metric]["chance"], _name(metric)))


def _metrics(run: Path, info: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Columns of `metrics.csv` of each fold that has one."""
    found = {}
    for fold in info["folds"]:
        path = run / fold / "metrics.csv"
        if not path.is_file():
            continue
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if rows:
            found[fold] = {key: [float(row[key]) for row in rows] for key in ("epoch", "train_loss", "valid_loss")}
    return found


def _topography(run: Path, info: dict[str, Any]) -> Any:
    fold = info["folds"][0]
    if not (run / fold / "finished.json").is_file():
        return None
    model, _, _ = load_fold(run, fold)
    maps = sensor_maps(model, load_layouts(run / fold), len(info["subjects"]))  # type: ignore[arg-type]
    return None if maps is None else _safe(figures.topography(maps.positions, maps.maps))


def _facts(info: dict[str, Any], settings: TrainSettings) -> list[tuple[str, str]]:
    sizes, window = info["sizes"], settings.segments.window
    return [
        (
            "subjects",
            f"{len(info['subjects'])}: {', '.join(info['subjects'][:12])}{' ...' * (len(info['subjects']) > 12)}",
        ),
        ("recordings", str(len(info["recordings"]))),
        ("channels", f"{sizes['n_chans']} at {sizes['sfreq']:g} Hz"),
        ("window", f"{window.tmin:g} to {window.tmax:g} s, brain {1000 * window.shift:g} ms after the sound"),
        ("features", f"{settings.features.kind}, {sizes.get('n_features', sizes['n_outputs'])} dimension(s)"),
        ("objective", settings.objective.kind),
        ("parameters", f"{info['n_parameters']:,}"),
        ("folds", str(len(info["folds"]))),
        ("state", "finished" if info["finished"] else "training not finished"),
    ]


def _commands(info: dict[str, Any], result: dict[str, Any] | None) -> list[tuple[str, str]]:
    commands = [("trained by", info["command"])]
    if result is not None:
        commands.append(("evaluated by", result["provenance"]["command"]))
    return commands


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", json.dumps(value, ensure_ascii=False)))
    return rows
