"""Networks that stand beside the decoders in tables: constructor and call as braindecode's models have them."""

from neurodecode.models.baselines.envelope_gru import EnvelopeGru
from neurodecode.models.baselines.spectrogram_cnn import SpectrogramCnn

NETWORKS = {"EnvelopeGru": EnvelopeGru, "SpectrogramCnn": SpectrogramCnn}

__all__ = ["NETWORKS", "EnvelopeGru", "SpectrogramCnn"]
