"""The leakage audit: refuses a split in which training and test share stimulus content.

Three questions, each answered on the windows themselves, not on the settings that made them:
does any second of a stimulus stand in windows of two sides; does a whole block's text; does a sentence of four words or
more. One yes is an error. What passed is written into run.json and shown in the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.errors import LeakageError
from neurodecode.segments.blocks import long_sentences
from neurodecode.stimuli.pieces import needed_lag

if TYPE_CHECKING:
    from neurodecode.segments.windows import WindowIndex
    from neurodecode.stimuli.features import FeatureStore


# Samples by which windows of neighbouring blocks may overlap by the rule itself: both ends of a window are included, half a
# sample is forgiven at its end (section 3.2), and each begins at a whole sample, half a one from its second at most.
ROUNDING = 1 + 0.5 + 2 * 0.5 + 1e-3


def audit_split(index: WindowIndex) -> dict[str, Any]:
    """Check one fold.

    Returns
    -------
    dict
        `seconds_shared`, `blocks_shared`, `sentences_shared` (all 0), and what was compared.

    Raises
    ------
    LeakageError
        Naming the first shared stretch, block or sentence.
    """
    sides = ("train", "valid", "test")
    rows = {side: index.table.iloc[index.rows(side)] for side in sides}
    length = index.n_times / index.sfreq
    pairs = [("train", "test"), ("valid", "test"), ("train", "valid")]
    content_of = np.array(index.contents, dtype=object)
    compared = 0
    for first, second in pairs:
        for content in set(content_of[rows[first]["stimulus"]]) & set(content_of[rows[second]["stimulus"]]):
            starts = [
                np.sort(rows[s]["stimulus_start"][content_of[rows[s]["stimulus"]] == content].to_numpy(float))
                for s in (first, second)
            ]
            compared += 1
            shared = _overlap(starts[0], starts[1], length - ROUNDING / index.sfreq)
            if shared is not None:
                name = index.stimuli[index.contents.index(content)]
                raise LeakageError(
                    f"{index.fold_name}: second {shared:.2f} of stimulus {name} stands in {first} and {second}; "
                    "split by content, or give the runs different stimuli"
                )
        for what, get in (("block", _block_texts), ("sentence", _long_sentences)):
            shared_texts = get(index, rows[first]) & get(index, rows[second])
            if shared_texts:
                example = sorted(shared_texts)[0][:80]
                raise LeakageError(
                    f"{index.fold_name}: {len(shared_texts)} {what}(s) stand in {first} and {second}, for example "
                    f"'{example}'; use segments.split.unit=stimulus or leave one of them out"
                )
    return {
        "seconds_shared": 0,
        "blocks_shared": 0,
        "sentences_shared": 0,
        "stimuli_compared": compared,
        "sentences_compared": len(_long_sentences(index, index.table)),
    }


def audit_features(index: WindowIndex, features: FeatureStore) -> dict[str, Any]:
    """What the features of a window may know of, for the record; a split by content alone is cut at blocks.

    Returns
    -------
    dict
        `feature_extent`: `stimulus` (frames near a border may know some seconds of another side) or `block`; with the
        latter `feature_borders`, the number of borders at which audio was cut.

    Raises
    ------
    LeakageError
        If each block was described alone, but the shift is so short that a window's last features are of the next block.
    """
    if features.extent != "block":
        return {"feature_extent": features.extent}
    rate = min(features.get(name).rate for name in features.names)
    lag = index.shift / index.sfreq
    if any(index.borders.values()) and lag < needed_lag(rate):
        raise LeakageError(
            f"segments.window.shift: {lag:.3f} s; with features.extent=block and {rate:g} frames a second it must be at least "
            f"{needed_lag(rate):.3f} s, else windows end in the next block's features"
        )
    return {"feature_extent": "block", "feature_borders": sum(len(b) for b in index.borders.values())}


def _overlap(first: np.ndarray, second: np.ndarray, length: float) -> float | None:
    """A second at which two windows, one of each side, begin closer than `length` s, or None. Both arrays are sorted."""
    if not len(first) or not len(second):
        return None
    position = np.searchsorted(first, second)
    for shift in (-1, 0):
        neighbour = np.clip(position + shift, 0, len(first) - 1)
        close = np.abs(first[neighbour] - second) < length
        if close.any():
            return float(second[close][0])
    return None


def _block_texts(index: WindowIndex, rows: Any) -> set[str]:
    return {index.blocks[b].uid for b in rows["block"].unique() if index.blocks[b].sentences}


def _long_sentences(index: WindowIndex, rows: Any) -> set[str]:
    return {text for b in rows["block"].unique() for text in long_sentences(index.blocks[b])}
