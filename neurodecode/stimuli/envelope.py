"""Audio -> speech envelope: compressed magnitude in mel bands, summed over bands.

The sum of band-wise envelopes, each raised to 0.6 as the ear's compression does, follows cortical responses better than
the broad-band envelope (Biesmans et al. 2017). In: float32 [samples]. Out: a Feature of one dimension.
"""

from __future__ import annotations

import numpy as np

from neurodecode.config import FeatureSettings
from neurodecode.stimuli.feature import Feature
from neurodecode.stimuli.mel import mel_power

DEFAULT_RATE = 100.0  # Hz


def envelope(audio: np.ndarray, settings: FeatureSettings, name: str) -> Feature:
    """Envelope [frames, 1].

    The hop is a whole number of samples, so the rate is the nearest one to `settings.rate` that the audio rate allows; it
    is stated exactly. `filtered` brings it to the exact rate where that differs.
    """
    hop = max(1, round(settings.audio_rate / (settings.rate or DEFAULT_RATE)))
    power = mel_power(audio, settings, hop, name)
    values = (np.sqrt(power) ** settings.compression).mean(axis=1, keepdims=True)
    return Feature(values.astype(np.float32), settings.audio_rate / hop, 0.0)
