"""Rankings find the channels that carry the label, read the training side only, and say how far they can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neurodecode.channels.selection import read_selection
from neurodecode.config import validate
from neurodecode.config.selection import SelectionSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.segments.labels import build_labels
from neurodecode.selection import rank, stability
from neurodecode.selection.rank import rank_channels
from neurodecode.selection.rankers import Ranked
from neurodecode.selection.windows import before_onset, training_side
from tests.segments.fakes import FakeStore
from tests.selection.cohort import LENGTH, NAMES, four_runs, labelled_run, store_of

WINDOW = {"tmin": 0.0, "tmax": LENGTH / 100, "closed": False, "baseline": None, "shift": 0.0}
SMALL = {"folds": 3, "seeds": 2, "top": 2, "curve": [1, 2, 4], "labels": {"window": WINDOW}}
PATCHES = {"mixed_channels": 4, "patch": 20, "filters": [8, 8, 4], "kernels": [5, 3, 3], "strides": [5, 1, 1]}
ENCODER = PATCHES | {"depth": 1, "heads": 2, "head_width": 8, "feed_forward": 16, "dropout": 0.0}
ONSET = {"seconds": 0.4, "gap": 0.05}
CLASSIFIER = {
    "model": {"encoder": ENCODER, "hidden": [16]},
    "training": {"epochs": 12, "warmup": 1, "batch_size": 8, "learning_rate": 1e-2, "accelerator": "cpu"},
}


def settings(**changes: Any) -> SelectionSettings:
    return validate(SelectionSettings, SMALL | changes, "test")


def ranked(store: FakeStore, out: Path, **changes: Any) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "Store", lambda path: store)
        rank_channels(settings(**changes), Path("fake-store"), out)
    return read_selection(out)


def entry_of(selection: dict[str, Any], subject: str = "01", fold: str = "fold-0") -> dict[str, Any]:
    return selection["folds"][fold]["subjects"][subject]


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("ranking")
    return ranked(store_of(*four_runs([2, 4]), *four_runs([6], subject="02")), out), out


def test_decodability_puts_the_carriers_first_in_each_subject(decoded) -> None:
    selection, _ = decoded
    assert set(entry_of(selection)["chosen"]) == {NAMES[2], NAMES[4]}
    assert entry_of(selection, "02")["channels"][0]["name"] == NAMES[6]
    scores = {row["name"]: row["score"] for row in entry_of(selection)["channels"]}
    assert min(scores[NAMES[2]], scores[NAMES[4]]) > 0.6
    assert max(score for name, score in scores.items() if name not in (NAMES[2], NAMES[4])) < 0.55
    assert entry_of(selection)["chance"] == pytest.approx(1 / 3)


def test_what_is_stable_is_called_stable(decoded) -> None:
    entry = entry_of(decoded[0])
    assert entry["stability"]["rankings"] == 6  # folds x seeds
    assert entry["stability"]["kuncheva"] == pytest.approx(1.0)
    assert entry["stability"]["jaccard"] == pytest.approx(1.0)
    best, last = entry["channels"][0], entry["channels"][-1]
    assert best["top_share"] == 1.0
    assert best["mean_rank"] < 2.1
    assert last["rank_sd"] > best["rank_sd"]


def test_the_curve_is_that_of_folds_which_the_ranking_did_not_see(tmp_path) -> None:
    points = {p["k"]: p["accuracy"] for p in entry_of(ranked(store_of(*four_runs([])), tmp_path))["curve"]}
    assert sorted(points) == [1, 2, 4, 8]
    # nothing is planted: a ranking judged on the windows that it was chosen by would lie well above a third
    assert all(abs(value - 1 / 3) < 0.12 for value in points.values())
    planted = ranked(store_of(*four_runs([2, 4])), tmp_path / "planted")
    assert {p["k"]: p["accuracy"] for p in entry_of(planted)["curve"]}[2] > 0.8


def test_the_file_and_its_table_say_what_was_read(decoded) -> None:
    selection, out = decoded
    seen = entry_of(selection)["seen"]
    assert [part["recording"] for part in seen] == ["sub-01_run-1", "sub-01_run-2"]
    assert seen[0]["sha256"] == "signal of sub-01_run-1"
    assert seen[0]["spans"][0] == [0.6, 1.2]  # from the onset, windows of 0.6 s, one each second
    assert len(seen[0]["spans"]) == 30
    assert selection["folds"]["fold-0"]["rule"] == "run"
    assert len(entry_of(selection)["digest"]) == 64
    table = pd.read_csv(out / "channels.tsv", sep="\t")
    assert table.groupby("subject").size().tolist() == [8, 8]
    first = table.iloc[0]
    assert (first["fold"], first["rank"], first["chosen"], first["shaft"]) == ("fold-0", 1, True, "B")


def test_no_validation_or_test_sample_changes_a_ranking(tmp_path, decoded) -> None:
    runs = [*four_runs([2, 4]), *four_runs([6], subject="02")]
    for run in runs:
        if run.run in ("3", "4"):
            run.signal = np.full_like(run.signal, np.nan)
    again = ranked(store_of(*runs), tmp_path)
    assert again["folds"] == decoded[0]["folds"]


def test_the_training_side_has_no_row_of_another_side() -> None:
    index = build_labels(store_of(*four_runs([1])), settings().labels).fold("fold-0")  # type: ignore[arg-type]
    side = training_side(index, "01", settings())
    assert set(side.index.table["split"]) == {"train"}
    assert set(side.index.table["run"]) == {"1", "2"}


@pytest.mark.parametrize("inner", ["run", "block"])
def test_inner_folds_share_no_sample_and_hold_each_window_out_once(inner: str) -> None:
    index = build_labels(store_of(*four_runs([1])), settings().labels).fold("fold-0")  # type: ignore[arg-type]
    side = training_side(index, "01", settings(inner=inner))
    side.index.n_times = 150  # windows now overlap their neighbours
    start, recording = (side.index.table[key].to_numpy() for key in ("start", "recording"))
    held_out = []
    for train, held in side.folds(side.rows, 4, np.random.default_rng(0)):
        held_out += held.tolist()
        near = np.abs(start[train][:, None] - start[held]) < 150
        assert not (near & (recording[train][:, None] == recording[held])).any()
        assert len(train) > 10
    assert sorted(held_out) == side.rows.tolist()


def test_weights_of_a_classifier_from_scratch_find_the_carriers(tmp_path) -> None:
    store = store_of(*four_runs([2, 4], trials=60))
    entry = entry_of(ranked(store, tmp_path, method="weights", seeds=1, folds=2, share=1.0, weights=CLASSIFIER))
    assert set(entry["chosen"]) == {NAMES[2], NAMES[4]}
    assert entry["stability"]["rankings"] == 2
    assert max(row["score"] for row in entry["channels"]) <= 1.0


def test_groups_put_channels_that_are_alike_together_and_the_telling_group_first(tmp_path) -> None:
    runs = four_runs([2, 4])
    for run in runs:  # noise that a shaft shares: A'1 to A'3, B1 to B3 and C1, C2
        rng = np.random.default_rng(int(run.run))
        for members in ([0, 1, 2], [3, 4, 5], [6, 7]):
            run.signal[members] += (3e-5 * rng.standard_normal(run.signal.shape[1])).astype(np.float32)
    entry = entry_of(ranked(store_of(*runs), tmp_path, method="groups", n_groups=3))
    groups = {row["name"]: row["group"] for row in entry["channels"]}
    assert groups[NAMES[0]] == groups[NAMES[1]] == groups[NAMES[2]]
    assert groups[NAMES[3]] == groups[NAMES[4]] == groups[NAMES[5]]
    assert groups[NAMES[6]] == groups[NAMES[7]] == 3
    assert set(entry["chosen"]) in ({*NAMES[:3]}, {*NAMES[3:6]})
    assert entry["stability"]["same_groups"] > 0.9


def test_regions_are_chosen_by_name_without_reading_a_window(tmp_path) -> None:
    runs = four_runs([])
    for run in runs:
        run.signal = np.full_like(run.signal, np.nan)
        run.events = run.events.iloc[:0]  # nothing needs to be labelled
    entry = entry_of(ranked(store_of(*runs), tmp_path, method="region", regions=["vSMC", "right STG"]))
    assert entry["chosen"] == [NAMES[1], NAMES[2], NAMES[7]]
    assert (entry["seen"], entry["digest"], entry["curve"]) == ([], None, None)


def test_regions_limit_any_other_method(tmp_path) -> None:
    entry = entry_of(ranked(store_of(*four_runs([0, 4])), tmp_path, regions=["insula", "STG"]))
    assert {row["name"] for row in entry["channels"]} == {*NAMES[3:5], *NAMES[6:]}
    assert entry["channels"][0]["name"] == NAMES[4]


def test_best_takes_as_many_channels_as_decode_best(tmp_path) -> None:
    entry = entry_of(ranked(store_of(*four_runs([2])), tmp_path, top="best"))
    best = max(entry["curve"], key=lambda point: point["accuracy"])["k"]
    assert len(entry["chosen"]) == best


class TestBeforeOnset:
    """Windows that end before the voice tell what an artefact of speaking cannot tell."""

    def test_an_artefact_ranks_first_and_is_at_chance_before_the_onset(self, tmp_path) -> None:
        runs = [labelled_run(n, [2], early=True, artefact=7, trials=60) for n in (1, 2, 3, 4)]
        entry = entry_of(ranked(store_of(*runs), tmp_path, onset=ONSET))
        assert set(entry["chosen"]) == {NAMES[2], NAMES[7]}
        before = {row["name"]: row["before"] for row in entry["channels"]}
        control = entry["control"]
        assert before[NAMES[2]] > control["bound"] > before[NAMES[7]]
        assert (control["chosen_above"], control["n_chosen"], control["n_windows"]) == (1, 2, 120)
        assert control["chance"] < control["bound"] < 0.6

    def test_instead_ranks_by_the_control_windows_alone(self, tmp_path) -> None:
        runs = [labelled_run(n, [2], early=True, artefact=7, trials=60) for n in (1, 2, 3, 4)]
        entry = entry_of(ranked(store_of(*runs), tmp_path, onset=ONSET | {"use": "instead"}))
        scores = {row["name"]: row["score"] for row in entry["channels"]}
        assert entry["channels"][0]["name"] == NAMES[2]
        assert scores[NAMES[7]] < 0.5
        assert entry["control"] is None

    def test_windows_end_before_the_next_onset_of_the_kind_that_is_named(self) -> None:
        runs = four_runs([1])
        for run in runs:
            voice = run.events.copy()
            voice["onset"] += 0.3
            voice["kind"] = "voice"
            run.events = pd.concat([run.events, voice.iloc[:-1]], ignore_index=True)
        index = build_labels(store_of(*runs), settings().labels).fold("fold-0")  # type: ignore[arg-type]
        chosen = settings(onset={"event": "voice", "seconds": 0.2, "gap": 0.1})
        assert chosen.onset is not None
        side = before_onset(index, "01", chosen, chosen.onset)
        table = side.index.table
        assert (table["start"] / 100).tolist() == pytest.approx((table["anchor"] + 0.3 - 0.1 - 0.2).tolist())
        assert side.index.n_times == 20
        assert side.counts == {"trial without an onset": 2}  # one a training run

    def test_a_control_window_never_reaches_into_another_side(self) -> None:
        labels = {"window": WINDOW, "split": {"rule": "paper", "train": 0.6}}
        index = build_labels(store_of(*four_runs([1])), settings(labels=labels).labels).fold("fold-0")  # type: ignore[arg-type]
        chosen = settings(labels=labels, onset={"seconds": 0.6, "gap": 0.0})  # back to the window of the trial before
        assert chosen.onset is not None
        side = before_onset(index, "01", chosen, chosen.onset)
        others = index.table[index.table["split"].isin(["valid", "test"])]
        mine = side.index.table
        for number in np.unique(mine["recording"]):
            a = mine["start"][mine["recording"] == number].to_numpy()
            b = others["start"][others["recording"] == number].to_numpy()
            assert not ((a[:, None] < b + LENGTH) & (a[:, None] + 60 > b)).any()
        assert side.counts["control window reaches into a window of another side"] > 0


def test_ties_share_their_mean_rank_and_agreement_by_chance_is_nought() -> None:
    tied = Ranked(np.array([0.5, 0.9, 0.5, 0.1]), np.zeros(4))
    assert tied.ranks().tolist() == [2.5, 1.0, 2.5, 4.0]
    assert tied.order().tolist() == [1, 0, 2, 3]
    assert Ranked(np.array([1.0, 1.0]), np.array([0.0, 2.0])).order().tolist() == [1, 0]
    rng = np.random.default_rng(0)
    orders = np.array([rng.permutation(40) for _ in range(60)])
    by_chance = stability.agreement(orders, orders.argsort(1) + 1.0, 10)
    assert abs(by_chance["kuncheva"]) < 0.03
    assert abs(by_chance["spearman"]) < 0.03
    assert by_chance["jaccard"] > 0.1
    assert stability.agreement(orders[:1], orders[:1], 10)["kuncheva"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "region"}, "method region needs regions"),
        ({"method": "region", "regions": ["STG"], "onset": {}}, "reads no signal: set onset to null"),
        ({"features": {"bands": [[8, 4]]}}, "the lower edge must come first"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": ["IFG"]}, "no channel lies in IFG; there are"),
        ({"features": {"bands": [[4.1, 4.4]], "step": 0.25}}, "no multiple of 4 Hz lies in"),
        ({"features": {"step": 5.0}}, "5 s is longer than the window of 0.6 s"),
        ({"method": "groups", "n_groups": 8}, "n_groups: 8, but there are 8 channels"),
        (
            {"method": "weights", "weights": {"model": {"encoder": ENCODER | {"patch": 25}}}},
            "windows have 60 at 100 Hz",
        ),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(tmp_path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NeurodecodeError, match=message) as stop:
        ranked(store_of(*four_runs([1])), tmp_path, **changes)
    assert len(str(stop.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())
