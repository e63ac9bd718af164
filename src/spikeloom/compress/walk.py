"""
A walk through a network, one layer with weights after another: what each receives from the layers before it as they are now, beside what
the exact network gives. One pass through each in all (`simulate.Frontier`).
"""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import (
    Context,
    Program,
    constant_name,
    groups_of,
    name_of,
    set_weights,
    source_of,
    target_of,
    weighted,
    weights_of,
)
from spikeloom.simulate import Frontier, rows

PIECE = 16
"""Samples that are run at once."""


@final
class Walk:
    """`graph` and `tensors` may be changed at the layer that is being visited, by `put`; the program given is the exact one."""

    def __init__(
        self, program: Program, graph: fx.Graph, tensors: dict[str, Tensor], context: Context, samples: int, memory_bytes: int
    ) -> None:
        self.program, self.graph, self.tensors, self.context = program, graph, tensors, context
        self.exact, self.own = (Frontier(graph, memory_bytes // 2, context.scratch) for _ in range(2))
        self.chunks = pieces(context, samples)
        self.samples = sum(chunk[0].shape[0] for chunk in self.chunks)

    def layers(self) -> Iterator[fx.Node]:
        """Every layer with weights in execution order, before it is run with what it is given then."""
        nodes, place = [node for node in self.graph.nodes if node.op != "output"], 0
        for done, node in enumerate(nodes):
            if node.op == "placeholder":
                for side in (self.exact, self.own):
                    side.put(node, [chunk[place] for chunk in self.chunks])
                place += 1
            elif node.op == "get_attr":
                self.exact.put(node, [self.program.tensors[constant_name(node)]])
                self.own.put(node, [self.tensors[constant_name(node)]])
            else:
                self.exact.put(node, self.exact.call(node, target_of(node)))
                if weighted(node):
                    yield node
                self.own.put(node, self.own.call(node, target_of(node)))
            self.context.progress("quantising layers", done + 1, len(nodes))
            self.exact.drop_before(node)
            self.own.drop_before(node)

    def curvature(self, node: fx.Node, rows_per_weight: int, generator: torch.Generator) -> Float[Tensor, "g i i"]:
        """The second moments of what a layer receives, less its mean, from so many rows for each of a row's inputs."""
        weight = weights_of(node, self.program.tensors)[0]
        groups, inputs = groups_of(node), weight[0].numel()
        positions = max(1, -(-rows_per_weight * inputs // self.samples))
        moments, total, count, centre = torch.zeros(groups, inputs, inputs), torch.zeros(groups, inputs), 0, None
        for received, given in zip(self.own.values[source_of(node)], self.exact.values[node], strict=True):
            x, _ = rows(node, received, given, weight, positions, generator)
            centre = x.mean(1, keepdim=True) if centre is None else centre
            x = x - centre
            moments += x.transpose(1, 2) @ x
            total, count = total + x.sum(1), count + x.shape[1]
        mean = total / max(count, 1)
        return moments / max(count, 1) - mean[:, :, None] * mean[:, None]

    def lost(self, node: fx.Node) -> Float[Tensor, " c"]:
        """The mean of what the exact layer gives over what this one gives, per channel."""
        axis, total, count = 1 if "conv" in name_of(node.target) else -1, torch.zeros((), dtype=torch.float64), 0
        for exact, own in zip(self.exact.values[node], self.own.call(node, target_of(node)), strict=True):
            difference = (exact - own).movedim(axis, 0).flatten(1)
            total, count = total + difference.double().sum(1), count + difference.shape[1]
        return total / max(count, 1)

    def put(self, node: fx.Node, weight: Tensor, bias: Tensor) -> None:
        """Give the layer that is being visited other weights."""
        set_weights(node, self.graph, self.tensors, weight, bias)
        for operand in node.args[1:3]:
            if isinstance(operand, fx.Node):
                self.own.put(operand, [self.tensors[constant_name(operand)]])


def batches_of(context: Context) -> Iterator[tuple[Tensor, ...]]:
    """The calibration stream, begun anew. Raises ConfigError where there is none."""
    if context.calibration is None:
        raise ConfigError("compression needs calibration data", found="no stream", todo="give a data set, or round to the nearest")
    return iter(context.calibration())


def pieces(context: Context, samples: int) -> list[tuple[Tensor, ...]]:
    """The first calibration samples, `PIECE` at a time. Raises DataError where there are none."""
    chunks: list[tuple[Tensor, ...]] = []
    taken = 0
    for inputs in batches_of(context):
        for part in zip(*(value.split(PIECE) for value in inputs), strict=True):
            if taken < samples:
                chunks.append(tuple(value[: samples - taken] for value in part))
                taken += chunks[-1][0].shape[0]
        if taken >= samples:
            break
    if not chunks:
        raise DataError("compression needs samples", found="an empty stream", todo="give at least one batch")
    return chunks
