"""BIDS trees: what is found in them, and what the sidecars beside a recording say of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.inspect import describe_source
from neurodecode.recordings.sources import expand_source
from tests.recordings.makers import (
    bids_stem,
    ramp,
    write_brainvision,
    write_edf,
    write_json,
    write_tsv,
    write_wav,
)

SIGNALS = [("Fz", "uV", 100, ramp(3, 100)), ("Cz", "uV", 100, ramp(3, 100))]


def add(root: Path, datatype: str = "eeg", **entities: str) -> Path:
    """An EDF recording in a tree; returns its stem."""
    stem = bids_stem(root, datatype, **entities)
    write_edf(stem.with_name(f"{stem.name}_{datatype}.edf"), SIGNALS)
    return stem


def test_recordings_are_found_in_natural_order_and_nothing_else(tmp_path: Path) -> None:
    for subject, run in (("10", "1"), ("2", "10"), ("2", "2")):
        add(tmp_path, subject=subject, run=run)
    add(tmp_path / "derivatives" / "cleaned", subject="2")
    add(tmp_path / "sourcedata", subject="2")
    write_brainvision(tmp_path / "sub-2" / "eeg" / "sub-2_task-rest_eeg", SIGNALS[0][3][None])
    names = [(s.subject, s.task, s.run) for s in expand_source(tmp_path)]
    assert names == [("2", "listen", "2"), ("2", "listen", "10"), ("2", "rest", ""), ("10", "listen", "1")]
    assert [s.subject for s in expand_source(tmp_path / "sub-10")] == ["10"]


def test_a_file_of_a_tree_is_read_with_its_sidecars(tmp_path: Path) -> None:
    stem = add(tmp_path)
    write_json(stem.with_name(f"{stem.name}_eeg.json"), {"PowerLineFrequency": 60})
    (source,) = expand_source(stem.with_name(f"{stem.name}_eeg.edf"))
    recording = source.open()
    assert (recording.name, recording.line_frequency) == ("sub-01_task-listen", 60.0)
    assert recording.raw.get_data().shape == (2, 300)


def test_sidecars_are_inherited_and_the_nearest_wins(tmp_path: Path) -> None:
    stem = add(tmp_path, run="1")
    add(tmp_path, run="2")
    write_json(tmp_path / "task-listen_eeg.json", {"PowerLineFrequency": 50})
    write_json(tmp_path / "task-other_eeg.json", {"PowerLineFrequency": 16})
    write_json(stem.with_name(f"{stem.name}_eeg.json"), {"PowerLineFrequency": 60})
    write_tsv(tmp_path / "task-listen_events.tsv", ["onset", "duration", "value"], [[1, 0, "shared"]])
    write_tsv(stem.with_name(f"{stem.name}_events.tsv"), ["onset", "duration", "value"], [[2, 0, "own"]])
    one, two = (source.open() for source in expand_source(tmp_path))
    assert (one.line_frequency, two.line_frequency) == (60.0, 50.0)
    assert (one.events["label"].tolist(), two.events["label"].tolist()) == (["own"], ["shared"])
    assert {f.name for f in two.files} >= {"task-listen_eeg.json", "task-listen_events.tsv"}


@pytest.mark.parametrize("stated", ["n/a", None])
def test_the_card_states_the_mains_where_no_sidecar_does(tmp_path: Path, stated: str | None) -> None:
    stem = add(tmp_path)
    write_json(stem.with_name(f"{stem.name}_eeg.json"), {"PowerLineFrequency": stated})
    card = CohortCard(name="c", root=tmp_path, line_frequency=50)
    assert [s.open().line_frequency for s in expand_source(card)] == [50.0]


def test_the_card_states_the_language_of_the_speech(tmp_path: Path) -> None:
    add(tmp_path)
    assert [s.open().language for s in expand_source(CohortCard(name="c", root=tmp_path, language="nl"))] == ["nl"]
    assert [s.open().language for s in expand_source(tmp_path)] == [""]


def test_a_sidecar_of_another_rate_is_warned_of(tmp_path: Path) -> None:
    stem = add(tmp_path)
    write_json(stem.with_name(f"{stem.name}_eeg.json"), {"SamplingFrequency": 128})
    lines = [note.line() for note in expand_source(tmp_path)[0].open().notes if note.level == "warning"]
    assert any("100 Hz in the file, 128 Hz in the sidecar" in line for line in lines)
    write_json(stem.with_name(f"{stem.name}_eeg.json"), {"SamplingFrequency": 100.0})
    assert not [n for n in expand_source(tmp_path)[0].open().notes if "sidecar" in n.found]


def test_a_tree_with_a_simulation_is_marked(tmp_path: Path) -> None:
    add(tmp_path)
    (source,) = expand_source(tmp_path)
    assert not source.open().simulated
    write_json(tmp_path / "simulation.json", {})
    assert source.open().simulated
    assert describe_source(tmp_path)[0]["simulated"] is True


def test_a_stimulus_and_its_words_reach_the_recording_and_its_files(tmp_path: Path) -> None:
    stem = add(tmp_path)
    write_wav(tmp_path / "stimuli" / "story.wav", 10.0)
    write_tsv(tmp_path / "stimuli" / "story.tsv", ["onset", "duration", "kind", "label"], [[0.5, 0.5, "word", "hi"]])
    write_tsv(stem.with_name(f"{stem.name}_events.tsv"), ["onset", "duration", "stim_file"], [[1, "n/a", "story.wav"]])
    recording = expand_source(tmp_path)[0].open()
    rows = recording.events[["onset", "duration", "kind", "label", "stimulus", "stimulus_onset"]].values.tolist()
    assert rows == [[1.0, 2.0, "stimulus", "", "story", 0.0], [1.5, 0.5, "word", "hi", "story", 0.5]]
    assert recording.stimuli["story"].audio == tmp_path / "stimuli" / "story.wav"
    assert "story.tsv" in {file.name for file in recording.files}


def test_a_broken_recording_does_not_hide_the_others(tmp_path: Path) -> None:
    add(tmp_path, subject="1")
    stem = add(tmp_path, subject="2")
    stem.with_name(f"{stem.name}_eeg.edf").write_text("/annex/objects/SHA256E-s1--0.edf\n")
    good, bad = describe_source(tmp_path)
    assert good["channels"] == {"eeg": 2}
    assert "not downloaded" in bad["error"]


def test_a_broken_sidecar_is_named_with_its_line(tmp_path: Path) -> None:
    stem = add(tmp_path)
    stem.with_name(f"{stem.name}_eeg.json").write_text('{"PowerLineFrequency": 50,\n}')
    with pytest.raises(RecordingError, match=r"_eeg.json: not JSON \(line 2"):
        expand_source(tmp_path)[0].open()


def test_sources_are_picklable(tmp_path: Path) -> None:
    add(tmp_path)
    (source,) = expand_source(tmp_path)
    assert pickle.loads(pickle.dumps(source)) == source


def test_two_acquisitions_of_one_run_get_two_names(tmp_path: Path) -> None:
    stem = bids_stem(tmp_path)
    for acquisition in ("clinical", "research"):
        write_edf(stem.with_name(f"{stem.name}_acq-{acquisition}_eeg.edf"), SIGNALS)
    assert [s.open().name for s in expand_source(tmp_path)] == [
        "sub-01_task-listenclinical",
        "sub-01_task-listenresearch",
    ]


def test_a_folder_recording_of_dangling_links_is_not_downloaded(tmp_path: Path) -> None:
    folder = tmp_path / "x.ds"
    folder.mkdir()
    (folder / "x.meg4").symlink_to("../.git/annex/objects/MD5E-s1--0.meg4")
    (entry,) = describe_source(folder)
    assert "x.meg4: not downloaded" in entry["error"]


def test_recordings_that_are_folders_are_found(tmp_path: Path) -> None:
    add(tmp_path)
    meg = tmp_path / "sub-01" / "ses-1" / "meg"
    for folder in (meg / "sub-01_ses-1_task-x_meg.ds", tmp_path / "sub-01" / "eeg" / "sub-01_task-y_eeg.mff"):
        folder.mkdir(parents=True)
        (folder / "part.bin").write_bytes(b"x")
    assert [s.path.name for s in expand_source(tmp_path)] == [
        "sub-01_task-listen_eeg.edf",
        "sub-01_task-y_eeg.mff",
        "sub-01_ses-1_task-x_meg.ds",
    ]


class TestFoldersOfFiles:
    """Files that lie in no BIDS tree."""

    def test_the_stem_is_the_subject_and_it_is_said(self, tmp_path: Path) -> None:
        write_edf(tmp_path / "Subject00_1.edf", SIGNALS)
        recording = expand_source(tmp_path)[0].open()
        assert recording.name == "sub-Subject001"
        assert any("states no subject" in note.line() for note in recording.notes)

    def test_entities_in_the_name_are_used(self, tmp_path: Path) -> None:
        write_edf(tmp_path / "sub-07_ses-a_task-x_run-3_eeg.edf", SIGNALS)
        assert expand_source(tmp_path)[0].open().name == "sub-07_ses-a_task-x_run-3"

    def test_names_that_would_meet_are_told_apart(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        for name in ("a/x_1.edf", "b/x_1.edf", "x1.edf", "x_1.edf", "y.edf"):
            write_edf(tmp_path / name, SIGNALS)
        names = [s.open().name for s in expand_source(tmp_path)]
        assert len(set(names)) == 5
        assert "sub-y" in names

    def test_hidden_files_and_other_files_are_left_out(self, tmp_path: Path) -> None:
        for name in ("x.edf", "._x.edf"):
            write_edf(tmp_path / name, SIGNALS)
        for name in ("notes.txt", "x-eve.fif", "x_raw-ave.fif", "x_mrk.sqd"):
            (tmp_path / name).write_text("x")
        assert [s.path.name for s in expand_source(tmp_path)] == ["x.edf"]


def test_an_unknown_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"adapter 'nope' is not known; allowed are auto, .*cocktail_eeg"):
        expand_source(CohortCard(name="c", root=tmp_path, adapter="nope"))
