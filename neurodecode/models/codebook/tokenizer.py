"""Stage 1, the tokenizer (VQ-VAE): signal -> a code for each 0.1 s -> signal.

    tokenizer = CodebookTokenizer(n_chans=10)
    out = tokenizer(x, subject)            # [B, 10, 4000] -> out.reconstruction of that shape, out.codes [B, 40, 1]
    codes = tokenizer.eval().codes(x)      # what the masked encoder learns to predict

Section 4.2 of the specification; 5,801,386 trained numbers for 10 channels of one subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.codebook.front import by_subject, in_order
from neurodecode.models.codebook.read_in import SubjectReadOut, checked
from neurodecode.models.codebook.signal_head import SignalHead
from neurodecode.models.layers.quantizer import EmaCodebook, Quantized, Quantizer
from neurodecode.models.layers.transformer import TransformerStack, start_small


class Tokenized(NamedTuple):
    """What the tokenizer returns in training."""

    reconstruction: torch.Tensor
    """[B, C, T]; 0 on channels that a window's subject does not have."""
    codes: torch.Tensor
    """[B, N, G]."""
    quantizer_loss: torch.Tensor
    """Scalar."""
    usage: torch.Tensor
    """Scalar, see `layers.quantizer.Quantized`."""
    perplexity: torch.Tensor
    """Scalar, likewise."""


class Bottleneck(nn.Module):
    """Tokens [B, N, D] -> the quantizer's space and back: two linear maps with tanh; quantizer; LayerNorm; linear map.

    Parameters
    ----------
    width
        D.
    quantizer
        Any `layers.quantizer.Quantizer`.
    """

    def __init__(self, width: int, quantizer: Quantizer) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, quantizer.dimension))
        self.quantizer = quantizer
        self.norm = nn.LayerNorm(quantizer.dimension)
        self.after = nn.Linear(quantizer.dimension, width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                start_small(module)

    def forward(self, tokens: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """[B, N, D] and [B] -> values [B, N, D], codes [B, N, G] and the quantizer's scalars."""
        found = self.quantizer(self.before(tokens), subject)
        return found._replace(values=self.after(self.norm(found.values)))

    def codes(self, tokens: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, N, D] and [B] -> [B, N, G]."""
        return self.quantizer(self.before(tokens), subject).codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """[B, N, G] -> [B, N, D]."""
        return self.after(self.norm(self.quantizer.decode(codes)))

    def take(self, other: Bottleneck, subjects: Sequence[int | None] | None = None) -> None:
        """Copy what another bottleneck learnt; `subjects`: see `Quantizer.take`."""
        for mine, theirs in ((self.before, other.before), (self.norm, other.norm), (self.after, other.after)):
            mine.load_state_dict(theirs.state_dict())
        self.quantizer.take(other.quantizer, subjects)


class CodebookTokenizer(nn.Module):
    """Encoder, bottleneck, decoder, head, read-out.

    Parameters
    ----------
    n_chans
        Channels; a list for several subjects, one number each.
    quantizer
        The table; by default the paper's, 2048 x 64.
    decoder_depth
        Transformer blocks between bottleneck and head (paper: 4).
    encoder
        See `encoder.SignalEncoder`; decoder blocks have the shape of the encoder's. With front "mix" one time head
        makes shared channels that are read out a subject at a time; with "own" each subject has a patch head.
    """

    def __init__(
        self,
        n_chans: int | Sequence[int],
        quantizer: Quantizer | None = None,
        *,
        decoder_depth: int = 4,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.encoder = SignalEncoder(n_chans, **encoder)
        width, channels = self.encoder.width, self.encoder.n_channels
        self.bottleneck = Bottleneck(width, EmaCodebook(2048, 64) if quantizer is None else quantizer)
        shape = ("heads", "head_width", "feed_forward", "attention_dropout", "dropout")
        self.decoder = TransformerStack(decoder_depth, width, **{k: v for k, v in encoder.items() if k in shape})
        filters = encoder.get("filters", (128,))[0]
        kernel = encoder.get("kernels", (19,))[0]
        frames = self.encoder.front.frames
        stride = self.encoder.patch // frames
        self.head: SignalHead | None = None
        self.read_out: SubjectReadOut | None = None
        self.heads: nn.ModuleList | None = None
        if self.encoder.shares_channels:
            mixed = encoder.get("mixed_channels", 16)
            # a token is a frame; the middle layer makes the frames that the front had, the last one the samples
            layers = [(filters, 3, 1), (filters, 3, 1), (filters, frames, frames), (filters, 9, 1)]
            self.head = SignalHead(width, mixed, [*layers, (mixed, kernel, stride)])
            self.read_out = SubjectReadOut(channels, mixed)
        else:
            layers = [(filters, 3, 1), (filters, 3, 1), (filters, kernel, stride)]
            self.heads = nn.ModuleList(SignalHead(width, count, layers, frames) for count in channels)

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> Tokenized:
        """[B, C, T] and [B] (None where there is one subject) -> `Tokenized`."""
        found = self.bottleneck(self.encoder(x, subject), subject)
        signal = self._signal(found.values, subject)
        return Tokenized(signal, found.codes, found.loss, found.usage, found.perplexity)

    @torch.no_grad()
    def codes(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """Codes of a signal, the targets of stage 2: [B, C, T] -> [B, N, G].

        Raises
        ------
        RuntimeError
            In training mode: the table would learn from its pupil's batches, and dropout would blur the target.
        """
        if self.training:
            raise RuntimeError("targets come from a tokenizer in evaluation mode only: call .eval() first")
        return self.bottleneck.codes(self.encoder(x, subject), subject)

    @torch.no_grad()
    def embeddings(self, codes: torch.Tensor) -> torch.Tensor:
        """Rows of the table, the targets of stage 2 that are not codes: [B, N, G] -> [B, N, D]."""
        return self.bottleneck.quantizer.decode(codes)

    def decode(self, codes: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """Signal of codes: [B, N, G] -> [B, C, T]."""
        return self._signal(self.bottleneck.decode(codes), subject)

    def present(self, subject: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Which channels each window's subject has, [B, C] bool: those the reconstruction is judged on."""
        return self.encoder.present(subject, batch)

    def _signal(self, tokens: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """[B, N, D] -> [B, C, T]."""
        tokens = self.decoder(tokens)
        if self.head is not None and self.read_out is not None:
            if self.encoder.n_subjects == 1:  # one linear map instead of two
                checked(subject, 1)
                return self.head(tokens, (self.read_out.weight, self.read_out.bias))
            return self.read_out(self.head(tokens), subject)
        assert self.heads is not None
        subject = checked(subject, self.encoder.n_subjects)
        if subject is None:
            return self.heads[0](tokens)
        widest = max(self.encoder.n_channels)
        parts = by_subject(subject)
        signals = [self.heads[s](tokens[rows]) for s, rows in parts]  # each [b, C_s, T]
        padded = [nn.functional.pad(y, (0, 0, 0, widest - y.shape[1])) for y in signals]
        return in_order(padded, [rows for _, rows in parts])
