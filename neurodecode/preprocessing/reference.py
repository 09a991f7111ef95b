"""Step 5: the reference, as a plan that is made once the bad channels are known and then applied to any signal.

    plan = plan_reference(raw.ch_names, types, bads, settings, "sub-01")
    signal = plan.apply(signal)         # [channels, samples] -> [channels of plan.names, samples]

Named channels and the average keep the channels; `bipolar` and `laplacian` put derived ones in the place of the
intracranial contacts. All are linear and treat time samples alone, so they may follow filters and resampling with the
same result, at the low rate. What is not linear (an envelope) must come after them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from neurodecode.channels.derive import Derivation, bipolar, by_shaft, laplacian
from neurodecode.channels.layout import INTRACRANIAL
from neurodecode.channels.shafts import is_derived
from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.recordings.recording import Note

# FreeSurfer (Left-Cerebral-White-Matter, wm-lh-insula), clinics (WM, white matter)
WHITE_MATTER = re.compile(r"white[-_ ]?matter|(?:^|[^a-z])wm(?:[^a-z]|$)", re.IGNORECASE)


@dataclass
class ReferencePlan:
    """What is subtracted from what.

    Attributes
    ----------
    recorded
        Names of the rows that go in.
    names
        Names of the rows that come out.
    means
        (sources, targets) in rows that go in: the mean of the sources is subtracted from the targets.
    derivations
        Derived name -> its derivation.
    left_out
        Recorded channel that has no part in what comes out -> reason.
    notes
        What was made and left out, for people.
    """

    recorded: list[str]
    names: list[str]
    means: list[tuple[list[int], list[int]]] = field(default_factory=list)
    derivations: dict[str, Derivation] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def source(self, name: str) -> str:
        """The recorded channel that one which comes out starts from."""
        return self.derivations[name].plus if name in self.derivations else name

    def apply(self, signal: np.ndarray) -> np.ndarray:
        """Re-reference [recorded, samples]; means are subtracted in place. Returns [names, samples] of the same type."""
        for sources, targets in self.means:
            # accumulated in float64: the mean of many float32 rows must not depend on their order
            mean = signal[sources].mean(axis=0, dtype=np.float64)
            for row in targets:
                signal[row] -= mean.astype(signal.dtype)
        if self.names == self.recorded:
            return signal
        rows = {name: row for row, name in enumerate(self.recorded)}
        out = np.empty((len(self.names), signal.shape[1]), signal.dtype)
        for row, name in enumerate(self.names):
            if name in self.derivations:
                derivation = self.derivations[name]
                subtracted = signal[[rows[other] for other in derivation.minus]].mean(axis=0, dtype=np.float64)
                out[row] = signal[rows[derivation.plus]] - subtracted
            else:
                out[row] = signal[rows[name]]
        return out

    def report(self, reference: str | tuple[str, ...]) -> dict:
        """JSON-ready: what was asked for, how many channels were derived, what was left out and why."""
        kind = reference if isinstance(reference, str) else list(reference)
        return {"reference": kind, "derived": len(self.derivations), "left_out": dict(self.left_out)}


def reference_names(settings: PreprocessingSettings, types: dict[str, str], name: str) -> list[str]:
    """Channels whose mean is subtracted when `reference` names some; empty otherwise.

    Raises
    ------
    RecordingError
        If one is not in the recording, or there is no EEG channel besides them.
    """
    if isinstance(settings.reference, str):
        return []
    absent = [channel for channel in settings.reference if channel not in types]
    if absent:
        raise RecordingError(
            f"{name}: the reference channel {absent[0]} is not in the recording "
            f"(EEG channels: {_some([c for c, t in types.items() if t == 'eeg'])}); correct reference"
        )
    if not any(kind == "eeg" for channel, kind in types.items() if channel not in settings.reference):
        raise RecordingError(f"{name}: reference names channels, but there are no other EEG channels; set it to none")
    return list(settings.reference)


def plan_reference(
    names: list[str],
    types: list[str],
    bads: Collection[str],
    settings: PreprocessingSettings,
    recording: str,
    regions: Mapping[str, str] | None = None,
    places: Mapping[str, np.ndarray] | None = None,
) -> ReferencePlan:
    """Decide what is subtracted from what.

    A mean is that of good channels; it is subtracted from the bad ones too, so that all keep one reference. Named
    reference channels must be good; they are not removed here. Bad contacts enter no derived channel.

    Parameters
    ----------
    names, types
        Of the rows: all channels that are kept, and named reference channels.
    bads
        Names, or name -> reason.
    settings
        `reference` is used.
    recording
        Name, for messages.
    regions
        Channel -> region, where stated.
    places
        Channel -> position [3], m, where known.

    Raises
    ------
    RecordingError
        If a named reference channel is bad, or what is asked for cannot be made from the good channels there are.
    """
    plan = ReferencePlan(list(names), list(names))
    reference = settings.reference
    if reference == "none":
        return plan
    if isinstance(reference, tuple):
        broken = [channel for channel in reference if channel in bads]
        if broken:
            raise RecordingError(
                f"{recording}: the reference channel {broken[0]} is bad ({_reason(bads, broken[0])}); name another one"
            )
        eeg = [i for i, kind in enumerate(types) if kind == "eeg"]
        plan.means.append(([names.index(channel) for channel in reference], eeg))
    elif reference == "average":
        _average(plan, types, bads, recording)
    else:
        _refuse_derived(plan, types, reference, recording)
        if reference == "shaft-average":
            _shaft_average(plan, types, bads, recording)
        elif reference == "white-matter":
            _white_matter(plan, types, bads, recording, regions or {})
        else:
            _derive(plan, types, bads, reference, recording, places or {})
    return plan


def _average(plan: ReferencePlan, types: list[str], bads: Collection[str], recording: str) -> None:
    """One mean for the EEG, one for each intracranial type."""
    for kind, called in (("eeg", "EEG"), *((kind, kind) for kind in INTRACRANIAL)):
        targets = [i for i, other in enumerate(types) if other == kind]
        sources = [i for i in targets if plan.recorded[i] not in bads]
        if targets and len(sources) < 2:
            raise RecordingError(
                f"{recording}: {len(sources)} good {called} channels of {len(targets)} give no average reference; "
                "set reference to none"
            )
        if targets:
            plan.means.append((sources, targets))
    if not plan.means:
        found = "reference is average, but there is no EEG channel and no contact"
        plan.notes.append(Note(recording, found, "nothing re-referenced"))


def _shaft_average(plan: ReferencePlan, types: list[str], bads: Collection[str], recording: str) -> None:
    """One mean a shaft; contacts without a shaft of two good ones are left out, not kept with another reference."""
    contacts = _contacts(plan, types)
    shafts, left_out = by_shaft(contacts, [types[plan.recorded.index(name)] for name in contacts])
    made = 0
    for numbers in shafts.values():
        targets = [plan.recorded.index(name) for name in numbers.values()]
        sources = [i for i in targets if plan.recorded[i] not in bads]
        if len(sources) < 2:
            left_out |= {
                plan.recorded[i]: f"{len(sources)} good contacts on its shaft give no average" for i in targets
            }
        else:
            plan.means.append((sources, targets))
            made += len(targets)
    if not made:
        raise RecordingError(
            f"{recording}: no shaft has two good contacts ({_reasons(left_out)}); set reference to none or average"
        )
    plan.left_out = left_out
    plan.names = [name for name in plan.recorded if name not in left_out]
    said = f"{made} of {len(contacts)} contacts referenced to the average of their shaft ({len(plan.means)} shafts)"
    plan.notes.append(Note(recording, "reference is shaft-average", said))
    _say_left_out(plan, recording)


def _white_matter(
    plan: ReferencePlan, types: list[str], bads: Collection[str], recording: str, regions: Mapping[str, str]
) -> None:
    """The mean of the good contacts whose stated region is white matter, subtracted from all contacts."""
    contacts = _contacts(plan, types)
    white = [name for name in contacts if WHITE_MATTER.search(regions.get(name, ""))]
    good = [name for name in white if name not in bads]
    if len(good) < 2:
        stated = sum(bool(regions.get(name)) for name in contacts)
        raise RecordingError(
            f"{recording}: reference is white-matter, but of {len(contacts)} contacts {stated} state a region, {len(white)} "
            f"white matter, {len(good)} of these good, and 2 are needed; give regions in electrodes.tsv or an atlas "
            "(regions.atlas), or set reference to bipolar"
        )
    plan.means.append(([plan.recorded.index(name) for name in good], [plan.recorded.index(name) for name in contacts]))
    said = f"the mean of {len(good)} contacts subtracted from {len(contacts)}: {_some(good)}"
    plan.notes.append(Note(recording, "reference is white-matter", said))


def _derive(
    plan: ReferencePlan,
    types: list[str],
    bads: Collection[str],
    reference: str,
    recording: str,
    places: Mapping[str, np.ndarray],
) -> None:
    """Put derived channels in the place of the contacts; other channels stay as they are."""
    contacts = _contacts(plan, types)
    kinds = [types[plan.recorded.index(name)] for name in contacts]
    montage = (bipolar if reference == "bipolar" else laplacian)(contacts, kinds, bads, places)
    if not montage.derivations:
        raise RecordingError(
            f"{recording}: reference is {reference}, but no two good contacts are neighbours on a shaft "
            f"({_reasons(montage.left_out)}); set reference to none or average"
        )
    doubled = [name for name, count in Counter(d.name for d in montage.derivations).items() if count > 1]
    if doubled:
        raise RecordingError(
            f"{recording}: two channels would be named {doubled[0]}, since contacts of two types have one name; exclude one "
            "of them or correct the types in channels.tsv"
        )
    plan.derivations = {derivation.name: derivation for derivation in montage.derivations}
    made = {derivation.plus: derivation.name for derivation in montage.derivations}
    inside = set(contacts)
    plan.names = [made.get(name, name) for name in plan.recorded if name in made or name not in inside]
    plan.left_out = montage.left_out
    said = f"{len(made)} channels made of {len(contacts)} contacts"
    plan.notes.append(Note(recording, f"reference is {reference}", said))
    _say_left_out(plan, recording)
    if montage.gaps:
        shown = "; ".join(montage.gaps[:5]) + (f"; and {len(montage.gaps) - 5} more" if len(montage.gaps) > 5 else "")
        plan.notes.append(Note(recording, f"no neighbours on their shaft: {shown}", "nothing derived across the gap"))
    plan.notes += [Note(recording, doubt, "joined by number", "warning") for doubt in montage.doubts]


def _contacts(plan: ReferencePlan, types: list[str]) -> list[str]:
    return [name for name, kind in zip(plan.recorded, types) if kind in INTRACRANIAL]


def _refuse_derived(plan: ReferencePlan, types: list[str], reference: str, recording: str) -> None:
    contacts = _contacts(plan, types)
    if not contacts:
        raise RecordingError(
            f"{recording}: reference is {reference}, but there is no {', '.join(INTRACRANIAL)} channel "
            f"(types: {', '.join(sorted(set(types)))}); set reference to none or average, or correct channels.tsv"
        )
    derived = [name for name in contacts if is_derived(name)]
    if derived:
        raise RecordingError(
            f"{recording}: reference is {reference}, but the channel {derived[0]} is a difference of contacts already; "
            "set reference to none"
        )


def _say_left_out(plan: ReferencePlan, recording: str) -> None:
    if plan.left_out:
        found = f"{len(plan.left_out)} contacts: {_reasons(plan.left_out)}"
        plan.notes.append(Note(recording, found, "left out"))


def _reasons(left_out: Mapping[str, str]) -> str:
    """Reason, then who: `bad: A'3; no neighbour on its shaft: B1, B3`."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{reason}: {_some(names)}" for reason, names in by_reason.items())


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") or "none"


def _reason(bads: Collection[str], name: str) -> str:
    return str(bads[name]) if isinstance(bads, dict) else "marked"
