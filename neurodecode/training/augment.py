"""Masks and jitter: training batches changed a little, differently each time they are seen (beyond the paper).

Batch in, batch out; the target is never touched. Draws come from torch's global random state, which `EpochSeed` sets at
the start of each epoch, so that a killed run that goes on sees what it would have seen.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from neurodecode.config.training import AugmentSettings
from neurodecode.segments.batches import Batch


def augment(batch: Batch, settings: AugmentSettings, sfreq: float | None) -> Batch:
    """Jitter, then mask. What is off draws nothing, so a run without it stays what it was.

    Parameters
    ----------
    batch
        Scaled: 0 is the middle of each channel.
    settings
        What is on.
    sfreq
        Rate of the signal, Hz; needed for `onset_jitter`.
    """
    signal = batch.signal  # [B, C, T]
    if settings.onset_jitter:
        if sfreq is None:
            raise ValueError("onset_jitter is in seconds: the rate of the signal must be known")
        signal = jittered(signal, int(settings.onset_jitter * sfreq))
    if settings.time_mask:
        signal = time_masked(signal, settings.time_mask)
    if settings.channel_mask:
        kept = torch.rand(signal.shape[:2], device=signal.device) >= settings.channel_mask  # [B, C]
        signal = signal * kept[:, :, None]
    return batch if signal is batch.signal else replace(batch, signal=signal)


def jittered(signal: torch.Tensor, most: int) -> torch.Tensor:
    """Move each window by a whole number of samples, uniform in -most..most; what comes in is 0. [B, C, T]."""
    n = signal.shape[-1]
    by = torch.randint(-most, most + 1, (len(signal), 1), device=signal.device)  # [B, 1]
    source = torch.arange(n, device=signal.device) - by  # [B, T]: sample t of the result is sample t - by
    inside = (source >= 0) & (source < n)
    taken = signal.gather(2, source.clamp(0, n - 1)[:, None].expand_as(signal))
    return taken * inside[:, None]


def time_masked(signal: torch.Tensor, share: float) -> torch.Tensor:
    """Set one stretch of each window to 0, uniform in length (0 to `share` of the window) and place. [B, C, T]."""
    b, _, n = signal.shape
    length = torch.rand(b, 1, device=signal.device) * share * n
    first = torch.rand(b, 1, device=signal.device) * (n - length)
    time = torch.arange(n, device=signal.device) + 0.5  # middles of samples
    hidden = (time >= first) & (time < first + length)  # [B, T]
    return signal * ~hidden[:, None]
