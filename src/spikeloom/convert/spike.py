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
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.convert.channels import channel_axis, channels_of, fixed
from spikeloom.errors import ConfigError
from spikeloom.ir import (
    OPERATIONS,
    Becomes,
    Context,
    Dialect,
    Pass,
    Program,
    Scalar,
    args_of,
    becomes,
    bounds,
    calls,
    clone,
    compares,
    constant_name,
    divides_by_root,
    dynamic,
    function_of,
    name_of,
    note,
    population,
    scalars,
    shaped,
    source_of,
    spikeless,
    staircase,
    swept,
    told,
)
from spikeloom.neuron import KNOWN, Axis

METHODS = ("scale_and_fire", "if", "lif")
PLACEMENTS = ("uniform", "two_range", "curve", "density")
CURVED = {"exp": "power", "square": "hyperbolic"}
"""Functions of a current whose levels may lie along a curve, and which; those of identities, clipped or not, are hyperbolic."""


@final
@dataclass(frozen=True)
class Spike(Pass):
    """Makes the populations. `levels` is N, the positive levels a step (1 for 'if' and 'lif', where T gives resolution);
    `tau_mem_ms` and `dt_ms` set the leak of 'lif'; `placement` says where the levels of Scale-and-Fire lie: in equal steps ('uniform'),
    in fine and coarse ones ('two_range'), by the activation's distribution ('density'), or along a curve that is fitted to it and
    compiled code computes ('curve': `neuron.curve`; functions other than exp and square by density), and `placements` where those of
    some populations do, by name; `per_channel` gives every channel a scale of its own; `functions` 'quantised' keeps other activations
    floating with an identity population behind (plain quantisation, the control). `dual` gives IF and LIF neurons that stand for
    activations without a negative side a second threshold, at which they take back what they sent too early (`neuron.uniform` (4)).

    What a norm's population gives has no equal steps to fall back on: 'uniform' places it by density.

    A population that only a row's maximum reads is noted "covers": its levels span all it may see, for a softmax forgives a
    coarse maximum and not a missed one."""

    method: str = "scale_and_fire"
    levels: int = 15
    per_channel: bool = True
    placement: str = "uniform"
    functions: str = "staircase"
    tau_mem_ms: float = 20.0
    dt_ms: float = 1.0
    placements: tuple[tuple[str, str], ...] = ()
    dual: bool = False

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN, Dialect.QNN})
    gives: ClassVar[Dialect | None] = Dialect.SNN
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = ("Scale-and-Fire neurons, arXiv:2510.23383", "Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682")

    def __call__(self, program: Program, context: Context) -> Program:
        check_options(self)
        graph, tensors = clone(program.graph), dict(program.tensors)
        maker = _Maker(self, graph, tensors, {spec.shape[place] for spec in program.inputs for place in spec.lengths})
        written = [(end, each.source, told(each)) for end, each in scalars(graph).items() if self._as_one(each)]
        for end, source, rows in written:  # all were told before the first is rewritten
            maker.instead_of_scalar(end, source, rows)
        graph.eliminate_dead_code()
        floating = self._excepted(graph)
        live = dynamic(graph)
        for node in list(calls(graph)):
            if node.name in floating and becomes(node, live)[0] is Becomes.STAIRCASE:
                maker.after(node, list(node.users))
        for node, readers in spikeless(graph).items():
            maker.after(node, readers)
        live = dynamic(graph)
        decided = [(node, becomes(node, live)[0]) for node in calls(graph)]  # all before the first is rewritten
        for node, what in decided:
            if what in (Becomes.POPULATION, Becomes.STAIRCASE) and node.name not in floating and node.target not in OPERATIONS.values():
                maker.instead_of(node, what)
        graph.lint()
        spiking = swept(program.replaced(graph=graph, tensors=tensors, dialect=Dialect.SNN))
        return shaped(spiking).recorded(self.record(populations=maker.made, floating=floating))

    def _as_one(self, scalar: Scalar) -> bool:
        """Whether a scalar function written out becomes one staircase: always where it compares, for truth values are no current."""
        return self.functions == "staircase" or any(map(compares, scalar.nodes))

    def _excepted(self, graph: fx.Graph) -> list[str]:
        """Declares what stays floating, with the reason; the names of it."""
        live, floating = dynamic(graph), list[str]()
        for node in calls(graph):
            what, reason = becomes(node, live)
            kept = what in (Becomes.STAIRCASE, Becomes.NEURONS) and self.functions == "quantised"
            if kept or what in (Becomes.FLOATING, Becomes.NEURONS):
                reasons = {Becomes.FLOATING: reason, Becomes.NEURONS: "it was not unfolded before"}
                note(node)["floating"] = "plain quantisation keeps the function" if kept else reasons[what]
                floating.append(node.name)
        return floating


def check_options(options: Spike) -> None:
    """Raises ConfigError for a method, level count, placement, choice of functions or time constant that makes no neuron."""
    if options.method not in METHODS:
        raise ConfigError("conversion.method is unknown", found=options.method, allowed=", ".join(METHODS))
    if not 1 <= options.levels <= 65535:
        raise ConfigError("conversion.levels is out of range", found=options.levels, allowed="1 to 65535")
    if unknown := sorted({options.placement, *dict(options.placements).values()} - set(PLACEMENTS)):
        raise ConfigError("conversion.placement is unknown", found=unknown[0], allowed=", ".join(PLACEMENTS))
    if options.functions not in ("staircase", "quantised"):
        raise ConfigError("conversion.functions is unknown", found=options.functions, allowed="staircase, quantised")
    if options.dual and options.method == "scale_and_fire":
        todo = "leave out --dual-threshold, or convert with --method if or lif"
        raise ConfigError("a scale_and_fire neuron takes nothing back", found="dual_threshold: true", allowed="if, lif", todo=todo)
    if options.method == "lif" and not (options.tau_mem_ms > 0 and options.dt_ms > 0):
        raise ConfigError(
            "a time constant must be positive", found=(options.tau_mem_ms, options.dt_ms), allowed="tau_mem_ms > 0, dt_ms > 0"
        )


@final
class _Maker:
    """Puts populations into one graph."""

    def __init__(self, options: Spike, graph: fx.Graph, tensors: dict[str, Tensor], varying: Collection[int]) -> None:
        self.options, self.graph, self.tensors, self.varying, self.made = options, graph, tensors, varying, 0
        self.levels = options.levels if options.method == "scale_and_fire" else 1
        self.placements = dict(options.placements)
        self.decay = math.exp(-options.dt_ms / options.tau_mem_ms) if options.method == "lif" else 1.0

    def after(self, node: fx.Node, readers: Sequence[fx.Node]) -> None:
        """A signed identity population that some readers of `node` read from now on."""
        axis, group = self._group(node, readers)
        if self._placement(node) == "uniform":
            new = self._identity(node, node, axis, group, "identity", self.levels, None)
        else:
            new = self._table_call(node, node, axis, group, 2 * self.levels, "identity", self._placed(node, signed=True))
        if all(name_of(reader.target).startswith(("aten.amax.", "aten.amin.")) for reader in readers):
            note(new)["covers"] = True
        for reader in readers:
            reader.replace_input_with(node, new)

    def instead_of(self, node: fx.Node, what: Becomes) -> None:
        """A population in an activation's place."""
        low, high = bounds(node) if what is Becomes.POPULATION else (None, None)
        uniform = self._placement(node) == "uniform"
        if what is Becomes.POPULATION and uniform and low in (0.0, -(high or 0.0)):
            negative = 0 if low == 0.0 else self.levels
            axis, group = self._group(node, list(node.users))
            new = self._identity(source_of(node), node, axis, group, function_of(node), negative, high)
        else:
            new = self._table(node, low, clips=what is Becomes.POPULATION)
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)

    def instead_of_scalar(self, end: fx.Node, source: fx.Node, rows: list[list[Any]]) -> None:
        """One function staircase for a scalar function written out in several operations, `rows`."""
        new = self._table_call(source, end, 1, (), 2 * self.levels, "scalar", {"rows": rows})
        end.replace_all_uses_with(new)

    def _identity(
        self, source: fx.Node, stands_for: fx.Node, axis: Axis, group: tuple[int, ...], function: str, negative: int, cap: float | None
    ) -> fx.Node:
        name = f"spike_{stands_for.name}"
        values = {"step": math.nan, "v0": math.nan, "decay": self.decay, "leak": 0.0}
        constants = self._constants(name, stands_for, {key: torch.full(group, value) for key, value in values.items()})
        kwargs = {"levels": self.levels, "negative": negative, "axis": axis, "function": function}
        if self.options.dual and negative == 0:
            kwargs["reset"] = "gated"
        about = self._told(stands_for) if function != "identity" else {}
        return self._call(name, stands_for, population, (source, *constants), kwargs, about | ({"cap": cap} if cap is not None else {}))

    def _placement(self, node: fx.Node) -> str:
        """Where the levels of the population that stands for a node lie."""
        if self.options.method != "scale_and_fire":
            return "uniform"
        return self.placements.get(f"spike_{node.name}", self.options.placement)

    def _placed(self, node: fx.Node, *, signed: bool) -> dict[str, Any]:
        """What calibration must know of levels in two ranges, or along a curve."""
        placement = self._placement(node)
        if placement == "curve":
            return {"placement": placement, "curve": "hyperbolic", "signed": signed}
        return {"placement": placement, "signed": signed} if placement == "two_range" else {}

    def _along(self, node: fx.Node) -> dict[str, Any]:
        """What calibration must know of a function of a current whose levels lie along a curve."""
        function, exponent = function_of(node), args_of(node)[1:]
        kind = CURVED.get("square" if function == "pow" and exponent == (2,) else function)
        return {"placement": "curve", "curve": kind, "signed": True} if kind and self._placement(node) == "curve" else {}

    def _table(self, node: fx.Node, low: float | None, *, clips: bool) -> fx.Node:
        """A function staircase; each channel has its own where the function is clipped below, at `low`, differs by channel, or is
        divisive: what a norm gives is an identity of its quotient."""
        axis, group = self._group(node, list(node.users))
        count = self.levels if low == 0.0 else 2 * self.levels
        if divides_by_root(node, dynamic(self.graph)):
            placed = self._placed(node, signed=True)
            return self._table_call(source_of(node), node, axis, group, count, "identity", placed, (node.args[1],))
        if function_of(node) in KNOWN:
            return self._known(node)
        about = self._told(node) | (self._placed(node, signed=low != 0.0) if clips else self._along(node))
        if len(slopes := about.get("slope", ())) > 1:
            axis, group = 1, (len(slopes),)
        elif low is None:
            group = ()
        return self._table_call(source_of(node), node, axis, group, count, function_of(node), about)

    def _known(self, node: fx.Node) -> fx.Node:
        """A function that is a staircase itself: born with its thresholds, one table for all."""
        thresholds, values = KNOWN[function_of(node)]
        new = self._table_call(source_of(node), node, 1, (), len(thresholds), function_of(node), self._told(node))
        note(new)["known"] = True
        for operand, table in zip(new.args[1:3], (thresholds, values), strict=True):
            self.tensors[constant_name(operand)] = torch.tensor(table)
        return new

    def _table_call(
        self,
        source: fx.Node,
        stands_for: fx.Node,
        axis: Axis,
        group: tuple[int, ...],
        count: int,
        function: str,
        about: dict[str, Any],
        gain: tuple[Any, ...] = (),
    ) -> fx.Node:
        name = f"spike_{stands_for.name}"
        tables = {"thresholds": torch.full((*group, count), math.nan), "values": torch.full((*group, count + 1), math.nan)}
        constants = self._constants(name, stands_for, tables)
        kwargs = {"axis": axis, "function": function}
        return self._call(name, stands_for, staircase, (source, *constants, *gain), kwargs, about)

    def _told(self, node: fx.Node) -> dict[str, Any]:
        """The ANN's operation and its further arguments, as JSON."""
        rest = args_of(node)[1:]
        slope = [self.tensors[constant_name(value)].flatten().tolist() for value in rest if isinstance(value, fx.Node)]
        about: dict[str, Any] = {"op": name_of(node.target), "args": [value for value in rest if not isinstance(value, fx.Node)]}
        return about | ({"kwargs": dict(node.kwargs)} if node.kwargs else {}) | ({"slope": slope[0]} if slope else {})

    def _group(self, node: fx.Node, readers: Sequence[fx.Node]) -> tuple[Axis, tuple[int, ...]]:
        """The channel axis of a value and the shape of its scales, () where all share one."""
        axis = fixed(node, channel_axis(node, readers), self.varying)
        size = channels_of(node, axis)
        return axis, ((size,) if self.options.per_channel and size > 0 else ())

    def _constants(self, name: str, before: fx.Node, values: dict[str, Tensor]) -> list[fx.Node]:
        made: list[fx.Node] = []
        with self.graph.inserting_before(before):
            for key, value in values.items():
                self.tensors[f"{name}.{key}"] = value
                made.append(self.graph.get_attr(f"{name}.{key}"))
        return made

    def _call(
        self, name: str, after: fx.Node, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], about: dict[str, Any]
    ) -> fx.Node:
        with self.graph.inserting_after(after):
            new = self.graph.create_node("call_function", target, args, kwargs, name=name)
        new.meta["spec"] = after.meta["spec"]
        note(new).update({"source": after.name, **about, **{key: value for key, value in note(after).items() if key == "free"}})
        self.made += 1
        return new
