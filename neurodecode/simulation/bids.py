"""Writes a simulated cohort as a BIDS tree of real files.

In: a `Cohort` and one run's signal [channels, samples] in V or T. Out: `sub-*/meg/*_meg.fif` (float32),
`sub-*/eeg/*_eeg.vhdr` (BrainVision, 16 bit, 0.1 uV) or `sub-*/ieeg/*_ieeg.edf` (16 bit, 1/65535 of each channel's range),
each with its tables and sidecars, and the files at the root. Onsets are s from the first sample, positions are in m.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurodecode.files import plain
from neurodecode.simulation.cohort import Cohort, Run, Subject

TASK = "listening"
FOLDERS = {"meg": "meg", "eeg": "eeg", "seeg": "ieeg"}
LICENCE = "signals and text CC0-1.0; audio made with flite, CMU licence"
RESOLUTION = 0.1  # uV, of BrainVision
FRAME = "head frame: origin between the ear points, x to the right ear, y to the nose, z up (RAS); simulated"
README = """# {title}

SIMULATED DATA. No person was recorded. Made by neurodecode {version} (`neurodecode simulate`), seed {seed}.

{subjects} subjects, {channels} {modality} channels at {sfreq:g} Hz, {stories} stories of synthetic speech
({minutes:.1f} minutes a subject, in another order for each). A response to the acoustic envelope and to phones is
planted on {background}. `simulation.json` holds every setting, each subject's signal-to-noise ratio, and the score
of an ideal observer, which no decoder can be expected to exceed.

`stimuli/<story>.tsv` holds the sentence, word and phone times of each story, in seconds from the start of its audio.
"""


def entity(subject: Subject, run: int) -> str:
    """File name of a run without its suffix."""
    return f"sub-{subject.label}_task-{TASK}_run-{run + 1:02d}"


def write_run(root: Path, cohort: Cohort, subject: Subject, number: int, signal: np.ndarray) -> Path:
    """Write one run and its tables; returns the data file."""
    settings, run = cohort.settings, subject.runs[number]
    folder = root / f"sub-{subject.label}" / FOLDERS[settings.modality]
    folder.mkdir(parents=True, exist_ok=True)
    stem, kind = entity(subject, number), FOLDERS[settings.modality]
    names = subject.sensors.info["ch_names"]
    if settings.modality == "meg":
        path = _write_fif(folder / f"{stem}_{kind}", subject, signal)
    else:
        writer = _write_brainvision if settings.modality == "eeg" else write_edf
        path = writer(folder / f"{stem}_{kind}", names, signal, settings.sfreq)
    save_table(folder / f"{stem}_events.tsv", _events(run, settings.sfreq))
    save_table(folder / f"{stem}_channels.tsv", _channels(cohort, subject))
    save_json(folder / f"{stem}_{kind}.json", _sidecar(cohort, subject, run))
    if number == 0:
        _positions(folder, subject, settings.modality)
    return path


def _write_fif(stem: Path, subject: Subject, signal: np.ndarray) -> Path:
    import mne

    info = subject.sensors.info.copy()
    info["bads"] = list(subject.bad)
    path = stem.with_name(f"{stem.name}.fif")
    mne.io.RawArray(signal, info, verbose="error").save(path, fmt="single", verbose="error")
    return path


def _write_brainvision(stem: Path, names: list[str], signal: np.ndarray, sfreq: float) -> Path:
    import pybv

    steps = np.clip(np.round(signal / (RESOLUTION * 1e-6)), -32766, 32766)  # an amplifier saturates
    steps += 0.25 * np.sign(steps)  # pybv cuts toward 0: so it meets the nearest step whatever the rounding
    pybv.write_brainvision(
        data=steps * RESOLUTION * 1e-6,
        sfreq=sfreq,
        ch_names=names,
        fname_base=stem.name,
        folder_out=str(stem.parent),
        resolution=RESOLUTION,
        unit="µV",
        fmt="binary_int16",
    )
    return stem.with_name(f"{stem.name}.vhdr")


def write_edf(stem: Path, names: list[str], signal: np.ndarray, sfreq: float) -> Path:
    """Write [channels, samples] in V as 16 bit over each channel's range; `stem` gets the ending."""
    import edfio

    signals = []
    for name, values in zip(names, signal * 1e6):
        # the header holds 8 characters of a limit: a rounded one that takes all values in
        limit = max(1.0, float(np.ceil(np.abs(values).max() * 10) / 10))
        signals.append(
            edfio.EdfSignal(values, sfreq, label=name, physical_dimension="uV", physical_range=(-limit, limit))
        )
    path = stem.with_name(f"{stem.name}.edf")
    edfio.Edf(signals, data_record_duration=1.0).write(path)
    return path


def _events(run: Run, sfreq: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "onset": placed.sample / sfreq,
                "duration": placed.speech.seconds,
                "trial_type": "stimulus",
                "kind": "stimulus",
                "stim_file": placed.speech.path.name,
                "stimulus_onset": 0.0,
            }
            for placed in run.stories
        ]
    )


def _channels(cohort: Cohort, subject: Subject) -> pd.DataFrame:
    modality = cohort.settings.modality
    names = subject.sensors.info["ch_names"]
    table = pd.DataFrame(
        {
            "name": names,
            "type": {"meg": "MEGMAG", "eeg": "EEG", "seeg": "SEEG"}[modality],
            "units": "T" if modality == "meg" else "µV",
            "low_cutoff": "n/a",
            "high_cutoff": "n/a",
            "sampling_frequency": cohort.settings.sfreq,
        }
    )
    if subject.sensors.shafts:
        table["group"] = subject.sensors.shafts
    table["status"] = ["bad" if name in subject.bad else "good" for name in names]
    table["status_description"] = ["flat" if name in subject.bad else "n/a" for name in names]
    return table


def _sidecar(cohort: Cohort, subject: Subject, run: Run) -> dict[str, Any]:
    settings = cohort.settings
    sidecar: dict[str, Any] = {
        "TaskName": TASK,
        "TaskDescription": "listening to stories; simulated",
        "SamplingFrequency": settings.sfreq,
        "PowerLineFrequency": settings.line_noise or "n/a",
        "SoftwareFilters": "n/a",
        "RecordingDuration": run.n_samples / settings.sfreq,
        "RecordingType": "continuous",
        "Manufacturer": "neurodecode simulator",
    }
    count = {"meg": "MEGChannelCount", "eeg": "EEGChannelCount", "seeg": "SEEGChannelCount"}[settings.modality]
    sidecar[count] = settings.channels
    if settings.modality == "meg":
        sidecar |= {"DewarPosition": "upright", "DigitizedLandmarks": True, "DigitizedHeadPoints": False}
    else:
        sidecar["EEGReference" if settings.modality == "eeg" else "iEEGReference"] = "average"
    return sidecar


def _positions(folder: Path, subject: Subject, modality: str) -> None:
    """Electrodes and the frame they are in; MEG sensors are in the FIF itself."""
    sensors, stem = subject.sensors, f"sub-{subject.label}"
    if modality == "meg":
        landmarks = {"NAS": [0, 0.09, 0], "LPA": [-0.09, 0, 0], "RPA": [0.09, 0, 0]}
        system = {
            "MEGCoordinateSystem": "ElektaNeuromag",
            "MEGCoordinateUnits": "m",
            "AnatomicalLandmarkCoordinates": landmarks,
            "AnatomicalLandmarkCoordinateSystem": "ElektaNeuromag",
            "AnatomicalLandmarkCoordinateUnits": "m",
        }
        save_json(folder / f"{stem}_coordsystem.json", system)
        return
    table = pd.DataFrame({"name": sensors.info["ch_names"]})
    for axis, values in zip("xyz", sensors.positions.T):
        table[axis] = [f"{value:.6f}" for value in values]
    if modality == "seeg":
        table["size"] = 5.0  # mm^2, surface of a contact
        table["group"] = sensors.shafts
        table["region"] = sensors.regions
        system = {
            "iEEGCoordinateSystem": "Other",
            "iEEGCoordinateUnits": "m",
            "iEEGCoordinateSystemDescription": FRAME,
        }
    else:
        system = {
            "EEGCoordinateSystem": "CapTrak",
            "EEGCoordinateUnits": "m",
            "EEGCoordinateSystemDescription": FRAME,
            "AnatomicalLandmarkCoordinates": {"NAS": [0, 0.09, 0], "LPA": [-0.09, 0, 0], "RPA": [0.09, 0, 0]},
            "AnatomicalLandmarkCoordinateSystem": "CapTrak",
            "AnatomicalLandmarkCoordinateUnits": "m",
        }
    save_table(folder / f"{stem}_electrodes.tsv", table)
    save_json(folder / f"{stem}_coordsystem.json", system)


def write_root(root: Path, cohort: Cohort, version: str) -> None:
    """Write what is not of one subject: description, participants, stimuli, README."""
    settings = cohort.settings
    save_json(
        root / "dataset_description.json",
        {
            "Name": f"{settings.name} (simulated)",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": LICENCE if settings.speech is None and settings.background is None else "n/a",
            "GeneratedBy": [{"Name": "neurodecode simulate", "Version": version}],
        },
    )
    save_table(
        root / "participants.tsv",
        pd.DataFrame(
            {
                "participant_id": [f"sub-{subject.label}" for subject in cohort.subjects],
                "snr": [f"{subject.snr:.4f}" for subject in cohort.subjects],
            }
        ),
    )
    save_json(root / "participants.json", {"snr": {"Description": "planted response over background, best channel"}})
    save_json(
        root / f"task-{TASK}_events.json",
        {
            "kind": {"Description": "stimulus: a story begins"},
            "stim_file": {"Description": "audio file in stimuli/; the .tsv beside it holds sentences, words, phones"},
            "stimulus_onset": {"Description": "second of the audio that is heard at onset", "Units": "s"},
        },
    )
    (root / "stimuli").mkdir(exist_ok=True)
    for speech in cohort.stories:
        for path in (speech.path, speech.table):
            shutil.copyfile(path, root / "stimuli" / path.name)
    readme = README.format(
        title=settings.name,
        version=version,
        seed=settings.seed,
        subjects=settings.subjects,
        channels=settings.channels,
        modality={"meg": "MEG", "eeg": "EEG", "seeg": "sEEG"}[settings.modality],
        sfreq=settings.sfreq,
        stories=len(cohort.stories),
        minutes=sum(speech.seconds for speech in cohort.stories) / 60,
        background=f"a real recording ({settings.background.name})" if settings.background else "coloured noise",
    )
    (root / "README.md").write_text(readme, encoding="utf-8")


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a BIDS table."""
    table.to_csv(path, sep="\t", index=False, na_rep="n/a", float_format="%.9g")


def save_json(path: Path, value: dict[str, Any]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
