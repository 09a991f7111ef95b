"""The command line: a command a stage, nothing else.

Every command imports its room only when it runs, so `neurodecode --help` loads neither torch nor mne. Exit codes: 0
done; 1 finished, but some recordings failed; 2 bad input or settings (one line; `--debug` shows the traceback).
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from neurodecode import __version__
from neurodecode.errors import NeurodecodeError

PIPE_WIDTH = 200  # characters a line where no terminal says how wide it is

app = typer.Typer(
    name="neurodecode",
    help="From raw sEEG, MEG or EEG recordings to trained speech decoders and an audited top-k retrieval table.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override one setting, for example training.epochs=20. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class OnError(StrEnum):
    """What to do when a recording fails."""

    stop = "stop"
    proceed = "continue"


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    # a file or a pipe has no width: give tables the room they need
    terminal = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, width=None if terminal else PIPE_WIDTH)


def _progress() -> bool:
    """Progress bars only where a person looks."""
    return sys.stderr.isatty()


def _version(value: bool) -> None:
    if value:
        typer.echo(f"neurodecode {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A recording, a folder, a store or a run.")], as_json: AsJson = False
) -> None:
    """What is in a raw recording, a store or a run, and what is wrong with it."""
    from neurodecode.inspection import inspect_path, render

    found = inspect_path(path)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _console().print(render(found))
    # nothing but refused files means the path holds no usable recording
    entries = found.get("recordings", [])
    if entries and all("error" in entry for entry in entries):
        raise typer.Exit(2)


@app.command()
def preprocess(
    source: Annotated[str, typer.Argument(help="A file, a folder, a BIDS root, or a card of datasets/.")],
    out: Annotated[Path, typer.Option("--out", help="The store (a folder).")],
    config: Annotated[
        str, typer.Option("--config", help="Preset of configs/preprocessing, or a YAML file.")
    ] = "default",
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Recordings prepared at the same time.")] = 1,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler (tcp://...), instead of workers.")
    ] = None,
    on_error: Annotated[OnError, typer.Option(help="Stop at the first recording that fails, or go on.")] = OnError.stop,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo recordings that are already done.")] = False,
    root: Annotated[Path | None, typer.Option(help="Folder of the data, for a card.")] = None,
) -> None:
    """Raw recordings to a store of clean signals. Done recordings are skipped; a killed run resumes."""
    from neurodecode.config import PreprocessingSettings, load_settings
    from neurodecode.pipeline import sources_of
    from neurodecode.store.build import preprocess as build

    settings = load_settings(PreprocessingSettings, config, "configs/preprocessing", overrides or [])
    summary = build(
        sources_of(source, root=root),
        out,
        settings,
        workers=workers,
        dask=dask,
        on_error=on_error.value,
        overwrite=overwrite,
        progress=_progress(),
    )
    _print_summary(out, summary)
    if summary.failed:
        raise typer.Exit(1)


def _print_summary(out: Path, summary: Any) -> None:
    from neurodecode.pipeline import issue_line

    console = _console()
    console.print(
        f"{out}: {len(summary.done)} prepared, {len(summary.skipped)} already done, {len(summary.failed)} failed"
    )
    for issue in summary.failed:
        _console(stderr=True).print(f"failed: {issue_line(issue)}", markup=False, soft_wrap=True)


@app.command()
def features(
    store: Annotated[Path, typer.Argument(help="A store.")],
    config: Annotated[str, typer.Option("--config", help="Preset of configs/features, or a YAML file.")] = "mel",
    overrides: Overrides = None,
) -> None:
    """Stimulus features, computed once and cached beside the store."""
    from neurodecode.config import FeatureSettings, load_settings
    from neurodecode.stimuli.features import compute_features
    from neurodecode.store.store import Store

    settings = load_settings(FeatureSettings, config, "configs/features", overrides or [])
    made = compute_features(Store(store), settings, progress=_progress())
    _console().print(f"{made.path}: {len(made.names)} stimuli, {made.dimension} dimension(s)")


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="Preset of configs/training, or a YAML file.")],
    store: Annotated[Path, typer.Option(help="The store.")],
    out: Annotated[Path, typer.Option(help="The run (a folder).")],
    overrides: Overrides = None,
) -> None:
    """Train one decoder, or one stage of the codebook encoder. A finished run is kept; a killed one resumes."""
    from neurodecode.config import CodebookTrainSettings, load_training

    settings = load_training(config, overrides or [])
    if isinstance(settings, CodebookTrainSettings):
        from neurodecode.training.codebook import fit_codebook, what_next

        run = fit_codebook(settings, store, out, progress=_progress())
        _console().print(f"{run}: trained; next: {what_next(settings, run)}", markup=False)
        return
    from neurodecode.training.fit import fit

    run = fit(settings, store, out, progress=_progress())
    _console().print(f"{run}: trained; next: neurodecode evaluate {run}")


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="A trained run that does not know the subject.")],
    store: Annotated[Path, typer.Option(help="The store with the subject's recordings.")],
    subject: Annotated[str, typer.Option(help="Name of the subject.")],
    out: Annotated[Path, typer.Option(help="The new run (a folder).")],
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Of training signal; 0: the mean of known subjects. Default: all.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Fit the subject layer of a trained run to somebody new; nothing else learns."""
    from neurodecode.training.calibrate import calibrate as fit_subject

    made = fit_subject(run, store, subject, minutes, out, overrides or [], progress=_progress())
    _console().print(f"{made}: calibrated; next: neurodecode evaluate {made}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A trained run.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    config: Annotated[
        str | None, typer.Option("--config", help="Preset of configs/evaluation, or a YAML file.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score a run beside chance, ridge and controls; writes RUN/evaluation/SPLIT.json."""
    from neurodecode.config import EvaluationSettings, load_settings
    from neurodecode.evaluation.evaluate import evaluate as score
    from neurodecode.training.run_folder import is_codebook

    if is_codebook(run):
        from neurodecode.evaluation.classification.beside import evaluate_classification

        settings = load_settings(EvaluationSettings, config, "configs/evaluation", overrides or [])
        found = evaluate_classification(run, settings, split)
        if as_json:
            typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        else:
            print_evaluation(found)
        return
    settings = load_settings(EvaluationSettings, config, "configs/evaluation", overrides or [])
    result = score(run, settings, split=split, progress=_progress())
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        print_evaluation(result)


@app.command()
def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Two evaluated runs or more, of the same windows and split.")],
    out: Annotated[Path, typer.Option(help="Folder of the result; compare reads it like a run.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    as_json: AsJson = False,
) -> None:
    """Average the probabilities of runs, usually of several seeds, and score the average beside each member."""
    from neurodecode.evaluation.ensemble import ensemble as average

    result = average(runs, out, split)
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        print_evaluation(result)


@app.command()
def linguistics(
    run: Annotated[Path, typer.Argument(help="An evaluated run, or an ensemble.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    words: Annotated[
        Path | None, typer.Option(help="TSV of word features: a column word, and features beside it.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the speech, for word frequencies.")] = "en",
    store: Annotated[Path | None, typer.Option(help="Where the store lies now, if it was moved.")] = None,
    shuffles: Annotated[int, typer.Option(min=20, help="Wrong pairings behind the control.")] = 200,
    as_json: AsJson = False,
) -> None:
    """What the decoder's success goes with: phones, word frequency, part of speech, embeddings, beside wrong pairings."""
    from neurodecode.evaluation.linguistics import analyse, linguistics_table

    result = analyse(run, split, language=language, table=words, store=store, shuffles=shuffles)
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        _print_table(*linguistics_table(result))


@app.command()
def baselines(
    config: Annotated[str, typer.Argument(help="Preset of configs/baselines, or a YAML file.")],
    store: Annotated[Path, typer.Option(help="The store.")],
    out: Annotated[Path, typer.Option(help="Folder of the answers and of the table.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Classification by many methods on the same windows: one table. What is answered already is kept."""
    from rich.table import Table

    from neurodecode.config import load_settings
    from neurodecode.config.baselines import BaselineSettings
    from neurodecode.evaluation.classification.table import run_baselines
    from neurodecode.evaluation.classification.tables import baselines_table

    settings = load_settings(BaselineSettings, config, "configs/baselines", overrides or [])
    errors = _console(stderr=True)
    result = run_baselines(
        settings, store, out, say=lambda line: errors.print(line, markup=False) if _progress() else None
    )
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
        return
    title, columns, rows, notes = baselines_table(result)
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _console().print(table)
    for note in [*notes, f"{out / 'baselines.json'}: settings, each person's figures, confusion matrices."]:
        _console().print(note, markup=False)


@app.command()
def forecast(
    config: Annotated[str, typer.Argument(help="Preset of configs/training, or a YAML file.")],
    store: Annotated[Path, typer.Option(help="The store.")],
    out: Annotated[Path, typer.Option(help="Folder of the forecast.")],
    network: Annotated[bool, typer.Option("--network", help="Refit the network, too: 4 x repeats trainings.")] = False,
    fractions: Annotated[str, typer.Option(help="Parts of the training data, up to all of it.")] = "0.125,0.25,0.5,1",
    repeats: Annotated[int, typer.Option(min=1, help="Random draws of each part.")] = 3,
    metric: Annotated[str, typer.Option(help="Figure, for example top10; auto chooses by the candidates.")] = "auto",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """What more hours would give: refit on parts of the training data, and extrapolate. A killed one resumes."""
    from neurodecode.config import TrainSettings, load_settings, parse_yaml, validate
    from neurodecode.config.evaluation import ForecastSettings
    from neurodecode.evaluation.forecast import forecast as look_ahead
    from neurodecode.evaluation.forecast import forecast_tables
    from neurodecode.reports.forecast import write_figure

    wanted = {"network": network, "fractions": parse_yaml(f"[{fractions}]", "--fractions"), "repeats": repeats}
    settings = validate(ForecastSettings, wanted | {"metric": metric}, "forecast")
    training = load_settings(TrainSettings, config, "configs/training", overrides or [])
    result = look_ahead(training, store, out, settings, progress=_progress())
    figure = write_figure(result, out)
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
        return
    for table in forecast_tables(result):
        _print_table(*table)
    _console().print(f"figure: {figure}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Evaluated runs, or folders of classifiers (subjects, seeds).")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    metric: Annotated[
        str | None, typer.Option(help="Figure to compare: top10 (default), mrr ...; of classifiers accuracy, top5 ...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Two: second minus first, paired over the windows both answered. Several classifiers: all in one table."""
    from neurodecode.evaluation.comparison import compare_any, comparison_table

    result = compare_any(runs, split, metric)
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    elif "labels" in result:
        print_evaluation(result)
    else:
        _print_table(*comparison_table(result), left=2)


def print_evaluation(result: dict[str, Any]) -> None:
    """The tables of a retrieval, of a classification, or of all classifiers of a pipeline."""
    from neurodecode.evaluation.apart import tables_apart
    from neurodecode.evaluation.summary import subjects_table, summary_table
    from neurodecode.evaluation.tables import evaluation_table
    from neurodecode.training.classification import classification_table

    if result.get("kind") == "classification-summary":
        _print_table(*subjects_table(result), [])
        _print_table(*summary_table(result))
        return
    as_table = classification_table if result.get("kind") == "classification" else evaluation_table
    _print_table(*as_table(result))
    if result.get("kind") != "classification":
        for table in tables_apart(result):
            _print_table(*table)


def _print_table(title: str, columns: list[str], rows: list[list[str]], notes: list[str], left: int = 1) -> None:
    """A table with its notes; intervals are left out where they do not fit. The first `left` columns hold text."""
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    widths = [max(len(cells[i]) for cells in [columns, *rows]) for i in range(len(columns))]
    narrow = console.width < sum(widths) + 3 * len(widths) + 1
    if narrow and left == 1:  # a table that wraps cannot be read: the intervals stay in the file and in the report
        rows = [[cell.partition(" [")[0] for cell in row] for row in rows]
        notes = ["Intervals do not fit this terminal; they stand in the evaluation file and in the report.", *notes]
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        wide = 13 if i == 0 and left == 1 else None
        table.add_column(column, justify="left" if i < left else "right", no_wrap=i >= left, min_width=wide)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    for note in notes:
        console.print(note, markup=False)


@app.command()
def channels(
    store: Annotated[Path, typer.Argument(help="A store.")],
    config: Annotated[
        str | None, typer.Option("--config", help="Rank them: preset of configs/selection, or a YAML file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the ranking and its maps.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """The channels of a cohort: where each stands, shaft, region, position; with --config, ranked on training windows."""
    from rich.table import Table

    from neurodecode.inspection import cohort_channels

    if config is not None or out is not None or overrides:
        from neurodecode.reports.channel_maps import draw_selection
        from neurodecode.selection.command import rank_command, selection_tables

        folder, selection = rank_command(config, store, out, overrides or [], _progress())
        draw_selection(selection, folder)
        if as_json:
            typer.echo(json.dumps(selection, indent=1, ensure_ascii=False))
            return
        for ranked in selection_tables(selection, folder):
            _print_table(*ranked, left=3)
        return
    rows = cohort_channels(store)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table()
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _console().print(table)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run, best after evaluate.")]) -> None:
    """One self-contained HTML file about a run."""
    from neurodecode.reports.report import write_report

    _console().print(f"report: {write_report(run)}")


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline of pipelines/, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of all results.")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Recordings prepared at the same time.")] = 1,
    on_error: Annotated[OnError, typer.Option(help="Stop at the first recording that fails, or go on.")] = OnError.stop,
) -> None:
    """All stages of a pipeline. Done stages are skipped, and it is said why one is redone."""
    from neurodecode.pipeline import load_pipeline, run_pipeline

    settings = load_pipeline(pipeline, overrides or [])
    console = _console()
    failed = run_pipeline(
        settings,
        out,
        workers=workers,
        on_error=on_error.value,
        progress=_progress(),
        say=lambda line: console.print(line, markup=False, soft_wrap=True),
        show=print_evaluation,
    )
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(store: Annotated[Path, typer.Argument(help="A store.")]) -> None:
    """Check every checksum of a store."""
    from neurodecode.store.verify import verify_store

    problems = verify_store(store)
    for problem in problems:
        _console(stderr=True).print(f"{problem.file}: {problem.what}", markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(2)
    _console().print(f"{store}: every checksum holds")


@app.command()
def download(
    card: Annotated[str, typer.Argument(help="A card of datasets/ that names its hosts, or a YAML file.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the data; else that of the card.")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Take only paths like 'sub-01/*'. Repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Files under way at the same time.")] = 4,
    check: Annotated[bool, typer.Option("--check", help="Read all that is there and compare it.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="List the hosts again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files.")] = False,
) -> None:
    """A public cohort from its hosts. Broken transfers resume; no half file is taken for a whole one."""
    from neurodecode.download.command import load_download_card, run_download
    from neurodecode.pipeline import folder_of

    found = load_download_card(card)
    folder = folder_of(found, root)
    failed = run_download(found, folder, include or [], workers, check, refresh, dry_run, _console(), _progress())
    for line in failed:
        _console(stderr=True).print(f"failed: {line}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def simulate(
    config: Annotated[str, typer.Argument(help="Preset of configs/simulation, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the BIDS tree.")],
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a cohort made before.")] = False,
) -> None:
    """A cohort with a planted response to speech, as real files in a BIDS tree."""
    from neurodecode.config import SimulationSettings, load_settings
    from neurodecode.simulation.simulate import simulate as make

    settings = load_settings(SimulationSettings, config, "configs/simulation", overrides or [])
    _console().print(f"simulated cohort: {make(settings, out, overwrite=overwrite)}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Versions, devices, optional parts: present, or how to get them."""
    from neurodecode.doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for section, entries in found.items():
        typer.echo(section)
        for name, value in entries.items():
            typer.echo(f"  {name:<14} {value}")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: turns errors that a user caused into one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # threads that wait must sleep, not spin: on a busy machine a training step of two spinning threads took 20 times longer
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=arguments, prog_name="neurodecode")
    except NeurodecodeError as error:
        if "--debug" in arguments:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
