"""A few minutes of somebody new: only his subject layer learns, everything else is a finished run's.

    calibrate(Path("run"), Path("store"), "07", 2.0, Path("run-07"))

Training blocks of the new subject give the minutes, his test blocks the score. The stimuli of the test blocks are on the
test side of the finished run, too, since the split depends on stimuli alone. 0 minutes: the mean of the known subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurodecode.config import TrainSettings, apply_overrides, validate
from neurodecode.errors import SettingsError
from neurodecode.training.fit import fit
from neurodecode.training.run_folder import read_run, run_settings


def calibrate(
    run: Path,
    store: Path,
    subject: str,
    minutes: float | None,
    out: Path,
    overrides: Sequence[str] = (),
    *,
    progress: bool = True,
) -> Path:
    """Fit a finished run to one more subject.

    Parameters
    ----------
    run
        A finished run of the aligner that did not train on this subject.
    store
        Where the subject's recordings are, preprocessed as the run's were.
    subject
        His name.
    minutes
        Of his training signal; None takes all, 0 none.
    out
        The new run; `neurodecode evaluate` scores it.
    overrides
        Settings as with `--set`, for example `training.epochs=40`.
    progress
        Show a progress bar.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SettingsError
        If the run knows the subject already, or has no subject layer.
    """
    settings = calibration_settings(run, subject, minutes, overrides)
    return fit(settings, store, out, progress=progress)


def calibration_settings(
    run: Path, subject: str, minutes: float | None, overrides: Sequence[str] = ()
) -> TrainSettings:
    """Settings of such a run: those of the finished one, but for whom it is about and what learns."""
    run = Path(run)
    info = read_run(run)
    settings = run_settings(info, str(run / "run.json"))
    if subject in info["subjects"]:
        raise SettingsError(
            f"--subject {subject}: {run} was trained on this subject; train one without: --set exclude=[{subject}]"
        )
    amount = "all" if minutes is None else f"{minutes:g}"
    values: dict[str, Any] = settings.model_dump(mode="json")
    values |= {
        "name": f"{settings.name}, {amount} min of {subject}",
        "subjects": [subject],
        "exclude": [],
        "start_from": run.resolve().as_posix(),
        "train_only": "subject",
        "minutes": minutes,
    }
    # minutes may all lie in one recording, which has to scale the others too
    values["segments"]["scaling"]["scope"] = "subject"
    return validate(TrainSettings, apply_overrides(values, overrides), str(run / "run.json"))
