"""Features of all stimuli of a store, computed once: STORE/features/<kind>-<key>/.

In: a Store and FeatureSettings. Out: a FeatureStore; one `.npy` a stimulus and an `index.json` that names them with their
exact rate and t0. The key is a hash of the settings (and of the borders of blocks, where each block is described alone), so
two settings never share a folder. A stimulus counts as done when
its content is the one it was computed from, the array's checksum holds, and the folder of the speech encoder, if there is
one, holds the encoder that made it; so a killed run goes on where it stopped, and needs no encoder when nothing is missing.

    compute_features(Store("store"), FeatureSettings(kind="mel")).get("story-1").values      # [frames, 120]
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodecode.config import FeatureSettings
from neurodecode.errors import StimulusError
from neurodecode.files import atomic_path, read_json, sha256_of_array, sha256_of_value, write_json
from neurodecode.progress import watched
from neurodecode.stimuli.arrays import array_feature, filtered
from neurodecode.stimuli.audio import read_audio
from neurodecode.stimuli.encoder import SpeechEncoder, encode, fingerprint, load_encoder, release
from neurodecode.stimuli.envelope import envelope
from neurodecode.stimuli.feature import Feature
from neurodecode.stimuli.mel import log_mel
from neurodecode.stimuli.pieces import describe_pieces

if TYPE_CHECKING:
    from neurodecode.store.store import Store, StoredStimulus

SCHEMA = 1
VERSION = 1  # raised when the same settings give other numbers than before
INDEX = "index.json"
USED = {  # settings that a kind reads: others do not change its key
    "mel": ("audio_rate", "bands", "n_fft", "hop", "f_min", "f_max", "standardize_audio", "log_floor", "dtype"),
    "envelope": ("audio_rate", "bands", "n_fft", "f_min", "f_max", "standardize_audio", "compression", "low_pass")
    + ("high_pass", "rate", "dtype"),
    "array": ("low_pass", "high_pass", "rate", "dtype"),
    "encoder": ("encoder", "layers", "context", "overlap", "random_weights", "dtype"),
}


class FeatureStore:
    """A folder of computed features.

    Attributes
    ----------
    path
        The folder.
    names
        Names of the stimuli, sorted.
    dimension
        Dimensions of a frame, the same for all.
    extent
        What a frame may know of: `stimulus` or `block`.

    Raises
    ------
    StimulusError
        If the folder's index is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._entries = _read_index(self.path)
        self.extent: str = _extent(self.path)
        if not self._entries:
            raise StimulusError(f"{path}: holds no features; make them with: neurodecode features STORE")
        self.names = sorted(self._entries)
        self.dimension: int = self._entries[self.names[0]]["dimension"]

    def get(self, name: str) -> Feature:
        """The feature of one stimulus, mapped read-only.

        Raises
        ------
        StimulusError
            If there is none, or its file is missing or damaged.
        """
        if name not in self._entries:
            raise StimulusError(f"{self.path}: no feature of the stimulus {name}; run neurodecode features again")
        entry = self._entries[name]
        values = _load(self.path / entry["file"])
        if values is None or list(values.shape) != [entry["frames"], entry["dimension"]]:
            raise StimulusError(f"{self.path / entry['file']}: missing or damaged; run neurodecode features again")
        return Feature(values, entry["rate"], entry["t0"])


def compute_features(
    store: Store,
    settings: FeatureSettings,
    progress: bool = True,
    borders: Mapping[str, Sequence[float]] | None = None,
) -> FeatureStore:
    """Compute what is missing.

    Parameters
    ----------
    store
        Store whose stimuli are to be described.
    settings
        Which feature, and how.
    progress
        Show a progress bar, if a person looks (standard error is a terminal).
    borders
        Stimulus -> seconds at which its blocks border (`WindowIndex.borders`); needed for the extent `block`.

    Raises
    ------
    StimulusError
        If the store has no stimuli, one cannot become this feature, or two have different numbers of dimensions; or if
        the speech encoder is needed and cannot be loaded.
    """
    if not store.stimuli:
        raise StimulusError(f"{store.path}: no stimulus in the store; its events need rows of kind stimulus")
    if settings.extent == "block" and borders is None:
        raise StimulusError(
            "features.extent: block needs the blocks of a split, which only training settings have; the features are computed "
            "by neurodecode train or run"
        )
    folder = store.path / "features" / f"{settings.kind}-{feature_key(settings, borders)}"
    done = {n: e for n, e in _read_index(folder, missing_ok=True).items() if n in store.stimuli}
    maker = fingerprint(settings.encoder) if settings.kind == "encoder" else None
    waiting = [s for s in store.stimuli.values() if not _is_done(folder, done.get(s.name), s.sha256, maker)]
    encoder = None
    if waiting and settings.kind == "encoder":
        encoder = load_encoder(settings)
        done = {n: e for n, e in done.items() if e.get("maker") == encoder.maker}  # never two encoders in one folder
        waiting = [s for s in store.stimuli.values() if s in waiting or s.name not in done]
    silent: dict[str, tuple[float, ...]] = {}
    for stimulus in watched(waiting, f"features {settings.kind}", progress):
        feature = compute_feature(stimulus, settings, encoder, (borders or {}).get(stimulus.name, ()))
        done[stimulus.name] = _write(folder, stimulus, feature) | ({"maker": encoder.maker} if encoder else {})
        silent |= {stimulus.name: feature.silent} if feature.silent else {}
        _refuse_other_dimension(done, stimulus)
        write_json(folder / INDEX, _index(settings, done))
    if encoder is not None:
        del encoder
        release()
    if silent:
        _warn_of_silence(silent, settings)
    if not waiting and set(done) != set(_read_index(folder, missing_ok=True)):
        write_json(folder / INDEX, _index(settings, done))  # a stimulus has left the store
    return FeatureStore(folder)


def _warn_of_silence(silent: dict[str, tuple[float, ...]], settings: FeatureSettings) -> None:
    name, at = next((name, at[0]) for name, at in sorted(silent.items()))
    warnings.warn(
        f"features {settings.kind}: {sum(map(len, silent.values()))} blocks of {len(silent)} stimuli hold no sound at all "
        f"(first: {name}, second {at:.2f} on); all their frames are {silence_of(settings):g}, as silence is",
        stacklevel=3,
    )


def compute_feature(
    stimulus: StoredStimulus,
    settings: FeatureSettings,
    encoder: SpeechEncoder | None = None,
    borders: Sequence[float] = (),
) -> Feature:
    """The feature of one stimulus; `encoder` as `load_encoder` gives it, loaded when it is needed and not given.

    With the extent `block`, audio is cut at `borders`, s, and each piece described alone.

    Raises
    ------
    StimulusError
        If an array is asked to become a spectrogram, or audio to be the array that it is not.
    """
    name = f"stimulus {stimulus.name}"
    if settings.kind == "array":
        if stimulus.kind != "array":
            raise StimulusError(f"{name}: is audio, not an array; set features.kind to mel, envelope or encoder")
        feature = filtered(array_feature(*stimulus.array(), name), settings, name)
    elif stimulus.kind != "audio":
        raise StimulusError(f"{name}: is an array, not audio; set features.kind to array")
    elif settings.kind == "envelope":
        audio = read_audio(stimulus.path, settings.audio_rate)
        feature = filtered(envelope(audio, settings, name), settings, name)
    else:
        if settings.kind == "mel":
            rate, step = settings.audio_rate, settings.hop
        else:
            encoder = encoder or load_encoder(settings)
            rate, step = encoder.sample_rate, encoder.intake.grid.step

        def describe(audio: np.ndarray, name: str) -> Feature:
            return log_mel(audio, settings, name) if encoder is None else encode(audio, encoder, settings, name)

        cut_at = borders if settings.extent == "block" else ()
        samples = read_audio(stimulus.path, rate)
        feature = describe_pieces(samples, rate, step, cut_at, describe, name, silence_of(settings))
    return replace(feature, values=feature.values.astype(settings.dtype, copy=False))


def silence_of(settings: FeatureSettings) -> float:
    """Value of a frame in which there is no sound: the floor of log-mel, 0 of hidden states (section 4.8)."""
    return math.log10(settings.log_floor) if settings.kind == "mel" else 0.0


def feature_key(settings: FeatureSettings, borders: Mapping[str, Sequence[float]] | None = None) -> str:
    """Twelve hexadecimal digits that stand for what a kind of feature is made of."""
    values = settings.model_dump(mode="json")
    parts: list[Any] = [VERSION, settings.kind, {key: values[key] for key in USED[settings.kind]}]
    if settings.kind == "encoder" and settings.remove_position:
        parts.append("remove_position")
    if settings.extent == "block":  # to the millisecond: clocks of recordings differ by less than borders do
        parts.append({name: [round(float(b), 3) for b in at] for name, at in sorted((borders or {}).items())})
    return sha256_of_value(parts)[:12]


def _index(settings: FeatureSettings, entries: dict[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "settings": settings.model_dump(mode="json"), "stimuli": dict(sorted(entries.items()))}


def _read_index(folder: Path, missing_ok: bool = False) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = read_json(path)
        if index["schema"] == SCHEMA:
            return dict(index["stimuli"])
    except FileNotFoundError:
        if missing_ok:
            return {}
        raise StimulusError(f"{folder}: no {INDEX} in it; make it with: neurodecode features STORE") from None
    except (ValueError, KeyError, TypeError):
        pass
    if missing_ok:
        return {}  # damaged or of another schema: computed again
    raise StimulusError(f"{path}: damaged, or written by another version; run neurodecode features again")


def _extent(folder: Path) -> str:
    """Extent of the settings that stand in a folder's index; what was written before there was a choice is whole."""
    return str(read_json(folder / INDEX)["settings"].get("extent", "stimulus"))


def _is_done(folder: Path, entry: dict[str, Any] | None, sha256: str, maker: str | None) -> bool:
    if entry is None or entry["sha256_stimulus"] != sha256:
        return False
    if maker is not None and entry.get("maker") != maker:
        return False
    values = _load(folder / entry["file"])
    return values is not None and sha256_of_array(np.asarray(values)) == entry["sha256"]


def _load(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def _write(folder: Path, stimulus: StoredStimulus, feature: Feature) -> dict[str, Any]:
    file = f"{stimulus.name}.npy"
    with atomic_path(folder / file) as temporary, open(temporary, "wb") as opened:
        np.save(opened, feature.values)
    return {
        "file": file,
        "sha256_stimulus": stimulus.sha256,
        "sha256": sha256_of_array(feature.values),
        "frames": len(feature.values),
        "dimension": feature.values.shape[1],
        "rate": feature.rate,
        "t0": feature.t0,
    }


def _refuse_other_dimension(entries: dict[str, Any], stimulus: StoredStimulus) -> None:
    first = next(iter(sorted(entries)))
    here, there = entries[stimulus.name]["dimension"], entries[first]["dimension"]
    if here != there:
        raise StimulusError(
            f"stimulus {stimulus.name}: has {here} dimensions, {first} has {there}; arrays of a cohort must agree"
        )
