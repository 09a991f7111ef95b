"""The planted response: what the sources in the brain do while a story is heard.

In: a `Speech` and the cohort's seed. Out: two arrays [sources, samples] of dipole moment (arbitrary unit):

- linear: the acoustic envelope convolved with one temporal response function, by auditory sources only. Ridge
  regression on the envelope can learn it in full.
- phones: each phone evokes its own pattern over all sources and its own mixture of three components. Its strength grows
  with the cube root of its loudness, and shrinks when the phone before was close (adaptation). Its polarity depends on
  what came before, as if populations on the two walls of a sulcus preferred different contexts. So a linear model,
  which sees the mean over contexts, catches little of it; a network that looks at size or context can learn it. Where the
  cohort has a `lexical` effect, phones of rare words are answered more strongly (`lexical.py`).

Sample k lies k / sfreq seconds after the start of the audio; the response runs on for `TAIL` after its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.signal import oaconvolve

from neurodecode.simulation.lexical import phone_sizes
from neurodecode.simulation.speech import Speech

# Response function of the envelope: latency s, width s (standard deviation), sign and strength (M50, M100, M200).
ENVELOPE_KERNEL = ((0.050, 0.015, 0.6), (0.100, 0.022, -1.0), (0.200, 0.045, 0.7))
# Components that phones mix: latency s, width s.
PHONE_COMPONENTS = ((0.080, 0.018), (0.150, 0.030), (0.260, 0.050))
TAIL = 0.6  # s, longest response after the sound
LOUDNESS_POWER = 1 / 3  # compressive
ADAPTATION, RECOVERY = 0.7, 0.12  # share lost at once, s to recover
PAUSE = 0.05  # s without a phone after which the context is silence
CLASS_WEIGHT = 0.7  # part of a phone's pattern that is its class's; the rest is its own

# Name, position (m, right hemisphere, head frame: x right, y front, z up), orientation, strength in the linear part.
SOURCES = (
    ("heschl", (0.050, 0.000, 0.055), (0.3, 0.2, 1.0), 1.0),
    ("stg-posterior", (0.056, -0.022, 0.058), (0.2, 0.8, 0.7), 0.6),
    ("stg-anterior", (0.054, 0.022, 0.045), (-0.2, 0.9, 0.5), 0.0),
    ("sts", (0.060, -0.006, 0.040), (0.1, -0.6, 0.9), 0.0),
    ("temporal-middle", (0.058, -0.024, 0.030), (0.2, 1.0, -0.3), 0.0),
    ("frontal-inferior", (0.046, 0.044, 0.056), (0.6, -0.3, 0.8), 0.0),
)
PHONE_CLASSES = {
    "front-vowel": ("iy", "ih", "eh", "ae", "ey"),
    "back-vowel": ("aa", "ao", "uh", "uw", "ow", "ah", "ax", "er"),
    "diphthong": ("ay", "aw", "oy"),
    "voiced-stop": ("b", "d", "g"),
    "voiceless-stop": ("p", "t", "k"),
    "affricate": ("ch", "jh"),
    "voiceless-fricative": ("f", "th", "s", "sh", "hh"),
    "voiced-fricative": ("v", "dh", "z", "zh"),
    "nasal": ("m", "n", "ng"),
    "glide": ("l", "r", "w", "y"),
}


def source_names() -> list[str]:
    """Names of the sources: left ones, then right ones."""
    return [f"{name}-{side}" for side in ("left", "right") for name, *_ in SOURCES]


def source_geometry() -> tuple[np.ndarray, np.ndarray]:
    """Positions (m) and unit orientations [sources, 3] in the head frame."""
    mirror = np.array([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])  # left, right
    positions = np.concatenate([np.array([p for _, p, _, _ in SOURCES]) * m for m in mirror])
    orientations = np.concatenate([np.array([o for _, _, o, _ in SOURCES]) * m for m in mirror])
    return positions, orientations / np.linalg.norm(orientations, axis=1, keepdims=True)


def label_seed(label: str) -> int:
    """A number that depends on the text alone, so that a pattern does not depend on the order of phones."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Kernels:
    """What a cohort's brains do with sound; the same for every subject but for `latency`.

    Attributes
    ----------
    seed
        Of the phone patterns.
    latency
        Added to every latency, s (one subject's deviation).
    words
        Word -> size of what its phones evoke; empty: all alike.
    """

    seed: int
    latency: float = 0.0
    words: Mapping[str, float] = field(default_factory=dict)

    def envelope_kernel(self, lags: np.ndarray) -> np.ndarray:
        """Temporal response function at `lags` (s)."""
        return sum(
            strength * np.exp(-0.5 * ((lags - latency - self.latency) / width) ** 2)
            for latency, width, strength in ENVELOPE_KERNEL
        ) * (lags >= 0)

    def components(self, lags: np.ndarray) -> np.ndarray:
        """Phone components [3, *lags.shape] at `lags` (s); 0 before the phone."""
        return np.stack(
            [np.exp(-0.5 * ((lags - t - self.latency) / width) ** 2) * (lags >= 0) for t, width in PHONE_COMPONENTS]
        )

    def linear_weights(self) -> np.ndarray:
        """Strength of each source in the linear part [sources]; the right side is a little stronger."""
        weights = np.array([w for *_, w in SOURCES])
        return np.concatenate([0.8 * weights, weights])

    def phone_pattern(self, label: str) -> np.ndarray:
        """Weights [sources, 3 components] of one phone."""
        label, group = plain_phone(label), phone_class(label)
        shape = (2 * len(SOURCES), len(PHONE_COMPONENTS))
        shared = np.random.default_rng([self.seed, label_seed(f"class {group}")]).standard_normal(shape)
        own = np.random.default_rng([self.seed, label_seed(f"phone {label}")]).standard_normal(shape)
        return np.sqrt(CLASS_WEIGHT) * shared + np.sqrt(1 - CLASS_WEIGHT) * own

    def polarity(self, label: str, before: str) -> int:
        """1 or -1: side on which a phone is answered after a phone (or silence, "") before it."""
        context = phone_class(before) if before else "silence"
        pair = label_seed(f"{phone_class(label)} after {context}")
        return int(np.random.default_rng([self.seed, pair]).choice([-1, 1]))


def plain_phone(label: str) -> str:
    """A phone without the stress marks of other phone sets."""
    return label.lower().rstrip("0123456789")


def phone_class(label: str) -> str:
    """Class of a phone; "other" when no set has it."""
    label = plain_phone(label)
    return next((name for name, members in PHONE_CLASSES.items() if label in members), "other")


def contexts(phones: pd.DataFrame) -> list[str]:
    """The phone before each phone; "" after silence."""
    ends = phones["onset"] + phones["duration"]
    follows = phones["onset"].to_numpy()[1:] - ends.to_numpy()[:-1] < PAUSE
    return ["", *(label if near else "" for label, near in zip(phones["label"], follows))][: len(phones)]


def phone_strength(speech: Speech) -> np.ndarray:
    """Strength of the response to each phone of a story: loudness compressed, then adaptation."""
    phones = speech.events("phone")
    onsets, durations = phones["onset"].to_numpy(), phones["duration"].to_numpy()
    inside = onsets[:, None] + durations[:, None] * np.linspace(0.05, 0.95, 19)  # [phones, 19] instants
    loudness = np.sqrt(np.mean(speech.envelope(inside) ** 2, axis=1))
    distance = np.diff(onsets, prepend=-np.inf)
    return (loudness / (np.median(loudness) or 1.0)) ** LOUDNESS_POWER * (1 - ADAPTATION * np.exp(-distance / RECOVERY))


def source_activity(speech: Speech, kernels: Kernels, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """What the sources do during one story.

    Returns
    -------
    linear, phones
        float64 [sources, samples], samples = ceil((length + TAIL) * sfreq).
    """
    n_samples = int(np.ceil((speech.seconds + TAIL) * sfreq))
    n_lags = int(np.ceil(TAIL * sfreq))
    envelope = speech.envelope(np.arange(n_samples) / sfreq)
    kernel = kernels.envelope_kernel(np.arange(n_lags) / sfreq)
    linear = np.outer(kernels.linear_weights(), oaconvolve(envelope, kernel)[:n_samples])

    phones = np.zeros((2 * len(SOURCES), n_samples))
    table = speech.events("phone")
    labels, before = list(table["label"]), contexts(table)
    patterns = {label: kernels.phone_pattern(label) for label in sorted(set(labels))}
    signs = {pair: kernels.polarity(*pair) for pair in sorted(set(zip(labels, before)))}
    sizes = phone_strength(speech) * phone_sizes(speech, kernels.words) * [signs[pair] for pair in zip(labels, before)]
    for onset, label, size in zip(table["onset"], labels, sizes):
        first = int(np.ceil(onset * sfreq - 1e-9))
        samples = np.arange(first, min(first + n_lags, n_samples))
        # evaluated at the true distance from the onset, so that a phone is never moved to a sample
        phones[:, samples] += size * patterns[label] @ kernels.components(samples / sfreq - onset)
    return linear, phones
