"""Open what training left: the network of a fold, and the batches it can be asked about. Needs no Lightning.

model, settings, info = load_fold(Path("run"), "fold-0", "cpu")
source = load_source(Path("run"), "fold-0")
estimate(model, source[source.index.rows("test")[:32]])      # [32, F, T]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurodecode.config import TrainSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.files import read_json
from neurodecode.models.build import build_model
from neurodecode.models.deep_mel import with_speech
from neurodecode.models.layers.session_layer import Sessions
from neurodecode.objectives.siglip import with_siglip
from neurodecode.segments.batches import Batch, BatchSource
from neurodecode.segments.scaling import Scalers
from neurodecode.segments.windows import build_windows
from neurodecode.store.store import Store
from neurodecode.training.chosen import CHANNELS
from neurodecode.training.data import noise_like
from neurodecode.training.portion import chosen_subjects, within_minutes
from neurodecode.training.run_folder import read_run, run_settings


@dataclass(frozen=True)
class StoredLayouts:
    """Sensor layouts as the fold has them.

    Attributes
    ----------
    positions, placed, names
        [L, C, 2], [L, C], and names of the columns.
    valid, places
        [L, C] and [L, C, 3] m; of runs made before there was either: `placed`, and NaN.
    sessions
        None if the network has no layer of sessions.
    """

    positions: torch.Tensor
    placed: torch.Tensor
    names: list[str]
    valid: torch.Tensor
    places: torch.Tensor
    sessions: Sessions | None = None


def load_fold(
    run: Path, fold: str, device: torch.device | str = "cpu"
) -> tuple[nn.Module, TrainSettings, dict[str, Any]]:
    """The best network of a fold.

    Parameters
    ----------
    run
        Folder of the run.
    fold
        Name of the fold, for example `fold-0`.
    device
        Where the network shall be.

    Returns
    -------
    model
        In evaluation mode; (signal [B, C, T], subject [B], layout [B]) -> [B, F, T]. Candidates are compared with it after
        `models.deep_mel.embed(model, target)`.
    settings
        Of the run.
    info
        `run.json`, and under `fold` the content of `finished.json` with the fold's name.

    Raises
    ------
    SettingsError
        If there is no such run or fold, or the fold is not finished.
    """
    run = Path(run)
    info = read_run(run)
    settings = run_settings(info, str(run / "run.json"))
    folder = _finished_fold(run, info, fold)
    sizes = info["sizes"]
    layouts = load_layouts(folder)
    model = build_model(
        settings.model,
        n_chans=sizes["n_chans"],
        n_outputs=sizes["n_outputs"],
        n_times=sizes["n_times"],
        sfreq=sizes["sfreq"],
        n_subjects=len(info["subjects"]),
        layouts=layouts,
        sessions=layouts.sessions,
    )
    model = with_speech(model, settings.speech, sizes.get("n_features", sizes["n_outputs"]))
    model = with_siglip(model, settings.objective)
    state = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    finished = read_json(folder / "finished.json")
    return model.eval().to(device), settings, info | {"fold": {"name": fold, **finished}}


def load_layouts(folder: Path) -> StoredLayouts:
    """Sensor layouts of a fold."""
    with np.load(folder / "layouts.npz", allow_pickle=False) as stored:
        positions, placed = torch.from_numpy(stored["positions"]), torch.from_numpy(stored["placed"])
        valid = torch.from_numpy(stored["valid"]) if "valid" in stored else placed
        places = torch.full((*placed.shape, 3), float("nan"))
        if "places" in stored:
            places = torch.from_numpy(stored["places"])
        sessions = None
        if "session_of" in stored:
            sessions = Sessions(*(torch.from_numpy(stored[f"session_{key}"]) for key in ("of", "owner", "seen")))
        return StoredLayouts(positions, placed, stored["names"].tolist(), valid, places, sessions)


def load_source(
    run: Path, fold: str, device: torch.device | str = "cpu", store: Path | None = None, progress: bool = False
) -> BatchSource:
    """The windows of a fold, scaled as in training.

    Parameters
    ----------
    run, fold
        As in `load_fold`.
    device
        Where the work on batches is done.
    store
        Where the store lies now, if it was moved.

    Raises
    ------
    NeurodecodeError
        If the windows of the store are not those the fold was trained with.
    """
    from neurodecode.stimuli.features import compute_features

    run = Path(run)
    info = read_run(run)
    settings = run_settings(info, str(run / "run.json"))
    opened = Store(store or Path(info["store"]))
    index = within_minutes(
        build_windows(opened, settings.segments, chosen_subjects(settings, opened)).fold(fold), settings.minutes
    )
    recorded = pd.read_csv(run / fold / "windows.csv.gz", keep_default_na=False, usecols=["start", "split", "identity"])
    if not same_windows(recorded, index.table):
        raise NeurodecodeError(
            f"{run / fold}: the store {opened.path} gives other windows now than when this run was trained; train again"
        )
    features = compute_features(opened, settings.features, progress, index.borders)
    scalers = Scalers.load(run / fold / "scalers.npz")
    source = BatchSource(index, features, None, device, settings.model.context)
    if settings.channels is not None:  # as they were chosen then, whatever became of the file
        source = source.only(read_json(run / fold / CHANNELS))
    source.scalers = scalers
    return source


def same_windows(recorded: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether two tables of windows are of one split: same samples, sides, and tested windows that are one segment.

    By which number a segment goes is all the same.
    """
    if len(recorded) != len(table) or any(
        not np.array_equal(recorded[c].to_numpy(), table[c].to_numpy()) for c in ("start", "split")
    ):
        return False
    asked = (table["split"] == "test").to_numpy()
    codes = [pd.factorize(t["identity"].to_numpy()[asked])[0] for t in (recorded, table)]
    return bool(np.array_equal(codes[0], codes[1]))


@torch.inference_mode()
def estimate(model: nn.Module, batch: Batch, settings: TrainSettings | None = None) -> torch.Tensor:
    """What the network says about a batch, [B, F, T] float32, on the network's device.

    A network trained on the noise control is asked about noise too, when `settings` are given.
    """
    batch = batch.to(next(model.parameters()).device)
    if settings is not None and settings.training.control == "noise":
        batch = replace(batch, signal=noise_like(batch, settings.seed))
    return answer(model, batch).float()


def answer(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The network's estimate [B, F, T] for the windows that a batch asks about."""
    given = (batch.signal, batch.subject, batch.layout)
    return model(*given) if batch.context is None else model(*given, batch.context)


def _finished_fold(run: Path, info: dict[str, Any], fold: str) -> Path:
    if fold not in info["folds"]:
        raise SettingsError(f"{run}: there is no {fold}; there are {', '.join(info['folds'])}")
    folder = run / fold
    if not (folder / "finished.json").is_file():
        raise SettingsError(f"{folder}: training did not finish; run the same neurodecode train command again")
    return folder
