"""The table of baselines: every method on every fold and subject, kept as it goes, and the figures of all of them.

    run_baselines(load_settings(BaselineSettings, "eegmat", "configs/baselines"), Path("store"), Path("table"))

OUT/answers/<method>.<scaling>/<subject or all>.<fold>.seed-<k>.npz   scores [n, K] of the test windows, and their key
OUT/baselines.json                                                    settings, split, figures of every row

An answer is kept as long as its key holds: the settings of its method, the windows, the signals. Killed and started again,
or with one method changed, only what is missing is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config.baselines import (
    LEARNT,
    BaselineSettings,
    CodebookMethod,
    LdaMethod,
    Method,
    NetworkMethod,
    RidgeMethod,
    RiemannMethod,
)
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.classification.differences import compare_rows, row_name
from neurodecode.evaluation.classification.figures import Answers, summarise, summarise_chance
from neurodecode.evaluation.classification.linear import lda, ridge
from neurodecode.evaluation.classification.networks import find_network, network
from neurodecode.evaluation.classification.riemann import require, riemann
from neurodecode.evaluation.classification.trials import Scaling, Trials, scaled, trials_of
from neurodecode.files import atomic_path, plain, sha256_of_value, write_json
from neurodecode.segments.labels import LabelIndex, build_labels
from neurodecode.store.store import Store
from neurodecode.training.run_folder import versions

SCHEMA = 1
KIND = "classification-baselines"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """One fit: a method on one fold, for one subject or all, with one seed."""

    method: str
    scaling: Scaling
    subject: str | None
    fold: str
    seed: int

    @property
    def file(self) -> Path:
        """Below OUT/answers."""
        return Path(f"{self.method}.{self.scaling}") / f"{self.subject or 'all'}.{self.fold}.seed-{self.seed}.npz"


def run_baselines(
    settings: BaselineSettings, store: Path, out: Path, *, say: Say = lambda line: None
) -> dict[str, Any]:
    """Fit what is missing, and write the table.

    Parameters
    ----------
    settings
        Windows and methods.
    store
        Folder that `preprocess` wrote.
    out
        Folder of the results.
    say
        Told of each fit.

    Returns
    -------
    dict
        The content of OUT/baselines.json.

    Raises
    ------
    NeurodecodeError
        If the store does not fit the settings, a method is absent, or `out` holds something else.
    """
    out = Path(out)
    _claim(out)
    check_methods(settings)
    opened = Store(store)
    index = build_labels(opened, settings.labels, settings.subjects)
    folds = {name: index.fold(name) for name in index.folds}
    hashes = {r.name: r.sha256_signal for r in index.recordings}
    files = answer_all(settings, folds, hashes, out / "answers", say)
    result = describe(settings, opened, folds, files)
    write_json(out / "baselines.json", result)
    return result


def check_methods(settings: BaselineSettings) -> None:
    """Look for everything that methods need, before hours are spent.

    Raises
    ------
    SettingsError
        Naming what is absent.
    """
    for method in settings.methods.values():
        if isinstance(method, RiemannMethod):
            require()
        elif isinstance(method, NetworkMethod):
            find_network(method.network)


def answer_all(
    settings: BaselineSettings, folds: dict[str, LabelIndex], hashes: dict[str, str], folder: Path, say: Say
) -> dict[tuple[str, Scaling, int], list[tuple[Question, Path]]]:
    """Make the answers that are missing or out of date; returns the files of each row and seed."""
    files: dict[tuple[str, Scaling, int], list[tuple[Question, Path]]] = {}
    for fold_name, fold in folds.items():
        sources: dict[Scaling, Any] = {}
        for question in _questions(settings, fold_name, fold):
            path = folder / question.file
            files.setdefault((question.method, question.scaling, question.seed), []).append((question, path))
            key = _key(settings, question, fold, hashes)
            if path.is_file() and _key_of(path) == key:
                continue
            if question.scaling not in sources:
                sources[question.scaling] = scaled(fold, question.scaling)
            trials = trials_of(fold, sources[question.scaling], question.scaling, question.subject)
            _refuse_empty(question, trials)
            say(
                f"{question.method} ({question.scaling}), {question.subject or 'all'}, {fold_name}, seed {question.seed}"
            )
            method = settings.methods[question.method]
            balanced = settings.class_weight == "balanced"
            try:
                scores = answer(trials, method, balanced, question.seed, folder.parent / "work" / key[:16])
            except SettingsError as error:
                raise SettingsError(f"methods.{question.method}: {error}") from error
            if np.isnan(scores).any():
                raise NeurodecodeError(
                    f"methods.{question.method}: {int(np.isnan(scores).sum())} scores are not a number"
                )
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, scores=scores.astype(np.float32), rows=trials.test, key=np.array(key))
    return files


def answer(trials: Trials, method: Method, balanced: bool, seed: int, work: Path) -> np.ndarray:
    """Scores of the test windows by one method, [n, K]; `work` is a folder for what takes long."""
    if isinstance(method, LdaMethod):
        return lda(trials, method, balanced)
    if isinstance(method, RidgeMethod):
        return ridge(trials, method, balanced)
    if isinstance(method, RiemannMethod):
        return riemann(trials, method, balanced)
    if isinstance(method, CodebookMethod):
        from neurodecode.evaluation.classification.codebook import codebook

        return codebook(trials, method, balanced, seed, work)
    return network(trials, method, balanced, seed)


def describe(
    settings: BaselineSettings,
    store: Store,
    folds: dict[str, LabelIndex],
    files: dict[tuple[str, Scaling, int], list[tuple[Question, Path]]],
) -> dict[str, Any]:
    """The content of baselines.json."""
    first = next(iter(folds.values()))
    vocabularies = {tuple(fold.vocabulary) for fold in folds.values()}
    if len(vocabularies) > 1:
        raise NeurodecodeError(
            "labels: the training windows of different folds have different labels, whose figures cannot be averaged; give "
            "labels.vocabulary"
        )
    majority = [prior(fold, settings) for fold in folds.values()]
    base = _joined(majority, folds, probabilities=True)
    pooled = not settings.one_model_a_subject
    rows = [
        {"method": "chance", "kind": "chance", "scaling": None, "seeds": 0} | summarise_chance(base, pooled=pooled),
        {"method": "majority", "kind": "majority", "scaling": None, "seeds": 1}
        | summarise([base], repeats=settings.bootstrap, pooled=pooled),
    ]
    right = {"majority": base.right()}
    for name, method in settings.methods.items():
        for scaling in settings.scaling:
            seeds = joined_rows(settings, name, scaling, folds, files)
            row = {"method": name, "kind": method.kind, "scaling": scaling, "seeds": len(seeds)}
            rows.append(row | summarise(seeds, repeats=settings.bootstrap, pooled=pooled))
            right[row_name(row, len(settings.scaling) > 1)] = np.mean([answers.right() for answers in seeds], 0)
    for row in rows:
        row["name"] = row_name(row, len(settings.scaling) > 1)
    comparison = None
    if settings.reference is not None:
        figure = settings.compare_by
        if figure == "auto":
            figure = "auc" if len(first.vocabulary) == 2 else "accuracy"
        comparison = compare_rows(
            rows, right, base.person, reference=settings.reference, figure=figure, repeats=settings.bootstrap
        )
    counts = {side: sum(len(fold.rows(side)) for fold in folds.values()) for side in ("train", "valid", "test")}
    return plain(  # type: ignore[no-any-return]
        {
            "schema": SCHEMA,
            "kind": KIND,
            "name": settings.name,
            "simulated": any(r.simulated for r in first.recordings),
            "settings": settings.model_dump(mode="json"),
            "one_model_a_subject": settings.one_model_a_subject,
            "n_windows": len(base.identity),
            "n_classes": len(first.vocabulary),
            "vocabulary": first.vocabulary,
            "subjects": first.subjects,
            "sfreq": first.sfreq,
            "n_times": first.n_times,
            "split": {
                "rule": settings.labels.split.rule,
                "folds": list(folds),
                "counts": counts,
                "dropped": first.counts,
                "audit": {name: fold.audit for name, fold in folds.items()},
            },
            "rows": rows,
            "comparison": comparison,
            "provenance": {
                "store": store.path.resolve().as_posix(),
                "store_sha256s": {r.name: r.sha256_signal for r in first.recordings},
                "versions": versions(),
                "command": " ".join(["neurodecode", *sys.argv[1:]]),
            },
        }
    )


def joined_rows(
    settings: BaselineSettings,
    method: str,
    scaling: Scaling,
    folds: dict[str, LabelIndex],
    files: dict[tuple[str, Scaling, int], list[tuple[Question, Path]]],
) -> list[Answers]:
    """What each seed of a row said about all test windows."""
    probabilities = settings.methods[method].kind != "ridge"
    return [
        _joined(
            [_read(path) | {"fold": question.fold} for question, path in listed], folds, probabilities=probabilities
        )
        for (name, how, _), listed in files.items()
        if (name, how) == (method, scaling)
    ]


def prior(fold: LabelIndex, settings: BaselineSettings) -> dict[str, Any]:
    """The answer of training labels' frequencies: of the subject's own, or of all where people are held out."""
    table, n_classes = fold.table, len(fold.vocabulary)
    train, test = table.iloc[fold.rows("train")], table.iloc[fold.rows("test")]
    scores = np.empty((len(test), n_classes))
    for person in np.unique(test["subject"]):
        own = train[train["subject"] == person] if settings.one_model_a_subject else train
        counts = np.bincount(own["identity"], minlength=n_classes) + 1.0  # one more: what is absent is not impossible
        scores[(test["subject"] == person).to_numpy()] = np.log(counts / counts.sum())
    return {"scores": scores, "rows": fold.rows("test"), "fold": fold.fold_name}


def _joined(parts: list[dict[str, Any]], folds: dict[str, LabelIndex], *, probabilities: bool) -> Answers:
    """Answers of all folds and subjects, in one, ordered by fold and window: alike for every row of the table."""
    tables = [folds[part["fold"]].table.iloc[part["rows"]] for part in parts]
    names = [np.array(folds[part["fold"]].subjects, object)[t["subject"]] for part, t in zip(parts, tables)]
    fold = np.concatenate([np.full(len(t), part["fold"], object) for part, t in zip(parts, tables)])
    order = np.lexsort((np.concatenate([part["rows"] for part in parts]), fold.astype(str)))
    return Answers(
        np.concatenate([part["scores"] for part in parts]).astype(float)[order],
        np.concatenate([t["identity"].to_numpy() for t in tables])[order],
        np.concatenate(names)[order],
        fold[order],
        probabilities,
    )


def _questions(settings: BaselineSettings, fold_name: str, fold: LabelIndex) -> Iterator[Question]:
    tested = sorted({fold.subjects[s] for s in fold.table["subject"].iloc[fold.rows("test")]})
    subjects: list[str | None] = [*tested] if settings.one_model_a_subject else [None]
    for name, method in settings.methods.items():
        for scaling in settings.scaling:
            for subject in subjects:
                for seed in settings.seeds if method.kind in LEARNT else settings.seeds[:1]:
                    yield Question(name, scaling, subject, fold_name, seed)


def _key(settings: BaselineSettings, question: Question, fold: LabelIndex, hashes: dict[str, str]) -> str:
    """SHA-256 of all that an answer depends on."""
    return sha256_of_value(
        {
            "method": settings.methods[question.method].model_dump(mode="json"),
            "labels": settings.labels.model_dump(mode="json"),
            "subjects": fold.subjects,
            "class_weight": settings.class_weight,
            "question": [question.scaling, question.subject, question.fold, question.seed],
            "signals": hashes,
        }
    )


def _key_of(path: Path) -> str:
    try:
        with np.load(path) as stored:
            return str(stored["key"])
    except Exception:  # a damaged file is made again
        return ""


def _read(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return {"scores": stored["scores"], "rows": stored["rows"]}


def _refuse_empty(question: Question, trials: Trials) -> None:
    for side in ("train", "valid"):
        if not len(getattr(trials, side)):
            raise NeurodecodeError(
                f"{question.fold}: {question.subject or 'the cohort'} has no {side} window; leave the subject out with "
                "subjects, or set fit to cohort"
            )
    labels = np.unique(trials.labels(trials.train))
    if len(labels) < 2:
        raise NeurodecodeError(
            f"{question.fold}: all training windows of {question.subject or 'the cohort'} have the label "
            f"{trials.index.vocabulary[labels[0]]}; a classifier needs two labels, so change the split or the windows"
        )
    if not len(trials.columns):
        raise NeurodecodeError(
            f"{question.fold}: {question.subject or 'the cohort'} has no channel that is good in every recording; set fit to "
            "subject, or preprocess with bads interpolated"
        )


def _claim(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out}: is a file; give a folder")
    strange = sorted(p.name for p in out.iterdir()) if out.is_dir() else []
    strange = [
        name
        for name in strange
        if name not in ("answers", "work", "baselines.json", "report.html") and not name.startswith(".")
    ]
    if strange:
        raise SettingsError(f"{out}: holds {strange[0]}, so it is no folder of baselines; give an empty one")
