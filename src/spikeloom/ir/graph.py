"""
Questions and edits on a program's graph: what depends on the input, what an operand is, where a population stands.

Source: torch.fx (https://docs.pytorch.org/docs/stable/fx.html); the graph is the library's own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, fx

from spikeloom.ir.program import Program
from spikeloom.ir.rules import RULES, Kind, name_of


def calls(graph: fx.Graph) -> Iterator[fx.Node]:
    """The operations of a graph in execution order."""
    return (node for node in graph.nodes if node.op == "call_function")


def find(graph: fx.Graph, name: str) -> fx.Node:
    """The node of that name; KeyError where there is none."""
    for node in graph.nodes:
        if node.name == name:
            return node
    raise KeyError(name)


def dynamic(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose values depend on the program's inputs, sizes left out."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder":
            found.add(node)
        elif node.op in ("call_function", "output"):
            rule = RULES.get(name_of(node.target))
            sized = rule is not None and rule.name.startswith(("aten.sym_", "torch.sym_"))
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
    operands = [operand for operand in node.all_input_nodes if operand in live]
    if rule.kind is Kind.PRODUCT:
        numerator = not name_of(node.target).startswith("aten.div") or node.args[0] in live
        twice = sum(argument is operand for operand in operands for argument in node.args) > 1
        if len(operands) <= 1 and not twice:
            return Kind.AFFINE if numerator else Kind.NORM
        return Kind.PRODUCT if not name_of(node.target).startswith("aten.div") else Kind.NORM
    if rule.kind is Kind.AFFINE and len(operands) > 1:
        return Kind.PRODUCT
    return rule.kind


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument of a call by position or by name, else its default."""
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, default)


def insert_call(
    graph: fx.Graph, after: fx.Node, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> fx.Node:
    """A new call right after a node; its name is `name`, made unique by the graph."""
    with graph.inserting_after(after):
        return graph.create_node("call_function", target, args, dict(kwargs), name=name)


def constant(graph: fx.Graph, tensors: dict[str, Tensor], name: str, value: Tensor) -> fx.Node:
    """A get_attr node for a new constant, after the last input or constant; the tensor goes into `tensors`."""
    anchor = None
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr"):
            anchor = node
        elif node.op != "placeholder":
            break
    tensors[name] = value
    if anchor is None:
        with graph.inserting_before(next(iter(graph.nodes))):
            return graph.get_attr(name)
    with graph.inserting_after(anchor):
        return graph.get_attr(name)


def replace(node: fx.Node, by: fx.Node | None, graph: fx.Graph, keep: Iterable[fx.Node] = ()) -> None:
    """Every user of `node` but those in `keep` reads `by` from now on; a node left without users goes."""
    if by is not None:
        kept = set(keep) | {by}
        node.replace_all_uses_with(by, delete_user_cb=lambda user: user not in kept)
    if not node.users:
        graph.erase_node(node)


def swept(program: Program) -> Program:
    """The program without operations and tensors that nothing reads."""
    graph = program.graph
    for node in reversed(list(graph.nodes)):
        if node.op in ("call_function", "get_attr") and not node.users:
            graph.erase_node(node)
    used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return program.replaced(tensors={name: tensor for name, tensor in program.tensors.items() if name in used})
