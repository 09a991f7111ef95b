"""The arrows of the design hold: a room imports only rooms above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import neurodecode

PACKAGE = Path(neurodecode.__file__).parent
BASE = ["errors", "files", "resources", "progress", "config"]
ROOMS = [
    "download",
    "recordings",
    "channels",
    "preprocessing",
    "store",
    "stimuli",
    "segments",
    "models",
    "objectives",
    "training",
    "selection",
    "evaluation",
    "reports",
]
# the simulator makes recordings out of stimuli: it may look at rooms up to `stimuli`, and no room looks at it
ORDER = (
    dict.fromkeys(BASE, 0)
    | {room: i + 1 for i, room in enumerate(ROOMS)}
    | {"simulation": ROOMS.index("stimuli") + 1.5}
)
TOP = {"pipeline", "cli", "terminal", "doctor", "inspection"}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "neurodecode" else [f"neurodecode.{a.name}" for a in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("neurodecode.")}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in TOP or room == "__init__":
        return
    for other in imported_rooms(path) - {room, "__version__"}:
        assert other in ORDER, f"{path.name} imports {other}, which has no place in the order"
        assert other != "simulation", f"{path.name} imports the simulator"
        assert ORDER[other] < ORDER[room] or (other in BASE and room in BASE), f"{room} must not import {other}"


def test_every_folder_of_the_package_has_a_place_in_the_order() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders - TOP <= set(ORDER)


def test_the_package_holds_no_unfinished_marks() -> None:
    marks = ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"]
    found = [(p.name, m) for p in PACKAGE.rglob("*.py") for m in marks if m in p.read_text(encoding="utf-8")]
    assert found == []
