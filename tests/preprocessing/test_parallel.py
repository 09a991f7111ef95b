"""Workers change the time, not the result; a failed item is a line; an interrupt is an interrupt."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from neurodecode.errors import RecordingError, SettingsError
from neurodecode.preprocessing import parallel
from neurodecode.preprocessing.parallel import run_parallel


def square(x: int) -> int:
    if x == 3:
        raise RecordingError("three.edf: holds no signal;\n look at it")
    if x == 5:
        raise ZeroDivisionError("five")
    return x * x


def interrupt(x: int) -> int:
    raise KeyboardInterrupt


def threads(x: int) -> list[int]:
    import numpy  # loads the library whose threads are counted  # noqa: F401
    from threadpoolctl import threadpool_info

    return [pool["num_threads"] for pool in threadpool_info()]


def pid(x: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_each_item_has_its_outcome_and_failures_are_one_line(workers: int) -> None:
    seen: list[int] = []
    outcomes = list(run_parallel(square, range(8), workers=workers, progress=lambda o: seen.append(o.index)))
    by_index = {outcome.index: outcome for outcome in outcomes}
    assert sorted(seen) == sorted(by_index) == list(range(8))
    assert [by_index[i].value for i in (0, 1, 2, 4, 6, 7)] == [0, 1, 4, 16, 36, 49]
    assert by_index[3].error == "three.edf: holds no signal; look at it"
    assert by_index[3].expected
    assert by_index[5].error == "ZeroDivisionError: five"
    assert not by_index[5].expected
    assert "in square" in by_index[5].details


def test_two_workers_are_two_processes_with_one_thread_each() -> None:
    assert os.getpid() not in {outcome.value for outcome in run_parallel(pid, range(2), workers=2)}
    for outcome in run_parallel(threads, range(2), workers=2):
        assert outcome.error is None
        assert set(outcome.value) <= {1}


def test_an_interrupt_is_not_taken_for_a_failed_item() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_parallel(interrupt, range(2)))


def test_items_after_the_closing_of_the_iterator_are_not_started() -> None:
    started: list[int] = []
    outcomes = run_parallel(started.append, range(9))
    next(outcomes)
    outcomes.close()
    assert started == [0]


def test_a_missing_extra_is_one_clear_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(
        SettingsError, match=r"dask.distributed is not installed; .* pip install 'neurodecode\[cluster\]'"
    ):
        list(run_parallel(square, [1], dask="tcp://127.0.0.1:1"))


def test_no_scheduler_at_the_address_is_one_clear_line(monkeypatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(parallel, "DASK_TIMEOUT", "200ms")
    with pytest.raises(SettingsError, match=r"--dask tcp://127.0.0.1:9: no Dask scheduler answers there"):
        list(run_parallel(square, [1], dask="tcp://127.0.0.1:9"))


def test_importing_the_runner_loads_neither_joblib_nor_dask() -> None:
    code = "import sys, neurodecode.preprocessing.parallel; print({'joblib', 'dask', 'mne'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
