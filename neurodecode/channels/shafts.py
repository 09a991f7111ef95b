"""Shafts of intracranial contacts, read from their names.

`A'12` -> shaft `A'`, contact 12; `LAMT01` -> `LAMT`, 1; `POL TI'4` -> `TI'`, 4. Number and shaft only: `A'2` and `A'10` are no
neighbours, and `A'1` and `A1` lie on different shafts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# amplifiers write the kind of input before the name (Nihon Kohden: POL; EDF+: EEG, SEEG)
PREFIX = re.compile(r"^(?:POL|EEG|SEEG|ECOG|IEEG)\s+", re.IGNORECASE)
REFERENCE = re.compile(r"[-_ ](?:REF|G2|AVG)$", re.IGNORECASE)
# a straight or a typographic apostrophe marks the left side in many clinics
CONTACT = re.compile(r"^([A-Za-z][A-Za-z_ ]*?['\u2019\u02bc\u2032`]?)\s*0*(\d+)$")
APOSTROPHES = re.compile("[\u2019\u02bc\u2032`]")
NEIGHBOURS = re.compile(r"^\((.+)\+(.+)\)$")  # what a Laplacian name subtracts


@dataclass(frozen=True)
class Contact:
    """A contact on a shaft, strip or grid.

    Attributes
    ----------
    shaft
        Letters, with `'` for the primed side.
    number
        Place on the shaft, from 0.
    """

    shaft: str
    number: int


def contact_of(name: str) -> Contact | None:
    """Shaft and number that a channel name states, or None when it states none.

    Bipolar names (`A'1-A'2`) give the first contact, Laplacian names (`A'2-(A'1+A'3)`) the centre, if all lie on one shaft.
    """
    first, dash, rest = bare_name(name).partition("-")
    if dash:
        one, others = contact_of(first), [contact_of(other) for other in _subtracted(rest)]
        return one if one and all(other and other.shaft == one.shaft for other in others) else None
    match = CONTACT.match(first)
    if not match:
        return None
    return Contact(APOSTROPHES.sub("'", match.group(1).strip()), int(match.group(2)))


def bare_name(name: str) -> str:
    """The name of the contact alone: without the amplifier's prefix and reference, with a straight apostrophe."""
    return APOSTROPHES.sub("'", REFERENCE.sub("", PREFIX.sub("", name.strip())))


def is_derived(name: str) -> bool:
    """Whether a name states a difference between contacts (`A'1-A'2`, `A1-B2`, `A'2-(A'1+A'3)`)."""
    first, dash, rest = bare_name(name).partition("-")
    return bool(dash and contact_of(first) and all(contact_of(other) for other in _subtracted(rest)))


def _subtracted(text: str) -> tuple[str, ...]:
    match = NEIGHBOURS.match(text)
    return match.groups() if match else (text,)
