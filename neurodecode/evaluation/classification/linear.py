"""Band power, and the two linear methods that read it.

In: windows [n, C, T]. Out: logarithms of power [n, C x bands x bins], and from them scores of the test windows [n, K].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neurodecode.config.baselines import SHRINKAGES, BandPowerSettings, LdaMethod, RidgeMethod
from neurodecode.errors import SettingsError
from neurodecode.evaluation.classification.trials import Trials


def usable_bands(settings: BandPowerSettings, sfreq: float) -> list[tuple[float, float]]:
    """Bands that end below half the rate.

    Raises
    ------
    SettingsError
        If none does.
    """
    bands = [band for band in settings.bands if band[1] <= sfreq / 2]
    if not bands:
        raise SettingsError(
            f"power.bands: none of them ends below {sfreq / 2:g} Hz, half the rate of the store; name lower bands"
        )
    return bands


def band_power(signal: torch.Tensor, sfreq: float, settings: BandPowerSettings) -> np.ndarray:
    """Logarithm of the mean power of each band in each bin, tapered by a Hann window.

    Parameters
    ----------
    signal
        [n, C, T].
    sfreq
        Hz.
    settings
        Bands and bins.

    Returns
    -------
    ndarray
        float64 [n, C x bins x bands].

    Raises
    ------
    SettingsError
        If a band holds no frequency of so short a bin.
    """
    n, c, t = signal.shape
    length = t // settings.bins
    cut = signal[..., : length * settings.bins].reshape(n, c, settings.bins, length).double()
    cut = cut - cut.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(cut * torch.hann_window(length, periodic=False, dtype=torch.double)).abs().square()
    frequencies = torch.fft.rfftfreq(length, 1 / sfreq)
    powers = []
    for low, high in usable_bands(settings, sfreq):
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            raise SettingsError(
                f"power.bands: [{low:g}, {high:g}] Hz holds no frequency of a bin of {length / sfreq:g} s; use fewer bins "
                "or wider bands"
            )
        powers.append(spectrum[..., inside].mean(-1))
    # a flat stretch has no power: its logarithm is that of a ten-billionth of a standardised channel's
    return torch.log(torch.stack(powers, -1) + 1e-10).reshape(n, -1).numpy()


def features(trials: Trials, settings: BandPowerSettings) -> dict[str, np.ndarray]:
    """Standardised band power of each side, [n, features].

    By training windows, or, with scaling `person`, for each person by all of his own windows; where `settings.person` is
    center, deviations are those of all centred training windows together.
    """
    sides = {"train": trials.train, "valid": trials.valid, "test": trials.test}
    raw = {
        side: np.concatenate([band_power(x, trials.sfreq, settings) for x in trials.in_parts(rows)])
        for side, rows in sides.items()
        if len(rows)
    }
    if trials.scaling == "training":
        center, scale = _moments(raw["train"])
        return {side: (values - center) / scale for side, values in raw.items()}
    people = {side: trials.people(rows) for side, rows in sides.items() if len(rows)}
    out = {side: np.empty_like(values) for side, values in raw.items()}
    for person in np.unique(np.concatenate(list(people.values()))):
        center, scale = _moments(np.concatenate([raw[side][people[side] == person] for side in raw]))
        for side in raw:
            mine = people[side] == person
            out[side][mine] = (raw[side][mine] - center) / (scale if settings.person == "standardise" else 1.0)
    if settings.person == "center":
        scale = _moments(out["train"])[1]
        out = {side: values / scale for side, values in out.items()}
    return out


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = values.std(0)
    return values.mean(0), np.where(scale > 1e-12, scale, 1.0)


def lda(trials: Trials, settings: LdaMethod, balanced: bool) -> np.ndarray:
    """Log-probabilities of the test windows, [n, K]."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = features(trials, settings.power), trials.labels(trials.train)
    present = np.unique(y)
    priors = np.full(len(present), 1 / len(present)) if balanced else None

    def fitted(share: float | str, values: np.ndarray, labels: np.ndarray) -> Any:
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share, priors=priors).fit(values, labels)

    share: float | str = "auto" if settings.shrinkage == "formula" else settings.shrinkage
    if share == "inner":
        folds = inner_folds(trials.groups(trials.train), y, settings.inner, "lda", "shrinkage")
        found = [
            np.mean([_balanced(fitted(s, x["train"][a], y[a]).predict(x["train"][b]), y[b]) for a, b in folds])
            for s in SHRINKAGES
        ]
        share = max(s for s, value in zip(SHRINKAGES, found) if value >= max(found) - 1e-12)  # of equals the simplest
    model = fitted(share, x["train"], y)
    return spread_out(model.predict_log_proba(x["test"]), model.classes_, trials.n_classes)


def _balanced(answers: np.ndarray, y: np.ndarray) -> float:
    """Mean over labels of the share that is right."""
    return float(np.mean([(answers[y == label] == label).mean() for label in np.unique(y)]))


def ridge(trials: Trials, settings: RidgeMethod, balanced: bool) -> np.ndarray:
    """Scores of the test windows, [n, K]: larger is likelier, but they are no probabilities."""
    from sklearn.linear_model import RidgeClassifierCV

    x, y = features(trials, settings.power), trials.labels(trials.train)
    folds = inner_folds(trials.groups(trials.train), y, settings.inner, "ridge", "penalty")
    model = RidgeClassifierCV(
        alphas=np.array(settings.penalties), cv=folds, class_weight="balanced" if balanced else None
    ).fit(x["train"], y)
    scores = model.decision_function(x["test"])
    if scores.ndim == 1:  # of two classes scikit-learn gives one number
        scores = np.stack([-scores, scores], 1)
    return spread_out(scores, model.classes_, trials.n_classes)


def inner_folds(
    groups: np.ndarray, y: np.ndarray, most: int, method: str, chosen: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training, held-out) positions, whole groups together; folds whose training lacks a label are left out.

    `method` and `chosen` are named in the error: what is to be chosen by these folds.

    Raises
    ------
    SettingsError
        If no fold is left.
    """
    names = np.unique(groups)
    parts = min(most, len(names))
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for part in range(parts):
        out = np.isin(groups, names[part::parts])
        if out.any() and not out.all() and len(np.unique(y[~out])) == len(np.unique(y)):
            found.append((np.flatnonzero(~out), np.flatnonzero(out)))
    if not found:
        raise SettingsError(
            f"{method}: {len(names)} part(s) of the training windows, and none can be held out without losing a label, so no "
            f"{chosen} can be chosen; give more runs, or leave the method out"
        )
    return found


def spread_out(scores: np.ndarray, classes: Any, n_classes: int) -> np.ndarray:
    """Scores [n, k] of the labels that a subject's training windows have -> [n, K]; the others are never answered."""
    out = np.full((len(scores), n_classes), -np.inf)
    out[:, np.asarray(classes)] = scores
    return out
