"""
What is settled before a graph runs: constants folded, dead nodes dropped, layers brought to one form.

    MatMul(x, W) [+ b] → Gemm(x, Wᵀ, b; transB = 1), which is one ATen linear          (1)

Each function takes a graph and gives another with the same outputs; none writes into what it was given.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import replace

import numpy as np

from spikeloom.capture.onnx.graph import Graph, Host, Node
from spikeloom.capture.onnx.host import HOST_OPERATORS
from spikeloom.capture.onnx.idioms import recognised
from spikeloom.capture.onnx.operators import MANY_OUTPUTS, OPERATORS, evaluate_constants
from spikeloom.errors import SourceError, UnsupportedError

QUANTISED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)
# What a malformed node raises in numpy or torch when it is evaluated.
EVALUATION_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, AttributeError)


def folded(graph: Graph) -> Graph:
    """Every node that reads only constants becomes constants (so do quantised weights); SourceError where one cannot be computed."""
    constants, kept = dict(graph.constants), list[Node]()
    for node in graph.nodes:
        known = node.inputs and all(not name or name in constants for name in node.inputs)
        if not known or node.operator not in OPERATORS.keys() | HOST_OPERATORS.keys():
            kept.append(node)
            continue
        try:
            with np.errstate(all="ignore"):  # a constant may well be infinite
                results = evaluate_constants(node, tuple(constants[name] if name else None for name in node.inputs))
        except UnsupportedError:
            raise
        except EVALUATION_ERRORS as error:
            raise SourceError(f"ONNX node {node.name!r} ({node.operator}) cannot be computed from its constants", found=error) from error
        constants |= dict(zip(node.outputs, results, strict=False))
    return replace(graph, nodes=tuple(kept), constants=constants)


def pruned(graph: Graph) -> Graph:
    """Only nodes and constants that an output depends on; outputs nobody reads lose their names."""
    live, kept = set(graph.outputs), list[Node]()
    for node in reversed(graph.nodes):
        if live.intersection(node.outputs):
            kept.append(replace(node, outputs=tuple(name if name in live else "" for name in node.outputs)))
            live.update(node.inputs)
    constants = {name: array for name, array in graph.constants.items() if name in live}
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)


def marked(graph: Graph) -> Graph:
    """The nodes that compute on sizes (of a Shape, and on from there) marked so."""
    sizes, nodes = {"", *graph.constants}, list[Node]()
    for node in graph.nodes:
        on_sizes = node.operator in HOST_OPERATORS and sizes.issuperset(node.inputs)
        nodes.append(replace(node, on_sizes=on_sizes))
        if on_sizes or node.operator in ("Shape", "Size"):
            sizes.update(node.outputs)
    return replace(graph, nodes=tuple(nodes))


def unsupported_nodes(graph: Graph) -> dict[str, list[str]]:
    """Names of the nodes that cannot be captured, by operator."""
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.operator not in OPERATORS and not node.on_sizes:
            found.setdefault(node.operator, []).append(node.name)
        elif any(node.outputs[1:]) and node.operator not in MANY_OUTPUTS:
            found.setdefault(f"{node.operator} with a second output", []).append(node.name)
    return found


def refuse_unsupported(graph: Graph) -> None:
    """One UnsupportedError that names every operator without an ATen form and every node that has it."""
    found = unsupported_nodes(graph)
    if not found:
        return
    quantised = sorted(QUANTISED & found.keys())
    todo = "export the float model, before activations were quantised; Spikeloom chooses its own levels" if quantised else None
    raise UnsupportedError(
        f"the ONNX file uses {len(found)} operator(s) that cannot be captured",
        found="; ".join(f"{operator}: {', '.join(names)}" for operator, names in sorted(found.items())),
        todo=todo or "replace these layers in the source model, or export the part of it before them",
    )


def fresh(name: str, taken: Container[str]) -> str:
    """`name`, or `name_2`, `name_3`, … where it is taken."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def readers(graph: Graph) -> Counter[str]:
    """How many places read each value; an output is one."""
    return Counter([name for node in graph.nodes for name in node.inputs] + list(graph.outputs))


def _vector(bias: Host, width: int) -> Host | None:
    """A bias as one number per output feature; None where it is none."""
    flat = bias.reshape(-1)
    if bias.size != flat.shape[-1] or (bias.ndim and bias.shape[-1] != bias.size) or flat.size not in (1, width):
        return None
    return np.broadcast_to(flat, (width,)).copy()


def _gemm_parts(node: Node, constants: Mapping[str, Host]) -> tuple[Host, Host | None] | None:
    """Weight [out, in] and bias [out] of a Gemm or MatMul by constants, α and β multiplied in; None where it is no linear layer."""
    weight, a = constants.get(node.inputs[1]), node.attributes
    if weight is None or weight.ndim != 2 or a.get("transA", 0):
        return None
    weight = (weight if a.get("transB", 0) else weight.T) * weight.dtype.type(a.get("alpha", 1.0))
    if len(node.inputs) < 3 or not node.inputs[2]:
        return weight, None
    bias = constants.get(node.inputs[2])
    vector = None if bias is None else _vector(np.asarray(bias * bias.dtype.type(a.get("beta", 1.0))), weight.shape[0])
    return None if vector is None else (weight, vector)


def as_linear(graph: Graph) -> Graph:
    """Gemm and MatMul with constant weights in the one form that is a linear layer, a constant vector added after it taken in; (1)."""
    constants, uses = dict(graph.constants), readers(graph)
    nodes, places = list(graph.nodes), {name: i for i, node in enumerate(graph.nodes) for name in node.outputs if name}
    for i, node in enumerate(nodes):
        if node.operator not in ("Gemm", "MatMul") or (parts := _gemm_parts(node, graph.constants)) is None:
            continue
        weight_name, bias_name = (*node.inputs[1:], "")[:2]
        nodes[i] = _canonical(node, parts, (weight_name, bias_name), constants, uses)
    for i, node in enumerate(nodes):
        if node.operator == "Add" and (sum_ := _biased(node, nodes, places, constants, uses)) is not None:
            place, merged = sum_
            nodes[place], nodes[i] = replace(merged, outputs=("",)), merged
    return pruned(replace(graph, nodes=tuple(nodes), constants=constants))


def _canonical(node: Node, parts: tuple[Host, Host | None], names: tuple[str, str], constants: dict[str, Host], uses: Counter[str]) -> Node:
    """The node as Gemm with transB = 1, its constants (new ones where others read the old) put among `constants`."""
    inputs = [node.inputs[0]]
    for name, array in zip(names, parts, strict=True):
        if array is not None:
            shared = uses[name] > 1 and not np.array_equal(array, constants[name])
            inputs.append(fresh(f"{name}.{node.name}", constants) if shared else name)
            constants[inputs[-1]] = array
    return replace(node, operator="Gemm", inputs=tuple(inputs), attributes={"transB": 1})


def _biased(
    node: Node, nodes: list[Node], places: Mapping[str, int], constants: dict[str, Host], uses: Counter[str]
) -> tuple[int, Node] | None:
    """The linear layer before an Add of a constant vector, with that vector as its bias and the sum as its output; and its place."""
    for value, bias_name in (node.inputs, node.inputs[::-1]):
        place = places.get(value)
        if place is None or uses[value] != 1 or bias_name not in constants or constants[bias_name].ndim > 1:
            continue
        layer = nodes[place]
        if layer.operator != "Gemm" or len(layer.inputs) != 2 or layer.attributes != {"transB": 1}:
            continue
        vector = _vector(constants[bias_name], constants[layer.inputs[1]].shape[0])
        if vector is not None:
            name = bias_name if vector.shape == constants[bias_name].shape else fresh(f"{bias_name}.{node.name}", constants)
            constants[name] = vector
            return place, replace(layer, inputs=(*layer.inputs, name), outputs=node.outputs)
    return None


def channelwise_slopes(graph: Graph) -> Graph:
    """PRelu slopes [C, 1, 1] as a vector [C], their rank kept as an attribute, so that they can be ATen's weight."""
    constants, nodes, uses = dict(graph.constants), list[Node](), readers(graph)
    for node in graph.nodes:
        slope = constants.get(node.inputs[1]) if node.operator == "PRelu" else None
        if slope is not None:
            shape = slope.shape[next((i for i, size in enumerate(slope.shape) if size != 1), slope.ndim - 1) :] or (1,)
            if uses[node.inputs[1]] == 1 and shape[0] == slope.size:
                constants[node.inputs[1]] = slope.reshape(-1)
                node = replace(node, attributes={"slope_rank": len(shape)})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)


def settled(graph: Graph) -> Graph:
    """The graph ready to run; SourceError, or UnsupportedError naming all that cannot be captured."""
    graph = marked(pruned(folded(graph)))
    refuse_unsupported(graph)
    return channelwise_slopes(as_linear(pruned(recognised(graph))))
