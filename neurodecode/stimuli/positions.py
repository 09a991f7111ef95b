"""What the states of Whisper say about the place in its window rather than about speech, so that it can be taken away.

In: a loaded encoder. Out: the mean state at each position of its window, [positions, dimensions], over windows of the embedded
speech. Whatever was heard, a state carries its position; the mean over many windows is that part of it. The speech is our own,
never the study's, so that nothing is fitted to what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurodecode.errors import StimulusError
from neurodecode.resources import resource_folder
from neurodecode.stimuli.audio import read_audio

if TYPE_CHECKING:
    from neurodecode.stimuli.encoder import SpeechEncoder

WINDOWS = 30


def position_template(encoder: SpeechEncoder) -> np.ndarray:
    """Mean state at each position, float32 [positions, dimensions].

    Raises
    ------
    StimulusError
        If the encoder has no window of fixed length.
    """
    longest = encoder.intake.longest
    if longest is None:
        raise StimulusError(
            f"features.remove_position: {encoder.name} has no positions of its own, only Whisper does; set it to false"
        )
    paths = sorted((resource_folder("datasets") / "speech").glob("*.ogg"))
    speech = np.concatenate([read_audio(path, encoder.sample_rate) for path in paths])
    length = longest * encoder.intake.grid.step
    total: np.ndarray | None = None
    for start in np.linspace(0, len(speech) - length, WINDOWS).astype(int):
        window = speech[start : start + length]
        states = encoder.states(encoder.intake.open(window)(0, longest), longest).astype(np.float64)
        total = states if total is None else total + states
    assert total is not None
    return (total / WINDOWS).astype(np.float32)
