"""What is asked: every scored window of every fold is a query, every distinct segment among them a candidate.

In: one BatchSource a fold. Out: Questions. With leave-one-run-out, the candidates are the segments of all held-out runs
put together, so that each fold answers against the same pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Scores
from neurodecode.segments.blocks import SAME_SENTENCE, sentences_of_stimulus

if TYPE_CHECKING:
    from neurodecode.segments.batches import BatchSource
    from neurodecode.segments.windows import WindowIndex


NO_SENTENCE = -1
STRETCH = 3  # windows; a window then shares signal with its own and one neighbouring stretch at most


@dataclass
class Questions:
    """Queries and candidates of a run, in the order of folds.

    Attributes
    ----------
    rows
        Rows [Q] of the window table, the same for all folds.
    fold
        Number [Q] of the fold that answers.
    candidate_rows
        Rows [N] whose features stand for the candidates: the first occurrence of each segment (section 6.1).
    query_identity, candidate_identity, queries, candidates
        As in `Scores`.
    overlapping
        Whether windows of one recording overlap in time, so that neighbours resemble each other.
    unit
        int [Q]: what is resampled when it is not subjects. Equal = same segment; where windows overlap, same stretch of
        a stimulus, STRETCH windows long, since neighbouring segments then share most of their signal.
    seen
        Whether every subject that is asked about has training windows in the fold that answers.
    """

    rows: np.ndarray
    fold: np.ndarray
    candidate_rows: np.ndarray
    query_identity: np.ndarray
    candidate_identity: np.ndarray
    queries: pd.DataFrame
    candidates: pd.DataFrame
    overlapping: bool
    unit: np.ndarray
    seen: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def subjects(self) -> np.ndarray:
        """Name [Q] of each query's subject."""
        return self.queries["subject"].to_numpy()

    def clusters(self, rows: np.ndarray | slice = slice(None), fewest: int = 2) -> tuple[np.ndarray, str]:
        """What the bootstrap resamples for some queries: their subjects, or units when there are fewer than `fewest`."""
        subjects = self.subjects[rows]
        if len(np.unique(subjects)) >= fewest:
            return subjects, "subjects"
        return self.unit[rows], "stretches" if self.overlapping else "segments"

    def scores(self, matrix: np.ndarray) -> Scores:
        """A matrix [Q, N] with the identity of its rows and columns."""
        return Scores(matrix, self.query_identity, self.candidate_identity, self.queries, self.candidates)


def ask(sources: Sequence[BatchSource], split: str) -> Questions:
    """Collect queries and candidates of all folds.

    Raises
    ------
    NeurodecodeError
        If there are fewer than two distinct segments, or two folds score the same window.
    """
    parts = [source.index.rows(split) for source in sources]
    index = sources[0].index
    rows = np.concatenate(parts)
    if len(np.unique(rows)) < len(rows):
        raise NeurodecodeError(f"{split}: a window is scored by two folds; each must be scored once")
    identity = index.table["identity"].to_numpy()[rows]
    candidate_identity, first = np.unique(identity, return_index=True)
    if len(candidate_identity) < 2:
        raise NeurodecodeError(
            f"{split}: {len(rows)} windows of {len(candidate_identity)} distinct segment(s), retrieval needs 2; use "
            "shorter windows or strides, or another split"
        )
    fold = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    candidates = _describe(index, rows[first])
    candidates["label"] = window_texts(index, rows[first])
    candidates["sentence"] = sentence_numbers(index, rows[first])
    queries = _describe(index, rows)
    for column in ("label", "sentence"):
        queries[column] = candidates[column].to_numpy()[np.searchsorted(candidate_identity, identity)]
    queries["fold"] = [sources[number].index.fold_name for number in fold.tolist()]
    subject = index.table["subject"].to_numpy()
    trained = [set(subject[source.index.rows("train")].tolist()) for source in sources]
    overlapping = _overlap(index, rows)
    unit = np.arange(len(first))
    if overlapping:
        length = STRETCH * index.n_times / index.sfreq
        places = zip(index.table["stimulus"].to_numpy()[rows[first]], candidates["time"] // length)
        unit = pd.factorize(pd.Series([f"{index.contents[s]} {place:.0f}" for s, place in places]))[0]
    return Questions(
        rows=rows,
        fold=fold,
        candidate_rows=rows[first],
        query_identity=identity,
        candidate_identity=candidate_identity,
        queries=queries,
        candidates=candidates[["stimulus", "time", "label", "run", "word", "sentence"]],
        overlapping=overlapping,
        unit=unit[np.searchsorted(candidate_identity, identity)],
        seen=all(s in trained[number] for s, number in zip(subject[rows].tolist(), fold.tolist())),
    )


def _describe(index: WindowIndex, rows: np.ndarray) -> pd.DataFrame:
    """Names and times in place of indices."""
    table = index.table.iloc[rows]
    return pd.DataFrame(
        {
            "subject": [index.subjects[i] for i in table["subject"]],
            "recording": [index.recordings[i].name for i in table["recording"]],
            "run": table["run"].to_numpy(),
            "stimulus": [index.stimuli[i] for i in table["stimulus"]],
            "time": table["stimulus_start"].to_numpy(float),
            "start": table["start"].to_numpy() / index.sfreq,
            "word": table["label"].to_numpy(),
        }
    )


def window_texts(index: WindowIndex, rows: np.ndarray) -> list[str]:
    """Words heard in each window; where the stimulus has no word events, its name and the second it starts at."""
    seconds = (index.n_times - index.shift) / index.sfreq
    here = index.table.iloc[rows]
    places = zip(here["recording"].tolist(), here["stimulus"].tolist(), here["stimulus_start"].tolist())
    words: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    texts = []
    for recording, stimulus, begin in places:
        name = index.stimuli[stimulus]
        key = (recording, stimulus)
        if key not in words:
            events = index.recordings[recording].events
            heard = events[(events["kind"] == "word") & (events["stimulus"] == name) & events["stimulus_onset"].notna()]
            heard = heard.sort_values("stimulus_onset", kind="stable")
            words[key] = heard["stimulus_onset"].to_numpy(float), heard["label"].astype(str).to_numpy()
        onsets, labels = words[key]
        first, last = np.searchsorted(onsets, [begin - 1e-6, begin + seconds - 1e-6])
        texts.append(" ".join(labels[first:last]) or f"{name} at {begin:.1f} s")
    return texts


def sentence_numbers(index: WindowIndex, rows: np.ndarray) -> np.ndarray:
    """Number [rows] of the sentence that holds each window's anchor, NO_SENTENCE where the stimulus has none.

    A sentence lasts until the next begins, and the first one from the start of its stimulus. Equal numbers are the same
    sentence of the same content.
    """
    here = index.table.iloc[rows]
    onsets: dict[tuple[int, int], np.ndarray] = {}
    content, begun = np.full(len(rows), -1), np.zeros(len(rows))
    places = zip(here["recording"].tolist(), here["stimulus"].tolist(), here["stimulus_time"].tolist())
    for row, (recording, stimulus, anchor) in enumerate(places):
        key = (recording, stimulus)
        if key not in onsets:
            events = index.recordings[recording].events
            onsets[key] = np.array([onset for onset, _ in sentences_of_stimulus(events, index.stimuli[stimulus])])
        if len(onsets[key]):
            content[row] = index.contents.index(index.contents[stimulus])
            begun[row] = onsets[key][max(0, int(np.searchsorted(onsets[key], anchor + 1e-6)) - 1)]
    numbers = np.full(len(rows), NO_SENTENCE)
    known = np.flatnonzero(content >= 0)
    order = known[np.lexsort((begun[known], content[known]))]
    # clocks of recordings differ by less than any sentence lasts
    new = (np.diff(content[order]) != 0) | (np.diff(begun[order]) > SAME_SENTENCE)
    numbers[order] = np.concatenate([[0], np.cumsum(new)]) if len(order) else numbers[order]
    return numbers


def _overlap(index: WindowIndex, rows: np.ndarray) -> bool:
    table = index.table.iloc[rows].sort_values(["recording", "start"])
    near = np.diff(table["start"].to_numpy()) < index.n_times - 1  # a window with both ends may share one sample
    same = np.diff(table["recording"].to_numpy()) == 0
    return bool((near & same).any())
