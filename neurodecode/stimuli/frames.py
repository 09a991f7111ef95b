"""What a pretrained speech network takes in, and when each of its frames is.

A network turns samples into frames by layers that each have a kernel, a stride and a padding. From these three follow the
step between frames, the samples a frame sees, and so the exact time of its centre; nothing is stretched to fit. In: audio,
float32 [samples], and the network's own feature extractor. Out: tensors for the network, cut at frames of one grid, so that
passes over parts of a recording give the frames that one pass over all of it would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from neurodecode.errors import StimulusError

# (first frame, last frame + 1) -> what the network takes
Cut = Callable[[int, int], dict[str, torch.Tensor]]
PIECE = 3000  # frames at once where statistics of a whole recording are gathered


@dataclass(frozen=True)
class FrameGrid:
    """Where the frames of a stack of layers lie.

    Attributes
    ----------
    sample_rate
        Of the audio, Hz.
    step
        Samples from one frame to the next.
    field
        Samples that a frame sees.
    begin
        First sample that frame 0 sees; below 0 where audio is padded.
    """

    sample_rate: float
    step: int
    field: int
    begin: int

    @classmethod
    def of(cls, sample_rate: float, layers: Sequence[tuple[int, int, int]]) -> FrameGrid:
        """Grid of layers given as (kernel, stride, padding), first to last."""
        step, field, begin = 1, 1, 0
        for kernel, stride, padding in layers:
            field += (kernel - 1) * step
            begin -= padding * step
            step *= stride
        return cls(float(sample_rate), step, field, begin)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.step

    @property
    def t0(self) -> float:
        """Middle of what frame 0 sees, s."""
        return (self.begin + self.field / 2) / self.sample_rate

    def count(self, n_samples: int) -> int:
        """Frames of so many samples."""
        return max(0, (n_samples - 2 * self.begin - self.field) // self.step + 1)

    def span(self, first: int, last: int) -> slice:
        """Samples that frames first .. last - 1 see; without padding only."""
        return slice(first * self.step, (last - 1) * self.step + self.field)


class Intake(Protocol):
    """What stands between audio and a network."""

    grid: FrameGrid
    longest: int | None
    """Frames that the network can take at most."""

    def count(self, n_samples: int) -> int:
        """Frames of so many samples."""

    def open(self, audio: np.ndarray) -> Cut:
        """Prepare a recording; the result cuts frames out of it."""


class WaveformIntake:
    """Networks that convolve the waveform: wav2vec 2.0, HuBERT, WavLM and their kin.

    The extractor sees the whole recording once: were each pass scaled by itself, the passes would not agree.
    """

    longest: int | None = None

    def __init__(self, extractor: Any, config: Any) -> None:
        self._extractor = extractor
        layers = [(int(kernel), int(stride), 0) for kernel, stride in zip(config.conv_kernel, config.conv_stride)]
        self.grid = FrameGrid.of(extractor.sampling_rate, layers)

    def count(self, n_samples: int) -> int:
        """Frames of so many samples."""
        return self.grid.count(n_samples)

    def open(self, audio: np.ndarray) -> Cut:
        """Scaled waveform, [1, samples]."""
        scaled = self._extractor(audio, sampling_rate=self._extractor.sampling_rate, return_tensors="np")
        values = np.asarray(scaled["input_values"][0], np.float32)
        n_frames = self.count(len(values))

        def cut(first: int, last: int) -> dict[str, torch.Tensor]:
            span = self.grid.span(first, last)
            end = len(values) if last == n_frames else span.stop  # the last pass sees the last samples too
            return {"input_values": torch.from_numpy(values[None, span.start : end])}

        return cut


class FilterbankIntake:
    """wav2vec2-BERT: neighbouring frames of a filter bank side by side, each band scaled over the whole recording."""

    longest: int | None = None
    window, hop = 400, 160  # samples, of the extractor's filter bank

    def __init__(self, extractor: Any) -> None:
        self._extractor = extractor
        self.grid = FrameGrid.of(
            extractor.sampling_rate, [(self.window, self.hop, 0), (extractor.stride, extractor.stride, 0)]
        )

    def count(self, n_samples: int) -> int:
        """Frames of so many samples."""
        return self.grid.count(n_samples)

    def open(self, audio: np.ndarray) -> Cut:
        """Scaled filter bank, [1, frames, bands x stride]."""
        n_frames, stride = self.count(len(audio)), self._extractor.stride

        def bands(first: int, last: int) -> np.ndarray:
            made = self._extractor(
                audio[self.grid.span(first, last)],
                sampling_rate=self._extractor.sampling_rate,
                do_normalize_per_mel_bins=False,
                pad_to_multiple_of=stride,
                return_tensors="np",
            )
            return np.asarray(made["input_features"][0], np.float32)  # [frames, bands x stride]

        count, total, squares = 0, np.zeros(()), np.zeros(())
        for first in range(0, n_frames, PIECE):
            part = bands(first, min(first + PIECE, n_frames)).astype(np.float64)
            part = part.reshape(len(part) * stride, -1)  # [filter bank frames, bands]
            count, total, squares = count + len(part), total + part.sum(0), squares + (part**2).sum(0)
        mean = total / count
        variance = np.maximum(squares - count * mean**2, 0) / max(1, count - 1)
        mean, scale = np.tile(mean, stride), np.tile(np.sqrt(variance + 1e-7), stride)

        def cut(first: int, last: int) -> dict[str, torch.Tensor]:
            values = ((bands(first, last) - mean) / scale).astype(np.float32)
            return {"input_features": torch.from_numpy(values[None])}

        return cut


class WhisperIntake:
    """Whisper: a log-mel spectrogram of always the same length, filled up with silence."""

    def __init__(self, extractor: Any, encoder: Any, name: str) -> None:
        self._extractor = extractor
        convolutions = [(c.kernel_size[0], c.stride[0], c.padding[0]) for c in (encoder.conv1, encoder.conv2)]
        spectrogram = (extractor.n_fft, extractor.hop_length, extractor.n_fft // 2)
        self.grid = FrameGrid.of(extractor.sampling_rate, [spectrogram, *convolutions])
        self.longest: int | None = int(encoder.config.max_source_positions)
        if self.longest * self.grid.step != extractor.n_samples:
            raise StimulusError(
                f"features.encoder: {name} has {self.longest} positions, its feature extractor gives "
                f"{extractor.n_samples / self.grid.step:g}; the two do not belong together"
            )

    def count(self, n_samples: int) -> int:
        """Frames whose centre lies within so many samples; what the silence adds is cut off."""
        return -(-n_samples // self.grid.step)

    def open(self, audio: np.ndarray) -> Cut:
        """Log-mel spectrogram, [1, bands, all frames]."""

        def cut(first: int, last: int) -> dict[str, torch.Tensor]:
            made = self._extractor(
                audio[first * self.grid.step : last * self.grid.step],
                sampling_rate=self._extractor.sampling_rate,
                return_tensors="np",
            )
            return {"input_features": torch.from_numpy(np.asarray(made["input_features"], np.float32))}

        return cut


def intake_of(extractor: Any, encoder: Any, name: str) -> Intake:
    """The intake that suits a network.

    Raises
    ------
    StimulusError
        If the frames of such a network cannot be timed.
    """
    config = encoder.config
    if config.model_type == "whisper":
        return WhisperIntake(extractor, encoder, name)
    if config.model_type == "wav2vec2-bert":
        return FilterbankIntake(extractor)
    if hasattr(config, "conv_kernel") and hasattr(config, "conv_stride") and not config.is_encoder_decoder:
        return WaveformIntake(extractor, config)
    raise StimulusError(
        f"features.encoder: {name} is a {config.model_type} model; give wav2vec 2.0, HuBERT, WavLM, Whisper, "
        "wav2vec2-BERT or another network that convolves the waveform"
    )
