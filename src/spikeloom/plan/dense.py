"""
Dense layers: `addmm`, and a linear layer on rows that were laid out for it and are laid back, become one linear layer on the value itself.

    b + x·W  =  linear(x, Wᵀ, b)                                                             (1)
    move(linear(rows(x))) = linear(x)    rows: [B, L, C] as [B·L, C], move: [B·L, O] as [B, L, O]       (2)

GPT-2's layers come like this. Afterwards they are layers with weights like any other: scaled, rotated and compensated.
"""

import torch
from torch import Tensor, fx

from spikeloom.ir import RESHAPES, Program, calls, clone, constant_name, name_of, source_of, swept


def dense(program: Program) -> tuple[Program, list[str]]:
    """The program with its `addmm` of constant weights as linear layers, and the names of those; outputs are equal. (1) (2)"""
    graph, tensors = clone(program.graph), dict(program.tensors)
    made = [node.name for node in list(calls(graph)) if _is_dense(node, tensors) and _linear(node, graph, tensors)]
    return swept(program.replaced(graph=graph, tensors=tensors)), made


def _is_dense(node: fx.Node, tensors: dict[str, Tensor]) -> bool:
    """Whether a node is b + x·W with a constant W, and a constant b of one entry a column."""
    if name_of(node.target) != "aten.addmm.default" or node.kwargs or len(node.args) != 3:
        return False
    bias, x, weight = node.args
    constant = all(isinstance(each, fx.Node) and each.op == "get_attr" for each in (bias, weight))
    return constant and isinstance(x, fx.Node) and tensors[constant_name(bias)].shape == tensors[constant_name(weight)].shape[1:]


def _linear(node: fx.Node, graph: fx.Graph, tensors: dict[str, Tensor]) -> bool:
    """Write (1), and (2) where it holds, in the node's place and under its name."""
    bias, _, weight = node.args
    name = f"{constant_name(weight)}.transposed"
    tensors[name] = tensors[constant_name(weight)].t().contiguous()
    source, end = _around(node)
    with graph.inserting_before(end):
        new = graph.create_node("call_function", torch.ops.aten.linear.default, (source, graph.get_attr(name), bias))
    new.meta |= {key: value for key, value in node.meta.items() if key != "spec"} | {"spec": end.meta["spec"]}
    end.replace_all_uses_with(new)
    kept = node.name
    for old in dict.fromkeys((end, node)):
        graph.erase_node(old)
    new.name = kept
    return True


def _around(node: fx.Node) -> tuple[fx.Node, fx.Node]:
    """What the layer is to read, and what it stands for: past the layout of rows and back (2), or its own input and itself."""
    rows = _operand(node)
    users = list(node.users)
    if not _lays_out(rows) or len(users) != 1 or not _lays_out(users[0]):
        return rows, node
    value = source_of(rows)
    before, after = value.meta["spec"][0], users[0].meta["spec"][0]
    same = before[:-1] == after[:-1] and before[-1] == rows.meta["spec"][0][-1] and after[-1] == node.meta["spec"][0][-1]
    return (value, users[0]) if same else (rows, node)


def _operand(node: fx.Node) -> fx.Node:
    """The x of (1)."""
    return next(each for each in node.all_input_nodes if each is node.args[1])


def _lays_out(node: fx.Node) -> bool:
    return node.op == "call_function" and name_of(node.target).startswith(RESHAPES)
