"""
The frontier: the ANN and the SNN side by side, one operation at a time, over a fixed set of calibration samples.

Layer-by-layer compensation needs, at every layer, what the layers before it really give after they were corrected.
Running each operation once over all samples and dropping values nobody reads any more costs one ANN pass and one SNN
pass in all, and memory for the widest cut of the graph only. Past `limit_bytes` values live in files that the
operating system pages in and out.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, fx

Values = list[Any]


@final
class Frontier:
    """Values of one network at the cut between done and coming operations: a list of chunks per node."""

    def __init__(self, graph: fx.Graph, limit_bytes: int) -> None:
        self.values: dict[fx.Node, Values] = {}
        self.last: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            for operand in node.all_input_nodes:
                self.last[operand] = node
        self.limit_bytes, self.folder = limit_bytes, None

    def put(self, node: fx.Node, chunks: Values) -> None:
        """Keep a node's chunks until its last reader is done."""
        self.values[node] = chunks

    def call(self, node: fx.Node, function: Callable[..., Any]) -> Values:
        """The node's chunks: `function` called with its arguments, once per chunk."""
        return [function(*args, **kwargs) for args, kwargs in self.arguments(node)]

    def arguments(self, node: fx.Node) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """A call's arguments for every chunk in turn."""
        chunks = max((len(self.values[operand]) for operand in node.all_input_nodes), default=1)
        for place in range(chunks):
            yield fx.map_arg((node.args, node.kwargs), lambda operand, place=place: self._chunk(operand, place))

    def _chunk(self, operand: fx.Node, place: int) -> Any:
        values = self.values[operand]
        return values[place] if len(values) > 1 else values[0]

    def drop_before(self, node: fx.Node) -> None:
        """Forget the values whose last reader was `node`."""
        for operand in node.all_input_nodes:
            if self.last.get(operand) is node:
                self.values.pop(operand, None)


def spilled(chunks: Iterable[Tensor], folder: Path) -> list[Tensor]:
    """The chunks as tensors on memory-mapped files in `folder`."""
    out: list[Tensor] = []
    for chunk in chunks:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
            name = stream.name
        twin = torch.from_file(name, shared=True, size=chunk.numel(), dtype=chunk.dtype).view(chunk.shape)
        twin.copy_(chunk)
        Path(name).unlink()
        out.append(twin)
    return out
