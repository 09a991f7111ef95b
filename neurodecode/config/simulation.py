"""Settings of the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from neurodecode.config.base import Settings


class WordSettings(Settings):
    """Patients with depth electrodes who speak words, in place of listeners to stories.

    A word is a row of syllables. Each syllable has, in each source of the planted regions, a wave of its own below 20 Hz and a
    burst of its own in a band of high frequencies; words share syllables.
    """

    count: int = Field(8, ge=2, le=200)
    """Words of the vocabulary."""
    syllables: int = Field(10, ge=3, le=24)
    """Syllables that words are made of; the fewer, the more alike the words are."""
    length: int = Field(3, ge=1, le=6)
    """Syllables of a word, 0.16 s each."""
    repetitions: PositiveInt = 6
    """Times that each word is spoken in a run."""
    runs: int = Field(5, ge=1, le=30)
    """Runs of a patient."""
    interval: float = Field(2.0, ge=1.5)
    """From one cue to the next, s; up to 0.3 s are added by chance. A word begins 0.5 to 0.8 s after its cue."""
    regions: tuple[str, ...] = ("vSMC", "STG")
    """Regions in which something is planted; every patient has contacts there, on the left."""
    high_gamma: float = Field(0.5, ge=0)
    """Difficulty of the second part: planted bursts over background, root mean square in `band` while words are spoken, at
    the best contact, for the median patient. The first part is `snr`, between 0.5 and 20 Hz."""
    band: tuple[PositiveFloat, PositiveFloat] = (70.0, 150.0)
    """Of the bursts, Hz."""
    amplitude_spread: float = Field(0.3, ge=0)
    """A word's size differs from trial to trial by about this share."""
    jitter: float = Field(0.02, ge=0, le=0.1)
    """The response starts so early or late in a trial, standard deviation, s."""
    drift: float = Field(0.3, ge=0)
    """Each contact's gain wanders by about this share within some minutes."""
    channel_spread: float = Field(0.3, ge=0, le=0.6)
    """Patients have fewer or more contacts than `channels` by up to this share."""
    conversation_seconds: float = Field(0.0, ge=0)
    """Length of one more recording of each patient, s, who talks freely: other rows of the same syllables, without events."""
    talking: float = Field(0.6, gt=0, le=1)
    """Share of the conversation in which the patient speaks."""

    @model_validator(mode="after")
    def _possible(self) -> WordSettings:
        if self.count > self.syllables**self.length // 2:
            raise ValueError(
                f"count ({self.count}) may be at most half of the {self.syllables**self.length} rows of {self.length} "
                f"syllables out of {self.syllables}; raise syllables or length"
            )
        if self.length * 0.16 + 0.8 > self.interval:
            raise ValueError(
                f"interval ({self.interval:g} s) must be at least {self.length * 0.16 + 0.8:.2f} s: a word of {self.length} "
                "syllables would run into the next cue"
            )
        if self.band[0] >= self.band[1] or self.band[0] < 40:
            raise ValueError(f"band is {list(self.band)}: give two rising frequencies of 40 Hz or more")
        if not self.regions:
            raise ValueError("regions is empty: name at least one, for example [vSMC, STG]")
        return self


NOT_WITH_WORDS = ("stories", "speech", "run_seconds", "linear", "lexical", "orientation_spread", "background")


class SimulationSettings(Settings):
    """A cohort with a planted response to speech."""

    name: str = "simulated"
    modality: Literal["meg", "eeg", "seeg"] = "meg"
    subjects: PositiveInt = 4
    channels: int = Field(60, ge=4, le=256)
    """Sensors (meg, eeg) or contacts (seeg) of a subject."""
    sfreq: float = Field(250.0, ge=100, le=5000)
    """Rate of the written files, Hz; at least 100, since the response is planted up to 40 Hz."""
    stories: PositiveInt | None = None
    """So many of the embedded stories; none takes all."""
    speech: Path | None = None
    """A folder of own speech in the embedded layout instead."""
    run_seconds: PositiveFloat = 180.0
    """Length of a run aimed at, s: whole stories are put together until about this."""
    snr: float = Field(1.0, ge=0)
    """Difficulty: planted response over background, root mean square between 0.5 and 20 Hz at the best sensor, for the
    median subject; 0 plants nothing."""
    linear: float = Field(0.5, ge=0, le=1)
    """Share of the planted power that is the acoustic envelope filtered linearly; phones evoke the rest. Power is that
    between 0.5 and 20 Hz, summed over channels, the two parts taken apart from one another."""
    lexical: float = Field(0.0, ge=0, le=2)
    """Planted effect of word frequency: what the phones of a word evoke grows by this share with each standard deviation of
    minus the logarithm of the word's share of the cohort's words, down to nothing for frequent ones; 0 plants none."""
    position_spread: float = Field(0.01, ge=0)
    """Head position differs between subjects by about this, m."""
    gain_spread: float = Field(0.3, ge=0)
    """Sensor gains and source strengths differ between subjects by about this share."""
    latency_spread: float = Field(0.008, ge=0, le=0.03)
    """Response latency differs between subjects by about this, s."""
    orientation_spread: float = Field(30.0, ge=0, le=90)
    """Source orientation differs between subjects by about this, degrees."""
    background: Path | None = None
    """A real recording to lay under the response instead of coloured noise."""
    line_noise: PositiveFloat | None = 50.0
    """Mains frequency added, Hz."""
    artefacts: PositiveFloat | None = None
    """Large artefacts a minute (none: no artefacts)."""
    artefact_size: PositiveFloat = 25.0
    """Largest peak of an artefact over the background; of a real electrode that pops or a squid that jumps: hundreds."""
    movement: float = Field(0.0, ge=0)
    """The head (meg) or the cap (eeg) moves from run to run of one subject by about this, m; files state the first place."""
    bad_channels: int = Field(0, ge=0)
    """Channels of each subject that are flat, and marked bad in channels.tsv."""
    words: WordSettings | None = None
    """Patients who speak words (seeg only) instead of listeners to stories."""
    seed: int = Field(0, ge=0)
    """Of every random draw; the same seed makes the same signals."""

    @model_validator(mode="after")
    def _possible(self) -> SimulationSettings:
        if self.line_noise is not None and self.line_noise >= self.sfreq / 2:
            raise ValueError(
                f"line_noise ({self.line_noise:g} Hz) needs sfreq above {2 * self.line_noise:g} Hz; "
                f"raise sfreq or set line_noise: null"
            )
        if self.bad_channels > self.channels // 2:
            raise ValueError(f"bad_channels ({self.bad_channels}) may be at most half of channels ({self.channels})")
        if self.movement and (self.modality == "seeg" or self.background is not None):
            raise ValueError("movement must be 0 for seeg (contacts stay where they are) and with a real background")
        if self.modality == "seeg" and self.sfreq != round(self.sfreq):
            raise ValueError(f"sfreq ({self.sfreq:g} Hz) must be a whole number for seeg: EDF holds whole seconds")
        if self.words is not None:
            self._check_words(self.words)
        return self

    def _check_words(self, words: WordSettings) -> None:
        if self.modality != "seeg":
            raise ValueError(f"words are simulated for modality seeg, not for {self.modality}")
        if words.band[1] >= self.sfreq / 2:
            raise ValueError(f"words.band ends at {words.band[1]:g} Hz: it needs sfreq above {2 * words.band[1]:g} Hz")
        fields = type(self).model_fields
        odd = [key for key in NOT_WITH_WORDS if getattr(self, key) != fields[key].default]
        if odd:
            raise ValueError(f"{odd[0]} belongs to stories: with words leave it out")
