"""
Decoding token by token: what attention needs of earlier tokens, the spikes of their keys and values, is kept and not computed again.

In a causal program a token meets others in the products of attention alone. `with_cache` gives each such product's second operand a
cache: the operand becomes what was kept, followed by what is new, and is handed out again. Everything else runs for the new tokens
only, so that T steps over a text give the same as T steps over its parts, one after another.
"""

import dataclasses
from typing import NamedTuple, final

import torch
from torch import Tensor, fx

from spikeloom.errors import ProgramError
from spikeloom.ir import CAUSAL, Kind, Program, TensorSpec, calls, clone, dynamic, kind, name_of, sight, structure_of
from spikeloom.simulate.execute import decoded, executable, primary, repeated
from spikeloom.simulate.packing import packed
from spikeloom.simulate.structure import check_tokens, structured

_PRODUCTS = ("aten.matmul.", "aten.bmm.")


@final
class Kept(NamedTuple):
    """What a text read so far leaves: which tokens were real [B, L], and per product the spikes of keys or values [T·B, …]."""

    real: Tensor
    caches: tuple[Tensor, ...]


def with_cache(program: Program) -> Program:
    """The program with one further input and output for each cache; the outputs become (output, *caches).

    Raises ProgramError for a program that is not causal, or whose attention cannot be told from its shapes.
    """
    if not any(_is_causal(node) for node in program.graph.nodes):
        raise ProgramError("only a causal language model writes texts", found=str(program.settings.get("task")), allowed="text-generation")
    graph = clone(program.graph)
    live, length = dynamic(graph), program.inputs[0].shape[1]
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    last = inputs[-1]
    _measure_by_tokens(graph)
    specs, joined = list[TensorSpec](), list[fx.Node]()
    for node in list(calls(graph)):
        if kind(node, live) is not Kind.PRODUCT or not name_of(node.target).startswith(_PRODUCTS):
            continue
        operand = node.args[1]
        if not isinstance(operand, fx.Node):
            raise ProgramError("a product of attention reads no value", found=node.name)
        shape, dtype = operand.meta["spec"]
        axis = _axis_of_tokens(shape, length, node)
        with graph.inserting_after(last):
            last = cache = graph.placeholder(f"cache_{len(specs)}")
        with graph.inserting_before(node):
            whole = graph.call_function(torch.ops.aten.cat.default, ([cache, operand], axis))
        node.replace_input_with(operand, whole)
        specs.append(TensorSpec(cache.name, shape, dtype, True, (axis,)))
        joined.append(whole)
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = ((output.args[0], *joined),)
    graph.lint()
    return program.replaced(graph=graph, inputs=(*map(_with_kept, program.inputs, inputs), *specs))


def _is_causal(node: fx.Node) -> bool:
    """Whether an input is a causal mask."""
    kind = structure_of(node)
    return kind is not None and sight(kind)[0] == CAUSAL


def _with_kept(spec: TensorSpec, node: fx.Node) -> TensorSpec:
    """An input's form beside caches as long as the example: the mask covers them too."""
    return dataclasses.replace(spec, shape=(*spec.shape[:-1], 2 * spec.shape[-1])) if _is_causal(node) else spec


def _measure_by_tokens(graph: fx.Graph) -> None:
    """Wherever the graph asks the mask how long the text is, it asks the tokens: the mask also covers what was kept."""
    tokens = next(node for node in graph.nodes if node.op == "placeholder" and structure_of(node) is None)
    for node in list(calls(graph)):
        if name_of(node.target) == "aten.sym_size.int" and _is_causal(node.all_input_nodes[0]) and node.args[1] != 0:
            node.args = (tokens, 1)


def _axis_of_tokens(shape: tuple[int, ...], length: int, node: fx.Node) -> int:
    axes = [axis for axis in (len(shape) - 2, len(shape) - 1) if shape[axis] == length]
    if len(axes) != 1:
        raise ProgramError(f"the tokens' axis in %{node.name} cannot be told", found=shape, allowed=f"one axis of {length}")
    return axes[0]


@final
class Decoder:
    """A causal program bound to T steps that reads texts part by part. Holds no text itself."""

    def __init__(self, program: Program, timesteps: int) -> None:
        self.program, self.timesteps = with_cache(program), timesteps
        self.module = packed(executable(self.program, timesteps))
        self.specs = self.program.inputs[len(program.inputs) :]
        self.kinds = [structure_of(node) for node in program.graph.nodes if node.op == "placeholder"]
        self.dtypes = [getattr(torch, spec.dtype) for spec in self.specs]

    def start(self, batch: int) -> Kept:
        """Nothing read yet, for `batch` texts."""
        caches: list[Tensor] = []
        for spec, dtype in zip(self.specs, self.dtypes, strict=True):
            shape = [0 if place in spec.lengths else size for place, size in enumerate(spec.shape)]
            caches.append(torch.zeros(batch * self.timesteps, *shape[1:], dtype=dtype))
        return Kept(torch.zeros(batch, 0, dtype=torch.int64), tuple(caches))

    def read(self, tokens: Tensor, kept: Kept, real: Tensor | None = None) -> tuple[Tensor, Kept]:
        """Read further tokens [B, L] (1 in `real` for tokens, 0 for padding): logits [B, L, V], and what to keep."""
        seen = torch.cat([kept.real, torch.ones_like(tokens) if real is None else real.to(torch.int64)], 1)
        check_tokens(self.program, tokens, real)
        check_tokens(self.program, seen * 0, None)
        inputs = structured(self.kinds, tokens, seen)
        with torch.no_grad():
            output, *caches = self.module(*(repeated(value, self.timesteps) for value in inputs), *kept.caches)
        return primary(decoded(output, self.timesteps)), Kept(seen, tuple(caches))

    def chosen(self, kept: Kept, rows: Tensor) -> Kept:
        """What was kept of some texts, in the order of `rows`."""
        batch = kept.real.shape[0]
        steps = torch.arange(self.timesteps).repeat_interleave(len(rows)) * batch + rows.repeat(self.timesteps)
        return Kept(kept.real[rows], tuple(cache[steps] for cache in kept.caches))

    def shortened(self, kept: Kept, length: int) -> Kept:
        """What was kept of the first `length` tokens."""
        caches = [cache.narrow(spec.lengths[0], 0, length) for cache, spec in zip(kept.caches, self.specs, strict=True)]
        return Kept(kept.real[:, :length], tuple(caches))
