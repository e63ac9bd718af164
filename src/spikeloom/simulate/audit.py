"""
The audit: is everything computed by spikes? Asked of the program, and of every edge while it runs.

An operation counts as spiking only if every dynamic operand of it takes at most 2N+1 values per scale group (DESIGN.md §5). Row
maxima, squares, gate products and norm products count like any other. At T = 1 the audit counts the values: those that each
population sends, channel by channel, and that each operation with weights, products or maxima then reads. It names what stays
floating, and at T > 1 every operation that acts on running means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import (
    OPERATIONS,
    Kind,
    Program,
    Signal,
    calls,
    dynamic,
    kind,
    kwargs_of,
    name_of,
    needs_spikes,
    note,
    population,
    signals,
)
from spikeloom.neuron import by_channel
from spikeloom.simulate.execute import NONLINEAR, executable


@final
@dataclass(frozen=True)
class AuditRow:
    """One operand of one operation: the most values it took in any scale group, and how many it may take (2N+1). `analog` operands
    are the network's own inputs, which cost multiply-accumulates and are counted as such."""

    node: str
    operation: str
    operand: str
    values: int
    allowed: int
    analog: bool = False

    @property
    def spiking(self) -> bool:
        """Whether the operand is spikes."""
        return not self.analog and self.values <= self.allowed


@final
@dataclass(frozen=True)
class Audit:
    """What the audit found. `floating` names the operations that stay floating; `running_means` those that act on running means
    at T > 1, `nonlinear` those that are not linear; `populations` counts them by the function they compute."""

    rows: tuple[AuditRow, ...]
    floating: tuple[str, ...]
    running_means: tuple[str, ...]
    nonlinear: tuple[str, ...]
    populations: Mapping[str, int]

    @property
    def all_spiking(self) -> bool:
        """Whether nothing stays floating and every operand but the network's inputs is spikes."""
        return not self.floating and all(row.spiking or row.analog for row in self.rows)

    @property
    def nonlinear_share(self) -> float:
        """The share of the nonlinear operations that is computed by spikes, 0 to 1 (1 where there are none)."""
        bad = {line.partition(":")[0] for line in self.floating} | {row.node for row in self.rows if not row.spiking and not row.analog}
        return sum(name not in bad for name in self.nonlinear) / len(self.nonlinear) if self.nonlinear else 1.0


def audit(program: Program, *inputs: Tensor) -> Audit:
    """The audit of a calibrated program on these inputs [B, …], run at T = 1."""
    watch = _Watch(program)
    with torch.no_grad():
        watch.run(*inputs)
    live = dynamic(program.graph)
    nodes = [node for node in calls(program.graph) if node in live]
    means = tuple(node.name for node in nodes if _on_means(node, live))
    nonlinear = tuple(node.name for node in nodes if _is_nonlinear(node, live))
    functions = [str(node.kwargs["function"]) for node in calls(program.graph) if node.target in OPERATIONS.values()]
    counted = {name: functions.count(name) for name in sorted(set(functions))}
    return Audit(tuple(watch.rows), floating_of(program), means, nonlinear, counted)


def floating_of(program: Program) -> tuple[str, ...]:
    """The operations of a spiking program that stay floating: the node, its operation and why."""
    told = [(node, note(node).get("floating")) for node in calls(program.graph)]
    return tuple(f"{node.name}: {name_of(node.target)}: {why}" for node, why in told if why is not None)


def _on_means(node: fx.Node, live: set[fx.Node]) -> bool:
    staircase = node.target in OPERATIONS.values() and node.target is not population
    return staircase or kind(node, live) in NONLINEAR or "floating" in note(node)


def _is_nonlinear(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether an operation is no linear one of its operands: a function, a maximum, a product of two values, or what stays floating.
    What carries a value and no more, a population of the identity, is none."""
    if node.target in OPERATIONS.values():
        return kwargs_of(node)["function"] != "identity"
    return kind(node, live) in NONLINEAR or "floating" in note(node)


@final
class _Watch(fx.Interpreter):
    """Runs a program at T = 1 and counts the values on every edge that must carry spikes."""

    def __init__(self, program: Program) -> None:
        super().__init__(executable(program, 1))
        live, carried = dynamic(program.graph), signals(program.graph)
        self.before = {node.name: node for node in calls(program.graph)}
        self.live = {node.name for node in live}
        self.wants = {node.name for node in calls(program.graph) if needs_spikes(node, live, carried)}
        self.analog = {node.name for node, signal in carried.items() if signal is Signal.INPUT}
        self.moves = {node.name for node in calls(program.graph) if node in live and kind(node, live) in (Kind.MOVE, Kind.MAX)}
        self.program = program
        self.most: dict[str, tuple[int, int]] = {}  # of each value made of spikes: values taken, values allowed
        self.rows: list[AuditRow] = []

    def run_node(self, n: fx.Node) -> Any:
        node = self.before.get(n.name)
        if n.name in self.wants and node is not None:
            self.rows += [self._row(node, operand) for operand in node.all_input_nodes if operand.name in self.live]
        value = super().run_node(n)
        if node is not None:
            if node.target in OPERATIONS.values() and isinstance(value, Tensor):
                self.most[n.name] = (most_values(node, self.program, value), allowed_values(node, self.program))
            elif n.name in self.moves:
                read = [self.most[operand.name] for operand in node.all_input_nodes if operand.name in self.most]
                if len(read) == sum(operand.name in self.live for operand in node.all_input_nodes):
                    self.most[n.name] = max(read)
        return value

    def _row(self, node: fx.Node, operand: fx.Node) -> AuditRow:
        operation = name_of(node.target).removeprefix("aten.").split(".")[0]
        if operation == "embedding":  # a token is one event of a population of as many neurons as there are tokens
            return AuditRow(node.name, operation, operand.name, 1, 1)
        if operand.name in self.analog:
            return AuditRow(node.name, operation, operand.name, 0, 0, analog=True)
        found = self.most.get(operand.name)
        if found is None:  # not made of spikes alone: whatever it takes is too much
            value = next(value for key, value in self.env.items() if key.name == operand.name)
            return AuditRow(node.name, operation, operand.name, int(value.unique().numel()), 0)
        return AuditRow(node.name, operation, operand.name, *found)


def most_values(node: fx.Node, program: Program, value: Tensor) -> int:
    """The most different values that a population sends in any of its scale groups."""
    per_group = program.tensor(node.args[1]).dim() > (0 if node.target is population else 1)
    rows = by_channel(value, kwargs_of(node).get("axis", 1) if per_group else None).sort(1).values
    return int((rows.diff(dim=1) != 0).sum(1).max()) + 1 if rows.shape[1] > 1 else 1


def allowed_values(node: fx.Node, program: Program) -> int:
    """2N+1 for N levels a sign: what a population's thresholds let it send."""
    options = kwargs_of(node)
    if node.target is population:
        return 2 * options["levels"] + 1
    return program.tensor(node.args[2]).shape[-1]
