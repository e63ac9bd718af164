"""
Reading errors: what each population's rounding does to those who read it, every other value being the ANN's.

    e(p, r) = Σ (r(a) − r(ō))² / Σ r(a)²        r the reader: layer, product or maximum; a what the ANN gives it, ō what p sends     (1)

One population at a time, so that it can be chosen by what it does (where its levels lie, whether its basis is rotated) without
running the network once for each choice. Sums stream over batches.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import OPERATIONS, Kind, Program, calls, driven_by, dynamic, kind, needs_spikes, signals
from spikeloom.simulate import decoded, firing, reference, repeated

Edge = tuple[str, str]
"""A population and a reader of its spikes, by name."""


@final
class _Reading(fx.Interpreter):
    """Runs a program as its ANN; beside it, what populations send is carried to their readers, one population at a time."""

    def __init__(self, program: Program, timesteps: int) -> None:
        super().__init__(reference(program))
        live, carried = dynamic(program.graph), signals(program.graph)
        self.program, self.timesteps = program, timesteps
        self.populations = {node.name: node for node in calls(program.graph) if node.target in OPERATIONS.values()}
        self.readers = {node.name for node in calls(program.graph) if needs_spikes(node, live, carried)}
        self.routes = {node.name for node in calls(program.graph) if kind(node, live) is Kind.MOVE}
        self.sent: dict[fx.Node, dict[str, Any]] = {}
        self.sums: dict[Edge, list[float]] = {}

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.sent = {}
        return super().run(*args, **kwargs)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.populations:
            self.sent[n] = {n.name: self._spikes(self.populations[n.name])}
        elif n.name in self.routes:
            self.sent[n] = dict(self._with_spikes(n))
        elif n.name in self.readers and isinstance(value, Tensor):
            for name, other in self._with_spikes(n):
                sums = self.sums.setdefault((name, n.name), [0.0, 0.0])
                sums[0] += float((value - other).double().square().sum())
                sums[1] += float(value.double().square().sum())
        for operand in self.user_to_last_uses.get(n, []):
            self.sent.pop(operand, None)
        return value

    def _spikes(self, node: fx.Node) -> Tensor:
        values = {each.name: value for each, value in self.env.items()}
        inputs = [repeated(values[each.name], self.timesteps) for each in driven_by(node)]
        return decoded(firing(node, self.program.tensors, self.timesteps)(inputs), self.timesteps)

    def _with_spikes(self, n: fx.Node) -> Iterable[tuple[str, Any]]:
        """What an operation gives where one population's spikes stand for its values, for each population that reaches it."""
        names = dict.fromkeys(name for operand in n.all_input_nodes for name in self.sent.get(operand, ()))
        for name in names:
            args, kwargs = fx.map_arg((n.args, n.kwargs), lambda each, name=name: self.sent.get(each, {}).get(name, self.env[each]))
            yield name, getattr(self, n.op)(n.target, args, kwargs)


def reading_errors(
    program: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int, tick: Callable[[], None] = lambda: None
) -> Mapping[Edge, float]:
    """(1) for every population and reader of a calibrated program, with T time steps, over all batches."""
    reading = _Reading(program, timesteps)
    with torch.no_grad():
        for inputs in batches:
            reading.run(*inputs)
            tick()
    return {edge: error / max(signal, 1e-30) for edge, (error, signal) in reading.sums.items()}
