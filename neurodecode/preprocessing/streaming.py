"""Engine `streaming`: the same filters as MNE's, in bounded memory.

Blocks [channels, samples] of one good stretch go in, one after the other; filtered and resampled blocks come out. Each
stage keeps only the samples that later outputs still need, mirrors the two ends of the stretch as MNE does
(`reflect_limited`), and gives every output exactly once, so that the result does not depend on where blocks are cut.
Memory is about one block plus two kernel lengths a stage, whatever the length of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from neurodecode.preprocessing.filters import Filters
from neurodecode.preprocessing.resample import Ratio, kernel

CHANNELS_AT_ONCE = 16  # rows transformed together: bounds the memory of the FFT


class FirStage:
    """A symmetric FIR kernel of odd length applied with zero phase by overlap-save.

    Parameters
    ----------
    taps
        [2 half + 1].
    dtype
        float32 or float64, of the arithmetic.
    """

    def __init__(self, taps: np.ndarray, dtype: np.dtype) -> None:
        from scipy.fft import next_fast_len, rfft

        self.half = (len(taps) - 1) // 2
        self.n_fft = next_fast_len(max(8 * len(taps), 4096), real=True)
        # transformed in float64 once, so that only the signal's own rounding is left
        self.response = rfft(np.asarray(taps, np.float64), self.n_fft).astype(np.result_type(dtype, np.complex64))
        self.dtype = np.dtype(dtype)
        self._kept: list[np.ndarray] = []
        self._started = False

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block, give the outputs that it completes [channels, possibly 0]."""
        self._kept.append(block)
        total = sum(part.shape[1] for part in self._kept)
        if total <= 2 * self.half:
            return block[:, :0]
        joined = self._joined()
        if not self._started:
            joined = np.concatenate([_mirror_start(joined, self.half), joined], axis=1)
            self._started = True
        return self._emit(joined)

    def flush(self) -> np.ndarray:
        """The last outputs of the stretch."""
        joined = self._joined()
        if not self._started:
            joined = np.concatenate([_mirror_start(joined, self.half), joined], axis=1)
        joined = np.concatenate([joined, _mirror_end(joined, self.half)], axis=1)
        return self._emit(joined)

    def _joined(self) -> np.ndarray:
        return np.concatenate(self._kept, axis=1) if len(self._kept) > 1 else self._kept[0]

    def _emit(self, joined: np.ndarray) -> np.ndarray:
        out = self._convolve(joined)
        self._kept = [joined[:, joined.shape[1] - 2 * self.half :].copy()]
        return out

    def _convolve(self, signal: np.ndarray) -> np.ndarray:
        """The part of the convolution that needs no padding, [channels, samples - 2 half]."""
        from scipy.fft import irfft, rfft

        n_out = signal.shape[1] - 2 * self.half
        out = np.empty((len(signal), n_out), self.dtype)
        step = self.n_fft - 2 * self.half
        for first in range(0, len(signal), CHANNELS_AT_ONCE):
            rows = slice(first, first + CHANNELS_AT_ONCE)
            for begin in range(0, n_out, step):
                piece = signal[rows, begin : begin + self.n_fft]
                spectrum = rfft(piece, self.n_fft, axis=1)
                spectrum *= self.response
                result = irfft(spectrum, self.n_fft, axis=1, overwrite_x=True)
                end = min(begin + step, n_out)
                out[rows, begin:end] = result[:, 2 * self.half : 2 * self.half + end - begin]
        return out


class PolyphaseStage:
    """Rational resampling onto the recording's output grid.

    Parameters
    ----------
    ratio
        Output over input rate.
    start
        Index in the recording of the stretch's first sample.
    dtype
        Of the arithmetic.
    """

    def __init__(self, ratio: Ratio, start: int, dtype: np.dtype) -> None:
        self.ratio = ratio
        self.taps = (kernel(ratio) * ratio.up).astype(dtype)
        self.next = ratio.first_output(start)  # index of the next output
        self._first = start  # index in the recording of the first kept sample
        self._kept: np.ndarray | None = None
        self._started = False

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take a block, give the outputs that it completes [channels, possibly 0]."""
        self._kept = block if self._kept is None else np.concatenate([self._kept, block], axis=1)
        reach = self.ratio.reach
        if not self._started:
            if self._kept.shape[1] <= 2 * reach:
                return block[:, :0]
            self._start()
        end = self._first + self._kept.shape[1]  # excluded
        ready = ((end - 1) * self.ratio.up - self.ratio.half_length) // self.ratio.down + 1
        return self._emit(ready)

    def flush(self) -> np.ndarray:
        """The last outputs of the stretch."""
        assert self._kept is not None
        if not self._started:
            self._start()
        stop = self._first + self._kept.shape[1]
        self._kept = np.concatenate([self._kept, _mirror_end(self._kept, self.ratio.reach)], axis=1)
        return self._emit(self.ratio.first_output(stop))

    def _start(self) -> None:
        assert self._kept is not None
        self._kept = np.concatenate([_mirror_start(self._kept, self.ratio.reach), self._kept], axis=1)
        self._first -= self.ratio.reach
        self._started = True

    def _emit(self, ready: int) -> np.ndarray:
        """Outputs `next` to `ready`, excluded; forgets samples that no later output needs."""
        from scipy.signal import upfirdn

        assert self._kept is not None
        count = ready - self.next
        if count <= 0:
            return self._kept[:, :0]
        up, down = self.ratio.up, self.ratio.down
        # position of output `next` in the full convolution at the rate `up` x input; upfirdn gives multiples of
        # `down` of it, so zeros before the kernel bring the wanted outputs onto such multiples
        position = self.next * down - self._first * up + self.ratio.half_length
        zeros = -position % down
        skip = (position + zeros) // down
        taps = np.concatenate([np.zeros(zeros, self.taps.dtype), self.taps])
        out = upfirdn(taps, self._kept, up, down, axis=1)[:, skip : skip + count]
        self.next = ready
        needed = (self.next * down - self.ratio.half_length) // up
        drop = min(max(needed - self._first, 0), self._kept.shape[1])
        self._kept = self._kept[:, drop:].copy()
        self._first += drop
        return np.ascontiguousarray(out)


def stream_stretch(
    blocks: Iterable[np.ndarray],
    filters: Filters,
    ratio: Ratio,
    start: int,
    dtype: np.dtype | type = np.float32,
) -> Iterator[np.ndarray]:
    """Filter and resample one stretch block by block.

    A constant per channel (the median of the first block) is taken out in float64 before anything is rounded to
    `dtype`, and what the filters make of it is put back at the end: an electrode offset of 0.1 V costs no precision.

    Parameters
    ----------
    blocks
        Arrays [channels, samples], float64, finite, one after the other.
    filters, ratio
        What to do.
    start
        Index in the recording of the first sample.
    dtype
        float32 or float64, of the arithmetic.

    Yields
    ------
    ndarray
        [channels, outputs] of `dtype`; together the outputs `first_output(start)` to `first_output(stop)`, excluded.
    """
    dtype = np.dtype(dtype)
    stages: list[FirStage | PolyphaseStage] = [FirStage(taps, dtype) for taps in filters.kernels]
    if ratio.up != ratio.down:
        stages.append(PolyphaseStage(ratio, start, dtype))
    offset: np.ndarray | None = None
    for block in blocks:
        if offset is None:
            offset = np.median(block, axis=1, keepdims=True)
        yield _through(stages, (block - offset).astype(dtype), offset, filters.gain)
    for index, stage in enumerate(stages):
        assert offset is not None
        yield _through(stages[index + 1 :], stage.flush(), offset, filters.gain)


def _through(stages: list, block: np.ndarray, offset: np.ndarray, gain: float) -> np.ndarray:
    for stage in stages:
        if block.shape[1] == 0:
            break
        block = stage.push(block)
    return (block + offset * gain).astype(block.dtype)


def _mirror_start(signal: np.ndarray, count: int) -> np.ndarray:
    """Odd reflection of the first samples about sample 0, [channels, count]."""
    return _odd_extension(signal[:, : count + 1], count, 0)


def _mirror_end(signal: np.ndarray, count: int) -> np.ndarray:
    """Odd reflection of the last samples about the last one, [channels, count]."""
    return _odd_extension(signal[:, max(signal.shape[1] - count - 1, 0) :], 0, count)


def _odd_extension(signal: np.ndarray, before: int, after: int) -> np.ndarray:
    extended = np.pad(signal, [(0, 0), (before, after)], mode="reflect", reflect_type="odd")
    return extended[:, :before] if before else extended[:, extended.shape[1] - after :]
