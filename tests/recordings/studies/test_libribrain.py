"""LibriBrain: serialised signals, words at the seconds the tables state, audio only where its name is given."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError, SettingsError
from neurodecode.pipeline import load_pipeline, run_pipeline
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from tests.recordings.studies import libribrain_tree as tree
from tests.recordings.studies.parts import card_of, windows_of

AUDIO = {"processing": tree.PROCESSING, "audio": "{task}_{session}.wav"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("libribrain"))


def card(root: Path, **options: object) -> CohortCard:
    return card_of("libribrain", root, options=AUDIO | options)


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card(root))[0].open()


def test_sources_are_the_files_of_one_processing_in_order_of_sessions(root: Path) -> None:
    sources = expand_source(card(root))
    assert [(s.subject, s.session, s.task, s.run) for s in sources] == [
        ("0", "1", "Sherlock1", "1"),
        ("0", "10", "Sherlock1", "1"),
    ]
    assert {s.line_frequency for s in sources} == {50.0}
    assert [s.path.name for s in expand_source(card(root, processing="ds"))] == [
        "sub-0_ses-1_task-Sherlock1_run-1_proc-ds_meg.h5",
        "sub-0_ses-10_task-Sherlock1_run-1_proc-ds_meg.h5",
    ]
    with pytest.raises(RecordingError, match=r"proc-raw_meg.h5; there are bads\+headpos\+sss\+notch\+bp\+ds, ds;"):
        expand_source(card(root, processing="raw"))


def test_the_signal_is_that_of_the_file_with_types_and_positions(recording: Recording) -> None:
    assert recording.raw.info["sfreq"] == 250.0
    assert recording.raw.ch_names == tree.NAMES
    assert recording.raw.get_channel_types() == tree.KINDS
    assert tree.is_vectorview(recording.raw)
    np.testing.assert_allclose(recording.raw.get_data()[4], np.arange(12_500) / 250.0, rtol=1e-6)
    np.testing.assert_allclose([ch["loc"][:3] for ch in recording.raw.info["chs"]], tree.positions(), atol=1e-7)
    said = [note.found for note in recording.notes]
    assert "6 MEG channels, the study has 306" in said


def test_words_phones_and_sentences_know_their_second_of_the_chapter(recording: Recording) -> None:
    events = recording.events
    words = events[events["kind"] == "word"].reset_index(drop=True)
    assert words["label"].tolist() == [word["word"] for word in tree.spoken()]
    np.testing.assert_allclose(words["stimulus_onset"], [word["onset"] for word in tree.spoken()])
    np.testing.assert_allclose(words["onset"] - words["stimulus_onset"], tree.BEGIN)
    assert set(words["stimulus"]) == {"Sherlock1_Sherlock1_1"}
    assert np.isnan(words["duration"][3])
    assert words["duration"][4] == 0.3
    sentences = events[events["kind"] == "sentence"]
    assert sentences["label"].tolist() == [
        " ".join(w["word"] for w in tree.spoken() if w["sentence"] == k) for k in range(len(sentences))
    ]
    phones = events[events["kind"] == "phone"]
    assert set(phones["label"]) == {"ah"}
    assert set(phones["position"]) == {"B"}
    assert len(phones) == len(words) - 1
    (heard,) = events[events["kind"] == "stimulus"].itertuples()
    assert (heard.onset, heard.duration, heard.stimulus_onset) == pytest.approx((4.25, 44.0, 0.0))
    assert any("1 words or phones end before they begin" in note.found for note in recording.notes)


def test_without_a_name_of_the_audio_words_have_no_stimulus_and_a_note_says_so(root: Path) -> None:
    found = expand_source(card_of("libribrain", root))[0].open()
    assert found.stimuli == {}
    assert set(found.events["kind"]) == {"word", "phone"}
    assert set(found.events["stimulus"]) == {""}
    assert any("set options.audio, for example" in note.done for note in found.notes)


def test_the_pipeline_asks_for_the_name_of_the_audio_before_any_work(root: Path, tmp_path: Path) -> None:
    where = f"cohort.root={root}"
    with pytest.raises(
        SettingsError, match=r"libribrain: how the audio of a session is named is not known; .*--set"
    ) as caught:
        run_pipeline(load_pipeline("libribrain", [where]), tmp_path / "out", say=lambda line: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "store").exists()
    named = load_pipeline("libribrain", [where, "cohort.options.audio='{task}_{session}.wav'"])
    assert named.cohort.options == AUDIO
    assert len(expand_source(named.cohort)) == 2


def test_windows_are_cut_from_blocks_of_whole_sentences(root: Path, tmp_path: Path) -> None:
    index = windows_of(card(root), tmp_path / "store")
    texts = [" ".join(w["word"] for w in tree.spoken() if w["sentence"] == k) for k in range(10)]
    first = [block for block in index.blocks if block.start == 0.0]
    assert [block.sentences for block in first] == [tuple(texts[:2])] * 2  # two sessions of the same text
    assert index.borders["Sherlock1_Sherlock1_10"] == pytest.approx([8.9, 16.5, 24.1, 31.7])
    words = index.table[index.table["anchors"] == "test"]
    spoken = {round(w["onset"], 3): w["word"] for w in tree.spoken()}
    assert [spoken[round(t, 3)] for t in words["stimulus_time"]] == words["label"].tolist()
    assert len(words) > 50


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    root = tree.build(tmp_path / "tree", ("1",))
    (source,) = expand_source(card(root))
    tree.write_wav(root / "Sherlock1" / "stimuli" / "audio" / "Sherlock1_1.wav", 12.0)
    refused(source, r"Sherlock1_1.wav: lasts 12.0 s, words go on to .* correct options.audio")
    (root / "Sherlock1" / "stimuli" / "audio" / "Sherlock1_1.wav").unlink()
    refused(source, "Sherlock1_1.wav: no such file; correct options.audio")
    for pattern in ("{book}.wav", "../{task}.wav", "{task"):
        with pytest.raises(RecordingError, match="options.audio is .*; allowed is a file name with"):
            expand_source(card(root, audio=pattern))
    (plain,) = expand_source(card(root, audio=None))
    places = root / "metadata" / "sensor_xyz.json"
    places.write_text(json.dumps([[0, 0, 0]]))
    assert any(note.found == "positions are (1, 3), the recording has 6 channels" for note in plain.open().notes)
    table = tree.events_of(root, "1")
    text = table.read_text()
    table.write_text(text.replace("\ttimemeg\t", "\tonset\t"))
    refused(plain, "no column timemeg; get it again")
    table.write_text("\n".join(line for line in text.splitlines() if "\tword\t" not in line))
    refused(plain, "none of kind word with a time")
    table.unlink()
    refused(plain, "events.tsv: missing")
    with h5py.File(source.path, "r+") as file:
        file.attrs["channel_types"] = "mag"
    refused(plain, r"data is \(6, 12500\) for 6 names and 1 types")
    with h5py.File(source.path, "r+") as file:
        del file.attrs["channel_names"]
    refused(plain, "has no attribute channel_names")
    source.path.write_bytes(b"nothing")
    refused(plain, "not a serialised recording")


def refused(source, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as error:
        source.open()
    assert "\n" not in str(error.value)
