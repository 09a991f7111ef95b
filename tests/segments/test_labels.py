"""Windows with labels: whole trials, numbers from training windows alone, sides by run, and nothing on two sides."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neurodecode.config.base import validate
from neurodecode.config.labels import LabelSettings
from neurodecode.errors import LeakageError, NeurodecodeError, SettingsError
from neurodecode.recordings.recording import events_table
from neurodecode.segments.label_audit import audit_labels
from neurodecode.segments.labels import LabelIndex, build_labels
from tests.segments.fakes import FakeRecording, FakeStore

RATE = 1000.0
TRIAL, GAP = 300, 10  # samples
WORDS = ["ba", "da", "ga"]
WINDOW: dict[str, Any] = {"tmin": -0.05, "tmax": 0.25, "closed": False, "baseline": None, "shift": 0.0}


@dataclass
class Trials(FakeRecording):
    """A run of trials, kept apart by bad spans; sample = 1000 x run + sample of the run + 1e5 x channel."""

    sha256_signal: str = ""


def run(subject: str, number: int, words: list[str]) -> Trials:
    length = len(words) * (TRIAL + GAP) - GAP
    signal = 10_000.0 * number + np.arange(length) + 1e6 * np.arange(2)[:, None]
    starts = np.arange(len(words)) * (TRIAL + GAP) / RATE
    rows = [{"onset": start + 0.05, "duration": 0.25, "kind": "word", "label": w} for start, w in zip(starts, words)]
    channels = pd.DataFrame({"name": ["A1", "A2"], "x2d": np.nan, "y2d": np.nan, "bad": False})
    return Trials(
        name=f"sub-{subject}_run-{number}",
        subject=subject,
        signal=signal.astype(np.float32),
        channels=channels,
        events=events_table(rows),
        sfreq=RATE,
        run=str(number),
        bad_spans=np.stack([starts[1:] - GAP / RATE, starts[1:]], axis=1),
        sha256_signal=f"{subject}{number}",
    )


def cohort() -> FakeStore:
    """Three subjects with runs 1, 2 and 10 (b also 3; c lacks 10 and has 3), each of 4 x 3 trials."""
    runs = {"a": (10, 2, 1), "b": (1, 2, 3, 10), "c": (1, 2, 3)}
    return FakeStore([run(s, number, WORDS * 4) for s, numbers in runs.items() for number in numbers], {})


def settings(**changes: Any) -> LabelSettings:
    return validate(LabelSettings, {"window": WINDOW} | changes, "test")


def built(store: FakeStore, **changes: Any) -> LabelIndex:
    return build_labels(store, settings(**changes))  # type: ignore[arg-type]


def runs_of(index: LabelIndex, side: str) -> dict[str, set[str]]:
    rows = index.table.iloc[index.rows(side)]
    return {index.subjects[s]: set(rows["run"][rows["subject"] == s]) for s in sorted(set(rows["subject"]))}


def test_each_trial_gives_one_window_of_the_whole_trial() -> None:
    index = built(cohort())
    assert index.n_times == TRIAL
    assert index.counts == {}
    first = index.table[index.table["recording"] == 0]
    assert first["start"].tolist() == [k * (TRIAL + GAP) for k in range(12)]
    assert first["trial"].tolist() == list(range(12))
    assert first["label"].tolist() == WORDS * 4
    assert first["anchor"].to_numpy() == pytest.approx([k * 0.31 + 0.05 for k in range(12)])
    assert len(index.table) == 10 * 12


def test_no_trial_is_lost_to_rounding_of_seconds() -> None:
    # of the ends of bad spans in seconds, times the rate, some lie above the sample that they were made of
    store = FakeStore([run("a", 1, WORDS * 400)], {})
    ends = store.recordings[0].bad_spans[:, 1]
    assert (ends * RATE > np.rint(ends * RATE)).any()
    assert len(built(store).table) == 1200
    assert built(store).counts == {}


def test_a_window_a_sample_longer_than_the_trial_is_not_taken() -> None:
    longer = built(FakeStore([run("a", 1, WORDS)], {}), window=WINDOW | {"tmax": 0.249})
    assert len(longer.table) == 3
    for window in ({"tmax": 0.251}, {"tmin": -0.051}):
        with pytest.raises(
            NeurodecodeError, match=r"not taken: 1 x window leaves the recording, 2 x window overlaps a bad span; there"
        ):
            built(FakeStore([run("a", 1, WORDS)], {}), window=WINDOW | window)


def test_events_that_give_no_window_are_counted() -> None:
    store = FakeStore([run("a", 1, WORDS * 4)], {})
    events = store.recordings[0].events
    events.loc[0, "label"] = " "
    events.loc[1, "onset"] = np.nan
    events.loc[2, "onset"] = 0.0
    events.loc[3, "kind"] = "other"
    events.loc[5, "onset"] = events.loc[4, "onset"]
    index = built(store)
    assert index.counts == {
        "event without a label": 1,
        "event without an onset": 1,
        "two events on one sample": 1,
        "window leaves the recording": 1,
    }
    assert len(index.table) == 12 - 5
    with pytest.raises(
        NeurodecodeError, match="no window around an event of kind phone; there are events of kind other, word"
    ):
        built(store, event="phone")


def test_by_default_the_last_run_of_each_subject_tests_and_the_one_before_validates() -> None:
    index = built(cohort()).fold("fold-0")
    assert runs_of(index, "test") == {"a": {"10"}, "b": {"10"}, "c": {"3"}}
    assert runs_of(index, "valid") == {"a": {"2"}, "b": {"3"}, "c": {"2"}}
    assert runs_of(index, "train") == {"a": {"1"}, "b": {"1", "2"}, "c": {"1"}}
    assert index.audit == {
        "trials_shared": 0,
        "seconds_shared": 0,
        "copies_shared": 0,
        "runs_shared": 0,
        "trials_compared": 120,
    }


def test_named_runs_are_taken_and_others_refused() -> None:
    index = built(cohort(), split={"test_runs": ["1"], "valid_runs": ["2"]}).fold("fold-0")
    assert runs_of(index, "test") == {"a": {"1"}, "b": {"1"}, "c": {"1"}}
    assert runs_of(index, "train") == {"a": {"10"}, "b": {"3", "10"}, "c": {"3"}}
    with pytest.raises(NeurodecodeError, match="split names the runs 4; there are 1, 10, 2, 3"):
        built(cohort(), split={"test_runs": ["4"]}).fold("fold-0")
    with pytest.raises(SettingsError, match="the runs 1 cannot both test and validate"):
        settings(split={"test_runs": ["1"], "valid_runs": ["1"]})
    with pytest.raises(SettingsError, match="test_runs and valid_runs belong to rule run"):
        settings(split={"rule": "paper", "test_runs": ["1"]})


def test_each_run_is_tested_once() -> None:
    index = built(cohort(), split={"rule": "leave-one-run-out"})
    assert index.folds == ["fold-1", "fold-2", "fold-3", "fold-10"]
    tested: Counter[tuple[str, str]] = Counter()
    for name in index.folds:
        chosen = index.fold(name)
        tested.update((s, r) for s, found in runs_of(chosen, "test").items() for r in found)
    assert tested == Counter({(r.subject, r.run): 1 for r in index.recordings})
    chosen = index.fold("fold-10")
    assert runs_of(chosen, "valid") == {"a": {"1"}, "b": {"1"}}  # the one after the last is the first
    assert runs_of(chosen, "train")["c"] == {"1", "2", "3"}
    with pytest.raises(NeurodecodeError, match="there is no fold-0; there are fold-1"):
        index.fold("fold-0")


def test_the_published_split_trains_with_the_first_trials_of_each_label() -> None:
    # of each subject and label: 3 or 4 runs x 4 trials; the first 80 % train, halves of the others validate and test
    index = built(cohort(), split={"rule": "paper"}).fold("fold-0")
    table = index.table
    assert index.audit["runs_shared"] > 0
    for subject, total in enumerate((12, 16, 12)):
        for word in WORDS:
            rows = table[(table["subject"] == subject) & (table["label"] == word)]
            train = int(0.8 * total)
            counts = rows["split"].value_counts().to_dict()
            rest = total - train
            assert counts == {"train": train, "valid": rest // 2, "test": rest - rest // 2}
            # runs are taken in the order of their numbers: only the last ones hold others than training trials
            rank = rows["run"].map({"1": 1, "2": 2, "3": 3, "10": 10})
            assert rank[rows["split"] == "train"].max() <= rank[rows["split"] != "train"].min()


def test_the_published_split_depends_on_seed_and_names_and_not_on_the_order_of_recordings() -> None:
    def sides(store: FakeStore, seed: int) -> dict[tuple[str, int], str]:
        index = built(store, split={"rule": "paper", "seed": seed}).fold("fold-0")
        return {
            (index.recordings[r].name, t): s
            for r, t, s in zip(*(index.table[c] for c in ("recording", "trial", "split")))
        }

    store, shuffled = cohort(), cohort()
    random.Random(0).shuffle(shuffled.recordings)
    assert sides(store, 42) == sides(shuffled, 42)
    assert sides(store, 42) != sides(store, 0)


def test_labels_are_numbered_by_training_windows_alone() -> None:
    # `aa` comes first by the alphabet, but is tested only
    store = FakeStore([run("a", 1, WORDS * 2), run("a", 2, WORDS), run("a", 3, [*WORDS, "aa"])], {})
    with pytest.raises(NeurodecodeError, match="1 windows have labels that no training window has: aa; set unknown to"):
        built(store).fold("fold-0")
    dropped = built(store, unknown="drop").fold("fold-0")
    assert dropped.vocabulary == WORDS
    assert dropped.counts == {"label not in the training windows": 1}
    assert dropped.table["label"].iloc[dropped.rows("test")].tolist() == WORDS
    wrong = built(store, unknown="wrong").fold("fold-0")
    assert wrong.vocabulary == WORDS
    assert wrong.table["identity"].iloc[wrong.rows("test")].tolist() == [0, 1, 2, -1]
    assert wrong.counts == {"label not in the training windows (kept, always wrong)": 1}
    assert wrong.summary()["counts"] == {"train": 6, "valid": 3, "test": 4}


def test_a_given_vocabulary_keeps_its_numbers_whatever_is_absent() -> None:
    vocabulary = ["zz", "ga", "da", "aa", "ba"]
    store = FakeStore([run("a", 1, WORDS * 2), run("a", 2, WORDS), run("a", 3, [*WORDS, "aa"])], {})
    index = built(store, vocabulary=vocabulary, unknown="wrong").fold("fold-0")
    assert index.vocabulary == vocabulary
    # aa has a number, but no training window
    assert index.table["identity"].iloc[index.rows("test")].tolist() == [4, 2, 1, -1]
    with pytest.raises(NeurodecodeError, match="training windows have labels that vocabulary lacks: ga"):
        built(store, vocabulary=["ba", "da"], unknown="drop").fold("fold-0")
    with pytest.raises(SettingsError, match="vocabulary has ba more than once"):
        settings(vocabulary=["ba", "ba"])


def test_overlapping_windows_on_two_sides_are_refused() -> None:
    # continuous: words every 0.1 s, windows of 0.3 s
    recording = run("a", 1, WORDS * 6)
    recording.bad_spans = np.zeros((0, 2))
    rows = [{"onset": 0.1 + 0.1 * k, "kind": "word", "label": WORDS[k % 3]} for k in range(50)]
    recording.events = events_table(rows)
    store = FakeStore([recording], {})
    with pytest.raises(LeakageError, match=r"second \d\.\d\d of sub-a_run-1 stands in \w+ and \w+; split by run"):
        built(store, split={"rule": "paper"}).fold("fold-0")
    short = built(store, split={"rule": "paper"}, window=WINDOW | {"tmax": 0.05}).fold("fold-0")
    assert short.audit["trials_compared"] == 50


def test_the_audit_looks_at_the_windows_and_not_at_the_rule() -> None:
    index = built(cohort()).fold("fold-0")
    table = index.table

    def audited(**changes: Any) -> None:
        audit_labels(replace(index, table=table.assign(**changes)))

    audited()
    test = index.rows("test")
    split = table["split"].to_numpy().copy()
    split[test[0]] = "train"
    with pytest.raises(
        LeakageError, match="fold-0: run 10 of a stands on two sides; the rule run must not cut through"
    ):
        audited(split=split)
    trial = table["trial"].to_numpy().copy()
    trial[test[0]] = trial[test[1]]
    with pytest.raises(
        LeakageError, match="trial 1 of sub-a_run-10 stands on two sides; one event must give one window"
    ):
        audited(split=split, trial=trial)


def test_a_run_that_is_there_twice_must_not_stand_on_two_sides() -> None:
    store = cohort()
    store.recordings[0].sha256_signal = store.recordings[2].sha256_signal  # a copy of run 1 is called run 10
    with pytest.raises(
        LeakageError, match="sub-a_run-10 and sub-a_run-1 hold the same signal and stand on different sides"
    ):
        built(store).fold("fold-0")


def test_batches_are_the_trials_and_their_numbers() -> None:
    index = built(cohort()).fold("fold-0")
    source = index.source()
    rows = index.rows("test")[[0, 5]]
    signal = source.signal(rows).numpy()
    assert signal.shape == (2, 2, TRIAL)
    starts = index.table["start"].iloc[rows].to_numpy()
    expected = 10_000 * 10 + starts[:, None, None] + 1e6 * np.arange(2)[None, :, None] + np.arange(TRIAL)
    np.testing.assert_array_equal(signal, expected.astype(np.float32))
    batch = source[rows]
    assert batch.identity.tolist() == [0, 2]  # ba, ga
    assert batch.subject.tolist() == [0, 0]
    assert batch.signal.shape == (2, 2, TRIAL)


def test_scaling_sees_training_trials_only() -> None:
    store = cohort()
    before = built(store).fold("fold-0").source(fit=True).scalers
    for recording in store.recordings:
        if recording.run == "10" or (recording.subject, recording.run) in {
            ("a", "2"),
            ("b", "3"),
            ("c", "2"),
            ("c", "3"),
        }:
            recording.signal = recording.signal + 1e5
    after = built(store).fold("fold-0").source(fit=True).scalers
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.center.numpy(), after.center.numpy())
    np.testing.assert_array_equal(before.scale.numpy(), after.scale.numpy())
    batch = built(store).fold("fold-0").source(fit=True)
    train = batch[batch.index.rows("train")].signal
    assert abs(float(train.mean())) < 0.05


def test_one_subject_can_be_taken_alone_and_others_are_refused() -> None:
    index = build_labels(cohort(), settings(), ("b",))  # type: ignore[arg-type]
    assert index.subjects == ["b"]
    assert len(index.table) == 48
    with pytest.raises(NeurodecodeError, match="no recording of subject z; there are a, b, c"):
        build_labels(cohort(), settings(), ("z",))  # type: ignore[arg-type]


def test_two_runs_are_too_few() -> None:
    store = FakeStore([run("a", 1, WORDS), run("a", 2, WORDS)], {})
    with pytest.raises(
        NeurodecodeError, match=r"fold-0: no window is left for train|labels that no training window has"
    ):
        built(store, unknown="drop").fold("fold-0")
    with pytest.raises(NeurodecodeError, match="leave-one-run-out needs at least 3 runs"):
        built(store, split={"rule": "leave-one-run-out"})


COHORT = {"scope": "cohort", "brain": "standard", "feature": "none"}


def people(number: int, runs: int = 2) -> FakeStore:
    return FakeStore([run(f"{s:02d}", r, WORDS * 2) for s in range(number) for r in range(1, runs + 1)], {})


def test_whole_people_are_held_out_each_tested_once() -> None:
    index = built(people(5), split={"rule": "subjects"}, scaling=COHORT)
    assert index.folds == [f"fold-{k}" for k in range(5)]
    tested = []
    for name in index.folds:
        fold = index.fold(name)
        sides = {side: set(fold.table["subject"].iloc[fold.rows(side)]) for side in ("train", "valid", "test")}
        assert [len(sides[side]) for side in ("train", "valid", "test")] == [3, 1, 1]
        assert len(sides["train"] | sides["valid"] | sides["test"]) == 5
        assert fold.summary()["counts"] == {"train": 36, "valid": 12, "test": 12}
        tested += sides["test"]
    assert sorted(tested) == [0, 1, 2, 3, 4]


def test_people_are_dealt_into_parts_whatever_the_order_of_recordings() -> None:
    def tested(store: FakeStore, seed: int) -> list[set[str]]:
        index = built(store, split={"rule": "subjects", "parts": 3, "seed": seed}, scaling=COHORT)
        folds = [index.fold(name) for name in index.folds]
        return [{index.subjects[s] for s in f.table["subject"].iloc[f.rows("test")]} for f in folds]

    store = people(7)
    dealt = tested(store, 1)
    assert sorted(map(len, dealt)) == [2, 2, 3]
    assert set.union(*dealt) == {f"{s:02d}" for s in range(7)}
    assert tested(FakeStore(store.recordings[::-1], {}), 1) == dealt
    assert any(tested(store, seed) != dealt for seed in (2, 3, 4))


def test_a_person_on_two_sides_is_found() -> None:
    index = built(people(4), split={"rule": "subjects"}, scaling=COHORT).fold("fold-0")
    split = index.table["split"].to_numpy().copy()
    split[(index.table["subject"] == 0) & (index.table["run"] == "2")] = "train"
    with pytest.raises(
        LeakageError, match="fold-0: 00 stands on two sides; the rule subjects must hold out whole people"
    ):
        audit_labels(replace(index, table=index.table.assign(split=split)))


def test_held_out_people_are_scaled_by_the_people_of_training() -> None:
    store = people(4)
    before = built(store, split={"rule": "subjects"}, scaling=COHORT).fold("fold-0").source(fit=True).scalers
    for recording in store.recordings:
        if recording.subject in ("00", "01"):  # tested, validates
            recording.signal = 3 * recording.signal
    after = built(store, split={"rule": "subjects"}, scaling=COHORT).fold("fold-0").source(fit=True).scalers
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.center.numpy(), after.center.numpy())
    np.testing.assert_array_equal(before.scale.numpy(), after.scale.numpy())
    assert (before.center == before.center[0]).all()


def test_splits_of_people_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        SettingsError, match="scaling.scope is subject, but by split.rule subjects .* set scaling.scope to"
    ):
        settings(split={"rule": "subjects"})
    with pytest.raises(SettingsError, match="parts belongs to rule subjects, not to rule run"):
        settings(split={"parts": 3})
    with pytest.raises(NeurodecodeError, match="2 subjects cannot be dealt into 3 parts"):
        built(people(2), split={"rule": "subjects"}, scaling=COHORT)
    with pytest.raises(NeurodecodeError, match="4 subjects cannot be dealt into 5 parts"):
        built(people(4), split={"rule": "subjects", "parts": 5}, scaling=COHORT)
