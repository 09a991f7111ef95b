"""`neurodecode inspect`: what a path holds, as plain values and as text for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurodecode.errors import NeurodecodeError
from neurodecode.files import read_json


def inspect_path(path: Path) -> dict[str, Any]:
    """Describe a raw recording, a folder of them, a store or a run.

    Raises
    ------
    NeurodecodeError
        If there is nothing at `path`.
    """
    if not path.exists():
        raise NeurodecodeError(f"{path}: no such file or folder")
    if (path / "run.json").is_file():
        return {"kind": "run", "path": str(path), "run": read_json(path / "run.json"), "evaluation": _scores(path)}
    if (path / "cohort.json").is_file():
        return _store(path)
    from neurodecode.recordings.inspect import describe_source

    return {"kind": "recordings", "path": str(path), "recordings": describe_source(path)}


def _scores(run: Path) -> dict[str, Any]:
    return {p.stem: read_json(p).get("metrics", {}) for p in sorted((run / "evaluation").glob("*.json"))}


def _store(path: Path) -> dict[str, Any]:
    from neurodecode.store.store import Store

    cohort = read_json(path / "cohort.json")
    notes = {r.name: [vars(note) for note in r.notes] for r in Store(path).recordings}
    return {"kind": "store", "path": str(path), **cohort, "notes": notes}


def cohort_channels(path: Path) -> list[dict[str, Any]]:
    """One row a channel of a store, in natural order: type, recordings that have it, recordings where it is bad."""
    from neurodecode.segments.layouts import natural_key
    from neurodecode.store.store import Store

    recordings = Store(path).recordings
    found: dict[str, dict[str, Any]] = {}
    for recording in recordings:
        for row in recording.channels.to_dict("records"):
            entry = found.setdefault(
                row["name"],
                {
                    "name": row["name"],
                    "type": row["type"],
                    "recordings": 0,
                    "bad": 0,
                    "shaft": row.get("shaft", ""),
                    "region": row.get("region", ""),
                    "placed": 0,
                },
            )
            entry["recordings"] += 1
            entry["bad"] += int(row["bad"])
            entry["placed"] += int(row["x"] == row["x"])  # NaN is not equal to itself: position unknown
    if not found:
        raise NeurodecodeError(f"{path}: the store holds no recording")
    return sorted(found.values(), key=lambda entry: natural_key(entry["name"]))


def channels_table(rows: list[dict[str, Any]]) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Title, columns, rows and notes of `cohort_channels`, all text."""
    return "", list(rows[0]), [[str(value) for value in row.values()] for row in rows], []


def render(found: dict[str, Any]) -> Any:
    """Text for people."""
    from rich.console import Group
    from rich.text import Text

    lines = {"run": _run_lines, "store": _store_lines, "recordings": _recording_lines}[found["kind"]](found)
    return Group(*(Text(line) for line in lines))


def _run_lines(found: dict[str, Any]) -> list[str]:
    run = found["run"]
    state = "finished" if run.get("finished") else "not finished: the same train command goes on"
    lines = [
        f"{found['path']}: a run, {state}",
        f"  subjects {', '.join(run.get('subjects', []))}; {run.get('n_parameters', 0):,} parameters; folds "
        f"{', '.join(run.get('folds', []))}",
        f"  split {run.get('split', {}).get('rule')}: {run.get('split', {}).get('counts')}",
    ]
    for split, metrics in found["evaluation"].items():
        top = metrics.get("top10", {})
        if top:
            lines.append(f"  {split}: top-10 {top['value']:.3f} (chance {top['chance']:.3f})")
    return lines


def _store_lines(found: dict[str, Any]) -> list[str]:
    hours = sum(r["seconds"] for r in found["recordings"]) / 3600
    lines = [
        f"{found['path']}: a store, {len(found['recordings'])} recordings, {hours:.2f} h, "
        f"{len(found.get('stimuli', {}))} stimuli, {found.get('issues', 0)} failed"
    ]
    for r in found["recordings"]:
        lines.append(
            f"  {r['name']}: {r['datatype']}, {r['n_channels']} channels, {r['sfreq']:g} Hz, {r['seconds']:.1f} s"
        )
        lines += [f"    note: {note_line(note)}" for note in found["notes"].get(r["name"], [])]
    return lines


def note_line(note: Any) -> str:
    """One line of a stored note, whether a mapping or text."""
    if isinstance(note, dict):
        return f"{note.get('file', '')}: {note.get('found', '')}; {note.get('done', '')}"
    return str(note)


def _recording_lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for entry in found["recordings"]:
        if "error" in entry:
            lines.append(f"{entry['file']}: refused: {entry['error']}")
            continue
        lines.append(f"{entry.get('name') or entry.get('file')}")
        for key, value in entry.items():
            if key == "notes":
                lines += [f"  note: {note_line(note)}" for note in value]
            elif key != "name" and value not in (None, "", [], {}):
                lines.append(f"  {key}: {_short(value)}")
    refused = sum("error" in entry for entry in found["recordings"])
    lines.append(f"{len(found['recordings']) - refused} readable, {refused} refused")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items())
    if isinstance(value, list):
        text = ", ".join(map(str, value[:12]))
        return text + (f", ... ({len(value)} in all)" if len(value) > 12 else "")
    return f"{value:g}" if isinstance(value, float) else str(value)
