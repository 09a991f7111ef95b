"""Makes a cohort: a BIDS tree of raw recordings with a planted response to speech, and a known best attainable score.

In: `SimulationSettings`. Out, under the root::

    README.md, dataset_description.json, participants.tsv, task-listening_events.json
    simulation.json                       settings, seed, versions, subjects, ceiling; marks the cohort as simulated
    stimuli/<story>.ogg and .tsv          audio, and its sentence, word and phone times
    sub-01/{meg,eeg,ieeg}/sub-01_task-listening_run-01_*

With `words`, patients speak instead: no stimuli, and under sub-01/ieeg `task-words_run-01` and `task-conversation`.

Try it: ``neurodecode simulate tiny --out /tmp/cohort``, ``neurodecode simulate seeg_words --out /tmp/words``.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path

from neurodecode import __version__
from neurodecode.config.simulation import SimulationSettings
from neurodecode.errors import SettingsError
from neurodecode.files import PART, write_json
from neurodecode.simulation.bids import write_root, write_run
from neurodecode.simulation.cohort import Cohort, plan_cohort
from neurodecode.simulation.observer import Observer
from neurodecode.simulation.words import plan_words
from neurodecode.simulation.words_bids import words_record, write_session, write_words_root
from neurodecode.simulation.words_observer import WordObserver

MARK = "simulation.json"
SCHEMA = 1
PACKAGES = ("numpy", "scipy", "mne", "pybv", "edfio", "soundfile")
SNR = "root mean square of the planted response over that of the background, 0.5 to 20 Hz, at the best channel"


def simulate(settings: SimulationSettings, out: Path, overwrite: bool = False) -> Path:
    """Make a cohort.

    Written to a hidden folder beside `out` and renamed at the end: `out` is whole or absent. The same settings give
    the same signals (a FIF file also holds a random number that names it).

    Parameters
    ----------
    settings
        What to make.
    out
        BIDS root.
    overwrite
        Replace a cohort that this function made before; anything else is never deleted.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SettingsError
        If `out` exists and may not be replaced, or a setting cannot be met.
    SpeechError
        If the speech cannot be read.
    """
    out = Path(out)
    check_target(out, overwrite)
    make = _stories if settings.words is None else _words
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}{PART}")
    try:
        temporary.mkdir()
        write_json(temporary / MARK, make(settings, temporary))
        check_target(out, overwrite)  # it may have come into being meanwhile
        _replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _stories(settings: SimulationSettings, root: Path) -> dict:
    """Write listeners to stories; the content of `simulation.json`."""
    cohort = plan_cohort(settings)
    observer = Observer(cohort)
    for subject in cohort.subjects:
        observer.prepare(subject)
        for number, (run, signal) in enumerate(cohort.clean_runs(subject)):
            observer.observe(subject, run, signal)
            cohort.disturb(subject, number, signal)
            write_run(root, cohort, subject, number, signal)
    write_root(root, cohort, __version__)
    return record(cohort, observer)


def _words(settings: SimulationSettings, root: Path) -> dict:
    """Write patients who speak words; the content of `simulation.json`."""
    cohort = plan_words(settings)
    observer = WordObserver(cohort)
    for patient in cohort.patients:
        observer.prepare(patient)
        for place, (session, signal) in enumerate(cohort.clean_sessions(patient)):
            observer.observe(patient, session, signal)
            cohort.disturb(patient, place, signal)
            write_session(root, cohort, patient, session, signal)
    write_words_root(root, cohort, __version__)
    return _head(settings) | words_record(cohort) | {"ceiling": observer.result()}


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse a target that exists, unless it is empty, or a simulated cohort that may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARK).is_file():
        raise SettingsError(f"{out}: exists and is not a simulated cohort (no {MARK}); give another folder")
    if not overwrite:
        raise SettingsError(f"{out}: a simulated cohort is there already; give another folder or --overwrite")


def _replace(new: Path, out: Path) -> None:
    """Put `new` in the place of `out`; the old one is moved away first, so that no moment shows half a cohort."""
    if not out.exists():
        new.rename(out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old{PART}")
    out.rename(old)
    new.rename(out)
    shutil.rmtree(old)


def record(cohort: Cohort, observer: Observer) -> dict:
    """Content of `simulation.json`."""
    return _head(cohort.settings) | {
        "stories": [
            {"name": speech.name, "seconds": speech.seconds, "sha256": speech.sha256} for speech in cohort.stories
        ],
        "snr_definition": SNR,
        "subjects": [
            {
                "subject": subject.label,
                "snr": subject.snr,
                "best_channel": subject.best,
                "power_linear": subject.power[0],
                "power_phones": subject.power[1],
                "latency": subject.kernels.latency,
                "bad_channels": list(subject.bad),
                "runs": [[placed.speech.name for placed in run.stories] for run in subject.runs],
                "artefacts": [cohort.artefacts.get((subject.number, n), []) for n in range(len(subject.runs))],
            }
            for subject in cohort.subjects
        ],
        "ceiling": observer.result(),
    }


def _head(settings: SimulationSettings) -> dict:
    return {
        "schema": SCHEMA,
        "simulated": True,
        "name": settings.name,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json"),
        "versions": {"neurodecode": __version__} | {package: version(package) for package in PACKAGES},
    }
