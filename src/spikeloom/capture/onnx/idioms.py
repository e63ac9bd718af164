"""
Idioms: one layer that exporters write as several nodes, put back as the one operator it is.

    x·sigmoid(x) = Swish(x)            x·hard_sigmoid(x) = x·clip(x + 3; 0, 6)/6 = HardSwish(x)            (1)
    ½·x·(1 + erf(x/√2)) = Gelu(x)                                                                           (2)
    (x − mean x)/√(mean (x − mean x)² + ε)·scale + bias = LayerNormalization(x, scale, bias; ε)             (3)

A pattern is a tuple of an operator and the patterns of its inputs; a number is a constant of that value; a name is any value,
the same wherever the name stands. The two inputs of Add and Mul may come in either order.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

from spikeloom.capture.onnx.graph import Graph, Host, Node

Branch: TypeAlias = tuple[Any, ...]
Pattern: TypeAlias = str | float | Branch
Bindings: TypeAlias = dict[str, str]

_SHIFTED = ("Sub", "x", ("ReduceMean", "x"))
_CLIPPED = ("Clip", ("Add", "x", 3.0), 0.0, 6.0)
_ERF = ("Add", ("Erf", ("Div", "x", math.sqrt(2))), 1.0)
_NORMALISED = ("Div", _SHIFTED, ("Sqrt", ("Add", ("ReduceMean", ("Pow", _SHIFTED, 2.0)), "epsilon")))


@final
@dataclass(frozen=True)
class Idiom:
    """What nodes look like, and the operator that says the same, of which bound values."""

    pattern: Branch
    operator: str
    inputs: tuple[str, ...] = ("x",)


IDIOMS = (
    Idiom(("Mul", "x", ("Sigmoid", "x")), "Swish"),
    Idiom(("Mul", "x", ("HardSigmoid", "x")), "HardSwish"),
    Idiom(("Mul", "x", ("Div", _CLIPPED, 6.0)), "HardSwish"),
    Idiom(("Div", ("Mul", "x", _CLIPPED), 6.0), "HardSwish"),
    Idiom(("Mul", ("Mul", "x", _ERF), 0.5), "Gelu"),
    Idiom(("Mul", ("Mul", "x", 0.5), _ERF), "Gelu"),
    Idiom(("Add", ("Mul", _NORMALISED, "scale"), "bias"), "LayerNormalization", ("x", "scale", "bias")),
)


def _hard_sigmoid(node: Node, constants: Mapping[str, Host]) -> bool:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return math.isclose(alpha, 1 / 6, rel_tol=1e-6) and math.isclose(beta, 0.5)


def _mean_of_last(node: Node, constants: Mapping[str, Host]) -> bool:
    given = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = node.attributes.get("axes") if given is None else given.tolist()
    return axes == [-1] and bool(node.attributes.get("keepdims", 1))


# What a node must be beyond its operator to stand in a pattern.
_CONDITIONS: Mapping[str, Callable[[Node, Mapping[str, Host]], bool]] = {"HardSigmoid": _hard_sigmoid, "ReduceMean": _mean_of_last}


def _agrees(constant: Host | None, number: float) -> bool:
    return constant is not None and constant.size == 1 and math.isclose(float(constant.reshape(-1)[0]), number, rel_tol=1e-4)


def match(pattern: Pattern, value: str, givers: Mapping[str, Node], constants: Mapping[str, Host], bound: Bindings) -> Bindings | None:
    """The names bound when the nodes that give `value` look like the pattern, given those already bound; None where they do not."""
    if isinstance(pattern, str):
        return bound | {pattern: value} if bound.get(pattern, value) == value else None
    if isinstance(pattern, int | float):
        return bound if _agrees(constants.get(value), pattern) else None
    operator, *parts = pattern
    node = givers.get(value)
    if node is None or node.operator != operator or not _CONDITIONS.get(operator, lambda node, constants: True)(node, constants):
        return None
    orders = (node.inputs, node.inputs[::-1]) if operator in ("Add", "Mul") else (node.inputs,)
    return next((found for inputs in orders if (found := _match_all(parts, inputs, givers, constants, bound)) is not None), None)


def _match_all(
    parts: list[Pattern], inputs: tuple[str, ...], givers: Mapping[str, Node], constants: Mapping[str, Host], bound: Bindings
) -> Bindings | None:
    found: Bindings | None = bound
    for part, value in zip(parts, inputs, strict=False):
        found = None if found is None else match(part, value, givers, constants, found)
    return found if len(inputs) >= len(parts) else None


def _attributes(idiom: Idiom, bound: Bindings, constants: Mapping[str, Host]) -> dict[str, Any] | None:
    """The attributes of the operator that stands for an idiom; None where what must be constant is not."""
    if idiom.operator != "LayerNormalization":
        return {}
    epsilon, scale, bias = (constants.get(bound[name]) for name in ("epsilon", "scale", "bias"))
    if epsilon is None or epsilon.size != 1 or scale is None or scale.ndim != 1 or bias is None or bias.ndim != 1:
        return None
    return {"axis": -1, "epsilon": float(epsilon.reshape(-1)[0])}


def recognised(graph: Graph) -> Graph:
    """Each node that ends an idiom as the one operator it is; the nodes before it stay, for whoever else reads them."""
    givers = {name: node for node in graph.nodes for name in node.outputs if name}

    def one(node: Node) -> Node:
        for idiom in IDIOMS:
            bound = match(idiom.pattern, node.outputs[0], givers, graph.constants, {}) if node.operator == idiom.pattern[0] else None
            attributes = None if bound is None else _attributes(idiom, bound, graph.constants)
            if bound is not None and attributes is not None:
                return replace(node, operator=idiom.operator, inputs=tuple(bound[name] for name in idiom.inputs), attributes=attributes)
        return node

    return replace(graph, nodes=tuple(one(node) for node in graph.nodes))
