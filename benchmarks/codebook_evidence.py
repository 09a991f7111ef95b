"""What each part of the codebook system is worth where the truth is known: patients who speak, planted in two regions.

Prints tables a to d of docs/codebook_evidence.md: channels; few labels; a collapsed table of codes; several patients. Every
network reads 0.5 to 30 Hz at 100 Hz, trains on three runs, chooses its epoch on the fourth and is tested on two more; mean and
range over seeds. Beside them: chance, the ideal observer, and LDA. In a and d waves are half as large as the background, in b
and c half as large again as it (`CLEAR`), so that neighbours say something of a code. Pretraining is done once, with the first
seed; seeds are the classifier's. A finished network is not trained again.

python benchmarks/codebook_evidence.py FOLDER [a b c d]
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import butter, sosfiltfilt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

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
from neurodecode.store.store import Store
from neurodecode.training.codebook import fit_codebook

COHORT = ["sfreq=250", "snr=0.5", "words.band=[60, 110]", "words.high_gamma=0.7", "words.repetitions=10"]
COHORT += ["words.conversation_seconds=900"]
CLEAR = ["snr=1.5"]  # of tables b to d
REGIONS = ("vSMC", "STG")
SEEDS = (1, 2, 3)
TRAIN, TEST = ("01", "02", "03"), ("05", "06")  # runs; 04 validates
WINDOW = (-0.3, 0.9)  # s from the onset of the word
ENCODER = {
    "mixed_channels": 16, "patch": 10, "filters": [24, 24, 8], "kernels": [5, 3, 3], "strides": [2, 1, 1], "depth": 2,
    "heads": 4, "head_width": 12, "feed_forward": 80, "dropout": 0.1, "attention_dropout": 0.1,
}  # fmt: skip
LABELS = {
    "window": {"tmin": WINDOW[0], "tmax": WINDOW[1], "closed": False, "baseline": None, "shift": 0.0},
    "split": {"rule": "run", "test_runs": TEST, "valid_runs": ("04",)},
}
HEALTHY = {"codes": 64, "dimension": 16, "decay": 0.99, "commitment": 0.25, "start_tokens": 1920}
SHORT, LONG = (10, 20), (40, 50)  # epochs of 40 steps, of the tokenizer and of the masked encoder
FEW = {
    4: {"batch": 8, "epochs": 72},
    10: {"batch": 16, "epochs": 60},
    30: {"batch": 32, "epochs": 40},
}  # 360 steps each
Choice = dict[str, list[str]]


def prepare(folder: Path, changes: list[str]) -> None:
    """Cohort, store at 100 Hz for networks, store at 250 Hz for high-gamma power."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cohort").exists():
        cohort = load_settings(SimulationSettings, "seeg_words", "configs/simulation", [*COHORT, *changes])
        simulate(cohort, folder / "cohort")
    for name, rates in (("store", ["sfreq=100", "low_pass=30"]), ("fast", ["sfreq=250", "low_pass=115"])):
        clean = load_settings(PreprocessingSettings, "seeg", "configs/preprocessing", rates)
        preprocess(expand_source(folder / "cohort"), folder / name, clean, progress=False)


def few(folder: Path, subject: str, per_word: int) -> Path:
    """The store of one patient in which so many trials of each word in the training runs keep their event."""
    tree, store = folder / f"tree-{subject}-{per_word}", folder / f"store-{subject}-{per_word}"
    source = folder / "cohort"
    (tree / f"sub-{subject}" / "ieeg").mkdir(parents=True, exist_ok=True)
    for path in [*source.glob("*.json"), *source.glob("*.tsv"), *(source / f"sub-{subject}" / "ieeg").iterdir()]:
        target = tree / path.relative_to(source)
        if target.exists():
            continue
        if path.name.endswith("_events.tsv") and any(f"run-{run}" in path.name for run in TRAIN):
            continue
        target.hardlink_to(path)
    left: dict[str, int] = {}
    for run in TRAIN:
        name = f"sub-{subject}/ieeg/sub-{subject}_task-words_run-{run}_events.tsv"
        table = pd.read_csv(source / name, sep="\t")
        keep = []
        for row in table.itertuples():
            left[row.label] = left.get(row.label, 0) + (row.kind == "word")
            keep.append(left[row.label] <= per_word)
        table[keep].to_csv(tree / name, sep="\t", index=False)
    clean = load_settings(PreprocessingSettings, "seeg", "configs/preprocessing", ["sfreq=100", "low_pass=30"])
    preprocess(expand_source(tree), store, clean, progress=False)
    return store


def train(
    folder: Path, name: str, task: str, seed: int, choice: Choice, *, start: Path | None = None, store: Path | None = None,
    subjects: tuple[str, ...] = (), epochs: int = 40, rate: float = 2e-3, quantizer: dict | None = None,
    batch: int | None = None,
) -> Path:  # fmt: skip
    """One run of one stage."""
    short = {"tokenizer": "tokenizer", "masked": "masked", "classify": "classify"}[task]
    changes = {
        "model.encoder": ENCODER,
        "labels": LABELS,
        "channels": {"names": choice},
        "subjects": list(subjects or choice),
        "training.epochs": epochs,
        "training.patience": epochs,
        "training.warmup": max(1, epochs // 10),
        "training.learning_rate": rate,
        "training.final_rate": rate / 50,
        "training.batch_size": batch or (32 if task == "classify" else 64),
        "seed": seed,
        "start_from": str(start) if start else None,
    }
    if task != "classify":
        changes |= {"stride": 0.6, "training.steps_per_epoch": 40}
    if task == "tokenizer":
        changes["model.quantizer"] = HEALTHY | (quantizer or {})
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    settings = load_training(f"duin_tiny_{short}", overrides)
    assert isinstance(settings, CodebookTrainSettings)
    run = folder / "runs" / f"{name}-{seed}"
    return fit_codebook(settings, store or folder / "store", run, progress=False)


def pretrain(
    folder: Path, name: str, choice: Choice, epochs: tuple[int, int] = LONG, quantizer: dict | None = None
) -> tuple[Path, Path]:
    """Tokenizer and masked encoder; the table starts after 4 or 10 epochs."""
    late = {"start_after": 400 if epochs == LONG else 160}
    tokenizer = train(
        folder, f"tokenizer-{name}", "tokenizer", SEEDS[0], choice, epochs=epochs[0], rate=4e-3,
        quantizer=late | (quantizer or {}),
    )  # fmt: skip
    masked = train(folder, f"masked-{name}", "masked", SEEDS[0], choice, start=tokenizer, epochs=epochs[1], rate=4e-3)
    return tokenizer, masked


def score(run: Path, subject: str | None = None) -> float:
    """Accuracy on the test runs, of all windows or of one patient's."""
    result = read_json(run / "evaluation" / "test.json")
    if subject is None:
        return float(result["metrics"]["accuracy"]["value"])
    return float(next(s for s in result["subjects"] if s["subject"] == subject)["metrics"]["accuracy"]["value"])


def last(run: Path, *columns: str) -> list[float]:
    """Values of the epoch that was kept."""
    table = pd.read_csv(run / "fold-0" / "metrics.csv")
    row = table.loc[table["valid_loss"].idxmin()]
    return [float(row[column]) for column in columns]


def cell(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def lda(folder: Path, subject: str, names: list[str], power: bool, per_word: int | None = None) -> float:
    """Accuracy of LDA (Ledoit-Wolf) of the waveform in steps of 0.1 s below 15 Hz, or of log power of 60-110 Hz in 0.1 s."""
    rows, labels, runs = [], [], []
    for recording in Store(folder / ("fast" if power else "store")).recordings:
        if recording.subject != subject or not len(recording.events):
            continue
        signal = np.array(recording.signal)[recording.channels["name"].isin(names).to_numpy()]
        band = butter(3, [60, 110], "band", fs=250, output="sos") if power else butter(3, 15, fs=100, output="sos")
        filtered = sosfiltfilt(band, signal)
        step = round(0.1 * recording.sfreq)
        words = recording.events[recording.events["kind"] == "word"]
        for onset, label in zip(words["onset"], words["label"]):
            first = round((onset + WINDOW[0]) * recording.sfreq)
            cut = filtered[:, first : first + 12 * step].reshape(len(signal), 12, step)
            rows.append((np.log((cut**2).mean(2)) if power else cut.mean(2)).ravel())
            labels.append(label)
            runs.append(recording.run)
    x, y, run = np.array(rows), np.array(labels), np.array(runs)
    chosen = np.flatnonzero(np.isin(run, TRAIN))
    if per_word is not None:
        chosen = np.concatenate([chosen[y[chosen] == label][:per_word] for label in np.unique(y)])
    scaler = StandardScaler().fit(x[chosen])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scaler.transform(x[chosen]), y[chosen])
    test = np.isin(run, TEST)
    return float((model.predict(scaler.transform(x[test])) == y[test]).mean())


def channels_of(folder: Path) -> tuple[Choice, Choice]:
    """Good pairs of contacts of each patient: those of the planted regions, and all."""
    planted, every = {}, {}
    for recording in Store(folder / "store").recordings:
        good = recording.channels[~recording.channels["bad"].astype(bool)]
        every[recording.subject] = good["name"].tolist()
        planted[recording.subject] = good["name"][good["region"].isin(REGIONS)].tolist()
    return planted, every


def table_a(folder: Path, planted: Choice, every: Choice) -> None:
    print("\n(a) channels, from scratch, each patient alone\n\n| channels | " + " | ".join(every) + " | mean |")
    print("|---" * (len(every) + 2) + "|")
    sets = {"planted regions": planted, "all": every, "random, as many": None}
    for name, choice in sets.items():
        found: list[list[float]] = []
        for subject in every:
            found.append([])
            for seed in SEEDS:
                drawn = np.random.default_rng(seed).permutation(every[subject])[: len(planted[subject])]
                names = drawn.tolist() if choice is None else choice[subject]
                run = train(folder, f"a-{name.split()[0].strip(',')}-{subject}", "classify", seed, {subject: names})
                found[-1].append(score(run))
        print(f"| {name} | " + " | ".join(map(cell, found)) + f" | {np.mean(found):.3f} |", flush=True)
    for what, power in (("waveform below 15 Hz", False), ("power of 60-110 Hz", True)):
        for name, choice in (("planted regions", planted), ("all", every)):
            values = [lda(folder, subject, choice[subject], power) for subject in every]
            print(f"| LDA, {what}, {name} | " + " | ".join(f"{v:.3f}" for v in values) + f" | {np.mean(values):.3f} |")
    ceiling = read_json(folder / "cohort" / "simulation.json")["ceiling"]
    each = ceiling["ideal"]["accuracy_per_subject"]
    print("| ideal observer | " + " | ".join(f"{v:.3f}" for v in each) + f" | {np.mean(each):.3f} |")
    print(f"| chance | {' | '.join(['0.100'] * len(every))} | 0.100 |")
    print("channels: " + ", ".join(f"{s}: {len(planted[s])} of {len(every[s])}" for s in every), flush=True)


def table_b(folder: Path, planted: Choice, subject: str = "01") -> None:
    print(f"\n(b) few labels, planted regions of patient {subject}\n")
    print("| start | " + " | ".join(f"{n} a word" for n in FEW) + " |\n" + "|---" * (len(FEW) + 1) + "|")
    choice = {subject: planted[subject]}
    tokenizer, masked = pretrain(folder, f"long-{subject}", choice)
    for name, start in (("from scratch", None), ("tokenizer", tokenizer), ("masked encoder", masked)):
        cells = []
        for n, length in FEW.items():
            store = folder / "store" if n == 30 else few(folder, subject, n)
            run = f"b-{name.split()[0]}-{'long-' if start else ''}{subject}-{n}"
            cells.append([
                score(train(folder, run, "classify", seed, choice, store=store, start=start, **length)) for seed in SEEDS
            ])  # fmt: skip
        print(f"| {name} | " + " | ".join(map(cell, cells)) + " |", flush=True)
    for what, power in (("waveform", False), ("power of 60-110 Hz", True)):
        values = [lda(folder, subject, planted[subject], power, n) for n in FEW]
        print(f"| LDA, {what} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    print("| chance | " + " | ".join(["0.100"] * len(FEW)) + " |", flush=True)


TABLES: dict[str, tuple[str, tuple[int, int], dict]] = {
    "late start, 1600 + 2000 steps": ("long-01", LONG, {}),
    "late start, 400 + 800 steps": ("01", SHORT, {}),
    "published (commitment 1, decay 0.99), 400 + 800 steps": ("c1", SHORT, {"commitment": 1.0, "start_after": 0}),
    "grid of 4 x 4 x 4, 400 + 800 steps": ("c2", SHORT, {"kind": "finite-scalar", "levels": [4, 4, 4]}),
}


def table_c(folder: Path, planted: Choice, subject: str = "01", n: int = 10) -> None:
    print(f"\n(c) tables of 64 codes, patient {subject}, {n} labels a word\n")
    print("| table | error | silent | perplexity | masked accuracy | majority | from tokenizer | from masked |")
    print("|---" * 8 + "|")
    choice, store = {subject: planted[subject]}, few(folder, subject, n)
    for name, (run, epochs, changes) in TABLES.items():
        tokenizer, masked = pretrain(folder, run, choice, epochs, changes)
        numbers = last(tokenizer, "valid_reconstruction", "valid_zero", "perplexity")
        numbers += last(masked, "valid_accuracy", "valid_majority")
        cells = []
        for stage, start in (("tokenizer", tokenizer), ("masked", masked)):
            place = {"store": store, "start": start} | FEW[n]
            runs = [train(folder, f"b-{stage}-{run}-{n}", "classify", seed, choice, **place) for seed in SEEDS]
            cells.append(cell([score(run) for run in runs]))
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in numbers) + f" | {' | '.join(cells)} |", flush=True)


def table_d(folder: Path, planted: Choice, new: str = "03") -> None:
    print("\n(d) several patients, planted regions, 30 labels a word\n\n| network | " + " | ".join(planted) + " |")
    print("|---" * (len(planted) + 1) + "|")

    def alone(subject: str, name: str, start: Path | None = None) -> str:
        mine = {subject: planted[subject]}
        return cell([score(train(folder, name, "classify", seed, mine, start=start)) for seed in SEEDS])

    def together(name: str, start: Path | None = None) -> str:
        runs = [train(folder, name, "classify", seed, planted, start=start, epochs=25) for seed in SEEDS]
        return " | ".join(cell([score(run, subject) for run in runs]) for subject in planted)

    print("| each alone, from scratch | " + " | ".join(alone(s, f"a-planted-{s}") for s in planted) + " |", flush=True)
    print(f"| one for all, from scratch | {together('d-shared')} |", flush=True)
    masked = pretrain(folder, "all", planted)[1]
    print(f"| one for all, masked encoder of all | {together('d-shared-masked', masked)} |", flush=True)
    blank = " | - " * (len(planted) - 1)
    others = {s: names for s, names in planted.items() if s != new}
    for name, source in (("the others", others), (new, {new: planted[new]})):
        masked = pretrain(folder, "others" if source is others else new, source)[1]
        found = alone(new, f"d-new-{'others' if source is others else new}", masked)
        print(f"| {new} alone, masked encoder of {name}{blank} | {found} |", flush=True)


def main(folder: Path, tables: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for table in tables:
        place, changes = (folder / "clear", CLEAR) if table in "bcd" else (folder, [])
        prepare(place, changes)
        planted, every = channels_of(place)
        begin = time.process_time()
        if table == "a":
            table_a(place, planted, every)
        else:
            {"b": table_b, "c": table_c, "d": table_d}[table](place, planted)
        print(f"({time.process_time() - begin:.0f} s of processor time)", flush=True)
    print(
        f"\ncohort: seeg_words with {' '.join(COHORT)}, b to d {' '.join(CLEAR)}\ncommand: python {' '.join(sys.argv)}"
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), sys.argv[2:] or list("abcd"))
