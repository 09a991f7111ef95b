"""Windows start where they say, splits follow content, and every window that is not taken is counted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.config import SegmentSettings, SplitSettings
from neurodecode.errors import LeakageError, NeurodecodeError
from neurodecode.segments.blocks import assign, blocks_of_stimulus
from neurodecode.segments.windows import build_windows
from tests.segments.fakes import ramp_recording, ramp_store


def settings(**changes) -> SegmentSettings:
    split = {"seed": 3, "test": 0.3, "valid": 0.2, **changes.pop("split", {})}
    return SegmentSettings.model_validate({"split": split, **changes})


def test_the_published_window_has_361_samples_and_343_after_the_shift() -> None:
    index = build_windows(ramp_store(ramp_recording()), settings())
    assert index.n_times == 361
    assert index.shift == 18
    assert index.n_times - index.shift == 343


def test_the_same_segment_has_the_same_identity_for_every_subject_whenever_it_was_heard() -> None:
    index = build_windows(ramp_store(ramp_recording("01", onset=2.0), ramp_recording("02", onset=5.003)), settings())
    for anchors in ("train", "test"):
        rows = index.table[index.table["anchors"] == anchors]
        first, second = (rows[rows["subject"] == s] for s in (0, 1))
        assert set(first["identity"]) == set(second["identity"])
        merged = first.merge(second, on="identity")
        np.testing.assert_allclose(merged["stimulus_time_x"], merged["stimulus_time_y"], atol=1e-9)
        np.testing.assert_allclose(merged["anchor_y"] - merged["anchor_x"], 3.003, atol=1e-9)


def test_every_window_lies_inside_one_block() -> None:
    index = build_windows(ramp_store(ramp_recording()), settings())
    for row in index.table.itertuples():
        block = index.blocks[row.block]
        assert block.start - 1e-6 <= row.stimulus_time - 0.5
        assert row.stimulus_time + 2.5 - 0.5 / 120 < block.stop


def test_a_seven_second_block_offers_anchors_from_half_a_second_to_four_and_a_half() -> None:
    index = build_windows(ramp_store(ramp_recording(length=7.0, sentence_starts=(0.0,))), settings())
    train = index.table[index.table["anchors"] == "train"]
    np.testing.assert_allclose(train["stimulus_time"], np.arange(0.5, 4.51, 0.5))
    words = index.table[index.table["anchors"] == "test"]
    np.testing.assert_allclose(words["stimulus_time"], 0.7 * np.arange(1, 7))
    assert words["label"].tolist()[0] == "word0.7"


def test_windows_over_bad_spans_are_dropped_and_counted() -> None:
    clean = build_windows(ramp_store(ramp_recording()), settings())
    recording = ramp_recording()
    recording.bad_spans = np.array([[20.0, 21.0]])
    index = build_windows(ramp_store(recording), settings())
    lost = len(clean.table) - len(index.table)
    assert lost > 0
    assert index.counts["window overlaps a bad span"] == lost
    start = index.table["start"] / 120
    assert not ((start < 21.0) & (start + 361 / 120 > 20.0)).any()


def test_assignment_depends_on_the_text_only_and_matches_the_stated_rule() -> None:
    import hashlib
    import random

    for text in ("the boy ran", "the girl sang", "hun zag het"):
        draw = random.Random(int(hashlib.sha256(text.encode()).hexdigest(), 16) + 12).random()
        expected = "test" if draw < 0.2 else "valid" if draw < 0.3 else "train"
        assert assign(text, SplitSettings()) == expected


@given(st.lists(st.floats(0.5, 9.0), min_size=1, max_size=40), st.floats(1.0, 20.0))
def test_blocks_tile_the_stimulus_and_all_but_a_lone_one_exceed_the_minimum(
    lengths: list[float], minimum: float
) -> None:
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    total = float(np.sum(lengths))
    sentences = [(float(s), f"text {i}") for i, s in enumerate(starts)]
    blocks = blocks_of_stimulus(sentences, "hash", total, SplitSettings(block_seconds=minimum))
    assert blocks[0].start == 0.0
    assert blocks[-1].stop == float("inf")
    assert all(a.stop == b.start for a, b in itertools.pairwise(blocks))
    assert [s for b in blocks for s in b.sentences] == [t for _, t in sentences]
    if len(blocks) > 1:
        ends = [*(b.start for b in blocks[1:]), total]
        assert all(end - b.start > minimum for b, end in zip(blocks, ends))


def test_the_three_sides_share_no_segment_and_cover_all_blocks() -> None:
    index = build_windows(ramp_store(ramp_recording("01"), ramp_recording("02", onset=4.0)), settings())
    fold = index.fold("fold-0")
    sides = {s: set(fold.table.iloc[fold.rows(s)]["block"]) for s in ("train", "valid", "test")}
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["valid"]
    assert fold.summary()["overlap"] == 0
    assert fold.audit["sentences_compared"] == 10


def test_leave_one_run_out_tests_each_run_once_and_refuses_a_stimulus_heard_twice() -> None:
    runs = [ramp_recording("01", stimulus=f"story{k}", run=f"{k}") for k in range(4)]
    index = build_windows(ramp_store(*runs), settings(split={"rule": "leave-one-run-out"}))
    assert index.folds == ["fold-0", "fold-1", "fold-2", "fold-3"]
    for k, name in enumerate(index.folds):
        fold = index.fold(name)
        assert set(fold.table.iloc[fold.rows("test")]["run"]) == {f"{k}"}
        assert set(fold.table.iloc[fold.rows("train")]["run"]) == {f"{j}" for j in range(4)} - {
            f"{k}",
            f"{(k + 1) % 4}",
        }
    runs[3] = ramp_recording("01", stimulus="story0", run="3")
    leaky = build_windows(ramp_store(*runs), settings(split={"rule": "leave-one-run-out"}))
    with pytest.raises(LeakageError, match="of stimulus story0 stands in train and test"):
        leaky.fold("fold-0")


def test_a_sentence_in_train_and_test_is_refused_even_when_spoken_in_another_file() -> None:
    first, second = ramp_recording("01", stimulus="one", run="1"), ramp_recording("01", stimulus="two", run="2")
    third = ramp_recording("01", stimulus="three", run="3")
    shared = "the very same long sentence"
    for recording in (first, third):
        row = recording.events.index[recording.events["kind"] == "sentence"][3]
        recording.events.loc[row, "label"] = shared
    index = build_windows(
        ramp_store(first, second, third), settings(split={"rule": "run", "test_runs": ["3"], "valid_runs": ["2"]})
    )
    with pytest.raises(LeakageError, match="the very same long sentence"):
        index.fold("fold-0")


def test_an_empty_side_is_named_with_the_next_move() -> None:
    index = build_windows(ramp_store(ramp_recording(sentence_starts=(0.0,))), settings())
    with pytest.raises(NeurodecodeError, match="no window is left for"):
        index.fold("fold-0")


def test_a_recording_without_stimuli_is_refused_in_one_line() -> None:
    recording = ramp_recording()
    store = ramp_store(recording)
    recording.events = recording.events[recording.events["kind"] == "word"]
    with pytest.raises(NeurodecodeError, match="no window found") as error:
        build_windows(store, settings())
    assert "\n" not in str(error.value)


def test_shuffling_the_recordings_changes_no_identity() -> None:
    a, b = ramp_recording("01", stimulus="story"), ramp_recording("02", stimulus="other", onset=6.0)
    forward = build_windows(ramp_store(a, b), settings()).table
    backward = build_windows(ramp_store(b, a), settings()).table
    key = ["stimulus", "stimulus_time", "anchors"]
    merged = forward.merge(backward, on=key)
    assert len(merged) == len(forward)
    assert (merged["identity_x"] == merged["identity_y"]).all()


def test_clocks_between_samples_are_no_leak_and_three_samples_more_are_one() -> None:
    onsets = (2.0, 5.003, 4.0042, 3.0017, 6.0081)
    recordings = [ramp_recording(f"{k}", onset=onset) for k, onset in enumerate(onsets)]
    index = build_windows(ramp_store(*recordings), settings())
    assert index.fold("fold-0").audit["seconds_shared"] == 0
    # neighbours on two sides, and one of them three samples nearer
    fold = index.fold("fold-0")
    table = fold.table[fold.table["anchors"] == "train"]
    side = table.set_index("stimulus_time")["split"]
    border = next(b for b in range(7, 70, 7) if {side[b - 2.5].iloc[0], side[b + 0.5].iloc[0]} == {"train", "valid"})
    index.table.loc[np.isclose(index.table["stimulus_time"], border + 0.5), "stimulus_start"] -= 3 / 120
    with pytest.raises(LeakageError, match="of stimulus story stands in"):
        index.fold("fold-0")


def test_segments_of_many_listeners_are_their_own_words_and_none_is_wider_than_20_ms() -> None:
    # strides count from the start of each recording, and 32 phases 16 ms apart fill the half second between two anchors
    short = {"names": ("A1",), "sentence_starts": (0.0, 7.0, 14.0), "length": 21.0, "seconds": 32.0}
    recordings = [ramp_recording(f"{k:03}", onset=2.0 + k / 64, **short) for k in range(32)]
    index = build_windows(ramp_store(*recordings), settings(train_anchors={"origin": "recording"}))
    train, test = (index.table[index.table["anchors"] == kind] for kind in ("train", "test"))
    for block in range(3):
        places = np.sort(train["stimulus_time"][train["stimulus_time"] // 7 == block])
        assert places[-1] - places[0] > 3.9
        assert np.diff(places).max() < 0.02
    for rows in (train, test):
        spread = rows.groupby("identity")["stimulus_time"].agg(np.ptp)
        assert spread.max() <= 0.02 + 1e-9
    words = test.groupby("identity")["label"].nunique()
    assert (words == 1).all()
    assert len(words) == test["label"].nunique() == 18
    assert (test.groupby("identity").size() == 32).all()
    assert not set(train["identity"]) & set(test["identity"])


@pytest.mark.parametrize(("apart", "count"), [(0.019, 1), (0.021, 2)])
def test_words_19_ms_apart_are_one_segment_and_21_ms_apart_two(apart: float, count: int) -> None:
    recordings = [ramp_recording("01"), ramp_recording("02")]
    events = recordings[1].events
    events.loc[events["kind"] == "word", ["onset", "stimulus_onset"]] += apart
    index = build_windows(ramp_store(*recordings), settings())
    words = index.table[index.table["anchors"] == "test"].groupby("label")["identity"].nunique()
    assert (words == count).sum() > 30  # some words near a border are heard in one recording alone
    assert words.max() == count


def test_three_places_15_ms_apart_are_two_segments_not_a_chain() -> None:
    recordings = [ramp_recording(f"{k}") for k in range(3)]
    for k, recording in enumerate(recordings):
        events = recording.events
        events.loc[events["kind"] == "word", ["onset", "stimulus_onset"]] += 0.015 * k
    index = build_windows(ramp_store(*recordings), settings())
    word = index.table[index.table["label"] == "word14.7"].sort_values("stimulus_time")
    codes = word["identity"].to_numpy()
    assert (codes - codes[0]).tolist() == [0, 0, 1]


def test_events_anchor_windows_only_in_the_stimulus_they_belong_to_and_the_others_are_counted() -> None:
    plain = build_windows(ramp_store(ramp_recording()), settings())
    recording = ramp_recording()
    events = recording.events
    words = events.index[events["kind"] == "word"]
    word = {
        place: words[np.isclose(events.loc[words, "stimulus_onset"], place)][0] for place in (14.7, 21.7, 28.7, 35.7)
    }
    events.loc[word[14.7], ["stimulus", "stimulus_onset"]] = ["", np.nan]
    events.loc[word[21.7], ["stimulus", "stimulus_onset"]] = ["two", 3.0]  # as if 3 s of this story were heard
    events.loc[word[28.7], "onset"] = 1.0  # the story begins at 2 s
    events.loc[word[35.7], "onset"] = np.nan
    other = ramp_recording("02", stimulus="two")
    index = build_windows(ramp_store(recording, other), settings())
    asked = index.table[(index.table["anchors"] == "test") & (index.table["subject"] == 0)]
    lost = {"word14.7", "word21.7", "word28.7", "word35.7"}
    assert set(asked["label"]) == set(plain.table["label"]) - lost - {""}
    np.testing.assert_allclose(asked["stimulus_time"], [float(label[4:]) for label in asked["label"]], atol=1e-9)
    names = ("while nothing is heard", "that belongs to no stimulus", "that belongs to another stimulus than is heard")
    assert {name: index.counts[f"event {name}"] for name in names} == dict.fromkeys(names, 1)
    assert index.counts["event without an onset"] == 1
    assert not [reason for reason in plain.counts if "event" in reason]
    strict = settings(split={"on_unheard": "error"})
    told = "1 x event while nothing is heard, 1 x event that belongs to no stimulus, 1 x event that belongs to another"
    with pytest.raises(NeurodecodeError, match=told) as error:
        build_windows(ramp_store(recording, other), strict)
    assert "\n" not in str(error.value)
    assert build_windows(ramp_store(ramp_recording()), strict).table.equals(plain.table)
    with pytest.raises(NeurodecodeError, match="1 x stimulus not in the store"):
        build_windows(ramp_store(ramp_recording()).__class__([ramp_recording()], {}), strict)
