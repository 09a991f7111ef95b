"""Schoffelen 2019: sounds at their audio onset on the clock of the MEG, words of their TextGrid, listeners as published."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.clocks import tie_clocks, to_recording, with_own_triggers
from neurodecode.recordings.presentation_log import read_log
from neurodecode.recordings.recording import Recording
from neurodecode.recordings.sources import expand_source
from neurodecode.recordings.studies import schoffelen2019
from neurodecode.recordings.textgrid import read_textgrid
from neurodecode.segments.blocks import sides_of_blocks
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.recordings.studies import schoffelen2019_tree as tree
from tests.recordings.studies.parts import SENTENCES, card_of, side_of, windows_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.build(tmp_path_factory.mktemp("schoffelen"))


@pytest.fixture(scope="module")
def recording(root: Path) -> Recording:
    return expand_source(card_of("schoffelen2019", root))[0].open()


def test_96_listeners_are_left_of_those_there_ever_were() -> None:
    ever = set(schoffelen2019.LISTENERS) - schoffelen2019.NEVER
    assert len(ever - schoffelen2019.SKIPPED) == 96
    assert ever >= schoffelen2019.SKIPPED


def test_sources_are_listeners_without_the_skipped_and_without_rest(root: Path) -> None:
    sources = expand_source(card_of("schoffelen2019", root))
    assert [s.subject for s in sources] == ["A2002", "A2005"]
    assert all("auditory" in s.path.name for s in sources)
    (said,) = [n.found for n in sources[0].open().notes if n.done == "the cohort goes without"]
    assert said.startswith("94 listeners are not there: A2003, A2004, A2006")
    assert said.endswith("left out for two runs or NaN, as published: A2011")


def test_the_last_folder_that_is_no_rest_is_the_recording(tmp_path: Path) -> None:
    meg = tmp_path / "sub-A2003" / "meg"
    for name in ("a_task-auditory_run-1_meg.ds", "a_task-auditory_run-2_meg.ds", "a_task-rest_meg.ds", "z.txt"):
        (meg / name).mkdir(parents=True)
    (tmp_path / "stimuli" / "audio_files").mkdir(parents=True)
    (source,) = expand_source(card_of("schoffelen2019", tmp_path))
    assert source.path.name == "a_task-auditory_run-2_meg.ds"
    with pytest.raises(RecordingError, match="0 logs of A2003"):
        source.open()


def test_sounds_begin_at_their_trigger_or_where_the_fixation_before_puts_them(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "stimulus"]
    # steps of a sample of 1200 Hz, since anchors are triggers; one sound lacks its own, another its 'Audio onset'
    assert rows["onset"].to_numpy() == pytest.approx([tree.onset_of(p) for p in range(10)], abs=1 / 1200)
    assert rows["stimulus"].iloc[0] == "EQ_Ramp_Int2_Int1LPF007"
    assert rows["stimulus"].iloc[1] == "EQ_Ramp_Int2_Int1LPF186"
    # 5.5 s of sound, and of the silence after it what the next sound (7 s after) leaves; the last has 2.5 s
    assert rows["duration"].iloc[0] == pytest.approx(7.0, abs=2 / 1200)
    assert rows["duration"].iloc[9] == pytest.approx(8.0)
    said = " | ".join(note.line() for note in recording.notes)
    assert "2 logs in one file; the first is read" in said
    assert "1 of 12 rows that should have a trigger have none" in said
    assert "1 negative times; taken as 0" in said
    assert "1 of 10 sounds without a row 'Audio onset' after them; not needed" in said
    assert "two tables do not agree" not in said
    assert "speech begins" not in said


def test_the_released_reading_takes_the_begin_of_speech_for_that_of_the_wav(root: Path, recording: Recording) -> None:
    released = expand_source(card_of("schoffelen2019", root, options={"sound_onset": "audio_onset"}))[0].open()
    rows = [r.events[r.events["kind"] == "stimulus"].set_index("stimulus")["onset"] for r in (recording, released)]
    late = (rows[1] - rows[0]).dropna()
    assert len(late) == 9  # the one without a row 'Audio onset' is left out
    assert late.to_numpy() == pytest.approx(0.5, abs=1e-3)
    said = " | ".join(note.line() for note in released.notes)
    assert "sounds begin at 'Audio onset', which is the begin of speech in them; as in the released code" in said
    assert "1 of 10 sounds without a row 'Audio onset' after them; left out" in said


def test_alignments_that_do_not_begin_with_their_wav_are_warned_of(tmp_path: Path) -> None:
    root = tree.build(tmp_path)
    for path in root.rglob("*.log"):
        path.write_text(re.sub(r"(1 Audio onset\t)(\d+)", lambda m: f"{m[1]}{int(m[2]) - 3000}", path.read_text()))
    said = " | ".join(note.line() for note in expand_source(card_of("schoffelen2019", root))[0].open().notes)
    assert "speech begins -0.300 s later in the log than in the alignments (median)" in said


def test_only_the_sound_counts_on_request(root: Path) -> None:
    card = card_of("schoffelen2019", root, options={"silence": 0})
    rows = expand_source(card)[0].open().events
    assert rows["duration"][rows["kind"] == "stimulus"].to_numpy() == pytest.approx(5.5)
    with pytest.raises(RecordingError, match="options.silence is -1, allowed are numbers from 0"):
        expand_source(card_of("schoffelen2019", root, options={"silence": -1}))


def test_words_and_phones_are_those_of_the_textgrid(recording: Recording) -> None:
    words = recording.events[recording.events["kind"] == "word"]
    assert words["label"].tolist() == " ".join(SENTENCES[p] for p in range(10)).split()
    second = words[words["stimulus"] == "EQ_Ramp_Int2_Int1LPF186"]
    assert second["stimulus_onset"].to_numpy() == pytest.approx(0.5 + 0.4 * np.arange(len(second)))
    assert second["onset"].to_numpy() == pytest.approx(tree.onset_of(1) + second["stimulus_onset"].to_numpy(), abs=1e-3)
    phones = recording.events[recording.events["kind"] == "phone"]
    assert phones["label"].tolist() == [word[0] for word in words["label"]]
    conditions = words.groupby("stimulus", sort=False)["condition"].first().tolist()
    assert conditions == ["sentence"] * 5 + ["word_list"] * 5


def test_sentences_are_those_of_stimuli_txt(recording: Recording) -> None:
    rows = recording.events[recording.events["kind"] == "sentence"]
    assert rows["label"].tolist() == [f"{SENTENCES[p][0].upper()}{SENTENCES[p][1:]}." for p in range(10)]
    assert rows["sequence_uid"].tolist() == [float(p) for p in range(1, 11)]  # numbers of lines, not of wavs


def test_a_lost_trigger_costs_its_own_row_only() -> None:
    times = np.cumsum([0.0, 4.0, 5.5, 4.2, 6.1, 4.9, 5.3])
    rows = [(float(t), 20) for t in times]
    # the clocks part by 50 parts in a million; the third trigger is missing, one is there too many
    meg = 100.0 + times * (1 + 5e-5)
    triggers = [(float(t), 20) for t in np.delete(meg, 2)] + [(101.7, 20)]
    anchors, notes = tie_clocks(rows, triggers, Path("a.log"))
    assert anchors == pytest.approx(np.delete(np.stack([times, meg], 1), 2, axis=0))
    assert notes[0].found == "1 of 7 rows that should have a trigger have none"
    at = to_recording(np.array([times[2] + 1.0, times[3] + 1.0]), anchors)
    assert at == pytest.approx([meg[1] + times[2] - times[1] + 1.0, meg[3] + 1.0])
    # a row with a trigger of its own lies there, unless that is too far to be its own
    own = with_own_triggers(anchors, [(1.0, 14), (5.0, 14)], [(101.03, 14), (105.2, 14)])
    assert to_recording(np.array([1.0, 5.0]), own) == pytest.approx([101.03, meg[1] + 1.0])


def test_a_log_of_another_recording_is_refused() -> None:
    rows = [(t, 20) for t in (0.0, 4.0, 9.5, 13.7)]
    for triggers in ([(1.0, 3)], [], [(50.0, 20)]):
        with pytest.raises(RecordingError, match="do not belong together"):
            tie_clocks(rows, triggers, Path("a.log"))
    times = np.cumsum(np.random.default_rng(0).uniform(4, 9, 60))
    with pytest.raises(
        RecordingError, match=r"s of the log are [\d.]+ s of the recording; they do not belong together"
    ):
        tie_clocks([(float(t), 20) for t in times], [(float(t) * 1.003, 20) for t in times], Path("a.log"))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = tree.build(tmp_path)
    download = root / "download"
    (download / "stimuli" / "audio_files" / "EQ_Ramp_Int2_Int1LPF186.wav").unlink()
    (download / "derivatives" / "phonemes" / "EQ_Ramp_Int2_Int1LPF012.TextGrid").unlink()
    (download / "stimuli" / "stimuli.txt").unlink()
    source = expand_source(card_of("schoffelen2019", root))[0]
    read = source.open()
    said = " | ".join(note.line() for note in read.notes)
    assert "1 sounds are not in" in said
    assert "1 alignments are not there: EQ_Ramp_Int2_Int1LPF012.TextGrid" in said
    assert "stimuli.txt: missing; sentences are named by their aligned words" in said
    rows = read.events[read.events["kind"] == "sentence"]
    assert rows["label"].tolist() == [SENTENCES[p] for p in range(10) if p not in (1, 2)]
    for path in (download / "stimuli" / "audio_files").glob("*.wav"):
        path.unlink()
    with pytest.raises(RecordingError, match="10 rows 'Start File', 1 without an audio onset, 10 whose wav is not in"):
        source.open()


def test_logs_and_textgrids_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("nothing")
    with pytest.raises(RecordingError, match="no log file of Presentation"):
        read_log(path)
    path.write_text("Scenario -\tx\nonly text\n")
    with pytest.raises(RecordingError, match="no table of events"):
        read_log(path)
    path = tmp_path / "a.TextGrid"
    path.write_text('"ooTextFile"\n"TextGrid"\n0\n5\n<exists>\n')
    with pytest.raises(RecordingError, match="long text format"):
        read_textgrid(path)


@pytest.fixture(scope="module")
def index(root: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowIndex:
    return windows_of(card_of("schoffelen2019", root), tmp_path_factory.mktemp("store"))


def test_the_whole_chain_gives_windows_at_the_right_words(index: WindowIndex) -> None:
    test = index.table[index.table["anchors"] == "test"]
    assert len(test) > 50
    for row in test.itertuples():
        place = tree.NUMBERS.index(int(index.stimuli[row.stimulus][-3:]))
        assert row.label == SENTENCES[place].split()[round((row.stimulus_time - 0.5) / 0.4)]
        position = tree.order(index.recordings[row.recording].subject).index(place)
        assert row.anchor == pytest.approx(tree.onset_of(position) + row.stimulus_time, abs=1e-3)
    assert {r.signal.shape[0] for r in index.recordings} == {273}
    # every sensor has a place on the plane that the network attends to
    assert [int(np.isfinite(r.channels["x2d"]).sum()) for r in index.recordings] == [273] * len(index.recordings)


def test_every_sentence_is_a_block_of_its_own_whatever_the_order(index: WindowIndex) -> None:
    fold = index.fold("fold-0")
    assert len({block.uid for block in index.blocks}) == len(index.blocks) == 10
    assert {split for split in fold.table["split"] if split} == {"train", "valid", "test"}
    for row in fold.table[fold.table["split"] != ""].itertuples():
        assert row.split == side_of(index.blocks[row.block].uid)


def test_the_published_split_hashes_the_number_of_the_line_in_stimuli_txt(index: WindowIndex) -> None:
    stimuli = {name: SimpleNamespace(sha256=content) for name, content in zip(index.stimuli, index.contents)}
    store = SimpleNamespace(recordings=index.recordings, stimuli=stimuli, path=Path("store"))
    split = index.settings.split.model_copy(update={"hashed": "uid", "repeated": "apart", "test": 0.4, "valid": 0.3})
    found = build_windows(store, index.settings.model_copy(update={"split": split}))
    numbers = {tree.NUMBERS[place]: str(place + 1) for place in range(10)}  # of a wav -> of its line
    sides = sides_of_blocks(found.blocks, split)
    assert len(found.blocks) == 10
    for block, side in zip(found.blocks, sides):
        text = block.sentences[0].rstrip(".").lower()
        assert block.uid == str([s.lower() for s in SENTENCES].index(text) + 1)
        draw = random.Random(int(hashlib.sha256(block.uid.encode()).hexdigest(), 16) + 12).random()
        assert side == ("test" if draw < 0.4 else "valid" if draw < 0.7 else "train")
    for row in found.table.itertuples():
        assert found.blocks[row.block].uid == numbers[int(found.stimuli[row.stimulus][-3:])]
    assert sides != sides_of_blocks(index.blocks, split)  # texts would deal them out otherwise
