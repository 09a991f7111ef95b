"""Step 2: bad channels, found in one pass over blocks of any length and recorded with their reason.

Signal [channels, samples] goes in block by block; name -> reason comes out. A channel is bad when it holds NaN or
infinity, when it is flat (one value for whole seconds) most of the time, or when its spread is far out: the logarithm
of its spread (median over seconds of the standard deviation within a second, so that artefacts and drifts do not count)
lies many robust deviations from the median channel of its type. Looked at before filtering, at the recorded rate.
"""

from __future__ import annotations

import numpy as np

FLAT_SHARE = 0.5  # flat for more than this share of the seconds
FAR_FACTOR = 5.0  # a spread within this factor of the median channel is never far out, however alike the others are
FEWEST = 4  # fewer channels of a type give no median to compare with


class BadChannelScan:
    """Collects per second what is needed to name the bad channels.

    Parameters
    ----------
    n_channels
        Rows of each block.
    sfreq
        Hz.
    """

    def __init__(self, n_channels: int, sfreq: float) -> None:
        self.second = max(round(sfreq), 2)  # samples
        self.invalid = np.zeros(n_channels, int)  # samples that are NaN or infinite
        self.samples = 0
        self._rest = np.empty((n_channels, 0))
        self._spread: list[np.ndarray] = []  # [channels] a second
        self._flat: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> np.ndarray:
        """Look at a block [channels, samples]; returns it with NaN and infinity replaced by 0."""
        finite = np.isfinite(block)
        if not finite.all():
            self.invalid += (~finite).sum(axis=1)
            block = np.where(finite, block, 0.0)
        self.samples += block.shape[1]
        joined = np.concatenate([self._rest, block], axis=1) if self._rest.shape[1] else block
        whole = joined.shape[1] // self.second
        for part in np.split(joined[:, : whole * self.second], whole, axis=1) if whole else []:
            self._measure(part)
        self._rest = joined[:, whole * self.second :].copy()
        return block

    def end_stretch(self) -> None:
        """A stretch ends here: seconds do not run across its border."""
        if self._rest.shape[1] >= self.second // 2:
            self._measure(self._rest)
        self._rest = self._rest[:, :0]

    def _measure(self, part: np.ndarray) -> None:
        self._spread.append(part.std(axis=1))
        self._flat.append(part.max(axis=1) == part.min(axis=1))

    def spread(self) -> np.ndarray:
        """Median over seconds of the standard deviation within a second, [channels]."""
        if not self._spread:
            return np.zeros(len(self.invalid))
        return np.median(np.stack(self._spread), axis=0)

    def found(
        self, names: list[str], types: list[str], deviation: float | None, known: frozenset[str] = frozenset()
    ) -> dict[str, str]:
        """Name -> reason of the bad channels.

        Parameters
        ----------
        names, types
            Of the rows.
        deviation
            Robust deviations beyond which a spread is far out; None looks for NaN and infinity only.
        known
            Channels that were marked bad before: they do not count towards the median.
        """
        bad = {
            name: f"{count} of {self.samples} samples are NaN or infinite"
            for name, count in zip(names, self.invalid)
            if count
        }
        if deviation is None or not self._flat:
            return bad
        flat = np.stack(self._flat).mean(axis=0)  # share of the seconds
        for name, share in zip(names, flat):
            if name not in bad and share > FLAT_SHARE:
                bad[name] = f"flat in {share:.0%} of the seconds"
        spread = self.spread()
        for kind in sorted(set(types)):
            rows = [
                i
                for i, (name, t) in enumerate(zip(names, types))
                if t == kind and name not in bad and name not in known and spread[i] > 0
            ]
            if len(rows) < FEWEST:
                continue
            log = np.log(spread[rows])
            centre = np.median(log)
            robust = 1.4826 * np.median(np.abs(log - centre))  # equals the standard deviation for normal values
            for row, value in zip(rows, log):
                off = abs(value - centre)
                if off > np.log(FAR_FACTOR) and off > deviation * robust:
                    bad[names[row]] = f"spread {np.exp(value - centre):.3g} times that of the median {kind} channel"
        return bad
