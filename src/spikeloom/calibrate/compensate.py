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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.calibrate.balance import batches_of, fitted, set_step, set_table, settled
from spikeloom.calibrate.halves import Halves
from spikeloom.calibrate.observe import Observation, checked, count, floor_of, scale_axis, see_range, watched
from spikeloom.calibrate.scale import maximum_step, mse_step
from spikeloom.calibrate.weights import constants_of, exact_weights
from spikeloom.errors import ConfigError, DataError, InternalError
from spikeloom.ir import (
    OPERATIONS,
    Context,
    Dialect,
    Pass,
    Program,
    Quantised,
    biased,
    clone,
    constant_name,
    driven_by,
    groups_of,
    kwargs_of,
    large,
    like,
    name_of,
    note,
    on_disk,
    population,
    read,
    set_weights,
    shaped,
    shapes,
    source_of,
    swept,
    target_of,
    trim,
    weighted,
)
from spikeloom.neuron import are_shifts
from spikeloom.simulate import (
    Frontier,
    decoded,
    driving,
    executable,
    firing,
    float_function,
    repeated,
    rows,
    size_of,
    solvable,
    widest_cut,
)


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
        after = swept(program.replaced(graph=work.graph, tensors=work.tensors))
        return shaped(after).recorded(self.record(samples=work.samples, layers=work.layers))


@final
class _Work:
    """One run of the compensation: both networks at the frontier, the graph and tensors being corrected."""

    def __init__(self, options: Compensate, program: Program, context: Context) -> None:
        self.options, self.program, self.context = options, program, context
        self.graph, self.tensors = clone(program.graph), dict(program.tensors)
        self.exact = exact_weights(program, context.reference)
        self.constants = constants_of(program, self.exact)
        bound = executable(program, options.timesteps)
        self.bound, self.modules = {node.name: node for node in bound.graph.nodes}, dict(bound.named_modules())
        memory = options.memory_bytes // 2
        self.ann, self.snn = (Frontier(self.graph, memory, context.scratch) for _ in range(2))
        self.large = large(program)
        self.layers: list[dict[str, Any]] = []
        self.generator = context.generator()
        self.chunks = self._samples()
        self.samples = sum(chunk[0].shape[0] for chunk in self.chunks)

    def _samples(self) -> list[tuple[Tensor, ...]]:
        """As many calibration batches as the widest cut of the graph leaves room for."""
        chunks: list[tuple[Tensor, ...]] = []
        taken, room, size = 0, 1, 1
        for inputs in checked(batches_of(self.context)(), self.program):
            if not chunks:
                room, size = self._room(inputs)
            for part in zip(*(value.split(size) for value in inputs), strict=True):
                if taken < room:
                    chunks.append(tuple(value[: room - taken] for value in part))
                    taken += chunks[-1][0].shape[0]
            if taken >= room:
                break
        if taken < 2:
            raise DataError("compensation needs at least two samples", found=taken, todo="give more calibration data")
        return chunks

    def _room(self, inputs: tuple[Tensor, ...]) -> tuple[int, int]:
        """How many samples like these there is room for, and how many run at once."""
        specs = shapes(self.program, [value[:2].shape for value in inputs]) if any(spec.lengths for spec in self.program.inputs) else None
        cut, widest = widest_cut(self.graph, specs), max(size_of(node, specs) for node in self.graph.nodes)
        room = self.options.limit_bytes // max(4 * cut * (1 + self.options.timesteps), 1)
        return max(room, 16), min(max(self.options.memory_bytes // 16 // max(4 * widest * self.options.timesteps, 1), 1), 64)

    def run(self) -> None:
        """Every node once, in execution order."""
        nodes = [node for node in self.graph.nodes if node.op != "output"]
        place = 0
        for done, node in enumerate(nodes):
            if node.op == "placeholder":
                self.ann.put(node, [chunk[place] for chunk in self.chunks])
                self.snn.put(node, [repeated(chunk[place], self.options.timesteps) for chunk in self.chunks])
                place += 1
            elif node.op == "get_attr":
                held = self.tensors[constant_name(node)]
                self.ann.put(node, [self.constants.get(constant_name(node), held)])
                self.snn.put(node, [held])
            elif node.target in OPERATIONS.values():
                self._population(node)
            else:
                self._operation(node)
            self.context.progress("compensating layers", done + 1, len(nodes))
            self.ann.drop_before(node)
            self.snn.drop_before(node)
            if self.large and weighted(node):
                trim()

    def _spiking(self, node: fx.Node) -> Iterator[Any]:
        """What the SNN gives at a node, per chunk: by the operation itself, or by what binding to T made of it."""
        bound = self.bound[node.name]
        if bound.op == "call_module":
            module = self.modules[str(bound.target)]
            return (module(*values) for values in self.snn.operands(node))
        return self.snn.call(node, target_of(bound))

    def _operation(self, node: fx.Node) -> None:
        self.ann.put(node, self.ann.call(node, target_of(node)))
        if weighted(node) and self.options.weights and solvable(node) and not self._untouched(node):
            self._correct(node)
        elif weighted(node) and not self._untouched(node):
            self._shift(node)
        self.snn.put(node, self._spiking(node))

    def _untouched(self, node: fx.Node) -> bool:
        """Whether the layer reads the network's input itself: there is no error to correct yet."""
        return all(operand.op in ("placeholder", "get_attr") for operand in node.all_input_nodes)

    def _targets(self, node: fx.Node) -> Iterable[Tensor]:
        """What the layer should give: the ANN's value, plus the error of the branch it is added to. (1)"""
        targets = self.ann.values[node]
        users = list(node.users)
        if len(users) != 1 or not name_of(users[0].target).startswith("aten.add.Tensor") or users[0].kwargs.get("alpha", 1) != 1:
            return targets
        others = [operand for operand in users[0].args if isinstance(operand, fx.Node) and operand is not node]
        other = others[0] if len(others) == 1 else None
        if other is None or other not in self.snn.values or other.op != "call_function":
            return targets
        pairs = list(zip(self.ann.values[other], self.snn.values[other], strict=True))
        if pairs[0][0].shape != targets[0].shape:
            return targets
        return (y + (a - decoded(s, self.options.timesteps)) for y, (a, s) in zip(targets, pairs, strict=True))

    def _correct(self, node: fx.Node) -> None:
        """(1) for one layer; weights that lie on a grid, or are pruned, are given back to where they may be."""
        before = self._weights(node)[0]
        weight, bias = self.exact.get(node.name) or self._weights(node)
        groups, inputs = groups_of(node), weight[0].numel()
        outputs = weight.shape[0] // groups
        positions = max(1, -(-self.options.rows_per_weight * inputs // self.samples))
        normal = 2 * 8 * inputs * (groups * inputs + weight.shape[0]) <= self.options.memory_bytes // 2
        received, targets = self.snn.values[source_of(node)], self._targets(node)
        if not normal:
            positions = min(positions, max(1, int(math.sqrt(self.options.memory_bytes / 256 / groups)) // self.samples))
        flat, offset = weight.reshape(groups, outputs, inputs), bias.reshape(groups, 1, outputs)
        halves = Halves(groups, inputs, outputs, normal)
        for place, target in enumerate(targets):
            mean = decoded(received[place], self.options.timesteps)
            x, y = rows(node, mean, target, weight, positions, self.generator)
            half = x.shape[1] // 2 if len(self.chunks) == 1 else x.shape[1] * (place % 2)
            halves.add(x, y - (x @ flat.transpose(1, 2) + offset), half)
        change, shift, ridge = halves.solved()
        found = change.reshape(weight.shape).to(weight.dtype).add_(weight)
        if isinstance(before, Quantised) or "pruned" in note(node):
            c, mean_x, mean_r = halves.second_moments(ridge)
            found = self._settled(node, found.reshape(flat.shape), c, before)
            change = (read(found).reshape(flat.shape) - flat).to(mean_x)
            shift = mean_r - (change @ mean_x[..., None]).squeeze(2)
        self._set(node, found, bias + shift.flatten().to(bias))
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
        weight, bias = self._weights(node)
        axis = 1 if "conv" in name_of(node.target) else -1
        total, count = torch.zeros_like(bias, dtype=torch.float64), 0
        for target, given in zip(self._targets(node), self.snn.call(node, target_of(node)), strict=True):
            difference = (target - decoded(given, self.options.timesteps)).movedim(axis, 0).flatten(1)
            total, count = total + difference.double().sum(1), count + difference.shape[1]
        self._set(node, weight, bias + (total / count).to(bias))
        self.layers.append({"node": node.name, "ridge": None, "rows": count})

    def _weights(self, node: fx.Node) -> tuple[Tensor, Tensor]:
        return biased(node, self.tensors)

    def _set(self, node: fx.Node, weight: Tensor, bias: Tensor) -> None:
        before = self._weights(node)[0]
        if weight is not before:
            weight = weight if isinstance(weight, Quantised) else like(weight, before)
            weight = on_disk(weight, self.context.scratch) if self.large else weight
        set_weights(node, self.graph, self.tensors, weight, bias)
        for operand in node.args[1:3]:
            if isinstance(operand, fx.Node):
                self.snn.put(operand, [self.tensors[constant_name(operand)]])

    def _population(self, node: fx.Node) -> None:
        function, drivers = float_function(node), driven_by(node)
        exact, given = (list(zip(*(side.values[each] for each in drivers), strict=True)) for side in (self.ann, self.snn))
        self.ann.put(node, (function(driving(values)) for values in exact))
        if self.options.timesteps == 1 and "known" not in note(node):
            meant = (lambda place, z: function(z)) if "free" in note(node) else (lambda place, z: self.ann.values[node][place])
            seen = self._seen(node, given, meant)
            (self._rescale if node.target is population else self._refit)(node, seen)
        self.snn.put(node, map(firing(node, self.tensors, self.options.timesteps), given))

    def _seen(self, node: fx.Node, given: list[tuple[Tensor, ...]], meant: Callable[[int, Tensor], Tensor]) -> Observation:
        """What a population receives in the SNN, and what it should make of it, over all samples."""
        axis, seen = scale_axis(node, self.program), None
        for values in given:
            seen = see_range(seen, watched(node, driving(values)), axis, floor_of(node))
        if seen is None:
            raise InternalError(f"%{node.name} received nothing")
        for place, values in enumerate(given):
            z = driving(values)
            count(node, self.program, seen, z, meant(place, z))
        return seen

    def _refit(self, node: fx.Node, seen: Observation) -> None:
        """(3) for one function population."""
        shape = self.tensors[constant_name(node.args[1])].shape
        shift = are_shifts(self.tensors[constant_name(node.args[2])])
        thresholds, values = fitted(node, seen, tuple(shape), shift=shift)
        if shift or "covers" in note(node) or note(node).get("placement") == "two_range":
            return set_table(node, self.tensors, thresholds, values)
        values = conditional_means(seen, thresholds, values)
        if kwargs_of(node)["function"] == "sqrt":  # it scales thresholds: one too low, of a cell nearly empty, would do the most harm
            values = values.clamp_min(min(float(chunk.min()) for chunk in self.ann.values[node]))
        return set_table(node, self.tensors, thresholds, values)

    def _rescale(self, node: fx.Node, seen: Observation) -> None:
        """(2) for one identity population."""
        options = kwargs_of(node)
        weights, target = seen.histogram.float(), seen.targets.float()
        if "covers" in note(node):
            return set_step(node, self.tensors, settled(node, maximum_step(target, weights, options["levels"])))
        step = mse_step(seen.centres, target, weights, options["levels"], options.get("negative", 0))
        return set_step(node, self.tensors, settled(node, step))


def conditional_means(seen: Observation, thresholds: Tensor, values: Tensor) -> Tensor:
    """(3): the mean target over each cell between thresholds; silent and nearly empty cells keep their value."""
    tables = torch.atleast_2d(values).double()
    cells = torch.searchsorted(torch.atleast_2d(thresholds).double().contiguous(), seen.centres.double().contiguous(), right=True)
    counts, masses, sums = (
        torch.zeros_like(tables).scatter_add_(1, cells, part) for part in (seen.histogram, seen.importance, seen.sum_of_targets)
    )
    known = (counts >= 8) & (tables != 0)
    return torch.where(known, sums / torch.where(masses > 0, masses, 1.0), tables).to(values).view(values.shape)
