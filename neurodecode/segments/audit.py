"""The leakage audit: refuses a split in which training and test share stimulus content.

Three questions, each answered on the windows themselves, not on the settings that made them:
does any second of a stimulus stand in windows of two sides; does a whole block's text; does a sentence of four words or
more. One yes is an error; only sentences may be left apart, if the settings say so (`split.repeated: apart`, the published
rule), and are counted then. What was found is written into run.json and shown in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
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
PAIRS = (("train", "test"), ("valid", "test"), ("train", "valid"))


@dataclass(frozen=True)
class Shared:
    """What two sides of a split have in common, found in their windows.

    Attributes
    ----------
    seconds
        Stimulus -> (s of it that stand in windows of both, the first such second); by more than ROUNDING.
    blocks, sentences
        Texts of whole blocks, and sentences of four words or more, that stand in both.
    compared
        Contents of stimuli that both sides hold.
    """

    seconds: dict[str, tuple[float, float]]
    blocks: set[str]
    sentences: set[str]
    compared: int


def shared_content(index: WindowIndex) -> dict[tuple[str, str], Shared]:
    """What each two sides share; refuses nothing."""
    rows = {side: index.table.iloc[index.rows(side)] for side in ("train", "valid", "test")}
    length = (index.n_times - ROUNDING) / index.sfreq
    content_of = np.array(index.contents, dtype=object)
    begins = {
        side: {
            content: np.sort(table["stimulus_start"].to_numpy(float)[content_of[table["stimulus"]] == content])
            for content in sorted(set(content_of[table["stimulus"]]))
        }
        for side, table in rows.items()
    }
    found = {}
    for first, second in PAIRS:
        both = [content for content in begins[first] if content in begins[second]]
        measured = {
            content: _shared_seconds(begins[first][content], begins[second][content], length) for content in both
        }
        found[first, second] = Shared(
            seconds={index.stimuli[index.contents.index(c)]: found for c, found in measured.items() if found[0] > 0},
            blocks=_block_texts(index, rows[first]) & _block_texts(index, rows[second]),
            sentences=_long_sentences(index, rows[first]) & _long_sentences(index, rows[second]),
            compared=len(both),
        )
    return found


def shared_seconds(shared: dict[tuple[str, str], Shared]) -> float:
    """Seconds of all stimuli that stand in windows of two sides, summed over pairs of sides."""
    return round(sum(seconds for pair in shared.values() for seconds, _ in pair.seconds.values()), 3)


def audit_split(index: WindowIndex) -> dict[str, Any]:
    """Check one fold.

    Returns
    -------
    dict
        `seconds_shared`, `blocks_shared`, `sentences_shared` as counted (0, unless the split leaves repeated sentences apart
        as published: then how many, and `test_windows_repeated`, the test windows in whose block there is one), and what was
        compared.

    Raises
    ------
    LeakageError
        Naming the first shared stretch, block or sentence.
    """
    split = index.settings.split
    apart = split.rule == "content" and split.repeated == "apart"
    shared = shared_content(index)
    for (first, second), pair in shared.items():
        for name, (seconds, at) in pair.seconds.items():
            raise LeakageError(
                f"{index.fold_name}: second {at:.2f} of stimulus {name} stands in {first} and {second} ({seconds:.2f} s in "
                "all); split by content, or give the runs different stimuli"
            )
        for what, texts in (("block", pair.blocks), ("sentence", set() if apart else pair.sentences)):
            if texts:
                example = sorted(texts)[0][:80]
                raise LeakageError(
                    f"{index.fold_name}: {len(texts)} {what}(s) stand in {first} and {second}, for example "
                    f"'{example}'; use segments.split.unit=stimulus or leave one of them out"
                )
    result = {
        "seconds_shared": shared_seconds(shared),
        "blocks_shared": len(set().union(*(pair.blocks for pair in shared.values()))),
        "sentences_shared": len(set().union(*(pair.sentences for pair in shared.values()))),
        "stimuli_compared": sum(pair.compared for pair in shared.values()),
        "sentences_compared": len(_long_sentences(index, index.table)),
    }
    if result["sentences_shared"]:
        repeated = shared["train", "test"].sentences | shared["valid", "test"].sentences
        tested = index.table["block"].to_numpy()[index.rows("test")]
        known = [block for block in np.unique(tested) if long_sentences(index.blocks[block]) & repeated]
        result["test_windows_repeated"] = int(np.isin(tested, known).sum())
    return result


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


def _shared_seconds(first: np.ndarray, second: np.ndarray, length: float) -> tuple[float, float]:
    """(seconds, the first one) that windows of both sides cover, each `length` s from its begin; both arrays are sorted."""
    if not len(first) or not len(second) or length <= 0:
        return 0.0, 0.0
    edges = np.unique(np.concatenate([first, first + length, second, second + length]))
    middle = (edges[1:] + edges[:-1]) / 2
    covered = np.ones(len(middle), bool)
    for begins in (first, second):
        latest = begins[np.clip(np.searchsorted(begins, middle, side="right") - 1, 0, None)]
        covered &= (latest <= middle) & (middle < latest + length)
    # what is shorter than a rounding of seconds is nothing
    shared = float(np.diff(edges)[covered].sum())
    return (shared, float(edges[:-1][covered][0])) if shared > 1e-9 else (0.0, 0.0)


def _block_texts(index: WindowIndex, rows: Any) -> set[str]:
    return {index.blocks[b].uid for b in rows["block"].unique() if index.blocks[b].sentences}


def _long_sentences(index: WindowIndex, rows: Any) -> set[str]:
    return {text for b in rows["block"].unique() for text in long_sentences(index.blocks[b])}
