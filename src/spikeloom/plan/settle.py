"""
Settling: a linear layer moves to where the batch stands in front, past what moves rows about and leaves each whole.

    W move(x) + b = move(W x + b)                                                            (1)

`nn.MultiheadAttention` works on [L, B, C] and on [L·B, C] inside, whatever it is given; the T steps of a spiking network are folded
into the batch (`ir.batch`), so that neurons behind its layers need them as [B, L, C].
"""

from torch import fx

from spikeloom.ir import Program, args_of, astray, calls, clone, name_of, source_of, swept

_RESHAPES = ("aten.reshape.", "aten.view.", "aten._unsafe_view.")


def settle(program: Program) -> tuple[Program, list[str]]:
    """The program with its linear layers where the batch stands in front, and the names of those that moved; outputs are equal. (1)"""
    graph, stray = clone(program.graph), {node.name for node in astray(program)}
    moved: list[str] = []
    for node in list(calls(graph)):
        if node.name in stray and name_of(node.target).startswith("aten.linear.") and _settled(node, stray):
            moved.append(node.name)
    return swept(program.replaced(graph=graph)), moved


def _settled(layer: fx.Node, stray: set[str]) -> bool:
    """Move one layer before the moves that led to it, or behind those that follow; False where neither gets the batch in front."""
    before, after = _moves_before(layer, stray), _moves_after(layer, stray)
    if before:
        first = _rewritten(layer, source_of(before[0]), layer)
        layer.replace_all_uses_with(_moved(first, before, layer))
        _take_over(first, layer)
    elif after:
        last = _rewritten(layer, _moved(source_of(layer), after, after[-1]), after[-1])
        after[-1].replace_all_uses_with(last)
        for move in reversed(after):
            layer.graph.erase_node(move)
        _take_over(last, layer)
    return bool(before or after)


def _moves_before(layer: fx.Node, stray: set[str]) -> list[fx.Node]:
    """The moves that lead from a value with the batch in front to a layer, in order; none where they do not."""
    moves: list[fx.Node] = []
    here = source_of(layer)
    while here.name in stray and _keeps_rows(here):
        moves.insert(0, here)
        here = source_of(here)
    return [] if here.name in stray else moves


def _moves_after(layer: fx.Node, stray: set[str]) -> list[fx.Node]:
    """The moves that follow a layer, each the only reader, up to one with the batch in front; none where there is no such one."""
    moves: list[fx.Node] = []
    here = layer
    while here.name in stray and len(here.users) == 1 and _keeps_rows(user := next(iter(here.users))):
        moves.append(user)
        here = user
    return [] if here.name in stray else moves


def _keeps_rows(node: fx.Node) -> bool:
    """Whether a node moves rows about, the last axis of its value, and leaves each whole."""
    if node.op != "call_function" or "spec" not in node.meta or "spec" not in source_of(node).meta:
        return False
    name, before, after = name_of(node.target), source_of(node).meta["spec"][0], node.meta["spec"][0]
    last = (len(before) - 1, -1)
    if name == "aten.transpose.int":
        return not any(axis in last for axis in args_of(node)[1:3])
    if name == "aten.permute.default":
        return args_of(node)[1][-1] in last
    return name.startswith(_RESHAPES) and before[-1] == after[-1]


def _moved(value: fx.Node, moves: list[fx.Node], place: fx.Node) -> fx.Node:
    """`value` moved as `moves` move, its rows of their own length, written before `place`."""
    graph, width = value.graph, value.meta["spec"][0][-1]
    for move in moves:
        args = args_of(move)[1:]
        if name_of(move.target).startswith(_RESHAPES):
            args = ([*args[0][:-1], width],)
        with graph.inserting_before(place):
            value = graph.create_node("call_function", move.target, (value, *args), dict(move.kwargs))
        value.meta["spec"] = ((*move.meta["spec"][0][:-1], width), move.meta["spec"][1])
    return value


def _rewritten(layer: fx.Node, x: fx.Node, place: fx.Node) -> fx.Node:
    """The layer on `x`, written before `place`."""
    with layer.graph.inserting_before(place):
        new = layer.graph.create_node("call_function", layer.target, (x, *args_of(layer)[1:]), dict(layer.kwargs))
    new.meta["spec"] = ((*x.meta["spec"][0][:-1], layer.meta["spec"][0][-1]), layer.meta["spec"][1])
    return new


def _take_over(new: fx.Node, layer: fx.Node) -> None:
    """`new` takes the layer's name and notes; the layer is gone."""
    new.meta |= {key: value for key, value in layer.meta.items() if key != "spec"}
    name = layer.name
    layer.graph.erase_node(layer)
    new.name = name
