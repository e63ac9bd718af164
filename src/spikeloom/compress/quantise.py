"""
Quantisation: the weights of every layer go onto a grid, one layer after another, each for the inputs it gets from those before it.

`second_order` rounding (`rounding`) serves the layer's output on calibration data and not its weights; the mean of what is lost goes into
the bias. `nearest` needs no data. Layers whose inputs are not known as rows (transposed and 3-d convolution) are rounded to the nearest,
transposed ones with one scale. Embeddings stay as they are: they are read, not multiplied.

Sources: Frantar et al. 2022, arXiv:2210.17323; Nagel et al. 2019, arXiv:1906.04721 (bias correction); `response`, `bits` for which layers
get how many bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.compress.bits import KINDS, chosen
from spikeloom.compress.response import responses
from spikeloom.compress.rounding import nearest, on_grid
from spikeloom.compress.second_order import error
from spikeloom.compress.tally import first_of
from spikeloom.errors import ConfigError
from spikeloom.ir import (
    TRANSPOSED,
    WEIGHTS,
    Context,
    Dialect,
    Grid,
    Pass,
    Program,
    Quantised,
    calls,
    clone,
    grid_named,
    groups_of,
    name_of,
    note,
    read,
    set_weights,
    shaped,
    swept,
    weighted,
    weights_of,
)
from spikeloom.simulate import Abreast, add, centred, empty, rows, solvable

METHODS = ("second_order", "nearest")


@final
@dataclass(frozen=True)
class Quantise(Pass):
    """Puts weights on a grid: `weights` is one of `WEIGHTS`, or "hybrid": each layer as many bits as serve the network most, `bits` a
    weight on average. `group` inputs share a scale where they divide a layer's (None: one scale for an output channel); `layers` names
    the kind of some; `samples` calibrate."""

    weights: str = "8"
    group: int | None = None
    bits: float = 4.0
    method: str = "second_order"
    layers: tuple[tuple[str, str], ...] = ()
    samples: int = 256
    rows_per_weight: int = 48
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN})
    gives: ClassVar[Dialect | None] = Dialect.QNN
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = (
        "Frantar et al. 2022, arXiv:2210.17323",
        "Behdin et al. 2023, arXiv:2309.01885",
        "Dong et al. 2020, arXiv:1911.03852",
        "Ma et al. 2024, arXiv:2402.17764",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        self.check(program)
        with torch.no_grad():
            grids = {layer: grid_named(kind, self.group) for layer, kind in self._kinds(program, context).items()}
            if self.method == "nearest":
                made = _rounded_to_nearest(program, grids)
            else:
                made = _rounded_to_second_order(program, grids, self, context)
        after = shaped(swept(made.replaced(dialect=Dialect.QNN)))
        return after.recorded(self.record(layers=layer_rows(after), bits_kept=bits_kept(after)))

    def check(self, program: Program) -> None:
        """Raises ConfigError for options that quantise nothing."""
        if self.weights not in (*WEIGHTS, "hybrid"):
            raise ConfigError("compression.weights is unknown", found=self.weights, allowed=", ".join((*WEIGHTS, "hybrid")))
        if self.method not in METHODS:
            raise ConfigError("compression.rounding is unknown", found=self.method, allowed=", ".join(METHODS))
        known = {node.name for node in calls(program.graph) if weighted(node)}
        if unknown := sorted({name for name, _ in self.layers} - known):
            raise ConfigError("compression.layers names no layer with weights", found=unknown, allowed=", ".join(sorted(known)))

    def _kinds(self, program: Program, context: Context) -> dict[str, str]:
        sizes = {node.name: weights_of(node, program.tensors)[0].numel() for node in calls(program.graph) if weighted(node)}
        if self.weights != "hybrid":
            return dict.fromkeys(sizes, self.weights) | dict(self.layers)
        return chosen(_costs(program, self, context), sizes, self.bits) | dict(self.layers)


def quantised_layers(program: Program) -> dict[str, Quantised]:
    """The weights that lie on a grid, by their layer's name."""
    weights = {node.name: weights_of(node, program.tensors)[0] for node in calls(program.graph) if weighted(node)}
    return {name: weight for name, weight in weights.items() if isinstance(weight, Quantised)}


def layer_rows(program: Program) -> list[dict[str, Any]]:
    """Of each layer: its bits, the inputs that share a scale, and the share of its output's power that rounding cost."""
    made = quantised_layers(program).items()
    return [{"node": name, "bits": each.grid.bits, "group": each.grid.group, "error": each.error} for name, each in made]


def bits_kept(program: Program) -> float:
    """Bits that a quantised weight takes where it is kept, on average, its scale apart."""
    weights = quantised_layers(program).values()
    return sum(each.grid.width * each.numel() for each in weights) / max(sum(each.numel() for each in weights), 1)


def rows_of(node: fx.Node, weight: Tensor) -> Float[Tensor, "g o i"]:
    """A layer's weights as rows for each group of channels."""
    return read(weight).reshape(groups_of(node), -1, weight[0].numel())


def _rounded_to_nearest(program: Program, grids: Mapping[str, Grid]) -> Program:
    """Every layer by itself."""
    graph, tensors = clone(program.graph), dict(program.tensors)
    for node in list(calls(graph)):
        if weighted(node):
            weight, bias = weights_of(node, tensors)
            set_weights(node, graph, tensors, _nearest(node, weight, grids[node.name]), bias)
    return program.replaced(graph=graph, tensors=tensors)


def _rounded_to_second_order(program: Program, grids: Mapping[str, Grid], options: Quantise, context: Context) -> Program:
    """Every layer for the inputs it gets, in execution order; the mean of what is lost goes into its bias."""
    both, generator = _abreast(program, options, context), context.generator()
    for node in both.nodes("quantising layers"):
        if not weighted(node):
            continue
        weight, bias = both.weights(node)
        if solvable(node):
            c = curvature(both, node, options.rows_per_weight, generator)
            found = on_grid(rows_of(node, weight), c, weight, grids[node.name], pruned="pruned" in note(node))
        else:
            found = _nearest(node, weight, grids[node.name])
        both.set(node, found, bias)
        both.set(node, found, bias + lost(both, node).to(bias))
    return program.replaced(graph=both.graph, tensors=both.tensors)


def _abreast(program: Program, options: Quantise, context: Context) -> Abreast:
    """The exact network and the one being quantised, over the first samples."""
    some = first_of(context, program, options.samples)
    return Abreast(program, replace(context, calibration=lambda: some), memory_bytes=options.memory_bytes)


def curvature(both: Abreast, node: fx.Node, rows_per_weight: int, generator: torch.Generator) -> Float[Tensor, "g i i"]:
    """The covariance of what a layer receives, from so many rows for each of a row's inputs."""
    weight = both.weights(node)[0]
    groups, inputs = groups_of(node), weight[0].numel()
    positions = max(1, -(-rows_per_weight * inputs // both.samples))
    moments, centre = empty(groups, inputs, 0), None
    for received, given in zip(both.received(node), both.exact.values[node], strict=True):
        x, _ = rows(node, received, given, weight, positions, generator)
        centre = x.mean(1, keepdim=True) if centre is None else centre
        add(moments, x - centre, x.new_zeros(groups, x.shape[1], 0))
    return centred(moments)[0]


def lost(both: Abreast, node: fx.Node) -> Float[Tensor, " c"]:
    """The mean of what the exact layer gives over what this one gives, per channel."""
    axis, total, count = 1 if "conv" in name_of(node.target) else -1, torch.zeros((), dtype=torch.float64), 0
    for exact, own in zip(both.exact.values[node], both.computed(node), strict=True):
        difference = (exact - own).movedim(axis, 0).flatten(1)
        total, count = total + difference.double().sum(1), count + difference.shape[1]
    return total / max(count, 1)


def _nearest(node: fx.Node, weight: Tensor, grid: Grid) -> Quantised:
    return nearest(read(weight), grid, shared=name_of(node.target).startswith(TRANSPOSED))


def _costs(program: Program, options: Quantise, context: Context) -> dict[str, dict[str, float]]:
    """What each kind of weights costs the network at each layer: the error of its output times how much the network answers to that.
    Layers that nobody can ask (`response`) count as those that are answered most."""
    both, generator, costs = _abreast(program, options, context), context.generator(), dict[str, dict[str, float]]()
    answers = responses(program, both.chunks, 1, generator)
    most = max((float(each.max()) for each in answers.values()), default=1.0)
    for node in both.nodes("weighing layers"):
        if weighted(node):
            weight, felt = both.weights(node)[0], answers.get(node.name, torch.full((1,), most))
            flat = rows_of(node, weight) if solvable(node) else read(weight).reshape(1, weight.shape[0], -1)
            c = curvature(both, node, options.rows_per_weight, generator) if solvable(node) else torch.eye(flat.shape[2])[None]
            costs[node.name] = {kind: _cost(flat, c, felt, weight, grid_named(kind, options.group)) for kind in KINDS}
    return costs


def _cost(flat: Tensor, curvature: Tensor, felt: Float[Tensor, " c"], weight: Tensor, grid: Grid) -> float:
    lost = error(flat, nearest(read(weight), grid).numbers().reshape(flat.shape), curvature).flatten()
    return float((lost * felt).sum() if len(lost) == len(felt) else lost.sum() * felt.mean())


@final
@dataclass(frozen=True)
class Round(Pass):
    """Puts the weights of a spiking program on a grid, each at the nearest value, zeros at 0: where connections left before, and
    compensation, which comes after it, rounds to second order."""

    weights: str = "8"
    group: int | None = None

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})

    def __call__(self, program: Program, context: Context) -> Program:
        grid = grid_named(self.weights, self.group)
        made = _rounded_to_nearest(program, {node.name: grid for node in calls(program.graph) if weighted(node)})
        after = shaped(swept(made))
        return after.recorded(self.record(layers=layer_rows(after), bits_kept=bits_kept(after)))
