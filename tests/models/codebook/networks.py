"""Small networks of the three stages with two subjects, and windows for them."""

from __future__ import annotations

import torch

from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook
from tests.models.codebook.plain import SMALL

CHANNELS = (3, 5)  # of two subjects
B, C, N = 4, 5, 3
T = N * SMALL["patch"]
STILL = {"attention_dropout": 0.0, "dropout": 0.0}


def some_input(batch: int = B, samples: int = T) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, C, samples, generator=generator)
    subject = torch.arange(batch) % 2
    x[subject == 0, 3:] = 0.0
    return x, subject


def tokenizer(n_chans=CHANNELS, seed: int = 0, quantizer=None, **changes) -> CodebookTokenizer:
    torch.manual_seed(seed)
    table = EmaCodebook(9, 7, start_tokens=0) if quantizer is None else quantizer
    return CodebookTokenizer(n_chans, table, decoder_depth=1, **{**SMALL, **changes})


def masked(n_chans=CHANNELS, seed: int = 0, codes: int = 9, groups: int = 1, mirror: bool = True, **changes):
    torch.manual_seed(seed)
    return MaskedEncoder(n_chans, codes, groups, mirror=mirror, **{**SMALL, **changes})


def classifier(n_chans=CHANNELS, seed: int = 0, **changes) -> CodebookClassifier:
    torch.manual_seed(seed)
    return CodebookClassifier(n_chans, 8, T, **{**SMALL, **changes})
