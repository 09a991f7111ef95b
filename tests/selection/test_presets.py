"""Every preset of configs/selection can be used, and says of each key what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.config import load_settings
from neurodecode.config.selection import SelectionSettings
from neurodecode.resources import resource_folder

PRESETS = sorted((resource_folder("configs") / "selection").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_loads_and_every_key_has_a_comment(path: Path) -> None:
    load_settings(SelectionSettings, path.stem, "configs/selection")
    for line in path.read_text(encoding="utf-8").splitlines():
        opens_a_block = line.rstrip().endswith(":")
        assert not line.strip() or "#" in line or opens_a_block, line


def test_there_is_a_preset_for_each_method() -> None:
    methods = {load_settings(SelectionSettings, path.stem, "configs/selection").method for path in PRESETS}
    assert methods == {"region", "weights", "decodability", "groups"}
