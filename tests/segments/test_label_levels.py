"""Labels below the word: values from syllables and tables, numbers from training windows alone; words that only test."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from neurodecode.config.base import validate
from neurodecode.config.labels import LabelSettings
from neurodecode.config.levels import LevelSettings
from neurodecode.errors import LeakageError, NeurodecodeError, SettingsError, StimulusError
from neurodecode.segments.label_audit import audit_labels
from neurodecode.segments.label_levels import FoldLevels, WordLevels, number_levels, weights_of, word_levels
from neurodecode.segments.labels import LabelIndex, build_labels
from tests.training.codebook_cohort import WORDS, cohort

TABLE = "word\tonset\tplace\nba\tstop\tlips\nda\tstop\ttongue\nga\tstop\tback\nka\tnone\tback\nma\tnasal\tlips\n"
WINDOW = {"tmin": -0.1, "tmax": 0.5, "closed": False, "baseline": None, "shift": 0.0}


def index(**split) -> LabelIndex:
    """Four runs of 32 trials of ba, da, ga, ka; the third validates, the fourth tests."""
    settings = validate(LabelSettings, {"window": WINDOW, "split": split}, "test")
    return build_labels(cohort({"1": ("A1", "A2")}), settings)  # type: ignore[arg-type]


def written(tmp_path: Path, text: str = TABLE) -> Path:
    path = tmp_path / "levels.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def of_table(tmp_path: Path, text: str = TABLE, columns: tuple[str, ...] = ()) -> WordLevels:
    return word_levels(LevelSettings(table=written(tmp_path, text), columns=columns), WORDS)


class TestValues:
    def test_of_a_table_are_its_columns(self, tmp_path) -> None:
        found = of_table(tmp_path)
        assert found.names == ("onset", "place")
        assert found.values == {
            "ba": ("stop", "lips"),
            "da": ("stop", "tongue"),
            "ga": ("stop", "back"),
            "ka": ("none", "back"),
        }
        assert of_table(tmp_path, columns=("place",)).values["ka"] == ("back",)

    def test_that_look_like_numbers_or_like_nothing_stay_what_is_written(self, tmp_path) -> None:
        text = "\ufeffword\ttone \r\nba\t 1\r\nda\t01\r\n\r\nga\tn/a\r\nka\tNA\r\n"
        assert of_table(tmp_path, text).values == {"ba": ("1",), "da": ("01",), "ga": ("n/a",), "ka": ("NA",)}

    @pytest.mark.parametrize(
        ("text", "columns", "message"),
        [
            (TABLE.replace("ga\tstop\tback\n", ""), (), "no row for the word ga; add one"),
            (TABLE + "da\tstop\tlips\n", (), "the word da has more than one row"),
            (TABLE.replace("da\tstop\t", "da\t \t"), (), "the word da has no onset; write n/a if there is none"),
            (TABLE.replace("word", "Word"), (), "no column word; there are Word, onset, place"),
            (TABLE, ("plaice",), "no column plaice; there are word, onset, place"),
            ("word\nba\n", (), "no column beside word"),
            (TABLE.replace("\t", ","), (), "no column word; there are word,onset,place"),
            ("word\tonset\nba\ta\tb\tc\n", (), "line 2 has 4 cells, the header has 2"),
            ("word\tonset\tonset\n", (), "two columns are called onset"),
            ("", (), "no column word; there are"),
        ],
    )
    def test_that_a_table_lacks_are_named_in_one_line(self, tmp_path, text, columns, message) -> None:
        with pytest.raises(SettingsError, match=message) as error:
            of_table(tmp_path, text, columns)
        assert str(error.value).startswith(f"levels.table: {tmp_path / 'levels.tsv'}: ")
        assert "\n" not in str(error.value)

    def test_need_a_table_that_is_there(self, tmp_path) -> None:
        with pytest.raises(SettingsError, match=r"gone\.tsv: no such file; give a TSV"):
            word_levels(LevelSettings(table=tmp_path / "gone.tsv"), WORDS)

    def test_of_syllables_stand_at_their_places(self) -> None:
        pytest.importorskip("pypinyin")
        found = word_levels(LevelSettings(parts=("initial", "tone")), ["嘴巴", "是", "鱼块"])
        assert found.names == ("initial 1", "initial 2", "tone 1", "tone 2")
        assert found.values == {
            "嘴巴": ("z", "b", "3", "1"),
            "是": ("sh", "n/a", "4", "n/a"),
            "鱼块": ("∅", "k", "2", "4"),
        }
        short = word_levels(LevelSettings(parts=("final", "tone")), ["是", "我"])
        assert short.names == ("final", "tone")
        assert short.values == {"是": ("i", "4"), "我": ("uo", "3")}

    def test_of_syllables_need_the_package_and_say_so(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "pypinyin", None)
        with pytest.raises(StimulusError, match=r"need the package pypinyin; .*neurodecode\[chinese\]'$"):
            word_levels(LevelSettings(parts=("tone",)), ["嘴巴"])


class TestNumbers:
    def test_come_from_the_training_windows(self, tmp_path) -> None:
        table = of_table(tmp_path)
        fold = index(held_out=["da"]).fold("fold-0")
        levels = number_levels(table, fold)
        assert levels.vocabularies == (("none", "stop"), ("back", "lips"))
        assert levels.candidates == ("ba", "ga", "ka")
        assert levels.numbers(["ba", "da", "ka", "xa"]).tolist() == [[1, 1], [1, -1], [0, 0], [-1, -1]]
        assert FoldLevels.from_plain(levels.plain()) == levels

    def test_of_a_level_with_one_value_are_refused(self, tmp_path) -> None:
        fold = index(held_out=["ka"]).fold("fold-0")
        with pytest.raises(SettingsError, match="onset is stop in all training windows of fold-0, .* leave it out"):
            number_levels(of_table(tmp_path), fold)

    def test_of_held_out_words_follow_those_of_the_fold_where_words_are_composed(self, tmp_path) -> None:
        text = TABLE.replace("da\tstop\ttongue", "da\tnone\tlips")
        fold = index(held_out=["da"]).fold("fold-0")
        levels = number_levels(of_table(tmp_path, text), fold, compose=True)
        assert levels.candidates == ("ba", "ga", "ka", "da")
        assert levels.numbers(levels.candidates).tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]

    @pytest.mark.parametrize(
        ("text", "held", "message"),
        [
            (TABLE, ["da"], "cannot score the held-out word da: no training window of fold-0 has place tongue"),
            (TABLE.replace("ka\tnone", "ka\tstop").replace("ba\tstop", "ba\tnone"), [], "cannot tell ga and ka apart"),
        ],
    )
    def test_that_cannot_be_composed_are_refused(self, tmp_path, text, held, message) -> None:
        fold = index(held_out=held).fold("fold-0")
        table = of_table(tmp_path, text)
        with pytest.raises(SettingsError, match=message):
            number_levels(table, fold, compose=True)
        number_levels(table, fold)  # a head for words needs nothing of it


class TestHeldOutWords:
    def test_only_test_and_what_is_left_out_is_counted(self) -> None:
        plain, fold = index().fold("fold-0"), index(held_out=["da", "ka"]).fold("fold-0")
        sides = {side: set(fold.table["label"].iloc[fold.rows(side)]) for side in ("train", "valid", "test")}
        assert sides == {"train": {"ba", "ga"}, "valid": {"ba", "ga"}, "test": set(WORDS)}
        assert fold.vocabulary == ["ba", "ga"]
        assert fold.counts == {"held-out label, not in the test": 48, "held-out label (kept for the test)": 16}
        assert fold.audit["held_out_trained"] == 0
        assert fold.rows("test").tolist() == plain.rows("test").tolist()
        assert "held_out_trained" not in plain.audit
        held = fold.table["label"].isin(["da", "ka"]).to_numpy()
        assert (fold.table["identity"][held] == -1).all()
        assert (fold.table["identity"][~held] >= 0).all()

    def test_have_no_number_although_a_vocabulary_names_them(self) -> None:
        settings = validate(
            LabelSettings, {"window": WINDOW, "vocabulary": WORDS, "split": {"held_out": ["ka"]}}, "test"
        )
        fold = build_labels(cohort({"1": ("A1", "A2")}), settings).fold("fold-0")  # type: ignore[arg-type]
        assert fold.vocabulary == list(WORDS)
        assert set(fold.table["identity"][fold.table["label"] == "ka"]) == {-1}

    def test_that_train_are_found(self) -> None:
        fold = index(held_out=["ka"]).fold("fold-0")
        split = fold.table["split"].to_numpy().copy()
        split[(fold.table["label"] == "ka").to_numpy() & (fold.table["run"] == "1").to_numpy()] = "train"
        with pytest.raises(LeakageError, match="fold-0: the held-out label ka stands in train; .* may only test"):
            audit_labels(replace(fold, table=fold.table.assign(split=split)))

    def test_must_be_there_and_leave_something_to_train_on(self) -> None:
        with pytest.raises(NeurodecodeError, match=r"labels.split.held_out: no window is labelled la"):
            index(held_out=["la"]).fold("fold-0")
        with pytest.raises(NeurodecodeError, match=r"no window is left for train \(\d+ windows in all\); split by run"):
            index(held_out=list(WORDS)).fold("fold-0")


class TestSettings:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "give parts .* or table .* one of the two"),
            ({"parts": ["tone"], "table": "a.tsv"}, "one of the two"),
            ({"parts": ["tone", "tone"]}, "parts has tone more than once"),
            ({"parts": ["tone"], "columns": ["a"]}, "columns belong to table"),
            ({"table": "a.tsv", "columns": ["word"]}, "columns has word"),
            ({"parts": ["tone"], "weights": {"final": 1}}, "weights has final, which is no level"),
            ({"parts": ["tone"], "weights": {"tone": -1}}, "weights.tone: -1 is not allowed"),
            ({"parts": ["tone"], "word": "compose", "weights": {"word": 1}}, "words have no loss of their own"),
        ],
    )
    def test_that_contradict_each_other_are_refused(self, values, message) -> None:
        with pytest.raises(SettingsError, match=message):
            validate(LevelSettings, values, "test")

    def test_weights_of_a_part_hold_for_all_its_places(self) -> None:
        names = ("initial 1", "initial 2", "tone 1", "tone 2")
        parts = ("initial", "tone")
        assert weights_of(LevelSettings(parts=parts), names) == [1, 1, 1, 1]
        assert weights_of(LevelSettings(parts=parts, weights={"tone": 0.25}), names) == [1, 1, 0.25, 0.25]

    def test_weights_of_what_a_table_lacks_and_of_nothing_are_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"levels.weights: vowel is no level; there are onset, place 1"):
            weights_of(LevelSettings(table=Path("a.tsv"), weights={"vowel": 1}), ("onset", "place 1"))
        with pytest.raises(SettingsError, match="all are 0"):
            weights_of(LevelSettings(table=Path("a.tsv"), weights={"onset": 0, "word": 0}), ("onset",))
        with pytest.raises(SettingsError, match="all are 0"):
            weights_of(LevelSettings(table=Path("a.tsv"), word="compose", weights={"onset": 0}), ("onset",))
