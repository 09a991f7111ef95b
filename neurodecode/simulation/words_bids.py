"""Writes patients who speak words as a BIDS tree of EDF files, and what `simulation.json` says of them.

In: a `WordCohort` and the signal of one file [contacts, samples] in V. Out: `sub-*/ieeg/*_task-words_run-*_ieeg.edf` and
`*_task-conversation_ieeg.edf` (16 bit), each with its tables and sidecar, and the files at the root. Events: `cue` where the
word is shown, `word` where its sound begins, both with the word as `label`; a conversation has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from neurodecode.simulation.bids import FRAME, save_json, save_table, write_edf
from neurodecode.simulation.implant import SOURCES_PER_REGION
from neurodecode.simulation.words import SYLLABLE, Patient, Session, WordCohort

RATIOS = (
    "root mean square of what is planted over that of the background while words are spoken, at the best contact: waves 0.5 to "
    "20 Hz, bursts in words.band"
)
README = """# {title}

SIMULATED DATA. No person was recorded. Made by neurodecode {version} (`neurodecode simulate`), seed {seed}.

{patients} patients with depth electrodes speak {words} words of {length} syllables each, {repetitions} times a run in {runs}
runs{conversation}. Only contacts in {regions} record anything of it: a wave below 20 Hz and a burst between {low:g} and
{high:g} Hz for each syllable. `simulation.json` holds every setting, the size of the response in each patient, and the accuracy
of an ideal observer, which no decoder can be expected to exceed.
"""


def write_session(root: Path, cohort: WordCohort, patient: Patient, session: Session, signal: np.ndarray) -> Path:
    """Write one file and its tables; returns the data file."""
    settings, sfreq = cohort.settings, cohort.settings.sfreq
    folder = root / f"sub-{patient.label}" / "ieeg"
    folder.mkdir(parents=True, exist_ok=True)
    task = "conversation" if session.number is None else f"words_run-{session.number + 1:02d}"
    stem = f"sub-{patient.label}_task-{task}"
    path = write_edf(folder / f"{stem}_ieeg", patient.sensors.info["ch_names"], signal, sfreq)
    if session.number is not None:
        save_table(folder / f"{stem}_events.tsv", _events(session))
    save_table(folder / f"{stem}_channels.tsv", _channels(cohort, patient))
    sidecar = {
        "TaskName": task.partition("_")[0],
        "TaskDescription": "speaking; simulated",
        "SamplingFrequency": sfreq,
        "PowerLineFrequency": settings.line_noise or "n/a",
        "SoftwareFilters": "n/a",
        "RecordingDuration": session.n_samples / sfreq,
        "RecordingType": "continuous",
        "Manufacturer": "neurodecode simulator",
        "SEEGChannelCount": len(patient.sensors.shafts),
        "iEEGReference": "a contact far from all others",
    }
    save_json(folder / f"{stem}_ieeg.json", sidecar)
    if session is patient.sessions[0]:
        _positions(folder, patient)
    return path


def _events(session: Session) -> pd.DataFrame:
    rows = []
    for spoken in session.words:
        seconds = len(spoken.syllables) * SYLLABLE
        assert spoken.cue is not None
        for onset, duration, kind in ((spoken.cue, spoken.onset - spoken.cue, "cue"), (spoken.onset, seconds, "word")):
            rows.append({"onset": onset, "duration": duration, "trial_type": kind, "kind": kind, "label": spoken.label})
    return pd.DataFrame(rows)


def _channels(cohort: WordCohort, patient: Patient) -> pd.DataFrame:
    names = patient.sensors.info["ch_names"]
    return pd.DataFrame(
        {
            "name": names,
            "type": "SEEG",
            "units": "µV",
            "low_cutoff": "n/a",
            "high_cutoff": "n/a",
            "sampling_frequency": cohort.settings.sfreq,
            "group": patient.sensors.shafts,
            "status": ["bad" if name in patient.bad else "good" for name in names],
            "status_description": ["flat" if name in patient.bad else "n/a" for name in names],
        }
    )


def _positions(folder: Path, patient: Patient) -> None:
    table = pd.DataFrame({"name": patient.sensors.info["ch_names"]})
    for axis, values in zip("xyz", patient.sensors.positions.T):
        table[axis] = [f"{value:.6f}" for value in values]
    table["size"] = 5.0  # mm^2, surface of a contact
    table["group"] = patient.sensors.shafts
    table["region"] = patient.sensors.regions
    table["hemisphere"] = ["L" if x < 0 else "R" for x in patient.sensors.positions[:, 0]]
    save_table(folder / f"sub-{patient.label}_electrodes.tsv", table)
    system = {
        "iEEGCoordinateSystem": "Other",
        "iEEGCoordinateUnits": "m",
        "iEEGCoordinateSystemDescription": FRAME,
    }
    save_json(folder / f"sub-{patient.label}_coordsystem.json", system)


def write_words_root(root: Path, cohort: WordCohort, version: str) -> None:
    """Write what is not of one patient: description, participants, README."""
    settings, words = cohort.settings, cohort.words
    description = {
        "Name": f"{settings.name} (simulated)",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0-1.0",
        "GeneratedBy": [{"Name": "neurodecode simulate", "Version": version}],
    }
    save_json(root / "dataset_description.json", description)
    labels = [f"sub-{patient.label}" for patient in cohort.patients]
    columns = {name: [f"{p.ratios[i]:.4f}" for p in cohort.patients] for i, name in enumerate(("snr", "high_gamma"))}
    save_table(root / "participants.tsv", pd.DataFrame({"participant_id": labels} | columns))
    save_json(
        root / "participants.json",
        {
            "snr": {"Description": "planted waves over background, best contact"},
            "high_gamma": {"Description": "planted bursts over background, best contact"},
        },
    )
    kinds = {"Description": "cue: the word is shown; word: its sound begins"}
    save_json(root / "task-words_events.json", {"kind": kinds, "label": {"Description": "the word"}})
    minutes = words.conversation_seconds / 60
    readme = README.format(
        title=settings.name,
        version=version,
        seed=settings.seed,
        patients=settings.subjects,
        words=words.count,
        length=words.length,
        repetitions=words.repetitions,
        runs=words.runs,
        conversation=f", and talk freely for {minutes:.0f} minutes without events" if minutes else "",
        regions=" and ".join(words.regions),
        low=words.band[0],
        high=words.band[1],
    )
    (root / "README.md").write_text(readme, encoding="utf-8")


def words_record(cohort: WordCohort) -> dict:
    """What `simulation.json` says of the patients and words."""
    regions = [region for region in cohort.words.regions for _ in range(SOURCES_PER_REGION)]
    return {
        "vocabulary": {label: list(syllables) for label, syllables in cohort.lexicon.words.items()},
        "source_regions": regions,
        "snr_definition": RATIOS,
        "subjects": [
            {
                "subject": patient.label,
                "channels": len(patient.sensors.shafts),
                "planted_channels": [
                    name
                    for name, region in zip(patient.sensors.info["ch_names"], patient.sensors.regions)
                    if region in cohort.words.regions
                ],
                "snr": patient.ratios[0],
                "high_gamma": patient.ratios[1],
                "best_channel": patient.best,
                "latency": patient.latency,
                "bad_channels": list(patient.bad),
            }
            for patient in cohort.patients
        ],
    }
