"""Run one function over many items, by joblib here or by Dask on a cluster; a failed item is a line, not a crash.

A picklable function and a list of items in; `Outcome`s out as they are finished, each with the index of its item, so
that what the caller makes of them does not depend on the order. Workers get one thread each for BLAS and FFT.

    for outcome in run_parallel(work, items, workers=4):
        print(outcome.index, outcome.error or outcome.value)
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from neurodecode.errors import NeurodecodeError, SettingsError

DASK_TIMEOUT = "10s"  # how long a scheduler is waited for


@dataclass(frozen=True)
class Outcome:
    """What came of one item.

    Attributes
    ----------
    index
        Of the item.
    value
        What the function returned; None when it failed.
    error
        One line, or None. Messages of the project's own errors stand alone; others carry the exception's name.
    expected
        The failure was one of the project's own errors, and not a fault in the code.
    details
        Traceback of a failure, for `--debug`.
    """

    index: int
    value: Any = None
    error: str | None = None
    expected: bool = True
    details: str = ""


def one_line(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, NeurodecodeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def guarded(function: Callable[[Any], Any], index: int, item: Any) -> Outcome:
    """Call the function; an exception becomes part of the outcome. KeyboardInterrupt and SystemExit pass."""
    try:
        return Outcome(index, function(item))
    except Exception as error:
        return Outcome(index, None, one_line(error), isinstance(error, NeurodecodeError), traceback.format_exc())


def run_parallel(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    workers: int = 1,
    dask: str | None = None,
    progress: Callable[[Outcome], None] | None = None,
) -> Iterator[Outcome]:
    """Apply `function` to every item.

    Parameters
    ----------
    function
        Of one item; picklable when `workers` > 1 or `dask` is given.
    items
        Likewise.
    workers
        Processes on this machine; 1 runs in this process.
    dask
        Address of a Dask scheduler (`tcp://host:port`), which takes the place of `workers`.
    progress
        Called in this process with each outcome as it comes.

    Yields
    ------
    Outcome
        In the order of completion. Closing the iterator cancels what has not started.

    Raises
    ------
    SettingsError
        If the extra `cluster` is missing, or no scheduler answers at the address.
    """
    there = partial(_in_folder, os.getcwd(), function)
    if dask is not None:
        outcomes: Generator[Outcome, None, None] = _on_dask(there, items, dask)
    elif workers > 1 and len(items) > 1:
        outcomes = _on_processes(there, items, workers)
    else:
        outcomes = (guarded(function, index, item) for index, item in enumerate(items))
    try:
        for outcome in outcomes:
            if progress is not None:
                progress(outcome)
            yield outcome
    finally:
        outcomes.close()


def _in_folder(folder: str, function: Callable[[Any], Any], item: Any) -> Any:
    """Apply `function` where the caller stands, so that relative paths mean the same in a worker that began elsewhere."""
    if os.getcwd() != folder:
        os.chdir(folder)
    return function(item)


def _on_processes(function: Callable, items: Sequence[Any], workers: int) -> Generator[Outcome, None, None]:
    import joblib

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=min(workers, len(items)), return_as="generator_unordered", batch_size=1)
        yield from pool(joblib.delayed(guarded)(function, index, item) for index, item in enumerate(items))


def _on_dask(function: Callable, items: Sequence[Any], address: str) -> Generator[Outcome, None, None]:
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise SettingsError(
            f"--dask {address}: the package dask.distributed is not installed; "
            "install the extra: pip install 'neurodecode[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=DASK_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SettingsError(f"--dask {address}: no Dask scheduler answers there ({one_line(error)})") from None
    with client:
        futures = [client.submit(_on_worker, function, index, item, pure=False) for index, item in enumerate(items)]
        indices = {future.key: index for index, future in enumerate(futures)}
        try:
            for future in as_completed(futures):
                if future.status == "finished":
                    yield future.result()
                else:  # the worker died or the item did not travel: this is the item's failure
                    failure = future.exception()
                    yield Outcome(indices[future.key], None, one_line(failure), False, "")
        finally:
            client.cancel(futures)


def _on_worker(function: Callable, index: int, item: Any) -> Outcome:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return guarded(function, index, item)
