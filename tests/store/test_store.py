"""A store is whole or says that it is not; what is done stays done; a killed run goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodecode.config import PreprocessingSettings
from neurodecode.errors import RecordingError, StoreError
from neurodecode.recordings.sources import expand_source
from neurodecode.store.build import Summary, preprocess
from neurodecode.store.store import Store
from neurodecode.store.verify import verify_store
from tests.store.conftest import write_ramps

SETTINGS = PreprocessingSettings(picks=("eeg",), find_bads=False, sfreq=50)


def build(raw: Path, store: Path, settings: PreprocessingSettings = SETTINGS, **options) -> Summary:
    return preprocess(expand_source(raw), store, settings, progress=False, **options)


def signals(store: Path) -> dict[str, str]:
    return {recording.name: recording.sha256_signal for recording in Store(store).recordings}


def test_what_went_in_comes_out_at_its_time(ramps: Path, tmp_path: Path) -> None:
    assert build(ramps, tmp_path / "store").done == [f"sub-0{n}_task-story" for n in (1, 2, 3)]
    store = Store(tmp_path / "store")
    recording = store["sub-02_task-story"]
    assert (recording.subject, recording.task, recording.sfreq, recording.datatype) == ("02", "story", 50.0, "eeg")
    assert recording.signal.dtype == np.float32
    assert recording.channels["name"].tolist() == ["Fz", "Cz", "Pz", "Oz"]
    assert isinstance(recording.signal, np.memmap)
    times = np.arange(recording.n_samples) / 50
    expected = 4e-5 * np.sin(2 * np.pi * 1 * times + 1) + 1e-6 * times
    # EDF keeps 16 bits of the range that was used
    np.testing.assert_allclose(recording.signal[0, 50:-50], expected[50:-50], atol=4e-8)
    heard = recording.events[recording.events["kind"] == "stimulus"].iloc[0]
    assert (heard["onset"], heard["duration"], heard["stimulus"]) == (2.0, 15.0, "story")
    assert store.stimuli["story"].kind == "audio"
    assert verify_store(tmp_path / "store") == []


def test_a_language_that_is_stated_later_is_stored_and_one_that_is_not_changes_nothing(
    ramps: Path, tmp_path: Path
) -> None:
    sources = expand_source(ramps)
    preprocess(sources, tmp_path / "store", SETTINGS, progress=False)
    assert {r.language for r in Store(tmp_path / "store").recordings} == {""}
    again = preprocess([replace(s, language="nl") for s in sources], tmp_path / "store", SETTINGS, progress=False)
    assert set(again.reasons.values()) == {"source changed"}
    assert {r.language for r in Store(tmp_path / "store").recordings} == {"nl"}


def test_the_source_is_never_written_to(ramps: Path, tmp_path: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in ramps.rglob("*") if p.is_file()}
    build(ramps, tmp_path / "store")
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in ramps.rglob("*") if p.is_file()} == before


def test_a_second_run_does_nothing(ramps: Path, tmp_path: Path) -> None:
    build(ramps, tmp_path / "store")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.h5")}
    again = build(ramps, tmp_path / "store")
    assert (again.done, len(again.skipped)) == ([], 3)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.h5")} == times


def test_it_says_why_a_recording_is_made_again(ramps: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build(ramps, store)
    name = "sub-01_task-story"
    events = ramps / "sub-01" / "eeg" / f"{name}_events.tsv"
    events.write_text(events.read_text(encoding="utf-8").replace("2.0", "2.5"), encoding="utf-8")
    assert build(ramps, store).reasons == {name: "source changed"}
    assert Store(store)[name].events["onset"].tolist() == [2.5]
    damaged = Store(store)[name].path
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert [p.file for p in verify_store(store)] == [f"sub-01/{damaged.name}"]
    assert build(ramps, store).reasons == {name: "damaged"}
    assert verify_store(store) == []
    other = PreprocessingSettings(picks=("eeg",), find_bads=False, sfreq=40)
    assert set(build(ramps, store, other).reasons.values()) == {"settings changed"}
    assert set(build(ramps, store, other, overwrite=True).reasons.values()) == {"overwrite"}


def test_a_damaged_recording_stops_or_is_named_and_the_others_are_done(ramps: Path, tmp_path: Path) -> None:
    bad = ramps / "sub-02" / "eeg" / "sub-02_task-story_eeg.edf"
    bad.write_bytes(b"")
    with pytest.raises(RecordingError, match=r"sub-02_task-story_eeg\.edf"):
        build(ramps, tmp_path / "stopped")
    summary = build(ramps, tmp_path / "store", on_error="continue")
    assert summary.done == ["sub-01_task-story", "sub-03_task-story"]
    (issue,) = [json.loads(line) for line in (tmp_path / "store" / "issues.jsonl").read_text().splitlines()]
    assert issue["file"].endswith("sub-02_task-story_eeg.edf")
    assert "empty" in issue["error"]
    assert Store(tmp_path / "store").n_issues == 1
    shutil.copy(ramps / "sub-01" / "eeg" / "sub-01_task-story_eeg.edf", bad)
    assert build(ramps, tmp_path / "store", on_error="continue").done == ["sub-02_task-story"]
    assert Store(tmp_path / "store").n_issues == 0


def test_workers_give_the_same_numbers_as_one_process(ramps: Path, tmp_path: Path) -> None:
    build(ramps, tmp_path / "one")
    build(ramps, tmp_path / "two", workers=2)
    assert signals(tmp_path / "one") == signals(tmp_path / "two")


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import neurodecode.files as files
from neurodecode.config import PreprocessingSettings
from neurodecode.recordings.sources import expand_source
from neurodecode.store.build import preprocess
replace, count = os.replace, 0
def dies(source, target):
    global count
    if str(target).endswith(".h5"):
        count += 1
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)  # the file is written, but not renamed yet
    replace(source, target)
files.os.replace = dies
preprocess(expand_source(Path(sys.argv[1])), Path(sys.argv[2]),
           PreprocessingSettings(picks=("eeg",), find_bads=False, sfreq=50), progress=False)
"""


def test_kill_minus_nine_leaves_nothing_that_is_taken_for_whole(ramps: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(ramps), str(store)], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert list(signals(store)) == ["sub-01_task-story"]
    problems = verify_store(store)
    assert len(problems) == 1
    assert "left behind by a killed run" in problems[0].what
    summary = build(ramps, store)
    assert summary.skipped == ["sub-01_task-story"]
    assert summary.done == ["sub-02_task-story", "sub-03_task-story"]
    build(ramps, tmp_path / "undisturbed")
    assert signals(store) == signals(tmp_path / "undisturbed")
    assert verify_store(store) == []
    assert not list(store.rglob("*.part"))


def test_verify_finds_what_is_missing_strange_or_cut(ramps: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    build(ramps, store)
    paths = [r.path for r in Store(store).recordings]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    with h5py.File(paths[2], "r+") as file:
        file["events/onset"][0] = 3.0
    (store / "stimuli" / "other.wav").write_bytes(b"x")
    (store / "stimuli" / "story.wav").write_bytes(b"not the story")
    found = {p.file: p.what for p in verify_store(store)}
    assert "no such file" in found["sub-01/" + paths[0].name]
    assert "sub-02/" + paths[1].name in found
    assert "events/onset" in found["sub-03/" + paths[2].name]
    assert "not in the index" in found["stimuli/other.wav"]
    assert "differs from its checksum" in found["stimuli/story.wav"]


def test_one_stimulus_name_stands_for_one_sound(ramps: Path, tmp_path: Path) -> None:
    build(ramps, tmp_path / "store")
    other = write_ramps(tmp_path / "other", ("07",))
    (other / "stimuli" / "story.wav").write_bytes((ramps / "stimuli" / "story.wav").read_bytes()[:-2000])
    with pytest.raises(RecordingError, match="two stimuli need two names"):
        build(other, tmp_path / "store")
    assert len(Store(tmp_path / "store")) == 3


def test_a_folder_that_holds_something_else_is_refused(ramps: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match=r"holds thesis\.txt but no cohort\.json"):
        build(ramps, tmp_path / "full")
    with pytest.raises(StoreError, match="no such store"):
        Store(tmp_path / "absent")
