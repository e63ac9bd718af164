"""
A network in two parts at one layer, and two parts as one network.
"""

from dataclasses import dataclass
from typing import Any, final

from torch import fx

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, TensorSpec, argument, calls, dynamic, name_of, shaped, source_of, swept, weighted


@final
@dataclass(frozen=True)
class Cut:
    """What comes before a layer, and what takes the layer's input and goes on."""

    before: Program
    after: Program


def cut_before(program: Program, layer: str) -> Cut:
    """The program in two parts before the layer of that name. ConfigError where there is none, or where values pass by it."""
    layers = [node for node in calls(program.graph) if weighted(node)]
    found = next((node for node in layers if node.name == layer), None)
    able = [node.name for node in layers if source_of(node).op == "call_function" and not _passing(program, source_of(node))]
    if found is None or found.name not in able:
        what = "there is no such layer" if found is None else "other values pass by it, or it is the first"
        raise ConfigError(f"the network cannot be divided before {layer}", found=what, allowed=", ".join(able) or "no layer")
    edge = source_of(found)
    return Cut(_until(program, edge), _from(program, edge))


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, waiting = {node}, [node]
    while waiting:
        for operand in waiting.pop().all_input_nodes:
            if operand not in found:
                found.add(operand)
                waiting.append(operand)
    return found


def _passing(program: Program, edge: fx.Node) -> list[fx.Node]:
    """The values from before the edge that are read behind it; of sizes the batch's is known on both sides."""
    before, live = _ancestors(edge), dynamic(program.graph)
    return [
        operand
        for node in program.graph.nodes
        if node not in before and not _batch_size(node)
        for operand in node.all_input_nodes
        if operand in before and operand in live and operand is not edge
    ]


def _batch_size(node: fx.Node) -> bool:
    return node.op == "call_function" and name_of(node.target).startswith("aten.sym_size") and argument(node, 1, "dim") in (0, None)


def _until(program: Program, edge: fx.Node) -> Program:
    graph, twins, before = fx.Graph(), dict[fx.Node, fx.Node](), _ancestors(edge)
    for node in program.graph.nodes:
        if node in before or node.op == "placeholder":
            twins[node] = graph.node_copy(node, lambda operand: twins[operand])
    graph.output(twins[edge])
    return shaped(swept(program.replaced(graph=graph)))


def _from(program: Program, edge: fx.Node) -> Program:
    graph, before = fx.Graph(), _ancestors(edge)
    twins = {edge: graph.placeholder("features")}
    shape, dtype = edge.meta["spec"]
    size: list[fx.Node] = []

    def twin(operand: fx.Node) -> fx.Node:
        if operand in twins:
            return twins[operand]
        if not size:  # of the sizes read before the edge only the batch's is needed behind it
            size.append(graph.call_function(operand.target, (twins[edge], 0)))  # pyright: ignore[reportArgumentType]
        return size[0]

    for node in program.graph.nodes:
        if node.op == "get_attr" or (node not in before and node.op != "placeholder"):
            if node.op == "call_function" and _batch_size(node):
                twins[node] = twin(node)
            else:
                twins[node] = graph.node_copy(node, twin)
    inputs = (TensorSpec("features", shape, dtype),)
    return shaped(swept(program.replaced(graph=graph, inputs=inputs)))


def grafted(front: Program, tail: Program) -> Program:
    """One program of the front's dialect: what the front gives goes into the tail, which takes one input."""
    graph, twins = fx.Graph(), dict[fx.Node, Any]()
    edge: Any = None
    for node in front.graph.nodes:
        if node.op == "output":
            edge = twins[node.args[0]]
        else:
            twins[node] = graph.node_copy(node, lambda operand: twins[operand])
    names = {name: f"gated.{name}" for name in tail.tensors}
    for node in tail.graph.nodes:
        if node.op == "placeholder":
            twins[node] = edge
        elif node.op == "get_attr":
            twins[node] = graph.get_attr(names[str(node.target)])
        elif node.op == "output":
            graph.output(fx.map_arg(node.args[0], lambda operand: twins[operand]))
        else:
            twins[node] = graph.node_copy(node, lambda operand: twins[operand])
            twins[node].meta = dict(node.meta)
    tensors = {**front.tensors, **{names[name]: tensor for name, tensor in tail.tensors.items()}}
    return shaped(swept(front.replaced(graph=graph, tensors=tensors)))
