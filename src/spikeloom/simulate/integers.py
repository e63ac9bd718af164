"""
The integer reference: executes the HW dialect exactly, tick by tick, for a batch of samples. Every target is compared with it, bit for bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.errors import DataError
from spikeloom.ir.hardware import Netlist, Pool, Population, evaluate, fire, pooled

Values = Mapping[str, Int[ndarray, "b ..."]]


@final
@dataclass(frozen=True)
class IntegerState:
    """What is remembered from tick to tick: membranes, and the sums of maxima over time, by operation, each [B, ...]."""

    membranes: Mapping[str, Int[ndarray, "b ..."]] = field(default_factory=dict[str, ndarray])
    sums: Mapping[str, Int[ndarray, "b ..."]] = field(default_factory=dict[str, ndarray])


def quantised_input(netlist: Netlist, x: Float[ndarray, "b ..."]) -> Int[ndarray, "b ..."]:
    """Input samples [B, ...] as whole numbers: clip(round(x / step), low, high). Raises DataError for another shape or for NaN."""
    wire = netlist.wires[netlist.source.name]
    if x.shape[1:] != wire.shape:
        raise DataError("samples have another shape than the network takes", found=x.shape[1:], allowed=wire.shape)
    if np.isnan(x).any():
        raise DataError("samples hold what is no number", found="NaN")
    return np.rint(x.astype(np.float64) / netlist.source.step).clip(wire.low, wire.high).astype(np.int64)


def checked_ticks(netlist: Netlist, x: Int[ndarray, "..."]) -> Int[ndarray, "t b ..."]:
    """Whole inputs [B, ...], shown at every tick, or [T, B, ...], one for each. Raises DataError for another shape or range."""
    wire = netlist.wires[netlist.source.name]
    rank = len(wire.shape)
    if x.dtype.kind not in "iu" or x.ndim not in (rank + 1, rank + 2) or x.shape[x.ndim - rank :] != wire.shape:
        allowed = f"whole numbers [B, {', '.join(map(str, wire.shape))}], or with T in front"
        raise DataError("inputs are not what the netlist takes", found=f"{x.dtype} {x.shape}", allowed=allowed)
    if x.size and not (wire.low <= int(x.min()) and int(x.max()) <= wire.high):
        raise DataError("inputs are out of range", found=f"{x.min()} to {x.max()}", allowed=f"{wire.low} to {wire.high}")
    return np.broadcast_to(x, (netlist.timesteps, *x.shape)) if x.ndim == rank + 1 else x


def ticks(netlist: Netlist, x: Int[ndarray, "..."], state: IntegerState | None = None) -> Iterator[tuple[Values, IntegerState]]:
    """All wires' values and the state after each tick: inputs [B, ...] (shown netlist.timesteps times) or [T, B, ...]."""
    kept = state or IntegerState()
    for now in checked_ticks(netlist, x):
        values, kept = tick(netlist, now.astype(np.int64), kept)
        yield values, kept


def run_integers(netlist: Netlist, x: Int[ndarray, "..."]) -> Int[ndarray, "b ..."]:
    """Σ of the output over all ticks, from rest; inputs as `checked_ticks` takes them."""
    total: Int[ndarray, "b ..."] | int = 0
    for values, _ in ticks(netlist, x):
        total = total + values[netlist.output]
    return np.asarray(total)


def answers(netlist: Netlist, x: Float[ndarray, "b ..."], batch_size: int = 256) -> Float[ndarray, "b ..."]:
    """The answers on the ANN's scale for floating samples [B, ...]."""
    parts = [run_integers(netlist, quantised_input(netlist, x[first : first + batch_size])) for first in range(0, len(x), batch_size)]
    return np.concatenate(parts) * (netlist.unit / netlist.timesteps)


def tick(netlist: Netlist, x: Int[ndarray, "b ..."], state: IntegerState) -> tuple[Values, IntegerState]:
    """One tick: every operation once, in order."""
    values: dict[str, Int[ndarray, "b ..."]] = {netlist.source.name: x}
    membranes, sums = dict(state.membranes), dict(state.sums)
    for operation in netlist.operations:
        reads = [values[name] for name in operation.reads]
        if isinstance(operation, Population):
            values[operation.name], v = fire(operation, reads[0], membranes.get(operation.name))
            membranes |= {} if v is None else {operation.name: v}
        elif isinstance(operation, Pool) and operation.what == "max" and netlist.timesteps > 1:
            values[operation.name] = _greatest(operation, reads[0], sums)
        else:
            values[operation.name] = evaluate(operation, reads)
    return values, IntegerState(membranes, sums)


def _greatest(operation: Pool, x: Int[ndarray, "b ..."], sums: dict[str, Int[ndarray, "b ..."]]) -> Int[ndarray, "b ..."]:
    """The change of the maximum of sums since the first tick (DESIGN.md §4)."""
    before = sums.get(operation.name)
    sums[operation.name] = total = x if before is None else before + x
    return pooled(operation, total) if before is None else pooled(operation, total) - pooled(operation, before)
