"""
Moves: where the channels of a value come to lie when values are moved, split, repeated and put together.

A tensor of labels, one for each element, is moved as the graph moves the values. That answers for any chain of reshapes, transposes,
splits and repeats which channel lies where, without a rule for each of them.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, fx

from spikeloom.ir import Kind, calls, dynamic, kind, name_of, target_of

Labels = Int[Tensor, "..."]
_NAMES = """
    alias clone contiguous detach dropout feature_dropout to _to_copy type_as
    view reshape _unsafe_view flatten unflatten permute transpose t movedim swapaxes numpy_T squeeze unsqueeze
    expand repeat tile repeat_interleave slice select narrow index_select split split_with_sizes chunk unbind
    cat concat stack roll flip
"""
_MOVES = frozenset(_NAMES.split())
_SIZES = ("aten.sym_size.", "operator.", "torch.sym_")


def moves(node: fx.Node) -> bool:
    """Whether a node moves whole values and computes nothing, whatever they are."""
    if node.op != "call_function":
        return False
    name = name_of(node.target)
    return name == "operator.getitem" or (name.startswith("aten.") and name.split(".")[1] in _MOVES)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """A value's shape at the example batch; () where it is no tensor."""
    spec = node.meta.get("spec")
    return tuple(spec[0]) if spec else ()


def channels_along(axis: int, shape: tuple[int, ...]) -> Labels:
    """Labels of a value whose channels lie along one axis: 0, 1, 2, …"""
    size = [1] * len(shape)
    size[axis] = shape[axis]
    return torch.arange(shape[axis]).view(size).expand(shape).contiguous()


def axis_of(labels: Labels, size: int) -> int | None:
    """The axis along which labels are 0 … size − 1, everywhere the same; None where there is no such axis."""
    for axis in reversed(range(labels.dim())):
        if labels.shape[axis] == size and torch.equal(labels, channels_along(axis, tuple(labels.shape))):
            return axis
    return None


def moved(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """The labels that a move gives of those of its operands; what is not known is labelled −1, sizes are the example's."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda operand: known[operand] if operand in known else _stand_in(operand))
    if name_of(node.target).startswith(("aten.to.", "aten._to_copy.", "aten.type_as.", "aten.dropout.", "aten.feature_dropout.")):
        return args[0]
    return target_of(node)(*args, **kwargs)


def _stand_in(node: fx.Node) -> Any:
    """What stands for an operand that is not known."""
    name = name_of(node.target) if node.op == "call_function" else ""
    if name.startswith("aten.sym_size."):
        return shape_of(node.all_input_nodes[0])[int(str(node.args[1]))]
    if name.startswith(_SIZES) and name != "operator.getitem":
        return target_of(node)(*fx.map_arg(node.args, _stand_in))
    return torch.full(shape_of(node), -1)


def followed(start: fx.Node, labels: Labels) -> list[tuple[fx.Node, fx.Node, Any]]:
    """Who reads the labelled value in the end: reader, operand, the operand's labels, for every reader that does not merely move it."""
    known: dict[fx.Node, Any] = {start: labels}
    found: list[tuple[fx.Node, fx.Node, Any]] = []
    for node in _after(start):
        if not any(operand in known for operand in node.all_input_nodes):
            continue
        if moves(node):
            known[node] = moved(node, known)
        else:
            found += [(node, operand, known[operand]) for operand in node.all_input_nodes if operand in known]
    return [(reader, operand, held) for reader, operand, held in found if isinstance(held, Tensor)]


def _after(start: fx.Node) -> list[fx.Node]:
    nodes = list(start.graph.nodes)
    return nodes[nodes.index(start) + 1 :]


def softmaxes(graph: fx.Graph) -> set[fx.Node]:
    """The weights of attention: softmaxes of the input, and what moves or masks them."""
    live, found = dynamic(graph), set[fx.Node]()
    for node in calls(graph):
        name = name_of(node.target)
        passes = kind(node, live) is Kind.MOVE and any(operand in found for operand in node.all_input_nodes)
        if node in live and (name.startswith(("aten.softmax.", "aten._softmax.")) or passes):
            found.add(node)
    return found
