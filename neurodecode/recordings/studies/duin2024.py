"""Adapter of datasets/duin2024.yaml (Du-IN): 12 patients read 61 words aloud, bipolar sEEG at 1000 Hz, released as trials.

In: `data/seeg.he2023xuanwu/<SSS>/word-recitation/run<R>/dataset.bipolar.default.unaligned/{data,info}`, two pickles (a list
of mappings `name`, `data_s` [channels, 3000]; a mapping `ch_names`), and `<SSS>/pretrain/dataset.default.1000hz/{info,**.npy}`
([2, channels, samples]: pair differences and pair sums). Out: one Recording a run, its trials one after the other with 0.1 s
marked bad between them, so that neither a window nor a filter reaches from one into the next. A trial is an event of kind
`word` at the zero of the trial; `trial_onset` (s), `trial` (from 0) and `label_index` (place in LABELS) go with it.

Published pieces of the pretraining layout overlap by half: what repeats the end of the file before it is left out, and the two
are joined. Pieces are scaled and trials are not: with `part: both` each channel of the pieces is brought to its spread in the
trials, and pieces made of the trials are left out.

The trials come preprocessed: store them with configs/preprocessing/duin_released.yaml, which filters nothing. A run is one
pickle, so it is in memory as a whole: 8 bytes a value, 1.5 GB at 104 channels. Pickles are read by recordings/safe_pickle.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config import CohortCard
from neurodecode.errors import RecordingError
from neurodecode.recordings.formats import refuse_pointer
from neurodecode.recordings.recording import Note, Recording, RecordingSource, events_table
from neurodecode.recordings.repeats import fingerprints, holder, overlap
from neurodecode.recordings.revision import revision_of
from neurodecode.recordings.safe_pickle import read_pickle
from neurodecode.recordings.sources import natural
from neurodecode.recordings.speech import cohort_notes, listed, option, positive, refuse_unknown_options, study_folder
from neurodecode.recordings.units import plausibility

if TYPE_CHECKING:
    from mne.io import BaseRaw

FOLDER = "seeg.he2023xuanwu"
RUN = re.compile(r"^run(\d+)$")
WORDS = "dataset.bipolar.default.unaligned"
PRETRAIN = "dataset.default.1000hz"
MAPPINGS = ("utils.DotDict", "utils.DotDict.DotDict")  # the class of the mappings, by its package or its module
RATE = 1000.0  # Hz
TRIAL = 3000  # samples
GAP = 100  # samples marked bad between trials: 0.1 s, whole samples at every rate that is a multiple of 10 Hz
ZERO = 0.5  # s into a trial; the released loader's comments call it zero; the cue to speak is likely but not stated
PIECES = 225  # files of the pretraining layout that make a recording: 30 minutes of 8 s
SMOOTH = 1e-4  # power a hertz in 30-100 Hz over that in 2-8 Hz; less is no broadband sEEG
LOOKED_AT = 20  # trials whose spectrum, and pieces whose spread, is looked at
ALIKE = 3.0  # pieces whose spread is that of the trials up to this factor are in V as they are

# the 61 words (Du-IN, appendix), sorted by code point as the released loader sorts them; it sorts those that it finds, so
# that an absent word moves its indices, here the list is fixed
WORD_LIST = """
丝瓜 你 关门 凳子 厕所 口渴 吃 喝 嘴巴 外卖 头疼 家人 小刀 帮助 平静 心情 怎样 感觉 愿意 我
手机 找 把 护士 拿 换药 放在 是 有 朋友 橙汁 毛巾 汤圆 漂亮 热水 猪肉 玩 电脑 看 碗
穿 篮球 米饭 给 脸盆 菠萝 葱花 蒜泥 衣服 豆腐 软糖 醋 钢琴 问题 需要 青菜 面条 音乐 预约 香肠 鱼块
"""
LABELS = tuple(WORD_LIST.split())
# the ten channels a patient that the released scripts name; ranked by a network trained on the labelled task
CHOSEN = {
    "001": "SM8 SM9 SM7 SM11 P4 SM10 SM6 P3 SM5 CI9",
    "002": "TI'2 TI'3 TI'1 TI'6 TI'4 TI'7 ST'3 ST'2 ST'4 FP'4",
    "003": "ST3 ST1 ST2 ST9 TI'4 TI'3 ST4 TI'2 ST7 TI'8",
    "004": "D12 D13 C4 C3 D11 D14 D10 D9 D5 C15",
    "005": "E8 E9 E6 E7 E11 E12 E5 E10 C10 E4",
    "006": "D3 D1 D6 D2 D5 D4 D7 D8 G8 E13",
    "007": "H2 H4 H3 H1 H6 H5 E4 H7 C13 E5",
    "008": "TI3 TI4 TI2 TI5 B9 TI6 TI7 TI9 TI10 B5",
    "009": "K9 K8 K6 K7 K11 K10 K5 K4 K3 I9",
    "010": "PI5 PI6 PI7 PI8 PI1 PI9 PI2 SM2 SP3 PI4",
    "011": "T2 T3 C9 T4 T5 C7 C8 T1 s1 C4",
    "012": "TI'4 TI'2 TI'3 TI'5 TI'8 TI'6 TI'7 TO'9 P'5 TO'8",
}
RUNS = {f"{k:03d}": "123456" for k in range(1, 13)} | {"004": "13456", "005": "12345", "012": "123"}  # 67 are released


def recordings(card: CohortCard) -> list[RecordingSource]:
    """One source a run, or for so many files of the pretraining layout; patients and runs in natural order.

    Raises
    ------
    RecordingError
        If there is nothing of the layout that the card asks for.
    """
    refuse_unknown_options(card, ("part", "channels", "zero", "pieces"))
    part = option(card, "part", "words", ("words", "pretrain", "both"))
    channels = option(card, "channels", "all", ("all", "chosen"))
    zero, pieces = positive(card, "zero", ZERO), int(positive(card, "pieces", PIECES))
    if zero * RATE >= TRIAL or pieces < 1:
        raise RecordingError(f"{card.name}: options.zero must lie below 3 s and options.pieces be 1 at least")
    root = study_folder(card, f"data/{FOLDER}", FOLDER)
    study = next(p for p in (root / "data" / FOLDER, root / FOLDER) if p.exists())
    common = RecordingSource(
        study,
        "duin2024",
        root=root,
        line_frequency=card.line_frequency,
        options=(("channels", channels), ("revision", card.revision)),
    )
    found: list[RecordingSource] = []
    for patient in sorted(
        (p for p in study.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: natural(p.name)
    ):
        own = replace(common, subject=patient.name)
        if part != "pretrain":
            found += [
                replace(own, path=path, task="words", run=run, options=(*own.options, ("zero", zero)))
                for run, path in _runs(patient)
            ]
        if part != "words":
            count = -(-len(_pieces(patient / "pretrain" / PRETRAIN)) // pieces)
            found += [
                replace(
                    own,
                    path=patient / "pretrain" / PRETRAIN / "info",
                    task="pretrain",
                    run=f"{number + 1:03d}",
                    options=(*own.options, ("first", number * pieces), ("pieces", pieces), ("part", part)),
                )
                for number in range(count)
            ]
    if not found:
        raise RecordingError(
            f"{study}: no {'run' if part == 'words' else 'file'} of {WORDS if part == 'words' else PRETRAIN} in it; "
            f"{card.how_to_get or 'get it again'}"
        )
    return _with_absent(found) if part != "pretrain" else found


def _runs(patient: Path) -> list[tuple[str, Path]]:
    """(number, data file) of each run, sorted by number; the released loader takes the order of the file system."""
    folders = {m.group(1): p for p in (patient / "word-recitation").glob("run*") if (m := RUN.match(p.name))}
    return [(run, folders[run] / WORDS / "data") for run in sorted(folders, key=int) if (folders[run] / WORDS).is_dir()]


def _pieces(folder: Path) -> list[Path]:
    """Files of the pretraining layout in natural order."""
    return sorted(folder.rglob("*.npy"), key=lambda p: natural(p.relative_to(folder).as_posix()))


def _with_absent(found: list[RecordingSource]) -> list[RecordingSource]:
    """The first source says which of the released runs are not there."""
    here = {(s.subject, s.run) for s in found}
    absent = [f"{subject} run {run}" for subject, runs in RUNS.items() for run in runs if (subject, run) not in here]
    if not absent:
        return found
    said = f"{len(absent)} of {sum(map(len, RUNS.values()))} released runs are not there: {listed(absent)}"
    return [replace(found[0], options=(*found[0].options, ("absent", said))), *found[1:]]


def open_recording(source: RecordingSource) -> Recording:
    """Read one run, or some files of the pretraining layout.

    Raises
    ------
    RecordingError
        If a file is missing, not laid out as described above, or holds a word that is none of the 61.
    """
    options = dict(source.options)
    info = source.path.with_name("info")
    names = _channel_names(info)
    rows, notes = _rows(names, source, str(options.get("channels", "all")))
    notes = cohort_notes(source) + _revision_notes(source, str(options.get("revision", ""))) + notes
    if source.task == "pretrain":
        raw, events, files, said = _read_pieces(source, names, rows)
    else:
        raw, events, files, said = _read_trials(source, names, rows, float(str(options.get("zero", ZERO))))
    return Recording(
        raw,
        events_table(events),
        subject=source.subject,
        task=source.task,
        run=source.run,
        notes=notes + said + plausibility(raw, _file(source)),
        files=[*files, info],
        line_frequency=source.line_frequency,
    )


def _file(source: RecordingSource) -> str:
    """What notes call a source: all files of the release have the same two names."""
    return f"{source.subject}/{'pretrain' if source.task == 'pretrain' else 'run' + source.run}"


def _channel_names(path: Path) -> list[str]:
    value = read_pickle(path, MAPPINGS)
    names = value.get("ch_names") if isinstance(value, dict) else None
    names = names.tolist() if isinstance(names, np.ndarray) else names
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise RecordingError(f"{path}: holds no list of names ch_names; it is no info of this layout, get it again")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RecordingError(f"{path}: ch_names holds {listed(twice)} more than once; get it again")
    return [str(name) for name in names]


def _rows(names: list[str], source: RecordingSource, wanted: str) -> tuple[list[int], list[Note]]:
    """Rows that are kept, in the order of the file."""
    if wanted == "all":
        return list(range(len(names))), []
    chosen = CHOSEN.get(source.subject, "").split()
    if not chosen:
        raise RecordingError(
            f"{source.path}: no channels are chosen for patient {source.subject}; set options.channels=all"
        )
    absent = [name for name in chosen if name not in names]
    if absent:
        raise RecordingError(f"{source.path}: lacks the chosen channels {listed(absent)}; set options.channels=all")
    said = f"{len(chosen)} of {len(names)} channels, ranked by those who released them on the labelled trials"
    return sorted(names.index(name) for name in chosen), [
        Note(_file(source), said, "taken; test trials may have had a say in the choice", "warning")
    ]


def _revision_notes(source: RecordingSource, stated: str) -> list[Note]:
    """Which revision of the data this is; results depend on it."""
    found = revision_of(source.root or source.path.parent, source.path)
    if found is None:
        said = f"nothing tells the revision of the data; the card expects {stated or 'none'}"
        return [Note(_file(source), said, "compare checksums before you compare results", "warning")]
    if stated and found != stated:
        said = f"revision {found} of the data; the card expects {stated}"
        return [Note(_file(source), said, "read; name it with every result", "warning")]
    return [Note(_file(source), f"revision {found} of the data", "as the card expects" if stated else "read")]


def _read_trials(
    source: RecordingSource, names: list[str], rows: list[int], zero: float
) -> tuple[BaseRaw, list[dict[str, Any]], list[Path], list[Note]]:
    path, file = source.path, _file(source)
    items = _items(path)
    labels, lengths = [], []
    for number, item in enumerate(items):
        label, values = _trial(path, number, item, len(names))
        labels.append(label)
        lengths.append(values.shape[1])
    starts = np.cumsum([0, *(length + GAP for length in lengths[:-1])])
    signal = np.zeros((len(rows), int(starts[-1]) + lengths[-1]))
    whole = rows == list(range(len(names)))
    for number, start in enumerate(starts):
        values = items[number]["data_s"]
        signal[:, start : start + lengths[number]] = values if whole else values[rows]
        items[number] = None  # frees it
    events = [
        {
            "onset": start / RATE + zero,
            "duration": length / RATE - zero,
            "kind": "word",
            "label": label,
            "trial": float(number),
            "trial_onset": start / RATE,
            "label_index": float(LABELS.index(label)),
        }
        for number, (start, length, label) in enumerate(zip(starts, lengths, labels))
    ]
    raw = _raw(signal, [names[row] for row in rows], starts, lengths)
    absent = [word for word in LABELS if word not in labels]
    notes = [
        Note(file, f"{len(labels)} trials, {GAP / RATE:g} s between them hold nothing", "marked bad"),
        Note(
            path.name,
            f"the zero of a trial is not stated; the released loader has it at {ZERO:g} s",
            f"{zero:g} s taken",
        ),
        Note(
            path.name,
            "whether trials are in the order in which they were read aloud is not stated",
            "order of the file",
        ),
        Note(file, "no unit stated", "read as V"),
    ]
    if absent:
        said = f"{len(absent)} of {len(LABELS)} words are not there: {listed(absent)}"
        notes.append(Note(file, said, "label_index keeps its meaning"))
    other = sorted({length for length in lengths if length != TRIAL})
    if other:
        said = f"trials of {listed(map(str, other))} samples, {TRIAL} are expected"
        notes.append(Note(file, said, "kept as they are", "warning"))
    return raw, events, [path], notes + _smoothness(signal, starts, lengths, file)


def _items(path: Path) -> list[Any]:
    items = read_pickle(path, MAPPINGS)
    if not isinstance(items, list) or not items:
        raise RecordingError(f"{path}: holds no list of trials; it is no data of this layout, get it again")
    return items


def _trial(path: Path, number: int, item: Any, channels: int) -> tuple[str, np.ndarray]:
    """Label and values of a trial, checked."""
    if not isinstance(item, dict) or not {"name", "data_s"} <= set(item):
        held = listed(map(str, item)) if isinstance(item, dict) else type(item).__name__
        raise RecordingError(f"{path}: trial {number} holds {held}, wanted are name and data_s; get it again")
    label, values = item["name"], item["data_s"]
    if not isinstance(label, str) or label not in LABELS:
        raise RecordingError(f"{path}: trial {number} is named {label!r}, which is none of the {len(LABELS)} words")
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind != "f"
        or values.ndim != 2
        or values.shape[0] != channels
    ):
        shape = f"{values.shape} {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise RecordingError(
            f"{path}: data_s of trial {number} is {shape}, wanted are floating-point numbers [{channels}, samples] as "
            "info names the channels; get both again"
        )
    if not values.shape[1]:
        raise RecordingError(f"{path}: data_s of trial {number} has no samples; get it again")
    return label, values


@dataclass(frozen=True, eq=False)
class _Trials:
    """What the pretraining layout is held against: a patient's released trials, on the channels that both have.

    Attributes
    ----------
    names
        Of these channels.
    spread
        SD of each, V: the median over all trials.
    seen
        Run -> fingerprints of its trials.
    """

    names: list[str]
    spread: np.ndarray
    seen: dict[str, np.ndarray]


def _trials_of(folder: Path, names: list[str]) -> _Trials | None:
    """The trials of the patient whose pretraining layout is `folder`; None if there are none."""
    runs = _runs(folder.parents[1])
    return (
        _read_all_trials(tuple(runs), tuple(names), tuple(path.stat().st_mtime_ns for _, path in runs))
        if runs
        else None
    )


@lru_cache(maxsize=1)
def _read_all_trials(runs: tuple[tuple[str, Path], ...], names: tuple[str, ...], _: tuple[int, ...]) -> _Trials:
    """One run after the other is in memory; the last argument is there for the cache alone."""
    own = {run: _channel_names(path.with_name("info")) for run, path in runs}
    shared = [name for name in names if all(name in others for others in own.values())]
    if not shared:
        raise RecordingError(
            f"{runs[0][1].parents[3]}: the pretraining layout and the released trials share no channel; they are of two "
            "patients or two montages"
        )
    seen, spreads = {}, []
    for run, path in runs:
        rows = [own[run].index(name) for name in shared]
        found = []
        for number, item in enumerate(_items(path)):
            trial = _trial(path, number, item, len(own[run]))[1][rows]
            spreads.append(trial.std(axis=1))
            found.append(fingerprints(trial, shared))
        seen[run] = np.unique(np.concatenate(found))
    return _Trials(shared, np.median(spreads, axis=0), seen)


def _read_pieces(
    source: RecordingSource, names: list[str], rows: list[int]
) -> tuple[BaseRaw, list[dict[str, Any]], list[Path], list[Note]]:
    options, file = dict(source.options), _file(source)
    folder, first = source.path.parent, int(str(options.get("first", 0)))
    everything = _pieces(folder)
    files = everything[first : first + int(str(options.get("pieces", PIECES)))]
    if not files:
        raise RecordingError(f"{folder}: no file from number {first} on, there were more before; list the source again")
    trials, both = _trials_of(folder, names), options.get("part") == "both"
    taken: list[tuple[int, int, np.ndarray]] = []  # number of a file, its samples that are known, all of them
    joined, repeated, held = [], 0, {}
    before = _piece(everything[first - 1], len(names))[0] if first else np.empty((len(names), 0))
    for number, path in enumerate(files):
        piece = _piece(path, len(names))[0]
        known = overlap(before, piece)
        repeated += bool(known)
        if trials and (run := holder(piece[[names.index(name) for name in trials.names]], trials.names, trials.seen)):
            held[path] = run
        if known < piece.shape[1] and not (both and path in held):
            joined.append(bool(taken) and bool(known) and taken[-1][0] == number - 1)
            taken.append((number, known, piece))
        before = piece
    if not taken:
        raise RecordingError(
            f"{folder}: all {len(files)} files from {files[0].name} to {files[-1].name} repeat released trials or files before "
            "them; set options.part to words: pretraining takes the trials as well"
        )
    lengths = [piece.shape[1] - known for _, known, piece in taken]
    gaps = [0 if follows else GAP for follows in joined]
    starts = np.cumsum([0, *(length + gap for length, gap in zip(lengths[:-1], gaps[1:]))])
    factors, said = _same_spread(everything, names, trials, file) if both and trials else (np.ones(len(names)), [])
    signal = np.zeros((len(rows), int(starts[-1]) + lengths[-1]))
    for (_, known, piece), start, length in zip(taken, starts, lengths):
        signal[:, start : start + length] = piece[rows, known:] * factors[rows, None]
    events = [
        {
            "onset": start / RATE,
            "duration": length / RATE,
            "kind": "piece",
            "label": files[number].relative_to(folder).as_posix(),
            "piece": float(first + number),
        }
        for (number, _, _), start, length in zip(taken, starts, lengths)
    ]
    notes = [
        Note(
            file,
            f"{repeated} of {len(files)} pieces begin with the end of the piece before",
            "what is repeated is left out, pieces that follow each other are joined",
        ),
        Note(file, "a second plane of pair sums", "not read"),
        *(said or [Note(file, "no unit stated; the released scripts expect scaled values here", "read as V")]),
    ]
    if held:
        which = ", ".join(f"run {run}" for run in sorted(set(held.values()), key=int))
        done = "left out: the trials are there themselves" if both else f"taken: do not test on {which} what saw them"
        notes.append(
            Note(
                file, f"{len(held)} of {len(files)} pieces hold stretches of released trials ({which})", done, "warning"
            )
        )
    return _raw(signal, [names[row] for row in rows], starts, lengths), events, files, notes


def _same_spread(files: list[Path], names: list[str], trials: _Trials, file: str) -> tuple[np.ndarray, list[Note]]:
    """Factors of channels that give pieces the spread of the trials, since both share one scale later; 1 if they are alike."""
    looked = np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).round().astype(int))
    own = np.median([_piece(files[k], len(names))[0].astype(float).std(axis=1) for k in looked], axis=0)
    wanted = np.full(len(names), np.nan)
    wanted[[names.index(name) for name in trials.names]] = trials.spread
    ratios = np.divide(wanted, own, where=(own > 0) & (wanted > 0), out=np.full(len(names), np.nan))
    known = np.isfinite(ratios)
    if not known.any():
        return np.ones(len(names)), []
    typical = float(np.median(ratios[known]))
    text = f"median SD of channels {np.median(own[known]):.2g} in pieces, {np.median(wanted[known]):.2g} V in trials"
    if 1 / ALIKE <= typical <= ALIKE:
        return np.ones(len(names)), [Note(file, text, "alike: read as V")]
    done = f"each channel of the pieces brought to its spread in the trials, times {typical:.2g} in the median"
    return np.where(known, ratios, typical), [Note(file, text, done, "warning")]


def _piece(path: Path, channels: int) -> np.ndarray:
    """[2, channels, samples], mapped."""
    refuse_pointer(path)
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises what it happens on
        text = " ".join(str(error).split())[:120]
        raise RecordingError(f"{path}: not readable as a numpy array ({text}); get it again") from None
    if values.ndim != 3 or values.shape[:2] != (2, channels) or not values.shape[2] or values.dtype.kind != "f":
        raise RecordingError(
            f"{path}: is {values.shape} {values.dtype}, wanted are floating-point numbers [2, {channels}, samples] as info "
            "names the channels"
        )
    return values


def _raw(signal: np.ndarray, names: list[str], starts: np.ndarray, lengths: list[int]) -> BaseRaw:
    """MNE Raw of stretches; what lies between them is marked as an acquisition skip."""
    import mne

    raw = mne.io.RawArray(signal, mne.create_info(names, RATE, "seeg"), verbose="error")
    ends = starts[:-1] + np.array(lengths[:-1], int)
    apart = starts[1:] > ends
    raw.set_annotations(mne.Annotations(ends[apart] / RATE, (starts[1:] - ends)[apart] / RATE, "BAD_ACQ_SKIP"))
    return raw


def _smoothness(signal: np.ndarray, starts: np.ndarray, lengths: list[int], file: str) -> list[Note]:
    """A warning when the signal has no power where broadband sEEG has some: one patient's data had a 10 Hz low-pass."""
    length = min(lengths)
    if length < RATE:
        return []
    looked = np.unique(np.linspace(0, len(starts) - 1, LOOKED_AT).round().astype(int))
    window = np.hanning(length)
    trials = np.stack([signal[:, starts[k] : starts[k] + length] for k in looked])  # [trials, channels, samples]
    power = (np.abs(np.fft.rfft((trials - trials.mean(-1, keepdims=True)) * window)) ** 2).mean(0)
    hertz = np.fft.rfftfreq(length, 1 / RATE)
    low, high = (power[:, (hertz >= a) & (hertz < b)].mean(1) for a, b in ((2, 8), (30, 100)))
    ratio = float(np.median(high / np.where(low > 0, low, np.inf)))
    if not low.any() or ratio >= SMOOTH:
        return []
    said = f"power at 30-100 Hz is {ratio:.1e} of that at 2-8 Hz: the signal was low-passed"
    return [Note(file, said, "read; high gamma is not in it, so do not compare it with other patients", "warning")]
