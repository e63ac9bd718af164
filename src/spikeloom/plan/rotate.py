"""
Rotation: outlying channels are spread over all others by orthogonal matrices that are folded into weights; outputs stay as they are.

    streams   x → x·Q    writers W → Qᵀ·W, b → b·Q; readers W → W·diag(γ)·Q, b → b + W·β, and norms without γ, β       (1)
    heads     v → v·Q    rows of the value projection Qᵀ·W, b·Q; columns of the output projection W·Q                (2)

A LayerNorm's centring need not go into the writers (SliceGPT): Q keeps the mean where there is one, so that what is centred stays
centred, and other readers of the stream see all of it. What cannot be rotated stays as it is, and the record says why. The ANN computes
the same to rounding; a table that an embedding shares with the output layer becomes two.

Sources: QuaRot, Ashkboos et al. 2024, arXiv 2404.00456; SpinQuant, Liu et al. 2024, arXiv 2405.16406; SliceGPT, Ashkboos et al. 2024,
arXiv 2401.15024 (norms without affine parts commute with Q).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.ir import (
    Context,
    Dialect,
    Pass,
    Program,
    clone,
    constant_name,
    name_of,
    set_weights,
    shaped,
    swept,
    weights_of,
)
from spikeloom.plan.heads import Heads, heads
from spikeloom.plan.norms import Norm
from spikeloom.plan.orthogonal import rotation
from spikeloom.plan.streams import Stream, streams


@final
@dataclass(frozen=True)
class Rotate(Pass):
    """Rotates streams and heads of attention; `groups` names those to rotate, None all that can be; `gains_db` is what was measured for
    each, where it was. The record names what was rotated with its writers and readers, and what was left, with the reason.

    Raises ConfigError for a group that is not there, or cannot be rotated."""

    groups: tuple[str, ...] | None = None
    gains_db: tuple[tuple[str, float], ...] = ()

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = (
        "QuaRot, Ashkboos et al. 2024, arXiv:2404.00456",
        "SpinQuant, Liu et al. 2024, arXiv:2405.16406",
        "SliceGPT, Ashkboos et al. 2024, arXiv:2401.15024",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        work = program.replaced(graph=clone(program.graph), tensors=dict(program.tensors))
        found: list[Stream | Heads] = [*streams(work), *heads(work)]
        can = {group.name: group for group in found if not why_not(group)}
        wanted = list(can) if self.groups is None else list(self.groups)
        if unknown := sorted(set(wanted) - can.keys()):
            raise ConfigError("there is nothing of that name to rotate", found=unknown, allowed=", ".join(can))
        seed, tensors = context.generator().initial_seed(), dict(work.tensors)
        for place, (name, group) in enumerate(can.items()):  # a group's matrices are the same whatever else is rotated
            if name in wanted:
                _Fold(work.graph, tensors).group(group, torch.Generator().manual_seed(seed + place))
        left = [{**told(group), "reason": why_not(group) or "not chosen"} for group in found if group.name not in wanted]
        work.graph.lint()
        after = shaped(swept(work.replaced(tensors=tensors)))
        return after.recorded(self.record(rotated=[told(can[name]) for name in wanted], left=left))


def why_not(group: Stream | Heads) -> str:
    """The first obstacle to rotating a group; "" where there is none."""
    if isinstance(group, Heads):
        return group.obstacle
    return group.obstacles[0] if group.obstacles else ""


def told(group: Stream | Heads) -> dict[str, Any]:
    """A group in words and numbers, for the record."""
    if isinstance(group, Heads):
        size = 0 if group.rows is None else group.rows.shape[1]
        readers = [node.name for node in (group.product, group.output) if node]
        layers = {"writers": [group.value.name] if group.value else [], "readers": readers}
        return {"name": group.name, "kind": "heads", "size": size, **layers}
    readers = [node.name for node in group.readers]
    return {"name": group.name, "kind": "stream", "size": group.size, "writers": [node.name for node in group.writers], "readers": readers}


@final
class _Fold:
    """Orthogonal matrices into the tensors of one graph."""

    def __init__(self, graph: fx.Graph, tensors: dict[str, Tensor]) -> None:
        self.graph, self.tensors = graph, tensors

    def group(self, group: Stream | Heads, generator: torch.Generator) -> None:
        """(1) or (2), with new matrices."""
        if isinstance(group, Stream):
            self._stream(group, rotation(group.size, generator, keeps_mean=group.keeps_mean))
        elif group.value is not None and group.output is not None and group.rows is not None and group.columns is not None:
            self._heads(group.value, group.output, group.rows, group.columns, generator)

    def _stream(self, stream: Stream, q: Float[Tensor, "n n"]) -> None:
        for node, norm in stream.readers.items():
            self._read(node, norm, q)
        for node in stream.writers:
            self._write(node, q)
        for reader, constant in stream.constants:
            self._own(reader, constant, q)
        for norm in stream.norms:
            norm.strip()

    def _read(self, node: fx.Node, norm: Norm | None, q: Float[Tensor, "n n"]) -> None:
        weight, bias = weights_of(node, self.tensors)
        wide = weight.double()
        if norm is not None and norm.bias is not None:
            shift = wide @ self._value(norm.bias).double()
            bias = (shift if bias is None else bias.double() + shift).to(weight.dtype)
        if norm is not None and norm.weight is not None:
            wide = wide * self._value(norm.weight).double()
        set_weights(node, self.graph, self.tensors, (wide @ q).to(weight.dtype), bias)

    def _write(self, node: fx.Node, q: Float[Tensor, "n n"]) -> None:
        if name_of(node.target) == "aten.embedding.default":
            return self._own(node, node.all_input_nodes[0], q)
        weight, bias = weights_of(node, self.tensors)
        turned = (q.t() @ weight.double().flatten(1)).view_as(weight)
        bias = None if bias is None else (bias.double() @ q).to(bias.dtype)
        return set_weights(node, self.graph, self.tensors, turned.to(weight.dtype), bias)

    def _own(self, reader: fx.Node, constant: fx.Node, q: Float[Tensor, "n n"]) -> None:
        """A rotated table of its own for a node that reads one."""
        held, name = self._value(constant), f"{reader.name}.rotated"
        self.tensors[name] = (held.double() @ q).to(held.dtype)
        with self.graph.inserting_before(reader):
            reader.replace_input_with(constant, self.graph.get_attr(name))

    def _value(self, node: fx.Node) -> Tensor:
        return self.tensors[constant_name(node)]

    def _heads(self, value: fx.Node, output: fx.Node, rows: Tensor, columns: Tensor, generator: torch.Generator) -> None:
        turned: dict[tuple[int, ...], Tensor] = {}
        inner, bias = weights_of(value, self.tensors)
        outer, shift = weights_of(output, self.tensors)
        new, new_bias, read = inner.double(), None if bias is None else bias.double(), outer.double()
        for own, at in zip(rows, columns, strict=True):
            key = tuple(own.tolist())
            if key not in turned:
                turned[key] = q = rotation(len(own), generator)
                new = new.index_copy(0, own, q.t() @ new[own])
                new_bias = None if new_bias is None else new_bias.index_copy(0, own, new_bias[own] @ q)
            read = read.index_copy(1, at, read[:, at] @ turned[key])
        set_weights(value, self.graph, self.tensors, new.to(inner.dtype), None if new_bias is None else new_bias.to(inner.dtype))
        set_weights(output, self.graph, self.tensors, read.to(outer.dtype), shift)
