"""Threads that share a kernel's work. Kernels let go of the interpreter's lock, so they run at the same time."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def together(task: Callable[..., Any], pieces: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What the task answers for each piece of the work, a thread for each; the first is done by the caller's own."""
    if len(pieces) == 1:
        return [task(*pieces[0])]
    others = [_pool().submit(task, *piece) for piece in pieces[1:]]
    return [task(*pieces[0]), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="spikeloom-kernel")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
