"""
The frontier: one network run operation by operation over a fixed set of samples.

Layer-by-layer compensation needs, at every layer, what the layers before it really give after they were corrected.
Running each operation once over all samples, and dropping values nobody reads any more, costs one pass through the
network in all, and memory for the widest cut of the graph only; what is more than a limit waits on disk.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor, fx

from spikeloom.ir import Handle, on_disk


@final
class Frontier:
    """The values at the cut between done and coming operations: a list of chunks per node (constants: one chunk).

    Of the values at most `memory_bytes` are in memory; further ones are mapped from files in `folder`.
    """

    def __init__(self, graph: fx.Graph, memory_bytes: int, folder: Path | None = None) -> None:
        self.values: dict[fx.Node, list[Any]] = {}
        self.last = {operand: node for node in graph.nodes for operand in node.all_input_nodes}
        self.memory_bytes, self.folder = memory_bytes, folder
        self._held: dict[int, list[int]] = {}  # by storage: its bytes in memory, and how many chunks lie in it

    def put(self, node: fx.Node, chunks: Iterable[Any]) -> None:
        """Keep a node's chunks until its last reader is done; they are taken one by one."""
        if node in self.values:
            self._forget(node)
        constant = node.op == "get_attr"
        self.values[node] = [self._kept(chunk) if _is_value(chunk) and not constant else chunk for chunk in chunks]

    @property
    def held_bytes(self) -> int:
        """How much of the values is in memory."""
        return sum(size for size, _ in self._held.values())

    def _kept(self, chunk: Tensor) -> Tensor:
        place = chunk.untyped_storage().data_ptr()
        if place not in self._held:
            size = chunk.untyped_storage().nbytes()
            if self.held_bytes + size > self.memory_bytes:
                chunk, size = on_disk(chunk, self.folder), 0
                place = chunk.untyped_storage().data_ptr()
            self._held[place] = [size, 0]
        self._held[place][1] += 1
        return chunk

    def _forget(self, node: fx.Node) -> None:
        for chunk in self.values.pop(node, ()):
            place = chunk.untyped_storage().data_ptr() if _is_value(chunk) and node.op != "get_attr" else None
            if place in self._held:
                self._held[place][1] -= 1
                if self._held[place][1] == 0:
                    del self._held[place]

    def call(self, node: fx.Node, function: Callable[..., Any]) -> Iterator[Any]:
        """The node's chunks: `function` called with the node's arguments, once per chunk, as they are asked for."""
        return (function(*args, **kwargs) for args, kwargs in self.arguments(node))

    def arguments(self, node: fx.Node) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """A call's arguments for every chunk in turn."""
        for place in range(self._length(node)):
            yield fx.map_arg((node.args, node.kwargs), lambda operand, place=place: self._chunk(operand, place))

    def operands(self, node: fx.Node) -> Iterator[tuple[Any, ...]]:
        """The values a node reads, each once, for every chunk in turn."""
        for place in range(self._length(node)):
            yield tuple(self._chunk(operand, place) for operand in node.all_input_nodes)

    def _length(self, node: fx.Node) -> int:
        return max((len(self.values[operand]) for operand in node.all_input_nodes), default=1)

    def _chunk(self, operand: fx.Node, place: int) -> Any:
        values = self.values[operand]
        return values[place] if len(values) > 1 else values[0]

    def drop_before(self, node: fx.Node) -> None:
        """Forget the values whose last reader was `node`."""
        for operand in node.all_input_nodes:
            if self.last.get(operand) is node:
                self._forget(operand)


def _is_value(chunk: Any) -> bool:
    """Whether a chunk takes memory of its own: a handle on weights, turned or cut, does not."""
    return isinstance(chunk, Tensor) and not isinstance(chunk, Handle)


def widest_cut(graph: fx.Graph, specs: Mapping[str, tuple[tuple[int, ...], str]] | None = None) -> int:
    """The most elements (for one sample) that are alive at once while the graph runs in order; `specs` are the shapes of its values,
    by default those at the example."""
    sizes = {node: size_of(node, specs) for node in graph.nodes}
    last = {operand: node for node in graph.nodes for operand in node.all_input_nodes}
    alive, most = 0, 0
    for node in graph.nodes:
        alive += sizes[node]
        most = max(most, alive)
        alive -= sum(sizes[operand] for operand in node.all_input_nodes if last[operand] is node)
    return most


def size_of(node: fx.Node, specs: Mapping[str, tuple[tuple[int, ...], str]] | None = None) -> int:
    """The elements of a value for one sample; 0 for constants."""
    spec = node.meta.get("spec") if specs is None else specs.get(node.name)
    if spec is None or node.op == "get_attr":
        return 0
    return math.prod(spec[0][1:])
