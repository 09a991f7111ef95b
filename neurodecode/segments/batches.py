"""Batches: windows gathered from the memory map by index arithmetic, then scaled as tensors.

In: a WindowIndex, stored signals, stimulus features. Out: Batch (brain signal, feature target, subject, layout,
identity). The order of work is the paper's (section 3.5): window, baseline, scale, clamp, shift. With neighbours, the
windows that are asked about come first, and those that are only looked at after them, each once however many share it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from neurodecode.config import ContextSettings
from neurodecode.segments.layouts import Layouts, build_layouts, only_channels
from neurodecode.segments.neighbours import NONE, find_neighbours
from neurodecode.segments.scaling import Scalers
from neurodecode.segments.windows import SAME_PLACE, WindowIndex

if TYPE_CHECKING:
    from neurodecode.stimuli.features import FeatureStore

FAR = 10**12  # us (11 days): longer than any stimulus


@dataclass(frozen=True)
class Batch:
    """What a network sees.

    Attributes
    ----------
    signal
        [B, C, T] float32, baseline-corrected, scaled, clamped; columns a recording lacks are 0.
    target
        [B, F, T] float32, scaled features that face the signal.
    subject, layout
        [B] int64: index of the subject, and of the recording (its sensor layout).
    window
        [B] int64: row of the index.
    identity
        [B] int64: equal numbers are the same stimulus content.
    context
        [B, K] int64: for each window that is asked about, the rows of `signal` that hold its neighbours in the order of
        time, itself in the middle, -1 where there is none. `signal`, `subject`, `layout` and `window` then hold M >= B
        windows, the first B of which are asked about. None: every window stands for itself.
    place
        [B] int64: second of the stimulus at which the target begins, in us, contents so far apart that no two are ever near
        (`apart`). None: not known.
    """

    signal: torch.Tensor
    target: torch.Tensor
    subject: torch.Tensor
    layout: torch.Tensor
    window: torch.Tensor
    identity: torch.Tensor
    context: torch.Tensor | None = None
    place: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: value.to(device, non_blocking=True) for name, value in held.items() if value is not None}
        return replace(self, **moved)

    def alone(self) -> Batch:
        """The same batch without neighbours."""
        if self.context is None:
            return self
        kept = {name: getattr(self, name)[: len(self)] for name in ("signal", "subject", "layout", "window")}
        return replace(self, context=None, **kept)


def apart(overlap: float, seconds: float) -> int:
    """How far apart the places of two targets are at most, us, that share so much of their `seconds`.

    What lies within SAME_PLACE shares all there is: clocks of recordings differ.
    """
    return round(max((1 - overlap) * seconds, SAME_PLACE) * 1e6)


class BatchSource:
    """Turns rows of a window index into batches.

    Parameters
    ----------
    index
        Windows of one fold.
    features
        Feature store of the stimuli.
    scalers
        Fitted on the training windows of this fold; None gives unscaled windows (for fitting them).
    device
        Where the work is done. On anything but `cpu` all signals and features are copied there once.
    context
        Whether, and at what distances, windows come with their neighbours; None: alone.
    """

    def __init__(
        self,
        index: WindowIndex,
        features: FeatureStore,
        scalers: Scalers | None = None,
        device: torch.device | str = "cpu",
        context: ContextSettings | None = None,
    ) -> None:
        self.index = index
        self.scalers = scalers
        self.context = context if context is not None and context.on else None
        self._neighbours: tuple[WindowIndex, np.ndarray] | None = None
        self.device = torch.device(device)
        tables = [r.channels for r in index.recordings]
        self.layouts: Layouts = build_layouts(tables, index.settings.columns, "segments")
        table = index.table
        self._recording = table["recording"].to_numpy()
        self._start = table["start"].to_numpy()
        self._stimulus = table["stimulus"].to_numpy()
        self._stimulus_start = table["stimulus_start"].to_numpy(float)
        self._subject = torch.tensor(table["subject"].to_numpy(), dtype=torch.long)
        self._identity = torch.tensor(table["identity"].to_numpy(), dtype=torch.long)
        content = np.unique(np.array(index.contents, dtype=str), return_inverse=True)[1][self._stimulus]
        self._place = torch.from_numpy(
            content.astype(np.int64) * FAR + np.rint(self._stimulus_start * 1e6).astype(np.int64)
        )
        self._signals: list[np.ndarray] = [r.signal for r in index.recordings]
        self._resident: list[torch.Tensor] | None = None
        if self.device.type != "cpu":
            self._resident = [torch.from_numpy(np.array(s)).to(self.device) for s in self._signals]
        self._columns = [torch.as_tensor(c, device=self.device) for c in self.layouts.columns]
        self._load_features(features)

    @property
    def n_times(self) -> int:
        """Samples of a batch, after the shift is cut."""
        return self.index.n_times - self.index.shift

    @property
    def neighbours(self) -> np.ndarray:
        """Rows of the neighbours of each row of the index, see `find_neighbours`; found once for an index."""
        assert self.context is not None
        if self._neighbours is None or self._neighbours[0] is not self.index:
            self._neighbours = (self.index, find_neighbours(self.index, self.context))
        return self._neighbours[1]

    def only(self, chosen: Mapping[str, Collection[str]] | None) -> BatchSource:
        """The same windows with these channels of each subject alone, the others masked; None leaves all. No scalers yet.

        Raises
        ------
        SettingsError
            If a chosen channel is not there.
        """
        if chosen is None:
            return self
        source = copy.copy(self)
        names = [r.channels["name"].astype(str).tolist() for r in self.index.recordings]
        source.layouts = only_channels(self.layouts, names, [r.subject for r in self.index.recordings], chosen)
        source.scalers = None  # fitted on other channels
        return source

    def without_context(self) -> BatchSource:
        """The same windows, each alone."""
        source = copy.copy(self)
        source.context = None
        return source

    def with_strangers(self, rows: np.ndarray, others: np.ndarray) -> BatchSource:
        """The same windows, but row k of `rows` comes with the neighbours of row k of `others`."""
        source = copy.copy(self)
        changed = self.neighbours.copy()
        changed[rows] = self.neighbours[others]
        changed[rows, changed.shape[1] // 2] = rows
        source._neighbours = (self.index, changed)
        return source

    def _load_features(self, features: FeatureStore) -> None:
        """All stimuli that are used, end to end in one tensor, so that a gather is index arithmetic."""
        used = sorted(set(self._stimulus.tolist()))
        n = len(self.index.stimuli)
        self._offset, self._frames = np.zeros(n, np.int64), np.ones(n, np.int64)
        self._rate, self._t0 = np.ones(n), np.zeros(n)
        parts, total = [], 0
        for number in used:
            feature = features.get(self.index.stimuli[number])
            values = torch.from_numpy(np.array(feature.values, dtype=np.float32))  # [frames, F]
            self._offset[number], self._frames[number] = total, len(values)
            self._rate[number], self._t0[number] = feature.rate, feature.t0
            parts.append(values)
            total += len(values)
        self._values = torch.cat(parts).to(self.device)  # [all frames, F]
        self.dimension = self._values.shape[1]

    def signal(self, rows: np.ndarray, samples: tuple[int, int] | None = None) -> torch.Tensor:
        """Windows as stored, [B, C, n] in SI units; `samples` are (first, last + 1) relative to the window's start."""
        rows = np.asarray(rows)
        first, last = samples or (0, self.index.n_times)
        n = last - first
        out = torch.zeros(len(rows), self.layouts.n_chans, n, device=self.device)
        for recording in np.unique(self._recording[rows]):
            here = np.flatnonzero(self._recording[rows] == recording)
            starts = self._start[rows[here]] + first
            length = self._signals[recording].shape[1]
            columns = self._columns[recording]
            if starts.min() < 0 or starts.max() + n > length:
                raise ValueError(f"samples {first}..{last} of a window leave recording {recording}")
            if self._resident is not None:
                grid = torch.as_tensor(starts, device=self.device)[:, None] + torch.arange(n, device=self.device)
                values = self._resident[recording][:, grid].transpose(0, 1)  # [C, b, n] -> [b, C, n]
            else:
                stored = self._signals[recording]
                values = torch.from_numpy(np.stack([stored[:, s : s + n] for s in starts]))
            out[torch.as_tensor(here, device=self.device)[:, None], columns[None]] = values
        # a bad channel may hold NaN or a flat line: it is masked here once for all
        valid = self.layouts.valid.to(self.device)[torch.as_tensor(self._recording[rows], device=self.device)]
        return torch.where(valid[:, :, None], out, torch.zeros((), device=self.device))

    def target(self, rows: np.ndarray, samples: tuple[int, int] | None = None) -> torch.Tensor:
        """Features at the times of the window's samples, [B, F, n], unscaled.

        Frame k of a feature is centred at t0 + k / rate seconds of the stimulus; values between frames are interpolated
        at exact times, values before the first or after the last frame are those of that frame.
        """
        rows = np.asarray(rows)
        first, last = samples or (0, self.index.n_times)
        stimulus = self._stimulus[rows]
        seconds = self._stimulus_start[rows][:, None] + np.arange(first, last)[None] / self.index.sfreq
        position = (seconds - self._t0[stimulus][:, None]) * self._rate[stimulus][:, None]
        position = np.clip(position, 0, self._frames[stimulus][:, None] - 1)
        offset = torch.as_tensor(self._offset[stimulus], device=self.device)[:, None]
        if self.index.settings.interpolation == "nearest":
            frame = torch.as_tensor(np.rint(position).astype(np.int64), device=self.device)
            return self._values[offset + frame].transpose(1, 2)
        below = np.minimum(np.floor(position), np.maximum(self._frames[stimulus][:, None] - 2, 0)).astype(np.int64)
        weight = torch.as_tensor(position - below, dtype=torch.float32, device=self.device)[:, :, None]
        frame = torch.as_tensor(below, device=self.device) + offset
        last_frame = torch.as_tensor(self._offset[stimulus] + self._frames[stimulus] - 1, device=self.device)[:, None]
        upper = torch.minimum(frame + 1, last_frame)
        return torch.lerp(self._values[frame], self._values[upper], weight).transpose(1, 2)  # [B, n, F] -> [B, F, n]

    def sounding(self, rows: np.ndarray) -> np.ndarray:
        """Samples of windows (before the shift is cut) at which a word is sounding in the stimulus, bool [B, n]."""
        rows = np.asarray(rows)
        seconds = self._stimulus_start[rows][:, None] + np.arange(self.index.n_times)[None] / self.index.sfreq
        result = np.zeros(seconds.shape, bool)
        for recording in np.unique(self._recording[rows]):
            events = self.index.recordings[recording].events
            words = events[(events["kind"] == "word") & (events["duration"] > 0) & events["stimulus_onset"].notna()]
            for stimulus in np.unique(self._stimulus[rows][self._recording[rows] == recording]):
                here = np.flatnonzero((self._recording[rows] == recording) & (self._stimulus[rows] == stimulus))
                heard = words[words["stimulus"] == self.index.stimuli[stimulus]]
                begin, length = heard["stimulus_onset"].to_numpy(float), heard["duration"].to_numpy(float)
                # begun and not yet over: more begins than ends so far
                begun = np.searchsorted(np.sort(begin), seconds[here], side="right")
                over = np.searchsorted(np.sort(begin + length), seconds[here], side="right")
                result[here] = begun > over
        return result

    def baselined(self, rows: np.ndarray) -> torch.Tensor:
        """Windows minus the mean of their baseline interval, [B, C, n_times before the shift]."""
        signal = self.signal(rows)
        window = self.index.settings.window
        if window.baseline is None:
            return signal
        first = round((window.baseline[0] - window.tmin) * self.index.sfreq)
        last = round((window.baseline[1] - window.tmin) * self.index.sfreq) + 1  # both ends included, as MNE does
        return signal - signal[:, :, first:last].mean(-1, keepdim=True)

    def __getitem__(self, rows: np.ndarray | list[int]) -> Batch:
        """Scaled batch of some rows of the index."""
        rows = np.asarray(rows, dtype=np.int64)
        shift, n = self.index.shift, self.index.n_times
        shown, context = rows, None
        if self.context is not None:
            shown, places = with_neighbours(rows, self.neighbours)
            context = torch.as_tensor(places, device=self.device)
        signal = self.baselined(shown)
        target = self.target(rows, (0, n - shift))
        layout = torch.as_tensor(self._recording[shown], dtype=torch.long)
        if self.scalers is not None:
            signal = self.scalers.scale_signal(signal, layout)
            target = self.scalers.scale_target(target)
        windows = torch.as_tensor(shown)
        return Batch(
            signal=signal[:, :, shift:],
            target=target,
            subject=self._subject[windows].to(self.device),
            layout=layout.to(self.device),
            window=windows.to(self.device),
            identity=self._identity[torch.as_tensor(rows)].to(self.device),
            context=context,
            place=self._place[torch.as_tensor(rows)].to(self.device),
        )

    def fit_scalers(self, seed: int = 1234) -> Scalers:
        """Fit scalers on training windows of this fold, and keep them."""
        self.scalers = Scalers.fit(self, seed)
        return self.scalers

    def batches(
        self, rows: np.ndarray, batch_size: int, shuffle_seed: int | None = None, limit: int | None = None
    ) -> Iterator[Batch]:
        """Batches of rows in order, or in the order that `shuffle_seed` gives; at most `limit` batches."""
        for chosen in batch_rows(rows, batch_size, shuffle_seed)[:limit]:
            yield self[chosen]


def with_neighbours(rows: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows to show, and where among them each asked one finds its neighbours.

    Parameters
    ----------
    rows
        [B] rows that are asked about.
    neighbours
        [rows of the index, K], NONE where there is none.

    Returns
    -------
    shown, places
        [M] rows, the first B of which are `rows`; and [B, K] numbers of `shown`, NONE where there is none.
    """
    wanted = neighbours[rows].copy()  # [B, K]
    wanted[:, wanted.shape[1] // 2] = NONE  # itself, which may be asked about twice
    shown = np.concatenate([rows, np.setdiff1d(wanted[wanted != NONE], rows)])
    order = np.argsort(shown, kind="stable")
    places = order[np.searchsorted(shown[order], wanted).clip(max=len(shown) - 1)]
    places[wanted == NONE] = NONE
    places[:, wanted.shape[1] // 2] = np.arange(len(rows))
    return shown, places


def batch_rows(rows: np.ndarray, batch_size: int, shuffle_seed: int | None = None) -> list[np.ndarray]:
    """Cut rows into batches; shuffled, a last batch of less than half the size is left out (few negatives)."""
    rows = np.asarray(rows)
    if shuffle_seed is not None:
        rows = np.random.default_rng(shuffle_seed).permutation(rows)
    parts = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    if shuffle_seed is not None and len(parts) > 1 and len(parts[-1]) < batch_size / 2:
        parts.pop()
    return parts
