"""
Fusing: what is exact in the ANN and makes it simpler to spike.

    fold      y = γ (W x + b − μ)/√(σ² + ε) + β  =  W' x + b'     batch norm and constant scales go into the weights     (1)
    commute   f(max_i x_i) = max_i f(x_i)  for monotone f        an activation after a max-pool moves before it          (2)
    settle    W move(x) + b = move(W x + b)                      a linear layer moves to where the batch is (`settle`)    (3)
    dense     b + x·W = linear(x, Wᵀ, b)                         `addmm` becomes a layer like any other (`dense`)       (4)

Source: Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient event-driven networks", §2.2.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.ir import (
    MONOTONE,
    TRANSPOSED,
    Context,
    Dialect,
    Kind,
    Pass,
    Program,
    args_of,
    argument,
    calls,
    clone,
    dynamic,
    function_of,
    groups_of,
    kind,
    name_of,
    output_channels,
    set_weights,
    shaped,
    swept,
    weighted,
    weights_of,
)
from spikeloom.plan.dense import dense
from spikeloom.plan.settle import settle

_SCALES = frozenset({"aten.mul.Tensor", "aten.mul.Scalar", "aten.div.Tensor", "aten.div.Scalar"})
_BELOW_ZERO = {"leaky_relu": "negative_slope", "elu": "alpha"}
_MAX_POOLS = frozenset({"max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d"})


def scale_and_shift(node: fx.Node, program: Program, channels: int, axis: int) -> tuple[Tensor, Tensor] | None:
    """An operation as y = scale·x + shift per channel ([C] each), or None where it is no such thing."""
    name, args = name_of(node.target), args_of(node)
    if name == "aten.batch_norm.default" and args[5] is False and axis == 1:
        return _normalisation(args, program)
    if name in _SCALES:
        factor = _per_channel(args[1], program, node, channels, axis)
        if factor is not None:
            return (1.0 / factor if name.startswith("aten.div.") else factor), torch.zeros(channels)
    return None


def _normalisation(args: tuple[Any, ...], program: Program) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of a batch norm in eval mode (1), or None where its statistics are missing or not constant."""
    if any(isinstance(value, fx.Node) and value.op != "get_attr" for value in args[1:5]):
        return None
    weight, bias, mean, variance = (None if value is None else program.tensor(value) for value in args[1:5])
    if mean is None or variance is None:
        return None
    scale = torch.rsqrt(variance + float(args[7])) * (1.0 if weight is None else weight)
    return scale, (torch.zeros_like(mean) if bias is None else bias) - mean * scale


def _per_channel(value: Any, program: Program, node: fx.Node, channels: int, axis: int) -> Tensor | None:
    """A constant operand as a [C] vector, or None where it varies otherwise."""
    if isinstance(value, int | float):
        return torch.full((channels,), float(value))
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    tensor, rank = program.tensor(value), len(node.meta["spec"][0])
    if tensor.numel() == 1:
        return torch.full((channels,), float(tensor))
    shape = [1] * (rank - tensor.dim()) + list(tensor.shape)
    alone = shape[axis] == channels and tensor.numel() == channels
    return tensor.reshape(channels) if alone else None


def fold(program: Program) -> tuple[Program, list[str]]:
    """The program with batch norms and constant scales folded into the layer before them, and the names folded away.

    An operation is folded where the layer's result goes nowhere else; outputs are equal to rounding.
    """
    graph, tensors = clone(program.graph), dict(program.tensors)
    folded: list[str] = []
    for node in list(calls(graph)):
        layer = node.args[0] if node.args else None
        if not isinstance(layer, fx.Node) or not weighted(layer) or len(layer.users) != 1:
            continue
        if node.meta.get("spec") != layer.meta.get("spec"):  # broadcast to another shape, or promoted to another dtype
            continue
        channels, axis = output_channels(layer, tensors)
        found = scale_and_shift(node, program.replaced(tensors=tensors), channels, axis)
        if found is not None:
            _rescale(layer, graph, tensors, *found)
            node.replace_all_uses_with(layer)
            graph.erase_node(node)
            folded.append(node.name)
    return swept(program.replaced(graph=graph, tensors=tensors)), folded


def _rescale(layer: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor], scale: Tensor, shift: Tensor) -> None:
    """Put y = scale·layer(x) + shift into the layer's own weights, under new names: others may share the old ones. (1)"""
    weight, bias = weights_of(layer, tensors)
    if name_of(layer.target).startswith(TRANSPOSED):
        groups = groups_of(layer)
        rows = scale.view(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1).reshape(weight.shape[0], -1)
        new = weight * rows.view(*rows.shape, *[1] * (weight.dim() - 2))
    else:
        new = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    set_weights(layer, graph, tensors, new.to(weight.dtype), (shift if bias is None else bias * scale + shift).to(weight.dtype))


def monotone(node: fx.Node) -> bool:
    """Whether an operation is a scalar function that never falls; leaky ReLU and ELU are where their branch below zero rises."""
    function = function_of(node)
    rises = function not in _BELOW_ZERO or float(argument(node, 1, _BELOW_ZERO[function], 1.0)) >= 0
    return function in MONOTONE and rises


def commute(program: Program) -> tuple[Program, list[str]]:
    """The program with monotone activations moved before the max-pools they follow, and their names; outputs are equal. (2)"""
    graph = clone(program.graph)
    live = dynamic(graph)
    moved: list[str] = []
    for node in list(calls(graph)):
        pool = _max_pool_before(node)
        if pool is None or not monotone(node) or kind(node, live) is not Kind.ACTIVATION:
            continue
        node.replace_all_uses_with(pool)
        node.args = (pool.args[0], *node.args[1:])
        pool.args = (node, *pool.args[1:])
        pool.prepend(node)
        moved.append(node.name)
    return program.replaced(graph=graph), moved


def _max_pool_before(node: fx.Node) -> fx.Node | None:
    """The max-pool that is all a node reads, and whose only reader it is; None where there is no such thing."""
    operands = node.all_input_nodes
    if len(operands) != 1 or operands[0].op != "call_function" or len(operands[0].users) != 1:
        return None
    return operands[0] if function_of(operands[0]) in _MAX_POOLS else None


@final
@dataclass(frozen=True)
class Fuse(Pass):
    """Makes linear layers of `addmm`, folds batch norms and constant scales into weights, moves activations before max-pools, and linear
    layers to where the batch stands in front."""

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = ("Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682, §2.2",)

    def __call__(self, program: Program, context: Context) -> Program:
        fused, made = dense(program)
        fused, folded = fold(fused)
        fused, moved = commute(fused)
        fused, settled = settle(fused)
        return shaped(fused).recorded(self.record(dense=made, folded=folded, moved=moved, settled=settled))
