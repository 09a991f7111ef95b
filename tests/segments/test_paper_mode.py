"""The published protocol to the letter (specification, section 3): every number recomputed here from the stated rule."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.config import SegmentSettings, SplitSettings, TrainSettings, load_settings
from neurodecode.errors import NeurodecodeError
from neurodecode.recordings.recording import events_table
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.blocks import assign, blocks_of_stimulus, merged_blocks
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.segments.fakes import FakeFeature, FakeFeatures, FakeRecording, channel_table, ramp_recording, ramp_store

PAPER = load_settings(TrainSettings, "paper", "configs/training").segments
RATE = 120.0

# what the rule of section 3.3 gives with seed 12: u < 0.2 test, < 0.3 valid, else train
KNOWN = {
    "they sat in the sun": (0.1813, "test"),
    "he was an old man who fished alone": (0.2022, "valid"),
    "and a fox ran by": (0.3471, "train"),
    "the old man and the sea": (0.9637, "train"),
    "one sentence,another sentence": (0.4619, "train"),
}


def stated_side(uid: str, seed: int = 12) -> tuple[float, str]:
    """Section 3.3: first uniform draw of Python's Random seeded with int(sha256(uid)) + seed."""
    draw = random.Random(int(hashlib.sha256(uid.encode("utf-8")).hexdigest(), 16) + seed).random()
    return draw, "test" if draw < 0.2 else "valid" if draw < 0.3 else "train"


def stated_blocks(onsets: list[float], longer_than: float = 6.0) -> list[tuple[float, float, list[int]]]:
    """Section 3.3: a sentence ends where the next begins, the last never; merged until longer; the first begins at 0."""
    result, begin, members = [], 0.0, []
    for number in range(len(onsets)):
        members.append(number)
        end = onsets[number + 1] if number < len(onsets) - 1 else float("inf")
        if end > begin + longer_than:
            result.append((begin, end, members))
            begin, members = end, []
    return result


def cohort(*onsets: float, length: float = 70.0, begin: float = 2.0, subject: str = "01") -> FakeRecording:
    return ramp_recording(subject, sentence_starts=onsets, length=length, onset=begin, seconds=length + 12)


def index_of(*recordings: FakeRecording, **split) -> WindowIndex:
    settings = PAPER.model_copy(update={"split": PAPER.split.model_copy(update=split)})
    return build_windows(ramp_store(*recordings), settings)


def test_the_preset_states_the_published_numbers() -> None:
    window, scaling, split = PAPER.window, PAPER.scaling, PAPER.split
    assert (window.tmin, window.tmax, window.closed, window.baseline, window.shift) == (
        -0.5,
        2.5,
        True,
        (-0.5, 0),
        0.15,
    )
    assert (scaling.brain, scaling.clamp, scaling.feature, scaling.feature_where) == ("robust", 20, "global", "word")
    assert (scaling.scope, scaling.fit_windows, scaling.feature_windows) == ("recording", 256, 8000)
    assert (split.rule, split.unit, split.seed, split.test, split.valid, split.block_seconds) == (
        "content",
        "block",
        12,
        0.2,
        0.1,
        6,
    )
    train, test = PAPER.train_anchors, PAPER.test_anchors
    assert (train.kind, train.stride, train.origin, test.kind, test.event) == (
        "stride",
        0.5,
        "recording",
        "event",
        "word",
    )


def test_a_window_has_361_samples_of_which_the_shift_of_18_leaves_343() -> None:
    index = index_of(cohort(0.0, 7.0, 14.0))
    assert (index.n_times, index.shift) == (361, 18)
    assert index.n_times == round(3.0 * RATE) + 1
    assert index.shift == int(0.15 * RATE) == 18
    batches = BatchSource(index, FakeFeatures())
    assert batches.n_times == 343


@pytest.mark.parametrize(("sfreq", "shift"), [(120.0, 18), (100.0, 15), (128.0, 19), (60.0, 9), (50.0, 7)])
def test_the_shift_is_the_whole_samples_in_150_ms(sfreq: float, shift: int) -> None:
    index = build_windows(ramp_store(ramp_recording(sfreq=sfreq)), PAPER)
    assert index.shift == shift


def test_given_texts_stand_on_the_side_that_the_rule_gives_them_with_seed_12() -> None:
    for text, (draw, side) in KNOWN.items():
        assert stated_side(text)[0] == pytest.approx(draw, abs=5e-5)
        assert stated_side(text)[1] == side == assign(text, PAPER.split)


@given(st.text(max_size=60), st.integers(0, 100))
def test_any_text_stands_on_the_side_that_the_rule_gives_it(text: str, seed: int) -> None:
    assert assign(text, SplitSettings(seed=seed)) == stated_side(text, seed)[1]


def test_sides_of_windows_are_those_of_the_joined_texts_of_their_blocks() -> None:
    onsets = [float(t) for t in np.arange(0, 150, 2.5)]
    index = index_of(cohort(*onsets, length=152.0), repeated="error")
    fold = index.fold("fold-0")
    blocks = stated_blocks(onsets)
    checked = 0
    for row in fold.table[fold.table["split"] != ""].itertuples():
        begin, end, members = next(b for b in blocks if b[0] <= row.stimulus_time < b[1])
        uid = ",".join(f"story sentence number {onsets[m]:g} of them" for m in members)
        assert row.split == stated_side(uid)[1]
        assert begin - 1e-6 <= row.stimulus_time - 0.5
        assert row.stimulus_time + 2.5 - 0.5 / RATE < end
        checked += 1
    assert checked > 100
    assert set(fold.table["split"]) == {"train", "valid", "test", ""}


def test_blocks_of_given_onsets_have_the_borders_of_the_rule() -> None:
    # 0-2.5-5-7: the first border beyond 6 s is 7; then 7-13 is no longer than 6 s, 13.5 is; the rest has no end
    onsets = [1.0, 2.5, 5.0, 7.0, 10.0, 13.0, 13.5, 20.0]
    blocks = merged_blocks([(t, f"s{k}") for k, t in enumerate(onsets)], 6.0)
    assert [(b.start, b.stop) for b in blocks] == [(0.0, 7.0), (7.0, 13.5), (13.5, 20.0), (20.0, float("inf"))]
    assert [b.uid for b in blocks] == ["s0,s1,s2", "s3,s4,s5", "s6", "s7"]


def test_the_first_block_is_measured_from_0_not_from_its_first_sentence() -> None:
    # 4 s of silence, then sentences of 3 s: from 0 to 7 is longer than 6 s, from 4 to 7 would not be
    for make in (
        lambda s: merged_blocks(s, 6.0),
        lambda s: blocks_of_stimulus(s, "hash", 30.0, SplitSettings()),
    ):
        blocks = make([(4.0, "a"), (7.0, "b"), (10.0, "c"), (14.0, "d")])
        assert (blocks[0].start, blocks[0].stop, blocks[0].sentences) == (0.0, 7.0, ("a",))


@given(st.lists(st.floats(0.3, 9.0), min_size=1, max_size=30), st.floats(0.0, 8.0))
def test_blocks_of_any_onsets_have_the_borders_of_the_rule(lengths: list[float], first: float) -> None:
    onsets = [float(t) for t in first + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])]
    blocks = merged_blocks([(t, f"s{k}") for k, t in enumerate(onsets)], 6.0)
    expected = [(begin, end, tuple(f"s{m}" for m in members)) for begin, end, members in stated_blocks(onsets)]
    assert [(b.start, b.stop, b.sentences) for b in blocks] == expected
    assert all(b.stop - b.start > 6.0 for b in blocks)


def test_training_anchors_lie_every_half_second_of_the_recording_inside_the_blocks() -> None:
    index = index_of(cohort(0.0, 7.3, 15.1, length=25.0, begin=2.2))
    train = index.table[index.table["anchors"] == "train"]
    expected = []
    for begin, end in ((0.0, 7.3), (7.3, 15.1), (15.1, 25.0)):  # the story ends at 25 s
        expected += [a for a in np.arange(0, 40, 0.5) if begin + 2.2 + 0.5 <= a and a + 2.5 - 0.5 / RATE < end + 2.2]
    np.testing.assert_allclose(train["anchor"], expected)
    np.testing.assert_array_equal(train["start"], np.round((np.array(expected) - 0.5) * RATE).astype(int))
    assert index.counts["window crosses a block border"] > 0


def test_a_window_may_end_half_a_sample_before_its_block_and_not_later() -> None:
    # a block of exactly 3 s after its anchor + 0.5: the last sample faces the border, half a sample is forgiven
    index = index_of(cohort(0.0, 7.5, 15.0, begin=2.0))
    train = index.table[index.table["anchors"] == "train"]
    places = train["stimulus_time"].to_numpy()
    assert 5.0 in places  # 5 + 2.5 = 7.5: the sample on the border itself
    assert not ((places > 5.0) & (places < 8.0)).any()  # 7.5 + 0.5 is the next block's first
    assert 8.0 in places


def test_test_anchors_are_the_words_and_the_first_word_of_a_block_is_none() -> None:
    index = index_of(cohort(0.0, 7.0, 14.0, length=21.0))
    test = index.table[index.table["anchors"] == "test"]
    words = [s + 0.7 * k for s in (0.0, 7.0, 14.0) for k in range(10)]
    expected = [w for w in words if any(b + 0.5 <= w + 1e-9 and w + 2.5 - 0.5 / RATE < b + 7 for b in (0.0, 7.0, 14.0))]
    np.testing.assert_allclose(test["stimulus_time"], expected, atol=1e-9)
    assert test["label"].tolist() == [f"word{w:.1f}" for w in expected]
    assert not set(test["label"]) & {"word0.0", "word7.0", "word14.0"}


def test_the_baseline_is_the_mean_of_61_samples_from_minus_half_a_second_to_0() -> None:
    index = index_of(cohort(0.0, 7.0, 14.0))
    batches = BatchSource(index, FakeFeatures())
    rows = np.arange(0, len(index.table), 5)
    signal = batches.signal(rows)
    expected = signal - signal[:, :, : int(0.5 * RATE) + 1].double().mean(-1, keepdim=True)
    torch.testing.assert_close(batches.baselined(rows).double(), expected, atol=1e-4, rtol=0)
    assert int(0.5 * RATE) + 1 == 61


class Story:
    """Feature of three dimensions whose values are known at every 120 Hz sample."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.values = (5 + 3 * rng.standard_normal((9000, 3))).astype(np.float32)

    def get(self, name: str) -> FakeFeature:
        return FakeFeature(self.values, RATE, 0.0)


def spoken(duration: float = 0.4) -> FakeRecording:
    """Words of 0.4 s every 0.7 s, on the clock of the samples: 48 of 84 samples are spoken."""
    recording = cohort(*[7.0 * k for k in range(9)], length=63.0)
    recording.events.loc[recording.events["kind"] == "word", "duration"] = duration
    return recording


def test_features_are_scaled_by_one_mean_and_deviation_of_the_samples_at_which_a_word_sounds() -> None:
    fold = index_of(spoken(), seed=3, test=0.3, valid=0.2).fold("fold-0")
    batches, story = BatchSource(fold, Story()), Story()
    scalers = batches.fit_scalers()
    taken = []
    for row in fold.table.iloc[fold.rows("train")].itertuples():
        first = round(row.stimulus_start * RATE)
        for sample in range(first, first + 361):
            if any(w <= sample / RATE + 1e-9 < w + 0.4 - 1e-9 for w in 0.7 * np.arange(90)):
                taken.append(story.values[sample])
    taken = np.array(taken, np.float64)
    assert 0.4 < len(taken) / (361 * len(fold.rows("train"))) < 0.7
    np.testing.assert_allclose(scalers.feature_mean, taken.mean(), rtol=2e-4)
    np.testing.assert_allclose(scalers.feature_std, taken.std(ddof=1), rtol=2e-4)
    assert len(set(scalers.feature_mean.tolist())) == 1  # one scalar


def test_without_a_word_that_lasts_the_scaler_says_so() -> None:
    fold = index_of(spoken(duration=0.0), seed=3, test=0.3, valid=0.2).fold("fold-0")
    with pytest.raises(NeurodecodeError, match="feature_where: word, but no word with a duration"):
        BatchSource(fold, Story()).fit_scalers()


def test_at_most_so_many_windows_scale_the_features_and_pieces_change_nothing(monkeypatch) -> None:
    fold = index_of(spoken(), seed=3, test=0.3, valid=0.2).fold("fold-0")
    settings = fold.settings.model_copy(
        update={
            "scaling": fold.settings.scaling.model_copy(update={"feature_where": "everywhere", "feature_windows": 9})
        }
    )
    fold.settings = settings
    batches = BatchSource(fold, Story())
    asked: list[int] = []
    target = batches.target

    def counted(rows, samples=None):
        asked.append(len(rows))
        return target(rows, samples)

    monkeypatch.setattr(batches, "target", counted)
    whole = batches.fit_scalers()
    assert sum(asked) == 9
    monkeypatch.setattr("neurodecode.segments.scaling.PIECE", 2)
    parts = batches.fit_scalers()
    torch.testing.assert_close(parts.feature_mean, whole.feature_mean)
    torch.testing.assert_close(parts.feature_std, whole.feature_std)
    for kind in ("dimension", "global"):
        fold.settings = settings.model_copy(
            update={"scaling": settings.scaling.model_copy(update={"feature": kind, "feature_windows": 8000})}
        )
        batches = BatchSource(fold, Story())
        scalers = batches.fit_scalers()
        values = batches.target(fold.rows("train")).double()
        if kind == "dimension":
            np.testing.assert_allclose(scalers.feature_mean, values.mean((0, 2)), rtol=1e-5)
            np.testing.assert_allclose(scalers.feature_std, values.std((0, 2)), rtol=1e-5)
        else:
            np.testing.assert_allclose(scalers.feature_mean, values.mean(), rtol=1e-5)
            np.testing.assert_allclose(scalers.feature_std, values.std(), rtol=1e-5)


@pytest.mark.parametrize("n", [4, 5, 7, 10, 4 * 361])
def test_the_robust_scaler_takes_the_sorted_value_at_index_int_of_q_n(n: int, monkeypatch) -> None:
    from neurodecode.segments import scaling

    values = torch.from_numpy(np.random.default_rng(n).permutation(n).astype(np.float32))

    class Given:
        def baselined(self, rows: np.ndarray) -> torch.Tensor:
            return values[None, None]  # [1, 1, n]

    middle, spread = scaling._statistics(Given(), np.arange(1), "robust")
    ordered = sorted(values.tolist())
    assert middle.item() == ordered[int(0.5 * n)]
    assert spread.item() == ordered[int(0.75 * n)] - ordered[int(0.25 * n)]


def test_order_of_work_is_baseline_scale_clamp_shift() -> None:
    recording = spoken()
    rng = np.random.default_rng(1)
    recording.signal = rng.standard_normal(recording.signal.shape).astype(np.float32)
    recording.signal[1, 1000::97] = 500.0
    fold = index_of(recording, seed=3, test=0.3, valid=0.2).fold("fold-0")
    batches = BatchSource(fold, Story())
    scalers = batches.fit_scalers()
    rows = fold.rows("train")[:20]
    for number, batch_row in zip(rows, batches[rows].signal):
        start = fold.table["start"].to_numpy()[number]
        window = recording.signal[:, start : start + 361].astype(np.float64)
        window -= window[:, :61].mean(1, keepdims=True)
        window = (window - scalers.center[0].numpy()[:, None]) / scalers.scale[0].numpy()[:, None]
        np.testing.assert_allclose(batch_row, np.clip(window, -20, 20)[:, 18:], atol=1e-4)
    assert batches[fold.rows("train")].signal.max() == 20.0


class TestBlocksOfARecording:
    """`extent: recording`: sentences of all sounds in their order, as published."""

    def recording(self, subject: str = "01", jitter: float = 0.0) -> FakeRecording:
        seconds = 130.0
        times = np.arange(round(seconds * RATE)) / RATE
        rows = []
        for name, begin, count in (("one", 3.0, 10), ("two", 50.0, 12)):
            rows.append(
                dict(onset=begin + jitter, duration=4.0 * count + 3, kind="stimulus", stimulus=name, stimulus_onset=0)
            )
            for k in range(count):
                at = 1.0 + 4.0 * k
                text = f"{name} sentence number {k} is this"
                rows.append(
                    dict(onset=begin + jitter + at, kind="sentence", label=text, stimulus=name, stimulus_onset=at)
                )
        return FakeRecording(
            f"sub-{subject}",
            subject,
            np.stack([times] * 2).astype(np.float32),
            channel_table(["A1", "A2"]),
            events_table(rows),
        )

    def test_blocks_go_on_across_sounds_and_have_the_borders_of_the_rule(self) -> None:
        recording = self.recording()
        store = ramp_store(recording)
        store.stimuli["two"] = type(store.stimuli["one"])("two", "hash-of-two")
        settings = PAPER.model_copy(
            update={
                "split": PAPER.split.model_copy(update={"extent": "recording"}),
                "test_anchors": PAPER.train_anchors,
            }
        )
        index = build_windows(store, settings)
        sentences = recording.events[recording.events["kind"] == "sentence"]
        onsets, texts = sentences["onset"].tolist(), sentences["label"].tolist()
        blocks = stated_blocks(onsets)
        assert (blocks[0][0], blocks[0][1]) == (0.0, 8.0)  # the first sentence begins at 4 s, the second at 8 s
        across = [b for b in blocks if {texts[m].split()[0] for m in b[2]} == {"one", "two"}]
        assert len(across) <= 1
        for row in index.table.itertuples():
            begin, end, members = next(b for b in blocks if b[0] <= row.anchor < b[1])
            assert begin - 1e-6 <= row.anchor - 0.5
            assert row.anchor + 2.5 - 0.5 / RATE < end
            assert index.blocks[row.block].uid == ",".join(texts[m] for m in members)
        assert len(index.table) > 40
        assert index.borders["one"][0] == pytest.approx(5.0)  # 8 s of the recording

    def test_the_last_block_is_not_joined_to_the_one_before(self) -> None:
        onsets = [0.0, 7.0, 14.0, 21.0]
        joined = blocks_of_stimulus([(t, "s") for t in onsets], "hash", 23.0, SplitSettings())
        assert [b.start for b in joined] == [0.0, 7.0, 14.0]
        assert [b.start for b in merged_blocks([(t, "s") for t in onsets], 6.0)] == onsets

    def test_clocks_that_differ_give_the_same_blocks(self) -> None:
        store = ramp_store(self.recording("01"), self.recording("02", jitter=0.004))
        store.stimuli["two"] = type(store.stimuli["one"])("two", "hash-of-two")
        settings = SegmentSettings.model_validate(
            {"split": {"extent": "recording"}, "test_anchors": {"kind": "stride"}, "train_anchors": {"kind": "stride"}}
        )
        index = build_windows(store, settings)
        per_subject = [set(index.table.loc[index.table["subject"] == s, "block"]) for s in (0, 1)]
        assert per_subject[0] == per_subject[1]
        assert all(b - a > 0.1 for name in index.borders for a, b in zip(index.borders[name], index.borders[name][1:]))

    def test_a_recording_without_sentences_is_refused(self) -> None:
        recording = ramp_recording()
        recording.events = recording.events[recording.events["kind"] != "sentence"]
        with pytest.raises(NeurodecodeError, match="segments.split.extent=stimulus") as error:
            index_of(recording, extent="recording")
        assert "\n" not in str(error.value)


def test_paper_and_released_differ_where_the_article_and_its_code_do() -> None:
    paper, code = (load_settings(TrainSettings, name, "configs/training") for name in ("paper_wav2vec2", "released"))
    assert (paper.features.layers, code.features.layers) == ((-4, -3, -2, -1), (14, 15, 16, 17, 18))
    assert paper.features.encoder == code.features.encoder == "facebook/wav2vec2-large-xlsr-53"
    assert (paper.segments.split.extent, code.segments.split.extent) == ("stimulus", "recording")
    assert (paper.segments.split.repeated, code.segments.split.repeated) == ("together", "apart")
    # all of the batch are candidates, or those of one of the two devices
    assert (paper.objective.negatives, code.objective.negatives) == (None, 128)
    # what is the same in both: model, else the objective, windows, scaling, seeds; and both keep blocks apart
    assert paper.features.extent == code.features.extent == "block"
    assert (paper.model, paper.objective, paper.training, paper.seed) == (
        code.model,
        code.objective.model_copy(update={"negatives": None}),
        code.training,
        code.seed,
    )
    assert (paper.segments.window, paper.segments.scaling) == (code.segments.window, code.segments.scaling)
    assert (code.training.batch_size, code.training.epochs, code.training.steps_per_epoch) == (256, 200, 1200)
    assert (code.training.learning_rate, code.training.patience, code.seed) == (3e-4, 10, 2036)
    # the one signature that the authors quote for MEG-MASC
    quoted = load_settings(TrainSettings, "released_batch_128", "configs/training")
    assert quoted.training.batch_size == 128
    same = {"name": "", "training": code.training}
    assert quoted.model_copy(update=same) == code.model_copy(update=same)


def test_the_page_names_the_tests_of_the_published_numbers() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "contrastive.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)`:? `?(test_\w+)?", page)
    assert len([test for _, test in named if test]) >= 12
    for file, test in named:
        assert not test or f"def {test}(" in (root / file).read_text(encoding="utf-8"), f"{file}: {test}"
