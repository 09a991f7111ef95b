"""The contrastive aligner reads the channels that were chosen, and no ranking that saw what it is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodecode.config import TrainSettings, validate
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.files import read_json
from neurodecode.models.build import count_parameters
from neurodecode.segments.batches import BatchSource
from neurodecode.segments.windows import build_windows
from neurodecode.stimuli import features as features_module
from neurodecode.training import fit as fit_module
from neurodecode.training import load as load_module
from neurodecode.training.fit import fit
from neurodecode.training.load import load_fold, load_layouts, load_source
from tests.evaluation.toys import ToyFeatures, toy_settings, toy_store
from tests.segments.fakes import FakeStore
from tests.selection.test_rank import ranked

CHOSEN = {"0": ["A2", "A5"], "1": ["A1", "A5"]}
SMALL = {"spatial_channels": 8, "fourier_frequencies": 3, "hidden": 16, "depth": 2}
BY_RUN = {"rule": "run", "test_runs": ["3"], "valid_runs": ["2"]}  # as rankings split four runs


class Features(ToyFeatures):
    """As a feature store that has a folder."""

    path, extent = Path("features"), "stimulus"
    names = ("alpha", "beta", "gamma", "delta")


def settings(channels: Any, rule: str = "content", **segments: Any) -> TrainSettings:
    chosen = toy_settings("content").model_dump(mode="json") | segments
    if rule == "run":
        chosen["split"] = BY_RUN
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3, "accelerator": "cpu"}
    values = {"segments": chosen, "model": SMALL, "training": training, "seed": 1, "channels": channels}
    return validate(TrainSettings, values, "test")


def cohort(spoilt: bool = False) -> FakeStore:
    """Two subjects; `spoilt`: what is not chosen holds NaN."""
    store = toy_store(Features(), noise=0.5)
    for recording in store.recordings:
        recording.channels["region"] = ["STG", "right STG", "insula", "", "STG", "insula"]
        if spoilt:
            names = recording.channels["name"].tolist()
            others = [k for k, name in enumerate(names) if name not in CHOSEN[recording.subject]]
            recording.signal[others] = np.nan
    return store


@pytest.fixture
def train(monkeypatch):
    def run(store: FakeStore, out: Path, chosen: TrainSettings) -> Path:
        for module in (fit_module, load_module):
            monkeypatch.setattr(module, "Store", lambda path: store)
        for module in (fit_module, features_module):
            monkeypatch.setattr(module, "compute_features", lambda *a: Features())
        return fit(chosen, Path("fake-store"), out, progress=False)

    return run


def test_a_run_reads_its_chosen_channels_and_no_other(train, tmp_path) -> None:
    clean = train(cohort(), tmp_path / "clean", settings({"names": CHOSEN}))
    spoilt = train(cohort(spoilt=True), tmp_path / "spoilt", settings({"names": CHOSEN}))
    one, other = (load_fold(run, "fold-0")[0].state_dict() for run in (clean, spoilt))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    source = load_source(spoilt, "fold-0")
    batch = source[np.arange(0, len(source.index.table), 9)]
    assert torch.isfinite(batch.signal).all()
    here = {s: (batch.signal[batch.subject == s] != 0).any(2).any(0) for s in (0, 1)}
    assert here[0].tolist() == [False, True, False, False, True, False]
    assert here[1].tolist() == [True, False, False, False, True, False]
    assert load_layouts(clean / "fold-0").placed.sum(1).tolist() == [2] * 8
    assert read_json(clean / "fold-0" / "channels.json") == CHOSEN
    assert read_json(clean / "run.json")["channel_choice"] == {"method": "names"}


def test_without_a_choice_all_channels_are_read(train, tmp_path) -> None:
    run = train(cohort(), tmp_path / "run", settings(None))
    assert load_layouts(run / "fold-0").placed.all()
    assert not (run / "fold-0" / "channels.json").exists()
    assert read_json(run / "run.json")["channel_choice"] is None
    assert (load_source(run, "fold-0")[np.arange(8)].signal != 0).any(2).all()


def test_a_choice_by_region_is_that_of_the_channel_table_without_bad_channels(train, tmp_path) -> None:
    store = cohort()
    for recording in store.recordings:
        recording.channels.loc[recording.channels["name"] == "A1", "bad"] = True
    run = train(store, tmp_path / "run", settings({"regions": ["STG"]}))
    assert read_json(run / "fold-0" / "channels.json") == {"0": ["A2", "A5"], "1": ["A2", "A5"]}


def test_where_columns_are_each_recordings_own_channels_go_by_their_names_there() -> None:
    store = cohort()
    first = store.recordings[0]
    first.channels = first.channels.iloc[::-1].reset_index(drop=True)
    first.signal = first.signal[::-1].copy()
    values = toy_settings("content").model_dump(mode="json") | {"columns": "recording"}
    index = build_windows(store, type(toy_settings()).model_validate(values)).fold("fold-0")
    source = BatchSource(index, Features()).only(CHOSEN)
    assert source.layouts.valid[0].tolist() == [False, True, False, False, True, False]  # A6 .. A1
    assert source.layouts.valid[1].tolist() == [False, True, False, False, True, False]
    assert source.layouts.valid[4].tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ({"names": {"0": ["A2"], "1": ["B9"]}}, "channels: subject 1 has no good channel B9 in this store"),
        ({"names": {"0": ["A2"]}}, "channels.names: none for subject 1"),
        ({"regions": ["cuneus"]}, "regions: no channel lies in cuneus; there are STG, insula, right STG"),
        ({"file": "nowhere"}, "no such selection; make one with: neurodecode channels"),
    ],
)
def test_a_choice_that_cannot_be_made_is_one_clear_line(train, tmp_path, channels, says) -> None:
    with pytest.raises(SettingsError, match=says):
        train(cohort(), tmp_path / "run", settings(channels))
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_ranking_serves_a_run_with_its_split_and_no_run_that_tests_what_it_saw(train, tmp_path) -> None:
    labels = {"window": {"tmin": 0.0, "tmax": 0.45, "closed": False, "baseline": None, "shift": 0.0}}
    selection = ranked(cohort(), tmp_path / "ranking", labels=labels)
    file = {"file": (tmp_path / "ranking").as_posix()}
    run = train(cohort(), tmp_path / "run", settings(file, "run"))
    subjects = selection["folds"]["fold-0"]["subjects"]
    assert read_json(run / "fold-0" / "channels.json") == {s: subjects[s]["chosen"] for s in ("0", "1")}
    assert read_json(run / "run.json")["channel_choice"]["method"] == "decodability"
    with pytest.raises(LeakageError, match="which fold-0 tests here; rank with a labels.split that has the run's test"):
        train(cohort(), tmp_path / "leaky", settings(file))


def test_a_fold_that_began_with_other_channels_is_not_continued(train, tmp_path) -> None:
    labels = {"window": {"tmin": 0.0, "tmax": 0.45, "closed": False, "baseline": None, "shift": 0.0}}
    ranked(cohort(), tmp_path / "ranking", labels=labels, top=2)
    chosen = settings({"file": (tmp_path / "ranking").as_posix()}, "run")
    run = train(cohort(), tmp_path / "run", chosen)
    (run / "fold-0" / "finished.json").unlink()
    info = read_json(run / "run.json")
    fit_module.run_folder.write_run(run, info | {"finished": False})
    ranked(cohort(), tmp_path / "ranking", labels=labels, top=3)
    with pytest.raises(SettingsError, match="began with other channels than channels.file chooses now"):
        train(cohort(), run, chosen)


def test_masked_channels_cost_no_weights_of_a_network_with_spatial_attention(train, tmp_path) -> None:
    few = train(cohort(), tmp_path / "few", settings({"names": CHOSEN}))
    every = train(cohort(), tmp_path / "all", settings(None))
    sizes = {count_parameters(load_fold(run, "fold-0")[0]) for run in (few, every)}
    assert len(sizes) == 1
