"""Du-IN: each released trial lies where its event says, no window reaches into the next, and what is not known is said."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodecode.channels.table import channel_table
from neurodecode.config import CohortCard, PreprocessingSettings, load_settings
from neurodecode.config.labels import LabelSettings
from neurodecode.errors import NeurodecodeError, RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.revision import revision_of
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.studies.duin2024 import CHOSEN, LABELS, RUNS
from neurodecode.segments.labels import build_labels
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store
from neurodecode.training.codebook_data import unlabelled
from tests.recordings.studies import duin2024_tree as tree
from tests.recordings.studies.parts import card_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("duin"))


def card(root: Path, **options: object) -> CohortCard:
    """The shipped card with other options."""
    shipped = card_of("duin2024", root)
    return shipped.model_copy(update={"options": shipped.options | options})


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card(root))[1].open()  # patient 001, run 10


def said(recording: Recording) -> str:
    return " | ".join(note.line() for note in recording.notes)


def test_the_words_are_61_in_the_order_of_their_code_points() -> None:
    assert len(set(LABELS)) == 61
    assert list(LABELS) == sorted(LABELS)
    assert (LABELS[0], LABELS[8], LABELS[60]) == ("丝瓜", "嘴巴", "鱼块")
    assert sum(len(word) == 1 for word in LABELS) == 15  # and 46 of two syllables
    assert sum(len(word) == 2 for word in LABELS) == 46


def test_the_release_has_67_runs_and_ten_chosen_channels_a_patient(root: Path) -> None:
    assert sum(map(len, RUNS.values())) == card(root).expected_recordings == 67
    assert len(RUNS) == card(root).expected_subjects == 12
    assert list(CHOSEN) == list(RUNS)
    assert {len(set(names.split())) for names in CHOSEN.values()} == {10}


def test_the_card_downloads_the_trials_and_the_networks_that_were_pretrained_on_them(root: Path) -> None:
    (source,) = card(root).download
    release = [
        "README.md",
        "data/seeg.he2023xuanwu/001/word-recitation/run1/dataset.bipolar.default.unaligned/data",
        "data/seeg.he2023xuanwu/001/word-recitation/run1/dataset.bipolar.default.unaligned/info",
        "pretrains/duin/001/vqvae/model/checkpoint-399.pth",
        "pretrains/duin/001/mae/model/checkpoint-399.pth",
        "pretrains/duin/001/mae/save/params",
    ]
    assert [path for path in release if any(fnmatch.fnmatchcase(path, p) for p in source.include)] == release[1:5]


def test_runs_are_sorted_by_number_whatever_the_order_on_disk(root: Path) -> None:
    sources = expand_source(card(root))
    assert [(s.subject, s.task, s.run) for s in sources] == [
        ("001", "words", "2"),
        ("001", "words", "10"),
        ("002", "words", "2"),
        ("002", "words", "10"),
    ]
    assert {s.line_frequency for s in sources} == {50.0}
    # of the tree, run 2 of two patients is among the 67
    assert "65 of 67 released runs are not there: 001 run 1, 001 run 3" in said(sources[0].open())
    assert "not there: 001 run" not in said(sources[1].open())


def test_the_folder_above_and_the_folder_itself_are_the_study(root: Path, tmp_path: Path) -> None:
    expected = [s.path for s in expand_source(card(root))]
    assert [s.path for s in expand_source(card(root / "data"))] == expected
    (tmp_path / "download").symlink_to(root)
    assert len(expand_source(card(tmp_path))) == 4


def test_samples_of_a_trial_lie_where_its_event_says(recording: Recording) -> None:
    assert recording.raw.ch_names == tree.CHANNELS
    assert recording.raw.info["sfreq"] == 1000
    assert len(recording.raw.times) == 20 * 3000 + 19 * 100
    events = recording.events
    assert events["kind"].tolist() == ["word"] * 20
    assert events["trial_onset"].to_numpy() == pytest.approx(3.1 * np.arange(20))
    assert events["onset"].to_numpy() == pytest.approx(3.1 * np.arange(20) + 0.5)
    assert events["duration"].to_numpy() == pytest.approx(2.5)
    for number, event in events.iterrows():
        start = round(event["trial_onset"] * 1000)
        np.testing.assert_array_equal(recording.raw.get_data(start=start, stop=start + 3000), tree.values(number, 10))
        assert event["label"] == tree.label(number, 10)
        assert LABELS[int(event["label_index"])] == event["label"]
    # run 10, trial 7, sample 1234 of E2: 1e-3 + 7e-5 + 5e-6 + 1.234e-7
    assert recording.raw.get_data("E2")[0, 7 * 3100 + 1234] == pytest.approx(1.0751234e-3, rel=1e-12)


def test_what_lies_between_trials_is_marked_and_empty(recording: Recording) -> None:
    marks = recording.raw.annotations
    assert set(marks.description) == {"BAD_ACQ_SKIP"}
    assert marks.onset == pytest.approx(3.0 + 3.1 * np.arange(19))
    assert marks.duration == pytest.approx(0.1)
    assert not recording.raw.get_data(start=3000, stop=3100).any()


def test_another_zero_moves_events_and_nothing_else(root: Path) -> None:
    moved = expand_source(card(root, zero=0))[1].open()
    assert moved.events["onset"].to_numpy() == pytest.approx(3.1 * np.arange(20))
    assert moved.events["duration"].to_numpy() == pytest.approx(3.0)
    assert "the zero of a trial is not stated; the released loader has it at 0.5 s; 0 s taken" in said(moved)


def test_channels_are_seeg_on_shafts_named_by_them(recording: Recording) -> None:
    table = channel_table(recording.raw)
    assert set(table["type"]) == {"seeg"}
    assert table["shaft"].tolist() == ["TI'"] * 4 + ["E"] * 3
    assert table[["x", "y", "z"]].isna().all(axis=None)


def test_what_the_release_does_not_state_is_in_the_notes(recording: Recording) -> None:
    text = said(recording)
    assert "001/run10: no unit stated; read as V" in text
    assert "57 of 61 words are not there: 丝瓜, 关门" in text
    assert "whether trials are in the order in which they were read aloud is not stated" in text
    assert f"nothing tells the revision of the data; the card expects {tree.REVISION}" in text


def test_the_revision_is_read_from_what_downloads_leave_behind(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "snapshots" / "own", patients=("001",), runs=(2,))
    path = tree.run_folder(root, "001", 2) / "data"
    other = "344d4c7c335c4e84ac8d12c0283b6d01f34a2000"
    assert revision_of(root, path) is None
    git = root / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert revision_of(root, path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{other} refs/heads/main\n")
    assert revision_of(root, path) == other
    assert f"revision {other} of the data; the card expects {tree.REVISION}; read; name it" in said(
        expand_source(card(root))[0].open()
    )
    metadata = root / ".cache" / "huggingface" / "download" / path.relative_to(root)
    metadata.parent.mkdir(parents=True)
    metadata.with_name("data.metadata").write_text(f"{tree.REVISION}\netag\n1.0\n")
    assert revision_of(root, path) == tree.REVISION
    assert f"revision {tree.REVISION} of the data; as the card expects" in said(expand_source(card(root))[0].open())
    cached = tmp_path / "hub" / "snapshots" / other
    assert revision_of(cached, cached / "data" / "x") == other


def test_the_chosen_channels_are_taken_in_the_order_of_the_file(tmp_path: Path, root: Path) -> None:
    with pytest.raises(RecordingError, match=r"lacks the chosen channels SM8, SM9.*; set options.channels=all"):
        expand_source(card(root, channels="chosen"))[0].open()
    folder = tree.run_folder(tmp_path, "001", 1)
    names = ["A1", *sorted(CHOSEN["001"].split()), "B1"]
    tree.dump(folder / "info", tree.DotDict(ch_names=names))
    trial = np.arange(12)[:, None] * 1e-5 + np.zeros((12, 3000))
    tree.dump(folder / "data", [tree.DotDict(name="我", data_s=trial)])
    read = expand_source(card(tmp_path, channels="chosen"))[0].open()
    assert read.raw.ch_names == names[1:11]
    assert read.raw.get_data(start=5, stop=6)[:, 0] == pytest.approx(np.arange(1, 11) * 1e-5)
    assert "10 of 12 channels, ranked by those who released them on the labelled trials" in said(read)


@pytest.mark.parametrize("smooth", [False, True])
def test_a_run_that_was_low_passed_is_named(tmp_path: Path, smooth: bool) -> None:
    import mne

    noise = 3e-5 * np.random.default_rng(0).standard_normal((5, 7, 3000))
    if smooth:
        noise = mne.filter.filter_data(noise, 1000, None, 10, verbose="error")
    folder = tree.run_folder(tmp_path, "001", 1)
    tree.dump(folder / "info", {"ch_names": tree.CHANNELS})
    tree.dump(folder / "data", [{"name": "我", "data_s": trial} for trial in noise])
    assert ("the signal was low-passed" in said(expand_source(card(tmp_path))[0].open())) is smooth


def refused(root: Path, text: str, data: Any = None, info: Any = None) -> None:
    """Rewrite run 2 of 001 and expect one line."""
    folder = tree.run_folder(root, "001", 2)
    tree.dump(folder / "data", tree.trials(2) if data is None else data)
    tree.dump(folder / "info", {"ch_names": tree.CHANNELS} if info is None else info)
    with pytest.raises(RecordingError, match=text) as caught:
        expand_source(card(root))[0].open()
    assert "\n" not in str(caught.value)


def test_what_is_not_of_the_layout_is_refused(tmp_path: Path) -> None:
    root = tree.build(tmp_path, patients=("001",), runs=(2,))
    good = {"name": "我", "data_s": tree.values(0, 2)}
    refused(root, r"info: holds no list of names ch_names", info={"names": tree.CHANNELS})
    refused(root, r"info: ch_names holds E1 more than once", info={"ch_names": [*tree.CHANNELS[:6], "E1"]})
    refused(
        root,
        r"data_s of trial 0 is \(7, 3000\) float64, wanted are .* \[6, samples\]",
        info={"ch_names": list("abcdef")},
    )
    refused(root, r"data: holds no list of trials", data={"name": "我"})
    refused(root, r"data: holds no list of trials", data=[])
    refused(root, r"trial 1 holds name, data, wanted are name and data_s", data=[good, {"name": "我", "data": 1}])
    refused(root, r"trial 0 is named '苹果', which is none of the 61 words", data=[good | {"name": "苹果"}])
    refused(root, r"data_s of trial 0 is \(7, 9\) int64", data=[good | {"data_s": np.ones((7, 9), int)}])
    refused(root, r"data_s of trial 0 has no samples", data=[good | {"data_s": np.ones((7, 0))}])
    refused(root, r"the class pathlib\.\w+; only containers", data=[good | {"name": Path("x")}])
    folder = tree.run_folder(root, "001", 2)
    content = tree.dump(folder / "data", tree.trials(2)).read_bytes()
    (folder / "data").write_bytes(content[:-20])
    with pytest.raises(RecordingError, match="ends early"):
        expand_source(card(root))[0].open()
    shutil.rmtree(folder)
    missing = r"no run of dataset.bipolar.default.unaligned in it; neurodecode download duin2024"
    with pytest.raises(RecordingError, match=missing):
        expand_source(card(root))
    with pytest.raises(RecordingError, match=r"holds none of data/seeg.he2023xuanwu, seeg.he2023xuanwu"):
        expand_source(card(tmp_path / "elsewhere"))
    with pytest.raises(RecordingError, match="options.zero must lie below 3 s"):
        expand_source(card(root, zero=3))
    with pytest.raises(RecordingError, match="options.channel is not an option of duin2024"):
        expand_source(card(root, channel="all"))


def test_the_pretraining_layout_gives_pieces_in_natural_order(root: Path) -> None:
    sources = expand_source(card(root, part="pretrain", pieces=3))
    assert [(s.subject, s.task, s.run) for s in sources] == [("001", "pretrain", "001"), ("001", "pretrain", "002")]
    first, second = (source.open() for source in sources)
    assert first.events["label"].tolist() == ["day1/8.npy", "day1/9.npy", "day1/10.npy"]
    assert second.events["label"].tolist() == ["day1/11.npy"]
    assert first.events["onset"].to_numpy() == pytest.approx([0, 8.1, 16.2])
    for number, start in enumerate((0, 8100, 16200)):
        read = first.raw.get_data(start=start, stop=start + 8000)
        np.testing.assert_array_equal(read, tree.piece(number)[0])
    assert [path.name for path in first.files] == ["8.npy", "9.npy", "10.npy", "info"]
    assert len(expand_source(card(root, part="both"))) == 5


def test_files_that_are_no_pieces_are_refused(tmp_path: Path) -> None:
    root = tree.build(tmp_path, patients=("001",), runs=(2,))
    path = root / tree.STUDY / "001" / "pretrain" / "dataset.default.1000hz" / "day1" / "8.npy"
    for content, text in (
        (np.zeros((7, 8000), np.float32), r"8.npy: is \(7, 8000\) float32, wanted are .* \[2, 7, samples\]"),
        (np.array([{}]), "8.npy: not readable as a numpy array"),
    ):
        np.save(path, content)
        with pytest.raises(RecordingError, match=text):
            expand_source(card(root, part="pretrain"))[0].open()


SPREADS = np.array([1, 2, 3, 4, 5, 6, 7])[:, None] * 1e-5  # V, of the channels of trials


def noise_tree(folder: Path, runs: tuple[int, ...] = (2, 3)) -> tuple[Path, Path, list[np.ndarray]]:
    """A patient whose trials are noise: the tree, an emptied folder of pieces, and all trials in order."""
    generator, made = np.random.default_rng(0), []
    root = tree.build(folder, patients=("001",), runs=runs)
    for run in runs:
        own = [SPREADS * generator.standard_normal((7, 3000)) for _ in range(8)]
        tree.dump(tree.run_folder(root, "001", run) / "data", [{"name": "我", "data_s": trial} for trial in own])
        made += own
    pieces = root / tree.STUDY / "001" / "pretrain" / "dataset.default.1000hz"
    for path in pieces.rglob("*.npy"):
        path.unlink()
    return root, pieces, made


def write_pieces(folder: Path, signals: list[np.ndarray], first: int = 0) -> None:
    for number, signal in enumerate(signals):
        np.save(folder / f"{first + number}.npy", np.stack([signal, signal]).astype(np.float32))


def scaled(samples: int, seed: int = 7) -> np.ndarray:
    """Signal as pieces hold it, [7, samples]."""
    return np.random.default_rng(seed).standard_normal((7, samples)).astype(np.float32)


def test_what_two_pieces_share_is_taken_once_and_neighbours_are_joined(tmp_path: Path) -> None:
    root, folder, _ = noise_tree(tmp_path)
    long, other = scaled(8000 + 5 * 4000), scaled(8000, 8)
    write_pieces(folder, [long[:, 4000 * k : 4000 * k + 8000] for k in range(6)] + [other])
    first, second = (s.open() for s in expand_source(card(root, part="pretrain", pieces=4)))
    np.testing.assert_array_equal(first.raw.get_data(), long[:, :20_000])
    assert len(first.raw.annotations) == 0
    assert first.events["onset"].tolist() == [0, 8, 12, 16]
    assert first.events["duration"].tolist() == [8, 4, 4, 4]
    assert "001/pretrain: 3 of 4 pieces begin with the end of the piece before; what is repeated is left out" in said(
        first
    )
    # the second recording begins after what the first one ends with
    np.testing.assert_array_equal(second.raw.get_data(stop=8000), long[:, 20_000:])
    assert second.raw.annotations.onset.tolist() == [8.0]
    np.testing.assert_array_equal(second.raw.get_data(start=8100), other)
    assert second.events["label"].tolist() == ["4.npy", "5.npy", "6.npy"]
    assert "2 of 3 pieces begin with" in said(second)


def test_no_validation_window_of_overlapping_pieces_holds_a_sample_that_trains(tmp_path: Path) -> None:
    root, folder, _ = noise_tree(tmp_path / "duin")
    long = np.arange(8000 + 19 * 4000) + np.zeros((7, 1))  # the value of a sample is its time
    write_pieces(folder, [long[:, 4000 * k : 4000 * k + 8000] for k in range(20)])
    settings = load_settings(PreprocessingSettings, "duin_released", "configs/preprocessing")
    preprocess(expand_source(card(root, part="pretrain", pieces=10)), tmp_path / "store", settings, progress=False)
    index = unlabelled(Store(tmp_path / "store"), LabelSettings(vocabulary=LABELS), stride=1.0)
    seen: dict[str, set[int]] = {"train": set(), "valid": set()}
    for row in index.table.itertuples():
        signal = index.recordings[row.recording].signal[0, row.start : row.start + index.n_times]
        seen[row.split] |= set(np.asarray(signal).astype(int).tolist())
    assert len(seen["valid"]) > 6000
    assert not seen["train"] & seen["valid"]


def test_pieces_beside_trials_get_the_spread_of_their_channels_there(tmp_path: Path) -> None:
    root, folder, _ = noise_tree(tmp_path)
    write_pieces(folder, [scaled(8000, seed) for seed in range(3)])
    words, _, pieces = (s.open() for s in expand_source(card(root, part="both")))
    read = pieces.raw.get_data(stop=8000)
    ratios = read / scaled(8000, 0)
    np.testing.assert_allclose(ratios.std(axis=1), 0, atol=1e-11)  # one factor a channel
    assert read.std(axis=1) == pytest.approx(SPREADS[:, 0], rel=0.02)
    assert words.raw.get_data(stop=3000).std(axis=1) == pytest.approx(SPREADS[:, 0], rel=0.05)
    assert "median SD of channels 1 in pieces, 4e-05 V in trials; each channel of the pieces brought to" in said(pieces)
    alone = expand_source(card(root, part="pretrain"))[0].open()
    np.testing.assert_array_equal(alone.raw.get_data(stop=8000), scaled(8000, 0))
    write_pieces(folder, [2 * SPREADS * scaled(8000, seed) for seed in range(3)])  # in V: nothing is to be done
    volts = expand_source(card(root, part="both"))[2].open()
    np.testing.assert_array_equal(volts.raw.get_data(stop=8000), (2 * SPREADS * scaled(8000, 0)).astype(np.float32))
    assert "alike: read as V" in said(volts)


def test_pieces_made_of_trials_are_left_out_beside_them_and_named_without_them(tmp_path: Path) -> None:
    root, folder, trials = noise_tree(tmp_path)
    rebuilt = np.concatenate(trials[8:14], axis=1) / SPREADS  # of run 3, scaled as pieces are
    fresh = scaled(16_000)
    write_pieces(folder, [fresh[:, :8000], rebuilt[:, 500:8500], fresh[:, 8000:]])
    both = expand_source(card(root, part="both"))[2].open()
    assert both.events["label"].tolist() == ["0.npy", "2.npy"]
    text = "001/pretrain: 1 of 3 pieces hold stretches of released trials (run 3)"
    assert f"{text}; left out: the trials are there themselves" in said(both)
    alone = expand_source(card(root, part="pretrain"))[0].open()
    assert alone.events["label"].tolist() == ["0.npy", "1.npy", "2.npy"]
    assert f"{text}; taken: do not test on run 3 what saw them" in said(alone)
    for path in folder.glob("*.npy"):
        path.unlink()
    write_pieces(folder, [rebuilt[:, :8000], rebuilt[:, 8000:16_000]])
    with pytest.raises(
        RecordingError, match=r"all 2 files from 0.npy to 1.npy repeat released trials .*; set options.part"
    ):
        expand_source(card(root, part="both"))[2].open()


def test_trials_of_other_channels_say_nothing_about_pieces(tmp_path: Path) -> None:
    root, folder, _ = noise_tree(tmp_path)
    write_pieces(folder, [scaled(8000)])
    tree.dump(folder / "info", {"ch_names": [f"X{k}" for k in range(1, 8)]})
    with pytest.raises(RecordingError, match="001: the pretraining layout and the released trials share no channel"):
        expand_source(card(root, part="both"))[2].open()


@pytest.fixture(scope="module")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("store")
    settings = load_settings(PreprocessingSettings, "duin_released", "configs/preprocessing")
    summary = preprocess(expand_source(card(root)), path, settings, progress=False)
    assert summary.failed == []
    return Store(path)


def test_the_store_holds_the_released_numbers_in_float32(store: Store) -> None:
    stored = store["sub-002_task-words_run-2"]
    assert stored.datatype == "ieeg"
    assert stored.sfreq == 1000
    assert stored.signal.shape == (7, 61_900)
    assert not stored.channels["bad"].any()
    assert stored.channels["shaft"].tolist() == ["TI'"] * 4 + ["E"] * 3
    for number in range(20):
        read = stored.signal[:, 3100 * number : 3100 * number + 3000]
        np.testing.assert_array_equal(read, tree.values(number, 2).astype(np.float32))
    assert stored.events["label"].tolist() == [tree.label(number, 2) for number in range(20)]
    assert stored.bad_spans == pytest.approx(np.stack([3 + 3.1 * np.arange(19), 3.1 + 3.1 * np.arange(19)], axis=1))
    assert stored.attributes["report"]["events_lost"] == 0
    assert any(option == ["revision", tree.REVISION] for option in stored.attributes["source"]["options"])


def test_the_whole_chain_gives_each_trial_with_the_number_of_its_word(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "duin", runs=(1, 2, 3))
    settings = load_settings(PreprocessingSettings, "duin_released", "configs/preprocessing")
    preprocess(expand_source(card(root)), tmp_path / "store", settings, progress=False)
    labels = LabelSettings(vocabulary=LABELS)
    index = build_labels(Store(tmp_path / "store"), labels).fold("fold-0")
    assert index.counts == {}
    assert index.n_times == tree.SAMPLES
    assert index.summary()["counts"] == {"train": 40, "valid": 40, "test": 40}
    source = index.source()
    assert source.layouts.names == sorted(tree.CHANNELS)
    order = [source.layouts.names.index(name) for name in tree.CHANNELS]
    seen = []
    for side, run in (("train", 1), ("valid", 2), ("test", 3)):
        rows = index.rows(side)
        batch = source[rows]
        for row, signal, number in zip(rows, batch.signal.numpy(), batch.identity.tolist()):
            trial = int(index.table["trial"].iloc[row])
            np.testing.assert_array_equal(signal[order], tree.values(trial, run).astype(np.float32))
            assert LABELS[number] == tree.label(trial, run)
            seen.append((run, trial))
    assert sorted(seen) == sorted([(run, trial) for run in (1, 2, 3) for trial in range(20)] * 2)
    # a sample more than a trial, and no window is left
    longer = labels.model_copy(update={"window": labels.window.model_copy(update={"tmax": 2.501})})
    with pytest.raises(NeurodecodeError, match="114 x window overlaps a bad span"):
        build_labels(Store(tmp_path / "store"), longer)
