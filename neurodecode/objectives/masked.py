"""The objectives of the masked encoder: what is each hidden token? (section 4.3; table 13 for the last two)

`MaskedCodeLoss`: logits [B, N, G, K] and codes [B, N, G] -> mean cross-entropy over the tokens that were hidden; log K for a
network that knows nothing. `MaskedEmbeddingLoss`: [B, N, D] twice -> 1 - cosine; 1 for a network that knows nothing.
`MaskedPatchLoss`: [B, N, C, samples] twice -> squared error; 1 for silence where signals are standardised.
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


class MaskedEmbeddingLoss(nn.Module):
    """Mean of 1 - cosine between answer and embedding."""

    def forward(
        self, answer: torch.Tensor, embeddings: torch.Tensor, predicted: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Loss in [0, 2]; float32 also under autocast.

        Parameters
        ----------
        answer, embeddings
            [B, N, D].
        predicted
            [B, N] bool: tokens that count; None for all.

        Raises
        ------
        ValueError
            If shapes do not fit, or no token counts.
        """
        answer, embeddings = _hidden(answer, embeddings, predicted)
        return 1 - functional.cosine_similarity(answer.float(), embeddings.float(), -1).mean()


class MaskedPatchLoss(nn.Module):
    """Mean squared error of the signal in hidden patches, over the channels that are there."""

    def forward(
        self,
        answer: torch.Tensor,
        patches: torch.Tensor,
        predicted: torch.Tensor | None = None,
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss; float32 also under autocast.

        Parameters
        ----------
        answer, patches
            [B, N, C, samples], see `patches_of`.
        predicted
            [B, N] bool: tokens that count; None for all.
        present
            [B, C] bool: channels that a window's subject has; None for all.

        Raises
        ------
        ValueError
            If shapes do not fit, or no token counts.
        """
        if answer.shape != patches.shape:
            raise ValueError(f"answer {tuple(answer.shape)} and patches {tuple(patches.shape)} differ in shape")
        counts = torch.ones(patches.shape[:3], dtype=torch.bool, device=patches.device)  # [B, N, C]
        counts = counts if predicted is None else counts & predicted[:, :, None]
        counts = counts if present is None else counts & present[:, None]
        if not counts.any():
            raise ValueError("no token was hidden, so there is nothing to predict")
        # before the square: the gradient of a masked NaN squared would be 0 x NaN
        difference = torch.where(counts[..., None], answer.float() - patches.float(), 0)
        return difference.square().mean(-1).sum() / counts.sum()


def _hidden(
    answer: torch.Tensor, target: torch.Tensor, predicted: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers and targets [B, N, ...] of the tokens that count, [M, ...]."""
    if answer.shape != target.shape:
        raise ValueError(f"answer {tuple(answer.shape)} and target {tuple(target.shape)} differ in shape")
    answer, target = answer.flatten(0, 1), target.flatten(0, 1)
    if predicted is not None and not predicted.all():
        answer, target = answer[predicted.flatten()], target[predicted.flatten()]
    if not len(answer):
        raise ValueError("no token was hidden, so there is nothing to predict")
    return answer, target


def patches_of(signal: torch.Tensor, patch: int) -> torch.Tensor:
    """The stretch of the signal that each token stands for: [B, C, T] -> [B, N, C, patch]."""
    return signal.unflatten(2, (-1, patch)).transpose(1, 2)


def code_accuracy(logits: torch.Tensor, codes: torch.Tensor, predicted: torch.Tensor | None = None) -> torch.Tensor:
    """Share of hidden tokens whose code has the largest logit; [B, N, G, K] and [B, N, G] -> scalar.

    About 0.2 after training for 2048 codes (paper); 1 / K by chance if codes are used evenly, else the share of the
    most frequent code, with which it should be compared.
    """
    right = (logits.argmax(-1) == codes).float()
    return right.mean() if predicted is None else right[predicted].mean()
