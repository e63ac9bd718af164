"""
What each edge of a graph carries, and what each operation becomes: the one place where that is decided.

`plan` shows these decisions before any work, `convert` acts on them, `verify` holds the result to them.
"""

from enum import StrEnum
from typing import Any

from torch import fx

from spikeloom.ir.comparisons import ELEMENTWISE, judges
from spikeloom.ir.graph import args_of, argument, calls, dynamic, kind, source_of
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
    NEURONS = "several populations"
    ROUTING = "routing of spikes"
    SUM = "sum at the membrane"
    MAX = "maximum of spikes (logical OR)"
    PRODUCT = "product of spikes"
    CONSTANT = "constant"
    FLOATING = "stays floating"
    UNSUPPORTED = "unsupported"


NEEDS_SPIKES = frozenset({Kind.AFFINE, Kind.PRODUCT, Kind.MAX})

UNFOLDED: dict[str, str] = {
    "softmax": "maximum of spikes, exp neurons, their sum and its logarithm's neuron, exp neurons",
    "_softmax": "maximum of spikes, exp neurons, their sum and its logarithm's neuron, exp neurons",
    "log_softmax": "maximum of spikes, exp neurons, their sum and its logarithm's neuron",
    "layer_norm": "square neurons, a square-root neuron, and neurons whose thresholds it scales",
    "rms_norm": "square neurons, a square-root neuron, and neurons whose thresholds it scales",
    "group_norm": "square neurons, a square-root neuron, and neurons whose thresholds it scales",
    "scaled_dot_product_attention": "products of spikes; softmax by exp and logarithm neurons",
    "linalg_vector_norm": "square neurons and a square-root neuron",
    "var": "square neurons",
    "div": "reciprocal neurons and a product of spikes",
    "topk": "comparing neurons, neurons that answer to one rank each, and a product of spikes",
}
"""Functions of several values that `convert.Unfold` takes apart into populations and sums, and into what."""

_RIDES = ("aten.mul.", "aten.div.", "aten.neg.", "aten.batch_norm.", "aten.mean.", "aten.sum.", "aten.avg_pool", "aten.adaptive_avg_pool")

_INDICES = ("aten.argmax.", "aten.topk.", "aten.max.dim", "aten.max_pool2d_with_indices.")
_IDENTITY_STAIRCASES = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max"})
_RECTIFIERS = frozenset({"leaky_relu", "prelu", "elu", "selu", "celu", "silu", "gelu", "hardswish", "softplus", "mish"})
_STAIRCASES = _RECTIFIERS | {"hardsigmoid", "sigmoid", "tanh", "exp", "log", "reciprocal", "rsqrt", "sqrt", "square", "abs", "erf", "sign"}
_CURRENTS = frozenset({"scaled_dot_product_attention", "log_softmax", "div", "var", "topk"})
_POPULATIONS = frozenset({"spikeloom.population", "spikeloom.staircase"})
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
    if node in live and judges(node, live):
        return Becomes.UNSUPPORTED, "it compares values of the network, which spikes carry in levels, and gives no spikes itself"
    if node not in live or what in (Kind.SHAPE, Kind.CREATE):
        return Becomes.CONSTANT, ""
    if what is Kind.RECURRENT:
        return Becomes.UNSUPPORTED, "recurrent layers are not converted yet"
    if gives_indices(node) and not unfolds(node, live):
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
    if divides_by_root(node, live):
        return Becomes.STAIRCASE, "the square-root neuron scales its thresholds"
    if unfolds(node, live):
        return Becomes.NEURONS, UNFOLDED[function_of(node)]
    return Becomes.FLOATING, f"{function_of(node)} is a function of several values at once, and no neurons are known for it"


def mixes_batch(node: fx.Node) -> bool:
    """Whether a call computes across the samples of a batch: a batch norm without running statistics."""
    return name_of(node.target) == "aten._native_batch_norm_legit.no_stats"


def gives_indices(node: fx.Node) -> bool:
    """Whether a call gives indices that are read."""
    name = name_of(node.target)
    if name.startswith("aten.adaptive_max_pool"):
        return any(name_of(part.target) != "operator.getitem" or part.args[1] != 0 for part in node.users)
    return name.startswith(_INDICES)


def divides_by_root(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether a node is x/√v with both from the input: neurons of x whose thresholds √v scales."""
    if not name_of(node.target).startswith("aten.div.Tensor") or len(node.args) < 2 or "rounding_mode" in node.kwargs:
        return False
    x, root = node.args[:2]
    return x in live and root in live and root.op == "call_function" and _is_root(root)


def _is_root(node: fx.Node) -> bool:
    return function_of(node) == "sqrt" or (name_of(node.target) in _POPULATIONS and node.kwargs.get("function") == "sqrt")


def unfolds(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether `convert.Unfold` takes this function of several values apart into populations."""
    function = function_of(node)
    if function == "div":
        return name_of(node.target) == "aten.div.Tensor" and node.args[1] in live and not divides_by_root(node, live)
    if function == "linalg_vector_norm":
        return float(argument(node, 1, "ord", 2)) == 2.0
    if function == "topk":
        return _is_last(node, argument(node, 2, "dim", -1)) and all(_picks(part) for part in node.users)
    return function in UNFOLDED


def _is_last(node: fx.Node, axis: Any) -> bool:
    """Whether an axis of what a node reads is its last."""
    spec = node.all_input_nodes[0].meta.get("spec")
    return axis in ((-1,) if spec is None else (-1, len(spec[0]) - 1))


def _picks(part: fx.Node) -> bool:
    """Whether a part of a topk is its values, or indices that do nothing but choose: among as many, or from as many values."""
    if name_of(part.target) != "operator.getitem":
        return False
    return argument(part, 1, "index") == 0 or all(_chooses(part, reader) for reader in part.users)


def _chooses(indices: fx.Node, reader: fx.Node) -> bool:
    if name_of(reader.target) == "aten.one_hot.default":
        spec, source = source_of(indices).all_input_nodes[0].meta.get("spec"), reader.args[1]
        return spec is None or bool(source == spec[0][-1])
    return name_of(reader.target) == "aten.gather.default" and reader.args[2] is indices and _is_last(reader, reader.args[1])


def rides(node: fx.Node, live: set[fx.Node], carried: dict[fx.Node, Signal]) -> bool:
    """Whether a linear operation on current is part of the synapses that made the current: it scales each value by a constant,
    or adds values up, so that it costs no event more than they do (its constants belong to their weights)."""
    if kind(node, live) is not Kind.AFFINE or not name_of(node.target).startswith(_RIDES):
        return False
    return all(carried.get(operand) is Signal.CURRENT for operand in node.all_input_nodes if operand in live)


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
        if node.op == "placeholder" and node in live:
            found[node] = Signal.INPUT
        elif node.op == "call_function" and node in live:
            found[node] = _signal(node, live, [found[operand] for operand in node.all_input_nodes if operand in found])
    return found


def _signal(node: fx.Node, live: set[fx.Node], operands: list[Signal]) -> Signal:
    what = becomes(node, live)[0]
    if name_of(node.target) == "aten.one_hot.default":
        return Signal.SPIKE
    if what is Becomes.NEURONS and function_of(node) in _CURRENTS:
        return Signal.CURRENT
    if what in (Becomes.POPULATION, Becomes.STAIRCASE, Becomes.NEURONS) and "floating" not in note(node):
        return Signal.SPIKE
    if what in (Becomes.ROUTING, Becomes.MAX):
        return max(operands, key=list(Signal).index)
    scaled = name_of(node.target).startswith(ELEMENTWISE)
    if what is Becomes.CONSTANT and all(operand is Signal.INPUT for operand in operands):  # which tokens are which, say
        return Signal.INPUT
    if scaled and what in (Becomes.SYNAPSES, Becomes.SUM) and all(operand is Signal.INPUT for operand in operands):
        return Signal.INPUT
    return Signal.CURRENT


def spikeless(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """The operations whose current is read where spikes are needed, each with the readers that want spikes of it: an identity
    population belongs between. In execution order.

    The search walks back from such a reader through routing and maxima to what made the current; of an operation that gives several
    values, to the one that is read.
    """
    live, carried = dynamic(graph), signals(graph)
    wanted: dict[fx.Node, list[fx.Node]] = {}
    for node in calls(graph):
        if needs_spikes(node, live, carried):
            for operand in node.all_input_nodes:
                _trace(operand, node, live, carried, wanted)
    return {node: wanted[node] for node in calls(graph) if node in wanted}


def needs_spikes(node: fx.Node, live: set[fx.Node], carried: dict[fx.Node, Signal]) -> bool:
    """Whether an operation takes spikes only: it has weights, multiplies, or selects a maximum, and is not part of other synapses."""
    if node not in live or "floating" in note(node) or kind(node, live) not in NEEDS_SPIKES:
        return False
    return becomes(node, live)[0] is not Becomes.UNSUPPORTED and not rides(node, live, carried)


def _trace(
    node: fx.Node, reader: fx.Node, live: set[fx.Node], carried: dict[fx.Node, Signal], wanted: dict[fx.Node, list[fx.Node]]
) -> None:
    if carried.get(node) is not Signal.CURRENT or reader in wanted.get(node, ()):
        return
    passes = (Becomes.ROUTING, Becomes.MAX)
    part = name_of(node.target) == "operator.getitem" and becomes(source_of(node), live)[0] not in passes
    if becomes(node, live)[0] in passes and not part:
        for operand in node.all_input_nodes:
            _trace(operand, node, live, carried, wanted)
    else:
        wanted.setdefault(node, []).append(reader)
