"""
Routes of images that a convolution with zeros and ones is: a choice of channels, every s-th place, rows and columns put around or cut off.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware import Route, Wire


@final
@dataclass(frozen=True)
class Window:
    """The convolution: a weight [O, I, *kernel] with at most one 1 a row, its stride, and a padding that is the same on both sides."""

    weight: Int[ndarray, "o i h w"]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def square(self) -> bool:
        """Whether the kernel is as high as wide."""
        return self.weight.shape[2] == self.weight.shape[3]


def window_of(operation: Route, wires: list[Wire]) -> Window | None:
    """The convolution that a route of images is, or None where it is none."""
    if operation.index is None or len(wires) != 1 or len(wires[0].shape) != 3 or len(operation.shape) != 3:
        return None
    channels, *size = wires[0].shape
    out, *after = operation.shape
    index = operation.index.reshape(operation.shape)
    origin, *places = np.unravel_index(np.maximum(index, 0), wires[0].shape)
    steps = [_steps(np.where(index < 0, -1, place), axis, size[axis - 1]) for axis, place in enumerate(places, 1)]
    chosen = np.where(index < 0, -1, origin).reshape(out, -1).max(1)
    if not np.array_equal(index, _taken(chosen, steps, size, after)):
        return None
    fitted = [_fitted(step, shift, side, wide) for (step, shift), side, wide in zip(steps, size, after, strict=True)]
    (high, up, row), (wide, left, column) = fitted
    weight = np.zeros((out, channels, high, wide), np.int64)
    rows = np.flatnonzero(chosen >= 0)
    weight[rows, chosen[rows], row, column] = 1
    return Window(weight, (steps[0][0], steps[1][0]), (up, left))


def _steps(places: Int[ndarray, "c h w"], axis: int, side: int) -> tuple[int, int]:
    """(s, a) of reading place s·i − a of `side` at place i of an axis, from where anything is read at all (-1: nothing)."""
    along = np.moveaxis(places, axis, 0).reshape(places.shape[axis], -1).max(1)
    read = np.flatnonzero(along >= 0)
    if not len(read):
        return 1, 0
    first, last = int(read[0]), int(read[-1])
    alone = 1 if len(along) == 1 else side  # far enough that the places beside the only one lie outside
    step = alone if first == last else max((int(along[last]) - int(along[first])) // (last - first), 1)
    return step, step * first - int(along[first])


def _taken(chosen: Int[ndarray, " o"], steps: list[tuple[int, int]], size: list[int], after: list[int]) -> Int[ndarray, "o h w"]:
    """The index of a route that reads these channels with these steps."""
    rows, columns = (np.arange(wide) * step - shift for (step, shift), wide in zip(steps, after, strict=True))
    inside = ((rows >= 0) & (rows < size[0]))[:, None] & ((columns >= 0) & (columns < size[1]))[None]
    places = rows[:, None] * size[1] + columns[None]
    return np.where(inside[None] & (chosen >= 0)[:, None, None], chosen[:, None, None] * size[0] * size[1] + places[None], -1)


def _fitted(step: int, shift: int, side: int, after: int) -> tuple[int, int, int]:
    """(kernel, padding, place of the 1) of the smallest convolution that reads place step·i − shift of `side` for each i < `after`.

    It reads step·i − padding + place, and i ends at (side + 2·padding − kernel) // step.
    """
    last = step * (after - 1)
    padding = max(shift, last - shift - side + 1, 0)
    place = padding - shift
    return max(side + 2 * padding - last - step + 1, place + 1), padding, place
