"""Channels derived along shafts: which contacts are subtracted from which, by name alone.

    bipolar(["A'1", "A'2", "A'4"], ["seeg"] * 3, bads={}).derivations     # A'1-A'2; A'4 has no neighbour

In: names and MNE types of contacts, which of them are bad, places where known (m). Out: derivations in the order of the
file, and every contact that is in none of them with its reason. Neighbours carry consecutive numbers on one shaft: a
contact that was not recorded, or is bad, leaves a gap that nothing is derived across.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from neurodecode.channels.shafts import bare_name, contact_of

# Neighbours lie within so many times the median step of their strip or shaft. The end of a grid's row lies farther, about
# seven times in a row of 8. Some depth electrodes carry their contacts in groups, up to four steps apart.
FAR = {"ecog": 2.0, "seeg": 5.0, "dbs": 5.0}
LONGEST = {
    "ecog": 16,
    "seeg": 24,
    "dbs": 24,
}  # contacts of a strip or shaft; more of them under one name are likely a grid


@dataclass(frozen=True)
class Derivation:
    """One derived channel: `plus` minus the mean of `minus`.

    Attributes
    ----------
    name
        `A'1-A'2`, or `A'2-(A'1+A'3)`.
    plus
        Name of the recorded contact that it starts from.
    minus
        Names of the recorded contacts whose mean is subtracted.
    points
        Names of the contacts whose mean position is that of the derived channel.
    """

    name: str
    plus: str
    minus: tuple[str, ...]
    points: tuple[str, ...]

    def region(self, regions: Mapping[str, str]) -> str:
        """The region of its position: that of `points` where they agree, else ""."""
        found = {regions.get(name, "") for name in self.points}
        return found.pop() if len(found) == 1 else ""


@dataclass
class Montage:
    """What can be derived from the contacts of a recording.

    Attributes
    ----------
    derivations
        In the order of the file, by `plus`.
    left_out
        Contact -> why it is in no derivation.
    gaps
        Consecutive contacts of a shaft, each recorded and good, that are no neighbours: `A'2 and A'10`.
    doubts
        What cannot be told from names, one line each.
    """

    derivations: list[Derivation] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def by_shaft(names: list[str], types: list[str]) -> tuple[dict[tuple[str, str], dict[int, str]], dict[str, str]]:
    """Sort contacts onto shafts.

    Parameters
    ----------
    names, types
        Of the intracranial channels.

    Returns
    -------
    tuple
        (type, shaft) -> number -> name, numbers ascending; and the channels without a sure place, with the reason.
    """
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    unplaced = {}
    for name, kind in zip(names, types):
        contact = contact_of(name)
        if contact is None:
            unplaced[name] = "its name states no shaft and number"
        else:
            found.setdefault((kind, contact.shaft), {}).setdefault(contact.number, []).append(name)
    shafts: dict[tuple[str, str], dict[int, str]] = {}
    for key, numbers in found.items():
        for number, same in sorted(numbers.items()):
            if len(same) > 1:  # A'2 beside A'02: nothing says which is the second contact
                unplaced |= {name: f"{' and '.join(same)} state the same contact" for name in same}
            else:
                shafts.setdefault(key, {})[number] = same[0]
    return shafts, unplaced


def bipolar(
    names: list[str], types: list[str], bads: Collection[str], places: Mapping[str, np.ndarray] | None = None
) -> Montage:
    """Each contact minus the next one of its shaft; the position is the midpoint.

    Parameters
    ----------
    names, types
        Of the intracranial channels, in the order of the file.
    bads
        Channels that enter no derivation.
    places
        Name -> position [3], m, where known; consecutive contacts that lie far apart (rows of a grid) are no neighbours.
    """
    shafts, montage = _good_shafts(names, types, bads)
    for (kind, shaft), contacts in shafts.items():
        steps = _steps(kind, shaft, contacts, places or {}, montage)
        for number in sorted(steps):
            first, second = contacts[number], contacts[number + 1]
            name = f"{bare_name(first)}-{bare_name(second)}"
            montage.derivations.append(Derivation(name, first, (second,), (first, second)))
    return _finish(montage, names, "no neighbour on its shaft")


def laplacian(
    names: list[str], types: list[str], bads: Collection[str], places: Mapping[str, np.ndarray] | None = None
) -> Montage:
    """Each contact minus the mean of its two neighbours; the position is the centre. Parameters as in `bipolar`.

    A contact with one neighbour, at an end or beside a gap, has no Laplacian: with one neighbour it would be a bipolar
    channel under another name.
    """
    shafts, montage = _good_shafts(names, types, bads)
    for (kind, shaft), contacts in shafts.items():
        steps = _steps(kind, shaft, contacts, places or {}, montage)
        for number in sorted(steps & {step + 1 for step in steps}):
            before, centre, after = (contacts[number + k] for k in (-1, 0, 1))
            name = f"{bare_name(centre)}-({bare_name(before)}+{bare_name(after)})"
            montage.derivations.append(Derivation(name, centre, (before, after), (centre,)))
    return _finish(montage, names, "no two neighbours on its shaft")


def _good_shafts(
    names: list[str], types: list[str], bads: Collection[str]
) -> tuple[dict[tuple[str, str], dict[int, str]], Montage]:
    shafts, unplaced = by_shaft(names, types)
    left_out = unplaced | {name: "bad" for name in names if name in bads}
    good = {key: {n: name for n, name in contacts.items() if name not in bads} for key, contacts in shafts.items()}
    return good, Montage(left_out=left_out)


def _steps(
    kind: str, shaft: str, contacts: dict[int, str], places: Mapping[str, np.ndarray], montage: Montage
) -> set[int]:
    """Numbers whose next number is a neighbour; what is none is written into the montage's gaps."""
    numbers = list(contacts)
    steps = {a for a, b in pairwise(numbers) if b - a == 1}
    apart = {a: f"{contacts[a]} and {contacts[b]}" for a, b in pairwise(numbers) if b - a > 1}
    lengths = {
        a: float(np.linalg.norm(places[contacts[a + 1]] - places[contacts[a]]))
        for a in steps
        if contacts[a] in places and contacts[a + 1] in places
    }
    known = {a: length for a, length in lengths.items() if np.isfinite(length)}
    usual = float(np.median(list(known.values()))) if known else 0.0
    for number, length in known.items():
        if length > FAR[kind] * usual:
            steps.discard(number)
            pair = f"{contacts[number]} and {contacts[number + 1]}"
            apart[number] = f"{pair} ({1e3 * length:.0f} mm apart, {1e3 * usual:.0f} mm are usual)"
    if len(numbers) > LONGEST[kind] and not set(steps) <= set(known):
        montage.doubts.append(
            f"{len(numbers)} {kind} contacts {shaft}, not all with positions: were they a grid, its rows would be joined"
        )
    montage.gaps += [apart[number] for number in sorted(apart)]
    return steps


def _finish(montage: Montage, names: list[str], otherwise: str) -> Montage:
    order = {name: place for place, name in enumerate(names)}
    montage.derivations.sort(key=lambda derivation: order[derivation.plus])
    used = {name for derivation in montage.derivations for name in (derivation.plus, *derivation.minus)}
    reasons = {name: montage.left_out.get(name, otherwise) for name in names if name not in used}
    montage.left_out = reasons
    return montage
