"""Broderick 2019: words, phones and sentences of Gentle and transcript, audio from the first sample on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.studies.broderick2019 import sentences_of
from neurodecode.segments.windows import WindowIndex
from tests.recordings.studies import broderick2019_tree as tree
from tests.recordings.studies.parts import SENTENCES, card_of, side_of, windows_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("broderick"))


def card(root: Path, **options: object) -> CohortCard:
    """The shipped card with a floor that 100 words pass."""
    return card_of("broderick2019", root, options={"fewest_words": 40} | options)


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card(root))[0].open()


def test_sources_are_runs_and_the_absent_ones_are_named(root: Path) -> None:
    sources = expand_source(card(root))
    assert [(s.subject, s.run) for s in sources] == [("01", "01"), ("01", "02"), ("02", "01")]
    said = [n.found for n in sources[0].open().notes if n.done == "the cohort goes without"]
    assert len(said) == 1
    assert said[0].startswith("377 of 380 runs are not there: Subject1_Run3, Subject1_Run4")


def test_the_audio_begins_with_the_recording(recording: Recording) -> None:
    (row,) = recording.events[recording.events["kind"] == "stimulus"].itertuples()
    assert (row.onset, row.stimulus_onset, row.stimulus) == (0.0, 0.0, "oldman-01")
    assert row.duration == pytest.approx(47.0)


def test_words_and_phones_lie_where_gentle_has_them(recording: Recording) -> None:
    words = recording.events[recording.events["kind"] == "word"]
    assert dict(zip(words["onset"].round(3), words["label"])) == tree.spoken(1)
    assert (words["stimulus_onset"] == words["onset"]).all()
    assert words["duration"].to_numpy() == pytest.approx(0.3)
    assert words["onset"][words["out_of_vocabulary"] == 1].tolist() == pytest.approx([0.5 + 4 * 0.4])
    phones = recording.events[recording.events["kind"] == "phone"]
    assert len(phones) == 2 * len(words)
    second = phones[phones["label"] == "ah"]
    assert second["onset"].to_numpy() == pytest.approx(words["onset"].to_numpy() + 0.1)
    assert set(second["position"]) == {"E"}


def test_sentences_are_those_of_the_transcript(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "sentence"]
    written = [tree.written(text) for text in SENTENCES]
    # the first word of the fourth sentence has no time
    assert rows["label"].tolist() == [*written[:2], f"{written[2]} {written[3]}", *written[4:]]
    starts = np.cumsum([0] + [len(text.split()) for text in SENTENCES])[:-1] * 0.4 + 0.5
    assert rows["onset"].to_numpy() == pytest.approx(np.delete(starts, 3))
    said = " | ".join(note.line() for note in recording.notes)
    count = len(" ".join(SENTENCES).split())
    assert f"2 of {count} words were not aligned; left out" in said
    assert f"1 of {count - 2} words do not stand in oldman_run1.txt" in said
    assert "the first word of 1 sentences has no time" in said


def test_electrodes_are_placed_and_the_mastoids_left_to_choice(root: Path, recording: Recording) -> None:
    types = recording.raw.get_channel_types()
    assert types == ["eeg"] * 128 + ["misc"] * 2
    assert recording.raw.ch_names[:2] == ["A1", "A2"]
    assert recording.raw.ch_names[-3:] == ["D32", "M1", "M2"]
    assert recording.raw.info["sfreq"] == 128.0
    assert np.isfinite(recording.raw.info["chs"][0]["loc"][:3]).all()
    # microvolts in the file: the ramp of seconds is one of 1e-6 V
    assert recording.raw.get_data(picks=[5])[0, 128] == pytest.approx(1e-6)
    with_them = expand_source(card(root, mastoids="eeg"))[0].open()
    assert with_them.raw.get_channel_types() == ["eeg"] * 130


def test_too_few_words_in_the_transcript_are_refused(root: Path) -> None:
    source = expand_source(card(root, fewest_words=450))[0]
    with pytest.raises(
        RecordingError, match=r"oldman_run1.txt: \d+ of \d+ words of align1.json stand in it, at least 450"
    ):
        source.open()


def test_options_and_missing_pieces_are_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="options.mastoids is 'left', allowed are misc, eeg"):
        expand_source(card(root, mastoids="left"))
    with pytest.raises(RecordingError, match="options.fewest is not an option of broderick2019"):
        expand_source(card(root, fewest=3))
    with pytest.raises(RecordingError, match="holds none of Natural Speech"):
        expand_source(card(tmp_path))
    tree.build(tmp_path)
    private = tmp_path / "download" / "private"
    (private / "audio2.wav").unlink()
    with pytest.raises(RecordingError, match="audio2.wav: missing; run 2 cannot be read"):
        expand_source(card(tmp_path))[1].open()
    (private / "align1.json").write_text('{"words": [{"case": "success", "word": "a", "start": 1}]}')
    with pytest.raises(RecordingError, match="align1.json: a word without word, start, end or phones"):
        expand_source(card(tmp_path))[0].open()


def test_a_recording_cut_short_has_the_sentences_of_the_others(tmp_path: Path, recording: Recording) -> None:
    root = tree.build(tmp_path)
    path = root / "download" / "Natural Speech" / "EEG" / "Subject2" / "Subject2_Run1.mat"
    values = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    cut = {"eegData": values["eegData"][: 20 * 128], "mastoids": values["mastoids"][: 20 * 128]}
    scipy.io.savemat(path, values | cut)
    short = expand_source(card(root))[2].open()
    columns = ["label", "stimulus", "stimulus_onset", "onset"]
    sentences = [r.events[r.events["kind"] == "sentence"][columns] for r in (recording, short)]
    assert sentences[0].values.tolist() == sentences[1].values.tolist()
    assert short.events["onset"][short.events["kind"] == "word"].max() < 20
    assert short.events["duration"][short.events["kind"] == "stimulus"].tolist() == [20.0]


def test_sentences_end_at_stops_before_capitals_and_at_paragraphs() -> None:
    text = '"Where?" he asked.\n"Far out," the man said. He was\ntired\n\nthen 3.5 went. “Go!” “No.”'
    assert sentences_of(text) == [
        '"Where?" he asked.',
        '"Far out," the man said.',
        "He was tired",
        "then 3.5 went.",
        "“Go!",
        "“No.”",
    ]


@pytest.fixture(scope="module")
def index(root: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowIndex:
    return windows_of(card(root), tmp_path_factory.mktemp("store"))


def test_the_whole_chain_gives_windows_at_the_right_words(index: WindowIndex) -> None:
    test = index.table[index.table["anchors"] == "test"]
    assert len(test) > 50
    for row in test.itertuples():
        run = int(index.stimuli[row.stimulus][-2:])
        assert row.label == tree.spoken(run)[round(row.anchor, 3)]
        assert row.stimulus_time == pytest.approx(row.anchor)
    assert {r.signal.shape[0] for r in index.recordings} == {128}
    # every sensor has a place on the plane that the network attends to
    assert [int(np.isfinite(r.channels["x2d"]).sum()) for r in index.recordings] == [128] * len(index.recordings)


def test_the_split_follows_the_text_of_the_blocks(index: WindowIndex) -> None:
    fold = index.fold("fold-0")
    assert {split for split in fold.table["split"] if split} == {"train", "valid", "test"}
    for row in fold.table[fold.table["split"] != ""].itertuples():
        assert row.split == side_of(index.blocks[row.block].uid)
    # recordings 0 and 2 are run 1 of two listeners
    blocks = [set(fold.table["block"][fold.table["recording"] == number]) for number in range(3)]
    assert blocks[0] == blocks[2]
    assert not blocks[0] & blocks[1]
