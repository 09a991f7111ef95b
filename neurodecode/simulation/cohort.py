"""Who hears what, when, through which sensors, and how strongly the response is planted.

In: settings. Out: a `Cohort`: subjects with their sensors, runs and weights, and, one run at a time, the signal
[channels, samples] in V or T. Every draw has a random stream of its own, so that a cohort with another `snr` or `linear`
has the same heads, orders and backgrounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from neurodecode.config.simulation import SimulationSettings
from neurodecode.simulation.background import (
    Spectrum,
    add_artefacts,
    add_line,
    coloured,
    coloured_spectrum,
    estimate_spectrum,
    lengthened,
    read_background,
)
from neurodecode.simulation.lexical import word_sizes
from neurodecode.simulation.response import TAIL, Kernels, source_activity
from neurodecode.simulation.sensors import Sensors, make_sensors
from neurodecode.simulation.speech import Speech, load_speech

BAND = (0.5, 20.0)  # Hz, in which `snr` and `linear` are defined
GAP = (1.0, 2.0)  # s of silence before, between and (beside the response's tail) after stories
SENSORS, ORDER, BACKGROUND, LINE, ARTEFACTS, BADS, LATENCY, MOVEMENT = range(8)  # random streams


@dataclass(frozen=True)
class Placed:
    """A story in a run; `sample` is where its first audio sample is heard."""

    speech: Speech
    sample: int


@dataclass(frozen=True)
class Run:
    """One file: its stories in order, and its length in samples."""

    stories: tuple[Placed, ...]
    n_samples: int


@dataclass
class Subject:
    """One listener.

    Attributes
    ----------
    number
        From 0.
    sensors, kernels, runs
        What is recorded, how the brain answers, what is heard.
    spectrum
        Of the background.
    bad
        Names of flat channels.
    weights
        Of the linear and of the phone part of the response, A m.
    snr, best
        Response over background at the best channel, as `SimulationSettings.snr` defines it, and that channel's name.
    power
        [2], of the linear and of the phone part in `BAND`, summed over channels, V^2 or T^2.
    moved
        Sensors of the second run and those after it, if the head moves between runs; empty: `sensors` serve all runs.
    """

    number: int
    sensors: Sensors
    kernels: Kernels
    runs: tuple[Run, ...]
    spectrum: Spectrum
    bad: tuple[str, ...] = ()
    weights: tuple[float, float] = (0.0, 0.0)
    snr: float = 0.0
    best: str = ""
    power: tuple[float, float] = (0.0, 0.0)
    moved: tuple[Sensors, ...] = ()

    @property
    def label(self) -> str:
        """BIDS label."""
        return f"{self.number + 1:02d}"

    @property
    def good(self) -> np.ndarray:
        """[channels], False where flat."""
        return np.array([name not in self.bad for name in self.sensors.info["ch_names"]])

    def at(self, run: int, sfreq: float) -> Subject:
        """The subject as he sits in a run: with the sensors, and the background, of that run."""
        if not self.moved or run == 0:
            return self
        sensors = self.moved[run - 1]
        return replace(self, sensors=sensors, spectrum=coloured_spectrum(sensors, sfreq))

    def speech(self) -> list[Speech]:
        """Stories in the order in which they are heard."""
        return [placed.speech for run in self.runs for placed in run.stories]


@dataclass
class Cohort:
    """All subjects, and the real background when there is one."""

    settings: SimulationSettings
    stories: list[Speech]
    subjects: list[Subject]
    recorded: np.ndarray | None = None
    artefacts: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)

    def rng(self, stream: int, *numbers: int) -> np.random.Generator:
        """The random stream of one purpose."""
        return np.random.default_rng([self.settings.seed, stream, *numbers])

    def sources(self, subject: Subject, speech: Speech) -> tuple[np.ndarray, np.ndarray]:
        """Linear and phone part of the sources during one story, weighted: [sources, samples] each."""
        linear, phones = source_activity(speech, subject.kernels, self.settings.sfreq)
        return subject.weights[0] * linear, subject.weights[1] * phones

    def clean_runs(self, subject: Subject) -> Iterator[tuple[Run, np.ndarray]]:
        """Runs with response and background alone, [channels, samples] in V or T."""
        sfreq, total = self.settings.sfreq, sum(run.n_samples for run in subject.runs)
        backgrounds: np.ndarray | None = None
        if self.recorded is not None:
            rng = self.rng(BACKGROUND, subject.number)
            backgrounds = lengthened(self.recorded, total, sfreq, surrogate_first=subject.number > 0, rng=rng)
        start = 0
        for number, run in enumerate(subject.runs):
            here = subject.moved[number - 1] if subject.moved and number else subject.sensors
            if backgrounds is None:
                rng = self.rng(BACKGROUND, subject.number, number)
                signal = coloured(here, run.n_samples, sfreq, rng).astype(np.float64)
            else:
                signal = backgrounds[:, start : start + run.n_samples]
            start += run.n_samples
            for placed in run.stories if any(subject.weights) else ():
                response = here.gain @ sum(self.sources(subject, placed.speech))
                signal[:, placed.sample : placed.sample + response.shape[1]] += response
            yield run, signal

    def disturb(self, subject: Subject, number: int, signal: np.ndarray) -> None:
        """Add mains and artefacts to a run in place, and make bad channels flat."""
        settings = self.settings
        if settings.line_noise:
            add_line(signal, settings.line_noise, settings.sfreq, self.rng(LINE, subject.number, number))
        if settings.artefacts:
            rng = self.rng(ARTEFACTS, subject.number, number)
            self.artefacts[subject.number, number] = add_artefacts(
                signal, settings.artefacts, subject.sensors, settings.sfreq, rng, settings.artefact_size
            )
        signal[~subject.good] = 0.0


def plan_cohort(settings: SimulationSettings) -> Cohort:
    """Place sensors, order stories, and weigh the response so that `snr` and `linear` hold.

    Raises
    ------
    SettingsError, SpeechError
        If the background or the speech cannot be used.
    """
    stories = load_speech(settings.speech, settings.stories)
    words = word_sizes(stories, settings.lexical)
    cohort = Cohort(settings, stories, [])
    shared: Spectrum | None = None
    for number in range(settings.subjects):
        sensors = make_sensors(settings, cohort.rng(SENSORS, number))
        if settings.background is not None and cohort.recorded is None:
            cohort.recorded = read_background(Path(settings.background), settings.channels, settings.sfreq)
            if settings.modality == "meg":  # recordings in volts stand in for fields: bring them to the size of fields
                cohort.recorded *= sensors.level / np.sqrt(np.mean(cohort.recorded**2))
            shared = estimate_spectrum(cohort.recorded, settings.sfreq)
        deviation = float(np.clip(cohort.rng(LATENCY, number).standard_normal(), -2, 2))
        bad = cohort.rng(BADS, number).permutation(settings.channels)[: settings.bad_channels]
        cohort.subjects.append(
            Subject(
                number,
                sensors,
                Kernels(settings.seed, deviation * settings.latency_spread, words),
                order_runs(settings, stories, cohort.rng(ORDER, number)),
                shared or coloured_spectrum(sensors, settings.sfreq),
                tuple(sensors.info["ch_names"][i] for i in sorted(bad)),
            )
        )
        if settings.movement:
            later = range(1, len(cohort.subjects[-1].runs))
            cohort.subjects[-1].moved = tuple(
                make_sensors(settings, cohort.rng(SENSORS, number), cohort.rng(MOVEMENT, number, run)) for run in later
            )
    weigh(cohort)
    return cohort


def order_runs(settings: SimulationSettings, stories: list[Speech], rng: np.random.Generator) -> tuple[Run, ...]:
    """Shuffle the stories and share them out over runs of about `run_seconds`; a run lasts whole seconds."""
    total = sum(speech.seconds for speech in stories)
    n_runs = min(len(stories), max(1, round(total / settings.run_seconds)))
    runs = []
    for part in np.array_split(rng.permutation(len(stories)), n_runs):
        at, placed = rng.uniform(*GAP), []
        for index in part:
            sample = round(at * settings.sfreq)
            placed.append(Placed(stories[index], sample))
            at = sample / settings.sfreq + stories[index].seconds + TAIL + rng.uniform(*GAP)
        runs.append(Run(tuple(placed), round(np.ceil(at) * settings.sfreq)))
    return tuple(runs)


def band_covariance(series: np.ndarray, sfreq: float) -> np.ndarray:
    """Mean power between the limits of `BAND`, and cross power, of [rows, samples]: [rows, rows]."""
    frequencies = np.fft.rfftfreq(series.shape[1], 1 / sfreq)
    inside = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    spectrum = np.fft.rfft(series, axis=1)[:, inside]
    return np.asarray((spectrum @ spectrum.conj().T).real * 2 / series.shape[1] ** 2)


def weigh(cohort: Cohort) -> None:
    """Set every subject's weights.

    The two parts are brought to the wished share in each subject. One factor for the whole cohort then makes the median
    over subjects of the ratio at the best channel equal to `snr`, so that subjects stay stronger and weaker.
    """
    settings = cohort.settings
    seconds = np.array([speech.seconds for speech in cohort.stories])
    covariances, powers = [], []
    for subject in cohort.subjects:
        both = [
            band_covariance(np.concatenate(source_activity(speech, subject.kernels, settings.sfreq)), settings.sfreq)
            for speech in cohort.stories
        ]
        covariance = np.average(both, axis=0, weights=seconds)  # [2 sources, 2 sources], linear before phones
        gain, half = subject.sensors.gain[subject.good], len(covariance) // 2
        covariances.append(covariance)
        parts = covariance[:half, :half], covariance[half:, half:]
        powers.append([float(np.einsum("cs,st,ct->", gain, part, gain)) for part in parts])
    shares = np.array([settings.linear, 1 - settings.linear])
    power = np.array(powers)  # [subjects, 2]
    strength = (shares * power / power.mean(axis=0)).sum(axis=1)  # of each subject, mean 1
    weights = np.sqrt(shares * strength[:, None] / power)
    ratios = []
    for subject, covariance, pair in zip(cohort.subjects, covariances, weights):
        each = np.repeat(pair, len(covariance) // 2)
        total = np.hstack([subject.sensors.gain] * 2) * each  # [channels, 2 sources]
        response = np.einsum("cs,st,ct->c", total, covariance, total)
        ratio = np.sqrt(response / subject.spectrum.band_power(*BAND)) * subject.good
        subject.best = subject.sensors.info["ch_names"][int(ratio.argmax())]
        ratios.append(ratio.max())
    factor = settings.snr / float(np.median(ratios))
    for subject, pair, ratio, own in zip(cohort.subjects, factor * weights, ratios, power):
        subject.weights = (float(pair[0]), float(pair[1]))
        subject.snr = float(factor * ratio)
        subject.power = (float(pair[0] ** 2 * own[0]), float(pair[1] ** 2 * own[1]))
