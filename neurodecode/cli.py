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
from neurodecode.terminal import console, print_evaluation, print_table, print_tables, say, show, watched_by_a_person

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
    show(found, as_json, lambda found: console().print(render(found)))
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
        progress=watched_by_a_person(),
    )
    _print_summary(out, summary)
    if summary.failed:
        raise typer.Exit(1)


def _print_summary(out: Path, summary: Any) -> None:
    from neurodecode.pipeline import issue_line
    from neurodecode.store.notes import warning_lines

    say(f"{out}: {len(summary.done)} prepared, {len(summary.skipped)} already done, {len(summary.failed)} failed")
    for line in warning_lines(out):
        say(line)
    for issue in summary.failed:
        say(f"failed: {issue_line(issue)}", stderr=True)


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
    made = compute_features(Store(store), settings, progress=watched_by_a_person())
    say(f"{made.path}: {len(made.names)} stimuli, {made.dimension} dimension(s)")


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

        run = fit_codebook(settings, store, out, progress=watched_by_a_person())
        say(f"{run}: trained; next: {what_next(settings, run)}")
        return
    from neurodecode.training.fit import fit

    run = fit(settings, store, out, progress=watched_by_a_person())
    say(f"{run}: trained; next: neurodecode evaluate {run}")


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

    made = fit_subject(run, store, subject, minutes, out, overrides or [], progress=watched_by_a_person())
    say(f"{made}: calibrated; next: neurodecode evaluate {made}")


@app.command("import-weights")
def bring_weights(
    file: Annotated[Path, typer.Argument(help="Tensors of a network trained with the published code.")],
    store: Annotated[Path, typer.Option(help="The store, preprocessed as for that training.")],
    out: Annotated[Path, typer.Option(help="The run (a folder).")],
    config: Annotated[str, typer.Option("--config", help="Preset of configs/training, or a YAML file.")] = "released",
    subjects: Annotated[
        str, typer.Option(help="People of that training in its order: 01,02,03. Default: the store's, sorted.")
    ] = "",
    overrides: Overrides = None,
) -> None:
    """A run of weights that others trained with the published codes: evaluate, calibrate and start_from read it."""
    from neurodecode.config import load_training
    from neurodecode.training.imported import import_weights

    settings = load_training(config, overrides or [])
    names = [name.strip() for name in subjects.split(",") if name.strip()]
    run = import_weights(file, settings, store, out, names, progress=watched_by_a_person())
    begins = getattr(settings, "task", "") in ("tokenizer", "masked")
    say(f"{run}: imported; next: " + (f"--set start_from={run}" if begins else f"neurodecode evaluate {run}"))
    say(f"Its figures hold only if {file.name} was never trained on what this store's split tests.")


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
    from neurodecode.training.run_folder import is_codebook

    settings = load_settings(EvaluationSettings, config, "configs/evaluation", overrides or [])
    if is_codebook(run):
        from neurodecode.evaluation.classification.beside import evaluate_classification

        result = evaluate_classification(run, settings, split)
    else:
        from neurodecode.evaluation.runs.evaluate import evaluate as score

        result = score(run, settings, split=split, progress=watched_by_a_person())
    show(result, as_json, print_evaluation)


@app.command()
def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Two evaluated runs or more, of the same windows and split.")],
    out: Annotated[Path, typer.Option(help="Folder of the result; compare reads it like a run.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    noise: Annotated[bool, typer.Option(help="Run the members' networks on noise, for the row noise.")] = True,
    as_json: AsJson = False,
) -> None:
    """Average the probabilities of runs, usually of several seeds, and score the average beside each member."""
    from neurodecode.evaluation.runs.ensemble import ensemble as average

    result = average(runs, out, split, noise=noise, progress=watched_by_a_person())
    show(result, as_json, print_evaluation)


@app.command()
def linguistics(
    run: Annotated[Path, typer.Argument(help="An evaluated run, or an ensemble.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    words: Annotated[
        Path | None, typer.Option(help="TSV of word features: a column word, and features beside it.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the speech, en or nl for example; else what the store says of it.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where the store lies now, if it was moved.")] = None,
    shuffles: Annotated[int, typer.Option(min=20, help="Wrong pairings behind the control.")] = 200,
    as_json: AsJson = False,
) -> None:
    """What the decoder's success goes with: phones, word frequency, part of speech, embeddings, beside wrong pairings."""
    from neurodecode.evaluation.speech.linguistics import analyse, linguistics_table

    result = analyse(run, split, language=language, table=words, store=store, shuffles=shuffles)
    show(result, as_json, lambda result: print_table(*linguistics_table(result)))


@app.command()
def baselines(
    config: Annotated[str, typer.Argument(help="Preset of configs/baselines, or a YAML file.")],
    store: Annotated[Path, typer.Option(help="The store.")],
    out: Annotated[Path, typer.Option(help="Folder of the answers and of the table.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Classification by many methods on the same windows: one table. What is answered already is kept."""
    from neurodecode.config import load_settings
    from neurodecode.config.baselines import BaselineSettings
    from neurodecode.evaluation.classification.table import run_baselines
    from neurodecode.evaluation.classification.tables import baselines_table

    settings = load_settings(BaselineSettings, config, "configs/baselines", overrides or [])
    watched = watched_by_a_person()
    result = run_baselines(settings, store, out, say=lambda line: say(line, stderr=True) if watched else None)
    show(result, as_json, lambda result: print_table(*baselines_table(result)))
    if not as_json:
        say(f"{out / 'baselines.json'}: settings, each person's figures, confusion matrices.")


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
    from neurodecode.evaluation.hours.forecast import forecast as look_ahead
    from neurodecode.evaluation.hours.forecast import forecast_tables
    from neurodecode.reports.forecast import write_figure

    wanted = {"network": network, "fractions": parse_yaml(f"[{fractions}]", "--fractions"), "repeats": repeats}
    settings = validate(ForecastSettings, wanted | {"metric": metric}, "forecast")
    training = load_settings(TrainSettings, config, "configs/training", overrides or [])
    result = look_ahead(training, store, out, settings, progress=watched_by_a_person())
    figure = write_figure(result, out)
    show(result, as_json, lambda result: print_tables(forecast_tables(result)))
    if not as_json:
        say(f"figure: {figure}")


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
    from neurodecode.evaluation.side_by_side.comparison import compare_any, comparison_table

    result = compare_any(runs, split, metric)
    if "labels" in result:
        show(result, as_json, print_evaluation)
    else:
        show(result, as_json, lambda result: print_table(*comparison_table(result), left=2))


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
    if config is None and out is None and not overrides:
        from neurodecode.inspection import channels_table, cohort_channels

        show(cohort_channels(store), as_json, lambda rows: print_table(*channels_table(rows), left=2))
        return
    from neurodecode.reports.channel_maps import draw_selection
    from neurodecode.selection.command import rank_command, selection_tables

    folder, selection = rank_command(config, store, out, overrides or [], watched_by_a_person())
    draw_selection(selection, folder)
    show(selection, as_json, lambda selection: print_tables(selection_tables(selection, folder), left=3))


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run, best after evaluate.")]) -> None:
    """One self-contained HTML file about a run."""
    from neurodecode.reports.report import write_report

    say(f"report: {write_report(run)}")


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="Name of a pipeline of pipelines/, or a YAML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of all results; else the pipeline's name, where you stand.")
    ] = None,
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Recordings prepared at the same time.")] = 1,
    on_error: Annotated[OnError, typer.Option(help="Stop at the first recording that fails, or go on.")] = OnError.stop,
) -> None:
    """All stages of a pipeline. Done stages are skipped, and it is said why one is redone."""
    from neurodecode.pipeline import load_pipeline, run_pipeline

    settings = load_pipeline(pipeline, overrides or [])
    failed = run_pipeline(
        settings,
        Path(Path(pipeline).stem) if out is None else out,
        workers=workers,
        on_error=on_error.value,
        progress=watched_by_a_person(),
        say=say,
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
        say(f"{problem.file}: {problem.what}", stderr=True)
    if problems:
        raise typer.Exit(2)
    say(f"{store}: every checksum holds")


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
    failed = run_download(
        found, folder, include or [], workers, check, refresh, dry_run, console(), watched_by_a_person()
    )
    for line in failed:
        say(f"failed: {line}", stderr=True)
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
    say(f"simulated cohort: {make(settings, out, overwrite=overwrite)}")


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
    except OSError as error:  # a full disk, a folder that is a file or may not be written
        if "--debug" in arguments:
            raise
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or " ".join(str(error).split())
        typer.echo(f"error: {where}{said}; what is finished is kept, the same command goes on", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
