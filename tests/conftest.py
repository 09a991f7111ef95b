"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _shared_data_folder() -> Path | None:
    named = os.environ.get("NEURODECODE_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; the test is skipped where there is none."""
    folder = _shared_data_folder()
    if folder is None:
        pytest.skip("the real recordings are not here: set NEURODECODE_SHARED_DATA to their folder")
    return folder
