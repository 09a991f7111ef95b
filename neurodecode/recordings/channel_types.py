"""What a channel is, judged by its name, where the format does not say or says EEG of everything.

In: channel names as recorded, and the kind of recording. Out: MNE channel types, and names cleaned where that is certain.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from neurodecode.recordings.recording import Note

if TYPE_CHECKING:
    from mne.channels import DigMontage
    from mne.io import BaseRaw

# whole names (letters and digits, upper case) -> MNE type. Certain: also where a table calls them brain signal
CERTAIN = ((r"(ECG|EKG)+(\d*|[LR][AL]?|V\d)", "ecg"), (r"[HVLR]?EOG\w*", "eog"), (r"EMG\w*", "emg"))
# of inputs and devices, never of electrodes
INPUTS = (
    (r"(TRIG|TRIGGER|STI|STATUS|MARKER|EVENT|DTRIG)\d*", "stim"),
    (r"(DC|AUX|ADC|ANALOG)\d*", "misc"),
    (r"(OSAT|SPO2|SAO2|PULSE|PLETH|PPG|CO2|ETCO2|GSR|EDA|HEARTRATE)\d*", "misc"),
    (r"(AUDIO|MICROPHONE|PHOTODIODE|PHOTIC|RESPIRATION|AIRFLOW|THORAX|ABDOMEN|TEMPERATURE)\d*", "misc"),
    (r"(EDF|BDF)ANNOTATIONS\d*", "misc"),
)
# short names that a shaft may have too: not taken where they are numbered like the contacts of one
SHORT = (
    (r"(LOC|ROC)\d*", "eog"),
    (r"(CHIN|LEG|ARM|LLEG|RLEG)\d*", "emg"),
    (r"(STIM|MARK)\d*", "stim"),
    (r"(RESP|NASAL|SNORE|SAT|PR|HR|BPM|BP|TEMP|MIC|SPEECH|SOUND|PHO|PHOTO|LIGHT|DIODE)\d*", "misc"),
    (r"(ACC|GYRO)[XYZ]?\d*", "misc"),
    (r"(BLANK|EMPTY|NC|UNUSED)\d*", "misc"),
)
EAR_DIFFERENCE = re.compile(r"^[AM][12]-[AM][12]$", re.IGNORECASE)  # a derived channel, not a place on the scalp
PREFIX = re.compile(r"^(EEG|POL|SEEG|ECOG|IEEG|ECG|EKG|EOG|EMG|RESP)[\s_]+(?=\S)", re.IGNORECASE)
KIND = re.compile(r"^(ECG|EKG|EOG|EMG|RESP)\b", re.IGNORECASE)
SUFFIX = re.compile(r"[-_ ](REF|LE|AVG|G2)$", re.IGNORECASE)
PRIME = re.compile("['\u2019\u02bc\u2032`]")
CONTACT = re.compile("^([A-Za-z][A-Za-z_ ]*?['\u2019\u02bc\u2032`]?)\\s*0*(\\d+)$")
DEFAULT_TYPES = ("eeg", "seeg", "ecog")  # what readers call everything they know nothing of


def type_of_name(name: str, certain: bool = False, numbered: bool = False) -> str | None:
    """MNE type that a name states, or None when it may be brain signal.

    Parameters
    ----------
    name
        As recorded.
    certain
        Only what no electrode is ever called.
    numbered
        The name is one of several with the same letters and consecutive numbers, as the contacts of a shaft are.
    """
    text = PREFIX.sub("", name.strip()) if not KIND.match(name.strip()) else name.strip()
    if PRIME.search(text):  # the left side, in many clinics: a contact
        return None
    if EAR_DIFFERENCE.match(text):
        return "misc"
    plain = re.sub(r"[^A-Z0-9]", "", text.upper())
    for pattern, kind in CERTAIN + (() if certain else INPUTS + (() if numbered else SHORT)):
        if re.fullmatch(pattern, plain):
            return kind
    return None


def shafts(names: Sequence[str]) -> set[str]:
    """Names that are contacts of a shaft, strip or grid: same letters, and three consecutive numbers or more."""
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        match = CONTACT.match(SUFFIX.sub("", PREFIX.sub("", name.strip())))
        if match:
            numbers.setdefault(match.group(1), {})[int(match.group(2))] = name
    found = set()
    for members in numbers.values():
        for number, name in members.items():
            runs = ((number - 2, number - 1), (number - 1, number + 1), (number + 1, number + 2))
            if any(a in members and b in members for a, b in runs):
                found.add(name)
    return found


def template_1005() -> DigMontage:
    """Template places of the 10-05 system, which MNE renamed in 1.13."""
    from mne.channels import get_builtin_montages, make_standard_montage

    names = get_builtin_montages()
    return make_standard_montage("colin27_1005" if "colin27_1005" in names else "standard_1005")


def scalp_names() -> dict[str, str]:
    """Upper-case name -> name as the 10-05 system writes it, with the ears and the old names of the temporal row."""
    return {name.upper(): name for name in template_1005().ch_names}


def clean_names(names: Sequence[str], file: str) -> tuple[dict[str, str], list[Note]]:
    """Names that wrap a 10-05 position (`EEG Fp1`, `EEG FP1-REF`, `Fc5.`) -> that position.

    Only when the rest is a name of the 10-05 system, and no two channels would get one name. A name that is not wrapped
    keeps its spelling.
    """
    known = scalp_names()
    renamed = {}
    for name in names:
        bare = SUFFIX.sub("", PREFIX.sub("", name.strip())).rstrip(".").strip()
        if bare != name and bare.upper() in known:
            renamed[name] = known[bare.upper()]
    result = [renamed.get(name, name) for name in names]
    doubled = {name for name in result if result.count(name) > 1}
    renamed = {old: new for old, new in renamed.items() if new not in doubled}
    if not renamed:
        return {}, []
    shown = ", ".join(f"{old!r} is {new}" for old, new in list(renamed.items())[:3])
    more = f" and {len(renamed) - 3} more" if len(renamed) > 3 else ""
    return renamed, [Note(file, f"channel names wrap 10-05 names: {shown}{more}", "the plain names are used")]


def types_by_name(
    names: Sequence[str], types: Sequence[str], file: str, intracranial: bool, stated: Collection[str] = ()
) -> tuple[dict[str, str], list[Note]]:
    """Types to change: channels that the reader calls EEG although their name says something else.

    Parameters
    ----------
    names, types
        Of all channels.
    file
        For messages.
    intracranial
        The recording lies in a folder of datatype ieeg: contacts on shafts are sEEG.
    stated
        Channels whose type a table states; only the certain names overrule it.
    """
    numbered = shafts(names)
    open_names = [n for n, kind in zip(names, types) if kind in DEFAULT_TYPES]
    changed, notes = {}, []
    for name in open_names:
        kind = type_of_name(name, certain=name in stated, numbered=name in numbered)
        if kind is not None:
            changed[name] = kind
    if changed:
        notes.append(_said(changed, file, stated))
    default = [n for n, kind in zip(names, types) if kind == "eeg" and n not in changed and n not in stated]
    primed = [name for name in default if PRIME.search(name) and name in numbered]
    contacts = [name for name in default if name in numbered]
    # nobody names scalp electrodes with a prime: a recording that is mostly such contacts is intracranial
    if contacts and (intracranial or len(primed) > len(default) / 2):
        changed |= dict.fromkeys(contacts, "seeg")
        found = f"{len(contacts)} channels named as contacts of shafts, called EEG"
        notes.append(Note(file, found, "typed seeg (a grid or strip would be named alike)"))
    return changed, notes


def _said(changed: dict[str, str], file: str, stated: Collection[str]) -> Note:
    by_type: dict[str, list[str]] = {}
    for name, kind in changed.items():
        by_type.setdefault(kind, []).append(name)
    said = "; ".join(f"{', '.join(members)} as {kind}" for kind, members in sorted(by_type.items()))
    level = "warning" if set(changed) & set(stated) else "note"
    return Note(file, "channels that by their names are no brain signal", f"typed {said}", level)


def set_types(raw: BaseRaw, types: dict[str, str]) -> None:
    """Set MNE channel types without a word about units."""
    if types:
        raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
