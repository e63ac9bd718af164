"""
What each operation of a netlist gives for a batch of samples [B, ...], in whole numbers: the meaning of the HW dialect.

Sums of products are computed in float64, which holds every whole number up to 2^53 (`EXACT`); `intervals` proves that none is larger.
"""

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import InternalError
from spikeloom.ir.hardware.netlist import Add, Affine, Convolution, Membrane, Operation, Pool, Population, Requantise, Route

EXACT = 1 << 53
"""Up to here float64 holds every whole number."""


def evaluate(operation: Operation, reads: list[Int[ndarray, "b ..."]]) -> Int[ndarray, "b ..."]:
    """What an operation without memory gives."""
    x = reads[0]
    match operation:
        case Affine() | Convolution():
            return biased(operation, product(operation, x))
        case Pool():
            return pooled(operation, x)
        case Add():
            return added(operation, reads)
        case Route():
            return routed(operation, reads)
        case Requantise():
            return requantised(operation, x)
        case Population():
            return fire(operation, x, None)[0]


def along(values: Int[ndarray, " c"], axis: int, rank: int) -> Int[ndarray, "..."]:
    """Numbers for each place of an axis of a sample of this rank, [1] or [C], so that they broadcast over it."""
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def product(operation: Affine | Convolution, x: Int[ndarray, "b ..."], weight: Int[ndarray, "..."] | None = None) -> Int[ndarray, "b ..."]:
    """W·x without the bias; another weight of the same shape may stand in its place."""
    values, w = (torch.from_numpy(part.astype(np.float64)) for part in (x, operation.weight if weight is None else weight))
    if isinstance(operation, Affine):
        return (values @ w.T).numpy().astype(np.int64)
    told = (operation.stride, operation.padding, operation.dilation, operation.groups)
    return torch.nn.functional.conv2d(values, w, None, *told).numpy().astype(np.int64)


def biased(operation: Affine | Convolution, y: Int[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """y + b."""
    if operation.bias is None:
        return y
    return y + (operation.bias if isinstance(operation, Affine) else operation.bias[:, None, None])


def pooled(operation: Pool, x: Int[ndarray, "b c h w"]) -> Int[ndarray, "b c h2 w2"]:
    """The sum or the maximum of each window."""
    values = torch.from_numpy(x.astype(np.float64))
    told = (operation.kernel, operation.stride, operation.padding)
    if operation.what == "max":
        return torch.nn.functional.max_pool2d(values, *told).numpy().astype(np.int64)
    return torch.nn.functional.avg_pool2d(values, *told, divisor_override=1).numpy().astype(np.int64)


def added(operation: Add, reads: list[Int[ndarray, "b ..."]]) -> Int[ndarray, "b ..."]:
    """Σ g_i·x_i + b."""
    rank, total = reads[0].ndim - 1, np.zeros_like(reads[0], np.int64)
    if operation.bias is not None:
        total = total + along(operation.bias, operation.axis, rank)
    for gain, read in zip(operation.gains, reads, strict=True):
        total = total + along(gain, operation.axis, rank) * read
    return total


def routed(operation: Route, reads: list[Int[ndarray, "b ..."]]) -> Int[ndarray, "b ..."]:
    """The values where the route puts them."""
    flat = np.concatenate([read.reshape(len(read), -1) for read in reads], 1)
    moved = flat if operation.index is None else np.where(operation.index < 0, 0, flat[:, operation.index])
    return moved.reshape(len(flat), *operation.shape)


def requantised(operation: Requantise, x: Int[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """clip((m·x + 2^(s-1)) >> s, low, high)."""
    half = (1 << operation.shift) >> 1
    scaled = along(operation.multiplier, operation.axis, x.ndim - 1) * x + half
    return (scaled >> operation.shift).clip(operation.low, operation.high)


def fire(
    operation: Population, x: Int[ndarray, "b ..."], v: Int[ndarray, "b ..."] | None
) -> tuple[Int[ndarray, "b ..."], Int[ndarray, "b ..."] | None]:
    """Equations (1) to (3): (current, membrane; None: at rest) → (what is sent, membrane; None without one)."""
    membrane = operation.membrane
    h = x if membrane is None else integrated(operation, membrane, resting(operation, membrane, x) if v is None else v, x)
    crossed = crossings(operation, h)
    sent = rows_at(operation.heights, crossed, operation.axis)  # (2)
    if membrane is None:
        return sent, None
    if membrane.reset == "subtract":
        return sent, h - rows_at(membrane.taken, crossed, operation.axis)  # (3)
    return sent, np.where(crossed == along(silent(operation), operation.axis, x.ndim - 1), h, 0)  # (3)


def resting(operation: Population, membrane: Membrane, x: Int[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """Membranes before the first tick."""
    return np.zeros_like(x) + along(membrane.initial, operation.axis, x.ndim - 1)


def integrated(operation: Population, membrane: Membrane, v: Int[ndarray, "b ..."], x: Int[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """Equation (1)."""
    rank = x.ndim - 1
    kept = (along(membrane.decay, operation.axis, rank) * v) >> membrane.decay_shift if membrane.decays else v
    return kept + x - along(membrane.leak, operation.axis, rank)


def silent(operation: Population) -> Int[ndarray, " c"]:
    """How many thresholds a neuron at 0 has reached: the cell in which nothing fires."""
    return (operation.thresholds <= 0).sum(1)


def crossings(operation: Population, h: Int[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """k: how many thresholds every neuron reaches."""
    rows = operation.thresholds
    if rows.shape[0] == 1:
        return np.searchsorted(rows[0], h, side="right")
    found = np.empty(h.shape, np.int64)
    for place, row in enumerate(rows):
        where = (slice(None),) * (operation.axis + 1) + (place,)
        found[where] = np.searchsorted(row, h[where], side="right")
    return found


def rows_at(table: Int[ndarray, "c k"], crossed: Int[ndarray, "b ..."], axis: int) -> Int[ndarray, "b ..."]:
    """table[c, k] for every neuron, c its place on the axis."""
    if table.shape[0] == 1:
        return table[0][crossed]
    return table[along(np.arange(table.shape[0]), axis, crossed.ndim - 1), crossed]


def exact(*ends: Int[ndarray, "..."], name: str) -> None:
    """Raises InternalError where a number could pass 2^53."""
    if max(int(np.abs(end).max(initial=0)) for end in ends) >= EXACT:
        raise InternalError(f"numbers of {name} can pass 2^53")
