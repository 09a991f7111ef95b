"""The network on the side of the speech, trained together with the brain's (Deep Mel, section 4.7 of the specification).

Log-mel [B, 120, T] -> [B, 768, T]. The stack is that of the aligner, with three differences: ReLU, the width changes in the
last dilated convolution, and that one has neither batch norm nor activation. At the published sizes 9,320,128 parameters.

It lives inside the brain's network as `model.speech`, so that one optimiser, one checkpoint and one device hold both:

    model = with_speech(build_model(...), settings.speech, n_features=120)
    scores = clip_scores(model(x, subject, layout), embed(model, target))
"""

from __future__ import annotations

import torch
from torch import nn

from neurodecode.config import SpeechSettings
from neurodecode.models.layers.convolution import DilatedBlock, GatedBlock

KERNEL, DILATION_PERIOD, GLU_EVERY = 3, 5, 2  # as in the aligner


class DeepMel(nn.Sequential):
    """Dilated convolutions over features of speech, gated ones between them.

    Parameters
    ----------
    n_features
        Dimensions that enter (paper: 120 mel bands).
    n_outputs
        Dimensions that leave, those of the brain's estimate.
    hidden
        Channels between (paper: 320).
    depth
        Dilated convolutions (paper: 10); convolution k has dilation 2 ** (k mod 5), every second is followed by a gate.
    """

    def __init__(self, n_features: int, n_outputs: int = 768, hidden: int = 320, depth: int = 10) -> None:
        layers: list[nn.Module] = []
        for k in range(depth):
            n_in = n_features if k == 0 else hidden
            dilation = 2 ** (k % DILATION_PERIOD)
            last = k == depth - 1
            if last:
                padding = dilation * (KERNEL // 2)
                layers.append(nn.Conv1d(n_in, n_outputs, KERNEL, padding=padding, dilation=dilation))
            else:
                layers.append(
                    DilatedBlock(
                        n_in,
                        hidden,
                        kernel=KERNEL,
                        dilation=dilation,
                        batch_norm=True,
                        activation="relu",
                        dropout=0.0,
                        skip=k > 0,
                    )
                )
            if (k + 1) % GLU_EVERY == 0:
                layers.append(GatedBlock(n_outputs if last else hidden, KERNEL))
        super().__init__(*layers)
        self.n_outputs = n_outputs


def with_speech(model: nn.Module, settings: SpeechSettings, n_features: int) -> nn.Module:
    """The same model, with the network for speech inside it when the settings ask for one."""
    if settings.kind == "deep_mel":
        model.speech = DeepMel(n_features, settings.outputs, settings.hidden, settings.depth)
    return model


def compared_dimensions(settings: SpeechSettings, n_features: int) -> int:
    """Dimensions in which brain and speech are compared: what the brain's network must give."""
    return n_features if settings.kind == "none" else settings.outputs


def embed(model: nn.Module, target: torch.Tensor) -> torch.Tensor:
    """Features [N, F, T] -> what an estimate of this model is compared with: themselves, or what its speech network says."""
    speech = getattr(model, "speech", None)
    return target if speech is None else speech(target)
