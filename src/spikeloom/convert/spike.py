"""
Conversion: every activation of a captured graph becomes a neuron population, one per call site, and wherever current
would be read as if it were spikes, an identity population is put in.

    relu, relu6, clip       an identity staircase of N levels (Scale-and-Fire at T=1), or one level an IF or LIF step
    other activations       a function staircase with free heights
    after an affine layer   a signed identity staircase, where the next layer reads its result
      without activation

Populations are born without thresholds (NaN); `calibrate` gives them theirs, and the simulator refuses to run before.

Source: Scale-and-Fire neurons, arXiv 2510.23383; IF conversion, Rueckauer et al. 2017; DESIGN.md §4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.ir import (
    OPERATIONS,
    Becomes,
    Context,
    Dialect,
    Pass,
    Program,
    args_of,
    becomes,
    bounds,
    calls,
    clone,
    constant_name,
    dynamic,
    function_of,
    name_of,
    note,
    population,
    shaped,
    source_of,
    spikeless,
    staircase,
)

METHODS = ("scale_and_fire", "if", "lif")


@final
@dataclass(frozen=True)
class Spike(Pass):
    """Makes the populations. `levels` is N, the positive levels a step (1 for 'if' and 'lif', where T gives resolution);
    `tau_mem_ms` and `dt_ms` set the leak of 'lif'; `placement` 'density' gives Scale-and-Fire levels placed by the
    activation's distribution instead of equal steps; `per_channel` gives every channel a scale of its own; `functions`
    'quantised' keeps other activations floating with an identity population behind (plain quantisation, the control)."""

    method: str = "scale_and_fire"
    levels: int = 15
    per_channel: bool = True
    placement: str = "uniform"
    functions: str = "staircase"
    tau_mem_ms: float = 20.0
    dt_ms: float = 1.0

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN, Dialect.QNN})
    gives: ClassVar[Dialect | None] = Dialect.SNN
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = ("Scale-and-Fire neurons, arXiv:2510.23383", "Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682")

    def __call__(self, program: Program, context: Context) -> Program:
        check_options(self)
        graph, tensors = clone(program.graph), dict(program.tensors)
        maker = _Maker(self, graph, tensors)
        for node in spikeless(graph):
            maker.after(node)
        live = dynamic(graph)
        floating: list[str] = []
        decided = [(node, *becomes(node, live)) for node in calls(graph)]  # all before the first is rewritten
        for node, what, reason in decided:
            if what is Becomes.STAIRCASE and self.functions == "quantised":
                note(node)["floating"] = "plain quantisation keeps the function and quantises its result"
                maker.after(node)
            elif what in (Becomes.POPULATION, Becomes.STAIRCASE) and node.target not in OPERATIONS.values():
                maker.instead_of(node, what)
            elif what is Becomes.FLOATING:
                note(node)["floating"] = reason
                floating.append(node.name)
        graph.lint()
        spiking = program.replaced(graph=graph, tensors=tensors, dialect=Dialect.SNN)
        return shaped(spiking).recorded(self.record(populations=maker.made, floating=floating))


def check_options(options: Spike) -> None:
    """Raises ConfigError for a method, level count, placement, choice of functions or time constant that makes no neuron."""
    if options.method not in METHODS:
        raise ConfigError("conversion.method is unknown", found=options.method, allowed=", ".join(METHODS))
    if not 1 <= options.levels <= 65535:
        raise ConfigError("conversion.levels is out of range", found=options.levels, allowed="1 to 65535")
    if options.placement not in ("uniform", "density"):
        raise ConfigError("conversion.placement is unknown", found=options.placement, allowed="uniform, density")
    if options.functions not in ("staircase", "quantised"):
        raise ConfigError("conversion.functions is unknown", found=options.functions, allowed="staircase, quantised")
    if options.method == "lif" and not (options.tau_mem_ms > 0 and options.dt_ms > 0):
        raise ConfigError(
            "a time constant must be positive", found=(options.tau_mem_ms, options.dt_ms), allowed="tau_mem_ms > 0, dt_ms > 0"
        )


@final
class _Maker:
    """Puts populations into one graph."""

    def __init__(self, options: Spike, graph: fx.Graph, tensors: dict[str, Tensor]) -> None:
        self.options, self.graph, self.tensors, self.made = options, graph, tensors, 0
        self.levels = options.levels if options.method == "scale_and_fire" else 1
        self.decay = math.exp(-options.dt_ms / options.tau_mem_ms) if options.method == "lif" else 1.0

    def after(self, node: fx.Node) -> None:
        """A signed identity population that all readers of `node` read from now on."""
        readers = list(node.users)
        new = self._identity(node, node, "identity", self.levels, None)
        for reader in readers:
            reader.replace_input_with(node, new)

    def instead_of(self, node: fx.Node, what: Becomes) -> None:
        """A population in an activation's place."""
        low, high = bounds(node) if what is Becomes.POPULATION else (None, None)
        dense = self.options.placement == "density" and self.options.method == "scale_and_fire"
        if what is Becomes.POPULATION and not dense and low in (0.0, -(high or 0.0)):
            new = self._identity(source_of(node), node, function_of(node), 0 if low == 0.0 else self.levels, high)
        else:
            new = self._table(node, low)
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)

    def _identity(self, source: fx.Node, stands_for: fx.Node, function: str, negative: int, cap: float | None) -> fx.Node:
        axis, shape = self._group(stands_for)
        name = f"spike_{stands_for.name}"
        values = {"step": math.nan, "v0": math.nan, "decay": self.decay, "leak": 0.0}
        constants = self._constants(name, stands_for, {key: torch.full(shape, value) for key, value in values.items()})
        kwargs = {"levels": self.levels, "negative": negative, "axis": axis, "function": function}
        told = self._told(stands_for) if function != "identity" else {}
        return self._call(name, stands_for, population, (source, *constants), kwargs, told | ({"cap": cap} if cap is not None else {}))

    def _table(self, node: fx.Node, low: float | None) -> fx.Node:
        """A function staircase; each channel has its own where the function is clipped below, at `low`, or differs by channel."""
        axis, group = self._group(node)
        told, name, count = self._told(node), f"spike_{node.name}", self.levels if low == 0.0 else 2 * self.levels
        if len(slopes := told.get("slope", ())) > 1:
            axis, group = 1, (len(slopes),)
        elif low is None:
            group = ()
        tables = {"thresholds": torch.full((*group, count), math.nan), "values": torch.full((*group, count + 1), math.nan)}
        constants = self._constants(name, node, tables)
        kwargs = {"axis": axis, "function": function_of(node)}
        return self._call(name, node, staircase, (source_of(node), *constants), kwargs, told)

    def _told(self, node: fx.Node) -> dict[str, Any]:
        """The ANN's operation and its further arguments, as JSON."""
        rest = args_of(node)[1:]
        slope = [self.tensors[constant_name(value)].flatten().tolist() for value in rest if isinstance(value, fx.Node)]
        told: dict[str, Any] = {"op": name_of(node.target), "args": [value for value in rest if not isinstance(value, fx.Node)]}
        return told | ({"kwargs": dict(node.kwargs)} if node.kwargs else {}) | ({"slope": slope[0]} if slope else {})

    def _group(self, node: fx.Node) -> tuple[int, tuple[int, ...]]:
        """The channel axis of a value ([B, C, …] → 1, [B, L, C] → 2) and the shape of its scales."""
        shape = node.meta["spec"][0]
        axis = 2 if len(shape) == 3 else 1
        return axis, ((shape[axis],) if self.options.per_channel and len(shape) > axis else ())

    def _constants(self, name: str, before: fx.Node, values: dict[str, Tensor]) -> list[fx.Node]:
        made: list[fx.Node] = []
        with self.graph.inserting_before(before):
            for key, value in values.items():
                self.tensors[f"{name}.{key}"] = value
                made.append(self.graph.get_attr(f"{name}.{key}"))
        return made

    def _call(
        self, name: str, after: fx.Node, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], told: dict[str, Any]
    ) -> fx.Node:
        with self.graph.inserting_after(after):
            new = self.graph.create_node("call_function", target, args, kwargs, name=name)
        new.meta["spec"] = after.meta["spec"]
        note(new).update({"source": after.name, **told})
        self.made += 1
        return new
