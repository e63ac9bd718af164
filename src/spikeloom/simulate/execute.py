"""
Execution: a spiking program bound to a number of time steps T becomes a plain torch.fx module.

The T steps are folded into the batch, step by step ([T·B, …], time first), so that everything without state runs once.

    population, staircase          bound to the neuron law for T steps                        DESIGN.md §4 (1)–(3)
    maxima, products, exceptions   at T > 1 they act on running means and emit differences    DESIGN.md §4
    everything else                linear or routing: as it is
"""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from typing import Any, cast, final

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import ConfigError, NumericError, UnsupportedError
from spikeloom.ir import (
    Kind,
    Program,
    args_of,
    astray,
    calls,
    clone,
    constant_name,
    driven_by,
    dynamic,
    is_floating,
    kind,
    kwargs_of,
    mixes_batch,
    note,
    population,
    read,
    source_of,
    staircase,
    target_of,
)
from spikeloom.kernels import Bank
from spikeloom.neuron import Axis, Curve, curve_of, difference_over_time, run_table, step_by_step, tracked
from spikeloom.simulate.kernel import bank_of_table, read_bank, run_population

NONLINEAR = frozenset({Kind.MAX, Kind.PRODUCT, Kind.NORM, Kind.ACTIVATION})


@final
class OverTime(nn.Module):
    """A nonlinear operation between spike trains: on running means, emitting differences, so that the mean over T is exact."""

    def __init__(self, function: Callable[..., Any], arguments: "Template", timesteps: int) -> None:
        super().__init__()
        self.function, self.arguments, self.timesteps = function, arguments, timesteps

    def forward(self, *values: Tensor) -> Any:
        """[T·B, …] operands to [T·B, …] differences; constants are taken as they are."""
        function, moving = self.arguments.of_moving(self.function, values, self.timesteps)
        return difference_over_time(function, *moving, timesteps=self.timesteps)


@final
class Template:
    """The arguments of a call with its graph values taken out, to be filled in by position; `moving` ones differ from step to step."""

    def __init__(self, node: fx.Node, live: Container[fx.Node]) -> None:
        self.operands = list(dict.fromkeys(node.all_input_nodes))
        self.moving = [place for place, operand in enumerate(self.operands) if _moves(operand, live)]
        self.mixes = mixes_batch(node)
        self.args, self.kwargs = fx.map_arg((node.args, node.kwargs), self._hole)

    def _hole(self, operand: fx.Node) -> Any:
        return _Hole(self.operands.index(operand))

    def call(self, function: Callable[..., Any], values: tuple[Any, ...]) -> Any:
        """The call with `values` in the places of the operands."""
        return function(*(_fill(value, values) for value in self.args), **{key: _fill(value, values) for key, value in self.kwargs.items()})

    def of_moving(
        self, function: Callable[..., Any], values: tuple[Any, ...], timesteps: int = 1
    ) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """The call as a function of its moving operands [T·B, …] alone, and what those are in `values`; the others stay as they are
        there. A call that computes across the batch sees one step's at a time."""
        call = partial(self._with, function, values)  # a function in here would be one that torch.compile cannot trace in tests
        return step_by_step(call, timesteps) if self.mixes else call, tuple(values[place] for place in self.moving)

    def _with(self, function: Callable[..., Any], values: tuple[Any, ...], *moving: Tensor) -> Any:
        """The call with these moving operands."""
        return self.call(function, self._renewed(values, moving))

    def _renewed(self, values: tuple[Any, ...], moving: tuple[Tensor, ...]) -> tuple[Any, ...]:
        renewed = dict(zip(self.moving, moving, strict=True))
        return tuple(renewed.get(place, value) for place, value in enumerate(values))


@final
class _Hole:
    def __init__(self, place: int) -> None:
        self.place = place


def _fill(value: Any, values: tuple[Any, ...]) -> Any:
    if isinstance(value, _Hole):
        return values[value.place]
    if isinstance(value, list | tuple):  # plain ones: torch.compile cannot take the graph's immutable lists
        filled = [_fill(item, values) for item in value]
        return filled if isinstance(value, list) else tuple(filled)
    return value


def check_calibrated(program: Program) -> None:
    """Raises NumericError naming the populations that have no thresholds yet."""
    bad = [name for name, tensor in program.tensors.items() if name.startswith("spike_") and bool(torch.isnan(tensor).any())]
    if bad:
        found = ", ".join(sorted({name.rsplit(".", 1)[0] for name in bad})[:6])
        raise NumericError("populations have no thresholds yet", found=found, todo="calibrate the program first")


def check_timesteps(timesteps: int) -> None:
    """Raises ConfigError unless T is a positive number."""
    if timesteps < 1:
        raise ConfigError("the number of time steps is out of range", found=timesteps, allowed="1 or more")


def over_time(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether an operation between spike trains acts on running means; `live` are the values that depend on the input."""
    nonlinear = node in live and (kind(node, live) in NONLINEAR or "floating" in note(node))
    return nonlinear and any(_moves(operand, live) for operand in node.all_input_nodes)


def _moves(operand: fx.Node, live: Container[fx.Node]) -> bool:
    """Whether a value is averaged over time; truth values and whole numbers, made of the input, are the same at every step."""
    return operand in live and is_floating(operand)


def check_foldable(program: Program) -> None:
    """Raises UnsupportedError where a population, or what acts on running means, does not have its batch in front: the T steps could
    not be folded into it."""
    live, stray = dynamic(program.graph), astray(program)
    bad = [node.name for node in calls(program.graph) if node in stray and (kind(node, live) is Kind.NEURON or over_time(node, live))]
    if bad:
        raise UnsupportedError(
            "several time steps at once need the batch as the first axis of every population",
            found=", ".join(bad[:6]),
            todo="run one time step, or step by step with `snn.step`",
        )


def executable(program: Program, timesteps: int, *, adjustable: bool = False) -> fx.GraphModule:
    """A module that runs the program for T steps on inputs already repeated to [T·B, …]; node names are the program's.

    Its buffers are the program's tensors, shared. Where it is `adjustable`, every parameter of every population is read from them at each
    run, so that `torch.func.functional_call` can put others in their places, by the program's names, and have gradients for them; else
    tables are prepared once for fast look-up. Raises ConfigError for T < 1, NumericError before calibration, UnsupportedError
    at T > 1 where something with a state does not have its batch in front.
    """
    check_timesteps(timesteps)
    check_calibrated(program)
    if timesteps > 1:
        check_foldable(program)
    graph, modules = clone(program.graph), dict[str, Any](program.tensors)
    live = dynamic(graph)
    for node in list(calls(graph)):
        if node.target is population:
            modules |= {name: read(modules[name]) for name in map(constant_name, args_of(node)[1:])}
            node.target, node.kwargs = run_population, neuron_options(node.kwargs) | {"timesteps": timesteps}
            node.args = node.args if adjustable else (*node.args[:3], *_plain_dynamics(node, program))
        elif node.target is staircase and adjustable:
            modules |= {name: read(modules[name]) for name in map(constant_name, args_of(node)[1:3])}
            node.target, node.kwargs = run_table, {"axis": kwargs_of(node)["axis"], "timesteps": timesteps}
        elif node.target is staircase:
            thresholds, values = (read(program.tensor(operand)) for operand in node.args[1:3])
            table = Table(thresholds, values, kwargs_of(node)["axis"], timesteps, curve_along(node, thresholds, values))
            live.add(put_module(node, graph, modules, table, (source_of(node), *node.args[3:])))
        elif timesteps > 1 and over_time(node, live):
            template = Template(node, live)
            bound = OverTime(target_of(node), template, timesteps)
            live.add(put_module(node, graph, modules, bound, tuple(template.operands)))
    return fx.GraphModule(modules, graph)


def neuron_options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the neuron law wants of a population's keyword arguments: levels, negative, axis, reset."""
    options = {key: kwargs[key] for key in ("levels", "negative", "axis") if key in kwargs}
    return {"negative": 0, "axis": 1, "reset": kwargs.get("reset", "subtract")} | options


def _plain_dynamics(node: fx.Node, program: Program) -> list[Any]:
    """Decay and leak as plain numbers where they are 1 and 0 throughout (an IF neuron): then they cost nothing."""
    given = zip(args_of(node)[3:5], (1.0, 0.0), strict=True)
    return [neutral if bool((program.tensor(operand) == neutral).all()) else operand for operand, neutral in given]


def firing(node: fx.Node, tensors: Mapping[str, Tensor], timesteps: int) -> Callable[[Sequence[Tensor]], Tensor]:
    """What a population sends for inputs [T·B, …] (and gains), with the parameters that `tensors` holds for it now."""
    parameters = [read(tensors[constant_name(operand)]) for operand in node.args[1:] if operand not in driven_by(node)]
    if node.target is population:
        told = neuron_options(node.kwargs) | {"timesteps": timesteps}
        return lambda inputs: run_population(inputs[0], *parameters, **told)
    thresholds, values = parameters
    table = Table(thresholds, values, kwargs_of(node)["axis"], timesteps)
    return lambda inputs: table(*inputs)


def curve_along(node: fx.Node, thresholds: Tensor, values: Tensor) -> tuple[Curve, str] | None:
    """The curve that a population's levels lie along, and what is made of what it reads; None where they were placed otherwise, were
    moved since, or are clipped."""
    about = note(node)
    if about.get("placement") != "curve":
        return None
    form = "square" if kwargs_of(node)["function"] in ("square", "pow") else "identity"
    computed = torch.square if form == "square" else _same  # not the ANN's: a curve knows no cap (ReLU6), and a table has it
    tables = torch.atleast_2d(thresholds), torch.atleast_2d(values)
    curve = curve_of(tables[0], tables[1], computed, kind=about["curve"], signed=bool(about["signed"]))
    return None if curve is None else (curve, form)


def _same(x: Tensor) -> Tensor:
    return x


@final
class Table(nn.Module):
    """A function staircase bound to T steps, with its table prepared for fast look-up."""

    thresholds: Tensor
    values: Tensor

    def __init__(self, thresholds: Tensor, values: Tensor, axis: Axis, timesteps: int, along: tuple[Curve, str] | None = None) -> None:
        super().__init__()
        self.axis, self.timesteps, self.along = axis, timesteps, along
        self.register_buffer("thresholds", thresholds)
        self.register_buffer("values", values)
        bank = bank_of_table(thresholds, values)
        self.place = None if bank is None else bank.places[0]
        self.register_buffer("floats", None if bank is None else bank.floats)
        self.register_buffer("codes", None if bank is None else bank.codes)

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        """[T·B, …] inputs (and the gain of their thresholds) to outputs of the same shape."""
        held = cast(dict[str, Tensor], self._buffers)  # as a plain dictionary: `self.floats` would cost more
        inputs = (x,) if gain is None else (x, gain)
        if self.place is None or tracked(*inputs, held["thresholds"], held["values"]):
            return run_table(x, self.thresholds, self.values, gain, axis=self.axis, timesteps=self.timesteps)
        bank = {"floats": held["floats"], "codes": held["codes"], "place": self.place}
        return difference_over_time(partial(_read, axis=self.axis, **bank), *inputs, timesteps=self.timesteps)

    def bank(self) -> Bank:
        """The table as a bank of its own; only where `place` tells where it lies there."""
        held = cast(dict[str, Tensor], self._buffers)
        return Bank(held["floats"], held["codes"], () if self.place is None else (self.place,))


def _read(x: Tensor, gain: Tensor | None = None, **table: Any) -> Tensor:
    return read_bank(x, gain, **table)


def put_module(node: fx.Node, graph: fx.Graph, modules: dict[str, Any], module: nn.Module, operands: tuple[Any, ...]) -> fx.Node:
    """Put a module in a node's place, under the node's name; returns the node that calls it."""
    name = f"run_{node.name}"
    modules[name] = module
    with graph.inserting_before(node):
        twin = graph.call_module(name, operands)
    twin.meta = node.meta
    node.replace_all_uses_with(twin)
    kept = node.name
    graph.erase_node(node)
    twin.name = kept
    return twin


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


def joined(parts: Sequence[Any]) -> Any:
    """Structures of outputs of several parts of a batch, as one of the whole batch."""
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts]) for key in first}
    return tuple(joined(values) for values in zip(*parts, strict=True))


def primary(value: Any) -> Tensor:
    """The output a classifier is judged by: the tensor itself, `logits` of a dict, or the first of several."""
    while not isinstance(value, Tensor):
        values: dict[Any, Any] = value if isinstance(value, dict) else dict(enumerate(value))
        value = values["logits"] if "logits" in values else next(iter(values.values()))
    return value
