"""What is planted: size, time, linear share, differences between subjects; all measured on the files or the sources."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from neurodecode.config import SimulationSettings
from neurodecode.errors import SettingsError
from neurodecode.simulation.cohort import BAND, Cohort, Subject, plan_cohort
from neurodecode.simulation.lexical import phone_sizes, word_sizes
from neurodecode.simulation.response import contexts, source_geometry
from neurodecode.simulation.sensors import make_sensors
from neurodecode.simulation.simulate import simulate
from neurodecode.simulation.speech import load_speech
from tests.simulation.conftest import data_files, read, small


def in_band(signal: np.ndarray, sfreq: float = 100) -> np.ndarray:
    return sosfiltfilt(butter(4, BAND, btype="bandpass", fs=sfreq, output="sos"), signal, axis=1)


def heard(path: Path, sfreq: float = 100) -> np.ndarray:
    """Samples during which a story is heard."""
    events = pd.read_csv(str(path).replace("_meg.fif", "_events.tsv"), sep="\t")
    return np.concatenate(
        [np.arange(round(o * sfreq), round((o + d) * sfreq)) for o, d in zip(events["onset"], events["duration"])]
    )


def test_the_same_seed_makes_the_same_signals_and_another_seed_others(make, tmp_path: Path) -> None:
    first, again = make(subjects=2), simulate(small(subjects=2), tmp_path / "again")
    other = make(subjects=2, seed=4)
    for a, b, c in zip(data_files(first), data_files(again), data_files(other)):
        assert np.array_equal(read(a), read(b))
        assert a.name == c.name
        assert not np.array_equal(read(a)[:, :500], read(c)[:, :500])
    assert (first / "simulation.json").read_bytes() == (again / "simulation.json").read_bytes()


def test_snr_is_the_median_over_subjects_of_response_over_background_at_the_best_channel(make) -> None:
    wished, shape = 2.0, {"subjects": 3, "stories": 2}
    planted, silent = make(snr=wished, **shape), make(snr=0, **shape)
    ratios = []
    for a, b in zip(data_files(planted), data_files(silent)):
        background = read(b)
        response = read(a) - background
        rows = heard(a)
        size = np.sqrt((in_band(response)[:, rows] ** 2).mean(axis=1))
        ratios.append((size / np.sqrt((in_band(background) ** 2).mean(axis=1))).max())
    stated = [s["snr"] for s in json.loads((planted / "simulation.json").read_text(encoding="utf-8"))["subjects"]]
    np.testing.assert_allclose(ratios, stated, rtol=0.15)  # a background of two minutes varies by some per cent
    assert np.median(ratios) == pytest.approx(wished, rel=0.1)
    assert np.ptp(ratios) > 0.1  # stronger and weaker subjects


def test_without_snr_the_files_hold_the_background_alone(make) -> None:
    cohort = plan_cohort(small(snr=0))
    assert cohort.subjects[0].weights == (0.0, 0.0)
    quiet, loud = read(data_files(make(snr=0))[0]), read(data_files(make(snr=5))[0])
    before = pd.read_csv(str(data_files(make(snr=0))[0]).replace("_meg.fif", "_events.tsv"), sep="\t")["onset"][0]
    silence = slice(0, round(before * 100))
    assert np.array_equal(quiet[:, silence], loud[:, silence])
    assert not np.array_equal(quiet[:, 500:600], loud[:, 500:600])


def test_the_envelope_part_comes_at_the_latencies_of_the_kernel_after_the_event_in_the_table(make) -> None:
    shape = {"linear": 1.0, "latency_spread": 0}
    planted, silent = data_files(make(snr=1, **shape))[0], data_files(make(snr=0, **shape))[0]
    response = read(planted) - read(silent)
    response = response[np.abs(response).max(axis=1).argmax()]
    event = pd.read_csv(str(planted).replace("_meg.fif", "_events.tsv"), sep="\t").iloc[0]
    audio, rate = soundfile.read(make(snr=1, **shape) / "stimuli" / event["stim_file"])
    frames = rate // 100  # one envelope value per sample of the recording, made here without the simulator
    power = np.convolve(audio**2, np.hanning(321) / np.hanning(321).sum(), "same")
    envelope = np.sqrt(power[::frames])
    lags = np.arange(60) / 100
    kernel = sum(
        a * np.exp(-0.5 * ((lags - t) / w) ** 2)
        for t, w, a in ((0.05, 0.015, 0.6), (0.1, 0.022, -1), (0.2, 0.045, 0.7))
    )
    expected = np.convolve(envelope, kernel)
    start = round(event["onset"] * 100)

    def agreement(shift: int) -> float:
        return abs(np.corrcoef(response[start + shift : start + shift + len(expected)], expected)[0, 1])

    assert agreement(0) > 0.999
    assert agreement(-2) < 0.95
    assert agreement(2) < 0.95


def explained_by_envelope(cohort: Cohort, subject: Subject) -> float:
    """Share of the power of all channels that the best filter of the envelope explains (0.6 s, least squares)."""
    speech = cohort.stories[0]
    linear, phones = cohort.sources(subject, speech)
    response = in_band(subject.sensors.gain @ (linear + phones))
    envelope = speech.envelope(np.arange(response.shape[1]) / 100)
    design = in_band(np.stack([np.r_[np.zeros(k), envelope[: len(envelope) - k]] for k in range(60)])).T
    weights, *_ = np.linalg.lstsq(design, response.T, rcond=None)
    return 1 - float(((response.T - design @ weights) ** 2).sum() / (response**2).sum())


@pytest.mark.parametrize(("linear", "low", "high"), [(1.0, 0.99, 1.01), (0.5, 0.4, 0.75), (0.0, 0.0, 0.3)])
def test_a_filter_of_the_envelope_explains_about_the_linear_share(linear: float, low: float, high: float) -> None:
    cohort = plan_cohort(small(linear=linear))
    subject = cohort.subjects[0]
    assert low < explained_by_envelope(cohort, subject) < high
    assert subject.power[0] / sum(subject.power) == pytest.approx(linear)


def test_the_linear_share_holds_in_the_channels_of_every_subject() -> None:
    cohort = plan_cohort(small(subjects=3, linear=0.3))
    for subject in cohort.subjects:
        parts = cohort.sources(subject, cohort.stories[0])
        power = [(in_band(subject.sensors.gain @ part) ** 2).sum() for part in parts]
        assert power[0] / sum(power) == pytest.approx(0.3, abs=0.02)


def test_subjects_differ_in_heads_gains_latencies_and_story_order() -> None:
    cohort = plan_cohort(small(subjects=3, stories=4))
    gains = [subject.sensors.gain / np.linalg.norm(subject.sensors.gain) for subject in cohort.subjects]
    heads = [subject.sensors.info["dev_head_t"]["trans"] for subject in cohort.subjects]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs((gains[i] * gains[j]).sum()) < 0.97
        assert np.abs(heads[i] - heads[j]).max() > 0.001
    assert len({subject.kernels.latency for subject in cohort.subjects}) == 3
    orders = {tuple(speech.name for speech in subject.speech()) for subject in cohort.subjects}
    assert len(orders) > 1
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_without_spread_subjects_are_alike() -> None:
    spreads = dict.fromkeys(("position_spread", "gain_spread", "latency_spread", "orientation_spread"), 0)
    one, two = (make_sensors(small(**spreads), np.random.default_rng(k)) for k in (1, 2))
    np.testing.assert_allclose(one.gain, two.gain, rtol=1e-9, atol=1e-12)


def test_the_gain_of_a_source_in_the_left_is_largest_at_sensors_of_the_left() -> None:
    sensors = make_sensors(small(modality="seeg", channels=60, position_spread=0), np.random.default_rng(0))
    positions, _ = source_geometry()
    best = np.abs(sensors.gain).argmax(axis=0)
    assert np.array_equal(np.sign(sensors.positions[best, 0]), np.sign(positions[:, 0]))


def test_the_background_falls_with_frequency_and_its_spectrum_is_the_stated_one(make) -> None:
    subject = plan_cohort(small(snr=0)).subjects[0]
    signal = read(data_files(make(snr=0))[0])
    for low, high in ((0.5, 2), (2, 8), (8, 12), (20, 40)):
        power = np.abs(np.fft.rfft(signal, axis=1)) ** 2 * 2 / signal.shape[1] ** 2
        frequencies = np.fft.rfftfreq(signal.shape[1], 1 / 100)
        found = power[:, (frequencies >= low) & (frequencies < high)].sum(axis=1)
        assert np.mean(found) == pytest.approx(np.mean(subject.spectrum.band_power(low, high)), rel=0.2)
    slow, fast = (subject.spectrum.band_power(f, f + 1).mean() for f in (1, 30))
    assert slow > 5 * fast


def test_the_context_of_a_phone_is_the_one_before_it_or_silence() -> None:
    phones = pd.DataFrame({"onset": [0.1, 0.2, 0.9], "duration": [0.1, 0.1, 0.1], "label": ["m", "aa", "t"]})
    assert contexts(phones) == ["", "m", ""]


def test_without_a_lexical_effect_all_words_are_alike_and_with_it_rare_ones_are_larger() -> None:
    stories = load_speech(None, 2)
    labels = [label for speech in stories for label in speech.events("word")["label"]]
    assert word_sizes(stories, 0.0) == {}
    sizes = word_sizes(stories, 0.4)
    assert set(sizes) == set(labels)
    counts = Counter(labels)
    for one, two in itertools.combinations(sorted(sizes), 2):
        if counts[one] != counts[two]:
            assert (sizes[one] > sizes[two]) == (counts[one] < counts[two])
    each = np.array([sizes[label] for label in labels])
    assert each.mean() == pytest.approx(1, abs=0.02)
    assert each.std() == pytest.approx(0.4, abs=0.02)
    assert min(word_sizes(stories, 2.0).values()) == 0


def test_a_phone_has_the_size_of_its_word() -> None:
    (speech,) = load_speech(None, 1)
    sizes = word_sizes([speech], 0.5)
    found = phone_sizes(speech, sizes)
    words, phones = speech.events("word"), speech.events("phone")
    for middle, size in zip(phones["onset"] + phones["duration"] / 2, found):
        inside = words[(words["onset"] <= middle) & (words["onset"] + words["duration"] > middle)]
        assert size == (sizes[inside["label"].iloc[0]] if len(inside) else 1.0)
    assert np.ptp(found) > 0.5
    assert (phone_sizes(speech, {}) == 1).all()


def test_the_lexical_effect_changes_the_phones_part_alone_and_neither_share_nor_snr() -> None:
    plain, lexical = plan_cohort(small(linear=0.3)), plan_cohort(small(linear=0.3, lexical=0.8))
    speech = plain.stories[0]
    before, after = (cohort.sources(cohort.subjects[0], speech) for cohort in (plain, lexical))
    assert np.corrcoef(before[0].ravel(), after[0].ravel())[0, 1] == pytest.approx(1)
    assert np.corrcoef(before[1].ravel(), after[1].ravel())[0, 1] < 0.95
    subject = lexical.subjects[0]
    assert subject.power[0] / sum(subject.power) == pytest.approx(0.3)
    assert subject.snr == pytest.approx(plain.subjects[0].snr)


def test_mains_and_flat_channels_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="line_noise"):
        SimulationSettings(sfreq=100, line_noise=60)
    with pytest.raises(ValueError, match="bad_channels"):
        SimulationSettings(channels=10, bad_channels=6)


@pytest.mark.shared_data
def test_a_real_recording_lies_under_the_response(shared_data: Path, make) -> None:
    import mne
    from scipy.signal import resample_poly

    file = shared_data / "eegmat" / "Subject00_1.edf"
    shape = {"modality": "eeg", "channels": 16, "background": str(file), "subjects": 2}
    root = make(snr=0, **shape)
    first, second = (read(path) for path in data_files(root, "eeg"))
    real = mne.io.read_raw(file, preload=True, verbose="error").pick("eeg").filter(0.3, None, verbose="error")
    expected = resample_poly(real.get_data()[:16], 1, 5, axis=1)[:, 100:4000]
    np.testing.assert_allclose(first[:, 100:4000], expected - real.get_data()[:16].mean(axis=1)[:, None], atol=0.3e-6)
    # the second subject has the power of the recording, but not its course
    assert np.sqrt((second**2).mean()) == pytest.approx(np.sqrt((first**2).mean()), rel=0.2)
    assert abs(np.corrcoef(first[0, 100:4000], second[0, 100:4000])[0, 1]) < 0.2
    with pytest.raises(SettingsError, match="channels"):
        plan_cohort(small(**(shape | {"channels": 60})))


def test_a_background_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist") as refusal:
        simulate(small(background=str(tmp_path / "none.edf")), tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()
