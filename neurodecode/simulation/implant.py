"""Depth electrodes of a patient who speaks: shafts, regions, and how strongly each contact sees the planted sources.

In: settings and a patient's random generator. Out: `Sensors` with gain [contacts, sources], regions and shafts. Sources lie
beside contacts of the planted regions only and fade out within `REACH`, so that contacts elsewhere see nothing of them but
what volume conduction over a border brings.
"""

from __future__ import annotations

import numpy as np

from neurodecode.config.simulation import SimulationSettings, WordSettings
from neurodecode.errors import SettingsError
from neurodecode.simulation.sensors import CONTACT_SPACING, Sensors

SOURCES_PER_REGION = 4
CONTACTS = (8, 12)  # of a shaft, from fewest to most
WIDTH, REACH = 0.003, 0.008  # m: the distance at which a source is half as strong; beyond reach it is not seen
NEIGHBOUR = 0.008  # m, over which the background of contacts is alike
COMMON = 0.3  # variance that all contacts share, through the reference electrode, relative to their own
LEVEL = 4e-5  # V, typical size of the background
# Name without side; entry and target (m, right side); regions from the outside in, each with its share of the shaft.
SHAFTS = (
    ("A", (0.066, 0.006, 0.076), (0.030, 0.004, 0.072), (("vSMC", 0.5), ("insula", 0.5))),
    ("T", (0.074, -0.010, 0.052), (0.036, -0.014, 0.056), (("STG", 0.5), ("Heschl", 0.5))),
    ("B", (0.072, -0.012, 0.030), (0.034, -0.018, 0.030), (("MTG", 0.6), ("hippocampus", 0.4))),
    ("C", (0.070, 0.022, 0.030), (0.034, 0.018, 0.032), (("temporal-pole", 0.6), ("amygdala", 0.4))),
    ("F", (0.058, 0.046, 0.058), (0.020, 0.046, 0.062), (("IFG", 0.5), ("cingulate", 0.5))),
    ("M", (0.050, 0.040, 0.090), (0.016, 0.040, 0.086), (("MFG", 0.6), ("SMA", 0.4))),
    ("P", (0.062, -0.050, 0.078), (0.024, -0.050, 0.074), (("SMG", 0.5), ("precuneus", 0.5))),
    ("O", (0.044, -0.070, 0.060), (0.012, -0.070, 0.056), (("occipital", 0.6), ("cuneus", 0.4))),
)
KNOWN = tuple(region for *_, regions in SHAFTS for region, _ in regions)


def implant(settings: SimulationSettings, words: WordSettings, rng: np.random.Generator) -> Sensors:
    """Place one patient's shafts: left ones through the planted regions, then others on either side.

    Raises
    ------
    SettingsError
        If a region is unknown, or the contacts do not suffice for a shaft through each planted region.
    """
    unknown = [region for region in words.regions if region not in KNOWN]
    if unknown:
        raise SettingsError(f"words.regions: {unknown[0]} is not simulated; choose among {', '.join(KNOWN)}")
    spread = words.channel_spread
    count = round(settings.channels * (1 + rng.uniform(-spread, spread)))
    planted = [i for i, (*_, regions) in enumerate(SHAFTS) if {r for r, _ in regions} & set(words.regions)]
    others = [(i, side) for i in range(len(SHAFTS)) for side in (-1.0, 1.0) if i not in planted]
    order = [(i, -1.0) for i in planted] + [others[i] for i in rng.permutation(len(others))]
    names: list[str] = []
    regions: list[str] = []
    shafts: list[str] = []
    places: list[np.ndarray] = []
    number = 0
    while len(names) < count:
        round_, which = divmod(number, len(order))
        letter, entry, target, areas = SHAFTS[order[which][0]]
        side = order[which][1]
        if round_ and which < len(planted):  # a second shaft goes through other regions only
            number += 1
            continue
        n = min(int(rng.integers(CONTACTS[0], CONTACTS[1] + 1)), count - len(names))
        outer = np.array([side, 1.0, 1.0]) * entry
        inner = np.array([side, 1.0, 1.0]) * target
        inward = (inner - outer) / np.linalg.norm(inner - outer)
        moved = outer + 0.3 * settings.position_spread * rng.standard_normal(3) + np.array([0, 0.007 * round_, 0])
        shaft = letter + (chr(ord("a") + round_ - 1) if round_ else "") + ("'" if side < 0 else "")
        outermost = round(areas[0][1] * n)
        for contact in range(n):  # contact 1 is the deepest
            names.append(f"{shaft}{contact + 1}")
            shafts.append(shaft)
            regions.append(areas[0][0] if n - 1 - contact < outermost else areas[1][0])
            places.append(moved + (n - 1 - contact) * CONTACT_SPACING * inward)
        number += 1
    missing = [region for region in words.regions if region not in regions]
    if missing:
        raise SettingsError(
            f"channels: {settings.channels} leave none for {missing[0]}; give more channels or fewer regions"
        )
    return _sensors(settings, words, names, regions, shafts, np.array(places), rng)


def _sensors(
    settings: SimulationSettings,
    words: WordSettings,
    names: list[str],
    regions: list[str],
    shafts: list[str],
    place: np.ndarray,
    rng: np.random.Generator,
) -> Sensors:
    import mne

    sources = []
    for region in words.regions:
        near = place[np.array(regions) == region]
        # spread over the region's contacts, so that no patient's sources all sit beside one of them
        chosen = near[np.linspace(0, len(near) - 1, SOURCES_PER_REGION).round().astype(int)]
        sources.append(chosen + 0.0015 * rng.standard_normal(chosen.shape))
    distance = np.linalg.norm(place[:, None] - np.concatenate(sources), axis=2)  # [contacts, sources]
    gain = np.where(distance < REACH, 1 / (1 + (distance / WIDTH) ** 2), 0.0)
    strength = np.exp(settings.gain_spread * rng.standard_normal(gain.shape[1]))
    folding = rng.choice([-1.0, 1.0], size=gain.shape[1])  # on which wall of its sulcus a source lies
    contact = np.exp(0.3 * settings.gain_spread * rng.standard_normal(len(names)))
    info = mne.create_info(names, settings.sfreq, "seeg")
    for channel, xyz in zip(info["chs"], place):
        channel["loc"][:3] = xyz
    between = np.linalg.norm(place[:, None] - place, axis=2)
    covariance = (np.exp(-between / NEIGHBOUR) + COMMON) / (1 + COMMON) * np.outer(contact, contact)
    return Sensors(info, gain * strength * folding * contact[:, None], covariance, LEVEL, place, regions, shafts)
