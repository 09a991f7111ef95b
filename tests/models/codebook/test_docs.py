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
    for path in re.findall(r"`((?:tests|neurodecode)/[\w/]+\.py)`", text):
        assert (DOCS.parents[1] / path).is_file(), path
