"""Armeni 2022: runs, words and phones at the seconds the tables state; what is missing or doubtful is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodecode.config import PipelineSettings, TrainSettings, load_settings
from neurodecode.errors import RecordingError
from neurodecode.pipeline import stage_settings
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.windows import build_windows
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store
from tests.recordings.studies import armeni2022_tree as tree
from tests.recordings.studies.parts import card_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("armeni"))


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card_of("armeni2022", root))[1].open()


def test_sources_are_the_sessions_that_are_there(root: Path) -> None:
    sources = expand_source(card_of("armeni2022", root))
    assert [(s.subject, s.session, s.task) for s in sources] == [("001", "001", "compr"), ("001", "010", "compr")]
    assert {s.line_frequency for s in sources} == {50.0}
    said = [note.found for note in sources[0].open().notes if note.done == "the cohort goes without"]
    assert len(said) == 1
    assert said[0].startswith("28 of 30 recordings are not there: sub-001_ses-002_task-compr, sub-001_ses-003")


def test_each_run_is_heard_from_the_wav_onset_before_its_first_word(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "stimulus"]
    assert rows["stimulus"].tolist() == ["10_1", "10_2"]
    assert rows["onset"].tolist() == [3.0, 50.0]
    assert rows["duration"].tolist() == pytest.approx([40.0, 40.0])
    assert rows["stimulus_onset"].tolist() == [0.0, 0.0]
    audio = recording.stimuli["10_2"].audio
    assert audio is not None
    assert audio.name == "10_2.wav"


def test_words_and_phones_know_their_second_of_the_wav_and_pauses_are_none(recording: Recording) -> None:
    events = recording.events
    words = events[(events["kind"] == "word") & (events["stimulus"] == "10_2")]
    assert words["label"].tolist() == [word["word"] for word in tree.spoken(2)]
    np.testing.assert_allclose(words["stimulus_onset"], [word["onset"] for word in tree.spoken(2)], atol=1e-3)
    np.testing.assert_allclose(words["onset"], 50.0 + words["stimulus_onset"], atol=1e-9)
    assert (words["duration"] == 0.3).all()
    phones = events[events["kind"] == "phone"]
    assert set(phones["label"]) == {"AH0"}
    assert len(phones) == (events["kind"] == "word").sum()
    assert [note.found for note in recording.notes if note.level == "warning"] == []


def test_the_chain_gives_windows_on_all_sides(root: Path, tmp_path: Path) -> None:
    pipeline = load_settings(PipelineSettings, "armeni2022", "pipelines")
    settings = stage_settings(TrainSettings, pipeline.training["contrastive"], "configs/training")
    from neurodecode.config import PreprocessingSettings

    cleaning = load_settings(PreprocessingSettings, "paper", "configs/preprocessing")
    summary = preprocess(expand_source(card_of("armeni2022", root)), tmp_path / "store", cleaning, progress=False)
    assert summary.failed == []
    index = build_windows(Store(tmp_path / "store"), settings.segments)
    assert index.stimuli == ["01_1", "01_2", "10_1", "10_2"]
    assert {round(b.stop - b.start) for b in index.blocks if b.stop < np.inf} == {12}
    words = index.table[index.table["anchors"] == "test"]
    assert set(words["label"]) <= {word["word"] for run in (1, 2) for word in tree.spoken(run)}
    assert len(words) > 50


def test_what_is_missing_or_doubtful_is_one_line(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    source = expand_source(card_of("armeni2022", copy))[1]
    table = source.path.with_name("sub-001_ses-010_task-compr_events.tsv")
    text = table.read_text()
    (copy / "stimuli" / "audio" / "10_1.wav").unlink()
    found = [note.found for note in source.open().notes]
    assert any("1 sounds are not in" in said and "10_1.wav" in said for said in found)
    first = source.open().events
    assert set(first.loc[(first["kind"] == "word") & (first["onset"] < 45), "stimulus"]) == {""}
    (copy / "stimuli" / "audio" / "10_2.wav").unlink()
    refused(source, r"none of 10_1.wav, 10_2.wav is in .*stimuli; get the stimuli")
    tree.write_wav(copy / "stimuli" / "audio" / "10_2.wav", 10.0)
    assert any("lie outside the wav of their run" in note.found for note in source.open().notes)
    lines = text.splitlines()
    table.write_text("\n".join(line for line in lines if "wav_onset" not in line or line.startswith("3.0")))
    refused(source, "runs 1, 2 follow one and the same wav_onset")
    table.write_text("\n".join(line for line in lines if "wav_onset" not in line))
    refused(source, "none of type word_onset_01")
    table.write_text(text.replace("\ttype\t", "\tkind\t"))
    refused(source, "no column type; get it again")
    table.write_text(text.replace("\t3601\t", "\t9601\t").replace("3.5\t0.3\t4201", "3.5\t0.3\t9999"))
    assert any("onset and sample differ by up to" in note.found for note in source.open().notes)
    table.unlink()
    refused(source, "events.tsv: missing")
    with pytest.raises(RecordingError, match="holds none of sub-001"):
        expand_source(card_of("armeni2022", tmp_path))


def refused(source, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        source.open()
    assert "\n" not in str(error.value)
