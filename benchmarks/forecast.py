"""Whether a forecast of what more hours would give comes true: fitted on parts up to a quarter, held against half and all.

Three listeners of all embedded stories at two strengths of the response, several draws; the ridge is refitted on 1/16, 1/8,
1/4, 1/2 and all of the training blocks. The curve goes through the first three; what it says of 2 and 4 times the hours
stands beside what half and all of the data give on the same test windows.

python benchmarks/forecast.py [folder [draws]]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from neurodecode.config import PreprocessingSettings, SimulationSettings, TrainSettings, load_settings
from neurodecode.config.evaluation import ForecastSettings
from neurodecode.evaluation.hours.extrapolation import Curve, extrapolate
from neurodecode.evaluation.hours.forecast import forecast
from neurodecode.evaluation.retrieval.metrics import Ranking
from neurodecode.recordings.sources import expand_source
from neurodecode.segments.windows import build_windows
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.store.store import Store

COHORT = ["stories=null", "subjects=3", "channels=24", "run_seconds=200", "linear=0.1"]
STRENGTHS = (2, 0.5)  # snr
DRAWS = (2024, 2025, 2026)  # seeds of the cohort
FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
KNOWN = 3  # the curve goes through so many
METRICS = ("top1", "top10", "match_mismatch")
SETTINGS = ForecastSettings(fractions=FRACTIONS, repeats=3)


def main(folder: Path, draws: int = len(DRAWS)) -> None:
    print("| snr | draw | figure | known | 2 times: forecast | found | 4 times: forecast | found | cautions |")
    print("|---|---|---|---|---|---|---|---|---|")
    inside, misses = [], []
    for snr in STRENGTHS:
        for draw in DRAWS[:draws]:
            for metric, found, truth in held_out(folder / f"{snr:g}-{draw}", snr, draw):
                known = " ".join(f"{p['value']:.3f}" for p in found["points"])
                cells = []
                for ahead, true in zip(found["forecasts"], truth):
                    text = f"{ahead['value']:.3f} [{ahead['low']:.3f}, {ahead['high']:.3f}]"
                    cells.append(f"{text} | {true:.3f}")
                    inside.append(ahead["low"] <= true <= ahead["high"])
                    misses.append(ahead["value"] - true)
                print(
                    f"| {snr:g} | {draw} | {metric} | {known} | {' | '.join(cells)} | {len(found['cautions'])} |",
                    flush=True,
                )
    print(f"\n{np.sum(inside)} of {len(inside)} inside their interval; mean miss {np.mean(misses):+.3f}, ")
    print(f"mean size of the miss {np.mean(np.abs(misses)):.3f}; command: python {' '.join(sys.argv)}")


def held_out(folder: Path, snr: float, draw: int) -> list[tuple[str, dict, list[float]]]:
    """For each figure: what the smaller parts forecast, and what the larger ones give."""
    store, out = folder / "store", folder / "forecast"
    training = load_settings(
        TrainSettings, "tiny", "configs/training", ["features.bands=12", "segments.scaling.scope=subject"]
    )
    if not store.exists():
        planted = [*COHORT, f"snr={snr}", f"seed={draw}"]
        simulate(
            load_settings(SimulationSettings, "tiny", "configs/simulation", planted), folder / "cohort", overwrite=True
        )
        clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
        preprocess(expand_source(folder / "cohort"), store, clean, progress=False)
        shutil.rmtree(folder / "cohort")
    result = forecast(training, store, out, SETTINGS, progress=False)
    index = build_windows(Store(store), training.segments)
    (fold,) = [index.fold(name) for name in index.folds]
    cluster = fold.table["subject"].to_numpy()[fold.rows("test")]
    points = result["decoders"]["ridge"]["points"]
    hours = np.array([point["hours"] for point in points])
    rankings = [
        [read(out / "points" / f"ridge-{fraction:g}-{k}.npz") for k in range(point["draws"])]
        for fraction, point in zip(FRACTIONS, points)
    ]
    answers = []
    for metric in METRICS:
        values = [np.stack([r.per_query()[metric] for r in drawn]) for drawn in rankings]
        chance = float(rankings[0][0].chance_per_query()[metric].mean())
        curve = Curve(hours[:KNOWN], values[:KNOWN], chance)
        found = extrapolate(curve, cluster, repeats=SETTINGS.bootstrap, seed=SETTINGS.seed)
        answers.append((metric, found, [float(v.mean()) for v in values[KNOWN:]]))
    return answers


def read(path: Path) -> Ranking:
    with np.load(path) as stored:
        return Ranking(stored["better"], stored["tied"], stored["pool"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(DRAWS))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
