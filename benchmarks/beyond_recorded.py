"""What additions beyond the paper do to recorded EEG: one listener, five trials of a minute, one trial left out at a time.

The cohort `cocktail_eeg`, the preset `cocktail_eeg_10s` (30 candidates), one seed. Prints each addition beside the reference
on the same windows, with the paired difference and its 95 % interval over segments, and the ridge. 30 windows of one
person: nothing short of a large difference can be seen.

python benchmarks/beyond_recorded.py FOLDER DATA [seed]     DATA holds 1_1.mat .. 1_5.mat, F_env.mat and M_env.mat
"""

from __future__ import annotations

import sys
from pathlib import Path

from neurodecode.config import (
    CohortCard,
    EvaluationSettings,
    PreprocessingSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.side_by_side.comparison import compare_runs
from neurodecode.pipeline.cards import load_card
from neurodecode.recordings.sources import expand_source
from neurodecode.store.build import preprocess
from neurodecode.training.fit import fit

VARIANTS = {
    "reference": [],
    "window norm": ["model.instance_norm=true"],
    "time masks": ["training.augment.time_mask=0.3"],
    "channel masks": ["training.augment.channel_mask=0.1"],
    "onset jitter": ["training.augment.onset_jitter=0.04"],
    "label smoothing": ["objective.label_smoothing=0.1"],
    "shared duplicates": ["objective.mask_duplicates=false", "objective.share_duplicates=true"],
    "SigLIP": ["objective.kind=siglip", "objective.mask_duplicates=false"],
    "context of 3 windows": ["model.context.windows=3", "model.context.step=5", "model.context.width=32"],
}
METRICS = ("top1", "top10", "match_mismatch")


def main(folder: Path, data: Path, seed: int = 2036) -> None:
    store = folder / "store"
    if not store.exists():
        card = load_card(load_settings(CohortCard, "cocktail_eeg", "datasets"), data)
        clean = load_settings(PreprocessingSettings, "cocktail_eeg", "configs/preprocessing")
        preprocess(expand_source(card), store, clean, progress=False)
    print("| addition | top-1 | top-10 | match-mismatch | match-mismatch against reference | interval |")
    print("|---|---|---|---|---|---|")
    reference = folder / f"reference-{seed}"
    for name, changes in VARIANTS.items():
        run = folder / f"{name.replace(' ', '-')}-{seed}"
        overrides = [*changes, f"seed={seed}"]
        fit(load_settings(TrainSettings, "cocktail_eeg_10s", "configs/training", overrides), store, run, progress=False)
        controls = "controls=[ridge, constant]" if run == reference else "controls=[constant, context]"
        scored = load_settings(EvaluationSettings, None, "configs/evaluation", ["permutations=1", controls])
        result = evaluate(run, scored, progress=False)
        print(f"| {name} | {cells(result['metrics'])} | {against(reference, run)} |", flush=True)
        for control in ("ridge", "constant", "alone", "strangers"):
            if control in result["controls"] and (control != "constant" or run == reference):
                print(f"| - {control} | {cells(result['controls'][control]['metrics'])} | | |", flush=True)
    print(f"\n{result['n_queries']} windows, {result['n_candidates']} candidates; seed {seed}")
    print(f"command: python {' '.join(sys.argv)}")


def cells(metrics: dict) -> str:
    return " | ".join(f"{metrics[metric]['value']:.3f}" for metric in METRICS)


def against(reference: Path, run: Path) -> str:
    if run == reference:
        return " | "
    found = compare_runs(reference, run, metric="match_mismatch")
    return f"{found['difference']:+.3f} | {found['low']:+.3f} to {found['high']:+.3f}"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2036)
    else:
        print("nothing measured: give a folder for the runs and the folder of the recordings")
