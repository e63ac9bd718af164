"""
Partition and placement: each layer alone on as few cores as hold it, in parts as equal as can be.

A layer is a grid of its first two axes (channels × rows of an image; neurons × 1). Of all grids of parts with the fewest cores the one with
the least traffic is taken. The weights of a convolution are stored once on each core, for its channels, and shared by all places there
(Loihi 2 brief: convolutional connectivity); dense weights are stored for each neuron, zeros too. A core holds one layer only.

    synapses      terms × 1 byte × weights stored              ≤ 128 KB
    memory        synapses + 4 bytes × (states + parameters)   ≤ 192 KB
    axons in      elements of the source layers with a weight other than 0 to some neuron of the core
    traffic       Σ over cores of axons in: messages of a tick in which everything spikes
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch.nn.grad import conv2d_input

from spikeloom.backend.loihi2.layers import Layer, Link
from spikeloom.backend.loihi2.limits import LIMITS, STATE_BYTES
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Population

Range = tuple[int, int]


@final
@dataclass(frozen=True)
class Core:
    """A part of a layer: a range on each of the grid's two axes, and what it takes."""

    layer: int
    parts: tuple[Range, Range]
    neurons: int
    synapses: int
    synaptic_bytes: int
    memory_bytes: int
    axons_in: int
    axons_out: int

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "parts": [list(part) for part in self.parts]}


@final
@dataclass(frozen=True)
class Placed:
    """Cores in the order of layers, and what cannot be placed."""

    cores: tuple[Core, ...]
    refusals: tuple[Refusal, ...]


def grid(layer: Layer) -> tuple[int, ...]:
    """The shape that a layer is cut in: what its links give, if they agree, else its own."""
    shapes = {link.gives for link in layer.links}
    return next(iter(shapes)) if len(shapes) == 1 else layer.shape


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """The two axes that are cut."""
    return shape[0], (shape[1] if len(shape) > 1 else 1)


def flat(shape: tuple[int, ...], parts: tuple[Range, Range]) -> Int[ndarray, " n"]:
    """The neurons of a part, counted through the layer."""
    places = np.arange(math.prod(shape)).reshape(*sides(shape), -1)
    (a, b), (c, d) = parts
    return places[a:b, c:d].ravel()


def cut(total: int, parts: int) -> list[Range]:
    """Ranges as equal as can be, the larger ones first."""
    ends = [0]
    for place in range(parts):
        ends.append(ends[-1] + total // parts + (place < total % parts))
    return list(pairwise(ends))


def placed(layers: tuple[Layer, ...], axons: int = 0) -> Placed:
    """Every layer but the input on cores. `axons`: how many a core may have in and out, 0 for no limit."""
    cores, refusals = list[Core](), list[Refusal]()
    needs = dict[int, list[tuple[Core, Mapping[int, Bool[ndarray, " n"]]]]]()
    for number, layer in enumerate(layers):
        if not layer.links:
            continue
        found = _smallest(number, layer, layers, axons)
        if isinstance(found, Refusal):
            refusals.append(found)
            continue
        needs[number] = found
    for number in needs:
        for core, _ in needs[number]:
            mine = flat(grid(layers[number]), core.parts)
            out = sum(int(need[number][mine].sum()) for rows in needs.values() for _, need in rows if number in need)
            cores.append(replace(core, axons_out=out))
            if axons and out > axons:
                todo = "compile without the option axons"
                refusals.append(Refusal(layers[number].name, f"{out:,} axons out of a core", f"{axons:,} by the option axons", todo))
    return Placed(tuple(cores), tuple(refusals))


def _smallest(
    number: int, layer: Layer, layers: tuple[Layer, ...], axons: int
) -> list[tuple[Core, Mapping[int, Bool[ndarray, " n"]]]] | Refusal:
    height, width = sides(grid(layer))
    shape, most = grid(layer), height * width
    least = max(math.ceil(math.prod(shape) / LIMITS["neurons"].value), 1)
    for count in range(min(least, most), most + 1):
        held = [pair for pair in _pairs(count, height, width) if _holds(layer, shape, pair)]
        made = [[_core(number, layer, layers, parts) for parts in _grid_of(pair, height, width)] for pair in held]
        made = [cores for cores in made if not axons or max(core.axons_in for core, _ in cores) <= axons]
        if made:
            return min(made, key=lambda cores: sum(core.axons_in for core, _ in cores))
    one = ((0, 1), (0, 1))
    synaptic, memory, neurons = _takes(layer, shape, one)
    found = f"{synaptic:,} bytes of synapses, {memory:,} bytes and {neurons:,} neurons on a core, cut as finely as it can be"
    limits = (LIMITS[name] for name in ("synaptic_memory", "memory", "neurons"))
    return Refusal(layer.name, found, ", ".join(f"{limit.value:,} {limit.unit}" for limit in limits), "make its fan-in smaller")


def _pairs(count: int, height: int, width: int) -> Iterator[tuple[int, int]]:
    return ((a, count // a) for a in range(1, min(count, height) + 1) if count % a == 0 and count // a <= width)


def _grid_of(pair: tuple[int, int], height: int, width: int) -> list[tuple[Range, Range]]:
    return [(rows, columns) for rows in cut(height, pair[0]) for columns in cut(width, pair[1])]


def _holds(layer: Layer, shape: tuple[int, ...], pair: tuple[int, int]) -> bool:
    height, width = sides(shape)
    synaptic, memory, neurons = _takes(layer, shape, (cut(height, pair[0])[0], cut(width, pair[1])[0]))
    return synaptic <= LIMITS["synaptic_memory"].value and memory <= LIMITS["memory"].value and neurons <= LIMITS["neurons"].value


def _takes(layer: Layer, shape: tuple[int, ...], parts: tuple[Range, Range]) -> tuple[int, int, int]:
    """(bytes of synapses, bytes in all, neurons) of a part."""
    (a, b), (c, d) = parts
    height, width = sides(shape)
    neurons = math.prod(shape) // (height * width) * (b - a) * (d - c)
    synaptic = sum(_weights(link, shape, parts) * max(len(link.terms), 1) for link in layer.links)
    return synaptic, synaptic + STATE_BYTES * (neurons + _parameters(layer, b - a, neurons)), neurons


def _weights(link: Link, shape: tuple[int, ...], parts: tuple[Range, Range]) -> int:
    """How many weights of a link a part stores."""
    if link.gives != shape or link.weight.shape[0] == 1:
        return link.weight.size
    sizes, rank = [b - a for a, b in parts], len(shape)
    own = {"conv": 0, "dense": rank - 1, "scale": link.axis}[link.kind]
    rows = sizes[own] if own < 2 else link.weight.shape[0]
    return rows * link.weight[0].size


def _parameters(layer: Layer, channels: int, neurons: int) -> int:
    """Words that neurons need beside their state: thresholds and what is sent, for each row of parameters, and biases."""
    total = 0
    if layer.bias is not None:
        shared = layer.bias.ndim > 1 and bool((layer.bias == layer.bias[(slice(None),) + (slice(0, 1),) * (layer.bias.ndim - 1)]).all())
        total += channels if shared else neurons
    if isinstance(layer.program, Population):
        for table in (layer.program.thresholds, layer.program.heights):
            rows = 1 if table.shape[0] == 1 else min(channels, table.shape[0]) if layer.program.axis == 0 else table.shape[0]
            total += rows * table.shape[1]
    return total


def _core(
    number: int, layer: Layer, layers: tuple[Layer, ...], parts: tuple[Range, Range]
) -> tuple[Core, Mapping[int, Bool[ndarray, " n"]]]:
    shape = grid(layer)
    synaptic, memory, neurons = _takes(layer, shape, parts)
    needs, synapses = dict[int, Bool[ndarray, " n"]](), 0
    for link in layer.links:
        needed, count = reached(link, shape, parts, layers[link.source].size)
        needs[link.source] = needs.get(link.source, np.zeros(len(needed), bool)) | needed
        synapses += count * max(len(link.terms), 1)
    return Core(number, parts, neurons, synapses, synaptic, memory, sum(int(need.sum()) for need in needs.values()), 0), needs


def reached(link: Link, shape: tuple[int, ...], parts: tuple[Range, Range], size: int) -> tuple[Bool[ndarray, " n"], int]:
    """Which elements of its source a part needs, and by how many synapses other than 0."""
    wanted = np.zeros(math.prod(shape))
    wanted[flat(shape, parts)] = 1
    wanted, there = wanted.reshape(link.gives), (link.weight != 0).astype(np.float64)
    match link.kind:
        case "dense":
            counts = wanted @ there
        case "scale":
            rank = len(link.reads)
            counts = wanted.reshape(link.reads) * there.reshape([-1 if place == link.axis else 1 for place in range(rank)])
        case "conv":
            counts = _back(link, torch.from_numpy(wanted)[None], torch.from_numpy(there))
    counts, needed = counts.ravel(), np.zeros(size, bool)
    places = np.arange(size) if link.index is None else link.index
    needed[places[(counts > 0) & (places >= 0)]] = True
    return needed, int(counts[places >= 0].sum())


def _back(link: Link, wanted: torch.Tensor, there: torch.Tensor) -> ndarray:
    told: Any = (link.stride, link.padding, link.dilation, link.groups)
    return conv2d_input((1, *link.reads), there, wanted, *told)[0].numpy()
