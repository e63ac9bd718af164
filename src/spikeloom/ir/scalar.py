"""
Scalar functions written out in several operations: x·σ(1.702·x), 0.5·x·(1 + tanh(…)), x·relu6(x + 3)/6, where(x > 0, x, x/10) are each
one function of one value, and become one function staircase, however a model spells them.

A function is told as rows of JSON, one an operation: [name, arguments, keyword arguments]; an argument {"row": k} is the result of
row k, {"row": -1} the input.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, final

from torch import Tensor, fx

from spikeloom.ir.comparisons import casts, compares, is_floating
from spikeloom.ir.graph import calls, dynamic, kind
from spikeloom.ir.rules import Kind, name_of, resolve
from spikeloom.ir.signals import Becomes, becomes

_LINEAR = ("aten.mul.", "aten.div.", "aten.add.", "aten.sub.", "aten.rsub.", "aten.neg.")
_ORDERS = ("aten.lt.", "aten.gt.", "aten.le.", "aten.ge.")
_EQUALITIES = ("aten.eq.", "aten.ne.")
_SELECTIONS = ("aten.where.", "aten.masked_fill.")
_FILLED = ("aten.zeros_like.", "aten.ones_like.")
Rows = Sequence[Sequence[Any]]


@final
class Scalar(NamedTuple):
    """One function of one value: what it reads, and its operations in order; the last gives the result."""

    source: fx.Node
    nodes: tuple[fx.Node, ...]


def scalars(graph: fx.Graph) -> dict[fx.Node, Scalar]:
    """The scalar functions of a graph that need a product, a comparison, or an operation no neuron is known for, by the node that ends
    each.

    Operations inside that others read too stay for those others.
    """
    live, sources = dynamic(graph), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        read = {sources[operand] for operand in node.all_input_nodes if operand in sources}
        if len(read) == 1 and _elementwise(node, live, sources):
            sources[node] = read.pop()
        elif node in live:
            sources[node] = node
    found: dict[fx.Node, Scalar] = {}
    for node in calls(graph):
        source = sources.get(node, node)
        ends = source is not node and any(sources.get(user) is not source for user in node.users)
        if ends and is_floating(source) and _spread(node, live) and _worth_it(inside := _between(source, node, sources), live):
            found[node] = Scalar(source, inside)
    return found


def _elementwise(node: fx.Node, live: set[fx.Node], sources: Mapping[fx.Node, fx.Node]) -> bool:
    """Whether an operation maps each element of its operands to one of the result, with nothing but numbers beside them."""
    if node.op != "call_function" or any(operand not in sources or not _alike(operand, node) for operand in node.all_input_nodes):
        return False
    name = name_of(node.target)
    if compares(node):
        wanted = is_floating if name.startswith(_ORDERS) else _is_truth
        return not name.startswith(_EQUALITIES) and all(map(wanted, node.all_input_nodes))
    if casts(node):
        return is_floating(node) and _is_truth(node.all_input_nodes[0])
    if name.startswith(_SELECTIONS):
        return all(math.isfinite(value) for value in node.args if isinstance(value, int | float))
    return name.startswith((*_FILLED, *_LINEAR)) or kind(node, live) is Kind.ACTIVATION


def _alike(operand: fx.Node, node: fx.Node) -> bool:
    """Whether a value has the shape of what is made of it, and its dtype where neither is of truth values."""
    read, made = (each.meta.get("spec") for each in (operand, node))
    return read is None or read == made or (made is not None and read[0] == made[0] and "bool" in (read[1], made[1]))


def _is_truth(node: fx.Node) -> bool:
    return node.meta.get("spec", ((), ""))[1] == "bool"


def _spread(node: fx.Node, live: set[fx.Node]) -> bool:
    if not is_floating(node):
        return False
    selects = casts(node) or name_of(node.target).startswith(_SELECTIONS)
    return selects or kind(node, live) in (Kind.ACTIVATION, Kind.PRODUCT, Kind.ADD, Kind.AFFINE)


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
    """A product of two values, a comparison, or an activation that has no neuron alone; a plain chain of activations stays as it is."""
    needed = any(kind(node, live) is Kind.PRODUCT or compares(node) for node in nodes)
    return needed or any(kind(node, live) is Kind.ACTIVATION and becomes(node, live)[0] is Becomes.FLOATING for node in nodes)


def told(scalar: Scalar) -> list[list[Any]]:
    """A scalar function as rows of JSON."""
    place = {scalar.source: -1} | {node: k for k, node in enumerate(scalar.nodes)}
    hole = lambda operand: {"row": place[operand]}  # noqa: E731
    rows: list[list[Any]] = []
    for node in scalar.nodes:
        args, kwargs = fx.map_arg((node.args, node.kwargs), hole)
        if casts(node):  # of truth values: 0 and 1
            rows.append(["aten.mul.Scalar", [args[0], 1.0], {}])
        else:
            rows.append([name_of(node.target), list(args), {} if name_of(node.target).startswith(_FILLED) else dict(kwargs)])
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
        return values[-1].to(x.dtype)  # a choice between two numbers knows no other dtype than the default

    return function
