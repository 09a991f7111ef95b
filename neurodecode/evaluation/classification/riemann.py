"""Covariance matrices in their tangent space, then logistic regression (Barachant et al. 2012); needs pyriemann.

In: windows [n, C, T]. Out: log-probabilities of the test windows [n, K].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodecode.config.baselines import RiemannMethod
from neurodecode.errors import SettingsError
from neurodecode.evaluation.classification.linear import spread_out
from neurodecode.evaluation.classification.trials import Trials


def require() -> None:
    """Say in one line what is absent.

    Raises
    ------
    SettingsError
        If pyriemann is not installed.
    """
    try:
        import pyriemann  # noqa: F401
    except ImportError:
        raise SettingsError(
            "methods of kind riemann need pyriemann, which is not installed; pip install 'neurodecode[riemann]', or leave "
            "them out"
        ) from None


def riemann(trials: Trials, settings: RiemannMethod, balanced: bool) -> np.ndarray:
    """Log-probabilities of the test windows, [n, K].

    With scaling `person`, each person's matrices are first whitened by their own mean (Zanini et al. 2018), which needs no
    labels.
    """
    require()
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression

    train, test = (_covariances(trials, rows, settings) for rows in (trials.train, trials.test))
    if trials.scaling == "person":
        rest = _covariances(trials, trials.valid, settings)
        train, test = _recentred(trials, train, rest, test)
    space = TangentSpace(metric="riemann").fit(train)
    model = LogisticRegression(C=settings.penalty, max_iter=2_000, class_weight="balanced" if balanced else None).fit(
        space.transform(train), trials.labels(trials.train)
    )
    return spread_out(model.predict_log_proba(space.transform(test)), model.classes_, trials.n_classes)


def _covariances(trials: Trials, rows: np.ndarray, settings: RiemannMethod) -> np.ndarray:
    """[n, C, C] of the standardised channels."""
    from pyriemann.utils.covariance import covariances

    n_chans = len(trials.columns)
    parts: list[Any] = [covariances(x.double().numpy(), estimator=settings.covariance) for x in trials.in_parts(rows)]
    found = np.concatenate(parts) if parts else np.zeros((0, n_chans, n_chans))
    lowest = np.linalg.eigvalsh(found)[:, 0].min() if len(found) else 1.0
    if lowest <= 0:
        shrunk = settings.covariance != "scm"
        mend = "a channel is flat: mark it bad, or use longer" if shrunk else "use covariance oas or lwf, longer"
        raise SettingsError(
            f"riemann: a covariance of {n_chans} channels has no full rank (smallest eigenvalue {lowest:.2g}); {mend} windows, "
            "or a reference that keeps the rank"
        )
    return found


def _recentred(trials: Trials, train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices of training and test windows, each person's whitened by the mean of all of his."""
    from pyriemann.utils.base import invsqrtm
    from pyriemann.utils.mean import mean_riemann

    people = [trials.people(rows) for rows in (trials.train, trials.valid, trials.test)]
    train, test = train.copy(), test.copy()
    for person in np.unique(np.concatenate(people)):
        own = [values[who == person] for values, who in zip((train, valid, test), people)]
        white = invsqrtm(mean_riemann(np.concatenate(own)))
        for values, who in ((train, people[0]), (test, people[2])):
            values[who == person] = white @ values[who == person] @ white
    return train, test
