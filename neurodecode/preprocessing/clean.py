"""Recording -> clean continuous signal: all steps in order, with either engine.

    from neurodecode.preprocessing.clean import clean
    signal = clean(source.open(), PreprocessingSettings(low_pass=40)).signal      # float32 [channels, samples]

Order: pick channels, find bad ones, notch and band-pass each good stretch alone, reference, envelope, resample to the
exact output grid (sample k lies k / sfreq seconds from the first sample), interpolate or drop bad channels, report.
Reference and resampling may change places, both being linear, and do so when no envelope lies between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neurodecode.channels.layout import INTRACRANIAL
from neurodecode.channels.region_table import table_regions
from neurodecode.channels.regions import atlas_of, find_regions, stated_space
from neurodecode.config.preprocessing import PreprocessingSettings, RegionSettings
from neurodecode.errors import RecordingError
from neurodecode.files import sha256_of_file
from neurodecode.preprocessing.bads import BadChannelScan
from neurodecode.preprocessing.envelope import EnvelopeBands, design_envelope, envelope_reference
from neurodecode.preprocessing.filters import Filters, design_filters, line_frequency_of
from neurodecode.preprocessing.interpolate import interpolate_bads
from neurodecode.preprocessing.pick import channel_types, datatype_of, pick_channels
from neurodecode.preprocessing.quality import excerpt_of, line_ratio, rms_by_type
from neurodecode.preprocessing.reference import ReferencePlan, plan_reference, reference_names
from neurodecode.preprocessing.resample import Ratio, rational_ratio, resample_reference
from neurodecode.preprocessing.streaming import stream_stretch
from neurodecode.preprocessing.stretches import Stretches, find_stretches, merge_spans, uncovered_spans
from neurodecode.recordings.recording import Note, Recording

if TYPE_CHECKING:
    from mne import Info
    from mne.io import BaseRaw


@dataclass
class CleanSignal:
    """What preprocessing makes of a recording.

    Attributes
    ----------
    signal
        float32 [channels, samples], SI units; zeros inside `bad_spans` that no stretch covers and in channels that are
        bad because they hold no numbers.
    sfreq
        Hz.
    channels
        One row a channel: name, type, unit, x, y, z, x2d, y2d, shaft, region, bad.
    events
        As in the recording: seconds from the first sample.
    bad_spans
        float64 [n, 2], seconds: no window may overlap them. Sorted, disjoint.
    notes
        Those of the recording and those of preprocessing.
    report
        JSON-ready: channels, bads with reasons, stretches, spans, filters, events lost, rms and line noise before and
        after.
    datatype
        meg, eeg or ieeg.
    """

    signal: np.ndarray
    sfreq: float
    channels: pd.DataFrame
    events: pd.DataFrame
    bad_spans: np.ndarray
    notes: list[Note] = field(default_factory=list)
    report: dict = field(default_factory=dict)
    datatype: str = "eeg"


def clean(recording: Recording, settings: PreprocessingSettings) -> CleanSignal:
    """Preprocess one recording.

    Raises
    ------
    RecordingError
        If the settings do not fit the recording, or nothing usable is left; one line that says what to change.
    """
    raw, name = recording.raw, recording.name
    sfreq, n_times = float(raw.info["sfreq"]), len(raw.times)
    notes = list(recording.notes)

    types = channel_types(raw.info)
    kept, new_notes = pick_channels(raw.info, settings, name)
    notes += new_notes
    references = reference_names(settings, types, name)
    rows = [channel for channel in types if channel in {*kept, *references}]  # as in the file
    kinds = [types[channel] for channel in rows]

    regions = dict(recording.regions)
    if settings.regions is not None:
        named, near, new_notes = _look_up_regions(recording, settings.regions, rows, kinds)
        regions |= named | near
        notes += new_notes

    ratio = rational_ratio(sfreq, settings.sfreq, n_times / sfreq, name)
    line = line_frequency_of(settings, recording.line_frequency or raw.info.get("line_freq"), name)
    filters = design_filters(settings, sfreq, line, name)
    bands = design_envelope(settings, sfreq, name)
    minimum = max(round(settings.minimum_seconds * sfreq), filters.longest, bands.longest if bands else 2)
    stretches = find_stretches(raw, minimum)
    _refuse_if_nothing_is_left(stretches, minimum, filters, bands, sfreq, name)

    n_samples = ratio.first_output(n_times)
    covered = [(ratio.first_output(start), ratio.first_output(stop)) for start, stop in stretches.good]
    scan = BadChannelScan(len(rows), sfreq)
    if bands is None:
        signal = np.zeros((len(rows), n_samples), np.float32)
        _filter_and_resample(signal, raw, rows, stretches, settings, filters, ratio, scan)
    else:  # the reference comes before what is not linear, and the bad channels before the reference: read twice
        for start, stop in stretches.good:
            for _ in _blocks(raw, rows, start, stop, settings.block_seconds, scan):
                pass

    marked = {channel: "marked in the recording" for channel in raw.info["bads"] if channel in rows}
    deviation = settings.bad_deviation if settings.find_bads else None
    bads = marked | scan.found(rows, kinds, deviation, known=frozenset(marked))
    for channel, reason in bads.items():
        if channel not in marked or reason != marked[channel]:
            notes.append(Note(name, f"channel {channel}: {reason}", f"bad ({settings.bads})", "warning"))
    plan = plan_reference(rows, kinds, bads, settings, name, regions, _places(raw))
    notes += plan.notes
    if bands is None:
        for row in np.flatnonzero(scan.invalid):
            signal[row] = 0.0  # what a filter makes of the holes is no signal
        signal = plan.apply(signal)
    else:
        signal = np.zeros((len(plan.names), n_samples), np.float32)
        for (start, stop), (first, last) in zip(stretches.good, covered):
            data = np.nan_to_num(raw.get_data(picks=rows, start=start, stop=stop), nan=0.0, posinf=0.0, neginf=0.0)
            filtered = _filtered_by_mne(plan.apply(data), sfreq, filters)
            signal[:, first:last] = resample_reference(envelope_reference(filtered, bands, sfreq), ratio, start)
    invalid = {rows[row] for row in np.flatnonzero(scan.invalid)}
    for place, channel in enumerate(plan.names):
        if channel in invalid:
            signal[place] = 0.0  # not minus the reference either
    reference_only = [channel for channel in rows if channel in references]
    out_names = [channel for channel in plan.names if channel not in reference_only]
    if settings.bads == "drop":
        out_names = [channel for channel in out_names if channel not in bads]
    good = np.array([channel not in bads for channel in out_names], bool)
    if not good.any():
        raise RecordingError(_all_bad(name, rows, bads))
    if len(out_names) < len(plan.names):
        signal = np.ascontiguousarray(signal[[plan.names.index(channel) for channel in out_names]])
    out_kinds = [types[plan.source(channel)] for channel in out_names]
    info = _info_of(raw, out_names, plan, settings.sfreq)
    if settings.bads == "interpolate":
        interpolate_bads(signal, info, [channel for channel in out_names if channel in bads], name)
        for first, last in zip([0] + [b for _, b in covered], [a for a, _ in covered] + [n_samples]):
            signal[:, first:last] = 0.0
        good[:] = True

    spans = merge_spans(stretches.bad_spans + uncovered_spans(covered, n_samples, settings.sfreq))
    begin, end = excerpt_of(stretches.good, sfreq)
    before = _excerpt(raw, out_names, plan, begin, end)
    after = signal[:, ratio.first_output(begin) : ratio.first_output(end)]
    report = {
        "n_channels": len(out_names),
        "n_samples": n_samples,
        "seconds": n_times / sfreq,
        "sfreq": {"recorded": sfreq, "stored": settings.sfreq, "up": ratio.up, "down": ratio.down},
        "bads": {channel: reason for channel, reason in bads.items() if channel not in reference_only},
        "bads_are": {"mark": "marked", "drop": "dropped", "interpolate": "interpolated"}[settings.bads],
        "notches": list(filters.notches),
        "filter_seconds": filters.longest / sfreq if filters.kernels else 0.0,
        "stretches": len(stretches.good),
        "stretches_dropped": len(stretches.dropped),
        "seconds_dropped": sum(b - a for a, b in stretches.dropped) / sfreq,
        "bad_spans": len(spans),
        "seconds_bad": float((spans[:, 1] - spans[:, 0]).sum()),
        "events": len(recording.events),
        "events_lost": _events_lost(recording.events, spans, n_times / sfreq),
        "rms_before": rms_by_type(before, out_kinds, good),
        "rms_after": rms_by_type(after, out_kinds, good),
        "line_noise_before": line_ratio(before, sfreq, _line(recording, raw, line), good),
        "line_noise_after": line_ratio(after, settings.sfreq, _line(recording, raw, line), good),
    }
    if bands is not None:
        report["envelope"] = bands.report()
        report["line_noise_after"] = None  # the envelope's own frequencies are not those of the signal
        found = f"envelope of {bands.edges[0][0]:g}-{bands.edges[-1][1]:g} Hz in {len(bands.edges)} sub-bands"
        notes.append(Note(name, found, "stored in place of the signal"))
        if line is None:
            said = "mains may lie in it; set line_noise to auto, 50 or 60"
            notes.append(Note(name, f"{found}, but no notch", said, "warning"))
    if settings.reference != "none":
        report["reference"] = plan.report(settings.reference)
    if settings.regions is not None:
        report["regions"] = {
            "table": sum(bool(recording.regions.get(channel)) for channel in rows),
            "named": len(named),
            "atlas": len(near),
            "files": settings.regions.content() | _fetched_files(settings.regions, near),
        }
    if stretches.dropped:
        found = f"{len(stretches.dropped)} good stretches shorter than {minimum / sfreq:g} s"
        notes.append(Note(name, found, f"dropped, {report['seconds_dropped']:g} s in all", "warning"))
    if report["events_lost"]:
        notes.append(Note(name, f"{report['events_lost']} events lie in bad spans or outside", "lost", "warning"))
    return CleanSignal(
        signal,
        settings.sfreq,
        _channel_rows(info, good, _regions(plan, regions)),
        recording.events,
        spans,
        notes,
        report,
        datatype_of(out_kinds),
    )


def _blocks(
    raw: BaseRaw, rows: list[str], start: int, stop: int, seconds: float, scan: BadChannelScan
) -> Iterator[np.ndarray]:
    """Read a stretch block by block, float64 [channels, samples], scanned on the way."""
    step = max(round(seconds * raw.info["sfreq"]), 1)
    for begin in range(start, stop, step):
        yield scan.add(raw.get_data(picks=rows, start=begin, stop=min(begin + step, stop)))
    scan.end_stretch()


def _filter_and_resample(
    signal: np.ndarray,
    raw: BaseRaw,
    rows: list[str],
    stretches: Stretches,
    settings: PreprocessingSettings,
    filters: Filters,
    ratio: Ratio,
    scan: BadChannelScan,
) -> None:
    """Fill `signal` [channels, outputs] with the good stretches, by the engine that is set, and scan on the way."""
    for start, stop in stretches.good:
        first, last = ratio.first_output(start), ratio.first_output(stop)
        if settings.engine == "mne":
            data = scan.add(raw.get_data(picks=rows, start=start, stop=stop))
            scan.end_stretch()
            filtered = _filtered_by_mne(data, float(raw.info["sfreq"]), filters)
            signal[:, first:last] = resample_reference(filtered, ratio, start)
        else:
            blocks = _blocks(raw, rows, start, stop, settings.block_seconds, scan)
            position = first
            for out in stream_stretch(blocks, filters, ratio, start):
                signal[:, position : position + out.shape[1]] = out
                position += out.shape[1]
            assert position == last


def _filtered_by_mne(data: np.ndarray, sfreq: float, filters: Filters) -> np.ndarray:
    """MNE's own methods on a Raw that holds nothing but this stretch; float64 [channels, samples]."""
    import mne

    alone = mne.io.RawArray(data, mne.create_info(len(data), sfreq, "eeg"), copy="both", verbose="error")
    picks = np.arange(len(data))
    if filters.notches:
        alone.notch_filter(np.array(filters.notches), picks=picks, verbose="error")
    if filters.high_pass is not None or filters.low_pass is not None:
        alone.filter(filters.high_pass, filters.low_pass, picks=picks, pad="reflect_limited", verbose="error")
    return alone.get_data()


def _refuse_if_nothing_is_left(
    stretches: Stretches, minimum: int, filters: Filters, bands: EnvelopeBands | None, sfreq: float, name: str
) -> None:
    if stretches.good:
        return
    longest = max((b - a for a, b in stretches.dropped), default=0) / sfreq
    if filters.longest >= minimum and filters.kernels:
        cause = f"the longest filter needs {filters.longest / sfreq:.3g} s; raise high_pass or drop the notch"
    elif bands and bands.longest >= minimum:
        cause = f"the envelope's filters need {bands.longest / sfreq:.3g} s; widen the envelope's band"
    else:
        cause = f"minimum_seconds asks for {minimum / sfreq:.3g} s; lower it"
    raise RecordingError(f"{name}: the longest good stretch lasts {longest:.3g} s, but {cause}")


def _all_bad(name: str, rows: list[str], bads: dict[str, str]) -> str:
    channel, reason = next((c, bads[c]) for c in rows if c in bads)
    return (
        f"{name}: all {len(rows)} channels are bad (for example {channel}: {reason}); "
        "mark gaps with BAD_ACQ_SKIP annotations, or look at the recording"
    )


def _info_of(raw: BaseRaw, names: list[str], plan: ReferencePlan, sfreq: float) -> Info:
    """Info of the stored channels at the stored rate; derived ones lie at the mean of the contacts that place them."""
    import mne

    sources = [plan.source(name) for name in names]
    info = mne.pick_info(raw.info, mne.pick_channels(raw.info["ch_names"], sources, ordered=True), verbose="error")
    with info._unlock():
        info["sfreq"] = sfreq
        info["lowpass"] = min(info["lowpass"] or sfreq / 2, sfreq / 2)
        info["highpass"] = min(info["highpass"], info["lowpass"])
    info["bads"] = []
    if plan.derivations:
        places = _places(raw)
        mne.rename_channels(info, {source: name for source, name in zip(sources, names) if source != name})
        for channel, name in zip(info["chs"], names):
            if name in plan.derivations:
                points = [places.get(point, np.full(3, np.nan)) for point in plan.derivations[name].points]
                channel["loc"] = np.concatenate([np.mean(points, axis=0), np.full(9, np.nan)])  # NaN is unknown
    return info


def _places(raw: BaseRaw) -> dict[str, np.ndarray]:
    """Channel -> position [3], m, of the channels whose position is known (all-zero and NaN are unknown)."""
    places = {channel["ch_name"]: np.array(channel["loc"][:3], float) for channel in raw.info["chs"]}
    return {name: place for name, place in places.items() if np.isfinite(place).all() and place.any()}


def _look_up_regions(
    recording: Recording, settings: RegionSettings, rows: list[str], kinds: list[str]
) -> tuple[dict[str, str], dict[str, str], list[Note]]:
    """Regions for the contacts that the recording gives none, from the table and from the atlas, and what is said about it."""
    contacts = [name for name, kind in zip(rows, kinds) if kind in INTRACRANIAL and not recording.regions.get(name)]
    if not contacts:
        return {}, {}, []
    notes = []
    named: dict[str, str] = {}
    if settings.table is not None:
        named, note = _by_name(recording, Path(settings.table), contacts)
        notes.append(note)
        contacts = [name for name in contacts if name not in named]
    if settings.atlas is None or not contacts:
        return named, {}, notes
    known = _places(recording.raw)
    places = {name: known[name] for name in contacts if name in known}
    atlas, space = Path(settings.atlas).name, stated_space(recording.files)
    found = find_regions(places, settings, space, recording.subject, recording.name) if places else {}
    said = (
        f"{len(found)} have one within {1e3 * settings.distance:g} mm in {atlas}, {len(places) - len(found)} have none"
    )
    lacking = len(contacts) - len(places)
    note = Note(
        recording.name,
        f"{len(contacts)} contacts without a region in a table, {lacking} of them without a position",
        said,
        "warning" if lacking else "note",
    )
    return named, found, [*notes, note]


def _fetched_files(settings: RegionSettings, near: dict[str, str]) -> dict[str, str]:
    """File -> SHA-256 of a downloaded atlas that was looked into."""
    return {str(file): sha256_of_file(file) for file in atlas_of(settings).files} if near and settings.fetched else {}


def _by_name(recording: Recording, path: Path, contacts: list[str]) -> tuple[dict[str, str], Note]:
    """Regions of the contacts that the table names, and what is said about it."""
    found, absent = table_regions(path, recording.subject, recording.raw.ch_names, recording.name)
    found = {name: region for name, region in found.items() if name in contacts}
    if absent is None:
        said = f"{path.name} names no contact of subject {recording.subject}"
        return {}, Note(recording.name, said, f"{len(contacts)} contacts have no region from it", "warning")
    said = f"{len(found)} of {len(contacts)} contacts have a region in {path.name}"
    odd = f"{len(absent)} names in it are no channel" + (f" ({', '.join(absent[:5])})" if absent else "")
    return found, Note(recording.name, said, odd, "warning" if absent or len(found) < len(contacts) else "note")


def _regions(plan: ReferencePlan, regions: dict[str, str]) -> dict[str, str]:
    """Regions of the stored channels."""
    return regions | {name: derivation.region(regions) for name, derivation in plan.derivations.items()}


def _excerpt(raw: BaseRaw, names: list[str], plan: ReferencePlan, start: int, stop: int) -> np.ndarray:
    """The stored channels as recorded, float64 [channels, samples]; derived ones as the difference of what was recorded."""
    picks = plan.recorded if plan.derivations else names
    data = np.nan_to_num(raw.get_data(picks=picks, start=start, stop=stop), posinf=0.0, neginf=0.0)
    if not plan.derivations:
        return data
    return plan.apply(data)[[plan.names.index(name) for name in names]]


def _channel_rows(info: Info, good: np.ndarray, regions: dict[str, str]) -> pd.DataFrame:
    import mne

    from neurodecode.channels.table import channel_table

    still = mne.io.RawArray(np.zeros((len(info["ch_names"]), 1)), info, verbose="error")
    table = channel_table(still, regions)
    table["bad"] = ~good
    return table


def _line(recording: Recording, raw: BaseRaw, line: float | None) -> float | None:
    return line or recording.line_frequency or raw.info.get("line_freq")


def _events_lost(events: pd.DataFrame, spans: np.ndarray, seconds: float) -> int:
    """Events whose onset lies inside a bad span or outside the recording."""
    onsets = events["onset"].to_numpy(float)
    inside = ((onsets[:, None] >= spans[None, :, 0]) & (onsets[:, None] < spans[None, :, 1])).any(axis=1)
    return int((inside | ~((onsets >= 0) & (onsets < seconds))).sum())
