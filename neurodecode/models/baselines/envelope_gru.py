"""Envelope of a band, convolution over time, bidirectional recurrent layers: the word classifier of Moses et al. 2021.

In: windows [B, C, T] of scaled signal. Out: class scores (logits) [B, K]. The published system read the power between 70 and
150 Hz of 128 electrodes at 200 Hz; here the envelope is taken inside, so that all methods are given the same windows.
"""

from __future__ import annotations

import torch
from torch import nn


class EnvelopeGru(nn.Module):
    """Band envelope, one strided convolution over time, GRU layers in both directions, linear layer.

    Parameters
    ----------
    n_chans, n_outputs, n_times
        Channels C, classes K, samples T of a window.
    sfreq
        Hz.
    band
        Edges, Hz; the published band is high gamma. None: the signal is an envelope already.
    rate
        Of the envelope after smoothing, Hz.
    filters, kernel, stride
        Of the convolution over time.
    hidden, layers
        Width and number of the recurrent layers.
    dropout
        Between layers and before the linear layer.

    Raises
    ------
    ValueError
        If the band does not end below half the sampling rate.
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        sfreq: float,
        band: tuple[float, float] | None = (70.0, 150.0),
        rate: float = 100.0,
        filters: int = 64,
        kernel: int = 5,
        stride: int = 4,
        hidden: int = 64,
        layers: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.pool = max(1, int(sfreq // rate))
        frames = n_times // self.pool
        if frames < kernel:
            raise ValueError(f"a window of {n_times} samples gives {frames} frames, fewer than kernel ({kernel})")
        self.register_buffer("gain", self._gain(n_times, sfreq, band), persistent=False)
        self.normalise = nn.BatchNorm1d(n_chans)
        self.convolution = nn.Conv1d(n_chans, filters, kernel, stride)
        self.drop = nn.Dropout(dropout)
        self.recurrent = nn.GRU(
            filters, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.head = nn.Linear(2 * hidden, n_outputs)

    @staticmethod
    def _gain(n_times: int, sfreq: float, band: tuple[float, float] | None) -> torch.Tensor | None:
        """Of each frequency of the full transform, such that the inverse is the analytic signal of the band, [T]."""
        if band is None:
            return None
        low, high = band
        if not 0 < low < high <= sfreq / 2:
            raise ValueError(f"band [{low:g}, {high:g}] Hz does not lie below half the rate, {sfreq / 2:g} Hz")
        frequencies = torch.fft.fftfreq(n_times, 1 / sfreq)
        return 2.0 * ((frequencies >= low) & (frequencies <= high)).float()

    def envelope(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, T] -> [B, C, frames]: magnitude of the band's analytic signal, averaged over each frame."""
        gain = self._buffers["gain"]
        if gain is not None:
            x = torch.fft.ifft(torch.fft.fft(x) * gain).abs()
        frames = x.shape[-1] // self.pool
        return x[..., : frames * self.pool].unflatten(-1, (frames, self.pool)).mean(-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, T] -> [B, K]."""
        features = torch.relu(self.convolution(self.normalise(self.envelope(x))))  # [B, filters, steps]
        _, last = self.recurrent(self.drop(features.transpose(1, 2)))  # [layers x 2, B, hidden]
        return self.head(self.drop(torch.cat([last[-2], last[-1]], 1)))  # both directions of the last layer
