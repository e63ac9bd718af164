"""
One walk through the network, layer by layer: what each layer really receives, the weights that then serve best among those that may stay,
and what each of them is worth.

    W' = argmin E‖W' x_snn + b' − y_ann‖²  with zeros where nothing is kept                               (1)

y_ann is what the layer gave before anything was pruned, plus the error of a branch it is added to (`Abreast.targets`). The bias takes the
means, so that C is the covariance of the spikes. In a layer that keeps all its weights (1) is compensation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx

from spikeloom.compress.second_order import damped
from spikeloom.compress.worth import refitted, worth_of
from spikeloom.ir import Context, Program, groups_of, name_of, note, shaped, source_of, swept, weighted
from spikeloom.simulate import Abreast, Moments, add, centred, empty, merge, rows, solvable

RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
JUDGES = 32


@final
@dataclass(frozen=True)
class Layer:
    """What a walk found of one layer: the `worth` of every weight for the layer's own output, how many events its input channels send
    an inference, and at how many places of the output a weight is used."""

    worth: Float[Tensor, "o c *taps"]
    events: Float[Tensor, " c"]
    places: float
    ridge: float


@final
@dataclass(frozen=True)
class Walk:
    """How to walk: with T steps, `rows_per_weight` samples for each input, and worth by one of `worth.WORTHS`."""

    timesteps: int
    worth: str
    rows_per_weight: int
    limit_bytes: int
    memory_bytes: int

    def __call__(
        self,
        program: Program,
        context: Context,
        kept: Mapping[str, Bool[Tensor, "o c *taps"]],
        exact: Mapping[str, tuple[Tensor, Tensor | None]],
        sensitivity: Mapping[str, Float[Tensor, " o"]],
    ) -> tuple[Program, dict[str, Layer]]:
        """The program refitted (1) where `kept` has a mask, by layer name, and what was found of those layers."""
        both = Abreast(program, context, self.timesteps, limit_bytes=self.limit_bytes, memory_bytes=self.memory_bytes, exact=exact)
        generator, found = context.generator(), dict[str, Layer]()
        with torch.no_grad():
            for node in both.nodes("pruning layers"):
                if not weighted(node) or not solvable(node) or both.untouched(node):
                    continue
                mask = kept.get(node.name, torch.ones_like(both.weights(node)[0], dtype=torch.bool))
                layer = self._layer(both, node, mask, sensitivity[node.name], generator)
                if node.name in kept:
                    found[node.name] = layer
        return shaped(swept(program.replaced(graph=both.graph, tensors=both.tensors))), found

    def _layer(self, both: Abreast, node: fx.Node, mask: Tensor, felt: Tensor, generator: torch.Generator) -> Layer:
        weight, bias = both.weights(node)
        groups = groups_of(node)
        now, kept = (value.reshape(groups, weight.shape[0] // groups, -1) for value in (weight, mask))
        halves, centre = self._moments(both, node, now, bias, generator)
        felt = felt.reshape(now.shape[:2])
        ridge = ridge_of(now, *halves, kept, felt)
        whole = joined(*halves)
        found, power, curvature = solved(now, whole, kept, ridge)
        mean_x, mean_r = centre + whole.x / whole.count, whole.r / whole.count
        shift = mean_r - ((found - now).double() @ mean_x[..., None])[..., 0]
        both.set(node, found.reshape(weight.shape), bias + shift.flatten().to(bias))
        worth = (worth_of(found, power, curvature.to(found), self.worth) * felt[..., None]).reshape(weight.shape)
        return Layer(worth, self._events(both, node), float(both.exact.values[node][0][0].numel() / weight.shape[0]), ridge)

    def _moments(
        self, both: Abreast, node: fx.Node, weight: Float[Tensor, "g o i"], bias: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Moments, Moments], Float[Tensor, "g i"]]:
        """The moments of a layer's inputs, less a centre, and of what its outputs lack, of two halves of the samples."""
        groups, outputs, inputs = weight.shape
        positions = max(1, -(-self.rows_per_weight * inputs // both.samples))
        halves = (empty(groups, inputs, outputs), empty(groups, inputs, outputs))
        centre = torch.zeros(groups, 1, inputs)
        for place, (mean, target) in enumerate(zip(both.received(node), both.targets(node), strict=True)):
            x, y = rows(node, mean, target, both.weights(node)[0], positions, generator)
            centre = x.mean(1, keepdim=True) if place == 0 else centre
            r = y - (x @ weight.transpose(1, 2) + bias.reshape(groups, 1, outputs))
            half = x.shape[1] // 2 if len(both.chunks) == 1 else x.shape[1] * (place % 2)
            for moments, part in zip(halves, (slice(half), slice(half, None)), strict=True):
                add(moments, x[:, part] - centre, r[:, part])
        return halves, centre[:, 0].double()

    def _events(self, both: Abreast, node: fx.Node) -> Float[Tensor, " c"]:
        """Events an inference (all T steps together) that each input channel sends to one place of a layer, on average."""
        axis = -1 if name_of(node.target).startswith("aten.linear.") else 1
        total, count = torch.zeros(()), 0
        for chunk in both.spiking.values[source_of(node)]:
            fired = (chunk != 0).movedim(axis, 0).flatten(1)
            total, count = total + fired.sum(1), count + fired.shape[1]
        return (total * both.timesteps / count).float()


def joined(first: Moments, second: Moments) -> Moments:
    """The moments of both halves; the halves stay as they are."""
    whole = empty(*first.x.shape, first.r.shape[1])
    merge(whole, first)
    merge(whole, second)
    return whole


def solved(
    now: Float[Tensor, "g o i"], moments: Moments, kept: Bool[Tensor, "g o i"], ridge: float
) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o i"], Float[Tensor, "g i i"]]:
    """(1) with `ridge` holding to the weights as they are, the powers of what is kept, and the curvature it was solved with."""
    curvature, cross = centred(moments)
    curvature = damped(curvature, ridge)
    change = torch.cholesky_solve(cross.transpose(1, 2), torch.linalg.cholesky(curvature)).transpose(1, 2)
    found, power = refitted(now + change.to(now), curvature, kept)
    return found, power, curvature


def ridge_of(
    now: Float[Tensor, "g o i"], first: Moments, second: Moments, kept: Bool[Tensor, "g o i"], felt: Float[Tensor, "g o"]
) -> float:
    """The ridge whose solution on either half of the samples serves the other best, judged by the outputs that are felt most."""
    some = felt.sum(0).argsort(descending=True)[:JUDGES]

    def lost(ridge: float) -> float:
        pairs = ((of(first, some), of(second, some)), (of(second, some), of(first, some)))
        return sum(held_out(now[:, some], one, other, kept[:, some], felt[:, some], ridge) for one, other in pairs)

    return min(RIDGES, key=lost)


def held_out(
    now: Float[Tensor, "g o i"], one: Moments, other: Moments, kept: Bool[Tensor, "g o i"], felt: Float[Tensor, "g o"], ridge: float
) -> float:
    """What a solution on one half loses on the other, less what no solution could change."""
    change = (solved(now, one, kept, ridge)[0] - now).double()
    curvature, cross = centred(other)
    return float((((change @ curvature - 2 * cross) * change).sum(2) * felt).sum())


def of(moments: Moments, some: Tensor) -> Moments:
    """The moments of some outputs."""
    return replace(moments, r=moments.r[:, some], rx=moments.rx[:, some], rr=moments.rr[:, some])


def price(layer: Layer, budget: str) -> Float[Tensor, "o c *taps"]:
    """What a weight costs: 1, or its synaptic operations an inference (in groups all inputs count with their mean)."""
    if budget == "weights":
        return torch.ones_like(layer.worth)
    inputs = layer.worth.shape[1]
    events = layer.events if len(layer.events) == inputs else layer.events.mean().expand(inputs)
    return (events * layer.places).view(1, inputs, *[1] * (layer.worth.dim() - 2)).expand_as(layer.worth)


def marked(program: Program, kept: Mapping[str, Tensor], pattern: str) -> Program:
    """The program with a note on every pruned layer: its zeros stay zeros."""
    for node in layers_of(program, kept):
        note(node)["pruned"] = pattern
    return program


def layers_of(program: Program, names: Mapping[str, object]) -> Iterator[fx.Node]:
    """The nodes of some names."""
    return (node for node in program.graph.nodes if node.name in names)
