"""
How many thresholds a number reaches, in a few operations.

    k = #{j: h ≥ t_j} = (m·(clip(h, low, high) - low) + c) >> s                                        (1)

A line of slope m / 2^s climbs exactly as the thresholds do wherever they are rounded from equally spaced ones. m and c of each channel are
solved from what each threshold demands on both its sides,

    m·(t_j - low) + c ≥ j·2^s   and   m·(t_j - 1 - low) + c ≤ j·2^s - 1,                               (2)

so that (1) is proven where it is used. Where no line does it, thresholds are compared one by one, or searched.
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import InternalError

COMPARED, SEARCHED = 4, 24
"""So many thresholds are compared without looking for a line; more than so many are searched where there is none."""


@final
@dataclass(frozen=True, eq=False)
class Line:
    """Equation (1) for each channel, in 32 or 64 bits."""

    low: Int[ndarray, " c"]
    high: Int[ndarray, " c"]
    slope: Int[ndarray, " c"]
    start: Int[ndarray, " c"]
    shift: int
    bits: int


Way = Line | Literal["compare", "search"]


def way_of(thresholds: Int[ndarray, "c k"], least: int, most: int) -> Way:
    """The cheapest way to count the thresholds [C, K] that numbers from `least` to `most` reach."""
    levels = thresholds.shape[1]
    if levels <= COMPARED:
        return "compare"
    for bits in (32, 64):
        found = line_of(thresholds, least, most, bits)
        if found is not None:
            return found
    return "compare" if levels <= SEARCHED else "search"


def line_of(thresholds: Int[ndarray, "c k"], least: int, most: int, bits: int) -> Line | None:
    """The line of every channel with one shift for all; None where some channel has none."""
    levels = thresholds.shape[1]
    shift = (32 if bits == 32 else 60) - (levels + 1).bit_length()  # 32: without a sign
    if bits == 64:  # no finer than what leaves slopes 31 bits: they multiply faster
        apart = np.diff(thresholds, axis=1)
        shift = min(shift, 29 + int(apart[apart > 0].min(initial=1 << 40)).bit_length())
    if bits == 32 and (least < -(1 << 31) or most >= 1 << 31):
        return None
    rows = [_row(row, least, most, shift) for row in thresholds]
    if any(row is None for row in rows):
        return None
    low, high, slope, start = np.array(rows, np.int64).T
    if bits == 32 and slope.max() >= 1 << 31:
        return None
    found = Line(low, high, slope, start, shift, bits)
    _check(found, thresholds, least, most)
    return found


def _row(row: Int[ndarray, " k"], least: int, most: int, shift: int) -> tuple[int, int, int, int] | None:
    """(low, high, m, c) of one channel, or None. All numbers of (2) stay below 2^62."""
    low, high, unit = max(least, int(row[0]) - 1), min(most, int(row[-1])), 1 << shift
    if low >= high:  # one cell only
        return low, low, 0, int((row <= low).sum()) << shift
    inside = np.unique(row[(row > low) & (row <= high)])
    up, down = np.concatenate([[low], inside]), np.concatenate([inside - 1, [high]])  # where the line is at least, and at most, so high
    at_least = np.searchsorted(row, up, side="right") * unit
    at_most = (np.searchsorted(row, down, side="right") + 1) * unit - 1
    across, rise = (up[:, None] - down[None, :]).reshape(-1), (at_least[:, None] - at_most[None, :]).reshape(-1)
    steep, flat = across > 0, across < 0
    least_slope = int((-(-rise[steep] // across[steep])).max(initial=0))
    most_slope = int((-rise[flat] // -across[flat]).min())
    if least_slope > most_slope:
        return None
    slope = (least_slope + most_slope) // 2
    first, last = int((at_least - slope * (up - low)).max()), int((at_most - slope * (down - low)).min())
    return None if first > last else (low, high, slope, (first + last) // 2)


def _check(line: Line, thresholds: Int[ndarray, "c k"], least: int, most: int) -> None:
    """Both sides of every threshold, and both ends. Raises InternalError where equation (1) is wrong."""
    for place, row in enumerate(thresholds):
        h = np.unique(np.concatenate([row, row - 1, [least, most]]).clip(least, most))
        clipped = h.clip(line.low[place], line.high[place]) - line.low[place]
        counted = [(int(line.slope[place]) * int(value) + int(line.start[place])) >> line.shift for value in clipped]
        if (np.searchsorted(row, h, side="right") != counted).any():
            raise InternalError("a staircase's line is wrong")
