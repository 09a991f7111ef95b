"""What a channel is, judged by its name, where the format does not say or says EEG of everything.

In: channel names as recorded, and the kind of recording. Out: MNE channel types, and names cleaned where that is certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neurodecode.recordings.recording import Note

if TYPE_CHECKING:
    from mne.channels import DigMontage
    from mne.io import BaseRaw

# whole names (letters and digits only, upper case) or beginnings of them -> MNE type; first match counts
PATTERNS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"(ECG|EKG)(\d*|[LR12]*)", "ecg"),
        (r"(ECG|EKG)(ECG|EKG)\d*", "ecg"),
        (r"(H|V|L|R)?EOG\w*", "eog"),
        (r"EOG\w*", "eog"),
        (r"(LOC|ROC)", "eog"),
        (r"EMG\w*", "emg"),
        (r"(CHIN|LEG|ARM|DELT)\d*", "emg"),
        (r"(RESP|RESPIRATION|THORAX|THORACIC|ABDOMEN|ABDOMINAL|AIRFLOW|NASAL|SNORE)\w*", "misc"),
        (r"(TRIG|TRIGGER|STI|STIM|STATUS|MARKER|MARK|EVENT|DTRIG)\d*", "stim"),
        (r"STI\d+", "stim"),
        (r"(OSAT|SPO2|SAO2|SAT|PULSE|PR|HR|HEARTRATE|BPM|PLETH|PPG|CO2|ETCO2|BP|TEMP|TEMPERATURE)\d*", "misc"),
        (r"(GSR|EDA)\d*", "misc"),
        (r"(DC|AUX|ANALOG|ADC)\d*", "misc"),
        (r"(AUDIO|MIC|MICROPHONE|SPEECH|SOUND|WAV)\w*", "misc"),
        (r"(PHO|PHOTO|PHOTIC|PHOTODIODE|LIGHT|DIODE)\d*", "misc"),
        (r"(ACC|GYRO|MAG)[XYZ]\d*", "misc"),
        (r"(BLANK|EMPTY|NC|NONE|UNUSED|EDFANNOTATIONS|BDFANNOTATIONS)\d*", "misc"),
    )
)
EAR_DIFFERENCE = re.compile(r"^[AM][12]-[AM][12]$", re.IGNORECASE)  # a derived channel, not a place on the scalp
PREFIX = re.compile(r"^(EEG|POL|SEEG|ECOG|IEEG|ECG|EKG|EOG|EMG|RESP)[\s_]+(?=\S)", re.IGNORECASE)
SUFFIX = re.compile(r"[-_ ](REF|LE|AVG|G2)$", re.IGNORECASE)
DEFAULT_TYPES = ("eeg", "seeg", "ecog")  # what readers call everything they know nothing of


def type_of_name(name: str) -> str | None:
    """MNE type that a name states beyond doubt, or None."""
    text = PREFIX.sub("", name.strip()) if not re.match(r"^(ECG|EKG|EOG|EMG)\b", name, re.IGNORECASE) else name
    if EAR_DIFFERENCE.match(text.strip()):
        return "misc"
    plain = re.sub(r"[^A-Z0-9]", "", text.upper())
    for pattern, kind in PATTERNS:
        if pattern.fullmatch(plain):
            return kind
    return None


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


def types_by_name(names: Sequence[str], types: Sequence[str], file: str) -> tuple[dict[str, str], list[Note]]:
    """Types to change: channels that the reader calls EEG although their name says something else."""
    changed = {}
    for name, kind in zip(names, types):
        stated = type_of_name(name)
        if kind in DEFAULT_TYPES and stated is not None:
            changed[name] = stated
    if not changed:
        return {}, []
    by_type: dict[str, list[str]] = {}
    for name, kind in changed.items():
        by_type.setdefault(kind, []).append(name)
    said = "; ".join(f"{', '.join(members)} as {kind}" for kind, members in sorted(by_type.items()))
    return changed, [Note(file, "channels that by their names are no brain signal", f"typed {said}")]


def set_types(raw: BaseRaw, types: dict[str, str]) -> None:
    """Set MNE channel types without a word about units."""
    if types:
        raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
