"""events.tsv as people write it, and which stimulus every event belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurodecode.errors import RecordingError
from neurodecode.recordings.events import attach_stimuli, audio_seconds, read_events
from tests.recordings.makers import write_tsv, write_wav

ONSETS = ["0.5", "n/a", "nan", "", "3,25", "7.0"]


def table_of(path: Path) -> tuple[pd.DataFrame, str]:
    events, notes = read_events(path)
    return events, " | ".join(note.line() for note in notes)


def test_rows_without_a_usable_onset_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [[onset, "n/a", "n/a", code] for code, onset in enumerate(ONSETS, start=1)]
    path = write_tsv(tmp_path / "e.tsv", ["onset", "duration", "trial_type", "value"], rows)
    events, notes = table_of(path)
    assert events["onset"].tolist() == [0.5, 7.0]
    assert events["label"].tolist() == ["1", "6"]  # trial_type is n/a throughout: the label falls back to value
    assert events["duration"].isna().all()  # unknown is not 0
    assert "6 rows: 2 kept, 3 no onset, 1 unreadable" in notes


def test_decimal_commas_are_read_when_all_numbers_have_them(tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "e.tsv", ["onset", "duration"], [["0,5", "1"], ["3,25", "0,25"], ["7", "n/a"]])
    events, notes = table_of(path)
    assert events["onset"].tolist() == [0.5, 3.25, 7.0]
    assert events["duration"].tolist()[:2] == [1.0, 0.25]
    assert "decimal commas" in notes


def test_a_byte_order_mark_windows_lines_and_spaces_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_bytes("\ufeffonset\tduration \ttrial_type\r\n 1.5\t0\tgo \r\n\r\n2.5\t0\r\n".encode())
    events, _ = table_of(path)
    assert events[["onset", "duration", "label"]].values.tolist()[0] == [1.5, 0.0, "go"]
    assert len(events) == 2


@pytest.mark.parametrize("text", ["inf", "-inf", "1e999", "soon"])
def test_infinite_and_wordy_onsets_are_unreadable(tmp_path: Path, text: str) -> None:
    events, notes = table_of(write_tsv(tmp_path / "e.tsv", ["onset"], [[text], ["1"]]))
    assert events["onset"].tolist() == [1.0]
    assert "1 unreadable" in notes


def test_a_table_without_onsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"columns are sample, value; an events table needs a column onset"):
        read_events(write_tsv(tmp_path / "e.tsv", ["sample", "value"], [["1", "2"]]))


def test_an_empty_table_gives_no_events(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_text("")
    events, notes = table_of(path)
    assert len(events) == 0
    assert "no rows" in notes


@pytest.mark.parametrize(
    ("columns", "row", "kind", "label"),
    [
        (["trial_type", "value"], ["word", "hello"], "word", "hello"),
        (["trial_type", "value"], ["phoneme", "ah"], "phone", "ah"),
        (["trial_type", "label", "value"], ["sentence", "Hi there", "3"], "sentence", "Hi there"),
        (["trial_type", "value"], ["word", "n/a"], "event", "word"),
        (["trial_type", "value"], ["speech", "1"], "event", "speech"),
        (["kind", "label", "trial_type"], ["Phoneme", "ah", "x"], "phone", "ah"),
        (["kind", "trial_type", "value"], ["word", "word", "tree"], "word", "tree"),
        (["stim_file", "trial_type"], ["a.wav", "story"], "stimulus", "story"),
        (["stim_file", "trial_type"], ["n/a", "pause"], "event", "pause"),
        (["value"], ["7"], "event", "7"),
    ],
)
def test_kind_and_label(tmp_path: Path, columns: list[str], row: list[str], kind: str, label: str) -> None:
    events, _ = read_events(write_tsv(tmp_path / "e.tsv", ["onset", *columns], [["1", *row]]))
    assert (events["kind"][0], events["label"][0]) == (kind, label)


def heard(folder: Path, rows: list[list[object]], seconds: float = 100.0, columns: tuple[str, ...] = ()) -> tuple:
    names = ["onset", "duration", "stim_file", "stimulus_onset", *columns]
    path = write_tsv(folder / "e.tsv", names, rows)
    return attach_stimuli(read_events(path)[0], folder / "stimuli", seconds, "e.tsv")


@pytest.fixture
def story(tmp_path: Path) -> Path:
    write_wav(tmp_path / "stimuli" / "story.wav", 10.0)
    timings = [[1, 2, "sentence", "A b."], [1, 0.5, "word", "a"], [2, 1, "word", "b"], [9, 0.5, "word", "c"]]
    write_tsv(tmp_path / "stimuli" / "story.tsv", ["onset", "duration", "kind", "label"], timings)
    return tmp_path


def test_a_stimulus_lasts_as_long_as_its_audio_and_brings_its_words(story: Path) -> None:
    events, stimuli, _ = heard(story, [[20, "n/a", "story.wav", "n/a"]])
    assert stimuli["story"].audio == story / "stimuli" / "story.wav"
    row = events[events["kind"] == "stimulus"].iloc[0]
    assert (row["duration"], row["stimulus_onset"]) == (10.0, 0.0)
    words = events[events["kind"] == "word"]
    assert words["onset"].tolist() == [21.0, 22.0, 29.0]
    assert words["stimulus_onset"].tolist() == [1.0, 2.0, 9.0]
    assert set(words["stimulus"]) == {"story"}


def test_words_are_clipped_to_what_was_heard(story: Path) -> None:
    # heard from second 1.25 of the audio, for 1.25 s
    events, _, _ = heard(story, [[20, 1.25, "story.wav", 1.25]])
    words = events[events["kind"] == "word"]
    assert words[["onset", "duration", "label"]].values.tolist() == [[20.0, 0.25, "a"], [20.75, 0.5, "b"]]
    sentence = events[events["kind"] == "sentence"].iloc[0]
    assert (sentence["onset"], sentence["duration"], sentence["stimulus_onset"]) == (20.0, 1.25, 1.25)


def test_a_stimulus_ends_where_the_next_begins_or_with_the_recording(story: Path) -> None:
    events, _, _ = heard(story, [[0, "n/a", "story.wav", 0], [5, "n/a", "story.wav", 0]], seconds=7.0)
    assert events[events["kind"] == "stimulus"]["duration"].tolist() == [5.0, 2.0]
    assert events[events["kind"] == "word"]["onset"].tolist() == [1.0, 2.0, 6.0]


def test_words_of_the_events_table_are_not_doubled_and_get_their_stimulus(story: Path) -> None:
    rows = [[20, "n/a", "story.wav", 0, "n/a", "n/a"], [23.5, 0.2, "n/a", "n/a", "word", "mine"]]
    rows.append([40.0, 0.2, "n/a", "n/a", "word", "later"])
    events, _, _ = heard(story, rows, columns=("trial_type", "value"))
    words = events[events["kind"] == "word"].set_index("label")
    assert list(words.index) == ["mine", "later"]
    assert (words.loc["mine", "stimulus"], words.loc["mine", "stimulus_onset"]) == ("story", 3.5)
    assert words.loc["later", "stimulus"] == ""
    assert np.isnan(words.loc["later", "stimulus_onset"])
    assert (events["kind"] == "sentence").sum() == 1  # of the timing table: the events have none


def test_absent_audio_is_said_and_its_rows_are_plain_events(tmp_path: Path) -> None:
    events, stimuli, notes = heard(tmp_path, [[1, 2, "gone.wav", 0]])
    assert events["kind"].tolist() == ["event"]
    assert events["label"].tolist() == ["gone"]
    assert not stimuli
    assert "gone.wav is not below" in notes[0].line()


def test_one_name_for_two_files_is_refused(tmp_path: Path) -> None:
    for folder in "ab":
        write_wav(tmp_path / "stimuli" / folder / "x.wav", 1.0)
    with pytest.raises(RecordingError, match=r"the stimulus name x stands for a/x.wav and b/x.wav"):
        heard(tmp_path, [[1, "n/a", "a/x.wav", 0], [5, "n/a", "b/x.wav", 0]])


def test_the_prefix_stimuli_is_taken_off(story: Path) -> None:
    _, stimuli, _ = heard(story, [[1, "n/a", "stimuli/story.wav", 0]])
    assert list(stimuli) == ["story"]


def test_a_wav_that_ends_before_its_header_says_is_cut_off_and_one_of_unknown_length_is_not(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "story.wav", 2.0)
    assert audio_seconds(path) == 2.0
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        RecordingError, match=f"announces {len(whole)} bytes and holds {len(whole) // 2}; it is cut off"
    ):
        audio_seconds(path)
    path.write_bytes(whole[:-20])  # half a percent: a careless count
    assert audio_seconds(path) == pytest.approx(2.0, abs=0.01)
    # written as it came: the sizes in the header are placeholders
    path.write_bytes(whole[:4] + b"\xff\xff\xff\xff" + whole[8:40] + b"\xff\xff\xff\xff" + whole[44:])
    assert audio_seconds(path) == pytest.approx(2.0)
