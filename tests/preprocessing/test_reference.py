"""The reference touches EEG only, leaves bad channels out of the average, and does not depend on the order of steps."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from neurodecode.config.preprocessing import PreprocessingSettings
from neurodecode.errors import RecordingError
from neurodecode.preprocessing.clean import clean

PLAIN = PreprocessingSettings(sfreq=100.0, find_bads=False)


def with_reference(reference, **more) -> PreprocessingSettings:
    return PLAIN.model_copy(update={"reference": reference, **more})


def test_the_average_of_good_eeg_channels_is_zero_and_meg_is_untouched(make_recording, noise) -> None:
    types = ["eeg", "eeg", "mag", "eeg", "eeg"]
    recording = make_recording(noise(n_channels=5), types=types, bads=["E3"])
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("average")).signal
    assert np.abs(result[[0, 1, 4]].mean(axis=0)).max() < 1e-10
    assert np.array_equal(result[2], plain[2])
    assert np.allclose(result[3], plain[3] - plain[[0, 1, 4]].mean(axis=0), atol=1e-11)


def test_named_channels_are_subtracted_and_dropped_as_mne_does_it(make_recording, noise) -> None:
    names = ["A1", "M1", "A2", "M2", "A3"]
    recording = make_recording(noise(n_channels=5), names=names, sfreq=128.0, seconds=30.0)
    settings = with_reference(("M1", "M2"), high_pass=2.0, low_pass=8.0, sfreq=32.0)
    result = clean(recording, settings)
    assert list(result.channels["name"]) == ["A1", "A2", "A3"]
    raw = recording.raw.copy()
    mne.set_eeg_reference(raw, ["M1", "M2"], copy=False, verbose="error")
    before = clean(
        type(recording)(raw.drop_channels(["M1", "M2"]), recording.events, "01"),
        settings.model_copy(update={"reference": "none"}),
    )
    assert np.abs(result.signal - before.signal).max() < 1e-5 * before.signal.std()


def test_reference_channels_may_be_of_a_type_that_is_not_picked(make_recording, noise) -> None:
    recording = make_recording(noise(n_channels=3), names=["A1", "A2", "mast"], types=["eeg", "eeg", "misc"])
    assert list(clean(recording, with_reference(("mast",))).channels["name"]) == ["A1", "A2"]


def test_a_missing_or_bad_reference_is_refused(make_recording, noise) -> None:
    with pytest.raises(RecordingError, match=r"reference channel M1 is not in the recording \(EEG channels: E0, E1"):
        clean(make_recording(noise()), with_reference(("M1",)))
    with pytest.raises(RecordingError, match=r"reference channel E1 is bad \(marked in the recording\)"):
        clean(make_recording(noise(), bads=["E1"]), with_reference(("E1",)))
    with pytest.raises(RecordingError, match="1 good EEG channels of 4 give no average reference"):
        clean(make_recording(noise(), bads=["E1", "E2", "E3"]), with_reference("average"))


def test_an_average_reference_without_eeg_and_contacts_is_said_and_changes_nothing(make_recording, noise) -> None:
    recording = make_recording(noise(), types="mag")
    result = clean(recording, with_reference("average"))
    assert np.array_equal(result.signal, clean(recording, PLAIN).signal)
    assert "there is no EEG channel and no contact" in result.notes[-1].line()


def test_each_intracranial_type_and_the_eeg_have_an_average_of_their_own(make_recording, noise) -> None:
    types = ["eeg", "seeg", "ecog", "seeg", "eeg", "ecog"]
    recording = make_recording(noise(n_channels=6), types=types)
    plain = clean(recording, PLAIN).signal
    result = clean(recording, with_reference("average")).signal
    for rows in ([0, 4], [1, 3], [2, 5]):
        np.testing.assert_allclose(result[rows], plain[rows] - plain[rows].mean(axis=0), atol=1e-11)
    with pytest.raises(RecordingError, match="1 good seeg channels of 2 give no average reference"):
        clean(make_recording(noise(n_channels=6), types=types, bads=["E3"]), with_reference("average"))


def test_stores_made_with_the_older_meaning_of_average_and_no_others_are_made_again() -> None:
    assert with_reference("average").identity()["reference"] != "average"
    assert PLAIN.identity()["reference"] == "none"
