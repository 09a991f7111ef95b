"""Regions by the names that people use: `vSMC` or `left STG` beside the labels that atlases and tables give.

    matching(["ctx-lh-precentral", "Left-Hippocampus"], ["left vSMC"])      # [True, False]

In: labels of a channel table, and names wanted. A name is one of `GROUPS`, or any label or whole words of one. White matter
that lies under a region (`wm-lh-precentral`) does not count as the region unless it is asked for by `wm`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from neurodecode.errors import SettingsError

# Words that one label must hold together, written as Desikan-Killiany, Destrieux, Harvard-Oxford and plain tables write them;
# after `=` it must hold nothing else (S_temporal_sup is a sulcus). Atlases of whole gyri do not tell the ventral part of the
# pre- and postcentral gyri from the dorsal part.
GROUPS: dict[str, tuple[str, ...]] = {
    "vSMC": (
        *("vsmc", "precentral", "postcentral", "subcentral", "s central", "central sulcus"),
        *("central opercular", "central operculum", "rolandic oper"),
    ),
    "STG": (
        *(
            "stg",
            "superiortemporal",
            "superior temporal gyrus",
            "g temp sup lateral",
            "=temporal sup",
            "=superior temporal",
        ),
        *("g temp sup plan polar", "g temp sup plan tempo", "planum temporale", "planum polare"),
    ),
    "Heschl": ("heschl", "heschls", "transversetemporal", "g temp sup g t transv", "transverse temporal"),
    "STS": ("sts", "bankssts", "s temporal sup", "superior temporal sulcus"),
    "MTG": ("mtg", "middletemporal", "middle temporal gyrus", "g temporal middle", "temporal mid", "=middle temporal"),
    "SMG": ("smg", "supramarginal", "g pariet inf supramar"),
    "angular": ("angular", "g pariet inf angular"),
    "IFG": (
        *("ifg", "inferior frontal gyrus", "parsopercularis", "parstriangularis", "parsorbitalis"),
        *("g front inf opercular", "g front inf triangul", "g front inf orbital", "frontal inf", "=inferior frontal"),
    ),
    "insula": ("insula", "insular", "g insular short", "g ins lg and s cent ins"),
    "hippocampus": ("hippocampus",),
    "amygdala": ("amygdala",),
}
SIDES = {"lh": "left", "l": "left", "left": "left", "rh": "right", "r": "right", "right": "right"}
MEANINGLESS = {"ctx", "cortex", "and"}
WHITE = {"wm", "white"}


def words_of(label: str) -> tuple[list[str], str]:
    """Words of a label in lower case without its side, and the side (left, right or "").

    `ctx_lh_G_temp_sup-Lateral` -> (["g", "temp", "sup", "lateral"], "left").
    """
    parts = [part for part in re.split(r"[^0-9a-z']+", label.lower().replace("'", "")) if part]
    sides = [SIDES[part] for part in parts if part in SIDES]
    return [p for p in parts if p not in SIDES and p not in MEANINGLESS], sides[0] if sides else ""


def holds(words: list[str], wanted: list[str]) -> bool:
    """Whether `wanted` stand in `words` one after the other."""
    n = len(wanted)
    return bool(n) and any(words[i : i + n] == wanted for i in range(len(words) - n + 1))


def matching(labels: Sequence[str], names: Sequence[str]) -> list[bool]:
    """Which labels belong to one of the names.

    Parameters
    ----------
    labels
        Region of each channel, "" unknown.
    names
        Groups, labels, or words of labels; `left` or `right` before them takes one side. A label that states no side
        belongs to neither.

    Raises
    ------
    SettingsError
        If a name matches no label.
    """
    found = [False] * len(labels)
    split = [words_of(label) for label in labels]
    for name in names:
        wanted, side = words_of(name)
        groups = {key.lower(): value for key, value in GROUPS.items()}
        texts = groups.get(" ".join(wanted), (" ".join(wanted),))
        patterns = [(words_of(text)[0], text.startswith("=")) for text in texts]
        white = bool(WHITE & set(wanted))
        mine = [
            any(words == pattern if alone else holds(words, pattern) for pattern, alone in patterns)
            and (white or not WHITE & set(words))
            and (not side or side == its)
            for words, its in split
        ]
        if not any(mine):
            raise SettingsError(
                f"regions: no channel lies in {name}; there are {some(sorted({label for label in labels if label}))}; "
                f"groups are {', '.join(GROUPS)}"
            )
        found = [a or b for a, b in zip(found, mine)]
    return found


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "no regions at all"
