"""
Execution: a spiking program bound to a number of time steps T becomes a plain torch.fx module.

The T steps are folded into the batch, step by step ([T·B, …], time first), so that everything without state runs once.

    population, staircase          bound to the neuron law for T steps                        DESIGN.md §4 (1)–(3)
    maxima, products, exceptions   at T > 1 they act on running means and emit differences    DESIGN.md §4
    everything else                linear or routing: as it is
"""

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import Kind, Program, calls, clone, dynamic, kind, note, population, staircase
from spikeloom.neuron import difference_over_time, run_table, run_uniform

NONLINEAR = frozenset({Kind.MAX, Kind.PRODUCT, Kind.NORM, Kind.ACTIVATION})


@final
class OverTime(nn.Module):
    """A nonlinear operation between spike trains: on running means, emitting differences, so that the mean over T is exact."""

    def __init__(self, function: Callable[..., Any], arguments: "Template", timesteps: int) -> None:
        super().__init__()
        self.function, self.arguments, self.timesteps = function, arguments, timesteps

    def forward(self, *values: Tensor) -> Tensor:
        """[T·B, …] operands to [T·B, …] differences."""
        return difference_over_time(lambda *means: self.arguments.call(self.function, means), *values, timesteps=self.timesteps)


@final
class Template:
    """The arguments of a call with its graph values taken out, to be filled in by position."""

    def __init__(self, node: fx.Node) -> None:
        self.operands = list(dict.fromkeys(node.all_input_nodes))
        self.args, self.kwargs = fx.map_arg((node.args, node.kwargs), lambda operand: _Hole(self.operands.index(operand)))

    def call(self, function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        """The call with `values` in the places of the operands."""
        return function(*(_fill(value, values) for value in self.args), **{key: _fill(value, values) for key, value in self.kwargs.items()})


@final
class _Hole:
    def __init__(self, place: int) -> None:
        self.place = place


def _fill(value: Any, values: tuple[Any, ...]) -> Any:
    if isinstance(value, _Hole):
        return values[value.place]
    if isinstance(value, list | tuple):
        return type(value)(_fill(item, values) for item in value)
    return value


def check_calibrated(program: Program) -> None:
    """Raises NumericError naming the populations that have no thresholds yet."""
    bad = [name for name, tensor in program.tensors.items() if name.startswith("spike_") and not bool(torch.isfinite(tensor).all())]
    if bad:
        found = ", ".join(sorted({name.rsplit(".", 1)[0] for name in bad})[:6])
        raise NumericError("populations have no thresholds yet", found=found, todo="calibrate the program first")


def check_timesteps(timesteps: int) -> None:
    """Raises ConfigError unless T is a positive number."""
    if timesteps < 1:
        raise ConfigError("the number of time steps is out of range", found=timesteps, allowed="1 or more")


def executable(program: Program, timesteps: int) -> fx.GraphModule:
    """A module that runs the program for T steps on inputs already repeated to [T·B, …]; node names are the program's.

    Its buffers are the program's tensors, shared. Raises ConfigError for T < 1, NumericError before calibration.
    """
    check_timesteps(timesteps)
    check_calibrated(program)
    graph, modules = clone(program.graph), dict[str, Any](program.tensors)
    live = dynamic(graph)
    for node in list(calls(graph)):
        what = kind(node, live)
        if node.target is population:
            node.target, node.kwargs = run_uniform, _neuron_options(node.kwargs) | {"timesteps": timesteps}
        elif node.target is staircase:
            node.target, node.kwargs = run_table, {"axis": node.kwargs["axis"], "timesteps": timesteps}
        elif timesteps > 1 and node in live and (what in NONLINEAR or "floating" in note(node)):
            _wrap(node, graph, modules, timesteps)
    return fx.GraphModule(modules, graph)


def _neuron_options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: kwargs[key] for key in ("levels", "negative", "axis") if key in kwargs}
    return {"negative": 0, "axis": 1, "reset": kwargs.get("reset", "subtract")} | options


def _wrap(node: fx.Node, graph: fx.Graph, modules: dict[str, Any], timesteps: int) -> None:
    """Put an OverTime module in a node's place, under the node's name."""
    template = Template(node)
    name = f"over_time_{node.name}"
    modules[name] = OverTime(node.target, template, timesteps)  # pyright: ignore[reportArgumentType]
    with graph.inserting_before(node):
        twin = graph.call_module(name, tuple(template.operands))
    twin.meta = node.meta
    node.replace_all_uses_with(twin)
    graph.erase_node(node)
    twin.name = node.name


def repeated(value: Tensor, timesteps: int) -> Tensor:
    """An input shown at every step: [B, …] to [T·B, …], time first."""
    return value if timesteps == 1 else value.repeat(timesteps, *[1] * (value.dim() - 1))


def decoded(value: Any, timesteps: int) -> Any:
    """Outputs on the ANN's scale: the mean over the T steps of every tensor in a structure of outputs."""
    if isinstance(value, Tensor):
        return value if timesteps == 1 else value.view(timesteps, -1, *value.shape[1:]).mean(0)
    if isinstance(value, dict):
        return {key: decoded(item, timesteps) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(decoded(item, timesteps) for item in value)
    return value


def primary(value: Any) -> Tensor:
    """The output a classifier is judged by: the tensor itself, `logits` of a dict, or the first of several."""
    while not isinstance(value, Tensor):
        value = value["logits"] if isinstance(value, dict) and "logits" in value else next(iter(value.values() if isinstance(value, dict) else value))
    return value
