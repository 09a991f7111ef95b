"""What more hours would give: a recipe refitted on nested parts of the training data, scored on one test set.

In: training settings and a store. Out: a folder ::

    DIR/forecast.json                        points, line, forecasts and cautions of each decoder
    DIR/forecast.svg                         the figure (written by `reports.forecast`)
    DIR/points/<decoder>-<fraction>-<draw>.npz   ranks of every test query; a point that is there is not computed again
    DIR/network/<fraction>-<draw>/<fold>/    training of the network, which resumes

    forecast(load_settings(TrainSettings, "demo", "configs/training"), Path("store"), Path("forecast"), ForecastSettings())

The test windows and candidates are the same for all parts. Ridge and network read the training windows alone, so at all the
data the ridge is a little below that of an evaluation, which reads the validation windows, too.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurodecode.config import EvaluationSettings, TrainSettings
from neurodecode.config.evaluation import ForecastSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.hours.extrapolation import Curve, extrapolate
from neurodecode.evaluation.hours.subsets import block_order, part_of, training_hours, without_validation
from neurodecode.evaluation.retrieval.metrics import Ranking, rank
from neurodecode.evaluation.retrieval.questions import Questions, ask
from neurodecode.evaluation.retrieval.scoring import NetworkDecoder, by_correlation, training_deviation
from neurodecode.evaluation.retrieval.statistics import FEWEST_SUBJECTS
from neurodecode.evaluation.retrieval.tables import COLUMNS, figure_text
from neurodecode.evaluation.runs import controls
from neurodecode.files import atomic_path, plain, read_json, write_json
from neurodecode.progress import Bar
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import WindowIndex, build_windows
from neurodecode.store.store import Store
from neurodecode.training.chosen import chosen_channels
from neurodecode.training.portion import chosen_subjects, sessions_of
from neurodecode.training.run_folder import first_difference, versions

METRICS = ("top1", "top5", "top10", "mrr", "match_mismatch", "percentile_rank")
NAMES = {**COLUMNS, "percentile_rank": "percentile rank"}


@dataclass(frozen=True)
class Part:
    """One draw of one part of the training data: the index of every fold, and the hours a subject."""

    fraction: float
    draw: int
    folds: list[WindowIndex]

    @property
    def hours(self) -> float:
        """Mean over folds."""
        return float(np.mean([training_hours(index) for index in self.folds]))


def forecast(
    training: TrainSettings, store: Path, out: Path, settings: ForecastSettings, progress: bool = True
) -> dict[str, Any]:
    """Fit, score and extrapolate; resumes where it was stopped.

    Parameters
    ----------
    training
        The recipe.
    store
        Folder that `preprocess` wrote.
    out
        Folder of the forecast: new, or one that this recipe and store began.
    settings
        Parts, draws, and whether to train the network.
    progress
        Show a progress bar on standard error, if that is a terminal.

    Returns
    -------
    dict
        The content of `forecast.json`.

    Raises
    ------
    NeurodecodeError
        If the folder holds another forecast, or a part is too small to train on.
    """
    from neurodecode.stimuli.features import compute_features

    _refuse_parts_of_parts(training)
    out, opened = Path(out), Store(store)
    index = build_windows(opened, training.segments, chosen_subjects(training, opened))
    _claim(out, training, settings, index)
    device = torch.device(_accelerator(settings))
    features = compute_features(opened, training.features, progress, index.borders)
    whole = [index.fold(name) for name in index.folds]
    first = BatchSource(whole[0], features, None, device, training.model.context)
    first = first.only(chosen_channels(training.channels, whole[0]))
    questions = ask([_source(first, fold) for fold in whole], "test")
    parts = _parts(whole, settings)
    decoders = ["ridge", "network"] if settings.network else ["ridge"]
    jobs = [(decoder, part) for decoder in decoders for part in parts if decoder == "network" or _needed(part)]
    with Bar(progress, transient=True) as bar:
        step = bar.stage("parts", len(jobs))
        for decoder, part in jobs:
            path = _point(out, decoder, part)
            if not path.is_file():
                fit = _ridge if decoder == "ridge" else _network
                _write_point(path, fit(part, first, questions, training, settings, out))
            step()
    result = _result(training, settings, opened, questions, whole, parts, decoders, out)
    write_json(out / "forecast.json", result)
    return result


def _parts(whole: list[WindowIndex], settings: ForecastSettings) -> list[Part]:
    """Every draw of every part, small to large."""
    orders = {draw: [block_order(fold, settings.seed + draw) for fold in whole] for draw in range(settings.repeats)}
    counts = [max(1, round(f * len(orders[0][0]))) for f in settings.fractions]
    if len(set(counts)) < len(counts):
        raise NeurodecodeError(
            f"--fractions {', '.join(f'{f:g}' for f in settings.fractions)}: the training data are {len(orders[0][0])} blocks, "
            f"so these parts hold {', '.join(map(str, counts))} of them, some the same; use larger fractions"
        )
    return [
        Part(fraction, draw, [part_of(fold, order, fraction) for fold, order in zip(whole, orders[draw])])
        for fraction in settings.fractions
        for draw in range(settings.repeats)
    ]


def _needed(part: Part) -> bool:
    """All the data are the same in every draw: one fit of the ridge will do."""
    return part.fraction < 1 or part.draw == 0


def _point(out: Path, decoder: str, part: Part) -> Path:
    return out / "points" / f"{decoder}-{part.fraction:g}-{part.draw}.npz"


def _write_point(path: Path, ranking: Ranking) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, better=ranking.better, tied=ranking.tied, pool=ranking.pool)


def _read_point(path: Path, n_queries: int) -> Ranking:
    with np.load(path) as stored:
        ranking = Ranking(stored["better"], stored["tied"], stored["pool"])
    if len(ranking.better) != n_queries:
        raise NeurodecodeError(f"{path}: holds {len(ranking.better)} windows, there are {n_queries}; delete it")
    return ranking


def _source(first: BatchSource, index: WindowIndex) -> BatchSource:
    """A source of other windows that shares signals and features."""
    source = copy.copy(first)
    source.index = index
    return source


def _ridge(
    part: Part,
    first: BatchSource,
    questions: Questions,
    training: TrainSettings,
    settings: ForecastSettings,
    out: Path,
) -> Ranking:
    sources = [_source(first, without_validation(index)) for index in part.folds]
    for source in sources:
        source.fit_scalers()
    asked = EvaluationSettings(controls=("ridge",), ridge=settings.ridge, seed=settings.seed)
    return rank(controls.ridge(questions, sources, asked, "test", lambda n: None).scores)


def _network(
    part: Part,
    first: BatchSource,
    questions: Questions,
    training: TrainSettings,
    settings: ForecastSettings,
    out: Path,
) -> Ranking:
    """Train each fold on the part, as many updates as all the data would get, and score."""
    asked = EvaluationSettings(controls=(), seed=settings.seed)
    sources = [_source(first, index) for index in part.folds]
    for source in sources:
        source.fit_scalers()

    def decoder(number: int) -> NetworkDecoder:
        source = sources[number]
        all_rows = len(first.index.fold(source.index.fold_name).rows("train"))
        recipe = same_updates(training, all_rows, len(source.index.rows("train")), part.draw)
        folder = out / "network" / f"{part.fraction:g}-{part.draw}" / source.index.fold_name
        model = _trained(recipe, source, folder).to(source.device)
        scale = training_deviation(source, model) if by_correlation(asked, recipe) else None
        return NetworkDecoder(model, recipe, scale)

    return rank(questions.scores(controls.score_all(decoder, questions, sources, asked, lambda n: None)))


def same_updates(training: TrainSettings, all_rows: int, rows: int, draw: int) -> TrainSettings:
    """The recipe with more epochs, so that a part of the data gets the updates that all of them would.

    With the same number of epochs a small part would be trained less, and more hours would look better than they are. Each
    draw has a seed of its own.
    """
    base, limit = training.training, training.training.steps_per_epoch

    def steps(n: int) -> int:
        each = max(1, round(n / base.batch_size))
        return each if limit is None else min(limit, each)

    times = steps(all_rows) / steps(rows)
    longer = base.model_copy(
        update={"epochs": math.ceil(base.epochs * times), "patience": math.ceil(base.patience * times)}
    )
    return training.model_copy(update={"training": longer, "seed": training.seed + draw})


def _trained(recipe: TrainSettings, source: BatchSource, folder: Path) -> torch.nn.Module:
    """The best network of a fold, trained if it is not."""
    from neurodecode.models.build import build_model
    from neurodecode.models.deep_mel import compared_dimensions, with_speech
    from neurodecode.objectives.siglip import with_siglip
    from neurodecode.training.fit import FoldData, train_fold
    from neurodecode.training.trainer import resolve_accelerator, resolve_precision

    index, chosen = source.index, recipe.model
    sizes: dict[str, Any] = {
        "n_chans": source.layouts.n_chans,
        "n_times": source.n_times,
        "sfreq": index.sfreq,
        "n_subjects": len(index.subjects),
        "layouts": source.layouts,
        "sessions": None if chosen.sessions == "none" else sessions_of(index, chosen.session_unit),
    }
    if not (folder / "finished.json").is_file():
        data = FoldData(
            source=source,
            train=index.rows("train"),
            valid=index.rows("valid"),
            n_features=source.dimension,
            **sizes,
        )
        finished = train_fold(
            recipe, data, folder, accelerator=resolve_accelerator(recipe), precision=resolve_precision(recipe)
        )
        write_json(folder / "finished.json", finished)
    model = build_model(chosen, n_outputs=compared_dimensions(recipe.speech, source.dimension), **sizes)
    model = with_siglip(with_speech(model, recipe.speech, source.dimension), recipe.objective)
    state = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    return model.eval()


def _result(
    training: TrainSettings,
    settings: ForecastSettings,
    store: Store,
    questions: Questions,
    whole: list[WindowIndex],
    parts: list[Part],
    decoders: list[str],
    out: Path,
) -> dict[str, Any]:
    metric = settings.metric
    if metric == "auto":
        metric = "top10" if len(questions.candidate_identity) > 20 else "match_mismatch"
    cluster, over = questions.clusters()
    found: dict[str, Any] = {}
    for decoder in decoders:
        hours, values, means = [], [], []
        chance = 0.0
        for fraction in settings.fractions:
            drawn = [p for p in parts if p.fraction == fraction and (decoder == "network" or _needed(p))]
            rankings = [_read_point(_point(out, decoder, p), len(questions)) for p in drawn]
            figures = [r.per_query() for r in rankings]
            hours.append(float(np.mean([p.hours for p in drawn])))
            values.append(np.stack([f[metric] for f in figures]))
            means.append({m: float(np.mean([f[m].mean() for f in figures])) for m in METRICS})
            chance = float(rankings[0].chance_per_query()[metric].mean())
        curve = Curve(np.array(hours), values, chance)
        found[decoder] = extrapolate(curve, cluster, repeats=settings.bootstrap, seed=settings.seed)
        for point, fraction, mean in zip(found[decoder]["points"], settings.fractions, means):
            point |= {"fraction": fraction, "metrics": mean}
    return plain(
        {
            "schema": 1,
            "name": training.name,
            "simulated": any(r.simulated for r in whole[0].recordings),
            "scope": "within-subject" if questions.seen else "across-subject",
            "metric": metric,
            "n_queries": len(questions),
            "n_candidates": len(questions.candidate_identity),
            "n_subjects": len(np.unique(questions.subjects)),
            "over": over,
            "decoders": found,
            "settings": training.model_dump(mode="json"),
            "forecast": settings.model_dump(mode="json"),
            "store": store.path.resolve().as_posix(),
            "store_sha256s": {r.name: r.sha256_signal for r in whole[0].recordings},
            "versions": versions(),
            "command": " ".join(["neurodecode", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d"),
        }
    )


def _claim(out: Path, training: TrainSettings, settings: ForecastSettings, index: WindowIndex) -> None:
    """Write down what the points of a folder are made of, or refuse a folder of other points."""
    path = out / "begun.json"
    now = plain(
        {
            "training": training.model_dump(mode="json"),
            "ridge": settings.ridge.model_dump(mode="json"),
            "seed": settings.seed,
            "store_sha256s": {r.name: r.sha256_signal for r in index.recordings},
        }
    )
    if path.is_file():
        different = first_difference(read_json(path), now)
        if different:
            key, old, new = different
            raise SettingsError(
                f"{out}: holds a forecast with {key}={old}, not {new}; give another --out, or set it back"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise SettingsError(f"{out}: is neither empty nor a forecast; give another --out")
    write_json(path, now)


def _refuse_parts_of_parts(training: TrainSettings) -> None:
    """Stop where the parts would not be what the recipe trains on."""
    for name in ("start_from", "minutes"):
        value = getattr(training, name)
        if value is not None:
            raise SettingsError(
                f"{name}: {value} limits what a run learns, and so does a forecast; leave it out of the recipe"
            )
    if training.channels is not None and training.channels.file is not None:
        raise SettingsError(
            "channels.file: was ranked on all the training data, of which a part must not know; choose channels by regions or "
            "names"
        )


def _accelerator(settings: ForecastSettings) -> str:
    there = torch.cuda.is_available()
    if settings.accelerator == "cuda" and not there:
        raise SettingsError("accelerator: cuda is not on this machine; use auto or cpu")
    return "cuda" if there and settings.accelerator != "cpu" else "cpu"


def forecast_tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, columns, rows and notes of each decoder's curve, all strings."""
    data = "SIMULATED data" if result["simulated"] else "recorded data"
    name, tables = NAMES[result["metric"]], []
    text: Callable[[float], str] = lambda value: figure_text(result["metric"], value)  # noqa: E731
    for decoder, found in result["decoders"].items():
        title = (
            f"{result['name']}, {decoder}: {data}, {result['n_queries']} test windows, {result['n_candidates']} candidates, "
            f"{result['n_subjects']} subject(s)"
        )
        rows = [
            [f"{p['fraction']:g} of the training data", f"{p['hours']:.3g}", _interval(text, p), str(p["draws"])]
            for p in found["points"]
        ]
        rows += [
            [f"forecast: {f['times']} times the hours", f"{f['hours']:.3g}", _interval(text, f), ""]
            for f in found["forecasts"]
        ]
        rows.append(["chance", "", text(found["chance"]), ""])
        gain, left = found["gain"], 0.5 ** found["law"]["slope"]
        notes = [
            f"[95 % interval over {result['over']} and draws]. A doubling of the hours leaves {left:.0%} of the "
            f"errors; the next gives {gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]. R squared of the fit "
            f"{found['r2']:.2f}."
        ]
        check = found["check"]
        if check:
            notes.append(
                f"Check: without the last point the curve forecasts {_interval(text, check)} for it; it is "
                f"{text(check['observed'])}."
            )
        notes += [f"Caution: {caution}" for caution in found["cautions"]]
        if 1 < result["n_subjects"] < FEWEST_SUBJECTS:
            notes.append(f"Only {result['n_subjects']} subjects: intervals over subjects are too short to lean on.")
        notes.append("Forecasts hold for the same people, task and recipe; that the curve goes on is an assumption.")
        if result["simulated"]:
            notes.append(
                "Simulated: the response was planted. The figures test the code; they say nothing about brains."
            )
        tables.append((title, ["", "hours a subject", name, "draws"], rows, notes))
    return tables


def _interval(text: Callable[[float], str], figure: dict[str, float]) -> str:
    return f"{text(figure['value'])} [{text(figure['low'])}, {text(figure['high'])}]"
