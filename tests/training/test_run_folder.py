"""A run goes on only with the settings and signals it was begun with, also when the package has learnt new settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodecode.config import TrainSettings
from neurodecode.errors import SettingsError
from neurodecode.training.run_folder import SCHEMA, claim, write_run

HASHES = {"sub-01": "abc"}


def begun(folder: Path, settings: dict) -> Path:
    write_run(folder, {"schema": SCHEMA, "settings": settings, "store_sha256s": HASHES, "finished": False})
    return folder


def test_a_run_of_an_earlier_version_goes_on_with_the_defaults_of_what_is_new(tmp_path: Path) -> None:
    settings = TrainSettings()
    older = settings.model_dump(mode="json")
    del older["objective"]["label_smoothing"], older["speech"]
    assert claim(begun(tmp_path / "run", older), settings, HASHES, resume=True) is not None


def test_other_settings_and_other_signals_are_refused_by_name(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", TrainSettings().model_dump(mode="json"))
    with pytest.raises(SettingsError, match="seed=2036, not 7"):
        claim(run, TrainSettings(seed=7), HASHES, resume=True)
    with pytest.raises(SettingsError, match=r"the store has changed since this run began \(first: sub-01\)"):
        claim(run, TrainSettings(), {"sub-01": "def"}, resume=True)


def test_where_work_is_done_may_change(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", TrainSettings().model_dump(mode="json"))
    elsewhere = TrainSettings.model_validate({"training": {"accelerator": "cpu", "workers": 2}})
    assert claim(run, elsewhere, HASHES, resume=True) is not None


def test_a_folder_with_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"holds notes\.txt but no run\.json"):
        claim(tmp_path, TrainSettings(), HASHES, resume=True)
