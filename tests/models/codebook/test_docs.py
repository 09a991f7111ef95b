"""The code in docs/codebook.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

DOCS = Path(__file__).resolve().parents[3] / "docs" / "codebook.md"


def test_the_example_runs() -> None:
    torch.manual_seed(0)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict = {}
    exec(compile(code, str(DOCS), "exec"), names)
    assert names["logits"].shape == (2, 61)
    assert names["masked"].head.weight.grad.abs().sum() > 0
    assert names["tokenizer"].encoder.front.read_in.weight.grad.abs().sum() > 0


def test_the_tests_it_names_are_there() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:tests|neurodecode)/[\w/]+\.py)(?:::\w+)?`", text):
        assert (DOCS.parents[1] / path).is_file(), path
    named = re.findall(r"^\| (\d+) \|.*`(tests/[\w/]+\.py)::(\w+)` \|$", text, flags=re.MULTILINE)
    assert [int(number) for number, _, _ in named] == list(range(1, 11))
    for _, path, test in named:
        assert f"def {test}(" in (DOCS.parents[1] / path).read_text(encoding="utf-8"), test


def test_the_presets_it_names_are_there() -> None:
    text = DOCS.read_text(encoding="utf-8")
    names = {name for name in re.findall(r"\bduin_\w+\b", text) if not name.endswith("_")}
    assert len(names) > 6
    presets = {path.stem for path in (DOCS.parents[1] / "configs").glob("*/duin_*.yaml")}
    assert names <= presets, names - presets
