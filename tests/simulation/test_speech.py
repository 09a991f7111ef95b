"""The embedded speech is whole, its times lie where the sound is, and own speech is read or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from neurodecode.files import read_json, sha256_of_file
from neurodecode.resources import resource_folder
from neurodecode.simulation.make_speech import read_stories
from neurodecode.simulation.response import PHONE_CLASSES, phone_class
from neurodecode.simulation.speech import Speech, SpeechError, load_speech

FOLDER = resource_folder("datasets") / "speech"


@pytest.fixture(scope="module")
def stories() -> list[Speech]:
    return load_speech(None, None)


def test_every_file_is_the_one_that_speech_json_lists(stories: list[Speech]) -> None:
    card = read_json(FOLDER / "speech.json")["stories"]
    assert [speech.name for speech in stories] == list(card)
    for name, entry in card.items():
        for ending, digest in entry["sha256"].items():
            assert sha256_of_file(FOLDER / f"{name}.{ending}") == digest


def test_the_counts_and_the_length_are_those_of_the_readme(stories: list[Speech]) -> None:
    assert sum(speech.seconds for speech in stories) / 60 == pytest.approx(13.7, abs=0.05)
    counts = {kind: sum(len(speech.events(kind)) for speech in stories) for kind in ("sentence", "word", "phone")}
    assert counts == {"sentence": 175, "word": 2248, "phone": 8177}


def test_the_sentences_are_the_text_and_none_comes_twice(stories: list[Speech]) -> None:
    text = read_stories(FOLDER / "stories.txt")
    for speech in stories:
        assert list(speech.events("sentence")["label"]) == text[speech.name]
    everything = [sentence for sentences in text.values() for sentence in sentences]
    assert len(everything) == len(set(everything))


def test_words_lie_in_sentences_and_phones_in_words(stories: list[Speech]) -> None:
    for speech in stories:
        for inner, outer in (("word", "sentence"), ("phone", "word")):
            parts, wholes = speech.events(inner), speech.events(outer)
            which = np.searchsorted(wholes["onset"], parts["onset"] + 1e-5, side="right") - 1
            assert (which >= 0).all()
            ends = (wholes["onset"] + wholes["duration"]).to_numpy()[which]
            assert (parts["onset"] + parts["duration"] <= ends + 3e-5).all()


def test_sound_is_where_the_labels_are(stories: list[Speech]) -> None:
    for speech in stories:
        phones = speech.events("phone")
        inside = speech.envelope((phones["onset"] + phones["duration"] / 2).to_numpy())
        sentences = speech.events("sentence")
        ends = (sentences["onset"] + sentences["duration"]).to_numpy()
        pauses = speech.envelope((ends[:-1] + sentences["onset"].to_numpy()[1:]) / 2)
        assert np.median(inside) > 100 * pauses.max()


def test_every_phone_has_a_class(stories: list[Speech]) -> None:
    labels = {label for speech in stories for label in speech.events("phone")["label"]}
    assert {label for label in labels if phone_class(label) == "other"} == set()
    members = [phone for group in PHONE_CLASSES.values() for phone in group]
    assert len(members) == len(set(members))


def test_own_speech_is_read(tmp_path: Path, stories: list[Speech]) -> None:
    for path in (stories[3].path, stories[3].table):
        shutil.copy(path, tmp_path)
    (loaded,) = load_speech(tmp_path, None)
    assert loaded.name == stories[3].name
    assert loaded.sha256 == stories[3].sha256


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("onset\tduration\tkind\n0\t1\tword\n", "no column label"),
        ("onset\tduration\tkind\tlabel\nsoon\t1\tword\thello\n", "row 2: onset is 'soon'"),
        ("onset\tduration\tkind\tlabel\n0\t1\tword\ta\n500\t1\tword\tb\n", "row 3: 500.000 s"),
    ],
)
def test_a_bad_table_is_refused_with_its_row(tmp_path: Path, stories: list[Speech], table: str, says: str) -> None:
    shutil.copy(stories[0].path, tmp_path)
    (tmp_path / stories[0].table.name).write_text(table, encoding="utf-8")
    with pytest.raises(SpeechError, match=says):
        load_speech(tmp_path, None)


def test_an_empty_folder_and_too_many_stories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="no .ogg"):
        load_speech(tmp_path, None)
    with pytest.raises(SpeechError, match="holds 14"):
        load_speech(None, 15)
