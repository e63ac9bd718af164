"""
The plan: what every operation of a model will become, before any work is done on it.

One row an operation: what it becomes, whether that is exact, approximate (a staircase of N levels), floating or
unsupported, what to do about it, and its share of parameters and multiply-accumulates (MACs).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import fx

from spikeloom.errors import UnsupportedError
from spikeloom.ir import (
    Becomes,
    Context,
    Dialect,
    Pass,
    PlanRow,
    Program,
    Signal,
    becomes,
    calls,
    dynamic,
    function_of,
    name_of,
    scalars,
    shaped,
    signals,
    spikeless,
)
from spikeloom.plan.fuse import commute, fold

_EXACT = frozenset({Becomes.SYNAPSES, Becomes.FOLDED, Becomes.ROUTING, Becomes.SUM, Becomes.MAX, Becomes.PRODUCT, Becomes.CONSTANT})
_PART = "part of a function of one value that is written out in several operations"
_ADVICE = {
    "is not in the rule tables": "open an issue with the operation's name, or rewrite that part of the model",
    "recurrent": "unroll it, or replace it by a convolution or attention",
    "indices": "take the argmax outside the model",
    "compares": "write it as a function of one value (ReLU, clamp, hardshrink, where(x > 0, …, …)), or compare outside the model",
}


def macs(node: fx.Node) -> int:
    """Multiply-accumulates of one operation for one sample; 0 where it has none (sums, pools, routing)."""
    name = name_of(node.target)
    out = _numel(node)
    if name.startswith(("aten.conv", "aten.linear", "aten.addmm")):
        place = 2 if name.startswith("aten.addmm") else 1
        weight = _shape(node.args[place])
        if name.startswith("aten.conv_transpose"):
            return _numel(node.args[0]) * math.prod(weight[1:])
        return out * (weight[0] if name.startswith("aten.addmm") else math.prod(weight[1:]))
    if name.startswith(("aten.matmul", "aten.bmm", "aten.mm")):
        return out * _shape(node.args[0])[-1]
    if name.startswith("aten.scaled_dot_product_attention"):
        return 2 * _numel(node.args[0]) * _shape(node.args[1])[-2]
    if name.startswith(("aten.mul", "aten.batch_norm")):
        return out
    return 0


def _shape(node: Any) -> tuple[int, ...]:
    spec = node.meta.get("spec") if isinstance(node, fx.Node) else None
    return spec[0] if spec else ()


def _numel(node: Any) -> int:
    """Elements of a value for one sample (dimension 0 is the batch)."""
    return math.prod(_shape(node)[1:])


def parameters(node: fx.Node, program: Program) -> int:
    """Elements of the constants an operation reads."""
    return sum(program.tensor(operand).numel() for operand in node.all_input_nodes if operand.op == "get_attr")


def plan(program: Program) -> tuple[PlanRow, ...]:
    """One row per operation of a captured program, in execution order."""
    known = all(becomes(node, set())[0] is not Becomes.UNSUPPORTED for node in calls(program.graph))
    raw = shaped(program) if known else program
    fused, folded = fold(raw) if known else (raw, [])
    fused, moved = commute(fused)
    inside = [scalar.nodes for scalar in scalars(fused.graph).values()] if known else []
    parts = {node for nodes in inside for node in nodes}
    twins = _Twins(
        {node.name: node for node in fused.graph.nodes},
        signals(fused.graph),
        frozenset(node.name for node, readers in spikeless(fused.graph).items() if node not in parts and not parts.issuperset(readers)),
        frozenset(folded),
        frozenset(moved),
        {node.name: _PART if len(nodes) > 1 else "" for nodes in inside for node in nodes},
    )
    live = dynamic(raw.graph)
    return tuple(_row(node, raw, live, twins) for node in calls(raw.graph))


@final
@dataclass(frozen=True)
class _Twins:
    """The fused program beside the one as it came: nodes by name, what they carry, what fusing did to which names, and which of them are
    (parts of) scalar functions that become one staircase each, with what is to be said of that."""

    nodes: Mapping[str, fx.Node]
    carried: Mapping[fx.Node, Signal]
    spikeless: frozenset[str]
    folded: frozenset[str]
    moved: frozenset[str]
    written: Mapping[str, str]

    def reads_input(self, name: str) -> bool:
        """Whether an operation reads the analog input once the program is fused."""
        return name in self.nodes and any(self.carried.get(operand) is Signal.INPUT for operand in self.nodes[name].all_input_nodes)


def _row(node: fx.Node, program: Program, live: set[fx.Node], twins: _Twins) -> PlanRow:
    what, why = becomes(node, live)
    what = Becomes.FOLDED if node.name in twins.folded else what
    counted = 0 if what in (Becomes.FOLDED, Becomes.CONSTANT) or not _shape(node) else macs(node)
    spiking = counted > 0 and what in (Becomes.SYNAPSES, Becomes.PRODUCT) and not twins.reads_input(node.name)
    if node.name in twins.written and node in live and what is not Becomes.FOLDED:
        what, why = Becomes.STAIRCASE, twins.written[node.name]
    reason = _reason(node, what, why, twins)
    return PlanRow(
        node=node.name,
        operation=name_of(node.target),
        becomes=str(what),
        status=_status(what),
        reason=reason,
        todo=next((advice for key, advice in _ADVICE.items() if key in reason), "") if what is Becomes.UNSUPPORTED else "",
        parameters=parameters(node, program),
        macs=counted,
        spiking=spiking,
    )


def _reason(node: fx.Node, what: Becomes, why: str, twins: _Twins) -> str:
    """Why an operation becomes what it does, with what fusing and its neighbours add to that."""
    if node.name in twins.moved:
        why = "moved before the max-pool, which is exact"
    if what is Becomes.SYNAPSES and function_of(node) == "embedding":
        why = "a token is one event that reads its row: nothing is multiplied"
    elif what is Becomes.SYNAPSES and twins.reads_input(node.name):
        why = "reads the analog input: multiply-accumulates"
    elif what is Becomes.SYNAPSES and function_of(node) == "batch_norm":
        why = "cannot be folded into a layer before it: one synapse a channel"
    if node.name in twins.spikeless and what is not Becomes.UNSUPPORTED:
        return "; ".join(filter(None, [why, "an identity population after it makes spikes of its current"]))
    return why


def _status(what: Becomes) -> str:
    told = {Becomes.FLOATING: "floating", Becomes.UNSUPPORTED: "unsupported"}
    return told.get(what, "exact" if what in _EXACT else "approximate")


def spike_share(rows: Sequence[PlanRow]) -> float:
    """The share of MACs that will be spike-driven, 0 to 1 (1 where there are none)."""
    total = sum(row.macs for row in rows)
    return sum(row.macs for row in rows if row.spiking) / total if total else 1.0


def refuse_unsupported(rows: Sequence[PlanRow]) -> None:
    """Raises one UnsupportedError that names every unsupported operation, and does nothing where there is none."""
    bad = [row for row in rows if row.status == "unsupported"]
    if bad:
        found = "\n    ".join(f"{row.node}: {row.operation}: {row.reason}" for row in bad)
        raise UnsupportedError(
            f"{len(bad)} operation(s) cannot be converted", found=found, todo="; ".join(sorted({row.todo for row in bad if row.todo}))
        )


@final
@dataclass(frozen=True)
class Plan(Pass):
    """Writes the plan into the program, and refuses a program that holds unsupported operations."""

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN})
    touches: ClassVar[frozenset[str]] = frozenset({"plan"})

    def __call__(self, program: Program, context: Context) -> Program:
        rows = plan(program)
        refuse_unsupported(rows)
        counts = {status: sum(row.status == status for row in rows) for status in ("exact", "approximate", "floating")}
        numbers = {"macs": sum(row.macs for row in rows), "parameters": sum(tensor.numel() for tensor in program.tensors.values())}
        return program.replaced(plan=rows).recorded(self.record(**counts, **numbers, spike_share=spike_share(rows)))
