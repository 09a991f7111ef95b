"""Cohort cards: where their data lie, and the recordings of anything that can be prepared.

In: a card of datasets/, a file, a folder or a BIDS root. Out: recordings to read.
"""

from __future__ import annotations

import os
from pathlib import Path

from neurodecode.config import CohortCard, load_settings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.resources import find_yaml, resource_folder

SHARED = "NEURODECODE_SHARED_DATA"  # names the folder of the recordings that tests and measurements use


def folder_of(card: CohortCard, root: Path | None = None) -> Path | None:
    """Folder of a card's data: given, of the card, or found through its environment variable; it need not exist."""
    folder = root or card.root
    if folder is None and card.root_variable:
        named = os.environ.get(card.root_variable)
        # a checkout with the shared recordings beside it needs no variable
        beside = Path(__file__).resolve().parents[3] / "shared" / "data"
        shared = card.root_variable == SHARED and beside.is_dir()
        base = Path(named) if named else beside if shared else None
        folder = base / card.root_below if base and card.root_below else base
    return folder


def load_card(card: CohortCard | str | Path, root: Path | None = None) -> CohortCard:
    """A cohort card with its root resolved (given, or found through its environment variable)."""
    if not isinstance(card, CohortCard):
        card = load_settings(CohortCard, card, "datasets")
    if card.simulate:
        return card
    folder = folder_of(card, root)
    if folder is None:
        how = f" (set {card.root_variable} or " if card.root_variable else " ("
        get = f"; to get it: {card.how_to_get}" if card.how_to_get else ""
        raise SettingsError(f"{card.name}: the folder of the data is not known{how}--set cohort.root=FOLDER){get}")
    if not Path(folder).exists():
        get = f"; to get it: {card.how_to_get}" if card.how_to_get else ""
        raise SettingsError(f"{card.name}: {folder} does not exist{get}")
    return card.model_copy(update={"root": Path(folder)})


def sources_of(source: str | Path, root: Path | None = None) -> list:
    """Recordings of a file, folder, BIDS root or cohort card.

    Raises
    ------
    NeurodecodeError
        If there is no such thing, or a bare name is both a folder and a card.
    """
    from neurodecode.recordings.sources import expand_source

    path = Path(source)
    card_too = path.is_dir() and "/" not in str(source) and (resource_folder("datasets") / f"{source}.yaml").is_file()
    if card_too:
        raise NeurodecodeError(
            f"{source}: is a folder here and a card of datasets/; write {source}.yaml for the card, ./{source} for the folder"
        )
    if path.suffix in (".yaml", ".yml") or not path.exists():
        try:
            find_yaml(source, "datasets")
        except SettingsError:
            raise NeurodecodeError(
                f"{source}: no such file or folder, and no card of datasets/ has that name"
            ) from None
        card = load_card(source, root)
        if card.simulate:
            raise NeurodecodeError(
                f"{card.name} is simulated: neurodecode simulate {card.simulate} --out FOLDER makes it"
            )
        return expand_source(card)
    return expand_source(path)
