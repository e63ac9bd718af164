"""
Grounding: the spiking program whose floating numbers are what its whole numbers stand for.

Weights lie on grids, heights on theirs, membranes' parameters are multiples of their unit, and a staircase of as many levels as the input
has stands right behind it. Lowered in the same form it loses nothing more: the integer network is this network.
"""

import torch
from torch import Tensor, fx

from spikeloom.backend.lower.layers import WORTH, Settling
from spikeloom.backend.lower.lowering import InputRange, Lowering
from spikeloom.backend.lower.obstacles import obstacles, refuse
from spikeloom.backend.lower.populations import ENCODES, UNIT, encodes
from spikeloom.backend.target import Form
from spikeloom.ir import Program, calls, clone, name_of, note, set_weights, shaped, staircase, swept, weights_of
from spikeloom.ir.hardware import Source, Wire

ENCODER = "spike_input"


def grounded(program: Program, timesteps: int, inputs: InputRange, form: Form | None = None) -> Program:
    """The program on the grids of its netlist for T ticks. Raises UnsupportedError as `lower` does."""
    refuse("the network cannot be put into whole numbers", obstacles(program, timesteps))
    work = Lowering(program, timesteps, inputs, form or Form())
    work.netlist()
    graph, tensors = clone(program.graph), dict(program.tensors)
    for name, values in work.parameters.items():
        tensors[name] = _in_place_of(tensors[name], torch.from_numpy(values))
    for node in list(calls(graph)):
        if node.name in work.units:
            note(node)[UNIT] = work.units[node.name].tolist()
        if node.name in work.weights:
            _settle(node, graph, tensors, work.weights[node.name])
    if not any(encodes(node) for node in calls(graph)):
        _encode(graph, tensors, work.source, work.wire)
    return shaped(swept(program.replaced(graph=graph, tensors=tensors)))


def _in_place_of(before: Tensor, made: Tensor) -> Tensor:
    """A parameter in the form of the one before; [C] where rounding made of one number for all channels a number for each."""
    if made.numel() > before.numel():
        return made.to(before.dtype)
    return (made.reshape(before.shape) if made.numel() == before.numel() else made.expand(before.shape)).to(before.dtype).contiguous()


def _settle(node: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor], made: Settling) -> None:
    """The layer's weight on its grid, its bias where rounding put it, and a note of what its whole weights are worth."""
    bias = weights_of(node, tensors)[1]
    if bool(made.moved.any()):
        bias = made.moved if bias is None else bias + made.moved
    set_weights(node, graph, tensors, made.weight, bias)
    note(node)[WORTH] = made.worth.tolist()


def _encode(graph: fx.Graph, tensors: dict[str, Tensor], source: Source, wire: Wire) -> None:
    """A staircase right behind the input: round(x / step) levels."""
    given = next(node for node in graph.nodes if node.op == "placeholder")
    readers = [user for user in given.users if not name_of(user.target).startswith("aten.sym_")]
    levels = torch.arange(wire.low, wire.high + 1, dtype=torch.float64)
    tables = {"thresholds": (levels[1:] - 0.5) * source.step, "values": levels * source.step}
    tensors |= {f"{ENCODER}.{key}": table.float() for key, table in tables.items()}
    with graph.inserting_after(given):
        values = graph.get_attr(f"{ENCODER}.values")
        thresholds = graph.get_attr(f"{ENCODER}.thresholds")
    with graph.inserting_after(values):
        node = graph.create_node("call_function", staircase, (given, thresholds, values), {"axis": 1, "function": ENCODES}, name=ENCODER)
    for reader in readers:
        reader.replace_input_with(given, node)
