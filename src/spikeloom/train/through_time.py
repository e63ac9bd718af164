"""
Backpropagation through time in little memory: what is needed on the way back is mostly computed again.

    over time      T steps run as chunks of K; only the states between chunks are kept, and a chunk runs again on the way back
    over layers    within a chunk the graph is cut into parts; only the values between parts are kept, and a part runs again

A chunk of about √T steps, and about √n parts of n operations, need the least memory, for one forward pass more each.

Source: Chen et al. 2016, arXiv:1604.06174 (sublinear memory); over time: Gruslys et al. 2016, arXiv:1606.03401.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from spikeloom.ir import Program
from spikeloom.simulate import Chunk, chunk, decoded, repeated


@final
@dataclass(frozen=True)
class Part:
    """A part of a graph: what it reads and gives, by name, what nobody reads after it, and the module that runs it."""

    reads: tuple[str, ...]
    gives: tuple[str, ...]
    done: tuple[str, ...]
    run: Callable[..., Any]


def parts_of(graph: fx.Graph, count: int) -> list[Part]:
    """The operations of a graph in `count` parts of about equal size, in order; fewer where there are fewer operations."""
    nodes = [node for node in graph.nodes if node.op == "call_function"]
    sizes = [math.prod(node.meta["spec"][0]) if "spec" in node.meta else 0 for node in nodes]
    shares, total, begun = list[list[fx.Node]](), max(sum(sizes), 1), 0
    for node, size in zip(nodes, sizes, strict=True):
        if len(shares) <= min(begun * count // total, count - 1):
            shares.append([])
        shares[-1].append(node)
        begun += size
    last = {operand: place for place, share in enumerate(shares) for node in share for operand in node.all_input_nodes}
    kept = set(next(iter(reversed(graph.nodes))).all_input_nodes)
    return [_part(share, place, last, kept) for place, share in enumerate(shares)]


def _part(share: list[fx.Node], place: int, last: Mapping[fx.Node, int], kept: Collection[fx.Node]) -> Part:
    own = set(share)
    reads = list(dict.fromkeys(operand for node in share for operand in node.all_input_nodes if operand not in own))
    gives = [node for node in share if node in kept or last.get(node, place) > place]
    graph, twins = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in reads:
        twins[node] = graph.placeholder(node.name)
    for node in share:
        twins[node] = graph.node_copy(node, lambda n: twins[n])
    graph.output(tuple(twins[node] for node in gives))
    done = tuple(node.name for node in reads if last[node] == place and node not in kept)
    read, given = (tuple(node.name for node in nodes) for nodes in (reads, gives))
    return Part(read, given, done, fx.GraphModule({}, graph))


@final
class Unrolled:
    """A program for T steps as a function of its tensors and inputs, differentiable in all of them.

    `steps` are the steps of a chunk and `parts` the parts of the graph that run again on the way back; T steps and one part keep
    everything. `wanted` are nodes whose mean over T is given too; `trained` are tensors that must not be taken for constants.
    """

    def __init__(
        self,
        program: Program,
        timesteps: int,
        *,
        steps: int | None = None,
        parts: int = 1,
        wanted: Collection[str] = (),
        trained: Collection[str] = (),
        compiled: bool = False,
    ) -> None:
        self.timesteps, self.steps = timesteps, min(steps or timesteps, timesteps)
        sizes = {min(self.steps, timesteps - place) for place in range(0, timesteps, self.steps)}
        told: dict[str, Any] = {"wanted": wanted, "trained": trained, "alone": self.steps == timesteps}
        self.runs = {size: _Run(chunk(program, size, **told), size, parts, compiled) for size in sizes}

    def __call__(self, tensors: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> tuple[Any, dict[str, Tensor]]:
        """Outputs [B, …] on the ANN's scale, and the means of the wanted nodes, for inputs [B, …]."""
        states: tuple[Any, ...] | None = None
        answer: Any = None
        for place in range(0, self.timesteps, self.steps):
            size = min(self.steps, self.timesteps - place)
            run, share = self.runs[size], size / self.timesteps
            if self.steps < self.timesteps and torch.is_grad_enabled():
                sums, states = checkpoint(run, tensors, inputs, states, share, use_reentrant=False, preserve_rng_state=False)
            else:
                sums, states = run(tensors, inputs, states, share)
            answer = sums if answer is None else _added(answer, sums)
        output, means = answer
        return output, dict(zip(next(iter(self.runs.values())).chunk.wanted, means, strict=True))


@final
class _Run:
    """One chunk of K steps, part by part."""

    def __init__(self, made: Chunk, timesteps: int, parts: int, compiled: bool) -> None:
        self.chunk, self.timesteps, self.parts = made, timesteps, parts_of(made.graph, parts)
        self.runs = [torch.compile(part.run) if compiled else part.run for part in self.parts]
        self.output = next(iter(reversed(made.graph.nodes))).args[0]

    def __call__(
        self, tensors: Mapping[str, Tensor], inputs: tuple[Tensor, ...], states: tuple[Any, ...] | None, share: float
    ) -> tuple[Any, tuple[Any, ...]]:
        """The mean outputs and wanted values over the chunk, times its share of all steps, and the states after it."""
        made = self.chunk
        values: dict[str, Any] = {name: tensors[of] for name, of in made.constants.items()}
        values |= {name: repeated(value, self.timesteps) for name, value in zip(made.inputs, inputs, strict=True)}
        values |= dict(zip(made.states, states or [None] * len(made.states), strict=True))
        for part, run in zip(self.parts, self.runs, strict=True):
            read = [values[name] for name in part.reads]
            if len(self.parts) > 1 and torch.is_grad_enabled():
                given = checkpoint(run, *read, use_reentrant=False, preserve_rng_state=False)
            else:
                given = run(*read)
            values |= dict(zip(part.gives, given, strict=True))
            for name in part.done:
                del values[name]
        output, wanted, after = fx.map_arg(self.output, lambda node: values[node.name])
        return _scaled((decoded(output, self.timesteps), decoded(wanted, self.timesteps)), share), after


def _scaled(value: Any, share: float) -> Any:
    """Every tensor of a structure times a number."""
    return value if share == 1.0 else pytree.tree_map_only(Tensor, lambda each: each * share, value)


def _added(first: Any, second: Any) -> Any:
    """The sums of what stands in the same places of two structures."""
    return pytree.tree_map(lambda a, b: a + b if isinstance(a, Tensor) else a, first, second)
