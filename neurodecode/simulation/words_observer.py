"""The best attainable accuracy for spoken words: an observer who knows all but which word it was.

In: a `WordCohort` and, file by file, the signals before drift, mains and artefacts. Out: the share of words named right.
Waves are known signals in Gaussian noise: up to what is the same for all words,

    a <w, t_k> - a^2 |t_k|^2 / 2

with the whitened recording w, the whitened response t_k of word k and the trial's amplitude a, divided by the variance of w.
Bursts are noise of known power: in each 0.05 s and 20 Hz the projected contacts z [sources] are complex Gaussian with
covariance S = I + a^2 A_k, and the log-likelihood is - log det S - z^H S^(-1) z. Waves and bursts share no frequency: their
log-likelihoods add up. The projection on the sources is that of `observer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurodecode.simulation.observer import RATE, Projection
from neurodecode.simulation.words import SPAN, SYLLABLE, Patient, Session, Spoken, WordCohort

BIN, STEP = 0.05, 20.0  # s, Hz: windows and frequencies of bursts; their product is 1, so that they are independent
TRIALS = 400  # of a patient, at most so many are judged
METHOD = (
    "Gaussian likelihood observer: knows every word's response, each trial's amplitude and latency, the patient's gains "
    "and the noise's cross-spectral density; waves between 0.5 and 40 Hz, bursts in words.band as powers of 0.05 s and "
    "20 Hz (power is taken to be constant in each, so this part is an estimate); from 0.4 s before the word's onset to "
    "0.9 s after the onset of its last syllable; single trial, mean over patients; before drift, mains and artefacts, "
    "without flat contacts. A decoder that has to learn all this from few trials lies well below."
)


@dataclass
class WordObserver:
    """Judges a cohort's words, one file after the other."""

    cohort: WordCohort
    right: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def prepare(self, patient: Patient) -> None:
        """Whitened responses of one patient to every word; call it before the patient's files."""
        words, sfreq = self.cohort.words, self.cohort.settings.sfreq
        self.projection = Projection(patient)
        self.seconds = SYLLABLE * (words.length - 1) + SPAN[1] - SPAN[0]
        lexicon = list(self.cohort.lexicon.words.values())
        times = np.arange(round(4 * self.seconds * sfreq)) / sfreq + SPAN[0] - self.seconds  # silence on both sides
        waves = []
        for syllables in lexicon:
            low = patient.weights[0] * self.cohort.lexicon.response(syllables, times)[0]
            waves.append(self._cut(self.projection.sources(low, sfreq, self.seconds)).ravel())
        self.waves = np.stack(waves)  # [words, sources x samples]
        low_edge, high_edge = words.band
        self.frequencies = np.arange(low_edge + STEP / 2, high_edge - STEP / 2 + 0.1, STEP)
        self.bins = int(self.seconds / BIN)
        rows = patient.spectrum.nearest(self.frequencies)
        matrices = self.projection.from_sources[rows]  # [F, sources, sources]
        density = sfreq / 2 / (high_edge - low_edge)  # of noise of variance 1 in the band
        fine = (np.arange(self.bins * 10) + 0.5) * BIN / 10 + SPAN[0]
        values, vectors = [], []
        for syllables in lexicon:
            envelope = patient.weights[1] * self.cohort.lexicon.response(syllables, fine)[1]
            power = density * (envelope**2).reshape(len(envelope), self.bins, 10).mean(axis=2)  # [sources, bins]
            covariance = np.einsum("fij,jt,fkj->tfik", matrices, power, matrices.conj(), optimize=True)
            value, vector = np.linalg.eigh(covariance)
            values.append(np.maximum(value, 0.0))
            vectors.append(vector)
        self.values, self.vectors = np.stack(values), np.stack(vectors)  # [words, bins, F, sources(, sources)]
        every = sum(len(session.words) for session in patient.sessions if session.number is not None)
        self.every = max(1, int(np.ceil(every / TRIALS)))

    def observe(self, patient: Patient, session: Session, signal: np.ndarray) -> None:
        """Name the words of a run; a conversation is passed over. `signal` [contacts, samples], V."""
        if session.number is None:
            return
        sfreq, words = self.cohort.settings.sfreq, self.cohort.words
        labels = list(self.cohort.lexicon.words)
        spectrum = np.fft.rfft(signal[patient.good], axis=1)
        low = self.projection.channels(spectrum, signal.shape[1], sfreq, 0.0)  # [sources, samples at RATE]
        limits = (words.band[0] - STEP / 2, words.band[1] + STEP / 2)
        high = self.projection.whitened(spectrum, signal.shape[1], sfreq, limits)  # [sources, samples]
        for spoken in session.words[:: self.every]:
            begin = spoken.onset + spoken.shift + patient.latency + SPAN[0]
            first = round(begin * RATE)
            window = low[:, first : first + self.waves.shape[1] // len(low)]
            waves = spoken.amplitude * (self.waves @ window.ravel())
            waves = (waves - 0.5 * spoken.amplitude**2 * (self.waves**2).sum(axis=1)) * sfreq / RATE
            bursts = self._bursts(high, begin, sfreq, spoken)
            truth = labels.index(spoken.label)
            hits = [hit(score, truth) for score in (waves + bursts, waves, bursts)]
            self.right.setdefault(patient.number, []).append(np.array(hits))

    def _cut(self, series: np.ndarray) -> np.ndarray:
        return series[:, : round(self.seconds * RATE)]

    def _bursts(self, high: np.ndarray, begin: float, sfreq: float, spoken: Spoken) -> np.ndarray:
        """Log-likelihood of each word, from bursts."""
        n = round(BIN * sfreq)
        starts = np.round((begin + np.arange(self.bins) * BIN) * sfreq).astype(int)
        pieces = high[:, starts[:, None] + np.arange(n)]  # [sources, bins, n]
        waves = np.exp(-2j * np.pi * np.outer(self.frequencies, np.arange(n) / sfreq))  # [F, n]
        z = np.einsum("sbn,fn->bfs", pieces, waves, optimize=True) / np.sqrt(n)
        power = np.abs(np.einsum("kbfsi,bfs->kbfi", self.vectors.conj(), z, optimize=True)) ** 2
        spread = 1 + spoken.amplitude**2 * self.values
        return np.asarray(-(np.log(spread) + power / spread).sum(axis=(1, 2, 3)))

    def result(self) -> dict:
        """What `simulation.json` says of the ceiling."""
        each = np.array([np.mean(hits, axis=0) for hits in self.right.values()])  # [patients, 3]
        names = ("ideal", "waves", "bursts")
        return {
            "method": METHOD,
            "words": len(self.cohort.lexicon.words),
            "trials": sum(len(hits) for hits in self.right.values()),
            "chance": {"accuracy": 1 / len(self.cohort.lexicon.words)},
            **{
                name: {"accuracy": float(column.mean()), "accuracy_per_subject": [round(float(v), 4) for v in column]}
                for name, column in zip(names, each.T)
            },
        }


def hit(scores: np.ndarray, truth: int) -> float:
    """1 if the truth scores highest; words that score alike share it."""
    best = np.isclose(scores, scores.max(), rtol=0, atol=1e-9)
    return float(best[truth] / best.sum())
