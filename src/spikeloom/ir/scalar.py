"""
Scalar functions written out in several operations: x·σ(1.702·x), 0.5·x·(1 + tanh(…)), x·relu6(x + 3)/6 are each one function of one
value, and become one function staircase, however a model spells them.

A function is told as rows of JSON, one an operation: [name, arguments, keyword arguments]; an argument {"row": k} is the result of
row k, {"row": -1} the input.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

from torch import Tensor, fx

from spikeloom.ir.graph import calls, dynamic, kind
from spikeloom.ir.rules import Kind, name_of, resolve
from spikeloom.ir.signals import Becomes, becomes

_LINEAR = ("aten.mul.", "aten.div.", "aten.add.", "aten.sub.", "aten.rsub.", "aten.neg.")
Rows = Sequence[Sequence[Any]]


@final
class Scalar(NamedTuple):
    """One function of one value: what it reads, and its operations in order; the last gives the result."""

    source: fx.Node
    nodes: tuple[fx.Node, ...]


def scalars(graph: fx.Graph) -> dict[fx.Node, Scalar]:
    """The scalar functions of a graph that need a product, or an operation no neuron is known for, by the node that ends each.

    Operations inside that others read too stay for those others.
    """
    live, sources = dynamic(graph), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        if node in live:
            read = {sources[operand] for operand in node.all_input_nodes if operand in live}
            sources[node] = read.pop() if len(read) == 1 and _elementwise(node, live) else node
    found: dict[fx.Node, Scalar] = {}
    for node in calls(graph):
        source = sources.get(node, node)
        ends = source is not node and any(sources.get(user) is not source for user in node.users)
        if ends and _spread(node, live) and _worth_it(inside := _between(source, node, sources), live):
            found[node] = Scalar(source, inside)
    return found


def _elementwise(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether an operation maps each element of its live operands to one of the result, with nothing but numbers beside them."""
    if node.op != "call_function" or any(operand not in live for operand in node.all_input_nodes):
        return False
    if any("spec" in operand.meta and operand.meta["spec"] != node.meta.get("spec") for operand in node.all_input_nodes):
        return False
    return kind(node, live) is Kind.ACTIVATION or name_of(node.target).startswith(_LINEAR)


def _spread(node: fx.Node, live: set[fx.Node]) -> bool:
    return kind(node, live) in (Kind.ACTIVATION, Kind.PRODUCT, Kind.ADD, Kind.AFFINE)


def _between(source: fx.Node, end: fx.Node, sources: Mapping[fx.Node, fx.Node]) -> tuple[fx.Node, ...]:
    """The operations that lead from `source` to `end`, in order."""
    needed, waiting = set[fx.Node](), [end]
    while waiting:
        node = waiting.pop()
        if node is not source and node not in needed:
            needed.add(node)
            waiting += [operand for operand in node.all_input_nodes if operand in sources]
    return tuple(node for node in end.graph.nodes if node in needed)


def _worth_it(nodes: Sequence[fx.Node], live: set[fx.Node]) -> bool:
    """A product of two values, or an activation that has no neuron alone; a plain chain of activations stays as it is."""
    products = any(kind(node, live) is Kind.PRODUCT for node in nodes)
    return products or any(kind(node, live) is Kind.ACTIVATION and becomes(node, live)[0] is Becomes.FLOATING for node in nodes)


def told(scalar: Scalar) -> list[list[Any]]:
    """A scalar function as rows of JSON."""
    place = {scalar.source: -1} | {node: k for k, node in enumerate(scalar.nodes)}
    hole = lambda operand: {"row": place[operand]}  # noqa: E731
    rows: list[list[Any]] = []
    for node in scalar.nodes:
        args, kwargs = fx.map_arg((node.args, node.kwargs), hole)
        rows.append([name_of(node.target), list(args), dict(kwargs)])
    return rows


def evaluated(rows: Rows) -> Callable[[Tensor], Tensor]:
    """The function that rows tell. Only operations of the rule tables are ever called."""
    functions = [resolve(str(name)) for name, _, _ in rows]

    def function(x: Tensor) -> Tensor:
        values: list[Tensor] = []
        fill = lambda value: (x if value["row"] < 0 else values[value["row"]]) if isinstance(value, dict) else value  # noqa: E731
        for target, (name, args, kwargs) in zip(functions, rows, strict=True):
            if target is None:
                raise LookupError(f"an operation outside the allow-list: {name}")
            values.append(target(*map(fill, args), **{key: fill(value) for key, value in kwargs.items()}))
        return values[-1]

    return function
