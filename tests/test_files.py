"""A file is whole or absent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodecode.files import atomic_path, plain, read_json, sha256_of_array, sha256_of_value, write_json


def test_an_exception_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def stop_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from neurodecode.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == -9
    assert read_json(path) == {"old": 1}


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    write_json(
        tmp_path / "a.json", {"nan": np.float32("nan"), "inf": float("inf"), "array": np.arange(3), "path": tmp_path}
    )
    assert read_json(tmp_path / "a.json") == {"nan": None, "inf": None, "array": [0, 1, 2], "path": tmp_path.as_posix()}


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.booleans()), max_size=5))
def test_the_hash_of_settings_ignores_the_order_of_keys(values: dict) -> None:
    backwards = dict(reversed(list(values.items())))
    assert sha256_of_value(values) == sha256_of_value(backwards)
    assert sha256_of_value({**values, "another key that is new": 1}) != sha256_of_value(values)


def test_the_hash_of_an_array_knows_its_type_and_shape() -> None:
    a = np.arange(6, dtype=np.float32)
    hashes = {sha256_of_array(x) for x in (a, a.reshape(2, 3), a.astype(np.float64), a.reshape(3, 2), a.view(np.int32))}
    assert len(hashes) == 5
    assert sha256_of_array(a.reshape(2, 3).T.copy().T) == sha256_of_array(a.reshape(2, 3))
    assert plain(np.float64(2.5)) == 2.5
