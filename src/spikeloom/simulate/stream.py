"""
Streaming: a spiking program one time step at a time, with explicit state. Memory does not grow with T.

Each population keeps its membrane potential, each nonlinear operation its running sums; everything else is stateless.
T steps of `advance` from an empty state equal one folded run of T steps, step by step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import Program, calls, clone, dynamic, population, staircase, target_of
from spikeloom.neuron import Axis, advance_difference, advance_table, advance_uniform, init_difference, init_table, init_uniform
from spikeloom.simulate.execute import Template, check_calibrated, neuron_options, over_time


@final
@dataclass(frozen=True)
class State:
    """What the network remembers between steps: `steps` done, and a memory per stateful node."""

    steps: int = 0
    memory: Mapping[str, Any] = field(default_factory=dict[str, Any])


@final
class Stream(fx.Interpreter):
    """One step of a program at a time; holds no state of its own between calls of `advance`."""

    def __init__(self, program: Program) -> None:
        check_calibrated(program)
        graph = clone(program.graph)
        live = dynamic(graph)
        self.templates = {
            node.name: Template(node, live) for node in calls(graph) if over_time(node, live) and node.target not in (population, staircase)
        }
        super().__init__(fx.GraphModule(dict(program.tensors), graph))
        self.before: Mapping[str, Any] = {}
        self.after: dict[str, Any] = {}

    def advance(self, inputs: tuple[Tensor, ...], state: State) -> tuple[Any, State]:
        """One step from `state`: this step's output (the mean over T steps is the network's answer) and the next state."""
        self.before, self.after = state.memory, {}
        with torch.no_grad():
            output = self.run(*inputs)
        return output, State(state.steps + 1, self.after)

    def run_node(self, n: fx.Node) -> Any:
        if n.target is population:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            return self._population(n.name, *args, **kwargs)
        if n.target is staircase:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            return self._staircase(n.name, *args, axis=kwargs["axis"])
        if n.name in self.templates:
            return self._nonlinear(n, self.templates[n.name])
        return super().run_node(n)

    def _population(self, name: str, x: Tensor, step: Tensor, v0: Tensor, decay: Tensor, leak: Tensor, **options: Any) -> Tensor:
        told = neuron_options(options)
        v = self.before[name] if name in self.before else init_uniform(x, v0, axis=told["axis"])
        output, self.after[name] = advance_uniform(x, v, step, decay, leak, **told)
        return output

    def _staircase(self, name: str, x: Tensor, thresholds: Tensor, values: Tensor, gain: Tensor | None = None, *, axis: Axis) -> Tensor:
        memory = self.before[name] if name in self.before else init_table(x, gain)
        output, self.after[name] = advance_table(x, memory, thresholds, values, gain, axis=axis)
        return output

    def _nonlinear(self, node: fx.Node, template: Template) -> Any:
        function, moving = template.of_moving(target_of(node), tuple(self.env[operand] for operand in template.operands))
        memory = self.before[node.name] if node.name in self.before else init_difference(function, *moving)
        output, self.after[node.name] = advance_difference(function, memory, *moving)
        return output
