"""The objective of the masked encoder: which code does each hidden token have? (section 4.3)

Logits [B, N, G, K] and codes [B, N, G] -> mean cross-entropy over the tokens that were hidden; log K for a network that
knows nothing.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class MaskedCodeLoss(nn.Module):
    """Cross-entropy of the right code.

    With the mirrored view every token counts once, which equals the two sums of the paper over B N.

    Parameters
    ----------
    label_smoothing
        Share of the target that is spread over all codes (published: none).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, codes: torch.Tensor, predicted: torch.Tensor | None = None) -> torch.Tensor:
        """Loss, nats; float32 also under autocast.

        Parameters
        ----------
        logits
            [B, N, G, K].
        codes
            [B, N, G], of a tokenizer in evaluation mode.
        predicted
            [B, N] bool: tokens that count; None for all.

        Raises
        ------
        ValueError
            If shapes do not fit, or no token counts.
        """
        if logits.shape[:-1] != codes.shape:
            raise ValueError(f"logits {tuple(logits.shape)} must be codes {tuple(codes.shape)} with one more axis")
        if predicted is not None and not predicted.all():  # choosing all would copy them, and their gradient
            logits, codes = logits[predicted], codes[predicted]  # [M, G, K], [M, G]
        if codes.numel() == 0:
            raise ValueError("no token was hidden, so there is nothing to predict")
        flat = logits.float().flatten(0, -2)
        return functional.cross_entropy(flat, codes.flatten(), label_smoothing=self.label_smoothing)


def code_accuracy(logits: torch.Tensor, codes: torch.Tensor, predicted: torch.Tensor | None = None) -> torch.Tensor:
    """Share of hidden tokens whose code has the largest logit; [B, N, G, K] and [B, N, G] -> scalar.

    About 0.2 after training for 2048 codes (paper); 1 / K by chance if codes are used evenly, else the share of the
    most frequent code, with which it should be compared: see `most_frequent_share`.
    """
    right = (logits.argmax(-1) == codes).float()
    return right.mean() if predicted is None else right[predicted].mean()


def most_frequent_share(codes: torch.Tensor) -> torch.Tensor:
    """Accuracy of always naming the most frequent code, mean over tables: [B, N, G] -> scalar."""
    shares = [codes[..., g].flatten().bincount().max() / codes[..., g].numel() for g in range(codes.shape[-1])]
    return torch.stack(shares).mean()
