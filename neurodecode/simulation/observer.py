"""The best attainable score: an observer who knows all that a decoder has to learn.

In: the cohort and, run by run, the signals before mains and artefacts. Out: top-1 and top-10 of the retrieval of 3 s
segments. The observer knows each subject's response to every candidate, gains and noise spectrum. With the noise Gaussian,
the log-likelihood of "candidate k was heard" is, up to what is the same for all k,

    <w, t_k> - |t_k|^2 / 2

where w is the whitened recording and t_k the whitened response, both in the window of the segment. All that the recording
says about the sources is kept by the projection M^(-1/2) G^T C^(-1) of the channels at each frequency, with gains G
[channels, sources], noise density C and M = G^T C^(-1) G: it leaves [sources] series with white noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.simulation.cohort import Cohort, Run, Subject
from neurodecode.simulation.response import TAIL
from neurodecode.simulation.speech import Speech

if TYPE_CHECKING:
    from neurodecode.simulation.words import Patient

WINDOW = (-0.5 + 0.15, 2.5 + 0.15)  # s from a word's onset: 3 s, shifted by the brain's delay (paper section 3.6)
CANDIDATES = 400  # at most so many
LIMITS = (0.5, 40.0)  # Hz; the response holds nothing above
RATE = 100.0  # Hz, of the whitened series
MARGIN = 1.0  # s before a story that the series begin; no gap is shorter
FADE = 3.0  # s of silence after a story alone, so that the whitening of its end does not reach its begin
METHOD = (
    "Gaussian likelihood observer: knows every candidate's response, the subject's gains and the noise's cross-spectral "
    "density; channels are projected on the sources and whitened between 0.5 and 40 Hz over the whole run; candidates "
    "are 3 s windows at word onsets (-0.35 to 2.65 s) of the stories, spread evenly over all words, each heard once by "
    "each subject; single trial, mean over subjects, ties share their ranks; before mains and artefacts, without flat "
    "channels. `envelope` is the same observer who knows only the part of the response that is linear in the envelope."
)


@dataclass
class Observer:
    """Collects the ranks of a cohort's segments, one run after the other."""

    cohort: Cohort
    ranks: dict[int, list[np.ndarray]] = field(default_factory=dict)
    ranks_envelope: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        anchors = [(speech.name, onset) for speech in self.cohort.stories for onset in usable_onsets(speech)]
        take = np.linspace(0, len(anchors) - 1, min(CANDIDATES, len(anchors))).round().astype(int)
        self.candidates = [anchors[i] for i in take]

    def prepare(self, subject: Subject) -> None:
        """Whitened responses of one subject to every candidate; call it before the subject's runs."""
        self.projection = Projection(subject)
        sfreq = self.cohort.settings.sfreq
        templates: dict[str, list[np.ndarray]] = {"full": [], "envelope": []}
        for speech in self.cohort.stories:
            onsets = [onset for name, onset in self.candidates if name == speech.name]
            linear, phones = self.cohort.sources(subject, speech)
            n = round(np.ceil(linear.shape[1] / sfreq + MARGIN + FADE) * sfreq)
            for key, part in (("full", linear + phones), ("envelope", linear)):
                series = self.projection.sources(np.pad(part, ((0, 0), (0, n - part.shape[1]))), sfreq, -MARGIN)
                templates[key] += [cut(series, onset) for onset in onsets]
        shape = (len(self.candidates), -1)
        self.templates = {key: np.stack(value).reshape(shape) for key, value in templates.items()}

    def observe(self, subject: Subject, run: Run, signal: np.ndarray) -> None:
        """Rank the candidates heard in one run; `signal` [channels, samples], V or T."""
        sfreq = self.cohort.settings.sfreq
        if subject.moved:  # what was prepared is of another place of the head
            self.prepare(subject.at(subject.runs.index(run), sfreq))
        spectrum = np.fft.rfft(signal[subject.good], axis=1)
        for placed in run.stories:
            mine = [i for i, (name, _) in enumerate(self.candidates) if name == placed.speech.name]
            if not mine:
                continue
            start = placed.sample / sfreq - MARGIN
            series = self.projection.channels(spectrum, signal.shape[1], sfreq, start)
            windows = np.stack([cut(series, self.candidates[i][1]) for i in mine]).reshape(len(mine), -1)
            for key, store in (("full", self.ranks), ("envelope", self.ranks_envelope)):
                templates = self.templates[key]
                scores = windows @ templates.T - 0.5 * (templates**2).sum(axis=1)  # [queries, candidates]
                store.setdefault(subject.number, []).append(rank_spans(scores, np.array(mine)))

    def result(self) -> dict:
        """What `simulation.json` says of the ceiling."""
        n = len(self.candidates)
        return {
            "method": METHOD,
            "note": "an estimate: the background is a recording, not Gaussian noise of known spectrum"
            if self.cohort.recorded is not None
            else "",
            "window_seconds": WINDOW[1] - WINDOW[0],
            "candidates": n,
            "queries": sum(len(spans) for ranks in self.ranks.values() for spans in ranks),
            "chance": {f"top{k}": min(1.0, k / n) for k in (1, 10)},
            "ideal": self._scores(self.ranks),
            "envelope": self._scores(self.ranks_envelope),
        }

    @staticmethod
    def _scores(ranks: dict[int, list[np.ndarray]]) -> dict:
        each = {f"top{k}": [hits(np.concatenate(spans), k) for spans in ranks.values()] for k in (1, 10)}
        return {key: float(np.mean(values)) for key, values in each.items()} | {
            f"{key}_per_subject": [round(v, 4) for v in values] for key, values in each.items()
        }


class Projection:
    """Channels or sources of one subject -> [sources, samples] at `RATE` with white noise.

    Attributes
    ----------
    from_sources
        [F, sources, sources]: what whitening makes of the sources at each frequency of the subject's spectrum.
    """

    def __init__(self, subject: Subject | Patient) -> None:
        spectrum, gain = subject.spectrum, subject.sensors.gain[subject.good]
        density = spectrum.density[:, subject.good][:, :, subject.good]
        inverse = np.linalg.solve(density, np.broadcast_to(gain, (len(density), *gain.shape)))  # C^-1 G
        values, vectors = np.linalg.eigh(np.swapaxes(inverse.conj(), 1, 2) @ gain)  # of M
        # directions that no channel sees hold nothing to know: fewer channels than sources leave some
        seen = values > 1e-9 * values.max(axis=1, keepdims=True)
        root = np.sqrt(np.where(seen, values, 1.0))
        back = np.swapaxes(vectors.conj(), 1, 2)
        self._spectrum = spectrum
        self._from_channels = (vectors * (seen / root)[:, None, :]) @ back @ np.swapaxes(inverse.conj(), 1, 2)
        self.from_sources = (vectors * (seen * root)[:, None, :]) @ back

    def channels(self, spectrum: np.ndarray, n_samples: int, sfreq: float, start: float) -> np.ndarray:
        """[sources, samples] whose first sample lies `start` s after that of a recording with this rfft [channels, F]."""
        return self._apply(self._from_channels, spectrum, n_samples, sfreq, start)

    def sources(self, series: np.ndarray, sfreq: float, start: float) -> np.ndarray:
        """The same of what sources do, [sources, samples]."""
        return self._apply(self.from_sources, np.fft.rfft(series, axis=1), series.shape[1], sfreq, start)

    def whitened(self, spectrum: np.ndarray, n_samples: int, sfreq: float, limits: tuple[float, float]) -> np.ndarray:
        """[sources, samples] at the full rate, between two frequencies (Hz) alone, of a recording with this rfft."""
        frequencies = np.fft.rfftfreq(n_samples, 1 / sfreq)
        bins = np.flatnonzero((frequencies >= limits[0]) & (frequencies <= limits[1]))
        rows = self._spectrum.nearest(frequencies[bins])
        out = np.zeros((self._from_channels.shape[1], len(frequencies)), dtype=complex)
        for row in np.unique(rows):
            out[:, bins[rows == row]] = self._from_channels[row] @ spectrum[:, bins[rows == row]]
        return np.fft.irfft(out, n=n_samples, axis=1)

    def _apply(self, matrix: np.ndarray, spectrum: np.ndarray, n: int, sfreq: float, start: float) -> np.ndarray:
        m = round(n / sfreq * RATE)
        frequencies = np.fft.rfftfreq(n, 1 / sfreq)
        bins = np.flatnonzero((frequencies >= LIMITS[0]) & (frequencies <= LIMITS[1]))
        rows = self._spectrum.nearest(frequencies[bins])
        out = np.zeros((matrix.shape[1], m // 2 + 1), dtype=complex)
        for row in np.unique(rows):
            here = bins[rows == row]
            out[:, here] = matrix[row] @ spectrum[:, here]
        out[:, bins] *= np.exp(2j * np.pi * frequencies[bins] * start) * (m / n)
        return np.fft.irfft(out, n=m, axis=1)


def usable_onsets(speech: Speech) -> list[float]:
    """Word onsets of a story around which the whole window is heard."""
    onsets = speech.events("word")["onset"].to_numpy()
    inside = (onsets + WINDOW[0] >= -MARGIN) & (onsets + WINDOW[1] <= speech.seconds + TAIL)
    return [float(onset) for onset in onsets[inside]]


def cut(series: np.ndarray, onset: float) -> np.ndarray:
    """Window around a word of a story's series [sources, samples] that begins `MARGIN` before the story."""
    first = round((MARGIN + onset + WINDOW[0]) * RATE)
    return series[:, first : first + round((WINDOW[1] - WINDOW[0]) * RATE)]


def rank_spans(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many candidates beat the true one, and how many are equal to it (itself included): [queries, 2]."""
    own = scores[np.arange(len(truth)), truth][:, None]
    return np.c_[(scores > own).sum(axis=1), (scores == own).sum(axis=1)]


def hits(spans: np.ndarray, k: int) -> float:
    """Share of queries among the first `k`; equal candidates share their ranks."""
    return float(np.clip((k - spans[:, 0]) / spans[:, 1], 0, 1).mean())
