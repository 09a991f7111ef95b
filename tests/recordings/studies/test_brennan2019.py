"""Brennan 2019: words at their onset and not at the begin of their epoch, sounds before the first sample, selections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.studies.brennan2019 import AUTHORS, UNPUBLISHED
from neurodecode.segments.windows import WindowIndex
from tests.recordings.studies import brennan2019_tree as tree
from tests.recordings.studies.parts import card_of, side_of, windows_of

COUNT = len(tree.story())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("brennan"))


def card(root: Path, **options: object) -> CohortCard:
    """The shipped card for a story of fewer words."""
    return card_of("brennan2019", root, options={"words": COUNT} | options)


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card(root))[0].open()


def test_the_published_selection_leaves_33_of_42_and_the_authors_33_too(root: Path) -> None:
    assert len(UNPUBLISHED) == 42 - 33
    assert len(AUTHORS) == 33
    sources = expand_source(card(root))
    assert [s.subject for s in sources] == ["01", "03"]
    said = [n.found for n in sources[0].open().notes if n.done == "the cohort goes without"]
    assert said == [
        "1 listeners without proc: S05; 1 listeners not in the selection published: S24 (fewer words)",
    ]
    assert [s.subject for s in expand_source(card(root, selection="all"))] == ["01", "03", "24"]
    assert [s.subject for s in expand_source(card(root, selection="authors"))] == ["01", "03"]


def test_sixty_electrodes_are_placed_and_further_channels_are_no_brain_signal(root: Path) -> None:
    first, second = (source.open().raw for source in expand_source(card(root)))
    assert first.get_channel_types() == ["eeg"] * 60 + ["eog"]
    assert second.get_channel_types() == ["eeg"] * 60 + ["eog", "misc"]
    assert "29" not in first.ch_names
    assert np.isfinite([channel["loc"][:3] for channel in first.info["chs"][:60]]).all()
    assert first.get_data(picks=[3])[0, 500] == pytest.approx(1e-6)


def test_words_lie_at_their_onset(recording: Recording) -> None:
    words = recording.events[recording.events["kind"] == "word"]
    story = tree.story()
    assert words["label"].tolist() == [row["Word"] for row in story]
    onsets = [tree.BEGINS[row["Segment"] - 1] + row["onset"] for row in story]
    assert words["onset"].to_numpy() == pytest.approx(onsets, abs=1e-6)
    assert words["stimulus_onset"].to_numpy() == pytest.approx([row["onset"] for row in story])
    assert words["duration"].to_numpy() == pytest.approx(0.3)
    assert set(words["stimulus"]) == {"alice-01", "alice-02"}


def test_the_released_reading_takes_the_begin_of_the_epoch_and_says_so(root: Path, recording: Recording) -> None:
    released = expand_source(card(root, trl_offset="ignored"))[0].open()
    words = [r.events[r.events["kind"] == "word"] for r in (recording, released)]
    late = words[0].set_index("order")["onset"] - words[1].set_index("order")["onset"]
    # 150 samples, and one because they count from 1; the first word would lie before the first sample
    assert late.dropna().to_numpy() == pytest.approx(149 / 500)
    assert len(words[1]) == COUNT - 1
    assert any("epochs begin 0.3 s before their word" in note.found for note in released.notes)
    assert not any("epochs begin" in note.found for note in recording.notes)


def test_a_sound_that_begins_before_the_recording_is_heard_from_its_middle(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "stimulus"]
    assert rows["onset"].to_numpy() == pytest.approx([0.0, 24.0])
    assert rows["stimulus_onset"].to_numpy() == pytest.approx([0.3, 0.0])
    assert rows["duration"].to_numpy() == pytest.approx([21.7, 22.0])
    audio = recording.stimuli["alice-02"].audio
    assert audio is not None
    assert audio.name == "DownTheRabbitHoleFinal_SoundFile2.wav"


def test_sentences_begin_at_their_first_word(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "sentence"]
    assert rows["label"].tolist() == tree.TEXTS
    first = [row["onset"] for row in tree.story() if row["Position"] == 1]
    assert rows["stimulus_onset"].to_numpy() == pytest.approx(first)


def test_words_are_joined_to_the_table_by_their_order(root: Path) -> None:
    late = expand_source(card(root, selection="all"))[2].open()
    words = late.events[late.events["kind"] == "word"]
    assert words["label"].tolist() == [row["Word"] for row in tree.story()[:-5]]
    assert any(f"{COUNT - 5} of {COUNT} words have a time" in note.found for note in late.notes)
    # the sentences, and with them the split, are those of everyone else
    assert late.events["label"][late.events["kind"] == "sentence"].tolist() == tree.TEXTS


def test_stated_bad_channels_are_named_and_marked_on_request(root: Path, recording: Recording) -> None:
    assert recording.raw.info["bads"] == []
    assert any("states 2 bad channels: 7, 45" in note.found for note in recording.notes)
    marked = expand_source(card(root, bads="marked"))[0].open()
    assert marked.raw.info["bads"] == ["7", "45"]


def refused(root: Path, text: str, change: dict | None = None, **options: object) -> None:
    """Rewrite proc of S01, and expect one line."""
    if change is not None:
        proc = tree.proc("01") | change
        scipy.io.savemat(root / "download" / "proc" / "S01.mat", {"proc": proc})
    with pytest.raises(RecordingError, match=text) as caught:
        expand_source(card(root, **options))[0].open()
    assert "\n" not in str(caught.value)


def test_what_does_not_agree_is_refused(tmp_path: Path) -> None:
    root = tree.build(tmp_path)
    trl = tree.proc("01")["trl"]
    refused(root, "the story has 2129; get it again, or set options.words", words=2129)
    refused(root, "proc.trl has 5 columns for the 3 names segment, tmin, Order", {"trl": trl[:, :5]})
    refused(root, "names words twice or words that", {"trl": np.vstack([trl, trl[:1]])})
    moved = trl.copy()
    moved[:, 4] += 3
    refused(root, "words have another tmin than AliceChapterOne-EEG.csv; one is of another story", {"trl": moved})
    for number in (1, 2):
        (root / "download" / "audio" / f"DownTheRabbitHoleFinal_SoundFile{number}.wav").unlink()
    refused(root, "audio: holds none of DownTheRabbitHoleFinal_SoundFile1.wav", {})
    (root / "download" / "S01.mat").write_bytes(b"MATLAB 7.3 MAT-file, of another version")
    refused(root, "S01.mat: not readable as a MATLAB file of version 5")


def test_a_word_far_from_its_sound_belongs_to_none(tmp_path: Path) -> None:
    root = tree.build(tmp_path)
    proc = tree.proc("01")
    proc["trl"][10, :2] += 400  # 0.8 s
    proc["trl"][11, :2] += 100  # 0.2 s
    scipy.io.savemat(root / "download" / "proc" / "S01.mat", {"proc": proc})
    read = expand_source(card(root))[0].open()
    words = read.events[read.events["kind"] == "word"].set_index("order")
    assert words["stimulus"][11.0] == ""
    assert words["stimulus"][12.0] == "alice-01"
    said = " | ".join(note.line() for note in read.notes)
    assert "1 words lie more than 0.5 s from where their sound has them" in said
    assert "part by up to 0.200 s" in said


@pytest.fixture(scope="module")
def index(root: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowIndex:
    return windows_of(card(root), tmp_path_factory.mktemp("store"))


def test_the_whole_chain_gives_windows_at_the_right_words(index: WindowIndex) -> None:
    test = index.table[index.table["anchors"] == "test"]
    assert len(test) > 50
    for row in test.itertuples():
        segment = int(index.stimuli[row.stimulus][-2:])
        spoken = " ".join(tree.TEXTS[5 * segment - 5 : 5 * segment]).split()
        assert row.label == spoken[round((row.stimulus_time - 0.5) / 0.4)]
        assert row.anchor == pytest.approx(tree.BEGINS[segment - 1] + row.stimulus_time, abs=1e-6)
    assert {r.signal.shape[0] for r in index.recordings} == {60}
    # every sensor has a place on the plane that the network attends to
    assert [int(np.isfinite(r.channels["x2d"]).sum()) for r in index.recordings] == [60] * len(index.recordings)


def test_the_split_follows_the_text_of_the_blocks(index: WindowIndex) -> None:
    for side in ("train", "valid", "test"):
        rows = index.fold("fold-0").table
        rows = rows[rows["split"] == side]
        assert len(rows)
        assert {side_of(index.blocks[block].uid) for block in rows["block"].unique()} == {side}
