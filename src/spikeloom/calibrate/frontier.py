"""
The frontier: one network run operation by operation over a fixed set of samples.

Layer-by-layer compensation needs, at every layer, what the layers before it really give after they were corrected.
Running each operation once over all samples, and dropping values nobody reads any more, costs one pass through the
network in all, and memory for the widest cut of the graph only.
"""

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import fx


@final
class Frontier:
    """The values at the cut between done and coming operations: a list of chunks per node (constants: one chunk)."""

    def __init__(self, graph: fx.Graph) -> None:
        self.values: dict[fx.Node, list[Any]] = {}
        self.last = {operand: node for node in graph.nodes for operand in node.all_input_nodes}

    def put(self, node: fx.Node, chunks: list[Any]) -> None:
        """Keep a node's chunks until its last reader is done."""
        self.values[node] = chunks

    def call(self, node: fx.Node, function: Callable[..., Any]) -> list[Any]:
        """The node's chunks: `function` called with the node's arguments, once per chunk."""
        return [function(*args, **kwargs) for args, kwargs in self.arguments(node)]

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
                self.values.pop(operand, None)
