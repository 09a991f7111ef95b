"""What any earlier stage saw is asked for, not only what the last one did."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from neurodecode.errors import LeakageError, SettingsError
from neurodecode.files import read_json
from tests.training.codebook_runs import settings, train

SHORT = "training.epochs=1"


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> Path:
    """A tokenizer that trained on run 2, and a masked encoder that began with it and did not."""
    folder = tmp_path_factory.mktemp("stages")
    tokenizer = train("tokenizer", folder / "tokenizer", SHORT)
    masked = train("masked", folder / "masked", SHORT, f"start_from={tokenizer}")
    table = pd.read_csv(masked / "fold-0" / "windows.csv.gz", keep_default_na=False)
    number = read_json(masked / "run.json")["recordings"].index("sub-1_run-2")
    table.loc[table["recording"] == number, "split"] = ""
    table.to_csv(masked / "fold-0" / "windows.csv.gz", index=False)
    return folder


def test_a_test_window_that_only_the_stage_before_the_last_saw_is_refused(tmp_path, stages) -> None:
    with pytest.raises(
        LeakageError, match=f"start_from: {stages / 'tokenizer'} was trained on second .* of sub-1_run-2"
    ):
        train("classify", tmp_path / "run", f"start_from={stages / 'masked'}", "labels.split.test_runs=['2']")


def test_an_earlier_stage_that_is_gone_is_told_of(tmp_path, stages) -> None:
    shutil.copytree(stages, tmp_path / "stages")
    info = (tmp_path / "stages" / "masked" / "run.json").read_text(encoding="utf-8")
    gone = info.replace((stages / "tokenizer").as_posix(), (tmp_path / "nowhere").as_posix())
    (tmp_path / "stages" / "masked" / "run.json").write_text(gone, encoding="utf-8")
    with pytest.warns(UserWarning, match="nowhere, which is gone: nobody can tell any more whether that saw"):
        train("classify", tmp_path / "run", f"start_from={tmp_path / 'stages' / 'masked'}", SHORT)


def test_a_table_to_keep_needs_the_run_that_it_is_from() -> None:
    with pytest.raises(
        SettingsError, match="the classifier keeps a tokenizer's table as it is, and without start_from"
    ):
        settings("classify", "start_from=null", "model.quantizer={codes: 16, start_tokens: 64}")


def test_a_kept_table_that_differs_is_refused_by_the_name_of_the_setting(tmp_path, stages) -> None:
    table = read_json(stages / "tokenizer" / "run.json")["settings"]["model"]["quantizer"]
    odd = f"model.quantizer={{codes: {table['codes']}, dimension: {table['dimension'] + 1}, start_tokens: 0}}"
    with pytest.raises(SettingsError, match=rf"model.quantizer.dimension: {table['dimension'] + 1}, but the tokenizer"):
        train("classify", tmp_path / "run", f"start_from={stages / 'tokenizer'}", odd)
