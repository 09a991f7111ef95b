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

    Bipolar names (`A'1-A'2`) give the first contact, if both lie on one shaft.
    """
    text = REFERENCE.sub("", PREFIX.sub("", name.strip()))
    first, dash, second = text.partition("-")
    if dash:
        one, other = contact_of(first), contact_of(second)
        return one if one and other and one.shaft == other.shaft else None
    match = CONTACT.match(text)
    if not match:
        return None
    shaft = re.sub("[\u2019\u02bc\u2032`]", "'", match.group(1).strip())
    return Contact(shaft, int(match.group(2)))
