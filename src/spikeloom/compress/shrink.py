"""
Shrinking: channels that nobody reads any more leave the graph, with the weights, biases and parameters that made them.

Exact: where every weight that reads a channel is 0, the network without it computes the same numbers.
"""

from collections.abc import Collection

import torch
from jaxtyping import Bool
from torch import Tensor, fx

from spikeloom.compress.channels import Channels, by_channel, widths
from spikeloom.errors import InternalError
from spikeloom.ir import (
    OPERATIONS,
    Program,
    args_of,
    argument,
    calls,
    clone,
    constant_name,
    driven_by,
    function_of,
    note,
    population,
    read,
    set_weights,
    shaped,
    source_of,
    swept,
    weighted,
    weights_of,
)


def shrunk(program: Program, channels: Channels, leaving: Collection[int]) -> Program:
    """The program without the channels of some classes. InternalError where one of them is pinned or still read."""
    if bad := [channels.pinned()[each] for each in leaving if each in channels.pinned()]:
        raise InternalError(f"a channel that must stay was to leave: {bad[0]}")
    graph, tensors = clone(program.graph), dict(program.tensors)
    gone = torch.tensor(sorted(leaving), dtype=torch.int64)
    twins = dict(zip(program.graph.nodes, graph.nodes, strict=True))
    stays = {node: ~torch.isin(channels.classes(node), gone) for node in channels.values}
    for node in calls(program.graph):
        if (node in stays and not bool(stays[node].all())) or any(not bool(stays[x].all()) for x in node.all_input_nodes if x in stays):
            _cut(twins[node], node, stays, graph, tensors, program)
    return shaped(swept(program.replaced(graph=graph, tensors=tensors)))


def _cut(
    node: fx.Node,
    before: fx.Node,
    stays: dict[fx.Node, Bool[Tensor, " c"]],
    graph: fx.Graph,
    tensors: dict[str, Tensor],
    program: Program,
) -> None:
    """One operation without the channels that leave."""
    if weighted(before):
        _cut_layer(node, before, stays, graph, tensors, program)
    elif before.target in OPERATIONS.values():
        _cut_population(node, stays[before], graph, tensors)
    elif function_of(before) in ("pad", "constant_pad_nd"):
        node.args = (node.args[0], _narrowed(before, stays), *node.args[2:])
    elif function_of(before) in ("view", "reshape"):
        sizes = list(args_of(node)[1])
        if sizes[1] != -1:
            sizes[1] = int(stays[before].sum())
        node.args = (node.args[0], sizes)


def _cut_layer(
    node: fx.Node,
    before: fx.Node,
    stays: dict[fx.Node, Bool[Tensor, " c"]],
    graph: fx.Graph,
    tensors: dict[str, Tensor],
    program: Program,
) -> None:
    weight, bias = weights_of(before, program.tensors)
    weight, rows = read(weight), stays[before]
    if by_channel(before, program):
        weight, groups = weight[rows], int(rows.sum())
        node.args = (*node.args[:6], groups)
    else:
        columns = stays[source_of(before)]
        if bool((weight[rows][:, ~columns] != 0).any()):
            raise InternalError(f"%{before.name} still reads channels that were to leave")
        weight = weight[rows][:, columns]
    set_weights(node, graph, tensors, weight.contiguous(), None if bias is None else read(bias)[rows])


def _cut_population(node: fx.Node, stays: Bool[Tensor, " c"], graph: fx.Graph, tensors: dict[str, Tensor]) -> None:
    least = 1 if node.target is population else 2
    for operand in node.args[1:]:
        if isinstance(operand, fx.Node) and operand not in driven_by(node):
            held = read(tensors[constant_name(operand)])
            if held.dim() >= least and held.shape[0] == len(stays):
                tensors[constant_name(operand)] = held[stays]
    slope = note(node).get("slope")
    if isinstance(slope, list) and len(slope) == len(stays):
        note(node)["slope"] = [each for each, stay in zip(slope, stays.tolist(), strict=True) if stay]


def _narrowed(node: fx.Node, stays: dict[fx.Node, Bool[Tensor, " c"]]) -> list[int]:
    """What a padding adds, less the slots of zeros that leave."""
    told, rank = [int(each) for each in argument(node, 1, "pad")], len(node.meta["spec"][0])
    for axis, (first, last) in widths(node).items():
        if (first or last) and node.meta["spec"][0][axis] == len(stays[node]) and axis == 1:
            place = 2 * (rank - 1 - axis)
            told[place] = int(stays[node][:first].sum())
            told[place + 1] = int(stays[node][len(stays[node]) - last :].sum()) if last else 0
    return told
