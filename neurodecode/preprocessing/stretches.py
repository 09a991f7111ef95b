"""The good stretches between acquisition skips and joins: each is filtered and resampled alone.

MNE Raw in; integer sample ranges and spans in seconds from the first sample out. `BAD_ACQ_SKIP` and `EDGE`
annotations split the recording (as in MNE's own `skip_by_annotation`); every other `BAD*` annotation is only recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mne.io import BaseRaw

SPLITTING = ("edge", "bad_acq_skip")


@dataclass
class Stretches:
    """What may be filtered, and what may not be looked at.

    Attributes
    ----------
    good
        (start, stop) in samples of the recording, stop excluded, in order.
    dropped
        Stretches that are too short, likewise.
    bad_spans
        (onset, end) in seconds: BAD annotations, skips, dropped stretches; a join is a span one sample long.
    """

    good: list[tuple[int, int]]
    dropped: list[tuple[int, int]] = field(default_factory=list)
    bad_spans: list[tuple[float, float]] = field(default_factory=list)


def find_stretches(raw: BaseRaw, minimum: int) -> Stretches:
    """Split a recording at skips and joins.

    Parameters
    ----------
    raw
        The recording.
    minimum
        Stretches of fewer samples are dropped.
    """
    sfreq, n_times = float(raw.info["sfreq"]), len(raw.times)
    good_sample = np.ones(n_times, bool)
    joins = {0, n_times}
    spans: list[tuple[float, float]] = []
    for onset, duration, description in zip(
        raw.annotations.onset, raw.annotations.duration, raw.annotations.description
    ):
        kind = str(description).lower()
        if not kind.startswith(("edge", "bad")):
            continue
        start = float(onset) - raw.first_time  # MNE counts the onsets of a Raw from before its first sample
        end = start + float(duration)
        if end < 0 or start > n_times / sfreq:
            continue
        if kind.startswith(SPLITTING):
            first, last = (int(np.clip(round(t * sfreq), 0, n_times)) for t in (start, end))
            good_sample[first:last] = False
            joins |= {first, last}
            end = max(end, start + 1 / sfreq)
        spans.append((max(start, 0.0), min(end, n_times / sfreq)))
    borders = sorted(joins)
    pieces = [(a, b) for a, b in pairwise(borders) if good_sample[a]]
    good = [(a, b) for a, b in pieces if b - a >= minimum]
    dropped = [(a, b) for a, b in pieces if b - a < minimum]
    return Stretches(good, dropped, spans + [(a / sfreq, b / sfreq) for a, b in dropped])


def merge_spans(spans: list[tuple[float, float]]) -> np.ndarray:
    """Sort spans and join those that overlap or touch; [n, 2] seconds."""
    merged: list[list[float]] = []
    for onset, end in sorted(spans):
        if merged and onset <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([onset, end])
    return np.array(merged, float).reshape(-1, 2)


def uncovered_spans(covered: list[tuple[int, int]], n_samples: int, sfreq: float) -> list[tuple[float, float]]:
    """Spans in seconds of the stored samples that no stretch gave a value to.

    Parameters
    ----------
    covered
        (start, stop) in stored samples, in order.
    n_samples, sfreq
        Of the stored signal.
    """
    borders = [0] + [sample for pair in covered for sample in pair] + [n_samples]
    return [(a / sfreq, b / sfreq) for a, b in zip(borders[::2], borders[1::2]) if b > a]
