"""Begin with the weights of a finished run: for people it never met, or for a few minutes of them.

In: a run folder, a fresh network of another cohort. Out: the same network with the run's weights. What belongs to subjects
and sessions goes by name; whoever the run does not know begins with the mean. Everything else must be of equal size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurodecode.config import TrainSettings
from neurodecode.errors import LeakageError, SettingsError
from neurodecode.files import atomic_path
from neurodecode.models.layers.session_layer import SessionLayer
from neurodecode.segments.scaling import Scalers
from neurodecode.training.load import load_fold
from neurodecode.training.run_folder import read_run

OF_SUBJECTS = ("subject_layer.matrices", "subject_embedding.vectors")
OF_SESSIONS = "subject_layer.sessions"


class Start:
    """A finished run, opened to be begun with.

    Parameters
    ----------
    settings
        Of the run that is about to be trained; `start_from` names the finished one.
    fold
        Its fold: the finished run's fold of that name is taken.

    Raises
    ------
    SettingsError
        If there is no such run or fold, or its network is another one.
    LeakageError
        If its sides were dealt out in another way: what is tested here may have been trained there.
    """

    def __init__(self, settings: TrainSettings, fold: str) -> None:
        assert settings.start_from is not None
        self.run, self.fold = settings.start_from, fold
        info = read_run(self.run)
        if fold not in info["folds"]:
            raise SettingsError(f"start_from: {self.run} has no {fold}; there are {', '.join(info['folds'])}")
        self.model, self.settings, self.info = load_fold(self.run, fold)
        for key in ("model", "speech"):
            ours, theirs = getattr(settings, key).model_dump(), getattr(self.settings, key).model_dump()
            for name, value in ours.items():
                if value != theirs[name] and "dropout" not in name:
                    raise SettingsError(f"{key}.{name}: {value}, but {self.run} has {theirs[name]}; set it so")
        if settings.features != self.settings.features:
            raise SettingsError(f"features: {self.run} was trained on other ones; copy its features settings")
        if settings.segments.split != self.settings.segments.split:
            raise LeakageError(
                f"segments.split: {self.run} was split in another way, so it may have been trained on what is tested "
                "here; copy its segments.split settings"
            )

    def scalers(self, fitted: Scalers) -> Scalers:
        """Our scalers of the brain with the run's scalers of the features, which its network answers in."""
        theirs = Scalers.load(self.run / self.fold / "scalers.npz")
        return Scalers(fitted.center, fitted.scale, theirs.feature_mean, theirs.feature_std, fitted.clamp)

    def fill(self, model: nn.Module, info: dict[str, Any]) -> None:
        """Give a fresh network the weights of the run.

        Parameters
        ----------
        model
            Of equal settings.
        info
            What run.json says of our run.

        Raises
        ------
        SettingsError
            If the rate differs, or channels do where they enter as they are.
        """
        if float(self.info["sizes"]["sfreq"]) != float(info["sizes"]["sfreq"]):
            raise SettingsError(
                f"start_from: {self.run} was trained at {self.info['sizes']['sfreq']:g} Hz, the store has "
                f"{info['sizes']['sfreq']:g} Hz; preprocess with one sfreq"
            )
        if not self.settings.model.spatial_attention and self.info["channel_names"] != info["channel_names"]:
            raise SettingsError(
                f"start_from: {self.run} has other channels, and without model.spatial_attention they enter as they are; "
                "use a store with the same channels"
            )
        theirs, ours = self.model.state_dict(), model.state_dict()
        known = self.info["subjects"]
        filled = {}
        for name, value in ours.items():
            if name in OF_SUBJECTS:
                mean = theirs[name].mean(0)
                if isinstance(self.model.subject_layer, SessionLayer):  # what it used for anybody unknown
                    mean = self.model.subject_layer.rows()[-1].detach()
                filled[name] = torch.stack(
                    [theirs[name][known.index(s)] if s in known else mean for s in info["subjects"]]
                )
            elif name == OF_SESSIONS:
                filled[name] = self._sessions(model, info, theirs[name])
            elif name in theirs and theirs[name].shape == value.shape:
                filled[name] = theirs[name]
            else:
                raise SettingsError(
                    f"start_from: {self.run} has {tuple(theirs[name].shape) if name in theirs else 'nothing'} for {name}, "
                    f"this network needs {tuple(value.shape)}; train both on the same features and windows"
                )
        model.load_state_dict(filled)

    def _sessions(self, model: nn.Module, info: dict[str, Any], theirs: torch.Tensor) -> torch.Tensor:
        """Matrices of our sessions: the run's own by name, else what the run would have used for them."""
        layer, there = model.get_submodule("subject_layer"), self.model.get_submodule("subject_layer")
        assert isinstance(layer, SessionLayer)
        assert isinstance(there, SessionLayer)
        names, known = self.info["session_names"], self.info["subjects"]
        rows = there.rows().detach()  # [R + S + 1, D, D]
        result = torch.zeros(len(layer.owner), *theirs.shape[1:])
        for number, (name, owner) in enumerate(zip(info["session_names"], layer.owner.tolist())):
            subject = info["subjects"][owner]
            if name in names and bool(there.seen[names.index(name)]):
                result[number] = theirs[names.index(name)]
                continue
            slot = len(names) + (known.index(subject) if subject in known else len(known))
            if layer.own:
                result[number] = rows[slot]
            elif subject in known:
                result[number] = rows[slot] - self.model.state_dict()[OF_SUBJECTS[0]][known.index(subject)]
            # a deviation of somebody unknown starts at 0: his subject's matrix is the mean already
        return result


def freeze(model: nn.Module) -> None:
    """Let only what belongs to subjects and sessions learn."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in (*OF_SUBJECTS, OF_SESSIONS)


def write_start(model: nn.Module, folder: Path) -> dict[str, Any]:
    """Write a network that is not trained at all as the best of a fold; the content of `finished.json`."""
    with atomic_path(folder / "best.ckpt") as temporary:
        torch.save({"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, temporary)
    return {"epochs": 0, "best_epoch": -1, "best_valid_loss": None, "stopped": "nothing to train"}
