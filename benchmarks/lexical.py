"""Whether the analysis of what success goes with finds a planted effect of word frequency, and none where none was planted.

Three listeners of all embedded stories whose brains answer rare words more strongly (`lexical`; 0 plants nothing), several
draws of the cohort, a small network; a larger test share than usual, for the analysis counts segments. Prints R of each set
of features beside wrong pairings.

python benchmarks/lexical.py [folder [draws]]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.evaluation.speech.linguistics import analyse
from neurodecode.files import read_json
from neurodecode.recordings.sources import expand_source
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.fit import fit

STRENGTHS = (0.0, 0.8)
DRAWS = (2024, 2025, 2026)  # seeds of the cohort; of the network 2036, 2037, 2038
COHORT = ["stories=null", "subjects=3", "channels=24", "run_seconds=200", "snr=2", "linear=0.1"]
NETWORK = ["model.hidden=32", "model.depth=3", "features.bands=12", "training.epochs=8", "segments.split.test=0.4"]
SCORING = ["bootstrap=50", "permutations=1", "controls=[constant]"]


def main(folder: Path, draws: int = len(DRAWS)) -> None:
    print("| planted | draw | top-1 | features | R | unique | wrong pairings: mean, 95 % below | p |")
    print("|---|---|---|---|---|---|---|---|")
    for number, draw in enumerate(DRAWS[:draws]):
        for strength in STRENGTHS:
            run = folder / f"run-{strength:g}-{draw}"
            if not (run / "evaluation" / "test.json").exists():
                make(folder / f"cohort-{strength:g}-{draw}", run, strength, draw, 2036 + number)
            result = analyse(run, store=run.parent / f"store-{run.name}", shuffles=999)
            top1 = read_json(run / "evaluation" / "test.json")["metrics"]["top1"]["value"]
            for name, entry in result["sets"].items():
                unique = f"{entry['unique']:+.3f}" if "unique" in entry else ""
                control = f"{entry['control']['mean']:+.3f}, {entry['control']['high']:+.3f}"
                print(
                    f"| {strength:g} | {draw} | {top1:.3f} | {name} | {entry['r']:+.3f} | {unique} | {control} "
                    f"| {entry['p_value']:.3f} |",
                    flush=True,
                )
    print(f"\n{result['n_segments']} segments; success: {result['success']}; command: python {' '.join(sys.argv)}")


def make(cohort: Path, run: Path, strength: float, draw: int, seed: int) -> None:
    """One draw of the cohort, cleaned, learnt and scored; raw files are removed afterwards."""
    planted = [*COHORT, f"lexical={strength}", f"seed={draw}"]
    simulate(load_settings(SimulationSettings, "tiny", "configs/simulation", planted), cohort, overwrite=True)
    store = run.parent / f"store-{run.name}"
    preprocess(
        expand_source(cohort),
        store,
        load_settings(PreprocessingSettings, "demo", "configs/preprocessing"),
        progress=False,
    )
    shutil.rmtree(cohort)
    fit(
        load_settings(TrainSettings, "tiny", "configs/training", [*NETWORK, f"seed={seed}"]), store, run, progress=False
    )
    evaluate(run, load_settings(EvaluationSettings, None, "configs/evaluation", SCORING), progress=False)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(DRAWS))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
