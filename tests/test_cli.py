"""The command line answers fast, in one line when something is wrong, and with the promised exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurodecode import files
from neurodecode.cli import main


def run_main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_help_imports_neither_torch_nor_mne() -> None:
    code = (
        "import sys\n"
        "from neurodecode.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print('heavy:', sorted(m for m in ('torch', 'mne', 'numpy', 'pandas', 'pydantic') if m in sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in result.stdout
    for command in ("inspect", "preprocess", "features", "train", "evaluate", "channels", "report", "run", "verify"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "no/such/file.fif"], "no/such/file.fif: no such file or folder"),
        (["preprocess", "no/such/folder", "--out", "x"], "no such file or folder, and no card"),
        (["preprocess", ".", "--out", "x", "--set", "sfrq=3"], "did you mean sfreq?"),
        (["run", "no-such-pipeline", "--out", "x"], "no pipelines preset of that name"),
        (["run", "gwilliams2022"], "gwilliams2022: the folder of the data is not known"),
        (["verify", "no/such/store"], "no/such/store"),
        (["evaluate", "no/such/run"], "no/such/run"),
        (["report", "no/such/run"], "no/such/run"),
        (["compare", "no/such/run", "no/other"], "no/such/run: no such folder"),
        (["simulate", "no-such-preset", "--out", "x"], "no configs/simulation preset"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_main(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_and_a_file_in_place_of_a_folder_are_one_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine", encoding="utf-8")
    assert run_main("run", "demo", "--out", str(taken)) == 2
    said = f"error: {taken}: File exists; what is finished is kept, the same command goes on\n"
    assert capsys.readouterr().err == said
    assert taken.read_text(encoding="utf-8") == "mine"

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    assert run_main("simulate", "tiny", "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("error: No space left on device; what is finished is kept")
    assert list(tmp_path.rglob(f"*{files.PART}")) == []
    with pytest.raises(OSError, match="No space left"):
        main(["--debug", "simulate", "tiny", "--out", str(tmp_path / "out")])


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from neurodecode.errors import NeurodecodeError

    with pytest.raises(NeurodecodeError):
        main(["--debug", "inspect", str(tmp_path / "nothing")])


def test_doctor_names_versions_and_how_to_get_what_is_missing(capsys: pytest.CaptureFixture, monkeypatch) -> None:
    from neurodecode import doctor

    monkeypatch.setitem(doctor.OPTIONAL, "no-such-package", "speech")
    assert run_main("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"]["torch"][0].isdigit()
    assert found["optional"]["no-such-package"] == "not installed; pip install 'neurodecode[speech]'"
