"""
Where the numbers of a sample lie on the device.

A picture [C, H, W] lies with its channels innermost, padded to fours; everything else in its own order, padded at its end. A route that
only renames places leaves the numbers where they are: its wire has a layout of its own.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """`place[i]` is where number i of a sample lies, of `stride` places; of every `group` places the first `used` are in use."""

    place: Int[ndarray, " n"]
    stride: int
    group: int
    used: int

    def same(self, other: "Layout") -> bool:
        """Whether the numbers lie alike."""
        return self.stride == other.stride and np.array_equal(self.place, other.place)

    @property
    def straight(self) -> bool:
        """Whether the numbers lie in their order."""
        return bool((self.place == np.arange(len(self.place))).all())


@final
@dataclass(frozen=True, eq=False)
class Spread:
    """How parameters lie along a layout: that of place p is entry p // inner % count, for the place rows[entry] of their axis."""

    inner: int
    count: int
    rows: Int[ndarray, " n"]

    def index(self, stride: int) -> str:
        """The entry of place p in C++."""
        outer = "p" if self.inner == 1 else f"p / {self.inner}"
        return outer if self.inner * self.count >= stride else f"{outer} % {self.count}"


def padded(count: int) -> int:
    """The next multiple of four."""
    return -(-count // 4) * 4


def flat(shape: tuple[int, ...]) -> Layout:
    """Numbers in their order."""
    size = math.prod(shape)
    return Layout(np.arange(size), padded(size), padded(size), size)


def picture(shape: tuple[int, ...]) -> Layout:
    """Channels innermost."""
    channels, height, width = shape
    deep = padded(channels)
    c, y, x = np.indices(shape)
    return Layout(((y * width + x) * deep + c).reshape(-1), height * width * deep, deep, channels)


def natural(shape: tuple[int, ...]) -> Layout:
    """A picture where there are three axes."""
    return picture(shape) if len(shape) == 3 else flat(shape)


def spread(layout: Layout, shape: tuple[int, ...], axis: int) -> Spread:
    """Where the parameters of an axis lie; each place has an entry of its own where they follow no simple order."""
    channel, entries = np.indices(shape)[axis].reshape(-1), np.arange(layout.stride)
    for inner, count in _orders(layout, shape, axis):
        if (layout.place // inner % count == channel).all():
            return Spread(inner, count, np.minimum(np.arange(count), shape[axis] - 1))
    rows = np.zeros(layout.stride, np.int64)
    rows[layout.place] = channel
    return Spread(1, len(entries), rows)


def _orders(layout: Layout, shape: tuple[int, ...], axis: int) -> list[tuple[int, int]]:
    orders = [(math.prod(shape[axis + 1 :]), shape[axis])]
    if len(shape) == 3:
        deep = padded(shape[0])
        orders += [[(1, deep), (shape[2] * deep, shape[1]), (deep, shape[2])][axis]]
    return orders
