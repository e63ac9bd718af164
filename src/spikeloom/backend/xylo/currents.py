"""
What drives each population, as a matrix of whole numbers: y = Σ_s W_s·s + b over the input and the populations that it can be traced to.

Everything between two populations that is linear (layers, sums, pools, routes) is one matrix; it is found by sending unit vectors through.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Route, added, pooled, product, routed


@final
@dataclass(frozen=True, eq=False)
class Current:
    """W [n, size of the source] for each source, and b [n]."""

    weights: dict[str, Int[ndarray, "n s"]]
    bias: Int[ndarray, " n"]


def linear(operation: Operation) -> bool:
    """Whether an operation can be part of a matrix."""
    return isinstance(operation, Affine | Convolution | Add | Route) or (isinstance(operation, Pool) and operation.what == "sum")


def currents(netlist: Netlist) -> dict[str, Current]:
    """The current of every wire, on what populations send and on the input. The netlist has only linear operations and populations."""
    known = {netlist.source.name: _itself(netlist.source.name, netlist.wires[netlist.source.name].size)}
    for operation in netlist.operations:
        if isinstance(operation, Population):
            known[operation.name] = _itself(operation.name, netlist.wires[operation.name].size)
        else:
            shapes = [netlist.wires[read].shape for read in operation.reads]
            known[operation.name] = _through(operation, [known[read] for read in operation.reads], shapes)
    return known


def _itself(name: str, size: int) -> Current:
    return Current({name: np.eye(size, dtype=np.int64)}, np.zeros(size, np.int64))


def _through(operation: Operation, reads: list[Current], shapes: list[tuple[int, ...]]) -> Current:
    weights = dict[str, Any]()
    for source in dict.fromkeys(name for read in reads for name in read.weights):
        size = next(read.weights[source].shape[1] for read in reads if source in read.weights)
        columns = [read.weights.get(source, np.zeros((len(read.bias), size), np.int64)).T for read in reads]
        moved = _moved(operation, [part.reshape(size, *shape) for part, shape in zip(columns, shapes, strict=True)])
        weights[source] = moved.reshape(size, -1).T
    bias = _moved(operation, [read.bias.reshape(1, *shape) for read, shape in zip(reads, shapes, strict=True)])
    return Current(weights, (bias + _own(operation, bias)).reshape(-1))


def _moved(operation: Operation, parts: list[Int[ndarray, "b ..."]]) -> Int[ndarray, "b ..."]:
    """The operation without its bias."""
    match operation:
        case Affine() | Convolution():
            return product(operation, parts[0])
        case Pool():
            return pooled(operation, parts[0])
        case Add():
            return added(Add(operation.name, operation.reads, operation.gains, None, operation.axis), parts)
        case Route():
            return routed(operation, parts)
        case _:
            raise TypeError(f"{operation.name} is not linear")


def _own(operation: Operation, like: Int[ndarray, "one ..."]) -> Int[ndarray, "..."]:
    """The operation's bias, so that it broadcasts over what it gives."""
    bias = getattr(operation, "bias", None)
    if bias is None:
        return np.zeros(1, np.int64)
    rank = like.ndim - 1
    axis = rank - 1 if isinstance(operation, Affine) else getattr(operation, "axis", 0)
    return bias.reshape([-1 if place == axis else 1 for place in range(rank)])
