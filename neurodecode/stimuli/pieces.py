"""Features of each block's audio alone: contextual features that never hear what stands on another side of the split.

In: audio, float32 [samples], the seconds at which blocks border, and a function that describes a piece of audio. Out: a
Feature of the whole stimulus. Pieces begin on the grid of frames, so frame k is still centred at t0 + k / rate, exactly.

Audio is cut as published (Défossez et al. 2023, specification section 3.4): at each border, unless less than 0.1 s would
be left on either side. Frames that no piece has, since a network needs some samples on both sides of a frame, are those of
their piece's first or last frame. The frame before a border belongs to the piece after it, for a window of that block may
be interpolated from it; the windows of the block before end earlier, by the time that the brain lags (`LEAD`).

A piece of digital silence cannot be standardised. In a stimulus that sounds elsewhere it gets a value that stands for silence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from neurodecode.stimuli.feature import Feature

MARGIN = 0.1  # s: no piece is shorter (as published)
LEAD = 0.01  # s: a window begins up to half a sample before its block, by rounding

Describe = Callable[[np.ndarray, str], Feature]


def cuts(borders: Sequence[float], seconds: float) -> list[float]:
    """Borders at which audio of this length is cut, s: those that leave at least 0.1 s on both sides."""
    kept: list[float] = []
    for border in sorted(borders):
        # a grain of rounding: 0.1 s apart is far enough
        if border - (kept[-1] if kept else 0.0) >= MARGIN - 1e-9 and seconds - border > MARGIN + 1e-9:
            kept.append(float(border))
    return kept


def needed_lag(rate: float) -> float:
    """Seconds before the end of a block at which its windows' features must end, so that none is of the next piece."""
    return 2 / rate + 2 * LEAD


def describe_pieces(
    audio: np.ndarray,
    sample_rate: float,
    step: int,
    borders: Sequence[float],
    describe: Describe,
    name: str,
    silence: float = 0.0,
) -> Feature:
    """Describe each piece alone, and line the frames up.

    Parameters
    ----------
    audio
        [samples] of the whole stimulus.
    sample_rate
        Hz.
    step
        Samples from one frame to the next.
    borders
        Seconds at which blocks border.
    describe
        Piece and its name -> Feature whose rate is `sample_rate / step`.
    name
        Of the stimulus, for messages.
    silence
        Value of all frames of a piece whose samples are all alike, unless the whole stimulus is.

    Returns
    -------
    Feature
        As many frames as reach over the whole stimulus; rate and t0 are those of a piece.
    """
    edges = [0.0, *cuts(borders, len(audio) / sample_rate), math.inf]
    parts: list[np.ndarray] = []
    silent: list[float] = []
    sounding = not is_silent(audio)
    whole: Feature | None = None
    done = 0  # frames so far
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        first = math.ceil(begin * sample_rate / step - 1e-9)  # frame of the grid at which the piece begins
        last = len(audio) if math.isinf(end) else math.floor(end * sample_rate + 1e-6)
        title = name if len(edges) == 2 else f"{name}, second {begin:.2f} on"
        samples = audio[first * step : last]
        if sounding and is_silent(samples):
            silent.append(begin)
            # any sound of this length has as many frames as the silence
            frames = describe(np.linspace(-1, 1, len(samples), dtype=samples.dtype), title)
            piece = Feature(np.full_like(frames.values, silence), frames.rate, frames.t0)
        else:
            piece = describe(samples, title)
        whole = piece if whole is None else whole
        assert piece.rate == whole.rate == sample_rate / step
        if number == len(edges) - 2:
            stop = max(done, first + len(piece.values))
        else:
            stop = max(done, math.ceil((end - LEAD - piece.t0) * piece.rate - 1 - 1e-9))  # frames before the next piece
        wanted = np.arange(done, stop) - first
        parts.append(piece.values[np.clip(wanted, 0, len(piece.values) - 1)])
        done = stop
    assert whole is not None
    return Feature(np.concatenate(parts), whole.rate, whole.t0, tuple(silent))


def is_silent(audio: np.ndarray) -> bool:
    """Whether all samples are alike."""
    return not len(audio) or bool(audio.min() == audio.max())
