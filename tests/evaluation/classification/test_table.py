"""One table: a planted signal is found by every method, noise by none, test windows choose nothing, answers are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neurodecode.config.base import validate
from neurodecode.config.baselines import BandPowerSettings, BaselineSettings, LdaMethod
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.classification import linear
from neurodecode.evaluation.classification import table as module
from neurodecode.evaluation.classification.codebook import unlabelled
from neurodecode.evaluation.classification.linear import features
from neurodecode.evaluation.classification.table import run_baselines
from neurodecode.evaluation.classification.tables import baselines_table
from neurodecode.evaluation.classification.trials import scaled, trials_of
from neurodecode.files import read_json
from neurodecode.segments.labels import build_labels
from tests.evaluation.classification.cohorts import BANDS, cohort, coloured, noise, people_held_out, settings
from tests.segments.fakes import FakeStore

LDA = {"kind": "lda", "power": BANDS}
RIDGE = {"kind": "ridge", "power": BANDS}
RIEMANN = {"kind": "riemann"}
TRAINING = {"epochs": 15, "batch_size": 16, "learning_rate": 5e-3}
SPECTROGRAM = {"kind": "network", "network": "SpectrogramCnn", "options": {"segment": 0.3}, "training": TRAINING}
GRU = {
    "kind": "network",
    "network": "EnvelopeGru",
    "options": {"band": None, "hidden": 12, "stride": 2, "layers": 1},
    "training": TRAINING,
}
EEGNET = {"kind": "network", "network": "EEGNet", "options": {"kernel_length": 32}, "training": TRAINING}
ENCODER = {
    "mixed_channels": 6,
    "patch": 20,
    "filters": [8, 8, 4],
    "kernels": [5, 3, 3],
    "strides": [5, 1, 1],
    "depth": 1,
    "heads": 2,
    "head_width": 8,
    "feed_forward": 32,
}
STAGE = {"epochs": 8, "batch_size": 16, "learning_rate": 5e-3, "warmup": 1}
CODEBOOK: dict[str, Any] = {"kind": "codebook", "model": {"encoder": ENCODER, "hidden": [16]}, "training": STAGE}
PRETRAINED = CODEBOOK | {
    "pretraining": {
        "tokenizer": {"encoder": ENCODER, "decoder_depth": 1, "quantizer": {"codes": 16, "dimension": 8}},
        "masked": {"encoder": ENCODER},
        "stride": 0.3,
        "tokenizer_training": STAGE | {"epochs": 1, "warmup": 0},
        "masked_training": STAGE | {"epochs": 1, "warmup": 0},
    }
}


def run(store: FakeStore, out: Path, methods: dict[str, Any], say=lambda line: None, **changes: Any) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Store", lambda path: store)
        return run_baselines(settings(methods, **changes), Path("fake-store"), out, say=say)


def row(result: dict[str, Any], method: str, scaling: str | None = "training") -> dict[str, Any]:
    return next(r for r in result["rows"] if r["method"] == method and r["scaling"] in (scaling, None))


def value(result: dict[str, Any], method: str, figure: str = "accuracy", scaling: str = "training") -> float:
    return row(result, method, scaling)["metrics"][figure]["value"]


@pytest.mark.parametrize(
    "method", [LDA, RIDGE, SPECTROGRAM, GRU, EEGNET, CODEBOOK], ids=["lda", "ridge", "cnn", "gru", "eegnet", "codebook"]
)
def test_every_method_finds_what_was_planted(tmp_path, method) -> None:
    result = run(cohort(), tmp_path / "out", {"it": method})
    assert result["n_windows"] == 32
    assert value(result, "it") > 0.6
    assert value(result, "chance") == 0.25
    confusion = np.array(row(result, "it")["confusion"])
    assert confusion.sum() == pytest.approx(32)
    assert np.trace(confusion) / 32 == pytest.approx(value(result, "it"))


def test_linear_methods_are_at_chance_on_noise_and_probabilities_are_no_better_than_frequencies(tmp_path) -> None:
    result = run(noise(people=3, trials=64), tmp_path / "out", {"lda": LDA, "ridge": RIDGE})
    for method in ("lda", "ridge"):
        assert abs(value(result, method) - 0.25) < 0.13  # 192 windows: three standard errors are 0.09
    assert value(result, "lda", "cross_entropy") > np.log(4) - 0.02
    assert value(result, "majority", "cross_entropy") == pytest.approx(np.log(4), abs=0.05)


def test_the_riemannian_method_finds_a_covariance_and_says_what_is_absent(tmp_path, monkeypatch) -> None:
    pytest.importorskip("pyriemann")
    store = cohort()
    rng = np.random.default_rng(0)
    for recording in store.recordings:  # words differ in which two channels go together, not in a rhythm
        recording.signal = rng.standard_normal(recording.signal.shape).astype(np.float32)
        for onset, label in zip(recording.events["onset"], recording.events["label"]):
            start = round((onset - 0.1) * 100)
            pair = {"ba": (0, 1), "da": (1, 2), "ga": (0, 2), "ka": (0, 0)}[label]
            recording.signal[pair[1], start : start + 60] = recording.signal[pair[0], start : start + 60] + 0.3 * (
                rng.standard_normal(60)
            )
    result = run(store, tmp_path / "out", {"riemann": RIEMANN, "lda": LDA})
    assert value(result, "riemann") > 0.9
    assert value(result, "lda") < 0.5
    import sys

    monkeypatch.setitem(sys.modules, "pyriemann", None)
    with pytest.raises(
        SettingsError, match=r"need pyriemann, which is not installed; pip install 'neurodecode\[riemann\]'"
    ):
        run(store, tmp_path / "other", {"riemann": RIEMANN})


def test_pretraining_sees_no_test_recording_and_the_classifier_starts_from_it(tmp_path) -> None:
    store = cohort(people=3, trials=16, runs=(1, 2))
    result = run(store, tmp_path / "out", {"it": PRETRAINED}, labels=people_held_out())
    assert value(result, "it") > 0.4
    chosen = settings({"it": PRETRAINED}, labels=people_held_out())
    fold = build_labels(store, chosen.labels).fold("fold-1")  # type: ignore[arg-type]
    trials = trials_of(fold, scaled(fold, "training"), "training", None)
    data = unlabelled(trials, 0.3)
    recordings = {
        side: {fold.recordings[i].subject for i in data.index.table["recording"].iloc[rows]}
        for side, rows in (("train", data.train), ("valid", data.valid))
    }
    assert recordings == {"train": {"1"}, "valid": {"3"}}
    assert len(data.test) == 0
    assert data[data.train[:5]].signal.shape == (5, 3, 60)
    # once tokenizer, masked encoder and classifier are done, no checkpoint of theirs is trained again
    done = sorted(str(p.relative_to(tmp_path / "out" / "work")).split("/", 1)[1] for p in tmp_path.rglob("done.pt"))
    assert done == ["classifier/done.pt"] * 3 + ["masked/done.pt"] * 3 + ["tokenizer/done.pt"] * 3


def test_people_held_out_differ_in_colour_and_scaling_by_own_windows_mends_it(tmp_path) -> None:
    store = coloured(cohort(people=4, trials=24, runs=(1, 2)))
    result = run(store, tmp_path / "out", {"lda": LDA}, labels=people_held_out(), scaling=["training", "person"])
    assert value(result, "lda", scaling="person") > 0.9
    assert value(result, "lda", scaling="person") > value(result, "lda") + 0.1
    title, columns, rows, notes = baselines_table(result)
    assert columns[:3] == ["method", "scaled by", "seeds"]
    assert [r[:2] for r in rows] == [["chance", "-"], ["majority", "-"], ["lda", "training"], ["lda", "own windows*"]]
    assert any(note.startswith("* transductive") for note in notes)
    assert "4 subject(s), SIMULATED data" in title
    assert notes[0].startswith("Simulated")
    metrics = row(result, "lda", "person")["metrics"]["accuracy"]
    assert metrics["low"] <= metrics["value"] <= metrics["high"]
    assert metrics["over"] == "people"


def test_centred_people_keep_the_size_of_their_effects_and_standardised_ones_lose_it(tmp_path) -> None:
    store = coloured(cohort(people=4, trials=24, runs=(1, 2)))
    chosen = settings({"lda": LDA}, labels=people_held_out())
    fold = build_labels(store, chosen.labels).fold("fold-0")  # type: ignore[arg-type]
    trials = trials_of(fold, scaled(fold, "person"), "person", None)
    spread = {}
    for how in ("standardise", "center"):
        found = features(trials, BandPowerSettings(**BANDS | {"person": how}))
        people = trials.people(trials.train)
        spread[how] = np.array([found["train"][people == person].std(0) for person in np.unique(people)])
        for side, rows in (("train", trials.train), ("valid", trials.valid), ("test", trials.test)):
            for person in np.unique(trials.people(rows)):  # each lies on one side whole
                np.testing.assert_allclose(found[side][trials.people(rows) == person].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(spread["standardise"], 1)
    np.testing.assert_allclose(np.sqrt((spread["center"] ** 2).mean(0)), 1)  # of all training people together
    assert np.ptp(spread["center"], axis=0).max() > 0.1
    result = run(
        store,
        tmp_path / "out",
        {"lda": LDA | {"power": BANDS | {"person": "center"}}},
        scaling=["person"],
        labels=people_held_out(),
    )
    assert value(result, "lda", scaling="person") > 0.9


def test_shrinkage_chosen_by_held_out_people_reaches_new_people_better_than_the_formula(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    people, y = np.repeat(np.arange(8), 60), np.tile([0, 1], 240)
    spread = np.repeat([1.0, 0.05], [10, 30])
    effect = np.tile(0.5 * (np.arange(40) < 10), (8, 1))  # all share it in ten features
    effect[:, 10:] = 0.05 * rng.standard_normal((8, 30))  # each person has his own in thirty that vary little
    values = spread * rng.standard_normal((480, 40)) + (y - 0.5)[:, None] * effect[people]
    train, test = np.flatnonzero(people < 6), np.flatnonzero(people >= 6)
    monkeypatch.setattr(linear, "features", lambda trials, power: {"train": values[train], "test": values[test]})
    trials = SimpleNamespace(train=train, labels=lambda rows: y[rows], groups=lambda rows: people[rows], n_classes=2)
    right = {
        how: float((linear.lda(trials, LdaMethod(shrinkage=how), False).argmax(1) == y[test]).mean())  # type: ignore[arg-type]
        for how in ("formula", "inner")
    }
    assert right["inner"] > right["formula"] + 0.2


def test_labels_of_test_windows_and_signals_of_test_runs_change_nothing_that_is_fitted(tmp_path) -> None:
    before = run(cohort(people=2), tmp_path / "before", {"lda": LDA, "ridge": RIDGE})
    store = cohort(people=2)
    for recording in store.recordings:
        if recording.run == "4":
            recording.events["label"] = np.random.default_rng(0).permutation(recording.events["label"])
    after = run(store, tmp_path / "after", {"lda": LDA, "ridge": RIDGE})
    for name in ("lda.training/1.fold-0.seed-0.npz", "ridge.training/2.fold-0.seed-0.npz"):
        answers = [np.load(tmp_path / side / "answers" / name)["scores"] for side in ("before", "after")]
        np.testing.assert_array_equal(*answers)
    assert value(after, "lda") < value(before, "lda") - 0.3


def test_answers_are_kept_and_only_a_method_that_changed_is_asked_again(tmp_path) -> None:
    said: list[str] = []
    first = run(cohort(people=2), tmp_path / "out", {"lda": LDA, "ridge": RIDGE}, said.append)
    assert len(said) == 4
    said.clear()
    assert run(cohort(people=2), tmp_path / "out", {"lda": LDA, "ridge": RIDGE}, said.append)["rows"] == first["rows"]
    assert said == []
    run(cohort(people=2), tmp_path / "out", {"lda": LDA | {"power": BANDS | {"bins": 2}}, "ridge": RIDGE}, said.append)
    assert [line.split(" (")[0] for line in said] == ["lda", "lda"]
    said.clear()
    (tmp_path / "out" / "answers" / "ridge.training" / "1.fold-0.seed-0.npz").write_bytes(b"cut off")
    run(cohort(people=2), tmp_path / "out", {"ridge": RIDGE}, said.append)
    assert said == ["ridge (training), 1, fold-0, seed 0"]
    said.clear()
    store = cohort(people=2)
    store.recordings[0] = replace(store.recordings[0], sha256_signal="another signal")
    run(store, tmp_path / "out", {"ridge": RIDGE}, said.append)
    assert len(said) == 2
    assert read_json(tmp_path / "out" / "baselines.json")["kind"] == "classification-baselines"


def test_a_network_of_one_seed_answers_the_same_twice_and_another_seed_otherwise(tmp_path) -> None:
    short = GRU | {"training": TRAINING | {"epochs": 2}}
    for name in ("a", "b"):
        run(cohort(), tmp_path / name, {"gru": short}, seeds=[0, 1])
    scores = {
        (name, seed): np.load(tmp_path / name / "answers" / "gru.training" / f"1.fold-0.seed-{seed}.npz")["scores"]
        for name in "ab"
        for seed in (0, 1)
    }
    np.testing.assert_array_equal(scores["a", 0], scores["b", 0])
    assert not np.array_equal(scores["a", 0], scores["a", 1])


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        ({"x": {"kind": "network", "network": "EEGNett"}}, {}, "neither EnvelopeGru nor .*; did you mean EEGNet"),
        (
            {"x": GRU | {"options": {}}},
            {},
            r"methods.x: network: EnvelopeGru cannot be built for 3 channels .* below half",
        ),
        ({"x": {"kind": "network", "network": "EEGModuleMixin"}}, {}, "neither .* nor a class of braindecode.models; "),
        (
            {"x": {"kind": "network", "network": "ShallowFBCSPNet"}},
            {},
            r"methods.x: network: ShallowFBCSPNet cannot be built for 3 channels x 60 samples at 100 Hz .*the window",
        ),
        (
            {"x": {"kind": "lda", "power": {"bands": [[60, 90]]}}},
            {},
            "methods.x: power.bands: none of them ends below 50",
        ),
        ({"chance": LDA}, {}, "'chance' cannot name a row"),
        ({"x": LDA}, {"scaling": ["person", "person"]}, "scaling has a value more than once"),
        ({"x": LDA}, {"fit": "subject", "labels": people_held_out()}, "fit is subject, but labels.split.rule subjects"),
        (
            {"x": CODEBOOK | {"model": {"encoder": ENCODER | {"patch": 25}}}},
            {},
            "patch: 25 samples, and a window of 60",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, methods, changes, message) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        run(cohort(people=3), tmp_path / "out", methods, **changes)
    assert "\n" not in str(caught.value)


def _nan(recording: Any) -> None:
    recording.signal[1, 200:260] = np.nan


def _one_label(recording: Any) -> None:
    if recording.run in ("1", "2"):
        recording.events["label"] = "ba"


def _flat(recording: Any) -> None:
    recording.signal[:] = 0


@pytest.mark.parametrize(
    ("spoil", "method", "message"),
    [
        (_nan, LDA, r"sub-1_run-1: A2 has samples that are not numbers in the window at 1\.50 s; mark the"),
        (_one_label, RIDGE, "fold-0: all training windows of 1 have the label ba; a classifier needs two labels"),
        (_flat, RIEMANN, "no full rank .* a channel is flat: mark it bad"),
    ],
    ids=["nan", "one label", "flat"],
)
def test_recordings_that_cannot_be_learnt_from_are_named_in_one_line(tmp_path, spoil, method, message) -> None:
    if method is RIEMANN:
        pytest.importorskip("pyriemann")
    store = cohort(people=2)
    for recording in store.recordings:
        spoil(recording)
    with pytest.raises(NeurodecodeError, match=message) as caught:
        run(store, tmp_path / "out", {"x": method}, labels={"unknown": "wrong"})
    assert "\n" not in str(caught.value)


def test_a_constant_channel_and_a_single_channel_do_no_harm(tmp_path) -> None:
    store = cohort(people=2)
    for recording in store.recordings:
        recording.signal[1] = 3e-5
    assert value(run(store, tmp_path / "constant", {"lda": LDA, "ridge": RIDGE}), "lda") > 0.9
    for recording in store.recordings:
        recording.signal, recording.channels = recording.signal[:1].copy(), recording.channels.iloc[:1]
    assert value(run(store, tmp_path / "single", {"lda": LDA, "ridge": RIDGE}), "ridge") > 0.9


def test_a_window_of_which_one_end_is_given_is_not_moved_baselined_or_closed_as_that_of_a_sound() -> None:
    given = validate(BaselineSettings, {"labels": {"window": {"tmax": 1.0}}}, "test").labels.window
    assert given.model_dump() == {"tmin": -0.5, "tmax": 1.0, "closed": False, "baseline": None, "shift": 0.0}


def test_a_folder_of_something_else_is_not_written_to(tmp_path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(NeurodecodeError, match="holds thesis.tex, so it is no folder of baselines"):
        run(cohort(), tmp_path, {"lda": LDA})
