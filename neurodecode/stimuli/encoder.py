"""Audio -> hidden states of a pretrained speech network, read through transformers (specification section 4.8).

In: float32 [samples] at the network's own rate. Out: a Feature [frames, dimensions], the mean of some hidden states, with
rate and t0 that follow from the network's kernels and strides (`stimuli.frames`).

Long audio is taken in passes of `context` seconds, all of one length, spread evenly over the recording. Neighbours share at
least `overlap` seconds; where they meet, in the middle of what they share, one fades into the other over half the overlap,
and what lies nearer to the end of a pass, where the network knows one side only, is not used. So there is no step at a border.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurodecode.config import FeatureSettings
from neurodecode.errors import StimulusError
from neurodecode.stimuli.feature import Feature
from neurodecode.stimuli.frames import Intake, intake_of
from neurodecode.stimuli.positions import position_template

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
HUB_PATIENCE = 20.0  # s to wait for the hub
SEED = 2036  # of weights that were never trained
SAMPLE = 1 << 20  # bytes at both ends of a file of weights that tell one from another
UNUSED = ("masked_spec_embed", "decoder.")  # weights that no hidden state of an encoder depends on


@dataclass(frozen=True)
class SpeechEncoder:
    """A network that is ready to be asked.

    Attributes
    ----------
    name
        Folder or hub name, for messages.
    network
        In evaluation mode.
    intake
        What turns audio into its input.
    layers
        Hidden states to average, counted from 0.
    device
        Where the network is.
    maker
        Stands for the content of the model.
    template
        Taken from the states of each pass, [positions, dimensions]; None takes nothing.
    """

    name: str
    network: nn.Module
    intake: Intake
    layers: tuple[int, ...]
    device: torch.device
    maker: str
    template: np.ndarray | None = None

    @property
    def sample_rate(self) -> float:
        """Rate of the audio that it hears, Hz."""
        return self.intake.grid.sample_rate

    @torch.inference_mode()
    def states(self, inputs: dict[str, torch.Tensor], n_frames: int) -> np.ndarray:
        """Mean of the hidden states of one pass, float32 [n_frames, dimensions].

        Raises
        ------
        StimulusError
            If the network gives another number of frames than its kernels and strides say.
        """
        moved = {key: value.to(self.device) for key, value in inputs.items()}
        hidden = self.network(**moved, output_hidden_states=True, return_dict=True).hidden_states
        chosen = [hidden[layer] for layer in self.layers]  # each [1, frames, dimensions]
        frames = chosen[0].shape[1]
        if frames != (self.intake.longest or n_frames):
            raise StimulusError(
                f"features.encoder: {self.name} gives {frames} frames where its kernels and strides say {n_frames}, so "
                "that they cannot be timed; use another encoder"
            )
        states = torch.stack(chosen).mean(0)[0, :n_frames].float().cpu().numpy()
        return states if self.template is None else states - self.template[:n_frames]


def encode(audio: np.ndarray, encoder: SpeechEncoder, settings: FeatureSettings, name: str) -> Feature:
    """Hidden states of a recording.

    Parameters
    ----------
    audio
        [samples] float32 at `encoder.sample_rate`.
    encoder
        As `load_encoder` gives it.
    settings
        `context`, `overlap` and `dtype`.
    name
        Of the stimulus, for messages.

    Returns
    -------
    Feature
        [frames, dimensions] of the type on disk.

    Raises
    ------
    StimulusError
        If the audio is silent or shorter than a frame, the context does not fit the network, or a state is not finite.
    """
    grid = encoder.intake.grid
    n_frames = encoder.intake.count(len(audio))
    if n_frames < 1:
        raise StimulusError(
            f"{name}: lasts {len(audio) / encoder.sample_rate:.3f} s, a frame of the encoder sees "
            f"{grid.field / encoder.sample_rate:.3f} s"
        )
    if not audio.std(dtype=np.float64) > 0:
        raise StimulusError(f"{name}: the audio is silent from start to end; replace it, or leave the run out")
    width, overlap = _pass_length(encoder, settings)
    cut = encoder.intake.open(audio)
    result: np.ndarray | None = None
    for first, last, weight in passes(n_frames, width, overlap):
        states = encoder.states(cut(first, last), last - first)
        if result is None:
            result = np.zeros((n_frames, states.shape[1]), settings.dtype)
        used = np.flatnonzero(weight)
        with np.errstate(over="ignore"):  # looked at below
            result[first + used] += (weight[used, None] * states[used]).astype(settings.dtype)
    assert result is not None
    if not np.isfinite(result).all():
        hint = "set features.dtype to float32" if settings.dtype == "float16" else "the model is damaged"
        raise StimulusError(f"{name}: the encoder's states leave the range of {settings.dtype}; {hint}")
    return Feature(result, grid.rate, grid.t0)


def passes(n_frames: int, width: int, overlap: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Passes over a recording: (first frame, last frame + 1, weight of each frame in the result).

    All passes are `width` long, or there is one. The weights of all passes add up to 1 at each frame.
    """
    if n_frames <= width:
        yield 0, n_frames, np.ones(n_frames, np.float32)
        return
    count = 1 + -(-(n_frames - width) // (width - overlap))
    starts = np.linspace(0, n_frames - width, count).round().astype(int)
    borders = (starts[1:] + starts[:-1] + width) / 2  # middle of what two neighbours share
    frames = np.arange(n_frames) + 0.5
    for number, start in enumerate(starts):
        here = frames[start : start + width]
        weight = np.ones(width)
        if number:
            weight -= 1 - _risen(here, borders[number - 1], overlap / 2)
        if number < count - 1:
            weight -= _risen(here, borders[number], overlap / 2)
        yield int(start), int(start) + width, weight.astype(np.float32)


def _risen(frames: np.ndarray, border: float, length: float) -> np.ndarray:
    """0 before a border, 1 after it, a straight line of this length across it."""
    return np.clip((frames - border) / max(length, 1e-9) + 0.5, 0, 1)


def _pass_length(encoder: SpeechEncoder, settings: FeatureSettings) -> tuple[int, int]:
    """Frames of a pass, and how many of them the next one shares."""
    rate, longest = encoder.intake.grid.rate, encoder.intake.longest
    overlap = round(settings.overlap * rate)
    if settings.context is None:
        if longest is None:
            return 1 << 62, 0
        width = longest
        if overlap > width // 2:
            raise StimulusError(
                f"features.overlap: {settings.overlap:g} s; at most {width / rate / 2:g} s for this encoder"
            )
        return width, overlap
    width = round(settings.context * rate)
    if longest is not None and width > longest:
        raise StimulusError(
            f"features.context: {settings.context:g} s, {encoder.name} takes at most {longest / rate:g} s; lower it, or "
            "set it to null"
        )
    if width < 2 * max(1, overlap):
        raise StimulusError(f"features.context: {settings.context:g} s is less than two frames; raise it")
    return width, overlap


def load_encoder(settings: FeatureSettings) -> SpeechEncoder:
    """Load the network that `settings.encoder` names, on CUDA where there is a device.

    A folder is read as it is. A hub name is looked up among what was downloaded before, and downloaded if it is not there.

    Raises
    ------
    StimulusError
        If transformers is not installed, there is no such model, a weight is missing from it, or it is of a kind whose
        frames cannot be timed; or if it has no such layer.
    """
    if importlib.util.find_spec("transformers") is None:
        raise StimulusError(
            "features.kind: encoder needs the package transformers; install it with: pip install 'neurodecode[speech]'"
        )
    name = settings.encoder
    folder = _folder(name)
    with _quiet():
        if folder is not None:
            extractor, model = _from_disk(str(folder), name, settings.random_weights)
        else:
            extractor, model = _from_hub(name, settings.random_weights)
    maker = fingerprint(name) or str(getattr(model.config, "_commit_hash", None) or name)
    network = model.get_encoder() if model.config.is_encoder_decoder else model
    intake = intake_of(extractor, network, name)
    layers = _layers(network, settings.layers, name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.requires_grad_(False).float().eval().to(device)
    encoder = SpeechEncoder(name, network, intake, layers, device, maker)
    return replace(encoder, template=position_template(encoder)) if settings.remove_position else encoder


def fingerprint(name: str) -> str | None:
    """What stands for the content of a model in a folder, or None for a model that is not in a folder here.

    Twelve hexadecimal digits of its settings, and of size and both ends of each file of weights.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".json", ".safetensors", ".bin"} and p.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with open(path, "rb") as file:
            digest.update(file.read(SAMPLE))
            file.seek(max(0, size - SAMPLE))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:12]


def release() -> None:
    """Give the device memory of networks that are gone back, so that others see it as free."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _folder(name: str) -> Path | None:
    """The folder that is meant, or None for a hub name."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        for needed in ("config.json", "preprocessor_config.json"):
            if not (folder / needed).is_file():
                raise StimulusError(
                    f"features.encoder: {name} holds no {needed}, so it is not a saved speech model; save one there with: "
                    "hf download NAME --local-dir FOLDER"
                )
        return folder
    if name.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(name):
        raise StimulusError(
            f"features.encoder: there is no folder {name}; give a folder that holds config.json, or a name on the hub "
            "such as facebook/wav2vec2-large-xlsr-53"
        )
    return None


def _from_disk(source: str, name: str, random_weights: bool) -> tuple[Any, Any]:
    try:
        return _load(source, random_weights, local_files_only=True)
    except StimulusError as error:
        raise StimulusError(f"features.encoder: {name}: {error}; save it anew") from None
    except Exception as error:  # transformers and what it reads with raise whatever they like
        raise StimulusError(f"features.encoder: {name} cannot be loaded ({_first_line(error)}); save it anew") from None


def _from_hub(name: str, random_weights: bool) -> tuple[Any, Any]:
    try:
        return _load(name, random_weights, local_files_only=True)
    except Exception:  # not here, or not whole: the second try says what is wrong
        pass
    try:
        from huggingface_hub import HfApi

        HfApi().model_info(name, timeout=HUB_PATIENCE)  # without it, each file is asked for again and again for 23 s
        return _load(name, random_weights, local_files_only=False)
    except StimulusError as error:
        raise StimulusError(f"features.encoder: {name}: {error}; use another encoder") from None
    except Exception as error:
        raise StimulusError(
            f"features.encoder: {name} is no folder, was not downloaded before, and cannot be now ({_first_line(error)}); "
            f"where there is a network run: hf download {name} --local-dir FOLDER, copy FOLDER here and set "
            "features.encoder=FOLDER"
        ) from None


def _load(source: str, random_weights: bool, local_files_only: bool) -> tuple[Any, Any]:
    """Feature extractor and whole model."""
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(source, local_files_only=local_files_only)
    if random_weights:
        config = AutoConfig.from_pretrained(source, local_files_only=local_files_only)
        with torch.random.fork_rng(devices=[]):  # drawing them must not change what is drawn next elsewhere
            torch.manual_seed(SEED)
            return extractor, AutoModel.from_config(config)
    model, found = AutoModel.from_pretrained(source, local_files_only=local_files_only, output_loading_info=True)
    absent = sorted(key for key in found["missing_keys"] if not key.startswith(UNUSED))
    if absent:  # transformers would fill them with random numbers
        raise StimulusError(f"{len(absent)} weights are missing from it (first: {absent[0]})")
    return extractor, model


def _layers(network: nn.Module, wanted: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Numbers of hidden states, counted from 0; blocks that no wanted state depends on are taken off."""
    owner: Any = network if hasattr(network, "layers") else getattr(network, "encoder", None)
    if not isinstance(getattr(owner, "layers", None), nn.ModuleList):
        raise StimulusError(f"features.encoder: {name} has no list of blocks; use another encoder")
    count = len(owner.layers)  # there is one state more
    for layer in wanted:
        if not -count - 1 <= layer <= count:
            raise StimulusError(f"features.layers: {layer}; {name} has the hidden states 0..{count} (-1 is {count})")
    layers = tuple(layer % (count + 1) for layer in wanted)
    # the last block that is kept is not the last wanted one: the state after the last block is normalised
    owner.layers = owner.layers[: max(layers) + 1]
    return layers


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from announcing weights that are not used and from drawing progress bars."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
