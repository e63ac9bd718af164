"""
Channels that belong together: which channels of which values leave a network only with one another, and which cannot leave.

Every value has a slot for each channel on one axis. A layer with weights makes new channels; populations, pooling and moves hand them on; a
sum, and a convolution of one channel a group, tie those that meet; a concatenation, padding by zeros and flattening place them anew. What
anything else reads is pinned, with the reason: it stays.

Source: the dependency graph of Fang et al. 2023, arXiv:2301.12900 (DepGraph), on the captured graph.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor, fx

from spikeloom.ir import (
    OPERATIONS,
    Program,
    argument,
    calls,
    constant_name,
    driven_by,
    dynamic,
    function_of,
    groups_of,
    kwargs_of,
    name_of,
    population,
    source_of,
    weighted,
    weights_of,
)

SAME = frozenset(
    (
        *("alias", "clone", "contiguous", "detach", "dropout", "to", "_to_copy", "neg", "relu", "relu6", "hardtanh", "clamp"),
        *(f"{kind}_pool{dimensions}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for dimensions in (1, 2, 3)),
        *(f"upsample_nearest{dimensions}d" for dimensions in (1, 2)),
    )
)
"""Operations that hand every channel on by itself."""


@final
@dataclass(frozen=True)
class Slots:
    """The channels of one value: the axis they lie on, and each slot's channel by number."""

    axis: int
    channels: Int[Tensor, " c"]


@final
class Channels:
    """The channels of a program. `root` of a number is the class it belongs to; `pinned` says of a class why it stays."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}
        self.values: dict[fx.Node, Slots] = {}
        live = dynamic(program.graph)
        for node in program.graph.nodes:
            if node.op == "placeholder" and node in live:
                self._pin_new(node, "the network's input")
            elif node.op == "call_function" and node in live:
                self._visit(node, [operand for operand in node.all_input_nodes if operand in live])
            elif node.op == "output":
                self._pin(node.all_input_nodes, "the network's output")

    def root(self, channel: int) -> int:
        """The class of a channel."""
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def classes(self, node: fx.Node) -> Int[Tensor, " c"]:
        """The classes of a value's slots."""
        return torch.tensor([self.root(int(channel)) for channel in self.values[node].channels], dtype=torch.int64)

    def pinned(self) -> Mapping[int, str]:
        """Classes that stay, and why."""
        return {self.root(channel): why for channel, why in self._pinned.items()}

    def readers(self) -> Iterator[tuple[fx.Node, Int[Tensor, " c"]]]:
        """Layers in which every output reads every channel: the layer, and the classes of its input's slots."""
        for node in calls(self.program.graph):
            if weighted(node) and source_of(node) in self.values and groups_of(node) == 1:
                yield node, self.classes(source_of(node))

    def _visit(self, node: fx.Node, operands: list[fx.Node]) -> None:
        place = self._rule(node)
        slots = None if place is None else place(node, operands)
        if slots is None:
            self._pin(operands, f"{name_of(node.target)} reads it")
            self._pin_new(node, f"{name_of(node.target)} makes it")
        else:
            self.values[node] = slots

    def _rule(self, node: fx.Node) -> Callable[[fx.Node, list[fx.Node]], Slots | None] | None:
        function = function_of(node)
        if weighted(node):
            return self._layer
        if node.target in OPERATIONS.values():
            return self._population
        if function in SAME:
            return self._same
        rules = {"add": self._sum, "sub": self._sum, "cat": self._joined, "concat": self._joined, "pad": self._padded}
        rules |= {"constant_pad_nd": self._padded, "flatten": self._flat, "view": self._flat, "reshape": self._flat}
        return (rules | {"mean": self._mean, "slice": self._cut})[function] if function in rules | {"mean": 0, "slice": 0} else None

    def _fresh(self, count: int) -> Int[Tensor, " c"]:
        first = len(self._parent)
        self._parent += range(first, first + count)
        return torch.arange(first, first + count)

    def _pin_new(self, node: fx.Node, why: str) -> None:
        spec = node.meta.get("spec")
        if spec is not None and len(spec[0]) > 1:
            self.values[node] = Slots(1, self._fresh(spec[0][1]))
            self._pin([node], why)

    def _pin(self, nodes: list[fx.Node], why: str) -> None:
        for node in nodes:
            for channel in self.values[node].channels.tolist() if node in self.values else ():
                self._pinned.setdefault(channel, why)

    def _tie(self, one: Tensor, other: Tensor) -> None:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parent[self.root(a)] = self.root(b)

    def _layer(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        linear, given = name_of(node.target).startswith("aten.linear."), self.values.get(operands[0])
        axis = len(node.meta["spec"][0]) - 1 if linear else 1
        weight = weights_of(node, self.program.tensors)[0]
        if given is None or given.axis != axis or "transpose" in name_of(node.target):
            return None
        if by_channel(node, self.program):
            return given
        if groups_of(node) > 1:
            self._pin(operands, "a convolution in groups reads it")
            made = Slots(axis, self._fresh(weight.shape[0]))
            self.values[node] = made
            self._pin([node], "a convolution in groups makes it")
            return made
        return Slots(axis, self._fresh(weight.shape[0]))

    def _population(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        axis, given = kwargs_of(node).get("axis", 1), self.values.get(operands[0])
        constants = [self.program.tensors[constant_name(operand)] for operand in node.args[1:] if operand not in driven_by(node)]
        alone = 0 if node.target is population else 1  # dimensions of a parameter that all channels share
        shared = all(held.dim() == alone for held in constants)
        return given if len(driven_by(node)) == 1 and given is not None and (shared or given.axis == axis) else None

    def _same(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        return self.values.get(operands[0]) if len(operands) == 1 else None

    def _sum(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        """Both operands have the shape of the sum, or the other is a number."""
        given = [self.values.get(operand) for operand in operands]
        shapes = {tuple(operand.meta["spec"][0]) for operand in operands}
        if any(each is None for each in given) or len(shapes) > 1 or len({each.axis for each in given if each is not None}) > 1:
            return None
        if any(isinstance(other, fx.Node) and other not in operands for other in node.args):
            return None
        for other in given[1:]:
            self._tie(given[0].channels, other.channels)  # pyright: ignore[reportOptionalMemberAccess]
        return given[0]

    def _joined(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        parts, axis = node.args[0], argument(node, 1, "dim", 0) % len(node.meta["spec"][0])
        nodes = [part for part in parts if isinstance(part, fx.Node)] if isinstance(parts, list | tuple) else []
        given = [self.values.get(part) for part in nodes] or [None]
        if len(nodes) != len(operands) or any(each is None or each.axis != axis for each in given):
            return None
        return Slots(axis, torch.cat([each.channels for each in given if each is not None]))

    def _padded(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        given, amounts = self.values.get(operands[0]), widths(node)
        zeros = argument(node, 2, "mode", "constant") in ("constant", 0, 0.0) and not argument(node, 3, "value", None)
        if given is None or not zeros:
            return None
        before, after = amounts.get(given.axis, (0, 0))
        if min(before, after) < 0:
            return None
        return Slots(given.axis, torch.cat([self._fresh(before), given.channels, self._fresh(after)]))

    def _flat(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        """[B, C, …] to [B, C·…], or nothing moved at all."""
        given, before, after = self.values.get(operands[0]), operands[0].meta["spec"][0], node.meta["spec"][0]
        if given is None or given.axis != 1:
            return None
        if len(after) == 2 and after[1] == math.prod(before[1:]):
            return Slots(1, given.channels.repeat_interleave(math.prod(before[2:])))
        return given if tuple(after) == tuple(before) else None

    def _mean(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        """Over places, not over channels."""
        given, axes = self.values.get(operands[0]), argument(node, 1, "dim")
        if given is None or given.axis != 1 or not isinstance(axes, list | tuple):
            return None
        places = {int(axis) % len(operands[0].meta["spec"][0]) for axis in axes}
        return given if min(places, default=0) > 1 else None

    def _cut(self, node: fx.Node, operands: list[fx.Node]) -> Slots | None:
        """Part of the places, or of the channels."""
        given, rank = self.values.get(operands[0]), len(node.meta["spec"][0])
        axis = argument(node, 1, "dim", 0) % rank
        return given if given is not None and axis not in (0, given.axis) else None


def by_channel(node: fx.Node, program: Program) -> bool:
    """Whether a convolution has one channel in and one out for each group: depthwise."""
    weight = weights_of(node, program.tensors)[0]
    return groups_of(node) == weight.shape[0] and weight.shape[1] == 1 and groups_of(node) > 1


def widths(node: fx.Node) -> dict[int, tuple[int, int]]:
    """How much a padding adds before and after, by axis; the last axis is told first."""
    rank, told = len(node.meta["spec"][0]), list[Any](argument(node, 1, "pad"))
    return {rank - 1 - place: (int(told[2 * place]), int(told[2 * place + 1])) for place in range(len(told) // 2)}
