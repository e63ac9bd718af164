"""
Residual streams: values joined by additions, written by layers and embeddings, read by norms and the layers behind them.

A stream's values lie in one basis, which can be changed for all of them at once: x becomes x·Q wherever x stands, where

    writers    layers, embeddings and constants that are added                 their results can be multiplied with Q
    moves      and products with a number                                    leave the basis alone
    norms      whose result goes into layers alone, so that γ and β can       commute with Q; a LayerNorm where Q keeps
               be theirs                                                     the mean
    readers    linear layers                                                 their weights can be multiplied with Q

Anything else that reads or writes a stream is an obstacle, and the stream stays as it is.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from torch import fx

from spikeloom.ir import CONVOLUTIONS, TRANSPOSED, Program, calls, function_of, groups_of, name_of, weighted
from spikeloom.plan.moves import axis_of, channels_along, moved, moves, shape_of
from spikeloom.plan.norms import Norm, norms

_SCALES = ("aten.mul.Scalar", "aten.mul.Tensor", "aten.div.Scalar", "aten.div.Tensor")


@final
@dataclass(eq=False)
class Stream:
    """What touches the values of one basis of so many channels: `constants` with who reads each, `sums` are its additions."""

    size: int
    writers: list[fx.Node] = field(default_factory=list[fx.Node])
    constants: list[tuple[fx.Node, fx.Node]] = field(default_factory=list[tuple[fx.Node, fx.Node]])
    norms: list[Norm] = field(default_factory=list[Norm])
    readers: dict[fx.Node, Norm | None] = field(default_factory=dict[fx.Node, Norm | None])
    sums: list[fx.Node] = field(default_factory=list[fx.Node])
    obstacles: list[str] = field(default_factory=list[str])

    @property
    def name(self) -> str:
        """The stream is called after what writes to it first."""
        return f"stream of {self.writers[0].name}"

    @property
    def keeps_mean(self) -> bool:
        """Whether a norm takes the mean off."""
        return any(norm.centres for norm in self.norms)

    def take(self, other: "Stream") -> None:
        """Everything of another stream, which is this one from now on."""
        for name in ("writers", "constants", "norms", "sums", "obstacles"):
            getattr(self, name).extend(getattr(other, name))
        self.readers.update(other.readers)


class Place(NamedTuple):
    """Where a value lies: its stream, the axis of its channels, and the norm it comes from, where it was not a layer's yet."""

    stream: Stream
    axis: int
    norm: Norm | None = None


def streams(program: Program) -> list[Stream]:
    """The streams of a program that additions and norms make, in order, with their obstacles."""
    search = _Search(program)
    for node in calls(program.graph):
        search.visit(node)
    for operand in program.graph.output_node().all_input_nodes:
        search.refuse(operand, "it is an output of the model")
    found = [stream for stream in dict.fromkeys(place.stream for place in search.places.values()) if stream.sums and stream.norms]
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    for stream in found:
        stream.writers.sort(key=lambda node: order[node])
    return found


@final
class _Search:
    """One walk over a graph in execution order."""

    def __init__(self, program: Program) -> None:
        self.program, self.places = program, dict[fx.Node, Place]()
        found = norms(program)
        self.norms = {norm.result: norm for norm in found}
        self.inside = {node for norm in found for node in norm.nodes if node is not norm.result}

    def visit(self, node: fx.Node) -> None:
        """Say where the node's value lies, or why it lies nowhere."""
        placed = [operand for operand in node.all_input_nodes if operand in self.places]
        name = name_of(node.target)
        if node in self.inside:
            return
        if weighted(node) or name == "aten.embedding.default":
            self._layer(node, placed)
        elif node in self.norms:
            self._norm(self.norms[node])
        elif moves(node):
            self._move(node, placed)
        elif name in ("aten.add.Tensor", "aten.sub.Tensor") and placed:
            self._sum(node, placed)
        elif name in _SCALES and len(placed) == 1 and self._is_number(node, placed[0]):
            self.places[node] = self.places[placed[0]]
        else:
            for operand in placed:
                self.refuse(operand, f"%{node.name} ({function_of(node)}) reads it")

    def refuse(self, node: fx.Node, why: str) -> None:
        """An obstacle for the stream that a value belongs to, if it belongs to any."""
        if node in self.places:
            self.places[node].stream.obstacles.append(why)

    def _layer(self, node: fx.Node, placed: list[fx.Node]) -> None:
        name, shape = name_of(node.target), shape_of(node)
        for operand in placed:
            stream, axis, norm = self.places[operand]
            if not name.startswith("aten.linear.") or axis != len(shape_of(operand)) - 1:
                self.refuse(operand, f"%{node.name} ({function_of(node)}) reads it")
            stream.readers[node] = norm
        convolution = name.startswith(CONVOLUTIONS)
        if convolution and (name.startswith(TRANSPOSED) or groups_of(node) > 1):
            return
        axis = 1 if convolution else len(shape) - 1
        self.places[node] = Place(Stream(shape[axis], writers=[node]), axis)

    def _norm(self, norm: Norm) -> None:
        if norm.x not in self.places:
            return
        stream, axis, before = self.places[norm.x]
        if axis != len(shape_of(norm.x)) - 1:
            self.refuse(norm.x, f"%{norm.result.name} ({function_of(norm.result)}) normalises another axis")
            return
        if before is not None and before.affine:
            self.refuse(norm.x, f"%{norm.result.name} ({function_of(norm.result)}) reads a norm with gains of its own")
        stream.norms.append(norm)
        self.places[norm.result] = Place(stream, axis, norm)

    def _move(self, node: fx.Node, placed: list[fx.Node]) -> None:
        if not placed:
            return
        labels: dict[fx.Node, Any] = {at: channels_along(self.places[at].axis, shape_of(at)) for at in placed if shape_of(at)}
        first = self.places[placed[0]]
        others = [each for each in node.all_input_nodes if each not in labels and shape_of(each)]
        constants = [self._constant(each, node, first.stream.size) for each in others]
        if any(each is None for each in constants) or len(labels) < len(placed):
            self._lose(node, placed)
            return
        labels |= {each: channels_along(len(shape_of(each)) - 1, shape_of(each)) for each in others}
        after = moved(node, labels)
        axis = None if isinstance(after, list | tuple) else axis_of(after, first.stream.size)
        if axis is None or (len(placed) + len(others) > 1 and not self._may_join(placed)):
            self._lose(node, placed)
            return
        first.stream.constants += [each for each in constants if each is not None]
        for other in placed[1:]:
            self._merge(first.stream, self.places[other].stream)
        self.places[node] = first._replace(axis=axis)

    def _lose(self, node: fx.Node, placed: list[fx.Node]) -> None:
        for operand in placed:
            self.refuse(operand, f"%{node.name} ({function_of(node)}) takes its channels apart")

    def _sum(self, node: fx.Node, placed: list[fx.Node]) -> None:
        stream, axis, _ = self.places[placed[0]]
        others = [operand for operand in node.all_input_nodes if operand not in placed]
        constants = [self._constant(operand, node, stream.size) for operand in others]
        last = len(shape_of(node)) - 1
        numbers = [given for given in node.args[:2] if not isinstance(given, fx.Node)]
        apart = {self.places[operand].axis - len(shape_of(operand)) for operand in placed} != {axis - last - 1}
        apart |= bool(others) and axis != last
        if node.kwargs or any(numbers) or apart or not self._may_join(placed) or any(each is None for each in constants):
            gains = "" if self._may_join(placed) else " right from a norm with gains of its own (a post-norm)"
            for operand in placed:
                self.places[operand].stream.sums.append(node)
                self.refuse(operand, f"%{node.name} ({function_of(node)}) adds what comes{gains or ' from elsewhere'}")
            return
        stream.constants += [each for each in constants if each is not None]
        for other in placed[1:]:
            self._merge(stream, self.places[other].stream)
        stream.sums.append(node)
        self.places[node] = Place(stream, axis)

    def _may_join(self, placed: list[fx.Node]) -> bool:
        """Whether values can be put together in one basis: none of them comes right from a norm with a γ or β."""
        sources = [self.places[operand].norm for operand in placed]
        return not any(norm is not None and norm.affine for norm in sources)

    def _constant(self, node: fx.Node, reader: fx.Node, size: int) -> tuple[fx.Node, fx.Node] | None:
        """The constant that a value for a reader is, its last axis the channels, and who reads it first: it may be moved on the way."""
        while moves(node) and len(node.users) == 1 and shape_of(node)[-1:] == (size,):
            reader, node = node, node.all_input_nodes[0]
        return (reader, node) if node.op == "get_attr" and self.program.tensor(node).shape[-1:] == (size,) else None

    def _is_number(self, node: fx.Node, operand: fx.Node) -> bool:
        """Whether a product's other factor is one number for all, and nothing about the value is left to be told apart."""
        others = [each for each in node.args[:2] if each is not operand]
        norm = self.places[operand].norm
        divides = node.args[0] is not operand and "div" in name_of(node.target)
        if len(others) != 1 or divides or (norm is not None and norm.affine):
            return False
        if isinstance(others[0], fx.Node):
            return others[0].op == "get_attr" and self.program.tensor(others[0]).numel() == 1
        return isinstance(others[0], int | float)

    def _merge(self, stream: Stream, other: Stream) -> None:
        if other is stream:
            return
        stream.take(other)
        for node, place in self.places.items():
            if place.stream is other:
                self.places[node] = place._replace(stream=stream)
