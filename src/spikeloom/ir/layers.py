"""
Layers with weights: convolutions and linear layers whose weights are constants of the program.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, fx

from spikeloom.ir.graph import args_of, argument, constant_name
from spikeloom.ir.rules import name_of

TRANSPOSED = ("aten.conv_transpose1d.", "aten.conv_transpose2d.", "aten.conv_transpose3d.")
CONVOLUTIONS = ("aten.conv1d.", "aten.conv2d.", "aten.conv3d.", *TRANSPOSED)


def weighted(node: object) -> bool:
    """Whether a node is a convolution or linear layer with constant weights."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return False
    constant = all(given is None or (isinstance(given, fx.Node) and given.op == "get_attr") for given in node.args[1:3])
    return name_of(node.target).startswith((*CONVOLUTIONS, "aten.linear.")) and constant


def groups_of(layer: fx.Node) -> int:
    """How many groups of channels a layer has that do not meet (1 for linear layers)."""
    name = name_of(layer.target)
    if not name.startswith(CONVOLUTIONS):
        return 1
    return int(argument(layer, 6, "groups", 1))


def weights_of(layer: fx.Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """A layer's weight, and its bias where it has one."""
    bias = argument(layer, 2, "bias")
    return tensors[constant_name(layer.args[1])], None if bias is None else tensors[constant_name(bias)]


def biased(layer: fx.Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias, zeros where it has none."""
    weight, bias = weights_of(layer, tensors)
    return weight, torch.zeros(output_channels(layer, tensors)[0], dtype=weight.dtype) if bias is None else bias


def output_channels(layer: fx.Node, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many output channels a layer has, and the axis they lie on (counted from the front)."""
    weight = tensors[constant_name(layer.args[1])]
    if name_of(layer.target).startswith(TRANSPOSED):
        return weight.shape[1] * groups_of(layer), 1
    linear = name_of(layer.target).startswith("aten.linear.")
    return weight.shape[0], len(layer.meta["spec"][0]) - 1 if linear else 1


def set_weights(layer: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor], weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer weights of its own, named after its node; a tensor of that name that others read stays theirs."""
    args = [*args_of(layer), *[None] * (3 - len(layer.args))]
    foreign = {node.target for node in graph.nodes if node.op == "get_attr" and any(user is not layer for user in node.users)}
    with graph.inserting_before(layer):
        for place, value, part in ((1, weight, "weight"), (2, bias, "bias")):
            if value is not None:
                name = f"{layer.name}.{part}"
                while name in foreign:
                    name = f"{name}_own"
                tensors[name] = value
                args[place] = graph.get_attr(name)
    layer.args = tuple(args)
