"""Initials, finals and tones of words: against known readings and the counts of the 61 words of Du-IN."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from neurodecode.errors import StimulusError
from neurodecode.stimuli.pinyin import Syllable, parts, syllables

# fmt: off
WORDS = [
    "丝瓜", "你", "关门", "凳子", "厕所", "口渴", "吃", "喝", "嘴巴", "外卖", "头疼", "家人", "小刀", "帮助",
    "平静", "心情", "怎样", "感觉", "愿意", "我", "手机", "找", "把", "护士", "拿", "换药", "放在", "是",
    "有", "朋友", "橙汁", "毛巾", "汤圆", "漂亮", "热水", "猪肉", "玩", "电脑", "看", "碗", "穿", "篮球",
    "米饭", "给", "脸盆", "菠萝", "葱花", "蒜泥", "衣服", "豆腐", "软糖", "醋", "钢琴", "问题", "需要", "青菜",
    "面条", "音乐", "预约", "香肠", "鱼块",
]
# fmt: on


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(StimulusError, match=r"^initials, .* need the package pypinyin; .*neurodecode\[chinese\]'$"):
        syllables("嘴巴")


class TestReadings:
    @pytest.fixture(autouse=True)
    def _needs_pypinyin(self) -> None:
        pytest.importorskip("pypinyin")

    def test_of_known_words(self) -> None:
        assert syllables("嘴巴") == [Syllable("z", "uei", 3), Syllable("b", "a", 1)]
        assert syllables("衣服")[0] == Syllable("", "i", 1)
        assert syllables("鱼块") == [Syllable("", "v", 2), Syllable("k", "uai", 4)]
        assert syllables("凳子")[1].tone == 5
        assert parts(["嘴巴", "是"], "tone") == {"嘴巴": ("3", "1"), "是": ("4",)}

    def test_counts_of_the_published_words(self) -> None:
        every = [syllable for word in WORDS for syllable in syllables(word)]
        assert len(WORDS) == 61
        assert len(every) == 107
        assert sum(len(word) == 1 for word in WORDS) == 15
        assert len({syllable.initial for syllable in every}) == 22
        assert Counter(syllable.initial for syllable in every)[""] == 19
        assert len({syllable.final for syllable in every}) == 30
        assert [Counter(syllable.tone for syllable in every)[tone] for tone in range(1, 6)] == [26, 25, 22, 33, 1]

    @pytest.mark.parametrize("word", ["", "word", "嘴a", "嘴 巴"])
    def test_other_text_is_refused(self, word: str) -> None:
        with pytest.raises(StimulusError, match="is no word of Chinese characters"):
            syllables(word)
