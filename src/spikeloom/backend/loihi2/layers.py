"""
A netlist as layers of neurons: what is linear becomes synapses, what is not becomes neurons.

    input of a layer   Σ over its links of weight·(what the source layer sent) + bias
    Population         the staircase of DESIGN.md §4, hard reset or soft
    Requantise         a relay: multiply, shift, saturate, sent as a graded spike
    the output         a last layer that only gathers: its voltages after the last tick are the answer

A sum pool joins the weights behind it (each repeated over its window); a gain joins the weights before it. Where two weighted operations
follow each other, or an index stands behind weights, a relay layer stands between them and costs one tick. A maximum at T = 1 is made by
relays, max(a, b) = b + max(a - b, 0), of binary spikes by a threshold of 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.loihi2.limits import LIMITS
from spikeloom.backend.loihi2.weights import Term, terms
from spikeloom.backend.target import Refusal
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
    along,
)

Pair = tuple[int, int]


@final
@dataclass(frozen=True, eq=False)
class Link:
    """Synapses from a layer (0 is the input): `index` picks elements of what it sent (-1: nothing), read in the shape `reads`, given in
    the shape `gives`, which has as many elements as the layer that they reach.

    dense  weight [O, I] on the last axis      conv  weight [O, I/groups, kh, kw]      scale  weight [_] along `axis`
    """

    source: int
    kind: Literal["dense", "conv", "scale"]
    weight: Int[ndarray, "..."]
    reads: tuple[int, ...]
    gives: tuple[int, ...]
    index: Int[ndarray, " n"] | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    axis: int = 0

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The weights as the chip stores them; none where it cannot."""
        return terms(self.weight)


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons of one kind: `program` None gathers (the output). `depth` is how many ticks after the input's they see a sample."""

    name: str
    shape: tuple[int, ...]
    links: tuple[Link, ...]
    bias: Int[ndarray, "..."] | None
    program: Population | Requantise | None
    depth: int
    reads: str
    """The wire that its input is, for its proven range."""

    @property
    def size(self) -> int:
        """How many neurons it has."""
        return math.prod(self.shape)


@final
@dataclass(frozen=True)
class _Moved:
    """What a layer sent, only moved: picked by an index, then perhaps summed over windows."""

    source: int
    shape: tuple[int, ...]
    index: Int[ndarray, " n"] | None = None
    pool: Pool | None = None


@final
@dataclass(frozen=True)
class _Current:
    """A wire as synapses: links and a bias of the wire's shape, or a layer's spikes only moved."""

    shape: tuple[int, ...]
    links: tuple[Link, ...] = ()
    bias: Int[ndarray, "..."] | None = None
    moved: _Moved | None = None


@final
@dataclass(frozen=True)
class Lowered:
    """The layers in order, the first being the input (no links), and what could not be taken."""

    layers: tuple[Layer, ...]
    refusals: tuple[Refusal, ...]
    relays: tuple[str, ...]


def lowered(netlist: Netlist) -> Lowered:
    """The layers of a netlist."""
    builder = _Builder(netlist)
    for operation in netlist:
        builder.take(operation)
    builder.put("output", None, netlist.output)
    return Lowered(tuple(builder.layers), tuple(builder.refusals), tuple(builder.relays))


@final
@dataclass
class _Builder:
    netlist: Netlist
    layers: list[Layer] = field(default_factory=list[Layer])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    relays: list[str] = field(default_factory=list[str])
    wires: dict[str, _Current] = field(default_factory=dict[str, _Current])

    def __post_init__(self) -> None:
        name = self.netlist.source.name
        shape = self.netlist.wires[name].shape
        self.layers.append(Layer(name, shape, (), None, None, 0, name))
        self.wires[name] = _Current(shape, moved=_Moved(0, shape))

    def take(self, operation: Operation) -> None:
        shape = self.netlist.wires[operation.name].shape
        match operation:
            case Affine() | Convolution():
                self.wires[operation.name] = self.weighted(operation, shape)
            case Pool():
                self.wires[operation.name] = self.pooled(operation, shape)
            case Add():
                self.wires[operation.name] = self.added(operation, shape)
            case Route():
                self.wires[operation.name] = self.routed(operation, shape)
            case Population() | Requantise():
                self.put(operation.name, operation, operation.reads[0])

    def put(self, name: str, program: Population | Requantise | None, wire: str) -> _Moved:
        """A layer of neurons for what a wire carries, whose spikes are the wire `name`."""
        current = self.wires[wire]
        links = current.links if current.moved is None else (self.link_of(current.moved),)
        depth = 1 + max(self.layers[link.source].depth for link in links)
        self.layers.append(Layer(name, current.shape, links, current.bias, program, depth, wire))
        moved = _Moved(len(self.layers) - 1, current.shape)
        self.wires[name] = _Current(current.shape, moved=moved)
        return moved

    def moved(self, wire: str, wanted: Callable[[_Moved], bool] = lambda _: True) -> _Moved:
        """A wire as spikes only moved; a relay where it is more than that."""
        found = self.wires[wire].moved
        return found if found is not None and wanted(found) else self.relay(wire)

    def relay(self, wire: str) -> _Moved:
        """Neurons that send what a wire carries, as it is."""
        ends = self.netlist.wires[wire]
        self.relays.append(wire)
        return self.put(wire, Requantise(wire, (wire,), np.ones(1, np.int64), 0, ends.low, ends.high), wire)

    def link_of(self, moved: _Moved, weight: Int[ndarray, " _"] | None = None, axis: int = 0) -> Link:
        """Spikes that arrive as they are, times a weight for each place of an axis."""
        gain = np.ones(1, np.int64) if weight is None else weight
        if moved.pool is None:
            return Link(moved.source, "scale", gain, moved.shape, moved.shape, moved.index, axis=axis)
        pool, channels = moved.pool, self.netlist.wires[moved.pool.name].shape[0]
        ones = np.ones((channels, 1, *pool.kernel), np.int64) * gain.reshape(-1, 1, 1, 1)
        reads, gives = self.netlist.wires[pool.reads[0]].shape, self.netlist.wires[pool.name].shape
        return Link(moved.source, "conv", ones, reads, gives, moved.index, pool.stride, pool.padding, groups=channels)

    def weighted(self, operation: Affine | Convolution, shape: tuple[int, ...]) -> _Current:
        rank = len(shape)
        if isinstance(operation, Affine):
            moved = self.moved(operation.reads[0], lambda found: found.pool is None or rank == 1)
            link = self.dense(operation, moved, shape)
            return _Current(shape, (link,), None if operation.bias is None else along(operation.bias, rank - 1, rank) + _zeros(shape))
        moved = self.moved(operation.reads[0], lambda found: self.repeats(found, operation))
        link = self.convolved(operation, moved, shape)
        return _Current(shape, (link,), None if operation.bias is None else along(operation.bias, 0, rank) + _zeros(shape))

    def dense(self, operation: Affine, moved: _Moved, shape: tuple[int, ...]) -> Link:
        if moved.pool is None:
            return Link(moved.source, "dense", operation.weight, moved.shape, shape, moved.index)
        before = self.netlist.wires[moved.pool.reads[0]].shape
        weight = spread(operation.weight, moved.pool, before)
        return Link(moved.source, "dense", weight, (math.prod(before),), shape, moved.index)

    def repeats(self, moved: _Moved, operation: Convolution) -> bool:
        """Whether a convolution behind a pool is one convolution: windows that tile the image, and no dilation."""
        pool = moved.pool
        if pool is None:
            return True
        before = self.netlist.wires[pool.reads[0]].shape
        tiles = all(side % part == 0 for side, part in zip(before[1:], pool.kernel, strict=True))
        natural = moved.shape == self.netlist.wires[pool.name].shape
        return tiles and natural and pool.stride == pool.kernel and pool.padding == (0, 0) and operation.dilation == (1, 1)

    def convolved(self, operation: Convolution, moved: _Moved, shape: tuple[int, ...]) -> Link:
        stride, padding, weight, reads = operation.stride, operation.padding, operation.weight, moved.shape
        if moved.pool is not None:
            kernel, reads = moved.pool.kernel, self.netlist.wires[moved.pool.reads[0]].shape
            stride, padding = ((a * n, b * m) for (a, b), (n, m) in ((stride, kernel), (padding, kernel)))
            weight = weight.repeat(kernel[0], 2).repeat(kernel[1], 3)
        return Link(moved.source, "conv", weight, reads, shape, moved.index, stride, padding, operation.dilation, operation.groups)

    def pooled(self, operation: Pool, shape: tuple[int, ...]) -> _Current:
        moved = self.moved(operation.reads[0], lambda found: found.pool is None)
        summed = _Current(shape, moved=_Moved(moved.source, shape, moved.index, replace(operation, what="sum")))
        if operation.what == "sum":
            return summed
        read = self.netlist.wires[operation.reads[0]]
        if self.netlist.timesteps > 1 or (read.low < 0 and operation.padding != (0, 0)):
            found = f"a maximum of numbers from {read.low} to {read.high} over {self.netlist.timesteps} ticks, padding {operation.padding}"
            todo = "use average pooling, or one tick"
            self.refusals.append(Refusal(operation.name, found, "at one tick, and without padding of numbers below 0", todo))
        if read.low < 0 or read.high > 1:
            return self.greatest(operation, moved, shape)
        self.wires[operation.name] = summed
        self.put(operation.name, Population(operation.name, operation.reads, np.array([[1]]), np.array([[0, 1]])), operation.name)
        return self.wires[operation.name]

    def greatest(self, operation: Pool, moved: _Moved, shape: tuple[int, ...]) -> _Current:
        """max(a, b) = b + max(a - b, 0), two by two: a relay for each pair of places of a window, with weights 1 and -1."""
        read = self.netlist.wires[operation.reads[0]]
        if read.high - read.low >= 1 << (LIMITS["state_bits"].value - 1):
            found = f"a maximum of numbers that differ by up to {read.high - read.low:,}"
            self.refusals.append(Refusal(operation.name, found, f"differences of {LIMITS['state_bits'].value} bits", "use fewer levels"))
        items = [((moved.source, _picked(moved.index, index), 1),) for index in looked_at(operation, read.shape)]
        while len(items) > 1:
            rest, pairs = items[len(items) // 2 * 2 :], zip(items[::2], items[1::2], strict=False)
            items = [*(self.greater(operation, shape, *pair) for pair in pairs), *rest]
        return _Current(shape, tuple(self.signed(term, shape) for term in items[0]))

    def greater(
        self, operation: Pool, shape: tuple[int, ...], first: "tuple[_Signed, ...]", second: "tuple[_Signed, ...]"
    ) -> "tuple[_Signed, ...]":
        """The terms of the greater of two sums of terms."""
        read, name = self.netlist.wires[operation.reads[0]], f"{operation.name}.{len(self.layers)}"
        links = tuple(self.signed(term, shape) for term in (*first, *((source, index, -sign) for source, index, sign in second)))
        most = read.high - min(read.low, 0)
        program = Requantise(operation.name, (operation.reads[0],), np.ones(1, np.int64), 0, 0, most)
        depth = 1 + max(self.layers[link.source].depth for link in links)
        self.relays.append(name)
        self.layers.append(Layer(name, shape, links, None, program, depth, operation.reads[0]))
        return (*second, (len(self.layers) - 1, None, 1))

    def signed(self, term: "_Signed", shape: tuple[int, ...]) -> Link:
        source, index, sign = term
        return Link(source, "scale", np.array([sign]), shape, shape, index)

    def routed(self, operation: Route, shape: tuple[int, ...]) -> _Current:
        first = operation.reads[0]
        if len(operation.reads) == 1 and operation.index is None:
            current = self.wires[first]
            moved = current.moved
            bias = None if current.bias is None else current.bias.reshape(shape)
            return _Current(shape, current.links, bias, None if moved is None else replace(moved, shape=shape))
        if len(operation.reads) != 1:
            return self.joined(operation, shape)
        moved = self.moved(first, lambda found: found.pool is None)
        return _Current(shape, moved=replace(moved, shape=shape, index=_picked(moved.index, operation.index)))

    def joined(self, operation: Route, shape: tuple[int, ...]) -> _Current:
        """Several wires side by side: each reaches its own places, the others' being nothing to it."""
        sizes = [self.netlist.wires[name].size for name in operation.reads]
        first, links = 0, list[Link]()
        index = np.arange(sum(sizes)) if operation.index is None else operation.index
        for name, size in zip(operation.reads, sizes, strict=True):
            moved = self.moved(name, lambda found: found.pool is None)
            mine = np.where((index >= first) & (index < first + size), index - first, -1)
            one = Link(moved.source, "scale", np.ones(1, np.int64), shape, shape, _picked(moved.index, mine))
            links.append(one)
            first += size
        return _Current(shape, tuple(links))

    def added(self, operation: Add, shape: tuple[int, ...]) -> _Current:
        links, bias = list[Link](), _zeros(shape)
        if operation.bias is not None:
            bias = bias + along(operation.bias, operation.axis, len(shape))
        for name, gain in zip(operation.reads, operation.gains, strict=True):
            if not self.gains(self.wires[name], gain, operation.axis, shape):
                self.relay(name)
            current = self.wires[name]
            if current.moved is not None:
                links.append(self.link_of(current.moved, gain, operation.axis))
                continue
            links += [scaled(link, gain) for link in current.links]
            bias = bias if current.bias is None else bias + current.bias * along(gain, operation.axis, len(shape))
        return _Current(shape, tuple(links), bias if bias.any() else None)

    def gains(self, current: _Current, gain: Int[ndarray, " _"], axis: int, shape: tuple[int, ...]) -> bool:
        """Whether a gain can join the weights before it."""
        if current.moved is not None:
            pool = current.moved.pool
            return pool is None or gain.size == 1 or (axis == 0 and current.shape == self.netlist.wires[pool.name].shape)
        if gain.size == 1:
            return True
        return all(_own_axis(link, axis) and link.gives == shape for link in current.links)


def _own_axis(link: Link, axis: int) -> bool:
    match link.kind:
        case "conv":
            return axis == 0
        case "dense":
            return axis == len(link.gives) - 1
        case "scale":
            return axis == link.axis


def scaled(link: Link, gain: Int[ndarray, " _"]) -> Link:
    """A link whose every weight is multiplied by the gain of its place."""
    shape = (-1,) + (1,) * (link.weight.ndim - 1)
    return replace(link, weight=link.weight * gain.reshape(shape) if link.kind != "scale" else link.weight * gain)


def _zeros(shape: tuple[int, ...]) -> Int[ndarray, "..."]:
    return np.zeros(shape, np.int64)


def _picked(before: Int[ndarray, " n"] | None, index: Int[ndarray, " m"] | None) -> Int[ndarray, " m"] | None:
    """An index of an index; -1 stays -1."""
    if before is None or index is None:
        return before if index is None else index
    return np.where(index < 0, -1, before[index])


_Signed = tuple[int, Int[ndarray, " n"] | None, int]
"""What a layer sent, picked by an index, and its sign."""


def looked_at(pool: Pool, shape: tuple[int, ...]) -> list[Int[ndarray, " n"]]:
    """For each place of a window the elements of an image that all windows look at; -1 outside."""
    places = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape[0], 1, *shape[1:])
    parts = torch.nn.functional.unfold(places, pool.kernel, 1, pool.padding, pool.stride)
    return list(parts.permute(1, 0, 2).reshape(math.prod(pool.kernel), -1).numpy().astype(np.int64) - 1)


def spread(weight: Int[ndarray, "o n"], pool: Pool, shape: tuple[int, ...]) -> Int[ndarray, "o m"]:
    """Weights behind a sum pool of an image of this shape as weights of the image: each repeated over its window."""
    found = np.zeros((weight.shape[0], math.prod(shape)), np.int64)
    for column in looked_at(pool, shape):  # the same place of all windows, each of another element
        inside = column >= 0
        found[:, column[inside]] += weight[:, inside]
    return found
