"""Signal that is there twice: pieces that begin with the end of the one before, and stretches that two files share.

    overlap(before, after)                        # samples at the start of `after` that end `before`
    fingerprints(signal, ["A1", "A2"])            # of a trial or a piece; what two of them share, both signals hold

In: [channels, samples]. A fingerprint is made of the directions in which the channels go, 0.25 s at 1000 Hz, so it is the same
after each channel was scaled by a positive number and shifted, wherever in a file the stretch lies. Copies that were resampled,
filtered or referenced again are not found. About every 64th place has one; flat stretches and straight lines have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

SPAN = 250  # samples whose directions make a fingerprint
TURNS = 32  # changes of direction in it, over all channels; fewer could be the same by chance
ONE_IN = 64  # places
SHORTEST = 100  # samples of an overlap
STEP = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2 ** 64


def overlap(before: np.ndarray, after: np.ndarray) -> int:
    """Samples with which `after` repeats the end of `before`, exactly and on all channels; 0 when it does not.

    Parameters
    ----------
    before, after
        [channels, samples]; stretches that do not change are no repetition.
    """
    if not before.size or not after.size:
        return 0
    starts = np.flatnonzero(before[0] == after[0, 0])
    for start in starts[(before[:, starts] == after[:, :1]).all(0)]:
        length = before.shape[1] - int(start)
        if length < SHORTEST:
            return 0
        if length > after.shape[1] or not np.array_equal(before[:, start:], after[:, :length]):
            continue
        if np.ptp(after[:, :length], axis=1).any():
            return length
    return 0


def fingerprints(signal: np.ndarray, names: list[str]) -> np.ndarray:
    """Sorted fingerprints of a signal, uint64.

    Parameters
    ----------
    signal
        [channels, samples].
    names
        Of the channels; their order does not matter.
    """
    if signal.shape[1] < SPAN + 2:
        return np.empty(0, np.uint64)
    weights = np.array([_number(name) for name in names], np.uint64)
    rises = np.diff(signal, axis=1) > 0  # [channels, samples - 1]
    turns = _sums((rises[:, 1:] != rises[:, :-1]).sum(0).astype(np.int64), SPAN - 1)
    # a polynomial in STEP modulo 2 ** 64 over the directions of SPAN samples: a difference of sums, brought to power 0
    powers = _powers(STEP, rises.shape[1])
    inverse = _powers(pow(STEP, -1, 2**64), rises.shape[1])
    columns = np.where(rises, weights[:, None], np.uint64(0)).sum(0, dtype=np.uint64)
    values = _sums(columns * powers, SPAN) * inverse[: rises.shape[1] - SPAN + 1]
    # by the upper bits: the lower ones of a product depend on the lower ones of its factors alone
    taken = (turns >= TURNS) & (values >> np.uint64(32) < np.uint64(2**32 // ONE_IN))
    return np.unique(values[taken])


def holder(signal: np.ndarray, names: list[str], known: Mapping[str, np.ndarray]) -> str:
    """Key of the fingerprints of which a signal shares most, two at least; "" when it shares fewer with all.

    Parameters
    ----------
    signal, names
        As `fingerprints` takes them.
    known
        Key -> fingerprints on the same channels.
    """
    own = fingerprints(signal, names)
    shared = {key: int(np.isin(own, theirs).sum()) for key, theirs in known.items()}
    most = max(shared, key=lambda key: shared[key], default="")
    return most if shared.get(most, 0) >= 2 else ""


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") | 1


def _powers(base: int, count: int) -> np.ndarray:
    """base ** 0 ... base ** (count - 1) modulo 2 ** 64."""
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _sums(values: np.ndarray, length: int) -> np.ndarray:
    """Sums of `length` values in a row, one for each place they can begin at."""
    total = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values, dtype=values.dtype)])
    return total[length:] - total[:-length]
