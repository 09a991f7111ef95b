"""Patients who speak words: what they say and when, what that evokes, and the signal of every recording.

In: settings with `words`. Out: a `WordCohort`, and, one recording at a time, the signal [contacts, samples] in V. A syllable
evokes in each source of the planted regions

- a wave below 20 Hz: a few cycles under a bell, with a size and sign of its own for each source;
- a burst in `words.band`: noise under a bell, with a power of its own for each source.

Sources of vSMC, or any region named first, start before the sound, those of the others after it. All patients share these
patterns; where their contacts are, and the sign and strength of a source, is each patient's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurodecode.config.simulation import SimulationSettings, WordSettings
from neurodecode.simulation.background import Spectrum, add_artefacts, add_line, coloured, coloured_spectrum
from neurodecode.simulation.implant import SOURCES_PER_REGION, implant
from neurodecode.simulation.sensors import Sensors

SYLLABLES = (
    *("ba", "do", "gi", "ka", "lu", "me", "no", "pi", "ra", "su", "te", "vo"),
    *("bi", "da", "gu", "ko", "la", "mu", "ni", "pe", "ro", "sa", "tu", "ve"),
)
SYLLABLE = 0.16  # s
LEADS = (-0.12, 0.08)  # s from a syllable to its response: in the region named first, and in the others
REACTION = (0.5, 0.8)  # s from a cue to the word
EXTRA = 0.3  # s by which cues are further apart, at most
GRID = 0.01  # s: times of words and responses are multiples, which the observer's windows can meet exactly
SPAN = (-0.4, 0.9)  # s before a word's onset, and after the onset of its last syllable: all of a response
LOW = (0.5, 20.0)  # Hz, in which `snr` is defined
LEXICON, SENSORS, SCHEDULE, BACKGROUND, BURSTS, LINE, ARTEFACTS, BADS, DRIFT, LATENCY = range(10)  # random streams


@dataclass(frozen=True)
class Spoken:
    """One word: the onset of its sound (s), its syllables, and where and how large its response is.

    `label` is empty and `cue` NaN where nothing tells of it.
    """

    onset: float
    syllables: tuple[int, ...]
    cue: float | None
    label: str
    shift: float
    amplitude: float


@dataclass(frozen=True)
class Session:
    """One file: `number` from 0, None for the conversation."""

    number: int | None
    words: tuple[Spoken, ...]
    n_samples: int


@dataclass
class Patient:
    """One patient.

    Attributes
    ----------
    number
        From 0.
    sensors, spectrum, sessions
        Contacts, background, files.
    latency
        s, by which all responses are late.
    bad
        Names of flat contacts.
    weights
        Of waves and bursts, V.
    ratios
        Planted over background at the best contact, waves and bursts, as the settings define them.
    best
        The contact of the first of them.
    """

    number: int
    sensors: Sensors
    spectrum: Spectrum
    sessions: tuple[Session, ...]
    latency: float
    bad: tuple[str, ...] = ()
    weights: tuple[float, float] = (0.0, 0.0)
    ratios: tuple[float, float] = (0.0, 0.0)
    best: str = ""

    @property
    def label(self) -> str:
        """BIDS label."""
        return f"{self.number + 1:02d}"

    @property
    def good(self) -> np.ndarray:
        """[contacts], False where flat."""
        return np.array([name not in self.bad for name in self.sensors.info["ch_names"]])


class Lexicon:
    """The words, and what each syllable evokes: the same in every patient.

    Attributes
    ----------
    words
        Label -> syllables.
    size, power
        [syllables, sources] of waves (signed) and of bursts (mean 1).
    """

    def __init__(self, words: WordSettings, rng: np.random.Generator) -> None:
        n, sources = words.syllables, SOURCES_PER_REGION * len(words.regions)
        self.words: dict[str, tuple[int, ...]] = {}
        while len(self.words) < words.count:
            syllables = tuple(int(s) for s in rng.integers(n, size=words.length))
            self.words["".join(SYLLABLES[s] for s in syllables)] = syllables
        self.size = rng.standard_normal((n, sources))
        self.frequency = rng.uniform(3.0, 8.0, (n, sources))  # Hz
        self.phase = rng.uniform(0, 2 * np.pi, (n, sources))
        self.power = rng.gamma(0.7, 1 / 0.7, (n, sources))
        self.width = rng.uniform(0.035, 0.06, (n, sources))  # s, of bursts
        self.delay = np.repeat([LEADS[0], *[LEADS[1]] * (len(words.regions) - 1)], SOURCES_PER_REGION)  # s

    def response(self, syllables: tuple[int, ...], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Waves, and root of the power of bursts, at times (s) from a word's onset: [sources, times] each."""
        waves = np.zeros((self.size.shape[1], len(times)))
        power = np.zeros_like(waves)
        for place, s in enumerate(syllables):
            apart = times - place * SYLLABLE - self.delay[:, None] - SYLLABLE / 2  # [sources, times]
            cycle = np.cos(2 * np.pi * self.frequency[s][:, None] * apart + self.phase[s][:, None])
            waves += self.size[s][:, None] * np.exp(-0.5 * (apart / 0.07) ** 2) * cycle
            power += self.power[s][:, None] * np.exp(-0.5 * (apart / self.width[s][:, None]) ** 2)
        return waves, np.sqrt(power)


@dataclass
class WordCohort:
    """All patients."""

    settings: SimulationSettings
    words: WordSettings
    lexicon: Lexicon
    patients: list[Patient]

    def rng(self, stream: int, *numbers: int) -> np.random.Generator:
        """The random stream of one purpose."""
        return stream_of(self.settings, stream, *numbers)

    def clean_sessions(self, patient: Patient) -> Iterator[tuple[Session, np.ndarray]]:
        """Files with background and response alone, [contacts, samples], V."""
        sfreq = self.settings.sfreq
        for place, session in enumerate(patient.sessions):
            rng = self.rng(BACKGROUND, patient.number, place)
            signal = coloured(patient.sensors, session.n_samples, sfreq, rng).astype(np.float64)
            waves, envelopes = self.activity(patient, session)
            noise = band_noise(envelopes.shape, self.words.band, sfreq, self.rng(BURSTS, patient.number, place))
            signal += patient.sensors.gain @ (patient.weights[0] * waves + patient.weights[1] * envelopes * noise)
            yield session, signal

    def activity(self, patient: Patient, session: Session) -> tuple[np.ndarray, np.ndarray]:
        """Waves and envelopes of bursts of the sources during a file, without weights: [sources, samples] each."""
        sfreq = self.settings.sfreq
        waves = np.zeros((patient.sensors.gain.shape[1], session.n_samples))
        envelopes = np.zeros_like(waves)
        for spoken in session.words:
            begin = spoken.onset + spoken.shift + patient.latency
            first = max(0, int(np.ceil((begin + SPAN[0]) * sfreq)))
            last = min(session.n_samples, int((begin + SYLLABLE * (len(spoken.syllables) - 1) + SPAN[1]) * sfreq) + 1)
            wave, envelope = self.lexicon.response(spoken.syllables, np.arange(first, last) / sfreq - begin)
            waves[:, first:last] += spoken.amplitude * wave
            envelopes[:, first:last] = np.hypot(envelopes[:, first:last], spoken.amplitude * envelope)
        return waves, envelopes

    def disturb(self, patient: Patient, place: int, signal: np.ndarray) -> None:
        """Let gains wander, add mains and artefacts, make bad contacts flat, all in place."""
        settings = self.settings
        signal *= drift(signal.shape, self.words.drift, settings.sfreq, self.rng(DRIFT, patient.number, place))
        if settings.line_noise:
            add_line(signal, settings.line_noise, settings.sfreq, self.rng(LINE, patient.number, place))
        if settings.artefacts:
            rng = self.rng(ARTEFACTS, patient.number, place)
            add_artefacts(signal, settings.artefacts, patient.sensors, settings.sfreq, rng, settings.artefact_size)
        signal[~patient.good] = 0.0


def stream_of(settings: SimulationSettings, stream: int, *numbers: int) -> np.random.Generator:
    """A generator for one purpose, so that a cohort with another `snr` has the same patients, orders and backgrounds."""
    return np.random.default_rng([settings.seed, 1000 + stream, *numbers])


def band_noise(shape: tuple[int, ...], band: tuple[float, float], sfreq: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of one band with variance 1, [rows, samples]."""
    frequencies = np.fft.rfftfreq(shape[1], 1 / sfreq)
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    spectrum = np.zeros((shape[0], len(frequencies)), complex)
    drawn = rng.standard_normal((2, shape[0], int(inside.sum())))
    spectrum[:, inside] = (drawn[0] + 1j * drawn[1]) * shape[1] / 2 / np.sqrt(inside.sum())
    return np.fft.irfft(spectrum, n=shape[1], axis=1)


def drift(shape: tuple[int, ...], spread: float, sfreq: float, rng: np.random.Generator) -> np.ndarray:
    """Gains [rows, samples] that wander slowly about 1: knots 60 s apart and straight lines in their logarithms."""
    knots = np.arange(0, shape[1] / sfreq + 60, 60)
    levels = spread * rng.standard_normal((shape[0], len(knots)))
    times = np.arange(shape[1]) / sfreq
    return np.exp(np.stack([np.interp(times, knots, row) for row in levels]))


def plan_words(settings: SimulationSettings) -> WordCohort:
    """Implant the patients, write their schedules, and weigh the responses so that `snr` and `words.high_gamma` hold.

    Raises
    ------
    SettingsError
        If the contacts do not suffice.
    """
    words = settings.words
    assert words is not None
    cohort = WordCohort(settings, words, Lexicon(words, stream_of(settings, LEXICON)), [])
    for number in range(settings.subjects):
        sensors = implant(settings, words, cohort.rng(SENSORS, number))
        names = sensors.info["ch_names"]
        bad = cohort.rng(BADS, number).permutation(len(names))[: min(settings.bad_channels, len(names) // 2)]
        rng = cohort.rng(SCHEDULE, number)
        sessions = [plan_run(cohort, run, rng) for run in range(words.runs)]
        if words.conversation_seconds:
            sessions.append(plan_conversation(cohort, rng))
        deviation = float(np.clip(cohort.rng(LATENCY, number).standard_normal(), -2, 2)) * settings.latency_spread
        cohort.patients.append(
            Patient(
                number,
                sensors,
                coloured_spectrum(sensors, settings.sfreq),
                tuple(sessions),
                on_grid(deviation),
                tuple(names[i] for i in sorted(bad)),
            )
        )
    weigh(cohort)
    return cohort


def on_grid(seconds: float) -> float:
    """The nearest multiple of `GRID`."""
    return round(round(seconds / GRID) * GRID, 6)


def _size(words: WordSettings, rng: np.random.Generator) -> tuple[float, float]:
    """Shift (s) and amplitude of one response."""
    shift = on_grid(float(np.clip(rng.standard_normal(), -2, 2)) * words.jitter)
    return shift, float(np.exp(words.amplitude_spread * rng.standard_normal()))


def plan_run(cohort: WordCohort, number: int, rng: np.random.Generator) -> Session:
    """All words in a random order, each after a cue; a file lasts whole seconds."""
    words, labels = cohort.words, list(cohort.lexicon.words)
    at, spoken = 1.5, []
    for index in rng.permutation(np.repeat(np.arange(len(labels)), words.repetitions)):
        label = labels[index]
        onset = on_grid(at + rng.uniform(*REACTION))
        spoken.append(Spoken(onset, cohort.lexicon.words[label], on_grid(at), label, *_size(words, rng)))
        at += words.interval + rng.uniform(0, EXTRA)
    return Session(number, tuple(spoken), round(np.ceil(at + 1.0) * cohort.settings.sfreq))


def plan_conversation(cohort: WordCohort, rng: np.random.Generator) -> Session:
    """Rows of 1 to 5 syllables with pauses; none is a word of the vocabulary unless by chance."""
    words = cohort.words
    at, spoken = 1.0, []
    pause = SYLLABLE * 3 * (1 - words.talking) / words.talking  # s, mean
    while at + 2.5 < words.conversation_seconds:
        syllables = tuple(int(s) for s in rng.integers(words.syllables, size=rng.integers(1, 6)))
        spoken.append(Spoken(on_grid(at), syllables, None, "", *_size(words, rng)))
        at += len(syllables) * SYLLABLE + rng.exponential(pause)
    return Session(None, tuple(spoken), round(np.ceil(words.conversation_seconds) * cohort.settings.sfreq))


def weigh(cohort: WordCohort) -> None:
    """Set every patient's weights: one factor each for the waves and the bursts of the whole cohort."""
    settings, words = cohort.settings, cohort.words
    times = np.arange(SPAN[0], SPAN[1] + SYLLABLE * (words.length - 1), 1 / 200)
    both = [cohort.lexicon.response(syllables, times) for syllables in cohort.lexicon.words.values()]
    spoken = (times >= 0) & (times < words.length * SYLLABLE)
    waves = np.mean([low[:, spoken] @ low[:, spoken].T / spoken.sum() for low, _ in both], axis=0)
    bursts = np.diag(np.mean([(high[:, spoken] ** 2).mean(1) for _, high in both], axis=0))
    ratios = []
    for patient in cohort.patients:
        gain, pair = patient.sensors.gain, []
        for covariance, band in ((waves, LOW), (bursts, words.band)):
            planted = np.einsum("cs,st,ct->c", gain, covariance, gain) * patient.good
            pair.append(np.sqrt(planted / patient.spectrum.band_power(*band)))
        patient.best = patient.sensors.info["ch_names"][int(pair[0].argmax())]
        ratios.append([pair[0].max(), pair[1].max()])
    factors = np.array([settings.snr, words.high_gamma]) / np.median(ratios, axis=0)
    for patient, pair in zip(cohort.patients, np.array(ratios) * factors):
        patient.weights = (float(factors[0]), float(factors[1]))
        patient.ratios = (float(pair[0]), float(pair[1]))
