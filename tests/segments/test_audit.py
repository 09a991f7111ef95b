"""The audit measures what sides share in the windows themselves: planted overlaps are found in full."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.config import SegmentSettings
from neurodecode.errors import LeakageError
from neurodecode.evaluation.retrieval.tables import leaky
from neurodecode.segments.audit import ROUNDING, _shared_seconds, audit_split, shared_content, shared_seconds
from neurodecode.segments.blocks import assign
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.segments.fakes import FakeRecording, ramp_recording, ramp_store

LENGTH = (361 - ROUNDING) / 120  # s of a window, less what rounding forgives


def index_of(*recordings: FakeRecording, **split) -> WindowIndex:
    values = {"seed": 3, "test": 0.3, "valid": 0.2, **split}
    return build_windows(ramp_store(*recordings), SegmentSettings.model_validate({"split": values}))


def planted(index: WindowIndex, **sides: list[float]) -> WindowIndex:
    """These anchors (s of the stimulus, train anchors of all listeners) on these sides, all others on none."""
    time, train = index.table["stimulus_time"].to_numpy(), index.table["anchors"].to_numpy() == "train"
    split = np.full(len(time), "", dtype=object)
    for side, places in sides.items():
        split[train & np.isclose(time[:, None], places).any(1)] = side
    return replace(index, table=index.table.assign(split=split), fold_name="planted")


def test_a_clean_fold_shares_nothing_and_says_so_from_its_windows() -> None:
    fold = index_of(ramp_recording("01"), ramp_recording("02", onset=5.003)).fold("fold-0")
    summary = fold.summary()
    assert summary["overlap"] == 0
    assert {k: v for k, v in fold.audit.items() if "shared" in k} == {
        "seconds_shared": 0,
        "blocks_shared": 0,
        "sentences_shared": 0,
    }
    assert fold.audit["stimuli_compared"] == 3  # one stimulus, three pairs of sides
    assert "test_windows_repeated" not in fold.audit
    assert leaky(summary) == ""


@pytest.mark.parametrize(
    ("later", "seconds"), [(0.5, LENGTH - 0.5), (1.0, LENGTH - 1.0), (2.5, LENGTH - 2.5), (3.0, 0.0)]
)
def test_a_test_window_that_begins_inside_a_training_window_shares_the_rest_of_it(later: float, seconds: float) -> None:
    index = planted(index_of(ramp_recording("01"), ramp_recording("02")), train=[1.0], test=[1.0 + later])
    shared = shared_content(index)
    assert shared_seconds(shared) == pytest.approx(seconds, abs=1e-3)
    assert index.summary()["overlap"] == pytest.approx(seconds, abs=1e-3)
    if seconds:
        found, at = shared["train", "test"].seconds["story"]
        assert (found, at) == (pytest.approx(seconds), pytest.approx(0.5 + later))
        with pytest.raises(
            LeakageError,
            match=rf"second {0.5 + later:.2f} of stimulus story stands in train and test \({seconds:.2f} s",
        ):
            audit_split(index)
    else:
        assert shared["train", "test"].seconds == {}


def test_overlaps_are_added_up_over_stretches_and_pairs_of_sides() -> None:
    places = {"train": [0.5, 7.5, 8.0, 8.5], "test": [1.5, 10.5], "valid": [1.0, 28.5]}
    index = planted(index_of(ramp_recording()), **places)
    shared = {pair: found.seconds.get("story", (0.0, 0.0))[0] for pair, found in shared_content(index).items()}
    # train covers 0-3 and 7-11, test 1-4 and 10-13, valid 0.5-3.5 and 28-31, each window short by what is forgiven
    assert shared["train", "test"] == pytest.approx((LENGTH - 1) + (8.0 + LENGTH - 10.0))
    assert shared["valid", "test"] == pytest.approx(LENGTH - 0.5)
    assert shared["train", "valid"] == pytest.approx(LENGTH - 0.5)
    assert index.summary()["overlap"] == pytest.approx(sum(shared.values()), abs=1e-3)
    blocks = {pair: len(found.blocks) for pair, found in shared_content(index).items()}
    assert blocks == {("train", "test"): 2, ("valid", "test"): 1, ("train", "valid"): 1}


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=12),
    st.lists(st.integers(0, 300), min_size=1, max_size=12),
    st.integers(1, 60),
)
def test_shared_seconds_are_those_counted_tick_by_tick(first: list[int], second: list[int], length: int) -> None:
    ticks = [np.unique([t + k for t in side for k in range(length)]) for side in (first, second)]
    both = np.intersect1d(*ticks)
    seconds, at = _shared_seconds(np.sort(first) / 8, np.sort(second) / 8, length / 8)  # eighths are exact
    assert seconds == len(both) / 8
    assert at == (both[0] / 8 if len(both) else 0.0)


REFRAIN = "the sea gives and the sea takes"


def with_refrain() -> FakeRecording:
    """Twenty blocks of two sentences; the second of every other block is the same one."""
    recording = ramp_recording(sentence_starts=tuple(np.arange(0.0, 140.0, 3.5)), length=140.0, seconds=150.0)
    sentences = recording.events.index[recording.events["kind"] == "sentence"]
    recording.events.loc[sentences[1::4], "label"] = REFRAIN
    return recording


class TestRepeatedSentences:
    """`repeated`: together, error, or apart as published."""

    def test_apart_leaves_each_block_where_its_text_puts_it_and_counts_what_leaks(self) -> None:
        fold = index_of(with_refrain(), repeated="apart").fold("fold-0")
        table = fold.table[fold.table["split"] != ""]
        for row in table.itertuples():
            assert row.split == assign(fold.blocks[row.block].uid, fold.settings.split)
        holding = {number for number, block in enumerate(fold.blocks) if REFRAIN in block.sentences}
        sides = table[table["block"].isin(holding)].groupby("split").size()
        assert {"train", "test"} <= set(sides.index)
        assert fold.audit["sentences_shared"] == 1
        assert fold.audit["test_windows_repeated"] == sides["test"] < len(fold.rows("test"))
        assert (fold.audit["seconds_shared"], fold.audit["blocks_shared"]) == (0, 0)
        said = leaky(fold.summary())
        assert (
            f"1 sentences of four words or more stand on two sides; {sides['test']} of {len(fold.rows('test'))}" in said
        )
        assert said.startswith("LEAKY by the published rule")

    def test_together_and_error_let_nothing_through(self) -> None:
        fold = index_of(with_refrain(), seed=5).fold("fold-0")
        assert fold.audit["sentences_shared"] == 0
        assert leaky(fold.summary()) == ""
        with pytest.raises(
            LeakageError, match=f"1 sentence.s. stand in train and (test|valid), for example '{REFRAIN}'"
        ):
            index_of(with_refrain(), repeated="error").fold("fold-0")

    def test_apart_excuses_sentences_alone(self) -> None:
        index = index_of(with_refrain(), repeated="apart")
        with pytest.raises(LeakageError, match="second 1.50 of stimulus story stands in train and test"):
            audit_split(planted(index, train=[1.0], test=[2.0]))
        runs = [ramp_recording("01", stimulus=f"story{k}", run=f"{k}") for k in range(3)]
        for run in runs:
            run.events.loc[run.events.index[run.events["kind"] == "sentence"][3], "label"] = REFRAIN
        leaking = index_of(*runs, rule="leave-one-run-out", repeated="apart")
        with pytest.raises(LeakageError, match=REFRAIN):
            leaking.fold("fold-0")  # whole runs are no published rule
