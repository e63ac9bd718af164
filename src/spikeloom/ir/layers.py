"""
Layers with weights: convolutions and linear layers whose weights are constants of the program.
"""

from torch import Tensor, fx

from spikeloom.ir.rules import name_of

TRANSPOSED = ("aten.conv_transpose1d.", "aten.conv_transpose2d.", "aten.conv_transpose3d.")
CONVOLUTIONS = ("aten.conv1d.", "aten.conv2d.", "aten.conv3d.", *TRANSPOSED)


def weighted(node: object) -> bool:
    """Whether a node is a convolution or linear layer with constant weights."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return False
    constant = all(argument is None or (isinstance(argument, fx.Node) and argument.op == "get_attr") for argument in node.args[1:3])
    return name_of(node.target).startswith((*CONVOLUTIONS, "aten.linear.")) and constant


def output_channels(layer: fx.Node, tensors: dict[str, Tensor]) -> tuple[int, int]:
    """How many output channels a layer has, and the axis they lie on (counted from the front)."""
    weight = tensors[str(layer.args[1].target)]  # pyright: ignore
    if name_of(layer.target).startswith(TRANSPOSED):
        groups = int(layer.args[6]) if len(layer.args) > 6 else 1  # pyright: ignore
        return weight.shape[1] * groups, 1
    linear = name_of(layer.target).startswith("aten.linear.")
    return weight.shape[0], len(layer.meta["spec"][0]) - 1 if linear else 1


def set_weights(layer: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor], weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer weights of its own, named after its node."""
    args = list(layer.args) + [None] * (3 - len(layer.args))
    with graph.inserting_before(layer):
        for place, value, part in ((1, weight, "weight"), (2, bias, "bias")):
            if value is not None:
                tensors[f"{layer.name}.{part}"] = value
                args[place] = graph.get_attr(f"{layer.name}.{part}")
    layer.args = tuple(args)
