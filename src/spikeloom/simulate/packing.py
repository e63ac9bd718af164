"""
Packing: an executable made ready to run often, by rewriting its graph. Outputs stay the same, bit for bit; values inside are no longer
there to be looked at, so whoever records them takes the executable itself.

    tables   all function staircases lie in one bank (`kernels.bank`)
    maxima   max_i f(x_i) = f(max_i x_i) for a staircase f that never falls: one look-up a row instead of one a number          (1)
    rows     what a row has in common, a maximum or a sum, is subtracted by the look-up that reads the difference              (2)
    memory   a population, or a sum or product beside it, is written over an operand that nothing reads afterwards              (3)

(3) saves more than it seems: memory that is new to a process costs more to get than to fill. Nothing packed is differentiable.
"""

from typing import Any

import torch
from torch import Tensor, fx

from spikeloom.ir import args_of, kwargs_of, name_of
from spikeloom.kernels import joined
from spikeloom.simulate.execute import Table
from spikeloom.simulate.kernel import along_of, never_falls, read_bank, run_population

_IN_PLACE = {
    f"aten.{name}.{overload}": getattr(getattr(torch.ops.aten, f"{name}_"), overload)
    for name in ("add", "sub", "mul", "div")
    for overload in ("Tensor", "Scalar")
}
_PACKED = (read_bank, run_population)
_MAKING = ("linear.default", "addmm.default", "matmul.default", "bmm.default", "neg.default", "mean.dim", "sum.dim_IntList", "amax.default")
_FRESH = {*_IN_PLACE, *(f"aten.{name}" for name in (*_MAKING, "conv1d.default", "conv2d.default", "conv3d.default"))}
"""Operations whose result is memory of its own, and which keep none of what they are given."""


def packed(module: fx.GraphModule) -> fx.GraphModule:
    """The module, rewritten in place."""
    graph = module.graph
    tables = {node: table for node in graph.nodes if (table := _table_of(module, node)) is not None}
    if tables:
        _pack(module, tables)
    for node in list(graph.nodes):
        if node.target is read_bank:
            _after_maximum(module, node)
            _subtracting(node)
    graph.eliminate_dead_code()
    _overwrite(graph)
    graph.lint()
    module.recompile()
    return module


def _table_of(module: fx.GraphModule, node: fx.Node) -> Table | None:
    """The table that a node reads, where that is all it does and a bank can hold it."""
    table = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    return table if isinstance(table, Table) and table.timesteps == 1 and table.place is not None else None


def _pack(module: fx.GraphModule, tables: dict[fx.Node, Table]) -> None:
    """All tables in one bank."""
    bank, graph = joined([table.bank() for table in tables.values()]), module.graph
    floats, curves = _with_curves(bank.floats, tables)
    module.register_buffer("bank_floats", floats)
    module.register_buffer("bank_codes", bank.codes)
    with graph.inserting_before(next(iter(graph.nodes))):
        floats, codes = graph.get_attr("bank_floats"), graph.get_attr("bank_codes")
    for (node, table), place in zip(tables.items(), bank.places, strict=True):
        with graph.inserting_before(node):
            operands = (*node.args, *[None] * (2 - len(node.args)), floats, codes)
            told: dict[str, Any] = {"place": place, "axis": table.axis, **curves.get(node, {})}
            twin = graph.call_function(read_bank, operands, told)
        twin.meta = node.meta
        node.replace_all_uses_with(twin)
        graph.erase_node(node)
        module.delete_submodule(str(node.target))


def _with_curves(floats: Tensor, tables: dict[fx.Node, Table]) -> tuple[Tensor, dict[fx.Node, dict[str, Any]]]:
    """The bank's numbers and after them those of the curves, and what each look-up is told of its curve."""
    parts, told = [floats], dict[fx.Node, dict[str, Any]]()
    for node, table in tables.items():
        if table.along is not None:
            curve, form = table.along
            told[node] = {"along": along_of(curve, form, sum(part.numel() for part in parts))}
            parts += [curve.centre, curve.step, curve.growth]
    return torch.cat(parts), told


def _after_maximum(module: fx.GraphModule, node: fx.Node) -> None:
    """(1), where maxima of rows are all that a staircase is read for."""
    users = list(node.users)
    if len(users) != 1 or name_of(users[0].target) != "aten.amax.default" or len(users[0].args) < 3:
        return
    x, gain, *bank = args_of(node)
    (maximum,), told = users, kwargs_of(node)
    _, dims, keeps = args_of(maximum)
    sizes, axis = len(_spec(x)[0]), told["axis"]
    channels = {each % sizes for each in ((axis,) if isinstance(axis, int) else axis)}
    apart = told["place"].channels == 1 or not channels & {dim % sizes for dim in dims}
    if gain is not None or not keeps or not apart or not never_falls(module.get_buffer("bank_floats"), told["place"]):
        return
    maximum.replace_input_with(node, x)
    maximum.replace_all_uses_with(node)
    node.meta, node.args = maximum.meta, (maximum, None, *bank)
    maximum.append(node)


def _subtracting(node: fx.Node) -> None:
    """(2)"""
    x, gain, *bank = args_of(node)
    less: tuple[fx.Node, ...] = ()
    while len(less) < 2 and _is_of_rows(x):
        x, row = args_of(x)
        less = (row, *less)
    if less and (gain is None or _spec(gain) == _spec(less[0])):
        node.args, node.kwargs = (x, gain, *bank), {**node.kwargs, "less": less}


def _is_of_rows(node: fx.Node) -> bool:
    """Whether a node subtracts one number from each row along the last axis."""
    if name_of(node.target) != "aten.sub.Tensor" or node.kwargs or not all(isinstance(each, fx.Node) for each in node.args):
        return False
    (sizes, dtype), (beside, other) = (_spec(each) for each in args_of(node))
    return dtype == other == "float32" and len(sizes) > 0 and sizes[-1] != 1 and tuple(beside) == (*sizes[:-1], 1)


def _spec(node: fx.Node) -> Any:
    """The shape and dtype of a node's value in the example; unlike any other where they are not known."""
    return node.meta.get("spec") or ((), None)


def _overwrite(graph: fx.Graph) -> None:
    """(3)"""
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        operand = args_of(node)[0] if node.args else None
        if not isinstance(operand, fx.Node) or not _is_last(node, operand, order):
            continue
        if node.target in _PACKED:
            node.kwargs = {**node.kwargs, "out": operand}
        elif name_of(node.target) in _IN_PLACE and not node.kwargs and "spec" in node.meta and _spec(node) == _spec(operand):
            node.target = _IN_PLACE[name_of(node.target)]


def _is_last(node: fx.Node, operand: fx.Node, order: dict[fx.Node, int]) -> bool:
    """Whether a node reads memory that nothing else needs from then on: of an operation that made it, its other readers done."""
    given: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), given.append)
    others = [user for user in operand.users if user is not node]
    return given.count(operand) == 1 and _is_fresh(operand) and all(_is_fresh(user) and order[user] < order[node] for user in others)


def _is_fresh(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target in _PACKED or name_of(node.target) in _FRESH or node.target in _IN_PLACE.values())
