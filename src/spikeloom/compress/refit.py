"""
One walk through the network, layer by layer: what each layer really receives, the weights that then serve best among those that may stay,
and what each of them is worth.

    W' = argmin E‖W' x_snn + b' − y_ann‖² + λ‖W' − W‖²      with zeros where nothing is kept                               (1)

y_ann is what the layer gave before anything was pruned, plus the error of a branch it is added to (`Abreast.targets`). The bias takes the
means, so that C is the covariance of the spikes. λ is the one whose solution from one half of the samples serves the other best. In a
layer that keeps all its weights (1) is compensation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx

from spikeloom.compress.second_order import damped
from spikeloom.compress.worth import channel_worth, refitted, worth_of
from spikeloom.ir import Context, Program, groups_of, name_of, read, shaped, source_of, swept, weighted
from spikeloom.simulate import Abreast, Moments, add, centred, empty, merge, rows, solvable

RIDGES = (1e-2, 0.1, 1.0)
"""λ as shares of the mean variance of the inputs."""
JUDGES = 32
"""Outputs by which λ is chosen."""
SAME = 1e-9
"""A channel whose variance is a smaller share of the mean of all always sends the same."""
Masks = Mapping[str, Tensor]
"""By the name of a layer, which of its weights may be there: booleans in the weight's shape."""
Exact = Mapping[str, tuple[Tensor, Tensor | None]]


@final
@dataclass(frozen=True)
class Layer:
    """What a walk found of one layer: the `worth` of every weight for the layer's own output, the worth of its input `channels` as shares
    of that output's variance (none of a layer in groups), the `rates` at which those fire (events a step and place), at how many `places`
    of the output a weight is used, and λ."""

    worth: Float[Tensor, "o c *taps"]
    channels: Float[Tensor, " k"]
    rates: Float[Tensor, " r"]
    places: float
    ridge: float


@final
@dataclass(frozen=True)
class Walk:
    """How to walk: T steps, worth by one of `worth.WORTHS`, so many rows for each input of a layer, and the room for values (`Abreast`)."""

    timesteps: int
    worth: str
    rows_per_weight: int
    limit_bytes: int
    memory_bytes: int

    def __call__(
        self, program: Program, context: Context, kept: Masks, exact: Exact, felt: Mapping[str, Tensor] | None = None
    ) -> tuple[Program, dict[str, Layer]]:
        """The program refitted (1), where `kept` has a mask, by layer name, within it, and what was found of those layers. Errors of a
        layer's outputs count by how much the network answers to them, `felt`; else all alike."""
        both = Abreast(program, context, self.timesteps, limit_bytes=self.limit_bytes, memory_bytes=self.memory_bytes, exact=exact)
        generator, found = context.generator(), dict[str, Layer]()
        with torch.no_grad():
            for node in both.nodes("pruning layers"):
                if not weighted(node) or not solvable(node) or both.untouched(node):
                    continue
                mask = kept.get(node.name, torch.ones(both.weights(node)[0].shape, dtype=torch.bool))
                weight = both.weights(node)[0]
                answer = torch.ones(weight.shape[0]) if felt is None else felt[node.name]
                layer = self._layer(both, node, mask, answer, generator)
                if node.name in kept:
                    found[node.name] = layer
        return shaped(swept(program.replaced(graph=both.graph, tensors=both.tensors))), found

    def _layer(self, both: Abreast, node: fx.Node, mask: Tensor, felt: Tensor, generator: torch.Generator) -> Layer:
        weight, bias = (read(part) for part in both.weights(node))
        groups = groups_of(node)
        now, kept = (value.reshape(groups, weight.shape[0] // groups, -1) for value in (weight, mask))
        halves, centre = self._moments(both, node, now, bias, generator)
        felt = felt.view(now.shape[:2])
        ridge = ridge_of(now, *halves, kept, felt)
        whole = joined(*halves)
        found, power, curvature = solved(now, whole, kept, ridge)
        mean_x, mean_r = centre + whole.x / whole.count, whole.r / whole.count
        shift = mean_r - ((found - now).double() @ mean_x[..., None])[..., 0]
        both.set(node, found.reshape(weight.shape), bias + shift.flatten().to(bias))
        worth = (worth_of(found, power, curvature.to(found), self.worth) * felt[..., None]).reshape(weight.shape)
        channels = self._channels(found, curvature, centred(whole)[0], weight[0, 0].numel()) if groups == 1 else torch.zeros(0)
        places = both.exact.values[node][0][0].numel() / weight.shape[0]
        return Layer(worth, channels, rates_of(both, node), float(places), ridge)

    def _channels(self, found: Tensor, curvature: Tensor, covariance: Tensor, taps: int) -> Float[Tensor, " k"]:
        """The worth of channels; none of those that always send the same."""
        spread = covariance.diagonal(dim1=1, dim2=2).unflatten(1, (-1, taps)).sum((0, 2))
        return channel_worth(found, curvature, taps) * (spread > SAME * spread.mean())

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


def rates_of(both: Abreast, node: fx.Node) -> Float[Tensor, " c"]:
    """How often each input channel of a layer sends an event, a step and place."""
    axis = -1 if name_of(node.target).startswith("aten.linear.") else 1
    total, count = torch.zeros(()), 0
    for chunk in both.spiking.values[source_of(node)]:
        fired = (chunk != 0).movedim(axis, 0).flatten(1)
        total, count = total + fired.sum(1), count + fired.shape[1]
    return (total / max(count, 1)).float()


def joined(first: Moments, second: Moments) -> Moments:
    """The moments of both halves; the halves stay as they are."""
    groups, inputs = first.x.shape
    whole = empty(groups, inputs, first.r.shape[1])
    merge(whole, first)
    merge(whole, second)
    return whole


def solved(
    now: Float[Tensor, "g o i"], moments: Moments, kept: Bool[Tensor, "g o i"], ridge: float
) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o i"], Float[Tensor, "g i i"]]:
    """(1) with λ = `ridge`, the powers of what is kept (`worth.refitted`), and C with λ on its diagonal."""
    curvature, cross = centred(moments)
    curvature = damped(curvature, ridge)
    change = torch.cholesky_solve(cross.transpose(1, 2), torch.linalg.cholesky(curvature)).transpose(1, 2)
    found, power = refitted(now + change.to(now), curvature, kept)
    return found, power, curvature


def ridge_of(
    now: Float[Tensor, "g o i"], first: Moments, second: Moments, kept: Bool[Tensor, "g o i"], felt: Float[Tensor, "g o"]
) -> float:
    """The λ that the two halves agree on, judged by the outputs that are felt most."""
    some = felt.sum(0).argsort(descending=True, stable=True)[:JUDGES]
    halves = (outputs_of(first, some), outputs_of(second, some))

    def lost(ridge: float) -> float:
        parts = [held_out(now[:, some], one, other, kept[:, some], ridge) for one, other in (halves, halves[::-1])]
        return float(((parts[0] + parts[1]) * felt[:, some]).sum())

    return min(RIDGES, key=lost)


def held_out(now: Float[Tensor, "g o i"], one: Moments, other: Moments, kept: Bool[Tensor, "g o i"], ridge: float) -> Float[Tensor, "g o"]:
    """What a solution on one half loses on the other, less what no solution could change."""
    change = (solved(now, one, kept, ridge)[0] - now).double()
    curvature, cross = centred(other)
    return ((change @ curvature - 2 * cross) * change).sum(2)


def outputs_of(moments: Moments, some: Tensor) -> Moments:
    """The moments of some outputs."""
    return replace(moments, r=moments.r[:, some], rx=moments.rx[:, some], rr=moments.rr[:, some])
