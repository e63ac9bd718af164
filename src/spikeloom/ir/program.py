"""
The artifact: a program is a captured graph, its tensors, its dialect, its plan, and the records of every pass so far.

Everything here is immutable by contract: a pass copies the graph, shares the tensors, and returns a new program.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir.rules import Dialect

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@final
@dataclass(frozen=True)
class TensorSpec:
    """Name, shape at the example batch (dimension 0 is the batch where `dynamic`), and dtype of one input; `lengths` are the
    further dimensions that vary."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    dynamic: bool = True
    lengths: tuple[int, ...] = ()

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape can be given."""
        free = {*self.lengths, *((0,) if self.dynamic else ())}
        return len(shape) == len(self.shape) and all(place in free or shape[place] == size for place, size in enumerate(self.shape))

    @property
    def sample(self) -> tuple[int | str, ...]:
        """The shape of one sample in words: sizes, and 'any' where it varies."""
        return tuple("any" if place in self.lengths else size for place, size in enumerate(self.shape) if place > 0)


@final
@dataclass(frozen=True)
class PlanRow:
    """What becomes of one operation.

    `status` is 'exact', 'approximate' (a staircase of N levels), 'floating' (stays floating point) or 'unsupported';
    `macs` and `parameters` are counts for one sample; `spiking` says whether its multiply-accumulates become
    spike-driven accumulations.
    """

    node: str
    operation: str
    becomes: str
    status: str
    reason: str = ""
    todo: str = ""
    parameters: int = 0
    macs: int = 0
    spiking: bool = False


@final
@dataclass(frozen=True)
class Record:
    """What one pass did: its options, the numbers it found, the papers it implements, and the seconds it took."""

    name: str
    options: Mapping[str, Any]
    numbers: Mapping[str, Any]
    papers: tuple[str, ...] = ()
    seconds: float = 0.0


@final
@dataclass(frozen=True)
class Program:
    """An immutable network: `graph` (torch.fx) over `tensors` (by the names its get_attr nodes use), in one dialect.

    `settings` holds what is known of the source (address, preprocessing, class names, task): JSON only.
    """

    graph: fx.Graph
    tensors: Mapping[str, Tensor]
    dialect: Dialect
    inputs: tuple[TensorSpec, ...]
    plan: tuple[PlanRow, ...] = ()
    records: tuple[Record, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def module(self) -> fx.GraphModule:
        """A runnable module over a copy of the graph; its buffers are this program's tensors, shared."""
        return fx.GraphModule(dict(self.tensors), clone(self.graph))

    def replaced(self, **changes: Any) -> "Program":
        """This program with some fields changed."""
        return dataclasses.replace(self, **changes)

    def recorded(self, record: Record) -> "Program":
        """This program with one more record."""
        return dataclasses.replace(self, records=(*self.records, record))

    def tensor(self, node: object) -> Tensor:
        """The constant behind a get_attr node."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            raise TypeError(f"not a constant of this program: {node}")
        return self.tensors[str(node.target)]

    def example(self, batch: int | None = None, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs of the declared shapes (normal floats, zeros for integers), with `batch` samples where dynamic."""
        generator = torch.Generator().manual_seed(seed)
        made: list[Tensor] = []
        for spec in self.inputs:
            shape = (batch, *spec.shape[1:]) if batch is not None and spec.dynamic else spec.shape
            dtype: torch.dtype = getattr(torch, spec.dtype)
            made.append(
                torch.randn(shape, generator=generator, dtype=dtype) if dtype.is_floating_point else torch.zeros(shape, dtype=dtype)
            )
        return tuple(made)


def clone(graph: fx.Graph) -> fx.Graph:
    """A copy of the graph with the same node names; each node's `meta` is copied one level deep."""
    copy = fx.Graph()
    seen: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        twin = copy.node_copy(node, lambda n: seen[n])
        twin.meta = {key: dict(value) if isinstance(value, dict) else value for key, value in node.meta.items()}
        seen[node] = twin
    return copy
