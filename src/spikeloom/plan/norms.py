"""
Norms in a captured graph: one operation, or written out.

    LayerNorm, RMSNorm as ATen has them          y = γ·(x − mean x)/σ + β,   y = γ·x/√(mean x² + ε)             (1)
    x·rsqrt(mean x² + ε), then perhaps ·γ         how Llama's kin write (1)                                      (2)
"""

from dataclasses import dataclass
from typing import Any, final

from torch import fx

from spikeloom.ir import Program, argument, calls, function_of, name_of
from spikeloom.plan.moves import shape_of

_CASTS = ("aten._to_copy.", "aten.to.dtype")


@final
@dataclass(frozen=True)
class Norm:
    """A norm over the last axis: what it reads, the node that gives its result, its γ and β (constants, or None), all nodes it
    consists of, and whether it centres."""

    x: fx.Node
    result: fx.Node
    weight: fx.Node | None
    bias: fx.Node | None
    nodes: frozenset[fx.Node]
    centres: bool

    @property
    def affine(self) -> bool:
        """Whether it has a γ or a β."""
        return self.weight is not None or self.bias is not None

    def strip(self) -> None:
        """Take γ and β off, in place."""
        if name_of(self.result.target).startswith("aten.mul."):
            if self.weight is not None:
                inner = next(operand for operand in self.result.all_input_nodes if operand is not self.weight)
                self.result.replace_all_uses_with(inner)
                self.result.graph.erase_node(self.result)
            return
        self.result.args = tuple(None if given is not None and given in (self.weight, self.bias) else given for given in self.result.args)


def norms(program: Program) -> list[Norm]:
    """The norms over the last axis whose γ and β are constants."""
    found = (_operation(node) or _written(node, program) for node in calls(program.graph))
    return [norm for norm in found if norm is not None]


def _operation(node: fx.Node) -> Norm | None:
    """(1)"""
    if function_of(node) not in ("layer_norm", "rms_norm"):
        return None
    centres = function_of(node) == "layer_norm"
    weight, bias = argument(node, 2, "weight"), argument(node, 3, "bias") if centres else None
    constant = all(each is None or (isinstance(each, fx.Node) and each.op == "get_attr") for each in (weight, bias))
    if not constant or len(_sizes(node)) != 1 or node.kwargs:
        return None
    return Norm(node.all_input_nodes[0], node, weight, bias, frozenset({node}), centres)


def _sizes(node: fx.Node) -> list[Any]:
    sizes: Any = node.args[1]
    return list(sizes)


def _written(node: fx.Node, program: Program) -> Norm | None:
    """(2)"""
    if name_of(node.target) != "aten.mul.Tensor" or len(node.all_input_nodes) != 2:
        return None
    for x, root in (node.all_input_nodes, node.all_input_nodes[::-1]):
        chain = _root_of_square(root, x)
        if chain:
            end, weight = _gain_after(node, program)
            return Norm(x, end, weight, None, frozenset({*chain, node, end}), False)
    return None


def _root_of_square(root: fx.Node, x: fx.Node) -> list[fx.Node]:
    """The nodes of rsqrt(mean x² + ε), last first, or none."""
    chain: list[fx.Node] = []
    for names in (("rsqrt",), ("add",), ("mean",), ("pow", "square")):
        if root.op != "call_function" or function_of(root) not in names or len(root.all_input_nodes) != 1:
            return []
        chain.append(root)
        root = root.all_input_nodes[0]
    mean, square = chain[2], chain[3]
    whole = [int(str(axis)) for axis in _sizes(mean)] in ([-1], [len(shape_of(x)) - 1])
    squares = function_of(square) == "square" or square.args[1] == 2
    return chain if root is x and whole and squares else []


def _gain_after(node: fx.Node, program: Program) -> tuple[fx.Node, fx.Node | None]:
    """The last node of a written norm and its γ: a product with a constant that alone reads it."""
    if len(node.users) != 1:
        return node, None
    user = next(iter(node.users))
    if user.op == "call_function" and name_of(user.target).startswith(_CASTS) and len(user.users) == 1:
        user = next(iter(user.users))
    if user.op != "call_function" or name_of(user.target) != "aten.mul.Tensor":
        return node, None
    weight = next((operand for operand in user.all_input_nodes if operand.op == "get_attr"), None)
    fits = weight is not None and shape_of(user) == shape_of(node) and tuple(program.tensor(weight).shape) == shape_of(node)[-1:]
    return (user, weight) if fits else (node, None)
