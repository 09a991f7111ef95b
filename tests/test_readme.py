"""What the README tells people to type works, in its order, on a small cohort."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from neurodecode.cli import app, main
from neurodecode.resources import resource_folder

README = Path(__file__).resolve().parents[1] / "README.md"


def commands() -> list[list[str]]:
    """Every line of a shell block that begins with `neurodecode`, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("neurodecode ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert not stop.value.code, arguments


def test_the_commands_of_the_readme_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("simulate", "tiny", "--out", "RECORDINGS")
    asked = commands()
    assert {"inspect", "preprocess", "features", "train", "evaluate", "report", "verify"} <= {c[0] for c in asked}
    for command in asked:
        # a preset for minutes of training becomes the one for tests; the cohort is recorded at 120 Hz
        small = ["tiny" if word == "demo" else word.replace("epochs=30", "epochs=1") for word in command]
        if command[0] == "compare":  # two runs: there is one here
            small = [word if word in ("compare", "RUN") or word.startswith("-") else "RUN" for word in small]
        if command[0] == "preprocess":
            small += ["--set", "sfreq=60", "--set", "low_pass=20"]
        run(*small)
    assert (tmp_path / "RUN" / "report.html").is_file()
    assert (tmp_path / "RUN" / "evaluation" / "test.json").is_file()


def test_every_file_that_the_readme_names_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)h][^)]*)\)", text):
        assert (README.parent / target).is_file(), target


PRESETS = {"train": "configs/training", "baselines": "configs/baselines", "run": "pipelines", "download": "datasets"}


def test_every_longer_command_of_the_readme_names_a_command_and_a_preset_that_exist() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    asked = [shlex.split(line, comments=True)[1:] for block in blocks for line in block.splitlines()]
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {command[0] for command in asked} <= known
    named = {(PRESETS[command[0]], command[1]) for command in asked if command[0] in PRESETS}
    named |= {("configs/selection", c[c.index("--config") + 1]) for c in asked if "--config" in c}
    assert len(named) > 8
    assert [name for folder, name in named if not (resource_folder(folder) / f"{name}.yaml").is_file()] == []
