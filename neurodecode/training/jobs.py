"""Which codebook runs a pipeline is made of: a label is one run, or one a subject, one a seed, or one of each.

In: labels with their settings. Out: jobs in an order in which each finds what it starts from::

    ROOT/<label>/                      one run over all subjects
    ROOT/<label>/sub-<subject>/        one a subject, on that subject alone
    ROOT/<label>/seed-<seed>/          one a seed (classifiers)
    ROOT/<label>/sub-<subject>/seed-<seed>/

No signal is read here and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodecode.config import CodebookTrainSettings
from neurodecode.errors import SettingsError
from neurodecode.files import read_json, sha256_of_value
from neurodecode.training.chosen import described
from neurodecode.training.codebook_stages import checkpoints
from neurodecode.training.run_folder import PLACES, read_run


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes
    ----------
    label
        Of the pipeline.
    subject, seed
        None where the label is not split so.
    settings
        Of this run; `start_from` is the folder of the run it begins with.
    run
        Its folder.
    start
        Folder of a run of the same pipeline that it begins with; None if it begins with none, or with another's.
    """

    label: str
    subject: str | None
    seed: int | None
    settings: CodebookTrainSettings
    run: Path
    start: Path | None

    @property
    def name(self) -> str:
        """As it is called in messages and in stages.json."""
        parts = [self.label]
        parts += [] if self.subject is None else [f"sub-{self.subject}"]
        parts += [] if self.seed is None else [f"seed-{self.seed}"]
        return " ".join(parts)


def check_starts(stages: Mapping[str, CodebookTrainSettings], alone: Sequence[str]) -> None:
    """Refuse a chain that cannot be run, before anything is.

    Parameters
    ----------
    stages
        Label -> settings, in the order of the pipeline.
    alone
        Labels that are trained once a subject.

    Raises
    ------
    SettingsError
        If start_from names a later label or nothing at all, a classifier, or many runs where one is needed.
    """
    labels = list(stages)
    for number, (label, settings) in enumerate(stages.items()):
        if settings.start_from is None:
            continue
        start = str(settings.start_from)
        where = f"training.{label}.start_from"
        if start not in labels:
            if not (settings.start_from / "run.json").is_file():
                raise SettingsError(
                    f"{where}: {start} is neither a label of this pipeline ({', '.join(labels)}) nor the folder of a run"
                )
        elif labels.index(start) >= number:
            raise SettingsError(f"{where}: {start} does not stand before {label}; put it there")
        elif stages[start].task == "classify":
            raise SettingsError(f"{where}: {start} is a classifier; name a tokenizer or a masked stage")
        elif start in alone and label not in alone:
            raise SettingsError(
                f"{where}: {start} is trained once a subject, {label} once over all; name both in each_subject, or neither"
            )


def plan(
    stages: Mapping[str, CodebookTrainSettings],
    root: Path,
    subjects: Sequence[str],
    *,
    alone: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Job]:
    """All runs: those over all subjects first, then subject by subject, so that the first subject is soon done.

    Parameters
    ----------
    stages, alone
        As in `check_starts`.
    root
        Folder of all runs.
    subjects
        Of the store.
    seeds
        Of classifiers; empty: the one that each has.
    """
    jobs = []
    for subject in (None, *subjects):
        for label, settings in stages.items():
            wanted = settings.subjects or tuple(subjects)
            if (label in alone) != (subject is not None) or (subject is not None and subject not in wanted):
                continue
            start = None
            if settings.start_from is not None and str(settings.start_from) in stages:
                earlier = str(settings.start_from)
                start = _folder(root, earlier, subject if earlier in alone else None, None)
            for seed in seeds if seeds and settings.task == "classify" else (None,):
                changes: dict[str, Any] = {} if seed is None else {"seed": seed}
                changes |= {} if subject is None else {"subjects": (subject,)}
                changes |= {} if start is None else {"start_from": start.resolve()}
                if settings.channels is not None and settings.channels.file is not None:  # as the run will note it
                    changes["channels"] = settings.channels.model_copy(
                        update={"file": settings.channels.file.resolve()}
                    )
                if start is None and settings.start_from is not None:
                    changes["start_from"] = settings.start_from.resolve()
                run = _folder(root, label, subject, seed)
                jobs.append(Job(label, subject, seed, settings.model_copy(update=changes), run, start))
    return jobs


def _folder(root: Path, label: str, subject: str | None, seed: int | None) -> Path:
    folder = root / label
    folder = folder if subject is None else folder / f"sub-{subject}"
    return folder if seed is None else folder / f"seed-{seed}"


def job_key(job: Job, store: Path, keys: Mapping[Path, str]) -> str:
    """What a run depends on: its settings, the signals of its subjects, and what it begins with.

    Parameters
    ----------
    store
        Whose cohort.json names the signals.
    keys
        Folder -> key of the runs before it.
    """
    settings = job.settings.model_dump(mode="json")
    settings.pop("start_from")
    for place in PLACES:  # where the work is done does not matter
        *parents, last = place.split(".")
        values = settings
        for parent in parents:
            values = values[parent]
        values.pop(last, None)
    chosen = job.settings.subjects
    recorded = read_json(store / "cohort.json")["recordings"]
    signals = sorted(f"{r['name']} {r['sha256_signal']}" for r in recorded if not chosen or r["subject"] in chosen)
    start: Any = None
    if job.start is not None:
        start = keys[job.start]
    elif job.settings.start_from is not None:
        start = checkpoints(job.settings.start_from, read_run(job.settings.start_from)["folds"])
    chosen_by = described(job.settings.channels)  # a ranking made anew under the same name is another
    found = {"training": settings, "signals": signals, "start": start}
    return sha256_of_value(found if chosen_by is None else found | {"channels": chosen_by})
