"""Networks by name, trained alike: AdamW, half cosine, the epoch with the lowest validation loss.

In: trials and a seed. Out: log-probabilities of the test windows [n, K]. braindecode is imported only if it is named.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from neurodecode.config.baselines import NetworkMethod, NetworkTrainingSettings
from neurodecode.errors import SettingsError
from neurodecode.evaluation.classification.trials import Trials
from neurodecode.segments.batches import batch_rows


def find_network(name: str) -> type[nn.Module]:
    """The class of a network: our own first, then braindecode's.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    from neurodecode.models.baselines import NETWORKS

    if name in NETWORKS:
        return NETWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies' next versions: nothing that a user could mend
        import braindecode.models

    found = getattr(braindecode.models, name, None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        every = {n: getattr(braindecode.models, n) for n in dir(braindecode.models)}
        known = [*NETWORKS, *(n for n, c in every.items() if inspect.isclass(c) and issubclass(c, nn.Module))]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "see braindecode.models for the names"
        raise SettingsError(
            f"network: {name} is neither {' nor '.join(NETWORKS)} nor a class of braindecode.models; {hint}"
        )
    return found


def build_network(settings: NetworkMethod, *, n_chans: int, n_outputs: int, n_times: int, sfreq: float) -> nn.Module:
    """An untrained network, of sizes that the data have.

    Raises
    ------
    SettingsError
        If it cannot be built so, or does not give a score for each label.
    """
    cls = find_network(settings.network)
    sizes = f"{n_chans} channels x {n_times} samples at {sfreq:g} Hz"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options that are to go, which nobody here has set
            model = cls(n_chans=n_chans, n_outputs=n_outputs, n_times=n_times, sfreq=sfreq, **settings.options)
            with torch.inference_mode():
                given = model.eval()(torch.zeros(2, n_chans, n_times))
    except Exception as error:  # of many authors' constructors
        text = " ".join(str(error).split())[:200]
        raise SettingsError(
            f"network: {settings.network} cannot be built for {sizes} ({type(error).__name__}: {text}); change its options or "
            "the window"
        ) from error
    if not isinstance(given, torch.Tensor) or given.shape != (2, n_outputs):
        what = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        raise SettingsError(
            f"network: {settings.network} is no classifier of {sizes}: of two windows and {n_outputs} labels it makes {what}, "
            f"not {(2, n_outputs)}; choose another"
        )
    return model


def network(trials: Trials, settings: NetworkMethod, balanced: bool, seed: int) -> np.ndarray:
    """Log-probabilities of the test windows, [n, K]."""
    torch.manual_seed(seed)  # just before the weights are drawn
    model = build_network(
        settings,
        n_chans=len(trials.columns),
        n_outputs=trials.n_classes,
        n_times=trials.n_times,
        sfreq=trials.sfreq,
    )
    train(model, trials, settings.training, class_weights(trials) if balanced else None, seed)
    return answers(model, trials, trials.test).numpy()


def class_weights(trials: Trials) -> torch.Tensor:
    """[K], such that all labels of training weigh the same, 1 on average over windows."""
    counts = np.bincount(trials.labels(trials.train), minlength=trials.n_classes)
    weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / (counts > 0).sum(), 0.0)
    return torch.tensor(weights, dtype=torch.float32)


def train(
    model: nn.Module, trials: Trials, settings: NetworkTrainingSettings, weights: torch.Tensor | None, seed: int
) -> dict[str, Any]:
    """Train in place; the weights of the epoch with the lowest validation loss stay. The test side is not looked at.

    Returns
    -------
    dict
        `epochs` that were run, `best_epoch` (from 0), `best_valid_loss` (nats).
    """
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
    )
    best: dict[str, Any] = {"best_valid_loss": math.inf, "best_epoch": -1, "epochs": 0}
    kept = copy.deepcopy(model.state_dict())
    rows = trials.train
    for epoch in range(settings.epochs):
        model.train()
        order = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
        for chosen in batch_rows(rows, settings.batch_size, int(order)):
            if len(chosen) < 2 < len(rows):  # batch norm has nothing to compare one window with
                continue
            target = torch.as_tensor(trials.labels(chosen))
            loss = functional.cross_entropy(model(trials.signal(chosen)), target, weight=weights)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
        schedule.step()
        loss_now = validation_loss(model, trials, weights)
        best["epochs"] = epoch + 1
        if loss_now < best["best_valid_loss"]:
            best |= {"best_valid_loss": loss_now, "best_epoch": epoch}
            kept = copy.deepcopy(model.state_dict())
        elif epoch - best["best_epoch"] >= settings.patience:
            break
    if best["best_epoch"] < 0:
        raise SettingsError(
            f"training: the validation loss of {type(model).__name__} was never a number; lower learning_rate"
        )
    model.load_state_dict(kept)
    return best


def validation_loss(model: nn.Module, trials: Trials, weights: torch.Tensor | None) -> float:
    """Mean cross-entropy over the validation windows, nats."""
    target = torch.as_tensor(trials.labels(trials.valid))
    return float(functional.nll_loss(answers(model, trials, trials.valid), target, weight=weights))


@torch.inference_mode()
def answers(model: nn.Module, trials: Trials, rows: np.ndarray) -> torch.Tensor:
    """Log-probabilities [n, K] in evaluation mode."""
    model.eval()
    return torch.cat([model(x).float().log_softmax(1) for x in trials.in_parts(rows)])
