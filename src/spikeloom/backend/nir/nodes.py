"""
Operations without memory as NIR nodes, and back.

    Affine        Affine, on one axis
    Convolution   Conv2d; groups as zeros in a weight for all channels, since nir's types know no groups
    Pool          SumPool2d; a maximum too, which only our metadata tells (NIR has none)
    Add           edges that meet: a Scale for each gain other than 1, then a Scale of ones, or where there is a bias an Affine or a 1×1
                  Conv2d that passes every channel on
    Route         Flatten; a choice of channels and of every s-th place, with rows and columns put around or cut off, is a Conv2d of zeros
                  and ones (`window`); any other that ends on one axis is a Linear of zeros and ones for each operand. Values that change
                  places within a picture are a Scale of ones, of which only our metadata tells where they go (NIR cannot unflatten)
    Requantise    Scale by m/2^s; the rounding and the limits are in metadata (NIR has neither)

Weights are whole numbers written as floats, in float32 where it holds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.backend.nir.library import nir
from spikeloom.backend.nir.neurons import neuron, population_of
from spikeloom.backend.nir.options import NirOptions
from spikeloom.backend.nir.window import window_of
from spikeloom.ir.hardware import (
    Add,
    Affine,
    Convolution,
    Netlist,
    Operation,
    Pool,
    Population,
    Requantise,
    Route,
    Wire,
)

LARGEST = 1 << 24
"""Entries of a matrix of zeros and ones that a route may become."""


@final
@dataclass
class Part:
    """The nodes of one operation, the edges inside and from what it reads, and the node that gives its value."""

    nodes: dict[str, Any] = field(default_factory=dict[str, Any])
    edges: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def part_of(operation: Operation, netlist: Netlist, options: NirOptions) -> Part:
    """The nodes of an operation; the last one, named as the operation is, gives its value. Edges start at names of wires."""
    wires, name = netlist.wires, operation.name
    reads = [wires[read] for read in operation.reads]
    match operation:
        case Add():
            return _sum(operation, reads[0], options)
        case Route():
            return _route(operation, reads, options)
        case Population():
            node = neuron(operation, wires[name].shape, netlist.timesteps, options)
        case Affine():
            node = nir().Affine(as_floats(operation.weight), _bias(operation.bias, len(operation.weight)))
        case Convolution():
            node = _convolution(operation, reads[0].shape[1:])
        case Pool():
            node = nir().SumPool2d(*(np.array(pair) for pair in (operation.kernel, operation.stride, operation.padding)))
        case Requantise():
            scale = _over(operation.multiplier, operation.axis, reads[0].shape) / 2.0**operation.shift
            node = nir().Scale(as_floats(scale))
    node.metadata = node.metadata | told(operation)
    return Part({name: node}, [(operation.reads[0], name)])


def told(operation: Operation) -> dict[str, Any]:
    """Metadata: what the operation is, what it reads in order, and what its node does not say."""
    told: dict[str, Any] = {"operation": type(operation).__name__.lower(), "reads": "\n".join(operation.reads), "name": operation.name}
    match operation:
        case Affine() | Convolution():
            told["bias"] = int(operation.bias is not None)
            if isinstance(operation, Convolution):
                told["groups"] = operation.groups
        case Pool():
            told["what"] = operation.what
        case Add():
            told |= {"axis": operation.axis} | {f"gain_{place}": gain for place, gain in enumerate(operation.gains)}
            told |= {} if operation.bias is None else {"bias": operation.bias}
        case Route():
            told["shape"] = np.array(operation.shape)
            told |= {} if operation.index is None else {"index": operation.index}
        case Requantise():
            told |= {name: getattr(operation, name) for name in ("multiplier", "shift", "low", "high", "axis")}
        case Population():
            pass
    return told


def operation_of(node: Any) -> Operation:
    """The operation whose last node this is."""
    told: Mapping[str, Any] = node.metadata
    name, reads = str(told["name"]), tuple(str(told["reads"]).split("\n"))
    match told["operation"]:
        case "affine":
            return Affine(name, reads, _whole(node.weight), _whole(node.bias) if told["bias"] else None)
        case "convolution":
            return _convolution_of(node, name, reads)
        case "pool":
            kernel, stride, padding = (_pair(part) for part in (node.kernel_size, node.stride, node.padding))
            return Pool(name, reads, told["what"], kernel, stride, padding)
        case "add":
            gains = tuple(_whole(told[f"gain_{place}"]) for place in range(len(reads)))
            return Add(name, reads, gains, _whole(told["bias"]) if "bias" in told else None, int(told["axis"]))
        case "route":
            shape = tuple(int(side) for side in told["shape"])
            return Route(name, reads, shape, _whole(told["index"]) if "index" in told else None)
        case "requantise":
            numbers = [int(told[key]) for key in ("shift", "low", "high", "axis")]
            return Requantise(name, reads, _whole(told["multiplier"]), *numbers)
        case "population":
            return population_of(node, name, reads)
        case other:
            raise ValueError(f"unknown operation {other!r}")


def as_floats(values: Any) -> Float[ndarray, "..."]:
    """Numbers as float32 where it holds every one of them, else as float64."""
    narrow = np.asarray(values).astype(np.float32)
    return np.ascontiguousarray(narrow if (narrow == values).all() else np.asarray(values, np.float64))


def _sum(operation: Add, wire: Wire, options: NirOptions) -> Part:
    part = Part()
    for place, (read, gain) in enumerate(zip(operation.reads, operation.gains, strict=True)):
        if (gain == 1).all() and operation.reads.count(read) == 1:
            part.edges.append((read, operation.name))
            continue
        scaled = f"{operation.name}__gain{place}"
        part.nodes[scaled] = _scaled(_over(gain, operation.axis, wire.shape), None, options)
        part.edges += [(read, scaled), (scaled, operation.name)]
    node = _scaled(np.ones(wire.shape, np.int64), operation.bias, options)
    node.metadata = told(operation)
    part.nodes[operation.name] = node
    return part


def _scaled(gain: Int[ndarray, "..."], bias: Any, options: NirOptions) -> Any:
    """gain·x, and a bias for each place of the first axis: a Scale, or where there is a bias or no Scale is wanted, a layer."""
    shape = gain.shape
    each = gain.reshape(shape[0], -1)
    by_channel = len(shape) in (1, 3) and bool((each == each[:, :1]).all())
    if bias is None and (options.scales == "scale" or not by_channel):
        return nir().Scale(as_floats(gain))
    through = np.diag(each[:, 0])
    bias = _bias(None if bias is None else np.broadcast_to(bias, shape[:1]), shape[0])
    if len(shape) == 1:
        return nir().Affine(as_floats(through), bias)
    return nir().Conv2d(shape[1:], as_floats(through[:, :, None, None]), (1, 1), (0, 0), (1, 1), 1, bias)


def _route(operation: Route, wires: list[Wire], options: NirOptions) -> Part:
    name, metadata = operation.name, told(operation)
    if operation.index is None and len(wires) == 1:
        node = _flatten(wires[0].shape, options) if wires[0].shape != operation.shape else nir().Scale(np.ones(operation.shape, np.float32))
        node.metadata = metadata
        return Part({name: node}, [(operation.reads[0], name)])
    if (window := window_of(operation, wires)) is not None:
        none = np.zeros(len(window.weight), np.float32)
        node = nir().Conv2d(wires[0].shape[1:], as_floats(window.weight), window.stride, window.padding, (1, 1), 1, none)
        node.metadata = metadata
        return Part({name: node}, [(operation.reads[0], name)])
    if within(operation, wires):
        node = nir().Scale(np.ones(operation.shape, np.float32))
        node.metadata = metadata
        return Part({name: node}, [(operation.reads[0], name)])
    return _chosen(operation, wires, options)


def within(operation: Route, wires: list[Wire]) -> bool:
    """Whether values change places within one picture, which NIR has no node for."""
    return operation.index is not None and len(wires) == 1 and wires[0].shape == operation.shape and len(operation.shape) > 1


def _chosen(operation: Route, wires: list[Wire], options: NirOptions) -> Part:
    """A matrix of zeros and ones for each operand, added up."""
    part, first = Part(), 0
    size = operation.shape[0]
    index = np.arange(size) if operation.index is None else operation.index
    for place, (read, wire) in enumerate(zip(operation.reads, wires, strict=True)):
        chosen, source = f"{operation.name}__part{place}", read
        weight = (index[:, None] == first + np.arange(wire.size)).astype(np.float32)
        if len(wire.shape) > 1:
            source = f"{operation.name}__flat{place}"
            part.nodes[source] = _flatten(wire.shape, options)
            part.edges.append((read, source))
        part.nodes[chosen] = nir().Linear(weight)
        part.edges += [(source, chosen), (chosen, operation.name)]
        first += wire.size
    node = nir().Scale(np.ones(operation.shape, np.float32))
    node.metadata = told(operation)
    part.nodes[operation.name] = node
    return part


def _flatten(shape: tuple[int, ...], options: NirOptions) -> Any:
    if options.batch_axis:
        return nir().Flatten({"input": np.array([1, *shape])}, 1, -1)
    return nir().Flatten({"input": np.array(shape)}, 0, -1)


def _convolution(operation: Convolution, size: tuple[int, ...]) -> Any:
    out, inner = operation.weight.shape[:2]
    each = out // operation.groups
    weight = np.zeros((out, inner * operation.groups, *operation.weight.shape[2:]), np.int64)
    for group in range(operation.groups):
        own = slice(group * each, (group + 1) * each)
        weight[own, group * inner : (group + 1) * inner] = operation.weight[own]
    told = (operation.stride, operation.padding, operation.dilation)
    return nir().Conv2d(tuple(size), as_floats(weight), *told, 1, _bias(operation.bias, out))


def _convolution_of(node: Any, name: str, reads: tuple[str, ...]) -> Convolution:
    groups, full = int(node.metadata["groups"]), _whole(node.weight)
    each, inner = len(full) // groups, full.shape[1] // groups
    rows = [full[group * each : (group + 1) * each, group * inner : (group + 1) * inner] for group in range(groups)]
    bias = _whole(node.bias) if node.metadata["bias"] else None
    stride, padding, dilation = (_pair(part) for part in (node.stride, node.padding, node.dilation))
    return Convolution(name, reads, np.ascontiguousarray(np.concatenate(rows)), bias, stride, padding, dilation, groups)


def _bias(bias: Any, size: int) -> Float[ndarray, " o"]:
    return np.zeros(size, np.float32) if bias is None else as_floats(bias)


def _over(values: Int[ndarray, " c"], axis: int, shape: tuple[int, ...]) -> Int[ndarray, "..."]:
    return np.broadcast_to(values.reshape([-1 if place == axis else 1 for place in range(len(shape))]), shape)


def _pair(values: Any) -> tuple[int, int]:
    first, second = (int(value) for value in values)
    return first, second


def _whole(values: Any) -> Int[ndarray, "..."]:
    return np.asarray(values).astype(np.int64)
