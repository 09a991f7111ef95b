"""Quick baselines beside a trained classifier: linear methods on its windows, channels and sides.

In: a finished classify run. Out: its result with `baselines` added, and RUN/evaluation/test_baselines.json. Figures are over
all test windows, as those of the run; each subject has a model of his own, as majority has his own frequencies.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config import CodebookTrainSettings, EvaluationSettings, validate
from neurodecode.config.baselines import BandPowerSettings, BaselineSettings, LdaMethod, Method, RidgeMethod
from neurodecode.evaluation.classification.figures import figures
from neurodecode.evaluation.classification.table import answer_all, joined_rows
from neurodecode.files import plain, write_json
from neurodecode.segments.labels import build_labels
from neurodecode.store.store import Store
from neurodecode.training import run_folder
from neurodecode.training.classification import FIGURES, classification_table, read_classification

BIN = 0.5  # s: words have a course in time, and a bin of half a second still holds a cycle of 2 Hz
FILE = "test_baselines.json"


def quick_settings(run: CodebookTrainSettings, settings: EvaluationSettings) -> BaselineSettings:
    """The settings of the table: windows and sides of the run."""
    window = run.labels.window
    power = BandPowerSettings(bins=max(1, int((window.tmax - window.tmin) / BIN + 1e-9)))
    every: dict[str, Method] = {"lda": LdaMethod(power=power), "ridge": RidgeMethod(power=power)}
    return BaselineSettings(
        name=run.name,
        labels=run.labels,
        subjects=run.subjects,
        methods={name: every[name] for name in settings.baselines},
    )


def evaluate_classification(
    run: Path, settings: EvaluationSettings, split: str = "test", say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The result of a classify run with the figures of quick baselines.

    Parameters
    ----------
    run
        Folder of a finished run.
    settings
        `baselines` names the methods; none leaves the result as training wrote it.
    split
        test.
    say
        Told of each fit.

    Returns
    -------
    dict
        As RUN/evaluation/test.json, and `baselines`: method -> `metrics` and `subjects` (name -> accuracy).

    Raises
    ------
    NeurodecodeError
        If the run is not finished, or its store has changed.
    """
    run = Path(run)
    result = read_classification(run, split)
    if not settings.baselines:
        return result
    info = run_folder.read_run(run)
    trained = validate(CodebookTrainSettings, info["settings"], str(run / "run.json"))
    chosen = quick_settings(trained, settings)
    store = Store(Path(info["store"]))
    run_folder.claim(
        run, trained, {r.name: r.sha256_signal for r in store.recordings if r.name in info["recordings"]}, True
    )
    index = build_labels(store, chosen.labels, chosen.subjects)
    folds = {name: index.fold(name) for name in info["folds"]}
    files = answer_all(chosen, folds, info["store_sha256s"], run / "evaluation" / "baselines", say)
    result["baselines"] = {}
    for name in chosen.methods:
        answers = joined_rows(chosen, name, "training", folds, files)[0]
        result["baselines"][name] = {
            "metrics": figures(answers),
            "subjects": {
                str(person): figures(answers.of(person))["accuracy"] for person in np.unique(answers.person.astype(str))
            },
        }
    result = plain(result)
    write_json(
        run / "evaluation" / FILE, {"schema": 1, "n_windows": result["n_windows"], "baselines": result["baselines"]}
    )
    return result


def beside_table(result: dict[str, Any]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """As `classification_table`, with a column for each baseline."""
    title, columns, rows, notes = classification_table(result)
    baselines = result.get("baselines", {})
    if not baselines:
        return title, columns, rows, notes
    keys = {name: key for key, name in FIGURES.items()}
    wider = []
    for row in rows:
        subject = row[0].removeprefix("accuracy of ")
        found = [
            entry["metrics"].get(keys[row[0]]) if row[0] in keys else entry["subjects"].get(subject)
            for entry in baselines.values()
        ]
        if row[0] in keys and keys[row[0]] == "top5":  # with five labels or fewer all answers are among the first five
            found = [1.0 if value is None and result["n_classes"] <= 5 else value for value in found]
        wider.append([*row[:2], *("-" if value is None else f"{value:.3f}" for value in found), *row[2:]])
    note = f"{', '.join(baselines)}: of band power, each subject's own model, on the same windows and sides."
    return title, [*columns[:2], *baselines, *columns[2:]], wider, [*notes, note]
