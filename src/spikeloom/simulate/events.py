"""
Counting: how many spikes a run has, and how many synaptic operations they cause.

    synaptic operations = Σ over edges of (presynaptic events × fan-out)                     (1)

The fan-out of an input element is the number of weights it meets, in a pruned layer (noted "pruned") of those that are there. For a linear
operation it is the gradient of Σ y with every weight set to one; a dynamic product counts the pairs in which both operands carry an event.
DESIGN.md §5 gives the encodings of a level k:

    graded   one event carrying ⌈log2(N+1)⌉ bits (and a sign)
    unary    |k| unit spikes
    binary   popcount(|k|) spikes with shifted weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import (
    Kind,
    Program,
    Quantised,
    Signal,
    calls,
    driven_by,
    dynamic,
    kind,
    kwargs_of,
    name_of,
    note,
    population,
    signals,
    target_of,
    weighted,
    weights_of,
)
from spikeloom.neuron import along, by_channel, from_channels, graded_bits
from spikeloom.neuron import events as encoded
from spikeloom.simulate.execute import executable, repeated
from spikeloom.simulate.fan import fan_out

ENCODINGS = ("graded", "unary", "binary")


@final
@dataclass(frozen=True)
class LayerCount:
    """Counts of one operation or population per inference (means over the samples seen, all T steps together).

    `macs`: multiply-accumulates on analog or floating operands; `dense_macs`: those the ANN does here once;
    `operations`: spike-driven ones, by encoding; `events`: spikes a population sends, by encoding; `neurons`: its size;
    `rate` and `saturation`: shares of neuron-steps with an event, and at the top level; `silent`: share of neurons
    that never fired. `weight_bits` and `payload_bits` are the widths of what meets at a synapse: 32 while weights are floating; a spike's
    payload is that of its level where all channels have one step, else a value of 16 bits. `gates` are threshold gates among the
    neurons: they compare whole numbers, and add nothing.
    """

    node: str
    kind: str
    macs: float = 0.0
    dense_macs: float = 0.0
    operations: Mapping[str, float] = field(default_factory=dict[str, float])
    events: Mapping[str, float] = field(default_factory=dict[str, float])
    neurons: int = 0
    levels: int = 0
    rate: float = 0.0
    saturation: float = 0.0
    silent: float = 0.0
    weights: int = 0
    outputs: int = 0
    weight_bits: int = 32
    payload_bits: int = 32
    gates: int = 0


@final
@dataclass(frozen=True)
class Counts:
    """All counts of a run: one row per operation that computes, in execution order."""

    timesteps: int
    samples: int
    rows: tuple[LayerCount, ...]

    def spikes(self, encoding: str = "graded") -> float:
        """Spikes sent per inference by all populations."""
        return sum((row.events.get(encoding, 0.0) for row in self.rows), 0.0)

    def operations(self, encoding: str = "graded") -> float:
        """Synaptic operations per inference; MACs on analog inputs are not among them."""
        return sum((row.operations.get(encoding, 0.0) for row in self.rows), 0.0)

    def spike_share(self) -> float:
        """The share of the ANN's MACs that ran spike-driven."""
        total = sum(row.dense_macs for row in self.rows)
        return 1.0 - sum(row.dense_macs for row in self.rows if row.macs) / total if total else 1.0


@final
class Counter(fx.Interpreter):
    """Runs a program for T steps and counts, batch after batch; memory does not grow with the number of batches. Texts of one batch are
    of one length, those of different batches need not be: sizes and counts are means over all samples."""

    def __init__(self, program: Program, timesteps: int) -> None:
        module = executable(program, timesteps)
        super().__init__(module)
        live = dynamic(program.graph)
        self.program, self.timesteps, self.samples, self.batch = program, timesteps, 0, 0
        self.before = {node.name: node for node in calls(program.graph) if node in live}
        self.kinds = {name: kind(node, live) for name, node in self.before.items()}
        self.carried = {node.name: signal for node, signal in signals(program.graph).items()}
        self.levels: dict[str, Any] = {}
        self.payloads: dict[str, int] = {}
        self.sums: dict[str, dict[str, float]] = {}
        self.fans: dict[tuple[Any, ...], tuple[Tensor, float]] = {}  # weights met by each input element, and in all if none was pruned
        self.fired: dict[str, Tensor] = {}
        self.nodes = {node.name: node for node in module.graph.nodes}

    def add(self, inputs: tuple[Tensor, ...]) -> Any:
        """Count one batch ([B, …] inputs); returns the raw [T·B, …] output."""
        self.batch = inputs[0].shape[0]
        self.samples += self.batch
        self.levels = {}
        with torch.no_grad():
            return self.run(*(repeated(value, self.timesteps) for value in inputs))

    def run_node(self, n: fx.Node) -> Any:
        value, what = super().run_node(n), self.kinds.get(n.name)
        if what in (Kind.MOVE, Kind.MAX) and self.carried[n.name] is Signal.SPIKE:
            self._route(n)  # of a split all parts
        if not isinstance(value, Tensor) or what is None:
            return value
        if what is Kind.NEURON:
            self._population(n.name, value)
        elif what in (Kind.AFFINE, Kind.PRODUCT):
            self._synapses(n.name, value, {operand.name: self.env[operand] for operand in n.all_input_nodes})
        return value

    def _add(self, name: str, **numbers: float) -> None:
        sums = self.sums.setdefault(name, {})
        for key, number in numbers.items():
            sums[key] = sums.get(key, 0.0) + float(number)

    def _population(self, name: str, value: Tensor) -> None:
        node = self.before[name]
        for gain in driven_by(node)[1:]:  # an event that scales thresholds does so for every neuron it reaches
            reached = value.numel() / self.env[self.nodes[gain.name]].numel()
            level = self.levels.get(gain.name)
            if level is not None:
                self._add(name, **{f"op:{e}": float(encoded(level, e).sum()) * reached for e in ENCODINGS})
        level, top = level_of(node, self.program, value)
        self.levels[name], self.payloads[name] = level, payload_of(node, self.program)
        self._add(name, top=float((level.abs() >= top).sum()), **{f"ev:{e}": float(encoded(level, e).sum()) for e in ENCODINGS})
        fired = (level != 0).any(0)
        self.fired[name] = either(fired, self.fired[name]) if name in self.fired else fired
        self._add(name, neurons=float(fired.numel() * self.batch), gates=float(fired.numel() * self.batch) if is_gate(node) else 0.0)
        self.sums[name]["levels"] = top

    def _route(self, n: fx.Node) -> None:
        """Levels go where their spikes go: the same routing, applied to levels."""
        moved = [operand for operand in n.all_input_nodes if operand.name in self.levels]
        held = {operand: self.env[operand] for operand in moved}
        self.env.update({operand: self.levels[operand.name] for operand in moved})
        level = super().run_node(n)
        self.env.update(held)
        if moved:
            self.levels[n.name] = level
            self.payloads[n.name] = max(self.payloads[operand.name] for operand in moved)

    def _synapses(self, name: str, value: Tensor, values: Mapping[str, Any]) -> None:
        node = self.before[name]
        args: tuple[Any, ...] = fx.map_arg(node.args, lambda operand: values.get(operand.name, operand))
        places = [place for place, a in enumerate(node.args) if isinstance(a, fx.Node) and a.name in self.carried]
        if name_of(node.target).startswith("aten.embedding."):  # a token is one event, and its row of weights what it adds
            self._add(name, **{f"op:{e}": float(value.numel()) for e in ENCODINGS})
        elif len(places) > 1:
            self._product(node, args, places)
        elif places:
            self._linear(node, args, places[0])
        weights = sum(self.program.tensor(a).numel() for a in node.all_input_nodes if a.op == "get_attr")
        self._add(name, outputs=float(value[0].numel() * self.batch))
        self.sums[name]["weights"] = weights
        self.sums[name]["weight_bits"] = self._weight_bits(node)
        self.sums[name]["payload_bits"] = max((self.payloads.get(str(node.args[place]), 32) for place in places), default=32)

    def _weight_bits(self, node: fx.Node) -> int:
        held = weights_of(node, self.program.tensors)[0] if weighted(node) else None
        return held.grid.width if isinstance(held, Quantised) else 32

    def _linear(self, node: fx.Node, args: tuple[Any, ...], place: int) -> None:
        key = (node.name, *args[place].shape[1:])
        if key not in self.fans:
            whole = fan_out(node, args, place)
            self.fans[key] = (fan_out(node, args, place, pruned=True) if "pruned" in note(node) else whole, float(whole.sum()))
        (fan, most), level = self.fans[key], self.levels.get(str(node.args[place]))
        dense = most * args[place].shape[0]
        weighted = dense if self._multiplies(node) else 0.0
        if level is None and self.carried.get(str(node.args[place])) is Signal.CURRENT and "floating" not in note(node):
            self._add(node.name, dense=weighted / self.timesteps)  # part of the synapses that made the current: counted there
        elif level is None:
            self._add(node.name, macs=weighted, dense=weighted / self.timesteps)
        else:
            self._add(node.name, dense=weighted / self.timesteps, **{f"op:{e}": float((encoded(level, e) * fan).sum()) for e in ENCODINGS})

    def _product(self, node: fx.Node, args: tuple[Any, ...], places: list[int]) -> None:
        """Pairs in which both operands carry an event; where one carries none, every pair is a MAC."""
        levels = [self.levels.get(str(node.args[place])) for place in places]
        ones, masks = list(args), list(args)
        for place, level in zip(places, levels, strict=True):
            ones[place] = torch.ones_like(args[place])
            masks[place] = ones[place] if level is None else (level != 0).to(args[place].dtype)
        full, pairs = (float(target_of(node)(*operands, **node.kwargs).sum()) for operands in (ones, masks))
        counted = {f"op:{e}": pairs for e in ENCODINGS} if all(level is not None for level in levels) else {"macs": full}
        self._add(node.name, dense=full / self.timesteps, **counted)

    def _multiplies(self, node: fx.Node) -> bool:
        """Whether the ANN spends MACs here; pools and means only add."""
        return not name_of(node.target).startswith(
            ("aten.avg_pool", "aten.adaptive_avg", "aten.mean", "aten.sum", "aten.neg", "aten.cumsum")
        )

    def counts(self) -> Counts:
        """What was counted so far, per inference."""
        return Counts(self.timesteps, self.samples, tuple(self._row(name, sums) for name, sums in self.sums.items()))

    def _row(self, name: str, sums: Mapping[str, float]) -> LayerCount:
        n = max(self.samples, 1)
        steps = max(sums.get("neurons", 0.0) * self.timesteps, 1.0)
        return LayerCount(
            node=name,
            kind=str(self.kinds[name]),
            macs=sums.get("macs", 0.0) / n,
            dense_macs=sums.get("dense", 0.0) / n,
            operations={key[3:]: value / n for key, value in sums.items() if key.startswith("op:")},
            events={key[3:]: value / n for key, value in sums.items() if key.startswith("ev:")},
            neurons=round(sums.get("neurons", 0.0) / n),
            levels=int(sums.get("levels", 0)),
            rate=sums.get("ev:graded", 0.0) / steps,
            saturation=sums.get("top", 0.0) / steps,
            silent=float((~self.fired[name]).float().mean()) if name in self.fired else 0.0,
            weights=int(sums.get("weights", 0)),
            outputs=round(sums.get("outputs", 0.0) / n),
            weight_bits=int(sums.get("weight_bits", 32)),
            payload_bits=int(sums.get("payload_bits", 32)),
            gates=round(sums.get("gates", 0.0) / n),
        )


VALUE_BITS = 16
"""What a level takes where each channel, or each level, has a height of its own."""


def is_gate(node: fx.Node) -> bool:
    """Whether a population is threshold gates of a logic-gated network."""
    return node.target is not population and kwargs_of(node).get("function") == "gate"


def payload_of(node: fx.Node, program: Program) -> int:
    """The bits of what an event of a population stands for."""
    if node.target is population and program.tensor(node.args[1]).numel() == 1:
        options = kwargs_of(node)
        return graded_bits(options["levels"], options["levels"] if options.get("reset") == "gated" else options.get("negative", 0))
    heights = program.tensor(node.args[2]) if node.target is not population else None
    if heights is not None and heights.shape[-1] == 2 and not heights[..., 0].any() and bool((heights[..., 1] == 1).all()):
        return 1  # a gate: a spike, or none
    return VALUE_BITS


def either(first: Tensor, second: Tensor) -> Tensor:
    """Where one or the other is true; of populations as large as their text is long, the shorter has nothing true behind its end."""
    shape = [max(sizes) for sizes in zip(first.shape, second.shape, strict=True)]
    found = first.new_zeros(shape)
    for fired in (first, second):
        found[tuple(slice(size) for size in fired.shape)] |= fired
    return found


def level_of(node: fx.Node, program: Program, value: Tensor) -> tuple[Tensor, int]:
    """The levels k of a population's outputs (signed integers as floats) and its top level N.

    A function staircase counts its places from the silent one, the value nearest to zero.
    """
    options = kwargs_of(node)
    if node.target is population:
        return torch.round(value / along(program.tensor(node.args[1]), options.get("axis", 1), value)), options["levels"]
    table = torch.atleast_2d(program.tensor(node.args[2])).sort(1).values
    silent = table.abs().argmin(1, keepdim=True)
    axis = options["axis"] if table.shape[0] > 1 else None
    level = torch.searchsorted(table.contiguous(), by_channel(value, axis).contiguous()) - silent
    return from_channels(level.to(value.dtype), axis, value), int(max((table.shape[1] - 1 - silent).max(), 1))
