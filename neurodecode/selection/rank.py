"""`neurodecode channels STORE --config METHOD --out FOLDER`: rank the channels of each subject, for each fold.

    rank_channels(load_settings(SelectionSettings, "decodability", "configs/selection"), Path("store"), Path("ranking"))

In: a store and settings. Out: FOLDER/selection.json and channels.tsv (`channels.selection` says what is in them). For each
seed, the training windows of a fold are cut into inner folds; a ranking on all but one of them is judged on that one. The last
order is that of the mean ranks over all those rankings, so it has seen every training window and no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neurodecode.channels.selection import write_selection
from neurodecode.config.selection import OnsetSettings, SelectionSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.segments.labels import LabelIndex, build_labels
from neurodecode.selection import stability
from neurodecode.selection.features import features_of
from neurodecode.selection.rankers import Decodability, Groups, Ranked, Ranker, Weights, products
from neurodecode.selection.windows import TrainingSide, before_onset, training_side
from neurodecode.store.store import Store, StoredRecording
from neurodecode.training.chosen import in_regions
from neurodecode.training.data import seed_of
from neurodecode.training.run_folder import versions

PLACES = ("shaft", "region", "x", "y", "z", "x2d", "y2d")  # of the channel table, for tables and maps
LEVEL = 0.05  # of the bound that chance exceeds in one of all channels


def rank_channels(
    settings: SelectionSettings, store: Path, out: Path, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Rank the channels of a cohort and write the selection.

    Parameters
    ----------
    settings
        How.
    store
        Folder that `preprocess` wrote.
    out
        Folder of the selection.
    say
        Told about every subject that is done.

    Returns
    -------
    dict
        The selection.

    Raises
    ------
    NeurodecodeError
        If there is nothing to rank by these settings.
    """
    opened = Store(store)
    recordings = [r for r in opened.recordings if not settings.subjects or r.subject in settings.subjects]
    inside = in_regions(recordings, settings.regions) if settings.regions else None
    folds: dict[str, Any] = {}
    if settings.method == "region":
        assert inside is not None
        chosen = {subject: _by_region(recordings, subject, names) for subject, names in inside.items()}
        folds["fold-0"] = {"rule": None, "seed": None, "subjects": chosen}  # serves any fold: it was fitted on none
    else:
        index = _index(settings, opened)
        split = settings.labels.split
        folds = {name: {"rule": split.rule, "seed": split.seed, "subjects": {}} for name in index.folds}
        for name, subject in product(index.folds, index.subjects):
            candidates = None if inside is None else inside[subject]
            entry = _rank_subject(settings, index.fold(name), subject, candidates)
            folds[name]["subjects"][subject] = entry
            if say is not None:
                say(f"{name}, subject {subject}: {', '.join(entry['chosen'][:6])} ...")
    selection = {
        "method": settings.method,
        "name": settings.name,
        "settings": settings.model_dump(mode="json"),
        "store": opened.path.resolve().as_posix(),
        "simulated": any(r.simulated for r in recordings),
        "versions": versions(),
        "command": " ".join(["neurodecode", *sys.argv[1:]]),
        "folds": folds,
    }
    write_selection(out, selection)
    return selection


def _index(settings: SelectionSettings, store: Store) -> LabelIndex:
    """All windows; labels that only validation or test windows have do not matter here."""
    labels = settings.labels.model_copy(update={"unknown": "wrong", "vocabulary": ()})
    return build_labels(store, labels, settings.subjects)


def _rank_subject(
    settings: SelectionSettings, fold: LabelIndex, subject: str, candidates: list[str] | None
) -> dict[str, Any]:
    """The entry of one subject in one fold."""
    whole = training_side(fold, subject, settings)
    sides = [whole]
    control = None
    if settings.onset is not None:
        control = before_onset(fold, subject, settings, settings.onset)
        sides.append(control)
    instead = control is not None and settings.onset is not None and settings.onset.use == "instead"
    side = control if control is not None and instead else whole
    names = side.source().channels[0]
    kept = np.array([candidates is None or name in candidates for name in names])
    names = [name for name, keep in zip(names, kept) if keep]
    if len(names) < 2:
        raise SettingsError(f"regions: subject {subject} has {len(names)} channel(s) left; a ranking needs two or more")
    side.chosen = None if candidates is None else names
    features = features_of(side, settings.features)
    ranker = _ranker(settings, side, features)
    rankings, ks, points = _repeat(settings, side, features, ranker, len(names))
    ranks = np.array([ranked.ranks() for ranked in rankings])
    curve = [
        {"k": k, "accuracy": float(np.mean(values)), "sd": float(np.std(values))} for k, values in zip(ks, points.T)
    ]
    wanted = stability.best_size(curve) if settings.top == "best" else min(int(settings.top), len(names))
    figures = stability.per_channel(ranks, wanted)
    scores = np.mean([ranked.scores for ranked in rankings], axis=0)
    order = np.lexsort((-scores, figures["mean_rank"]))
    n_labels = len(np.unique(side.labels))
    entry: dict[str, Any] = {
        "n_windows": len(side.rows),
        "n_labels": n_labels,
        "chance": 1 / n_labels,
        "counts": side.counts,
        "digest": side.digest(),
        "seen": [span for part in sides for span in part.seen()],
        "stability": stability.agreement(np.array([r.order() for r in rankings]), ranks, wanted),
        "curve": curve,
        "control": None,
    }
    columns: dict[str, np.ndarray] = {"score": scores, **figures}
    chosen = order[:wanted]
    if settings.method == "groups":
        groups, entry["stability"]["same_groups"] = _final_groups(settings, side, ranker, rankings)
        order, chosen = _whole_groups(groups, figures["mean_rank"], wanted)
        columns["group"] = groups
    if control is not None and not instead:
        control.chosen = side.chosen
        before, entry["control"] = _control(settings, control, chosen, ranks.mean(0))
        columns |= before
    entry["channels"] = _rows(
        fold.recordings, subject, [names[c] for c in order], {k: v[order] for k, v in columns.items()}
    )
    entry["chosen"] = [names[c] for c in chosen]
    return entry


def _ranker(settings: SelectionSettings, side: TrainingSide, features: np.ndarray) -> Ranker:
    """The method, bound to what it may read."""
    if settings.method == "weights":
        return Weights(side, settings)
    if settings.method == "groups":
        n_channels = features.shape[1]
        wanted = settings.n_groups or max(2, round(n_channels / 10))
        if wanted >= n_channels:
            raise SettingsError(f"n_groups: {wanted}, but there are {n_channels} channels; lower it")
        likeness = products(side) if settings.likeness == "signal" else None
        return Groups(side, features, settings.folds, likeness, wanted)
    return Decodability(side, features, settings.folds)


def _repeat(
    settings: SelectionSettings, side: TrainingSide, features: np.ndarray, ranker: Ranker, n_channels: int
) -> tuple[list[Ranked], list[int], np.ndarray]:
    """Rankings of every seed and inner fold, and what their best channels decode of the fold that they did not see."""
    ks = [k for k in sorted(set(settings.curve)) if k < n_channels] + [n_channels]
    rankings, points = [], []
    for repeat in range(settings.seeds):
        rng = np.random.default_rng([settings.seed, repeat])
        for number, (train, held) in enumerate(side.folds(side.rows, settings.folds, rng)):
            seen = np.sort(rng.permutation(train)[: max(2, round(settings.share * len(train)))])
            if len(np.unique(side.labels[seen])) < 2:
                continue
            ranked = ranker(seen, seed_of(settings.seed, repeat, number) % 2**31)
            rankings.append(ranked)
            points.append(stability.curve_point(features, side.labels, train, held, ranked.order(), ks))
    if not rankings:
        raise NeurodecodeError(
            f"{side.index.fold_name}, subject {side.index.subjects[0]}: {len(side.rows)} training windows give no inner fold "
            "with two labels; lower folds, or record more"
        )
    return rankings, ks, np.array(points)


def _final_groups(
    settings: SelectionSettings, side: TrainingSide, ranker: Ranker, rankings: list[Ranked]
) -> tuple[np.ndarray, float]:
    """Groups on all training windows, numbered from 1 in the order of their score, and how alike they come out again."""
    from sklearn.metrics import adjusted_rand_score

    last = ranker(side.rows, seed_of(settings.seed) % 2**31)
    assert last.groups is not None
    numbers = {int(group): place + 1 for place, group in enumerate(dict.fromkeys(last.groups[last.order()].tolist()))}
    groups = np.array([numbers[int(group)] for group in last.groups])
    return groups, float(np.mean([adjusted_rand_score(groups, ranked.groups) for ranked in rankings]))


def _whole_groups(groups: np.ndarray, mean_rank: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """All channels group by group, best first; and those of the first groups that hold `wanted` together."""
    order = np.lexsort((mean_rank, groups))
    last = groups[order[wanted - 1]]
    return order, order[groups[order] <= last]


def _control(
    settings: SelectionSettings, control: TrainingSide, chosen: np.ndarray, mean_rank: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Single-channel decodability before the voice: score and rank of each channel, and what it says of the chosen ones."""
    from scipy.stats import binom

    assert isinstance(settings.onset, OnsetSettings)
    step = settings.features
    shorter = {"step": min(step.step, settings.onset.seconds)}
    if step.waveform is not None:
        shorter["waveform"] = min(step.waveform, settings.onset.seconds)
    features = features_of(control, step.model_copy(update=shorter))
    found = [
        Decodability(control, features, settings.folds)(control.rows, seed_of(settings.seed, 7, s) % 2**31)
        for s in range(settings.seeds)
    ]
    scores = np.mean([ranked.scores for ranked in found], axis=0)
    n_labels = len(np.unique(control.labels))
    ranks = Ranked(scores, np.zeros(len(scores))).ranks()
    n = len(control.rows)
    bound = float(binom.ppf(1 - LEVEL / len(scores), n, 1 / n_labels) / n)
    return {"before": scores, "before_rank": ranks}, {
        "n_windows": n,
        "chance": 1 / n_labels,
        "bound": bound,
        "chosen_above": int((scores[chosen] > bound).sum()),
        "n_chosen": len(chosen),
        "spearman": stability.correlation(mean_rank, ranks),
        "counts": control.counts,
        "gap": settings.onset.gap,
        "seconds": settings.onset.seconds,
    }


def _by_region(recordings: Sequence[StoredRecording], subject: str, names: list[str]) -> dict[str, Any]:
    """The entry of a subject whose channels are chosen by name of region: nothing was read, so nothing was seen."""
    rows = _rows(recordings, subject, names, {})
    return {
        "channels": rows,
        "chosen": list(names),
        "n_windows": 0,
        "n_labels": 0,
        "chance": None,
        "counts": {},
        "digest": None,
        "seen": [],
        "stability": None,
        "curve": None,
        "control": None,
    }


def _rows(
    recordings: Sequence[StoredRecording], subject: str, names: list[str], columns: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One mapping a channel, best first: its figures and its place."""
    places: dict[str, dict[str, Any]] = {}
    for recording in recordings:
        if recording.subject == subject:
            table = recording.channels
            for row in table.to_dict("records"):
                places.setdefault(str(row["name"]), {key: row.get(key) for key in PLACES if key in row})
    return [
        {"name": name, "rank": place + 1}
        | {key: values[place].item() for key, values in columns.items()}
        | places.get(name, {})
        for place, name in enumerate(names)
    ]
