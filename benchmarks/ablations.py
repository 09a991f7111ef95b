"""What each part of the contrastive network is worth on a simulated cohort whose subjects differ and move.

Four listeners of the preset `ablations` of configs/simulation: 96 sensors, differently pointing sources, gains and head
positions, artefacts of 400 times the background; a small network, three seeds. Prints a table of top-1 and top-10, mean and
range over seeds, beside ridge and chance.

python benchmarks/ablations.py [folder [seeds [variant ...]]]     the first so many seeds; only variants so named
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.recordings.sources import expand_source
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.fit import fit

COHORT = "ablations"
NETWORK = ["model.hidden=32", "model.spatial_channels=48", "model.fourier_frequencies=10", "model.depth=3"]
NETWORK += ["features.bands=12", "training.epochs=20", "training.schedule=cosine", "training.patience=20"]
SEEDS = (2036, 2037, 2038)
VARIANTS = {
    "reference": [],
    "subject embedding": ["model.subjects=embedding", "model.subject_dimension=8"],
    "no spatial-attention dropout": ["model.spatial_dropout=0"],
    "ReLU": ["model.activation=relu"],
    "no skip connections": ["model.skip=false"],
    "no final 1x1 convolutions": ["model.head=false"],
    "no initial 1x1 convolution": ["model.initial_convolution=false"],
    "no spatial attention": ["model.spatial_attention=false"],
    "no GLU": ["model.glu_every=0"],
    "no subject layer": ["model.subjects=none"],
    "no clamping": ["segments.scaling.clamp=null"],
    "MSE instead of CLIP": ["objective.kind=mse"],
}


def main(folder: Path, seeds: int = len(SEEDS), only: tuple[str, ...] = ()) -> None:
    variants = {name: changes for name, changes in VARIANTS.items() if not only or name in ("reference", *only)}
    if not (folder / "store").exists():
        simulate(load_settings(SimulationSettings, COHORT, "configs/simulation"), folder / "cohort", overwrite=True)
        clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
        preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    print("| variant | top-1 | range | top-10 | range |\n|---|---|---|---|---|")
    for name, changes in variants.items():
        found = []
        for seed in SEEDS[:seeds]:
            run = folder / f"{name.replace(' ', '-')}-{seed}"
            settings = load_settings(TrainSettings, "tiny", "configs/training", [*NETWORK, *changes, f"seed={seed}"])
            fit(settings, folder / "store", run, progress=False)
            first = name == "reference" and seed == SEEDS[0]
            controls = "[ridge, constant]" if first else "[constant]"
            scored = load_settings(
                EvaluationSettings,
                None,
                "configs/evaluation",
                ["bootstrap=50", "permutations=1", f"controls={controls}"],
            )
            result = evaluate(run, scored, progress=False)
            found.append([result["metrics"][m]["value"] for m in ("top1", "top10")])
            if first:
                beside = {
                    "ridge": result["controls"]["ridge"]["metrics"],
                    "chance": result["controls"]["constant"]["metrics"],
                }
        values = np.array(found)
        cells = [f"{v.mean():.3f} | {v.min():.3f}-{v.max():.3f}" for v in values.T]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for name, metrics in beside.items():
        print(f"| {name} | {metrics['top1']['value']:.3f} | | {metrics['top10']['value']:.3f} | |")
    print(f"\n{result['n_queries']} windows, {result['n_candidates']} candidates; cohort: {COHORT}")
    print(f"command: python {' '.join(sys.argv)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(SEEDS), tuple(sys.argv[3:]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
