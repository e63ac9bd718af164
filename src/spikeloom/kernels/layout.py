"""
Where the channels of a tensor lie in memory, as a kernel walks it: in one line, from the first number to the last.

A tensor without gaps and overlaps is `rows` rows of `length` neighbours. Either a row belongs to one channel, or its neighbours are
channels themselves:

    apart      channel(row, j) = (row // mid) % groups                 channels on an axis before others, [B, C, H, W]        (1)
    together   channel(row, j) = ((row // mid) % groups)·length + j    on the last axis, [B, L, C], or on two, [B, H, L, D]   (2)

The axes may lie in memory in any order: what is walked is memory.
"""

import math
from itertools import pairwise
from typing import NamedTuple, final


@final
class Layout(NamedTuple):
    """How a kernel walks a tensor, (1) or (2)."""

    rows: int
    length: int
    mid: int
    groups: int
    together: bool


@final
class Run(NamedTuple):
    """Neighbouring axes in memory that are as one: how long, and by how much the channel grows along it (0: no channels)."""

    size: int
    channel: int


def layout_of(shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[int, ...], channels: int) -> Layout | None:
    """How to walk a tensor with so many channels on `axes` (counted from either end); None where it has gaps, or its channels lie as
    neither (1) nor (2) says."""
    size = math.prod(shape)
    order = sorted((axis for axis in range(len(shape)) if shape[axis] != 1), key=lambda axis: -strides[axis])
    if size == 0 or not _is_dense([shape[axis] for axis in order], [strides[axis] for axis in order]):
        return None
    if channels == 1:
        return Layout(1, size, 1, 1, False)
    runs = _runs(shape, order, {axis % len(shape) for axis in axes})
    if math.prod(run.size for run in runs if run.channel) != channels:
        return None
    return _walk(runs, size)


def _is_dense(sizes: list[int], strides: list[int]) -> bool:
    expected = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    return expected == strides


def _runs(shape: tuple[int, ...], order: list[int], axes: set[int]) -> list[Run]:
    """The axes in the order of memory, neighbours joined where they are as one."""
    found = [axis for axis in range(len(shape)) if axis in axes]
    grows = {axis: math.prod(shape[later] for later in found[place + 1 :]) for place, axis in enumerate(found)}
    runs: list[Run] = []
    for run in (Run(shape[axis], grows.get(axis, 0)) for axis in order):
        if runs and runs[-1].channel == run.channel * run.size:
            run = Run(runs.pop().size * run.size, run.channel)
        runs.append(run)
    return runs


def _walk(runs: list[Run], size: int) -> Layout | None:
    last = runs[-1]
    placed = [place for place, run in enumerate(runs) if run.channel]
    if last.channel == 0 and len(placed) == 1 and runs[placed[0]].channel == 1:
        return Layout(size // last.size, last.size, 1, runs[placed[0]].size, False)
    if last.channel != 1 or len(placed) > 2:
        return None
    mid = math.prod(run.size for run in runs[placed[0] + 1 : -1]) if len(placed) == 2 else 1
    groups = runs[placed[0]].size if len(placed) == 2 else 1
    wide = all(runs[low].channel == runs[high].size for low, high in pairwise(placed))
    return Layout(size // last.size, last.size, mid, groups, True) if wide else None
