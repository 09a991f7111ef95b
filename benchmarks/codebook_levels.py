"""Are heads below the word worth it where words share syllables? Word alone, word and levels, composed words; held-out words.

Simulated patients say 24 words of two syllables out of eight, so a word is a pair of values, and some pairs are never trained.
Cohort, network and training are those of codebook_evidence.py, channels of the planted regions, each patient alone; three runs
train, one chooses the epoch, two are tested; mean and range over seeds. Syllables of words alone are those of the word that was
answered: what knowing words by heart says of them. A finished run is not trained again, so seeds can be added later.

python benchmarks/codebook_levels.py FOLDER [SEEDS, for example 1,2]
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd
import torch
from codebook_evidence import COHORT, ENCODER, LABELS, SEEDS, cell, channels_of, lda

from neurodecode.config import (
    CodebookTrainSettings,
    PreprocessingSettings,
    SimulationSettings,
    load_settings,
    load_training,
)
from neurodecode.files import read_json
from neurodecode.recordings.sources import expand_source
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.codebook import fit_codebook

WORDS = [
    "words.count=24",
    "words.syllables=8",
    "words.length=2",
    "words.repetitions=5",
    "words.conversation_seconds=60",
]
HELD = 4  # words
KINDS = (("words alone", None), ("words and levels", "head"), ("composed", "compose"))
COLUMNS = ("value", "majority", "chance")
EPOCHS, RATE = 40, 2e-3


def prepare(folder: Path) -> dict[str, list[int]]:
    """Cohort, store at 100 Hz, table of syllables; the words and their syllables."""
    if not (folder / "cohort").exists():
        chosen = [*COHORT, *WORDS]
        simulate(load_settings(SimulationSettings, "seeg_words", "configs/simulation", chosen), folder / "cohort")
    clean = load_settings(PreprocessingSettings, "seeg", "configs/preprocessing", ["sfreq=100", "low_pass=30"])
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    vocabulary = read_json(folder / "cohort" / "simulation.json")["vocabulary"]
    rows = [f"{word}\ts{first}\ts{second}\n" for word, (first, second) in vocabulary.items()]
    (folder / "table.tsv").write_text("word\tsyllable 1\tsyllable 2\n" + "".join(rows), encoding="utf-8")
    return vocabulary


def held_out(vocabulary: dict[str, list[int]]) -> list[str]:
    """The first words, by name, whose syllables each begin or end two trained words at least."""
    held: list[str] = []
    for word in sorted(vocabulary):
        left = [syllables for name, syllables in vocabulary.items() if name not in (*held, word)]
        counts = [Counter(syllables[place] for syllables in left) for place in (0, 1)]
        if len(held) < HELD and all(counts[place][vocabulary[word][place]] >= 2 for place in (0, 1)):
            held.append(word)
    return held


def train(
    folder: Path, name: str, seed: int, choice: dict[str, list[str]], levels: str | None, held: list[str]
) -> Path:
    """Folder of one classifier from scratch; `levels` is head, compose, or None for words alone."""
    changes = {
        "model.encoder": ENCODER,
        "labels": LABELS | {"split": LABELS["split"] | {"held_out": held}},
        "channels": {"names": choice},
        "subjects": list(choice),
        "levels": None if levels is None else {"table": str(folder / "table.tsv"), "word": levels},
        "training.epochs": EPOCHS,
        "training.patience": EPOCHS,
        "training.warmup": EPOCHS // 10,
        "training.learning_rate": RATE,
        "training.final_rate": RATE / 50,
        "training.batch_size": 32,
        "seed": seed,
    }
    settings = load_training("duin_tiny_classify", [f"{key}={json.dumps(value)}" for key, value in changes.items()])
    assert isinstance(settings, CodebookTrainSettings)
    return fit_codebook(settings, folder / "store", folder / "runs" / f"{name}-{seed}", progress=False)


def words_of(run: Path, held: list[str]) -> list[float | None]:
    """Accuracy of words, majority and chance: of all windows, of held-out words, and of these among themselves."""
    result = read_json(run / "evaluation" / "test.json")
    below = result.get("levels", {}).get("held_out")
    if not held:
        return [result["metrics"]["accuracy"][c] for c in COLUMNS]
    if below is None:  # words alone: the answers say it, and a held-out word is never one
        answers = pd.read_csv(run / "evaluation" / "test_answers.csv.gz", keep_default_na=False)
        trained = answers[~answers["label"].isin(held)]
        return [float(trained["right"].mean()), *[None] * 8]
    found = [below["trained"]["metrics"], below["held_out"]["metrics"], below["among"]]
    return [None if entry is None else entry["accuracy"][c] for entry in found for c in COLUMNS]


def syllables_of(run: Path, vocabulary: dict[str, list[int]], only: list[str]) -> list[float | None]:
    """Accuracy of syllables, majority and chance, mean of both places; of the windows of some words (none: of all)."""
    path = run / "evaluation" / "test_levels.csv.gz"
    if not path.is_file():
        answers = pd.read_csv(run / "evaluation" / "test_answers.csv.gz", keep_default_na=False)
        answers = answers[answers["label"].isin(only)] if only else answers
        pairs = [(vocabulary[label], vocabulary[answer]) for label, answer in zip(answers["label"], answers["answer"])]
        return [sum((a[0] == b[0]) + (a[1] == b[1]) for a, b in pairs) / (2 * len(pairs)), None, None]
    levels = read_json(run / "evaluation" / "test.json")["levels"]
    each = [entry["metrics"] for entry in levels["levels"].values()]
    each = list(levels["held_out"]["held_out"]["levels"].values()) if only else each
    return [sum(entry["accuracy"][c] for entry in each) / len(each) for c in COLUMNS]


def spread(rows: list[list[float | None]], place: int) -> str:
    """Mean and range over seeds of one figure; `rows` has one a seed."""
    known = [row[place] for row in rows if row[place] is not None]
    return cell(known) if known else "never"


def averaged(rows: list[list[float | None]]) -> list[float | None]:
    """Means over patients, None where one has none."""
    return [None if None in column else sum(column) / len(column) for column in zip(*rows)]


def table_of_words(
    folder: Path, planted: dict[str, list[str]], vocabulary: dict[str, list[int]], seeds: tuple[int, ...]
) -> None:
    print("\nall words trained: accuracy of words of each patient; mean over patients of words and of syllables\n")
    heads = ["classifier", *planted, "mean", "syllables"]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for name, levels in KINDS:
        found = {
            subject: [
                train(folder, f"{name.replace(' ', '-')}-{subject}", s, {subject: names}, levels, []) for s in seeds
            ]
            for subject, names in planted.items()
        }
        own = {subject: [words_of(run, []) for run in runs] for subject, runs in found.items()}
        words = [averaged([own[subject][k] for subject in planted]) for k in range(len(seeds))]
        below = [averaged([syllables_of(found[s][k], vocabulary, []) for s in planted]) for k in range(len(seeds))]
        cells = [*(spread(own[subject], 0) for subject in planted), spread(words, 0), spread(below, 0)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    linear = [lda(folder, subject, names, False) for subject, names in planted.items()]
    print(f"| LDA, waveform | {' | '.join(f'{v:.3f}' for v in [*linear, sum(linear) / len(linear)])} | - |")
    for place in (1, 2):
        cells = [f"{rows[0][place]:.3f}" for rows in [*own.values(), words, below]]
        print(f"| {COLUMNS[place]} | {' | '.join(cells)} |", flush=True)


def table_of_held_out(
    folder: Path,
    planted: dict[str, list[str]],
    vocabulary: dict[str, list[int]],
    held: list[str],
    seeds: tuple[int, ...],
) -> None:
    print(f"\n{len(held)} words held out ({', '.join(held)}): accuracy, mean over patients, range over seeds\n")
    heads = ["classifier", "trained words", "held-out words", "among themselves", "syllables of held-out words"]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for name, levels in KINDS:
        rows, below = [], []
        for seed in seeds:
            runs = [train(folder, f"held-{levels}-{s}", seed, {s: names}, levels, held) for s, names in planted.items()]
            rows.append(averaged([words_of(run, held) for run in runs]))
            below.append(averaged([syllables_of(run, vocabulary, held) for run in runs]))
        cells = [*(spread(rows, place) for place in (0, 3, 6)), spread(below, 0)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for place in (1, 2):  # of composed words, the last
        cells = [f"{row[k]:.3f}" for row, k in ((rows[0], place), (rows[0], 3 + place), (rows[0], 6 + place))]
        print(f"| {COLUMNS[place]} (of composed) | {' | '.join(cells)} | {below[0][place]:.3f} |", flush=True)


def main(folder: Path, seeds: tuple[int, ...]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = prepare(folder)
    planted, _ = channels_of(folder)
    begin = time.process_time()
    table_of_words(folder, planted, vocabulary, seeds)
    table_of_held_out(folder, planted, vocabulary, held_out(vocabulary), seeds)
    print(f"\n({time.process_time() - begin:.0f} s of processor time)")
    changed = dict(setting.split("=", 1) for setting in [*COHORT, *WORDS])  # the last of a name holds
    print(
        f"cohort: seeg_words with {' '.join(f'{k}={v}' for k, v in changed.items())}\ncommand: python {' '.join(sys.argv)}"
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), tuple(map(int, sys.argv[2].split(","))) if sys.argv[2:] else SEEDS)
