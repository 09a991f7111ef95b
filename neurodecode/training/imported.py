"""Weights that others trained with the published codes, as a finished run: to be evaluated, calibrated or begun with.

    import_weights(Path("best_state.pt"), load_training("released"), Path("store"), Path("run"))
    import_weights(Path("checkpoint-399.pth"), load_training("duin_tokenizer"), Path("store"), Path("tokenizer"))

Nothing is trained. What the file does not hold comes from the store and the settings: sensors, windows, sides and scalers
(fitted anew on the training windows). Whether the file was trained on what is tested here, nobody can see in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurodecode.config import CodebookTrainSettings, TrainSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.files import sha256_of_file
from neurodecode.models.build import LayoutsLike
from neurodecode.models.codebook.released import load_released as load_codebook
from neurodecode.models.released_aligner import Released, load_released
from neurodecode.training.start import OF_SUBJECTS


class Weights:
    """A file of the published code's weights.

    Parameters
    ----------
    file
        As `load_released` reads it.
    subjects
        Names of the people of that training, in its order; empty: those of the store, sorted.

    Raises
    ------
    NeurodecodeError
        If there is no such file, or a name stands twice.
    """

    def __init__(self, file: Path, subjects: Sequence[str] = ()) -> None:
        self.file, self.subjects = Path(file), tuple(subjects)
        if not self.file.is_file():
            raise NeurodecodeError(f"{file}: no such file; give a state dict saved with torch.save")
        twice = sorted({name for name in self.subjects if self.subjects.count(name) > 1})
        if twice:
            raise SettingsError(f"--subjects: {twice[0]} stands there twice; name each person of that training once")

    @cached_property
    def described(self) -> dict[str, Any]:
        """What run.json says under `weights`."""
        return {"file": self.file.name, "sha256": sha256_of_file(self.file), "subjects": list(self.subjects)}

    def refuse_folds(self, folds: Sequence[str], rule: str, instead: str) -> None:
        """Stop if there is more than one fold; `rule` makes them, `instead` makes one.

        Raises
        ------
        SettingsError
            One line.
        """
        if len(folds) > 1:
            raise SettingsError(
                f"{self.file}: was trained on one split, {rule} has {len(folds)}; use the rule {instead}"
            )

    def fill(self, model: nn.Module, info: dict[str, Any], layouts: LayoutsLike, settings: TrainSettings) -> None:
        """Give a fresh network the weights of the file.

        Parameters
        ----------
        model
            As the settings say.
        info
            What run.json says of the run.
        layouts
            Sensors of its recordings.

        Raises
        ------
        NeurodecodeError
            If the file holds another network, or other people.
        """
        found: Released = load_released(self.file, layouts, settings.model)
        theirs, ours = found.model.state_dict(), model.state_dict()
        self._refuse_broken(theirs)
        advice = f"use a --config (or --set model....) of the network that {self.file.name} holds"
        filled: dict[str, torch.Tensor] = {}
        for name, value in ours.items():
            there = theirs.get(name)
            if there is not None and name in OF_SUBJECTS:
                there = there[self._rows(info["subjects"], len(there))]
            if there is None or there.shape != value.shape:
                held = "nothing" if there is None else tuple(there.shape)
                raise NeurodecodeError(
                    f"{self.file}: has {held} for {name}, the settings {tuple(value.shape)}; {advice}"
                )
            filled[name] = there
        more = sorted(set(theirs) - set(ours))
        if more:
            raise NeurodecodeError(f"{self.file}: has {more[0]}, the settings no such part; {advice}")
        model.load_state_dict(filled)

    def _refuse_broken(self, state: Mapping[str, torch.Tensor]) -> None:
        """A network of NaN would answer, and always the same."""
        for name, value in state.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise NeurodecodeError(
                    f"{self.file}: {name} holds values that are not finite; that training had failed"
                )

    def _rows(self, wanted: Sequence[str], count: int) -> list[int]:
        """Row of each of our people among those of the file."""
        names = self.subjects or tuple(wanted)
        if len(names) != count:
            given = "--subjects names" if self.subjects else "the store has"
            raise NeurodecodeError(
                f"{self.file}: was trained on {count} people, {given} {len(names)}; give --subjects with the names of all of "
                "them, in the order of that training"
            )
        missing = [name for name in wanted if name not in names]
        if missing:
            raise NeurodecodeError(
                f"{self.file}: {missing[0]} of the store is none of --subjects; leave out who is not there: --set "
                f"exclude=[{missing[0]}]"
            )
        return [names.index(name) for name in wanted]


def refuse_other_weights(out: Path, info: dict[str, Any] | None, weights: Weights | None) -> None:
    """Stop if the run that is there, as run.json says, began with other weights than these; None for none.

    Raises
    ------
    SettingsError
        Naming the folder.
    """
    if info is not None and info.get("weights") != (None if weights is None else weights.described):
        raise SettingsError(f"{out}: holds a run with other weights at its beginning; give another --out")


class CodebookWeights(Weights):
    """A released checkpoint of one of the three codebook stages."""

    def fill_stage(self, model: nn.Module, people: Sequence[str]) -> None:
        """Give a fresh network of a stage the weights of the file.

        Parameters
        ----------
        model
            As the settings say.
        people
            Subjects of the store, in our order.

        Raises
        ------
        NeurodecodeError
            If the file holds another network, or people in another order.
        """
        if self.subjects and self.subjects != tuple(people):
            raise SettingsError(
                f"--subjects: {','.join(self.subjects)}, but the people of the store are {','.join(people)}, and only a file "
                "with these in this order can be read; choose people with --set subjects=[...]"
            )
        found = load_codebook(self.file).model
        if type(found) is not type(model):
            raise NeurodecodeError(
                f"{self.file}: holds a {type(found).__name__}, the settings describe a {type(model).__name__}; use the "
                "--config of its stage"
            )
        theirs, ours = found.state_dict(), model.state_dict()
        self._refuse_broken(theirs)
        for name in sorted(set(theirs) | set(ours)):
            there, here = (tuple(s[name].shape) if name in s else "nothing" for s in (theirs, ours))
            if there != here:
                raise NeurodecodeError(
                    f"{self.file}: has {there} for {name}, the settings and the store {here}; use the channels, subjects and "
                    "--set model.... of that training"
                )
        model.load_state_dict(theirs)


def import_weights(
    file: Path,
    settings: TrainSettings | CodebookTrainSettings,
    store: Path,
    out: Path,
    subjects: Sequence[str] = (),
    *,
    progress: bool = True,
) -> Path:
    """Make a finished run of a file of weights.

    Parameters
    ----------
    file, subjects
        As in `Weights`.
    settings
        Of the network and its windows, for example the preset `released`; of a codebook stage for a checkpoint of one.
    store
        Recordings, preprocessed as those of that training were.
    out
        Folder of the run.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    NeurodecodeError
        If the file is no such network, or the store or `out` does not fit.
    """
    from neurodecode.training.codebook import fit_codebook
    from neurodecode.training.fit import fit

    if isinstance(settings, CodebookTrainSettings):
        if settings.start_from is not None and settings.task == "classify":
            raise SettingsError("start_from: an imported classifier begins with its file alone; set start_from=null")
        return fit_codebook(settings, store, out, progress=progress, weights=CodebookWeights(file, subjects))
    if settings.start_from is not None:
        raise SettingsError("start_from: an imported run begins with its file alone; leave start_from out")
    return fit(settings, store, out, progress=progress, weights=Weights(file, subjects))
