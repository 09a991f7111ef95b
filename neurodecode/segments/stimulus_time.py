"""Which stimulus was heard when: the map from seconds of a recording to seconds of a stimulus.

In: an events table (seconds from the first sample). Out: presentations, one row each, and look-ups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Presentation:
    """One stretch of a recording during which one stimulus was heard.

    Attributes
    ----------
    stimulus
        Name of the stimulus.
    onset, offset
        Seconds from the first sample of the recording.
    stimulus_onset
        Second of the stimulus heard at `onset`.
    """

    stimulus: str
    onset: float
    offset: float
    stimulus_onset: float

    def to_stimulus(self, seconds: np.ndarray | float) -> np.ndarray | float:
        """Recording seconds -> stimulus seconds."""
        return seconds - self.onset + self.stimulus_onset

    def to_recording(self, seconds: np.ndarray | float) -> np.ndarray | float:
        """Stimulus seconds -> recording seconds."""
        return seconds - self.stimulus_onset + self.onset


def presentations(events: pd.DataFrame, seconds: float) -> list[Presentation]:
    """Presentations in time order.

    A row of kind `stimulus` without a duration lasts until the next one, or to the end of the recording (`seconds`);
    a presentation is cut where the next one begins, so that a moment belongs to one stimulus only.
    """
    rows = events[events["kind"] == "stimulus"].sort_values("onset", kind="stable")
    onsets = rows["onset"].to_numpy(float)
    following = np.append(onsets[1:], seconds)
    result = []
    for (_, row), limit in zip(rows.iterrows(), following):
        duration = float(row["duration"])
        end = limit if not duration > 0 else min(row["onset"] + duration, limit)
        start_in_stimulus = row["stimulus_onset"] if np.isfinite(row["stimulus_onset"]) else 0.0
        if end > row["onset"]:
            result.append(Presentation(str(row["stimulus"]), float(row["onset"]), float(end), float(start_in_stimulus)))
    return result
