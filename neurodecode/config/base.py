"""Typed settings: unknown keys refused, ranges in the types, one-line errors, `--set a.b=c` overrides.

YAML (or nothing) in, a frozen pydantic object out::

    settings = load_settings(TrainSettings, "demo", kind="configs/training", overrides=["training.epochs=3"])

A file, or settings given inline, may name a preset of the same kind to start from: `base: paper`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from neurodecode.errors import SettingsError
from neurodecode.resources import find_yaml


class Settings(BaseModel):
    """Base of every setting: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice, which plain YAML takes in silence."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict:
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        line = node.start_mark.line + 1
        raise SettingsError(f"line {line}: the key {sorted(map(str, twice))[0]} is written twice")
    return loader.construct_mapping(node, deep=deep)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML; `source` names it in errors."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except SettingsError as error:
        raise SettingsError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{source}{where}: not YAML: {getattr(error, 'problem', error)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping."""
    value = parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{path}: holds {type(value).__name__}, not key: value settings")
    return value


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys (`model.depth=4`) in a copy of nested settings; the right side is read as YAML."""
    result = _copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {override}: write it as key=value, for example --set training.epochs=20")
        target = result
        *parents, last = key.strip().split(".")
        for depth, parent in enumerate(parents):
            if target.get(parent) is None:
                target[parent] = {}
            if not isinstance(target[parent], dict):
                raise SettingsError(f"--set {override}: {'.'.join(parents[: depth + 1])} holds a value, not settings")
            target = target[parent]
        target[last] = parse_yaml(text, f"--set {override}")
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def validate(cls: type[S], values: Any, source: str) -> S:
    """Build settings; a failure becomes one line that names the key, the value and what is allowed."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{source}: {_first_line(cls, error)}") from None


def with_base(values: dict[str, Any], kind: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Settings with those of the preset that their key `base` names beneath them; a base may have a base.

    Parameters
    ----------
    values
        As read from YAML. Mappings are merged key by key; any other value replaces the base's.
    kind
        Where presets of that name are looked for, for example `configs/training`.
    seen
        Presets that are being read already.

    Raises
    ------
    SettingsError
        If there is no such preset, or a base leads back to itself.
    """
    if "base" not in values:
        return values
    above = dict(values)
    base = above.pop("base")
    if not isinstance(base, str):
        raise SettingsError(f"base: {base!r} is not allowed: give the name of one {kind} preset")
    path = find_yaml(base, kind)
    if str(path.resolve()) in seen:
        raise SettingsError(f"{path}: its base leads back to itself; a base must end at a preset without one")
    return merge(with_base(read_yaml(path), kind, (*seen, str(path.resolve()))), above)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with others over them: mappings key by key, any other value replaces."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load_settings(cls: type[S], name_or_file: str | Path | None, kind: str, overrides: Sequence[str] = ()) -> S:
    """Load a preset or YAML file (or defaults, for None) with its base, apply overrides, validate."""
    if name_or_file is None:
        return validate(cls, apply_overrides({}, overrides), "defaults")
    path = find_yaml(name_or_file, kind)
    values = with_base(read_yaml(path), kind, (str(path.resolve()),))
    return validate(cls, apply_overrides(values, overrides), str(name_or_file))


def _first_line(cls: type[BaseModel], error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    problem = problems[0]
    # pydantic adds the tag of a chosen union member to the location; only keys that a user wrote are shown
    location = ".".join(_walk(cls, problem["loc"])[0])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        allowed = _allowed_keys(cls, problem["loc"][:-1])
        key = str(problem["loc"][-1])
        near = difflib.get_close_matches(key, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{location} is not a setting{hint} (allowed here: {', '.join(allowed) or 'see the docs'}){more}"
    if problem["type"] == "missing":
        return f"{location} must be given{more}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(problem["input"], dict):
        # a rule between several settings: its message names them, and the whole block would hide it
        return f"{location + ': ' if location else ''}{message}{more}"
    return f"{location}: {problem['input']!r} is not allowed: {message}{more}"


def _allowed_keys(cls: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Names of the settings at a nested location."""
    return sorted({name for model in _walk(cls, location)[1] for name in model.model_fields})


def _walk(cls: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[str], list[type[BaseModel]]]:
    """Keys of a nested location as a user wrote them, and the types that may stand there."""
    current: list[type[BaseModel]] = [cls]
    written = []
    for part in location:
        tagged = [m for m in current if "kind" in m.model_fields and m.model_fields["kind"].default == part]
        if len(current) > 1 and tagged:
            current = tagged
            continue
        written.append(str(part))
        following = [
            found
            for model in current
            if part in model.model_fields
            for found in _models_in(model.model_fields[part].annotation)
        ]
        current = following or current  # list indices do not change the type
    return written, current


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
