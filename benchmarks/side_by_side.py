"""Time several ways of doing one thing fairly: in turns, several rounds, CPU seconds of the process; report ratios.

Each way runs once unmeasured, then `rounds` times in an order that changes; the median is reported beside the spread.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable


def side_by_side(title: str, ways: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Print and return the median CPU seconds of each way; the first is the reference of the ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for function in ways.values():
        function()
    names = list(ways)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            begin = time.process_time()
            ways[name]()
            seconds[name].append(time.process_time() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    reference = medians[names[0]]
    print(f"\n{title}\n{'way':<44} {'CPU s':>9} {'min':>9} {'max':>9} {'times faster':>13}")
    for name, values in seconds.items():
        print(
            f"{name:<44} {medians[name]:>9.4f} {min(values):>9.4f} {max(values):>9.4f} {reference / medians[name]:>13.2f}"
        )
    print(f"command: python {' '.join(sys.argv)}")
    return medians
