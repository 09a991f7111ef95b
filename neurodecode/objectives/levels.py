"""Cross-entropy of the levels below the word (initials, finals, tones; any derived label), one number a level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


def level_losses(logits: Sequence[torch.Tensor], targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy of each level, nats.

    Parameters
    ----------
    logits
        Of each level: [B, K_l].
    targets
        [B, L].
    label_smoothing
        Share of the target spread over all values of a level.

    Returns
    -------
    Tensor
        [L].
    """
    return torch.stack(
        [
            functional.cross_entropy(scores.float(), targets[:, k], label_smoothing=label_smoothing)
            for k, scores in enumerate(logits)
        ]
    )
