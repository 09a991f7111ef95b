"""A 2-D convolutional network on time and frequency: each channel's spectrogram is one input plane.

In: windows [B, C, T] of scaled signal. Out: class scores (logits) [B, K].
"""

from __future__ import annotations

import torch
from torch import nn


class SpectrogramCnn(nn.Module):
    """Short-time Fourier transform, logarithm, three 2-D convolutions with batch norm and pooling, mean, linear layer.

    Parameters
    ----------
    n_chans, n_outputs, n_times
        Channels C, classes K, samples T of a window.
    sfreq
        Hz.
    segment
        Length of a segment of the transform, s; segments overlap by three quarters.
    highest
        Frequencies above are left out, Hz.
    filters
        Planes after each convolution; after all but the last, time and frequency are halved.
    dropout
        Before the linear layer.

    Raises
    ------
    ValueError
        If a window is shorter than a segment.
    """

    def __init__(
        self,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        sfreq: float,
        segment: float = 0.5,
        highest: float = 150.0,
        filters: tuple[int, ...] = (32, 32, 64),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.length = round(segment * sfreq)
        if not 4 <= self.length <= n_times:
            raise ValueError(f"segment is {self.length} samples: from 4 to the window's {n_times} are possible")
        frequencies = torch.fft.rfftfreq(self.length, 1 / sfreq)
        self.kept = int((frequencies <= highest).sum())
        self.register_buffer("taper", torch.hann_window(self.length), persistent=False)
        self.normalise = nn.BatchNorm2d(n_chans)
        layers: list[nn.Module] = []
        planes = n_chans
        for number, wider in enumerate(filters):
            layers += [nn.Conv2d(planes, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.GELU()]
            if number < len(filters) - 1:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            planes = wider
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(planes, n_outputs))

    def spectrogram(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, T] -> logarithm of power [B, C, F - 1, frames], the constant left out."""
        b, c, t = x.shape
        found = torch.stft(
            x.reshape(b * c, t),
            self.length,
            hop_length=max(1, self.length // 4),
            window=self.get_buffer("taper"),
            center=False,
            return_complex=True,
        )  # [B C, F, frames]
        power = found[:, 1 : self.kept].abs().square() / self.length
        return torch.log(power + 1e-6).reshape(b, c, *power.shape[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, T] -> [B, K]."""
        planes = self.convolutions(self.normalise(self.spectrogram(x)))  # [B, filters, f, frames]
        return self.head(planes.mean((2, 3)))
