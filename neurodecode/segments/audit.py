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

if TYPE_CHECKING:
    from neurodecode.segments.windows import WindowIndex


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
            shared = _overlap(starts[0], starts[1], length - 1.0 / index.sfreq)
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


def _overlap(first: np.ndarray, second: np.ndarray, length: float) -> float | None:
    """A second at which windows of both sides overlap by more than a sample, or None. Both arrays are sorted."""
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
