"""Patients who speak: planted in the named regions and nowhere else, in step with the tables, and solved by who knows it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from neurodecode.config import SimulationSettings
from neurodecode.recordings.sources import expand_source, open_source
from neurodecode.simulation.simulate import simulate
from neurodecode.simulation.words import SPAN, SYLLABLE, WordCohort, plan_words
from neurodecode.simulation.words_observer import WordObserver
from tests.simulation.conftest import data_files, read

WORDS = {"count": 4, "repetitions": 3, "runs": 2, "syllables": 5, "band": [60, 90], "drift": 0, "channel_spread": 0.3}


def settings(words: dict[str, Any] | None = None, **changes: Any) -> SimulationSettings:
    values = {"modality": "seeg", "subjects": 2, "channels": 36, "sfreq": 200, "line_noise": None, "seed": 3, "snr": 1}
    return SimulationSettings.model_validate(values | changes | {"words": WORDS | (words or {})})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = settings({"conversation_seconds": 30, "drift": 0.3}, line_noise=45, bad_channels=1)
    return simulate(made, tmp_path_factory.mktemp("words") / "cohort")


def planted(cohort: WordCohort) -> list[np.ndarray]:
    """Response alone of the first session of each patient."""
    silent = plan_words(
        cohort.settings.model_copy(update={"snr": 0.0, "words": cohort.words.model_copy(update={"high_gamma": 0.0})})
    )
    return [
        next(cohort.clean_sessions(patient))[1] - next(silent.clean_sessions(same))[1]
        for patient, same in zip(cohort.patients, silent.patients)
    ]


def test_only_contacts_of_the_named_regions_and_their_neighbours_record_a_response() -> None:
    cohort = plan_words(settings())
    for patient, response in zip(cohort.patients, planted(cohort)):
        size = response.std(axis=1)
        regions, shafts = np.array(patient.sensors.regions), np.array(patient.sensors.shafts)
        inside = np.isin(regions, ["vSMC", "STG"])
        near = np.isin(shafts, shafts[inside])
        assert (size[inside] > 0).all()
        assert (size[~near] == 0).all()
        assert (~near).sum() >= 5
        assert (size[~inside] ** 2).sum() < 0.2 * (size[inside] ** 2).sum()


def test_other_regions_can_be_named() -> None:
    cohort = plan_words(settings({"regions": ["IFG"]}))
    response = planted(cohort)[0].std(axis=1)
    assert cohort.patients[0].sensors.regions[int(response.argmax())] == "IFG"


def test_the_response_stands_around_the_words_of_the_table_and_is_the_same_for_the_same_word() -> None:
    cohort = plan_words(settings({"high_gamma": 0, "jitter": 0, "amplitude_spread": 0}, latency_spread=0))
    session, response = cohort.patients[0].sessions[0], planted(cohort)[0]
    around = np.zeros(response.shape[1], bool)
    cuts: dict[str, list[np.ndarray]] = {}
    for spoken in session.words:
        first, last = (round((spoken.onset + t) * 200) for t in (SPAN[0], SPAN[1] + 2 * SYLLABLE))
        around[first : last + 2] = True
        cuts.setdefault(spoken.label, []).append(response[:, first:last])
        assert 0.49 < spoken.onset - spoken.cue < 0.81
    scale = np.abs(response).max()
    assert np.abs(response[:, ~around]).max() < 1e-9 * scale
    for same in cuts.values():
        np.testing.assert_allclose(same[0], same[1], atol=1e-6 * scale)
    one, other = (same[0] for same in list(cuts.values())[:2])
    assert np.abs(one - other).max() > 0.2 * scale


def test_waves_and_bursts_have_the_size_and_the_band_that_are_asked_for() -> None:
    cohort = plan_words(
        settings({"repetitions": 12, "runs": 1, "amplitude_spread": 0, "high_gamma": 2}, snr=1, subjects=1)
    )
    patient = cohort.patients[0]
    assert patient.ratios == pytest.approx((1.0, 2.0))
    session, response = patient.sessions[0], planted(cohort)[0]
    spoken = np.zeros(response.shape[1], bool)
    for word in session.words:
        spoken[round(word.onset * 200) : round((word.onset + 3 * SYLLABLE) * 200)] = True
    frequencies = np.fft.rfftfreq(response.shape[1], 1 / 200)
    spectrum = np.fft.rfft(response, axis=1)

    def ratio(low: float, high: float) -> float:
        inside = (frequencies >= low) & (frequencies <= high)
        part = np.fft.irfft(spectrum * inside, n=response.shape[1], axis=1)[:, spoken]
        return float(np.sqrt((part**2).mean(axis=1) / patient.spectrum.band_power(low, high)).max())

    assert ratio(0.5, 20) == pytest.approx(1.0, rel=0.15)
    assert ratio(60, 90) == pytest.approx(2.0, rel=0.15)
    gap = (frequencies > 25) & (frequencies < 55)
    assert (np.abs(spectrum[:, gap]) ** 2).sum() < 0.01 * (np.abs(spectrum) ** 2).sum()


def test_patients_share_what_syllables_evoke_and_differ_in_contacts() -> None:
    cohort = plan_words(settings())
    first, second = cohort.patients
    assert len(first.sensors.regions) != len(second.sensors.regions)
    assert np.sign(first.sensors.gain.sum(0)).tolist() != np.sign(second.sensors.gain.sum(0)).tolist()
    assert Counter(w.label for w in first.sessions[0].words) == dict.fromkeys(cohort.lexicon.words, 3)


def test_gains_wander_by_about_the_share_that_is_asked_for() -> None:
    from neurodecode.simulation.words import drift

    gains = drift((400, 1200), 0.3, 10.0, np.random.default_rng(0))
    assert np.log(gains[:, 0]).std() == pytest.approx(0.3, abs=0.04)
    assert np.corrcoef(gains[:, 0], gains[:, 100])[0, 1] > 0.9  # after 10 s
    assert abs(np.corrcoef(gains[:, 0], gains[:, 1190])[0, 1]) < 0.2  # after 2 minutes
    assert (drift((3, 100), 0.0, 10.0, np.random.default_rng(0)) == 1).all()


def test_the_observer_solves_loud_words_and_guesses_where_nothing_is_planted() -> None:
    found = {}
    for name, snr, high_gamma in (("none", 0, 0), ("waves", 3, 0), ("bursts", 0, 6)):
        cohort = plan_words(settings({"high_gamma": high_gamma}, snr=snr, subjects=1))
        observer, patient = WordObserver(cohort), cohort.patients[0]
        observer.prepare(patient)
        for session, signal in cohort.clean_sessions(patient):
            observer.observe(patient, session, signal)
        found[name] = {k: v["accuracy"] for k, v in observer.result().items() if k in ("ideal", "waves", "bursts")}
    assert found["none"] == pytest.approx(dict.fromkeys(("ideal", "waves", "bursts"), 0.25))
    assert found["waves"]["waves"] == found["waves"]["ideal"] == 1.0
    assert found["waves"]["bursts"] == pytest.approx(0.25)
    assert found["bursts"]["bursts"] > 0.9
    assert found["bursts"]["ideal"] == pytest.approx(found["bursts"]["bursts"])


def test_the_score_grows_with_what_is_planted() -> None:
    scores = []
    for factor in (0.05, 0.15, 0.6):
        cohort = plan_words(settings({"high_gamma": factor, "repetitions": 12}, snr=factor, subjects=1))
        observer, patient = WordObserver(cohort), cohort.patients[0]
        observer.prepare(patient)
        for session, signal in cohort.clean_sessions(patient):
            observer.observe(patient, session, signal)
        scores.append(observer.result()["ideal"]["accuracy"])
    assert 0.25 < scores[0] < scores[1] < scores[2]


def test_the_tree_reads_as_recordings_with_words_regions_and_a_conversation_without_events(tree: Path) -> None:
    record = json.loads((tree / "simulation.json").read_text(encoding="utf-8"))
    opened = [open_source(source) for source in expand_source(tree)]
    assert len(opened) == 6
    for recording in opened:
        assert recording.simulated
        subject = record["subjects"][int(recording.subject) - 1]
        assert len(recording.raw.ch_names) == subject["channels"]
        inside = [name for name, region in recording.regions.items() if region in ("vSMC", "STG")]
        assert sorted(inside) == sorted(subject["planted_channels"])
        words = recording.events[recording.events["kind"] == "word"] if len(recording.events) else recording.events
        if "conversation" in recording.name:
            assert len(recording.events) == 0
            assert recording.raw.n_times == 30 * 200
        else:
            assert sorted(set(words["label"])) == sorted(record["vocabulary"])
            assert len(words) == 12
            assert (recording.events["kind"] == "cue").sum() == 12


def test_positions_are_in_metres_and_contacts_lie_along_shafts(tree: Path) -> None:
    table = pd.read_csv(tree / "sub-01/ieeg/sub-01_electrodes.tsv", sep="\t")
    assert {"A'1", "T'1"} <= set(table["name"])
    assert np.abs(table[["x", "y", "z"]].to_numpy()).max() < 0.1
    for name, shaft in table.groupby("group"):
        steps = np.linalg.norm(np.diff(shaft[["x", "y", "z"]], axis=0), axis=1)
        np.testing.assert_allclose(steps, 0.0035, atol=3e-6)
        assert (shaft["x"] < 0).all() == name.endswith("'")


def test_the_same_settings_make_the_same_signals_and_snr_leaves_the_rest_alone(tree: Path, tmp_path: Path) -> None:
    made = settings({"conversation_seconds": 30, "drift": 0.3}, line_noise=45, bad_channels=1)
    again = simulate(made, tmp_path / "again")
    for one, other in zip(data_files(tree, "seeg"), data_files(again, "seeg")):
        np.testing.assert_array_equal(read(one), read(other))
    louder = plan_words(made.model_copy(update={"snr": 2.0}))
    same = plan_words(made)
    assert louder.patients[0].sessions == same.patients[0].sessions
    np.testing.assert_array_equal(louder.patients[0].sensors.gain, same.patients[0].sensors.gain)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modality": "meg"}, "modality seeg"),
        ({"stories": 2}, "stories belongs to stories"),
        ({"sfreq": 160}, "sfreq above 180 Hz"),
        ({"words": {"count": 80, "syllables": 5}}, "at most half of the 125"),
        ({"words": {"length": 6, "interval": 1.5}}, "at least 1.76 s"),
        ({"words": {"band": [90, 60]}}, "two rising frequencies"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(changes: dict[str, Any], says: str) -> None:
    words = changes.get("words", {})
    with pytest.raises(ValidationError, match=says):
        settings(words, **{k: v for k, v in changes.items() if k != "words"})


def test_an_unknown_region_or_too_few_contacts_are_refused() -> None:
    from neurodecode.errors import SettingsError

    with pytest.raises(SettingsError, match="V1 is not simulated"):
        plan_words(settings({"regions": ["V1"]}))
    with pytest.raises(SettingsError, match="leave none for STG"):
        plan_words(settings({"channel_spread": 0}, channels=7))
