"""Where the sensors of one subject are, and how strongly each sees the sources and the brain's background.

In: settings and a subject's random generator. Out: `Sensors`: an MNE Info with positions, the gain [channels, sources]
and the spatial covariance of the background. MEG and EEG gains come from MNE's sphere model; contacts of sEEG see a
current dipole in a homogeneous medium, which falls off with the square of the distance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neurodecode.config.simulation import SimulationSettings
from neurodecode.simulation.response import source_geometry

if TYPE_CHECKING:
    from mne import Info
    from mne.channels import DigMontage

CENTRE = np.array([0.0, 0.0, 0.04])  # m, of the spherical head, head frame
HEAD_RADIUS = 0.09  # m
HELMET_RADIUS = 0.12  # m
BACKGROUND_DIPOLES = 300
SHAFT_CONTACTS = 10  # contacts of a shaft
CONTACT_SPACING = 0.0035  # m
CONTACT_SOFTENING = 0.004  # m, keeps the field of a dipole beside a contact finite
NEIGHBOUR_DISTANCE = 0.008  # m, over which the background of contacts is alike
# Shafts in the order in which they are placed: name without side, entry and target (m, right side), regions out to in.
SHAFTS = (
    ("T", (0.074, -0.004, 0.052), (0.036, -0.008, 0.056), ("superior-temporal", "heschl")),
    ("H", (0.072, -0.026, 0.058), (0.034, -0.026, 0.058), ("superior-temporal", "insula")),
    ("B", (0.072, -0.012, 0.030), (0.034, -0.018, 0.030), ("middle-temporal", "hippocampus")),
    ("S", (0.072, 0.022, 0.044), (0.034, 0.018, 0.042), ("superior-temporal", "temporal-pole")),
    ("F", (0.058, 0.046, 0.058), (0.020, 0.046, 0.062), ("inferior-frontal", "cingulate")),
    ("P", (0.062, -0.050, 0.078), (0.024, -0.050, 0.074), ("supramarginal", "posterior-cingulate")),
)


@dataclass
class Sensors:
    """The sensors of one subject.

    Attributes
    ----------
    info
        MNE Info with positions (head frame; MEG: device frame and the transform to the head).
    gain
        [channels, sources], scaled so that the largest entry of the unrotated geometry is about 1.
    covariance
        [channels, channels] of the background, mean variance 1.
    level
        Typical size of the background, V or T.
    positions
        [channels, 3] in the head frame, m.
    regions, shafts
        One a channel, sEEG only.
    """

    info: Info
    gain: np.ndarray
    covariance: np.ndarray
    level: float
    positions: np.ndarray
    regions: list[str] = field(default_factory=list)
    shafts: list[str] = field(default_factory=list)


def make_sensors(
    settings: SimulationSettings, rng: np.random.Generator, moved: np.random.Generator | None = None
) -> Sensors:
    """Place one subject's sensors and compute what they see.

    With `moved`, after the head or the cap has moved by about `settings.movement`; all else that `rng` draws stays.

    Between subjects differ: the position of the head in the helmet (or of the cap, or of the shafts), the orientation
    of each source, the sign of each hemisphere's sources (folding), source strengths and sensor gains.
    """
    positions, orientations = source_geometry()
    orientations = rotate(orientations, np.deg2rad(settings.orientation_spread), rng)
    strength = np.exp(settings.gain_spread * rng.standard_normal(len(positions)))
    if settings.orientation_spread > 0:
        strength *= np.repeat(rng.choice([-1.0, 1.0], size=2, p=[0.2, 0.8]), len(positions) // 2)
    sensor_gain = np.exp(0.3 * settings.gain_spread * rng.standard_normal(settings.channels))
    build = {"meg": _meg, "eeg": _eeg, "seeg": _seeg}[settings.modality]
    sensors = build(settings, positions, orientations, rng, moved)
    sensors.gain = sensors.gain * strength * sensor_gain[:, None]
    sensors.covariance = sensors.covariance * np.outer(sensor_gain, sensor_gain)
    return sensors


def rotate(vectors: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Turn unit vectors by a normally distributed angle (rad) about random axes."""
    axis = np.cross(vectors, rng.standard_normal(vectors.shape))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)  # perpendicular to the vector
    angle = spread * rng.standard_normal((len(vectors), 1))
    return np.cos(angle) * vectors + np.sin(angle) * np.cross(axis, vectors)


def _sphere_gain(info: Info, positions: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Gain [channels, dipoles] in V or T per A m, by MNE's sphere model."""
    import mne

    n = len(positions)
    sphere = mne.make_sphere_model(r0=CENTRE, head_radius=HEAD_RADIUS, verbose="error")
    dipoles = mne.Dipole(np.arange(n) / 1000, positions, np.ones(n), orientations, np.ones(n))
    forward, _ = mne.make_forward_dipole(dipoles, sphere, info, verbose="error")
    return np.asarray(forward["sol"]["data"])


def _with_background(
    info: Info, positions: np.ndarray, orientations: np.ndarray, level: float, place: np.ndarray
) -> Sensors:
    """Gains of the sources, and the covariance of many like dipoles all over the brain."""
    rng = np.random.default_rng(20_000)  # the same brain background in every cohort
    directions = rng.standard_normal((BACKGROUND_DIPOLES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radius = rng.uniform(0.03, 0.075, size=(BACKGROUND_DIPOLES, 1))
    ori = rng.standard_normal((BACKGROUND_DIPOLES, 3))
    ori /= np.linalg.norm(ori, axis=1, keepdims=True)
    both = _sphere_gain(
        info, np.concatenate([positions, CENTRE + radius * directions]), np.concatenate([orientations, ori])
    )
    if info.get_channel_types(unique=True) == ["eeg"]:
        both = both - both.mean(axis=0)  # average reference
    gain, background = both[:, : len(positions)], both[:, len(positions) :]
    covariance = background @ background.T
    return Sensors(info, gain / np.abs(gain).max(), covariance * len(gain) / np.trace(covariance), level, place)


def _meg(
    settings: SimulationSettings,
    positions: np.ndarray,
    orientations: np.ndarray,
    rng: np.random.Generator,
    moved: np.random.Generator | None,
) -> Sensors:
    """Radial point magnetometers, evenly spread over a helmet; the head sits in it a little differently each time."""
    import mne
    from mne.io.constants import FIFF

    n = settings.channels
    index = np.arange(n)
    height = 1 - (index + 0.5) / n * 1.35  # Fibonacci lattice from the top down to 110 degrees
    angle = index * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    normal = np.c_[ring * np.cos(angle), ring * np.sin(angle), height]
    info = mne.create_info([f"MEG {i + 1:03d}" for i in range(n)], settings.sfreq, "mag")
    for channel, outward in zip(info["chs"], normal):
        first = np.cross(outward, [0.3, 0.9, 0.1])
        first /= np.linalg.norm(first)
        channel["coil_type"] = FIFF.FIFFV_COIL_POINT_MAGNETOMETER
        channel["loc"][:12] = np.r_[CENTRE + HELMET_RADIUS * outward, first, np.cross(outward, first), outward]
    transform = np.eye(4)
    # the head stays inside the helmet
    shift = settings.position_spread * rng.standard_normal(3)
    tilt = settings.position_spread / HEAD_RADIUS * rng.standard_normal(3)
    if moved is not None:
        shift += settings.movement * moved.standard_normal(3)
        tilt += settings.movement / HEAD_RADIUS * moved.standard_normal(3)
    shift, tilt = np.clip(shift, -0.018, 0.018), np.clip(tilt, -0.2, 0.2)
    rotation = mne.transforms.rotation(*tilt)[:3, :3]
    transform[:3, :3] = rotation
    transform[:3, 3] = CENTRE - rotation @ CENTRE + shift  # turned about the centre of the head, then moved
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", transform)
    place = mne.transforms.apply_trans(transform, CENTRE + HELMET_RADIUS * normal)
    info.set_montage(_fiducials())
    return _with_background(info, positions, orientations, 3e-13, place)


def _fiducials() -> DigMontage:
    import mne

    return mne.channels.make_dig_montage(
        nasion=[0, HEAD_RADIUS, 0], lpa=[-HEAD_RADIUS, 0, 0], rpa=[HEAD_RADIUS, 0, 0], coord_frame="head"
    )


def _eeg(
    settings: SimulationSettings,
    positions: np.ndarray,
    orientations: np.ndarray,
    rng: np.random.Generator,
    moved: np.random.Generator | None,
) -> Sensors:
    """The smallest BioSemi cap with enough electrodes, thinned evenly; the cap sits a little differently each time."""
    import mne

    size = next(size for size in (16, 32, 64, 128, 256) if size >= settings.channels)
    cap = mne.channels.make_standard_montage(f"biosemi{size}")
    keep = np.unique(np.linspace(0, size - 1, settings.channels).round().astype(int))
    names = [cap.ch_names[i] for i in keep]
    outward = np.array([cap.get_positions()["ch_pos"][name] for name in names])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    tilt = settings.position_spread / HEAD_RADIUS * rng.standard_normal(3)
    if moved is not None:
        tilt += settings.movement / HEAD_RADIUS * moved.standard_normal(3)
    tilt = np.clip(tilt, -0.3, 0.3)
    place = CENTRE + HEAD_RADIUS * outward @ mne.transforms.rotation(*tilt)[:3, :3].T
    info = mne.create_info(names, settings.sfreq, "eeg")
    info.set_montage(
        mne.channels.make_dig_montage(
            dict(zip(names, place)),
            nasion=[0, HEAD_RADIUS, 0],
            lpa=[-HEAD_RADIUS, 0, 0],
            rpa=[HEAD_RADIUS, 0, 0],
            coord_frame="head",
        )
    )
    return _with_background(info, positions, orientations, 1e-5, place)


def _seeg(
    settings: SimulationSettings,
    positions: np.ndarray,
    orientations: np.ndarray,
    rng: np.random.Generator,
    moved: np.random.Generator | None,
) -> Sensors:
    """Shafts of contacts, left ones primed; each subject has another choice of shafts, each a little displaced."""
    import mne

    n_shafts = int(np.ceil(settings.channels / SHAFT_CONTACTS))
    candidates = [(shaft, side) for shaft in SHAFTS for side in (1.0, -1.0)]
    order = [0, 1, *(2 + rng.permutation(len(candidates) - 2))]  # both auditory shafts always, then any
    names: list[str] = []
    regions: list[str] = []
    shafts: list[str] = []
    places: list[np.ndarray] = []
    for number in range(n_shafts):
        round_, which = divmod(number, len(candidates))
        (letter, entry, target, areas), side = candidates[order[which]]
        mirror = np.array([side, 1.0, 1.0])
        displaced = 0.3 * settings.position_spread * rng.standard_normal(3) + np.array([0.0, 0.006 * round_, 0.0])
        begin, end = np.array(target) * mirror + displaced, np.array(entry) * mirror + displaced
        direction = (end - begin) / np.linalg.norm(end - begin)
        shaft = letter + (chr(ord("a") + round_ - 1) if round_ else "") + ("'" if side < 0 else "")
        for contact in range(min(SHAFT_CONTACTS, settings.channels - len(names))):
            names.append(f"{shaft}{contact + 1}")  # 1 is the deepest
            shafts.append(shaft)
            regions.append(f"{areas[1 if contact < SHAFT_CONTACTS // 2 else 0]}-{'left' if side < 0 else 'right'}")
            places.append(begin + contact * CONTACT_SPACING * direction)
    place = np.array(places)
    info = mne.create_info(names, settings.sfreq, "seeg")
    for channel, xyz in zip(info["chs"], place):
        channel["loc"][:3] = xyz
    apart = place[:, None] - positions  # [contacts, sources, 3]
    square = (apart**2).sum(axis=2) + CONTACT_SOFTENING**2
    gain = (apart * orientations).sum(axis=2) / square**1.5
    between = np.linalg.norm(place[:, None] - place, axis=2)
    return Sensors(info, gain * 0.01**2, np.exp(-between / NEIGHBOUR_DISTANCE), 4e-5, place, regions, shafts)
