"""
Intrinsic knobs: every neuron, or channel of neurons, may scale and shift the current it receives before it fires.

    h = g·i + b,      g = 1 and b = 0 at first: the network computes what it did                                     (1)

A gain stands for a threshold: with reset by subtraction a neuron of threshold θ/g is one of threshold θ whose current is scaled by g; a
shift stands for a tonic current, that is a negative leak. What a neuron sends stays a spike of the network's height. Where a layer feeds
one population alone, channel by channel, its knobs go into its weights and biases (`folded`), and nothing is added to the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.ir import (
    OPERATIONS,
    TRANSPOSED,
    Program,
    Quantised,
    biased,
    calls,
    clone,
    constant_name,
    kwargs_of,
    name_of,
    note,
    output_channels,
    set_weights,
    shaped,
    source_of,
    swept,
    weighted,
    weights_of,
)

Per = Literal["channel", "neuron"]
PER: tuple[Per, ...] = ("channel", "neuron")
GAIN, SHIFT = "intrinsic_gain", "intrinsic_shift"


@final
@dataclass(frozen=True)
class Knob:
    """The knobs of one population: what it is called, the node whose current it receives, the tensors g and b, their shape [1, …], and the
    axes of a current [B, …] that one of them stands for."""

    population: str
    current: str
    gain: str
    shift: str
    shape: tuple[int, ...]
    over: tuple[int, ...]


def with_knobs(program: Program, per: Per = "channel") -> tuple[Program, tuple[Knob, ...]]:
    """The program with (1) before every population, at rest, and what was put in. Knobs that are there already, at whatever they are, are
    taken over. Raises ConfigError for a network without populations, or one whose knobs are of another kind."""
    graph, tensors, made = clone(program.graph), dict(program.tensors), list[Knob]()
    for node in [node for node in calls(graph) if node.target in OPERATIONS.values()]:
        knob = _knob(node, per)
        if not _has(node, knob):
            tensors[knob.gain], tensors[knob.shift] = torch.ones(knob.shape), torch.zeros(knob.shape)
            _put(node, graph, knob)
        elif tuple(tensors[knob.gain].shape) != knob.shape:
            found = f"%{node.name} has knobs {tuple(tensors[knob.gain].shape)}"
            raise ConfigError("this network has knobs of another kind", found=found, allowed=knob.shape, todo="begin with the one before")
        made.append(knob)
    if not made:
        raise ConfigError("there are no neurons in this network whose knobs could be turned", found="no populations")
    return shaped(program.replaced(graph=graph, tensors=tensors)), tuple(made)


def folded(program: Program, knobs: Sequence[Knob]) -> Program:
    """The same network with the knobs in weights and biases where a layer of float weights feeds that population alone; others stay."""
    graph, tensors = clone(program.graph), dict(program.tensors)
    nodes = {node.name: node for node in graph.nodes}
    for knob in knobs:
        node, layer = nodes[knob.population], nodes[knob.current]
        if _foldable(layer, knob, tensors):
            weight, bias = biased(layer, tensors)
            gain, shift = tensors[knob.gain].flatten(), tensors[knob.shift].flatten()
            own = gain.view(-1, *[1] * (weight.ndim - 1))
            set_weights(layer, graph, tensors, weight * own, bias * gain + shift)
            node.update_arg(0, layer)
    return shaped(swept(program.replaced(graph=graph, tensors=tensors)))


def at_rest(knobs: Sequence[Knob]) -> dict[str, Tensor]:
    """g = 1 and b = 0, by name."""
    return {knob.gain: torch.ones(knob.shape) for knob in knobs} | {knob.shift: torch.zeros(knob.shape) for knob in knobs}


def _knob(node: fx.Node, per: Per) -> Knob:
    source = _current(node)
    shape, axis = tuple(node.meta["spec"][0]), kwargs_of(node).get("axis", 1)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    kept = {place % len(shape) for place in axes} if per == "channel" else set(range(1, len(shape)))
    sizes = tuple(size if place in kept else 1 for place, size in enumerate(shape))
    over = tuple(place for place in range(len(shape)) if place not in kept)
    return Knob(node.name, source.name, f"{node.name}.{GAIN}", f"{node.name}.{SHIFT}", sizes, over)


def _current(node: fx.Node) -> fx.Node:
    """What a population receives, before its knobs."""
    source = source_of(node)
    return source_of(source_of(source)) if "intrinsic" in note(source) else source


def _has(node: fx.Node, knob: Knob) -> bool:
    source = source_of(node)
    return "intrinsic" in note(source) and constant_name(source.args[1]) == knob.shift


def _put(node: fx.Node, graph: fx.Graph, knob: Knob) -> None:
    with graph.inserting_before(node):
        scaled = graph.call_function(torch.ops.aten.mul.Tensor, (source_of(node), graph.get_attr(knob.gain)))
        shifted = graph.call_function(torch.ops.aten.add.Tensor, (scaled, graph.get_attr(knob.shift)))
    for made in (scaled, shifted):
        made.meta["note"] = {"intrinsic": True, "device": True}  # none of the ANN's, as what a chip does
    node.update_arg(0, shifted)


def _foldable(layer: fx.Node, knob: Knob, tensors: Mapping[str, Tensor]) -> bool:
    if not weighted(layer) or len(layer.users) > 1 or name_of(layer.target).startswith(TRANSPOSED):
        return False
    channels, axis = output_channels(layer, tensors)
    shape = tuple(size if place == axis else 1 for place, size in enumerate(layer.meta["spec"][0]))
    return knob.shape == shape and knob.shape[axis] == channels and not isinstance(weights_of(layer, tensors)[0], Quantised)
