"""What the commands print: tables as wide as the place they go to, results as JSON where a machine asks.

    say("store: 12 prepared")
    print_table(title, columns, rows, notes)
    show(result, as_json, print_evaluation)

Rich is imported when something is printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 200  # characters a line where no terminal says how wide it is
FIRST_COLUMN = 13  # characters that the names of rows get at least


def console(stderr: bool = False) -> Console:
    """Standard output or error; a file or a pipe has no width, so that tables get the room they need."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, width=None if terminal else PIPE_WIDTH)


def watched_by_a_person() -> bool:
    """Progress is shown only where a person looks."""
    return sys.stderr.isatty()


def say(line: str, stderr: bool = False) -> None:
    """One line, whole: not wrapped, no markup."""
    console(stderr).print(line, markup=False, soft_wrap=True)


def show(result: Any, as_json: bool, as_tables: Callable[[Any], None]) -> None:
    """A result for a machine, or for a person."""
    if as_json:
        typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        as_tables(result)


def print_table(title: str, columns: list[str], rows: list[list[str]], notes: list[str], left: int = 1) -> None:
    """A table and the notes under it; intervals are left out where they do not fit.

    Parameters
    ----------
    title, columns, rows
        What stands in it; all cells are text.
    notes
        Lines under the table.
    left
        The first columns, of text; the others are figures.
    """
    from rich.markup import escape
    from rich.table import Table

    to = console()
    widths = [max(len(cells[i]) for cells in [columns, *rows]) for i in range(len(columns))]
    narrow = to.width < sum(widths) + 3 * len(widths) + 1
    if narrow and left == 1:  # a table that wraps cannot be read: the intervals stay in the file and in the report
        rows = [[cell.partition(" [")[0] for cell in row] for row in rows]
        notes = ["Intervals do not fit this terminal; they stand in the evaluation file and in the report.", *notes]
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        wide = FIRST_COLUMN if i == 0 and left == 1 else None
        table.add_column(column, justify="left" if i < left else "right", no_wrap=i >= left, min_width=wide)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    to.print(table)
    for note in notes:
        to.print(note, markup=False)


def print_tables(tables: Iterable[tuple[str, list[str], list[list[str]], list[str]]], left: int = 1) -> None:
    """Tables one under the other."""
    for table in tables:
        print_table(*table, left=left)


def print_evaluation(result: dict[str, Any]) -> None:
    """The tables of a retrieval, of its seeds, of a classification, of all classifiers of a pipeline, or of baselines."""
    from neurodecode.evaluation.retrieval.apart import tables_apart
    from neurodecode.evaluation.retrieval.tables import evaluation_table
    from neurodecode.evaluation.side_by_side.summary import subjects_table, summary_table
    from neurodecode.training.classification import classification_table

    kind = result.get("kind")
    if kind == "classification-summary":
        print_table(*subjects_table(result), [])
        print_table(*summary_table(result))
    elif kind == "classification":
        print_table(*classification_table(result))
    elif kind == "classification-baselines":
        from neurodecode.evaluation.classification.tables import baselines_table

        print_table(*baselines_table(result))
    elif kind == "retrieval-seeds":
        from neurodecode.evaluation.runs.seeds import seeds_tables

        figures, *published = seeds_tables(result)
        print_table(*figures)
        print_tables(published, left=4)
    else:
        print_table(*evaluation_table(result))
        print_tables(tables_apart(result))
