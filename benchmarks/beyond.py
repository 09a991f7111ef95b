"""What each addition beyond the paper is worth on a simulated cohort whose subjects differ and whose heads move.

Four listeners with differently pointing sources, gains and head positions; heads move by 1 cm between runs of two minutes.
The tiny preset, three seeds. Prints each addition against the reference on the same windows (mean over seeds of the paired
difference; the interval is from the lowest to the highest end of the seeds' 95 % intervals); networks with context once
more without their neighbours, with another window's, and on noise; and a listener left out of training: served by the mean
layer, calibrated with some minutes, and seen.

python benchmarks/beyond.py [folder [seeds [row ...]]]     the first so many seeds, the reference and these rows only
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.evaluation.runs.ensemble import ensemble
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.side_by_side.comparison import compare_runs
from neurodecode.files import read_json
from neurodecode.recordings.sources import expand_source
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.calibrate import calibrate
from neurodecode.training.fit import fit

COHORT = ["channels=32", "stories=8", "subjects=4", "snr=0.6", "orientation_spread=90", "gain_spread=0.6"]
COHORT += ["position_spread=0.01", "movement=0.01", "run_seconds=120", "linear=0.3"]
NETWORK = ["model.hidden=32", "model.spatial_channels=24", "model.depth=3", "features.bands=12", "training.epochs=8"]
SEEDS = (2036, 2037, 2038)
LEFT_OUT = "04"
CONTEXT = ["model.context.width=32", "model.context.heads=2"]
VARIANTS = {
    "reference": [],
    "session deviation": ["model.sessions=deviation"],
    "session matrices": ["model.sessions=own"],
    "3-D positions": ["model.positions=3d"],
    "window norm": ["model.instance_norm=true"],
    "time masks": ["training.augment.time_mask=0.3"],
    "channel masks": ["training.augment.channel_mask=0.1"],
    "onset jitter": ["training.augment.onset_jitter=0.04"],
    "label smoothing": ["objective.label_smoothing=0.1"],
    "shared duplicates": ["objective.mask_duplicates=false", "objective.share_duplicates=true"],
    "context of 5 windows": ["model.context.windows=5", *CONTEXT],
    "context of 9 windows": ["model.context.windows=9", *CONTEXT],
    "SigLIP": ["objective.kind=siglip", "objective.mask_duplicates=false"],
}
SCORING = ["bootstrap=100", "permutations=1"]


def main(folder: Path, count: int = len(SEEDS), only: tuple[str, ...] = ()) -> None:
    seeds = SEEDS[:count]
    wanted = [name for name in VARIANTS if not only or name in ("reference", *only)]
    store = folder / "store"
    if not store.exists():
        simulation = load_settings(SimulationSettings, "tiny", "configs/simulation", COHORT)
        simulate(simulation, folder / "cohort", overwrite=True)
        clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
        preprocess(expand_source(folder / "cohort"), store, clean, progress=False)
    print("| addition | top-1 | top-10 | top-1 against reference | interval |\n|---|---|---|---|---|")
    for name in wanted:
        row(name, [scored(train(folder, name, seed, VARIANTS[name])) for seed in seeds], seeds, folder)
    if len(seeds) > 1:
        together = folder / f"ensemble-of-{len(seeds)}"
        ensemble([run_of(folder, "reference", seed) for seed in seeds], together)
        row(f"ensemble of the {len(seeds)} references", [together], seeds, folder)
    with_context = [name for name in wanted if name.startswith("context")]
    if with_context:
        print(
            "\n| network with context | top-1 | top-10 | top-1 with its own minus alone | interval |\n|---|---|---|---|---|"
        )
    for name in with_context:
        context_rows(name, [run_of(folder, name, seed) for seed in seeds])
    if not only:
        left_out(folder, seeds)
    print(f"\ncohort: {' '.join(COHORT)}; seeds {seeds}")


def left_out(folder: Path, seeds: tuple[int, ...]) -> None:
    """Print what a listener gets whom the run never heard."""
    print("\n| the listener left out | top-1 | top-10 |\n|---|---|---|")
    without = [train(folder, "left-out", seed, [f"exclude=['{LEFT_OUT}']"]) for seed in seeds]
    for minutes in (0.0, 2.0, 5.0, None):
        amount = "all of his training signal" if minutes is None else f"{minutes:g} min"
        name = "mean of the others" if minutes == 0 else f"calibrated, {amount}"
        runs = [folder / f"calibrated-{minutes}-{seed}" for seed in seeds]
        for start, run in zip(without, runs):
            calibrate(start, folder / "store", LEFT_OUT, minutes, run, ["training.epochs=20"], progress=False)
            scored(run)
        print(f"| {name} | {cells([figures(run) for run in runs])} |", flush=True)
    seen = [figures(run_of(folder, "reference", seed), LEFT_OUT) for seed in seeds]
    print(f"| seen in training | {cells(seen)} |")


def context_rows(name: str, runs: list[Path]) -> None:
    """Print what the neighbours are worth to the network that was trained with them."""
    results = [evaluation(run) for run in runs]
    gains = [result["against_alone"]["top1"] for result in results]
    mean = np.mean([gain["difference"] for gain in gains])
    ends = f"{min(gain['low'] for gain in gains):+.3f} to {max(gain['high'] for gain in gains):+.3f}"
    around = results[0]["context"]
    print(
        f"| {name}: {around['neighbours']:.1f} neighbours, {around['reach']:g} s | {cells([figures(run) for run in runs])} "
        f"| {mean:+.3f} | {ends} |"
    )
    for control in ("alone", "strangers", "noise"):
        found = [[r["controls"][control]["metrics"][m]["value"] for m in ("top1", "top10")] for r in results]
        print(f"| - {control} | {cells(found)} | | |", flush=True)


def run_of(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(' ', '-')}-{seed}"


def train(folder: Path, name: str, seed: int, changes: list[str]) -> Path:
    overrides = [*NETWORK, *changes, f"seed={seed}"]
    return fit(
        load_settings(TrainSettings, "tiny", "configs/training", overrides),
        folder / "store",
        run_of(folder, name, seed),
        progress=False,
    )


def scored(run: Path) -> Path:
    controls = "controls=[constant, context, noise]" if run.name.startswith("context") else "controls=[constant]"
    evaluate(run, load_settings(EvaluationSettings, None, "configs/evaluation", [*SCORING, controls]), progress=False)
    return run


def evaluation(run: Path) -> dict[str, Any]:
    return read_json(run / "evaluation" / "test.json")


def figures(run: Path, subject: str | None = None) -> list[float]:
    """Top-1 and top-10 of an evaluated run, or of one of its subjects."""
    result = evaluation(run)
    if subject is not None:
        return [result["per_subject"][subject][metric] for metric in ("top1", "top10")]
    return [result["metrics"][metric]["value"] for metric in ("top1", "top10")]


def cells(found: list[list[float]]) -> str:
    return " | ".join(f"{v.mean():.3f} ({v.min():.3f}-{v.max():.3f})" for v in np.array(found).T)


def row(name: str, runs: list[Path], seeds: tuple[int, ...], folder: Path) -> None:
    """Print an addition beside the reference of its own seed."""
    text = cells([figures(run) for run in runs])
    if name == "reference":
        print(f"| {name} | {text} | | |", flush=True)
        return
    found = [
        compare_runs(run_of(folder, "reference", seed), run, metric="top1", repeats=200)
        for seed in seeds
        for run in (runs if len(runs) == 1 else [runs[seeds.index(seed)]])
    ]
    mean = np.mean([f["difference"] for f in found])
    low, high = min(f["low"] for f in found), max(f["high"] for f in found)
    print(f"| {name} | {text} | {mean:+.3f} | {low:+.3f} to {high:+.3f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(SEEDS), tuple(sys.argv[3:]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
