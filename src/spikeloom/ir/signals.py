"""
What each edge of a graph carries, and what each operation becomes: the one place where that is decided.

`plan` shows these decisions before any work, `convert` acts on them, `verify` holds the result to them.
"""

from enum import StrEnum
from typing import Any

from torch import fx

from spikeloom.ir.graph import args_of, argument, calls, dynamic, kind
from spikeloom.ir.rules import Kind, name_of


class Signal(StrEnum):
    """What an edge carries, from the purest to the least spiking."""

    SPIKE = "spike"
    INPUT = "input"
    CURRENT = "current"


class Becomes(StrEnum):
    """What conversion makes of an operation."""

    SYNAPSES = "synapses"
    FOLDED = "folded into weights"
    POPULATION = "population"
    STAIRCASE = "staircase population"
    ROUTING = "routing of spikes"
    SUM = "sum at the membrane"
    MAX = "maximum of spikes (logical OR)"
    PRODUCT = "product of spikes"
    CONSTANT = "constant"
    FLOATING = "stays floating"
    UNSUPPORTED = "unsupported"


NEEDS_SPIKES = frozenset({Kind.AFFINE, Kind.PRODUCT, Kind.MAX})

_ELEMENTWISE = ("aten.mul.", "aten.div.", "aten.add.", "aten.sub.", "aten.rsub.", "aten.neg.", "aten.batch_norm.")
_INDICES = ("aten.argmax.", "aten.topk.", "aten.max.dim", "aten.max_pool2d_with_indices.")
_IDENTITY_STAIRCASES = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max"})
_RECTIFIERS = frozenset({"leaky_relu", "prelu", "elu", "selu", "celu", "silu", "gelu", "hardswish", "softplus", "mish"})
_STAIRCASES = _RECTIFIERS | {"hardsigmoid", "sigmoid", "tanh", "exp", "log", "reciprocal", "rsqrt", "sqrt", "square", "abs", "erf"}
MONOTONE = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "leaky_relu", "sigmoid", "tanh", "elu", "hardsigmoid", "softplus"})


def note(node: fx.Node) -> dict[str, Any]:
    """What passes wrote on a node (JSON only): `floating` a declared exception's reason, `source` the ANN node it stands for."""
    return node.meta.setdefault("note", {})


def function_of(node: fx.Node) -> str:
    """The bare name of an operation: ``aten.leaky_relu.default`` is ``leaky_relu``."""
    return name_of(node.target).split(".")[1]


def becomes(node: fx.Node, live: set[fx.Node]) -> tuple[Becomes, str]:
    """What one operation becomes, and why where that is not plain."""
    what, name = kind(node, live), name_of(node.target)
    if what is None:
        return Becomes.UNSUPPORTED, f"{name} is not in the rule tables"
    if node not in live or what in (Kind.SHAPE, Kind.CREATE):
        return Becomes.CONSTANT, ""
    if what is Kind.RECURRENT:
        return Becomes.UNSUPPORTED, "recurrent layers are not converted yet"
    if name.startswith(_INDICES):
        return Becomes.UNSUPPORTED, "it gives indices, which spikes do not carry"
    if what is Kind.ACTIVATION:
        return _activation(node)
    table = {
        Kind.AFFINE: Becomes.SYNAPSES,
        Kind.MOVE: Becomes.ROUTING,
        Kind.ADD: Becomes.SUM,
        Kind.PRODUCT: Becomes.PRODUCT,
        Kind.MAX: Becomes.MAX,
        Kind.NEURON: Becomes.POPULATION,
    }
    if what in table:
        return table[what], ""
    return Becomes.FLOATING, f"{function_of(node)} is a function of several values at once; spiking norms and attention are not built yet"


def _activation(node: fx.Node) -> tuple[Becomes, str]:
    function = function_of(node)
    if function in _IDENTITY_STAIRCASES:
        low, high = bounds(node)
        if high is None or high > 0 or (low is not None and low < 0):
            return Becomes.POPULATION, ""
    if function in _STAIRCASES or (function == "pow" and args_of(node)[1] == 2):
        return Becomes.STAIRCASE, ""
    return Becomes.FLOATING, f"no staircase is known for {function}"


def bounds(node: fx.Node) -> tuple[float | None, float | None]:
    """The lowest and highest output of a clipping activation (None: unbounded)."""
    function = function_of(node)
    match function:
        case "relu":
            low, high = 0.0, None
        case "relu6":
            low, high = 0.0, 6.0
        case "hardtanh":
            low, high = argument(node, 1, "min_val", -1.0), argument(node, 2, "max_val", 1.0)
        case "clamp_max":
            low, high = None, argument(node, 1, "max")
        case _:
            low, high = argument(node, 1, "min"), argument(node, 2, "max")
    return (None if low is None else float(low)), (None if high is None else float(high))


def signals(graph: fx.Graph) -> dict[fx.Node, Signal]:
    """What every dynamic value of a graph carries; before conversion, activations count as the populations they become."""
    live, found = dynamic(graph), dict[fx.Node, Signal]()
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = Signal.INPUT
        elif node.op == "call_function" and node in live:
            found[node] = _signal(node, live, [found[operand] for operand in node.all_input_nodes if operand in found])
    return found


def _signal(node: fx.Node, live: set[fx.Node], operands: list[Signal]) -> Signal:
    what = becomes(node, live)[0]
    if what in (Becomes.POPULATION, Becomes.STAIRCASE) and "floating" not in note(node):
        return Signal.SPIKE
    if what in (Becomes.ROUTING, Becomes.MAX):
        return max(operands, key=list(Signal).index)
    scaled = name_of(node.target).startswith(_ELEMENTWISE)
    if scaled and what in (Becomes.SYNAPSES, Becomes.SUM) and all(operand is Signal.INPUT for operand in operands):
        return Signal.INPUT
    return Signal.CURRENT


def spikeless(graph: fx.Graph) -> list[fx.Node]:
    """The operations whose current is read where spikes are needed: an identity population belongs after each.

    The search walks back from such a reader through routing and maxima to what made the current.
    """
    live, carried = dynamic(graph), signals(graph)
    needed: set[fx.Node] = set()
    for node in calls(graph):
        if node in live and kind(node, live) in NEEDS_SPIKES and becomes(node, live)[0] is not Becomes.UNSUPPORTED:
            for operand in node.all_input_nodes:
                _trace(operand, live, carried, needed)
    return [node for node in calls(graph) if node in needed]


def _trace(node: fx.Node, live: set[fx.Node], carried: dict[fx.Node, Signal], needed: set[fx.Node]) -> None:
    if carried.get(node) is not Signal.CURRENT or node in needed:
        return
    if becomes(node, live)[0] in (Becomes.ROUTING, Becomes.MAX):
        for operand in node.all_input_nodes:
            _trace(operand, live, carried, needed)
    else:
        needed.add(node)
