"""Gwilliams 2022: stories, words and sentences at the seconds the tables state; what is missing is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.studies.gwilliams2022 import parse_trial_type, sound_name
from neurodecode.segments.windows import WindowIndex
from tests.recordings.studies import gwilliams2022_tree as tree
from tests.recordings.studies.parts import SENTENCES, card_of, side_of, windows_of

THREE = (("A0001", "0", "0"), ("A0001", "0", "1"), ("A0002", "1", "0"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("gwilliams"), THREE)


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card_of("gwilliams2022", root))[1].open()


def test_sources_are_the_files_that_are_there(root: Path) -> None:
    sources = expand_source(card_of("gwilliams2022", root))
    assert [(s.subject, s.session, s.task) for s in sources] == list(THREE)
    assert {s.line_frequency for s in sources} == {50.0}
    said = [note.found for note in sources[0].open().notes if note.done == "the cohort goes without"]
    # 3 participants x 2 sessions x 4 stories = 24 are possible
    assert len(said) == 1
    assert said[0].startswith("21 of 24 recordings are not there: sub-A0001_ses-0_task-2, sub-A0001_ses-0_task-3")
    assert not [note for note in sources[1].open().notes if note.done == "the cohort goes without"]


def test_sounds_are_heard_from_their_rows_on_for_the_length_of_their_file(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "stimulus"]
    assert rows["stimulus"].tolist() == ["cable_spool_fort_0", "cable_spool_fort_1"]
    assert rows["onset"].tolist() == [2.0, 25.5]
    assert rows["duration"].tolist() == pytest.approx([22.0, 22.0])
    assert rows["stimulus_onset"].tolist() == [0.0, 0.0]
    audio = recording.stimuli["cable_spool_fort_1"].audio
    assert audio is not None
    assert audio.name == "cable_spool_fort_1.wav"


def test_words_lie_at_their_onset_and_know_their_second_of_the_wav(recording: Recording) -> None:
    words = recording.events[recording.events["kind"] == "word"]
    second = words[words["stimulus"] == "cable_spool_fort_1"].reset_index(drop=True)
    spoken = " ".join(tree.sentences(1)).split()
    assert second["label"].tolist() == spoken
    assert second["stimulus_onset"].tolist() == pytest.approx([0.5 + 0.4 * i for i in range(len(spoken))])
    assert second["onset"].tolist() == pytest.approx([26.0 + 0.4 * i for i in range(len(spoken))])
    assert "don't" in second["label"].tolist()
    assert set(second["condition"]) == {"sentence", "word_list"}
    phones = recording.events[recording.events["kind"] == "phone"]
    assert set(phones["label"]) == {"dh"}
    assert set(phones["position"]) == {"B"}
    assert phones["onset"].iloc[0] == pytest.approx(2.9)


def test_a_sentence_without_its_first_word_is_joined_to_the_one_before(recording: Recording) -> None:
    sentences = recording.events[recording.events["kind"] == "sentence"]
    first = sentences[sentences["stimulus"] == "cable_spool_fort_0"]
    spoken = [" ".join(SENTENCES[0].split()[:2] + SENTENCES[0].split()[3:]), *SENTENCES[1:5]]
    joined = f"{spoken[1]} {' '.join(spoken[2].split()[1:])}"
    assert first["label"].tolist() == [spoken[0], joined, spoken[3], spoken[4], tree.WORD_LISTS[0]]
    assert first["stimulus_onset"].iloc[:2].tolist() == pytest.approx([0.5, 0.5 + 0.4 * len(SENTENCES[0].split())])
    assert [n.found for n in recording.notes if "index 0" in n.found] == ["1 sequences without a word of index 0"]


def test_reference_channels_are_not_sensors_and_stated_bad_channels_are_bad(recording: Recording) -> None:
    assert recording.raw.get_channel_types().count("mag") == 208
    assert recording.raw.get_channel_types()[-1] == "ref_meg"
    assert recording.raw.info["bads"] == ["MEG 005"]


def test_a_sound_that_is_not_there_leaves_its_words_without_a_stimulus(tmp_path: Path) -> None:
    root = tree.build(tmp_path, (("A0001", "0", "0"),))
    (root / "download" / "stimuli" / "audio" / "lw1_1.wav").unlink()
    (source,) = expand_source(card_of("gwilliams2022", root))
    recording = source.open()
    words = recording.events[recording.events["kind"] == "word"]
    assert set(words["stimulus"][words["onset"] > 25]) == {""}
    assert set(words["stimulus"][words["onset"] < 25]) == {"lw1_0"}
    assert any("1 sounds are not in" in note.found and "lw1_1" in note.found for note in recording.notes)
    audio = root / "download" / "stimuli" / "audio" / "lw1_0.wav"
    audio.write_bytes(audio.read_bytes()[:400_000])  # as a broken transfer leaves it
    with pytest.raises(RecordingError, match=r"lw1_0.wav: announces 970244 bytes and holds 400000; it is cut off"):
        source.open()
    audio.unlink()
    with pytest.raises(RecordingError, match="none of lw1_0, lw1_1 is in .*download the stimuli"):
        source.open()


def test_rows_that_cannot_be_trusted_are_counted(tmp_path: Path) -> None:
    root = tree.build(tmp_path, (("A0001", "0", "0"),))
    table = next(root.rglob("*_events.tsv"))
    lines = table.read_text().splitlines()
    # a call instead of a dict, a kind nobody knows, a word 3 s from where its wav has it, one after the end
    lines[3] = "3.0\t0.3\t__import__('os').getcwd()\t2\t3000"
    lines[4] = lines[4].replace("'kind': 'word'", "'kind': 'cough'").replace("'kind': 'phoneme'", "'kind': 'cough'")
    cells = lines[8].split("\t")
    lines[8] = "\t".join([str(float(cells[0]) + 3), *cells[1:]])
    lines.append(lines[-1].replace(lines[-1].split("\t")[0], "51.0", 1))
    table.write_text("\n".join(lines))
    (source,) = expand_source(card_of("gwilliams2022", root))
    said = " | ".join(note.line() for note in source.open().notes)
    assert "1 with a trial_type that is no dict, 1 of kind cough; left out" in said
    assert "1 of " in said.split("words and phones lie more than 0.5 s")[0]
    assert "1 of" in said.split("events lie outside the recording of 50 s")[0][-20:]
    assert "onset and sample differ by up to 3" in said or "differ by up to" in said


def test_a_recording_cut_short_has_the_sentences_of_the_others(tmp_path: Path) -> None:
    root = tree.build(tmp_path, (("A0001", "0", "0"),))
    (source,) = expand_source(card_of("gwilliams2022", root))
    whole = source.open().events
    tree.raw().crop(tmax=35.0).save(source.path, overwrite=True, verbose="error")
    short = source.open().events
    columns = ["label", "stimulus", "stimulus_onset", "onset"]
    sentences = [events[events["kind"] == "sentence"][columns] for events in (whole, short)]
    assert sentences[0].values.tolist() == sentences[1].values.tolist()
    assert short["onset"][short["kind"] == "word"].max() < 35
    assert short["duration"][short["kind"] == "stimulus"].tolist() == pytest.approx([22.0, 9.501])


@pytest.mark.shared_data
def test_a_real_kit_file_is_read_in_the_place_of_the_stand_in(shared_data: Path, tmp_path: Path) -> None:
    root = tree.build(tmp_path, (("A0001", "0", "0"),))
    stand_in = next(root.rglob("*_meg.fif"))
    kit = shared_data / "formats" / "kit" / "tests" / "data" / "test.sqd"
    shutil.copyfile(kit, stand_in.with_suffix(".con"))
    stand_in.unlink()
    (source,) = expand_source(card_of("gwilliams2022", root))
    assert source.path.suffix == ".con"
    with pytest.raises(RecordingError, match="no row of kind sound lies inside the recording"):
        source.open()  # it is shorter than the 2 s before the first sound
    table = next(root.rglob("*_events.tsv"))
    table.write_text(table.read_text().replace("\n2.0\t", "\n0.0\t", 1))
    recording = source.open()
    # another system, and a few seconds long: it is read, and what differs from the study is said
    assert recording.raw.get_channel_types().count("ref_meg") == 3
    said = " | ".join(note.line() for note in recording.notes)
    assert "MEG channels, the study has 208" in said
    assert "events lie outside the recording" in said


def test_cells_are_read_as_literals_only() -> None:
    said = parse_trial_type("{'word': \"don't\", 'pronounced': nan, 'word_index': 3.0, 'start': -1.5}")
    assert said["word"] == "don't"
    assert np.isnan(said["pronounced"])
    assert said["start"] == -1.5
    for text in ("open('x')", "{'a': open('x')}", "nan", "[1]", "{'a': ", "{'a': b}"):
        with pytest.raises(ValueError, match="not a dict"):
            parse_trial_type(text)
    assert sound_name("stimuli/audio/The_Black_Willow_0.0.wav") == "the_black_willow_0"
    assert sound_name("stimuli/audio/lw1_11.wav") == "lw1_11"


@pytest.fixture(scope="module")
def index(root: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowIndex:
    return windows_of(card_of("gwilliams2022", root), tmp_path_factory.mktemp("store"))


def test_the_whole_chain_gives_windows_at_the_right_words(index: WindowIndex) -> None:
    test = index.table[index.table["anchors"] == "test"]
    assert len(test) > 50
    spoken = {k: " ".join(tree.sentences(k)).split() for k in range(2)}
    for row in test.itertuples():
        k = int(index.stimuli[row.stimulus][-1])
        assert row.label == spoken[k][round((row.stimulus_time - 0.5) / 0.4)]
        assert row.anchor == pytest.approx(tree.SOUNDS[k] + row.stimulus_time)
        assert row.start == round((row.anchor - 0.5) * 120)
    assert index.subjects == ["A0001", "A0002"]
    # every sensor has a place on the plane that the network attends to
    assert [int(np.isfinite(r.channels["x2d"]).sum()) for r in index.recordings] == [208] * len(index.recordings)


def test_the_signal_of_a_window_is_that_of_its_seconds(index: WindowIndex) -> None:
    row = index.table.iloc[len(index.table) // 2]
    signal = index.recordings[row["recording"]].signal
    assert signal.shape[0] == 208
    # every sample holds its second; the kernel has no say far from the edges
    values = np.asarray(signal[:, row["start"] : row["start"] + index.n_times])
    assert np.abs(values - (row["start"] + np.arange(index.n_times)) / 120).max() < 1e-3


def test_the_split_follows_the_text_of_the_blocks(index: WindowIndex) -> None:
    fold = index.fold("fold-0")
    for row in fold.table[fold.table["split"] != ""].itertuples():
        assert row.split == side_of(index.blocks[row.block].uid)
    # recordings 0 and 2 are of one story, heard by two listeners: the same blocks
    blocks = [set(fold.table["block"][fold.table["recording"] == number]) for number in range(3)]
    assert blocks[0] == blocks[2]
    assert not blocks[0] & blocks[1]
    assert {split for split in fold.table["split"] if split} == {"train", "valid", "test"}
