"""Times of functions that take turns, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Mapping


def fastest(functions: Mapping[str, Callable[[], object]], seconds: float, calls: int = 1) -> dict[str, float]:
    """The least time of each function, taking turns for so many seconds, after one untimed call of each (compilation). With more than one
    call a turn, a function finds in the caches what it left there itself, not what the others did."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or any(value == float("inf") for value in best.values()):
        for name, function in [item for item in functions.items() for _ in range(calls)]:
            began = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - began)
    return best
