"""
Questions to a program's graph: what a node's operands are, what depends on the input, how an operation treats spikes.

Source: torch.fx (https://docs.pytorch.org/docs/stable/fx.html); the graph is the library's own.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import fx

from spikeloom.errors import InternalError
from spikeloom.ir.program import Program
from spikeloom.ir.rules import RULES, Kind, name_of

POSITIONS, CAUSAL, MASK = "positions", "causal mask", "mask"
"""What an input can tell of the structure of a text: where its tokens stand, and which may look at which."""
_WITHIN = " within "
_LIKE = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
_OF_SIZES = ("aten.sym_", "torch.sym_", *(f"aten.{name}." for name in _LIKE))
"""What reads of a value nothing but its size."""


def structure_of(node: fx.Node) -> str | None:
    """What an input tells of the structure of the others (one of the above, a mask also `within` a window); None for an input with
    content of its own."""
    return node.meta.get("note", {}).get("structure") if node.op == "placeholder" else None


def within(mask: str, window: int | None) -> str:
    """A mask of tokens that look no farther than a window of W tokens, None being none: "causal mask within 4". In a causal text a
    token looks at itself and the W - 1 before it, else at W on either side."""
    return mask if window is None else f"{mask}{_WITHIN}{window}"


def sight(structure: str) -> tuple[str, int | None]:
    """The mask and the window that `within` put together."""
    mask, apart, window = structure.partition(_WITHIN)
    return mask, int(window) if apart else None


def calls(graph: fx.Graph) -> Iterator[fx.Node]:
    """The operations of a graph in execution order."""
    return (node for node in graph.nodes if node.op == "call_function")


def args_of(node: fx.Node) -> tuple[Any, ...]:
    """A node's positional arguments; torch.fx types each as a union of everything an argument can be."""
    return node.args


def kwargs_of(node: fx.Node) -> dict[str, Any]:
    """A node's keyword arguments, a copy."""
    return dict(node.kwargs)


def source_of(node: fx.Node) -> fx.Node:
    """The value a call reads first; InternalError where its first argument is none."""
    first = node.args[0] if node.args else None
    if not isinstance(first, fx.Node):
        raise InternalError(f"%{node.name} must read a value first, its arguments are {node.args}")
    return first


def driven_by(node: fx.Node) -> list[fx.Node]:
    """The values that drive a population: its input current and, where another population scales its thresholds, that gain."""
    return [operand for operand in node.args if isinstance(operand, fx.Node) and operand.op != "get_attr"]


def constant_name(node: object) -> str:
    """The name of the tensor that a get_attr node reads; InternalError for anything else."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        raise InternalError(f"not a constant of a program: {node!r}")
    return str(node.target)


def target_of(node: fx.Node) -> Callable[..., Any]:
    """The function that a call_function node calls; InternalError for any other node."""
    if not callable(node.target):
        raise InternalError(f"%{node.name} calls no function: {node.target}")
    return node.target


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument of a call by position or by name, else its default."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def dynamic(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose values depend on the content of the program's inputs; sizes, positions and masks are structure, not content."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" and structure_of(node) is None:
            found.add(node)
        elif node.op in ("call_function", "output"):
            sized = name_of(node.target).startswith(_OF_SIZES)
            if not sized and any(operand in found for operand in node.all_input_nodes):
                found.add(node)
    return found


def kind(node: fx.Node, live: set[fx.Node]) -> Kind | None:
    """How a call treats spikes, its operands considered; None for an operation outside the rule tables.

    A product (or masked selection) with one dynamic operand is affine (a constant divided by a value is a norm);
    an affine operation whose weights are dynamic is a product.
    """
    rule = RULES.get(name_of(node.target))
    if rule is None:
        return None
    read: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), read.append)  # once for each place a value stands in: x·x reads x twice
    operands = [operand for operand in read if operand in live]
    if rule.kind is Kind.PRODUCT:
        divides = rule.name.startswith("aten.div")
        if len(operands) <= 1:
            return Kind.NORM if divides and node.args[0] not in live else Kind.AFFINE
        return Kind.NORM if divides else Kind.PRODUCT
    if rule.kind is Kind.AFFINE and len(operands) > 1:
        return Kind.PRODUCT
    return rule.kind


def swept(program: Program) -> Program:
    """The program without operations and tensors that nothing reads."""
    graph = program.graph
    for node in reversed(list(graph.nodes)):
        if node.op in ("call_function", "get_attr") and not node.users:
            graph.erase_node(node)
    used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return program.replaced(tensors={name: tensor for name, tensor in program.tensors.items() if name in used})
