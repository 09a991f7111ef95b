"""Training reads the channels that were chosen, and refuses every ranking that saw what the run is judged by."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from neurodecode.channels.selection import first_seen, merged, read_selection, write_selection
from neurodecode.config import CodebookTrainSettings, load_training
from neurodecode.errors import LeakageError, NeurodecodeError, SettingsError
from neurodecode.files import read_json, write_json
from neurodecode.segments.labels import build_labels
from neurodecode.training import codebook
from neurodecode.training.chosen import chosen_channels
from neurodecode.training.codebook import fit_codebook
from neurodecode.training.codebook_stages import load_stage, load_windows
from tests.segments.fakes import FakeStore
from tests.selection.cohort import NAMES, four_runs, store_of
from tests.selection.test_rank import entry_of, ranked

TINY = ["labels.window.tmin=0", "labels.window.tmax=0.6", "training.epochs=2"]


def settings(task: str, *overrides: str) -> CodebookTrainSettings:
    loaded = load_training(f"duin_tiny_{task}", [*TINY, *overrides])
    assert isinstance(loaded, CodebookTrainSettings)
    return loaded


def train(task: str, store: FakeStore, out: Path, *overrides: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: store)
        return fit_codebook(settings(task, *overrides), Path("fake-store"), out, progress=False)


def cohort() -> FakeStore:
    return store_of(*four_runs([2, 4]), *four_runs([6], subject="02"))


@pytest.fixture(scope="module")
def ranking(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("ranking")
    ranked(cohort(), out)
    return out


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> Path:
    """Ranked in another split: the runs that are tested and validate here were trained on there."""
    out = tmp_path_factory.mktemp("leaky")
    split = {"rule": "run", "test_runs": ["1"], "valid_runs": ["2"]}
    labels = {"window": {"tmin": 0.0, "tmax": 0.6, "closed": False, "baseline": None, "shift": 0.0}, "split": split}
    ranked(cohort(), out, labels=labels)
    return out


def test_a_run_reads_the_chosen_channels_of_each_subject_and_is_scored_on_them(tmp_path, ranking) -> None:
    run = train("classify", cohort(), tmp_path / "run", f"channels.file={ranking / 'selection.json'}")
    chosen = {s: sorted(entry_of(read_selection(ranking), s)["chosen"]) for s in ("01", "02")}
    info = read_json(run / "run.json")
    assert {s: sorted(names) for s, names in info["channel_names"].items()} == chosen
    assert info["sizes"]["n_chans"] == [2, 2]
    assert info["channel_choice"]["method"] == "decodability"
    assert info["channel_choice"]["sha256"] == read_selection(ranking)["sha256"]
    assert (run / "evaluation" / "test.json").is_file()
    model, loaded = load_stage(run)
    assert model.encoder.front.read_in.n_channels == (2, 2)  # type: ignore[union-attr]
    index = build_labels(cohort(), loaded.labels)  # type: ignore[arg-type]
    assert load_windows(run, "fold-0", index).channels == [info["channel_names"][s] for s in ("01", "02")]


def test_what_a_run_reads_is_the_signal_of_its_chosen_channels(ranking) -> None:
    from neurodecode.segments.batches import BatchSource
    from neurodecode.segments.labels import LabelFeatures
    from neurodecode.training.codebook_data import SubjectSource

    store = cohort()
    index = build_labels(store, settings("classify").labels).fold("fold-0")  # type: ignore[arg-type]
    features: Any = LabelFeatures()
    data = SubjectSource(BatchSource(index, features), {"01": [NAMES[4], NAMES[2]], "02": [NAMES[7]]})
    assert data.channels == [[NAMES[2], NAMES[4]], [NAMES[7]]]
    batch = data[index.rows("test")[[0, -1]]]
    for place, recording, rows in ((0, store.recordings[3], [2, 4]), (1, store.recordings[7], [7])):
        row = index.table.iloc[index.rows("test")[[0, -1][place]]]
        expected = recording.signal[rows, row["start"] : row["start"] + 60]
        assert (batch.signal[place, : len(rows)].numpy() == expected).all()
    assert (batch.signal[1, 1] == 0).all()


def test_all_three_stages_hand_on_with_the_same_channels(tmp_path, ranking) -> None:
    file = f"channels.file={ranking / 'selection.json'}"
    few = ["model.quantizer.codes=8", "model.quantizer.start_tokens=16"]
    tokenizer = train("tokenizer", cohort(), tmp_path / "tokenizer", file, *few)
    train("masked", cohort(), tmp_path / "masked", file, f"start_from={tokenizer}")
    with pytest.raises(SettingsError, match="has 8 channels here and 2 in"):
        train("masked", cohort(), tmp_path / "other", f"start_from={tokenizer}")


class TestLeaks:
    """A selection on what judges the run is refused, whichever way it came about."""

    def test_a_ranking_on_the_runs_test_windows(self, tmp_path, leaky) -> None:
        with pytest.raises(
            LeakageError, match="sub-01_run-4, which fold-0 tests here; rank with the same labels.split"
        ) as e:
            train("classify", cohort(), tmp_path / "run", f"channels.file={leaky / 'selection.json'}")
        assert len(str(e.value).splitlines()) == 1
        assert not (tmp_path / "run" / "run.json").exists()

    def test_a_ranking_on_the_runs_validation_windows(self, tmp_path, leaky) -> None:
        split = ["labels.split.test_runs=['2']", "labels.split.valid_runs=['3']"]
        with pytest.raises(LeakageError, match="sub-01_run-3, which fold-0 validates on here"):
            train("classify", cohort(), tmp_path / "run", f"channels.file={leaky / 'selection.json'}", *split)

    @pytest.mark.parametrize("task", ["tokenizer", "masked"])
    def test_in_every_stage(self, tmp_path, leaky, task) -> None:
        start = ["start_from=nowhere"] if task == "masked" else []
        index = build_labels(cohort(), settings(task, *start).labels).fold("fold-0")  # type: ignore[arg-type]
        choice = settings(task, *start, f"channels.file={leaky / 'selection.json'}").channels
        with pytest.raises(LeakageError):
            chosen_channels(choice, index)

    def test_recordings_that_were_renamed(self, leaky) -> None:
        store = cohort()
        for number, recording in enumerate(store.recordings):
            recording.name = f"other-{number}"
        index = build_labels(store, settings("classify").labels).fold("fold-0")  # type: ignore[arg-type]
        choice = settings("classify", f"channels.file={leaky / 'selection.json'}").channels
        with pytest.raises(LeakageError, match="other-3"):
            chosen_channels(choice, index)

    def test_signals_that_were_preprocessed_otherwise(self, leaky) -> None:
        store = cohort()
        for recording in store.recordings:
            recording.sha256_signal += " at another rate"
        index = build_labels(store, settings("classify").labels).fold("fold-0")  # type: ignore[arg-type]
        choice = settings("classify", f"channels.file={leaky / 'selection.json'}").channels
        with pytest.raises(LeakageError, match="run-4"):
            chosen_channels(choice, index)

    def test_a_file_whose_record_was_edited(self, tmp_path, leaky) -> None:
        selection = read_json(leaky / "selection.json")
        for entry in selection["folds"]["fold-0"]["subjects"].values():
            entry["seen"] = []
        write_json(tmp_path / "selection.json", selection)
        with pytest.raises(SettingsError, match="was edited after it was written"):
            train("classify", cohort(), tmp_path / "run", f"channels.file={tmp_path / 'selection.json'}")

    def test_one_fold_for_a_run_that_tests_every_run_once(self, tmp_path, ranking) -> None:
        with pytest.raises(LeakageError, match="run-1, which fold-1 tests"):
            train(
                "classify",
                cohort(),
                tmp_path / "run",
                f"channels.file={ranking / 'selection.json'}",
                "labels.split.rule=leave-one-run-out",
            )
        assert not (tmp_path / "run" / "run.json").exists()  # said before the first fold is trained

    def test_folds_of_a_ranking_serve_their_own_fold(self, tmp_path) -> None:
        from tests.selection.test_rank import WINDOW

        labels = {"window": WINDOW, "split": {"rule": "leave-one-run-out"}}
        ranked(cohort(), tmp_path, labels=labels, seeds=1, inner="block")
        loaded = settings(
            "classify", "labels.split.rule=leave-one-run-out", f"channels.file={tmp_path / 'selection.json'}"
        )
        index = build_labels(cohort(), loaded.labels)  # type: ignore[arg-type]
        for name in index.folds:
            found = chosen_channels(loaded.channels, index.fold(name))
            assert found is not None
            assert set(found["01"]) == {NAMES[2], NAMES[4]}
        selection = read_selection(tmp_path)
        first, second, *_ = selection["folds"]
        swapped = selection["folds"] | {first: selection["folds"][second], second: selection["folds"][first]}
        keep = {key: value for key, value in selection.items() if key not in ("schema", "kind", "sha256")}
        write_selection(tmp_path / "swapped", keep | {"folds": swapped})
        crossed = settings("classify", f"channels.file={tmp_path / 'swapped' / 'selection.json'}").channels
        with pytest.raises(LeakageError):
            chosen_channels(crossed, index.fold(first))


def test_top_takes_so_many_of_the_order(ranking) -> None:
    index = build_labels(cohort(), settings("classify").labels).fold("fold-0")  # type: ignore[arg-type]
    file = f"channels.file={ranking / 'selection.json'}"
    found = chosen_channels(settings("classify", file, "channels.top=5").channels, index)
    order = [row["name"] for row in entry_of(read_selection(ranking))["channels"]]
    assert found is not None
    assert found["01"] == order[:5]
    with pytest.raises(SettingsError, match="channels.top: 9, but .* ranks 8 channels of 01"):
        chosen_channels(settings("classify", file, "channels.top=9").channels, index)


def test_regions_and_names_need_no_file() -> None:
    index = build_labels(cohort(), settings("classify").labels).fold("fold-0")  # type: ignore[arg-type]
    by_region = chosen_channels(settings("classify", "channels.regions=[vSMC, STG]").channels, index)
    assert by_region == {s: [NAMES[1], NAMES[2], NAMES[6], NAMES[7]] for s in ("01", "02")}
    named = chosen_channels(settings("classify", "channels={names: {'01': [B1], '02': [C1, C2]}}").channels, index)
    assert named == {"01": ["B1"], "02": ["C1", "C2"]}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["channels={}"], "channels needs one of file, regions and names, not none"),
        (["channels={regions: [STG], file: x}"], "not file and regions"),
        (["channels={regions: [STG], top: 3}"], "only a file has an order"),
        (["channels.file=no/such.json"], "no such selection; make one with: neurodecode channels"),
        (["channels.regions=[IFG]"], "no channel lies in IFG"),
        (["channels={names: {'01': [B1]}}"], "none for subject 02"),
        (["channels={names: {'01': [B1], '02': [Z9]}}"], "subject 02 has no good channel Z9"),
    ],
)
def test_a_choice_that_cannot_be_met_is_refused_in_one_line(tmp_path, overrides: list[str], message: str) -> None:
    with pytest.raises(NeurodecodeError, match=message) as stop:
        train("classify", cohort(), tmp_path / "run", *overrides)
    assert len(str(stop.value).splitlines()) == 1


def test_a_subject_that_was_not_ranked_is_refused(tmp_path, ranking) -> None:
    more = store_of(*cohort().recordings, *four_runs([1], subject="03"))
    with pytest.raises(SettingsError, match="ranks no channels of subject 03"):
        train("classify", more, tmp_path / "run", f"channels.file={ranking / 'selection.json'}")


def test_a_run_does_not_go_on_with_other_channels(tmp_path, ranking) -> None:
    file = tmp_path / "selection.json"
    shutil.copy(ranking / "selection.json", file)
    run = train("classify", cohort(), tmp_path / "run", f"channels.file={file}")
    write_json(run / "run.json", read_json(run / "run.json") | {"finished": False})
    (run / "fold-0" / "finished.json").unlink()
    selection = read_json(file)
    entry = entry_of(selection)
    entry["chosen"] = [row["name"] for row in entry["channels"][-2:]]
    keep = {key: value for key, value in selection.items() if key not in ("schema", "kind", "sha256")}
    write_selection(tmp_path, keep)
    with pytest.raises(SettingsError, match="began with other channels"):
        train("classify", cohort(), tmp_path / "run", f"channels.file={file}")


def test_spans_hold_all_windows_and_nothing_else() -> None:
    spans = merged([5.0, 0.0, 0.5, 9.0], 1.0)  # type: ignore[arg-type]
    assert spans == [[0.0, 1.5], [5.0, 6.0], [9.0, 10.0]]
    assert first_seen(spans, [1.5, 6.0, 8.0], 1.0) is None  # type: ignore[arg-type]  # they touch, and share nothing
    assert first_seen(spans, [8.5, 1.49, 20.0], 1.0) == 1.49  # type: ignore[arg-type]
