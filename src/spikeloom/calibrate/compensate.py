"""
Compensation: layer by layer, in execution order, each layer is corrected for the errors of all layers before it.

The ANN and the SNN run side by side over the calibration samples (`frontier`). At a layer with weights, least squares
(`solve`) finds the change of weights and bias that brings the layer, on the spikes it really gets, closest to the
ANN; where its result is added to another branch, that branch's error is corrected too:

    min ‖(W + ΔW) x_snn + b + Δb − [y_ann + (r_ann − r_snn)]‖²        r the other branch, where it is known already   (1)

At a population the step is chosen anew, for what it really receives and what the ANN's activation really gave:

    s = argmin E[(a_ann − q_s(z_snn))²]                                                                            (2)
    values_k = E[a_ann | z_snn in cell k]      for function staircases, their thresholds fitted to z_snn           (3)

Source: (1) `solve`; (2) Li et al. 2021, arXiv 2106.06984 (MMSE threshold on the converted network's own input).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.calibrate.balance import fitted, set_step, set_table, settled
from spikeloom.calibrate.halves import Halves
from spikeloom.calibrate.observe import Observation, count, floor_of, scale_axis, see_range, watched
from spikeloom.calibrate.scale import maximum_step, mse_step
from spikeloom.calibrate.weights import exact_weights
from spikeloom.errors import ConfigError, InternalError
from spikeloom.ir import (
    OPERATIONS,
    Context,
    Dialect,
    Pass,
    Program,
    Quantised,
    constant_name,
    groups_of,
    kwargs_of,
    name_of,
    note,
    population,
    read,
    shaped,
    swept,
    weighted,
)
from spikeloom.neuron import are_shifts
from spikeloom.simulate import Abreast, decoded, driving, float_function, rows, solvable


@final
@dataclass(frozen=True)
class Compensate(Pass):
    """Corrects weights, biases and steps layer by layer. `timesteps` is the T the network is meant to run for;
    `rows_per_weight` how many positions are sampled for each unknown; `limit_bytes` bounds what is held at once (fewer
    samples are used past it, and the record says how many), `memory_bytes` how much of that is in memory and not on disk. A layer whose
    normal equations would take half of the memory is corrected from fewer rows; of a large program corrected weights go to disk."""

    timesteps: int = 1
    weights: bool = True
    rows_per_weight: int = 48
    limit_bytes: int = 8 * 2**30
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = ("Li et al. 2021, arXiv:2106.06984", "Nagel et al. 2019, arXiv:1906.04721 (bias correction)")

    def __call__(self, program: Program, context: Context) -> Program:
        work = _Work(self, program, context)
        with torch.no_grad():
            work.run()
        after = swept(program.replaced(graph=work.both.graph, tensors=work.both.tensors))
        return shaped(after).recorded(self.record(samples=work.both.samples, layers=work.layers))


@final
class _Work:
    """One run of the compensation: both networks abreast, the graph and tensors being corrected."""

    def __init__(self, options: Compensate, program: Program, context: Context) -> None:
        self.options, self.context = options, context
        self.exact = exact_weights(program, context.reference)
        room = {"limit_bytes": options.limit_bytes, "memory_bytes": options.memory_bytes}
        self.both = Abreast(program, context, options.timesteps, exact=self.exact, **room)
        self.layers: list[dict[str, Any]] = []
        self.generator = context.generator()

    def run(self) -> None:
        """Every node once, in execution order."""
        for node in self.both.nodes("compensating layers"):
            if node.target in OPERATIONS.values():
                self._population(node)
            elif weighted(node) and not self.both.untouched(node):
                (self._correct if self.options.weights and solvable(node) else self._shift)(node)

    def _correct(self, node: fx.Node) -> None:
        """(1) for one layer; weights that lie on a grid, or are pruned, are given back to where they may be."""
        before = self.both.weights(node)[0]
        weight, bias = self.exact.get(node.name) or self.both.weights(node)
        groups, inputs = groups_of(node), weight[0].numel()
        outputs = weight.shape[0] // groups
        positions = max(1, -(-self.options.rows_per_weight * inputs // self.both.samples))
        normal = 2 * 8 * inputs * (groups * inputs + weight.shape[0]) <= self.options.memory_bytes // 2
        if not normal:
            positions = min(positions, max(1, int(math.sqrt(self.options.memory_bytes / 256 / groups)) // self.both.samples))
        flat, offset = weight.reshape(groups, outputs, inputs), bias.reshape(groups, 1, outputs)
        halves = Halves(groups, inputs, outputs, normal)
        for place, (mean, target) in enumerate(zip(self.both.received(node), self.both.targets(node), strict=True)):
            x, y = rows(node, mean, target, weight, positions, self.generator)
            half = x.shape[1] // 2 if len(self.both.chunks) == 1 else x.shape[1] * (place % 2)
            halves.add(x, y - (x @ flat.transpose(1, 2) + offset), half)
        change, shift, ridge = halves.solved()
        found = change.reshape(weight.shape).to(weight.dtype).add_(weight)
        if isinstance(before, Quantised) or "pruned" in note(node):
            c, mean_x, mean_r = halves.second_moments(ridge)
            found = self._settled(node, found.reshape(flat.shape), c, before)
            change = (read(found).reshape(flat.shape) - flat).to(mean_x)
            shift = mean_r - (change @ mean_x[..., None]).squeeze(2)
        self.both.set(node, found, bias + shift.flatten().to(bias))
        self.layers.append({"node": node.name, "ridge": ridge, "rows": halves.count})

    def _settled(self, node: fx.Node, best: Tensor, curvature: Tensor, before: Tensor) -> Tensor:
        if self.context.settle is None:
            raise ConfigError(
                "weights on a grid, or pruned, are corrected with what rounds them",
                found=f"%{node.name}, and no `settle` in the context",
                todo="convert by the pipeline, or give compress.settled",
            )
        return self.context.settle(best, curvature, before, "pruned" in note(node))

    def _shift(self, node: fx.Node) -> None:
        """The mean shift alone, for layers whose rows are not known (transposed convolution)."""
        weight, bias = self.both.weights(node)
        axis = 1 if "conv" in name_of(node.target) else -1
        total, count = torch.zeros_like(bias, dtype=torch.float64), 0
        for target, given in zip(self.both.targets(node), self.both.computed(node), strict=True):
            difference = (target - decoded(given, self.options.timesteps)).movedim(axis, 0).flatten(1)
            total, count = total + difference.double().sum(1), count + difference.shape[1]
        self.both.set(node, weight, bias + (total / count).to(bias))
        self.layers.append({"node": node.name, "ridge": None, "rows": count})

    def _population(self, node: fx.Node) -> None:
        if self.options.timesteps > 1 or "known" in note(node):
            return
        function, exact = float_function(node), self.both.exact.values[node]
        meant = (lambda place, z: function(z)) if "free" in note(node) else (lambda place, z: exact[place])
        seen = self._seen(node, self.both.driving(node, self.both.spiking), meant)
        (self._rescale if node.target is population else self._refit)(node, seen)

    def _seen(self, node: fx.Node, given: list[tuple[Tensor, ...]], meant: Callable[[int, Tensor], Tensor]) -> Observation:
        """What a population receives in the SNN, and what it should make of it, over all samples."""
        axis, seen = scale_axis(node, self.both.program), None
        for values in given:
            seen = see_range(seen, watched(node, driving(values)), axis, floor_of(node))
        if seen is None:
            raise InternalError(f"%{node.name} received nothing")
        for place, values in enumerate(given):
            z = driving(values)
            count(node, self.both.program, seen, z, meant(place, z))
        return seen

    def _refit(self, node: fx.Node, seen: Observation) -> None:
        """(3) for one function population."""
        shape = self.both.tensors[constant_name(node.args[1])].shape
        shift = are_shifts(self.both.tensors[constant_name(node.args[2])])
        thresholds, values = fitted(node, seen, tuple(shape), shift=shift)
        if shift or "covers" in note(node) or note(node).get("placement") in ("two_range", "curve"):
            return set_table(node, self.both.tensors, thresholds, values)
        values = conditional_means(seen, thresholds, values)
        if kwargs_of(node)["function"] == "sqrt":  # it scales thresholds: one too low, of a cell nearly empty, would do the most harm
            values = values.clamp_min(min(float(chunk.min()) for chunk in self.both.exact.values[node]))
        return set_table(node, self.both.tensors, thresholds, values)

    def _rescale(self, node: fx.Node, seen: Observation) -> None:
        """(2) for one identity population."""
        options = kwargs_of(node)
        weights, target = seen.histogram.float(), seen.targets.float()
        if "covers" in note(node):
            return set_step(node, self.both.tensors, settled(node, maximum_step(target, weights, options["levels"])))
        step = mse_step(seen.centres, target, weights, options["levels"], options.get("negative", 0))
        return set_step(node, self.both.tensors, settled(node, step))


def conditional_means(seen: Observation, thresholds: Tensor, values: Tensor) -> Tensor:
    """(3): the mean target over each cell between thresholds; silent and nearly empty cells keep their value."""
    tables = torch.atleast_2d(values).double()
    cells = torch.searchsorted(torch.atleast_2d(thresholds).double().contiguous(), seen.centres.double().contiguous(), right=True)
    counts, masses, sums = (
        torch.zeros_like(tables).scatter_add_(1, cells, part) for part in (seen.histogram, seen.importance, seen.sum_of_targets)
    )
    known = (counts >= 8) & (tables != 0)
    return torch.where(known, sums / torch.where(masses > 0, masses, 1.0), tables).to(values).view(values.shape)
