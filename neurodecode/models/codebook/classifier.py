"""Stage 3, the classifier: signal -> which of K words.

    model = CodebookClassifier(n_chans=10, n_outputs=61, n_times=3000)
    model.start_from(masked)               # or a tokenizer, or nothing
    logits = model(x, subject)             # [B, 10, 3000] -> [B, 61]

Encoder, then all tokens of the window through two linear maps (section 4.4 of the specification); 4,182,813 trained
numbers for 10 channels of one subject and 61 words. The published model carries 56,896 more that never learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import Bottleneck, CodebookTokenizer
from neurodecode.models.layers.quantizer import Quantizer
from neurodecode.models.layers.transformer import start_small


class CodebookClassifier(nn.Module):
    """Words from a window.

    Parameters
    ----------
    n_chans
        Channels; a list for several subjects, one number each.
    n_outputs
        Classes.
    n_times
        Samples of a window, a multiple of the patch: the head reads every token by its place.
    sfreq, chs_info
        Kept for the braindecode contract.
    hidden
        Numbers of each hidden linear map of the head (paper: 128).
    output
        "logits"; or "sigmoid", as released: the numbers that cross-entropy takes then differ by 1 at most, so no class
        ever gets a probability over e / (e + K - 1), 4.3 % of 61 (the loss cannot fall under 3.139).
    head_dropout
        Before the last map (paper: none).
    quantizer
        Keep a tokenizer's bottleneck between encoder and head (`vqvae+vq` of the paper, 12 points worse than a random
        start). Its table stays as it is; its linear maps are fine-tuned, the gradient passing straight through.
    encoder
        See `encoder.SignalEncoder`.
    """

    def __init__(
        self,
        n_chans: int | Sequence[int],
        n_outputs: int,
        n_times: int,
        sfreq: float | None = None,
        chs_info: Sequence[Any] | None = None,
        *,
        hidden: Sequence[int] = (128,),
        output: str = "logits",
        head_dropout: float = 0.0,
        quantizer: Quantizer | None = None,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = n_chans, n_outputs, n_times, sfreq
        self.encoder = SignalEncoder(n_chans, **encoder)
        if n_times < 1 or n_times % self.encoder.patch:
            raise ValueError(f"n_times is {n_times}, not a multiple of the patch, {self.encoder.patch} samples")
        self.bottleneck = None if quantizer is None else Bottleneck(self.encoder.width, quantizer)
        if self.bottleneck is not None:
            self.bottleneck.quantizer.eval()  # a trainer need not call `train`
        self.n_tokens = n_times // self.encoder.patch
        self.head = read_out(self.n_tokens * self.encoder.width, n_outputs, hidden, output, head_dropout)

    def tokens(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> what heads read, [B, N, D]."""
        if x.shape[-1] != self.n_times:
            raise ValueError(f"the window has {x.shape[-1]} samples, the network was built for {self.n_times}")
        tokens = self.encoder(x, subject)
        return tokens if self.bottleneck is None else self.bottleneck(tokens, subject).values

    def forward(self, x: torch.Tensor, subject: torch.Tensor | None = None) -> torch.Tensor:
        """[B, C, T] and [B] (None where there is one subject) -> [B, n_outputs]."""
        return self.head(self.tokens(x, subject))

    def start_from(
        self, pretrained: MaskedEncoder | CodebookTokenizer, subjects: Sequence[int | None] | None = None
    ) -> None:
        """Take over the encoder of another stage, and the bottleneck where this network keeps one.

        The head always starts afresh. `subjects`: see `SignalEncoder.start_from`.

        Raises
        ------
        ValueError
            If this network keeps a bottleneck that `pretrained` does not have, or subjects do not agree.
        RuntimeError
            If any tensor is missing, left over, or of another shape.
        """
        if self.bottleneck is not None:
            if not isinstance(pretrained, CodebookTokenizer):
                raise ValueError("a classifier that keeps the quantizer can start from a tokenizer only")
            self.bottleneck.take(pretrained.bottleneck, subjects)
        self.encoder.start_from(pretrained.encoder, subjects)

    def channel_weights(self, subject: int = 0) -> torch.Tensor:
        """How much each of a subject's channels counts, see `read_in.SubjectReadIn.channel_weights`; [C_s].

        Raises
        ------
        ValueError
            If the network has no shared channels (front "own").
        """
        read_in = getattr(self.encoder.front, "read_in", None)
        if read_in is None:
            raise ValueError("channels are weighed by the subject read-in, which front 'own' does not have")
        return read_in.channel_weights(subject)

    def train(self, mode: bool = True) -> CodebookClassifier:
        """Switch mode; a table that is kept never learns."""
        super().train(mode)
        if self.bottleneck is not None:
            self.bottleneck.quantizer.eval()
        return self


def read_out(
    n_in: int, n_outputs: int, hidden: Sequence[int] = (128,), output: str = "logits", head_dropout: float = 0.0
) -> nn.Sequential:
    """All tokens of a window [B, N, D] -> [B, n_outputs] through linear maps; `n_in` is N x D, the rest as above."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        n_in = width
    if head_dropout:
        layers.append(nn.Dropout(head_dropout))
    layers.append(nn.Linear(n_in, n_outputs))
    if output == "sigmoid":
        layers.append(nn.Sigmoid())
    for layer in layers:
        if isinstance(layer, nn.Linear):
            start_small(layer)
    return nn.Sequential(*layers)
