"""SOURCE -> recordings: a file, a folder of files, a BIDS tree or part of one, or a cohort card.

    for source in expand_source(Path("data")):
        recording = source.open()

Expanding looks at names only; opening reads headers and tables, never the whole signal.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from neurodecode.config import CohortCard
from neurodecode.errors import NeurodecodeError, RecordingError
from neurodecode.recordings.bids_names import bids_root_of, entities_of, is_companion
from neurodecode.recordings.formats import (
    RECORDING_ENDINGS,
    bti_companion,
    ending_of,
    first_of_split,
    is_recording_folder,
    refuse_pointer,
)
from neurodecode.recordings.recording import Note, Recording, RecordingSource

SKIPPED_FOLDERS = frozenset({"derivatives", "sourcedata", "code", "stimuli", "phenotype", "__pycache__"})

# results and companions that by the naming rules of MNE and KIT lie beside recordings
RESULT = re.compile(
    r"(?i)[-_](eve|ave|epo|cov|proj|trans|src|fwd|inv|ica|annot|bem|sol|dig)\.fif(\.gz)?$"
    r"|[-_.](mrk|markers?)([-_](pre|post))?\.(sqd|con|mrk)$"
)


def natural(text: str) -> list[tuple[int, int | str]]:
    """Sort key under which run-2 stands before run-10."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", text) if part]


def expand_source(source: Path | CohortCard) -> list[RecordingSource]:
    """What there is to open, in natural order.

    Parameters
    ----------
    source
        A file, a folder, a BIDS root (or a folder or file below one), or a cohort card with its root resolved.

    Raises
    ------
    RecordingError
        If there is nothing at that path, or no recording in it.
    """
    if isinstance(source, CohortCard):
        return _expand_card(source)
    path = Path(source)
    if not path.exists():
        refuse_pointer(path)
        raise RecordingError(f"{path}: no such file or folder")
    is_recording = path.is_file() or is_recording_folder(path)
    root = bids_root_of(path)
    if root is not None and (not is_recording or "sub" in entities_of(path.name)):
        from neurodecode.recordings.bids import find_recordings, source_of

        found = [source_of(path, root)] if is_recording else find_recordings(root, path if path != root else None)
    elif is_recording:
        found = _of_files([path], path.parent)
    else:
        found = _of_files(_files_below(path), path)
    if not found:
        raise RecordingError(f"{path}: no recording in this folder; looked for {', '.join(RECORDING_ENDINGS)}")
    return sorted(found, key=lambda s: natural(s.path.as_posix()))


def open_source(source: RecordingSource) -> Recording:
    """Read one recording: header, events, positions; the signal stays on disk.

    Raises
    ------
    RecordingError
        One line that names the file.
    """
    try:
        recording = _open(source)
        recording.language = recording.language or source.language
        return recording
    except NeurodecodeError:
        raise
    except Exception as error:  # of a reader that met what it did not expect, while a trigger or an excerpt was read
        text = " ".join(str(error).split())[:200]
        raise RecordingError(
            f"{source.path}: cannot be read ({type(error).__name__}: {text}); it is damaged or of a layout not known: "
            "copy or export it again"
        ) from error


def _open(source: RecordingSource) -> Recording:
    if source.adapter == "bids":
        from neurodecode.recordings.bids import open_recording

        return open_recording(source)
    if source.adapter == "file":
        return _open_file(source)
    return _adapter(source.adapter).open_recording(source)  # type: ignore[no-any-return]


def _expand_card(card: CohortCard) -> list[RecordingSource]:
    if card.root is None:
        raise RecordingError(f"{card.name}: the folder of the data is not known; give it with --set root=FOLDER")
    if card.adapter in ("auto", "file", "folder", "bids"):
        found = expand_source(card.root)
        found = [replace(s, line_frequency=s.line_frequency or card.line_frequency) for s in found]
    else:
        found = list(_adapter(card.adapter).recordings(card))
    return [replace(s, language=card.language) for s in found]


def _adapter(name: str):  # type: ignore[no-untyped-def]  # a module: recordings(card), open_recording(source)
    from neurodecode.recordings import studies

    known = sorted(module.name for module in pkgutil.iter_modules(studies.__path__))
    if name not in known:
        raise RecordingError(f"adapter {name!r} is not known; allowed are auto, {', '.join(known)}")
    return importlib.import_module(f"{studies.__name__}.{name}")


def _files_below(folder: Path) -> list[Path]:
    """Recordings below a folder, without companions, split parts and hidden files."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if is_recording_folder(path):
                found.append(path)
            elif path.name not in SKIPPED_FOLDERS:
                found += _files_below(path)
        elif _is_candidate(path):
            found.append(path)
    return found


def _is_candidate(path: Path) -> bool:
    """By its name, and by what lies beside it."""
    ending = ending_of(path)
    if ending == "":
        return bti_companion(path, "config") is not None and "pdf" in path.name.lower() + ("pdf" * _is_bti_name(path))
    if ending not in RECORDING_ENDINGS or is_companion(path) or RESULT.search(path.name):
        return False
    if ending in (".fif", ".fif.gz"):
        return first_of_split(path) is None
    if ending == ".data":
        return path.with_suffix(".head").exists()
    return not (ending == ".raw" and path.with_suffix(".mff").exists())


def _is_bti_name(path: Path) -> bool:
    return re.match(r"^[ce],rf", path.name) is not None


def _of_files(paths: list[Path], root: Path) -> list[RecordingSource]:
    """Sources of files that are in no BIDS tree: entities from the name where it states them, else its stem."""
    sources = []
    for path in paths:
        entities = entities_of(path.name)
        subject = entities.get("sub") or plain_label(path.name[: len(path.name) - len(ending_of(path))])
        sources.append(
            RecordingSource(
                path,
                subject=subject or "unknown",
                session=entities.get("ses", ""),
                task=entities.get("task", ""),
                run=entities.get("run", ""),
                root=root,
            )
        )
    return _told_apart(sources, root)


def _told_apart(sources: list[RecordingSource], root: Path) -> list[RecordingSource]:
    """One stem in two folders or with two endings: folder and ending tell them apart, and a number what is left."""
    names = Counter(_name(source) for source in sources)
    result = [
        replace(s, subject=plain_label(f"{s.path.parent.relative_to(root)}{s.path.name}")) if names[_name(s)] > 1 else s
        for s in sources
    ]
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for index, source in enumerate(result):
        name = _name(source)
        seen[name] += 1
        if seen[name] > 1:
            result[index] = replace(source, subject=f"{source.subject}x{seen[name]}")
    return result


def _name(source: RecordingSource) -> tuple[str, str, str, str]:
    return source.subject, source.session, source.task, source.run


def plain_label(text: str) -> str:
    """Letters and digits only, as a BIDS label has it."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _open_file(source: RecordingSource) -> Recording:
    from neurodecode.recordings.electrodes import place_by_name
    from neurodecode.recordings.events import events_of_raw
    from neurodecode.recordings.reading import name_and_type, read_raw
    from neurodecode.recordings.units import plausibility

    file = source.path.name
    read = read_raw(source.path)
    events, notes = events_of_raw(read.raw, file)  # before names decide what is a trigger: those may be analogue
    _, said = name_and_type(read, file)
    notes = read.notes + notes + said + place_by_name(read.raw, file) + plausibility(read.raw, file)
    if "sub" not in entities_of(file):
        notes.append(Note(file, "the name states no subject", f"subject is {source.subject}"))
    return Recording(
        read.raw,
        events,
        subject=source.subject,
        session=source.session,
        task=source.task,
        run=source.run,
        notes=notes,
        files=read.files,
        line_frequency=source.line_frequency,
    )
