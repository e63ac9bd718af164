"""
Interval analysis of a netlist: the least and greatest number that every wire and membrane can ever carry, for any input.

Each element of a sample has an interval of its own. A sum of products takes for every weight the end of its operand's interval that is
worst for it, so that a bound is reached by some input unless operands depend on each other: widths are proven, not observed.

Source: Moore, Interval Analysis, 1966; 32-bit accumulators of quantised networks: Jacob et al. 2018, arXiv:1712.05877.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware.arithmetic import (
    EXACT,
    along,
    biased,
    crossings,
    evaluate,
    exact,
    integrated,
    pooled,
    product,
    resting,
    silent,
)
from spikeloom.ir.hardware.netlist import Add, Affine, Convolution, Membrane, Netlist, Operation, Pool, Population, Route, Source, Wire


class Interval(NamedTuple):
    """The least and the greatest number of every element of a sample."""

    low: Int[ndarray, "..."]
    high: Int[ndarray, "..."]

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest of all elements."""
        return int(self.low.min()), int(self.high.max())


def intervals(source: Source, wire: Wire, operations: Iterable[Operation], timesteps: int) -> dict[str, Interval]:
    """The interval of every wire over T ticks, from the input's wire on. Raises InternalError where a number could pass 2^53."""
    found = {source.name: Interval(np.full(wire.shape, wire.low, np.int64), np.full(wire.shape, wire.high, np.int64))}
    for operation in operations:
        found[operation.name] = interval_of(operation, [found[name] for name in operation.reads], timesteps)
        exact(*found[operation.name], name=operation.name)
    return found


def interval_of(operation: Operation, reads: list[Interval], timesteps: int) -> Interval:
    """The interval of what an operation gives, from those of what it reads."""
    match operation:
        case Affine() | Convolution():
            return _weighted(operation, reads[0])
        case Pool():
            return _pooled(operation, reads[0], timesteps)
        case Add():
            return _added(operation, reads)
        case Population():
            return _fired(operation, reads[0], timesteps)
        case _:
            ends = [evaluate(operation, [read[end][None] for read in reads])[0] for end in (0, 1)]
            return Interval(np.minimum(*ends), np.maximum(*ends))


def _weighted(operation: Affine | Convolution, read: Interval) -> Interval:
    up, down, low, high = operation.weight.clip(min=0), operation.weight.clip(max=0), read.low[None], read.high[None]
    lowest = product(operation, low, up) + product(operation, high, down)
    highest = product(operation, high, up) + product(operation, low, down)
    return Interval(biased(operation, lowest)[0], biased(operation, highest)[0])


def _pooled(operation: Pool, read: Interval, timesteps: int) -> Interval:
    low, high = (pooled(operation, end[None])[0] for end in read)
    if operation.what == "max" and timesteps > 1:  # the maximum of sums changes by no less than the least of the window
        low = -pooled(operation, -read.low[None])[0]
    return Interval(low, high)


def _added(operation: Add, reads: list[Interval]) -> Interval:
    rank = reads[0].low.ndim
    low = np.zeros_like(reads[0].low)
    low = low if operation.bias is None else low + along(operation.bias, operation.axis, rank)
    high = low
    for gain, read in zip(operation.gains, reads, strict=True):
        ends = [along(gain, operation.axis, rank) * end for end in read]
        low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    return Interval(low, high)


def _fired(operation: Population, read: Interval, timesteps: int) -> Interval:
    h = read if operation.membrane is None else membrane_intervals(operation, operation.membrane, read, timesteps)[0]
    lowest, highest = (crossings(operation, end[None])[0][..., None] for end in h)
    ladder = np.arange(operation.levels + 1)
    within, heights = (ladder >= lowest) & (ladder <= highest), _rows(operation.heights, operation.axis, read.low.shape)
    return Interval(np.where(within, heights, EXACT).min(-1), np.where(within, heights, -EXACT).max(-1))


def membrane_intervals(operation: Population, membrane: Membrane, read: Interval, timesteps: int) -> tuple[Interval, Interval]:
    """(h, v): what equations (1) and (3) can give over T ticks, the start included. Raises InternalError where one could pass 2^53."""
    start = resting(operation, membrane, read.low[None])[0]
    v, seen = Interval(start, start), list[Interval]()
    for _ in range(timesteps):
        h = Interval(*(integrated(operation, membrane, kept[None], x[None])[0] for kept, x in zip(v, read, strict=True)))
        exact(*h, name=operation.name)
        seen.append(h)
        wider = _hull([v, _after(operation, membrane, h)])
        if all(bool((new == old).all()) for new, old in zip(wider, v, strict=True)):
            break
        v = wider
    return _hull(seen), v


def _after(operation: Population, membrane: Membrane, h: Interval) -> Interval:
    """Equation (3) on an interval: each cell between two thresholds has its own shift."""
    shape = h.low.shape
    thresholds = _rows(operation.thresholds, operation.axis, shape)
    far = np.full((*shape, 1), EXACT, np.int64)
    low = np.maximum(np.concatenate([-far, thresholds], -1), h.low[..., None])
    high = np.minimum(np.concatenate([thresholds - 1, far], -1), h.high[..., None])
    there = low <= high
    if membrane.reset == "subtract":
        taken = _rows(membrane.taken, operation.axis, shape)
        low, high = low - taken, high - taken
    else:
        stays = np.arange(operation.levels + 1) == along(silent(operation), operation.axis, len(shape))[..., None]
        low, high = np.where(stays, low, 0), np.where(stays, high, 0)
    return Interval(np.where(there, low, EXACT).min(-1), np.where(there, high, -EXACT).max(-1))


def _rows(table: Int[ndarray, "c k"], axis: int, shape: tuple[int, ...]) -> Int[ndarray, "... k"]:
    """A table's row for each element of a sample."""
    where = [-1 if place == axis else 1 for place in range(len(shape))]
    return np.broadcast_to(table.reshape([*where, table.shape[1]]), (*shape, table.shape[1]))


def _hull(parts: list[Interval]) -> Interval:
    return Interval(np.minimum.reduce([part.low for part in parts]), np.maximum.reduce([part.high for part in parts]))


def wires_of(source: Source, wire: Wire, operations: Iterable[Operation], timesteps: int) -> Mapping[str, Wire]:
    """The wires of a netlist: shapes, proven ranges, and which of them carry spikes."""
    operations, made = tuple(operations), {source.name: wire}
    found = intervals(source, wire, operations, timesteps)
    for operation in operations:
        moves = isinstance(operation, Route) or (isinstance(operation, Pool) and operation.what == "max")
        spikes = isinstance(operation, Population) or (moves and all(made[read].spikes for read in operation.reads))
        interval = found[operation.name]
        made[operation.name] = Wire(interval.low.shape, *interval.ends, spikes)
    return made


def netlist_of(
    source: Source,
    wire: Wire,
    operations: Iterable[Operation],
    output: str,
    *,
    unit: float = 1.0,
    timesteps: int = 1,
    settings: Mapping[str, object] | None = None,
) -> Netlist:
    """The netlist of these operations with its wires proven; `wire` is the input's. Raises InternalError where a number could pass 2^53."""
    kept = tuple(operations)
    return Netlist(source, kept, output, unit, timesteps, wires_of(source, wire, kept, timesteps), dict(settings or {}))


def membrane_wires(netlist: Netlist) -> dict[str, tuple[Wire, Wire]]:
    """(h, v) of every population that has a membrane: what the sum before the thresholds, and the membrane after them, can be."""
    found = intervals(netlist.source, netlist.wires[netlist.source.name], netlist.operations, netlist.timesteps)
    made = dict[str, tuple[Wire, Wire]]()
    for population in netlist.populations:
        if population.membrane is not None:
            read = found[population.reads[0]]
            h, v = membrane_intervals(population, population.membrane, read, netlist.timesteps)
            made[population.name] = (Wire(h.low.shape, *h.ends), Wire(v.low.shape, *v.ends))
    return made
