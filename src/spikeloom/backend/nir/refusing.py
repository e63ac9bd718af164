"""
What stands against writing a netlist as NIR.
"""

from math import prod

from spikeloom.backend.nir.nodes import LARGEST, within
from spikeloom.backend.nir.options import NirOptions
from spikeloom.backend.nir.window import window_of
from spikeloom.backend.nir.writing import INPUT, OUTPUT
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Add, Affine, Netlist, Operation, Route, Wire


def refusals(netlist: Netlist, options: NirOptions) -> list[Refusal]:
    """Everything that NIR has no node for, or that would be too large as one."""
    found = list[Refusal]()
    for operation in netlist.operations:
        found += _of(operation, [netlist.wires[read] for read in operation.reads], netlist.wires[operation.name])
    return found


def _of(operation: Operation, reads: list[Wire], wire: Wire) -> list[Refusal]:
    name, shape = operation.name, reads[0].shape
    if name in (INPUT, OUTPUT) or "/" in name or "__" in name:
        return [Refusal(name, f"the name {name!r}", "names other than input and output, without / and __", "rename the layer")]
    match operation:
        case Affine() if len(shape) != 1:
            return [Refusal(name, f"weights on the last of {len(shape)} axes", "one axis (NIR's Affine takes a vector)", "flatten first")]
        case Add() if operation.bias is not None and len(shape) not in (1, 3):
            return [Refusal(name, f"a bias in a sum of {len(shape)} axes", "1 axis, or 3 with the channels first", "put it in a layer")]
        case Add() if operation.bias is not None and len(shape) == 3 and operation.axis != 0:
            return [Refusal(name, f"a bias along axis {operation.axis} of a picture", "along its channels (axis 0)", "put it in a layer")]
        case Add() if operation.bias is not None and len(shape) == 1 and shape[0] ** 2 > LARGEST:
            return [Refusal(name, f"a bias in a sum of {shape[0]} numbers", f"{int(LARGEST**0.5)} numbers", "put it in a layer")]
        case Route():
            return _route(operation, reads, wire)
        case _:
            return []


def _route(operation: Route, reads: list[Wire], wire: Wire) -> list[Refusal]:
    if operation.index is None and len(reads) == 1 and (len(wire.shape) == 1 or wire.shape == reads[0].shape):
        return []
    if window_of(operation, reads) is not None or within(operation, reads):
        return []
    if len(wire.shape) != 1:
        found = f"values of {' and '.join(str(read.shape) for read in reads)} put elsewhere in {wire.shape}"
        allowed = (
            "flattening, every s-th place of chosen channels with or without a border, places within one picture, or a route to one axis"
        )
        return [Refusal(operation.name, found, allowed, "NIR has no node that unflattens: flatten before, or move the values elsewhere")]
    entries = wire.size * sum(prod(read.shape) for read in reads)
    if entries > LARGEST:
        return [Refusal(operation.name, f"a route as a matrix of {entries} entries", f"{LARGEST} entries", "move fewer values")]
    return []
