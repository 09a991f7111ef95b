"""Where the YAML folders lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from neurodecode.errors import SettingsError


def resource_folder(kind: str) -> Path:
    """Folder of `configs`, `pipelines` or `datasets`."""
    inside = Path(str(resources.files("neurodecode"))) / "_resources" / kind
    beside = Path(__file__).resolve().parents[1] / kind
    for folder in (inside, beside):
        if folder.is_dir():
            return folder
    raise SettingsError(f"the folder {kind}/ is neither inside the package nor beside it; reinstall neurodecode")


def find_yaml(name_or_file: str | Path, kind: str) -> Path:
    """Resolve the name of a preset (`paper`) or the path of a YAML file.

    Parameters
    ----------
    name_or_file
        A path that exists, or the name of a file in the folder `kind` with or without `.yaml`.
    kind
        `pipelines`, `datasets`, or `configs/<stage>`.

    Raises
    ------
    SettingsError
        If there is neither; the message lists the names there are.
    """
    path = Path(name_or_file)
    if path.is_file():
        return path
    top, _, rest = kind.partition("/")
    folder = resource_folder(top) / rest
    candidate = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if len(path.parts) == 1 and candidate.is_file():
        return candidate
    known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
    raise SettingsError(f"{name_or_file}: no such file, and no {kind} preset of that name (there are: {known})")
