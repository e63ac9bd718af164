"""
Observers: what every population would see in the ANN, streamed.

Two passes over the calibration batches: ranges and moments first, then one histogram per scale group. Memory is fixed
by the number of groups and bins, whatever the number of samples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import DataError, InternalError, NumericError
from spikeloom.ir import OPERATIONS, Batches, Program, args_of, calls, driven_by, kwargs_of, note, target_of
from spikeloom.neuron import Axis, by_channel
from spikeloom.simulate import driving, reference

MAX_CELLS = 2**20
ALL_CELLS = 2**26
"""Bins of one population, and of all together: 512 MiB of counts."""
MASKED = -1e9
"""Below it a score is masked: no neuron's thresholds are chosen for it."""
SILENT = {"exp": -30.0}
"""Functions that are 0 for every purpose below some input, and that input."""
UNSEEN = {**SILENT, "log": 1e-30}
"""Functions whose input may lie where they have no use, or no value, and where that ends: a row of silent neurons sums up to 0."""
Inputs = tuple[Tensor, ...]


@final
@dataclass
class Observation:
    """What one population saw of its input z in the ANN: [G] ranges and moments, then counts [G, bins] between edges.

    G is the number of scale groups (channels, or one); `axis` is where they lie. It grows only through `see_range` and
    `see_histogram`.
    """

    axis: Axis | None
    low: Tensor
    high: Tensor
    total: Tensor
    squares: Tensor
    count: int | Tensor = 0
    counts: Tensor | None = None
    sums: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """E[z] per group."""
        return (self.total / self._seen).float()

    @property
    def std(self) -> Tensor:
        """Standard deviation of z per group."""
        variance = self.squares / self._seen - (self.total / self._seen).square()
        return variance.clamp_min(0).sqrt().float()

    @property
    def _seen(self) -> Tensor:
        return torch.as_tensor(self.count).clamp_min(1)

    @property
    def histogram(self) -> Tensor:
        """[G, bins]: the counts; InternalError before the second pass."""
        if self.counts is None:
            raise InternalError("a histogram is read before anything was counted")
        return self.counts

    @property
    def sum_of_targets(self) -> Tensor:
        """[G, bins]: the sums of what should come of the inputs in each bin; InternalError before the second pass."""
        if self.sums is None:
            raise InternalError("targets are read before anything was counted")
        return self.sums

    @property
    def targets(self) -> Tensor:
        """[G, bins]: the mean of what should come of the inputs in each bin, 0 where there were none."""
        return self.sum_of_targets / self.histogram.clamp_min(1)

    @property
    def centres(self) -> Tensor:
        """[G, bins]: the middle of every bin."""
        bins = self.histogram.shape[1]
        return self.low[:, None] + (self.high - self.low)[:, None] * (torch.arange(bins, device=self.low.device) + 0.5) / bins

    @property
    def edges(self) -> Tensor:
        """[G, bins + 1]: where bins begin and end, ascending in float64 also where a group's input never changes (a pruned channel)."""
        bins, low = self.histogram.shape[1], self.low.double()
        span = (self.high.double() - low).clamp_min(1e-9)
        return low[:, None] + span[:, None] * torch.arange(bins + 1, device=low.device) / bins


def see_range(seen: Observation | None, z: Tensor, axis: Axis | None, floor: float = MASKED) -> Observation:
    """One more batch in ranges and moments; what lies below `floor` (a masked score) is not looked at."""
    rows = by_channel(z, axis)
    count: int | Tensor = rows.shape[1]
    low, high, kept = rows.amin(1), rows.amax(1), rows.double()
    if bool((low < floor).any()):
        visible = rows >= floor
        low, count = rows.masked_fill(~visible, torch.inf).amin(1), visible.sum(1)
        kept = kept.masked_fill(~visible, 0.0)
    total, squares = kept.sum(1), kept.square().sum(1)
    if seen is None:
        return Observation(axis, low, high, total, squares, count)
    low, high = torch.minimum(seen.low, low), torch.maximum(seen.high, high)
    return Observation(axis, low, high, seen.total + total, seen.squares + squares, seen.count + count)


def see_histogram(seen: Observation, z: Tensor, bins: int, target: Tensor | None = None) -> None:
    """One more batch in the histogram; ranges are those of the first pass, and what lies below them is not counted. With `target`,
    of the shape of z, what a population should give there is summed up bin by bin."""
    rows = by_channel(z, seen.axis)
    groups = rows.shape[0]
    if seen.counts is None:
        seen.counts = torch.zeros(groups, bins, dtype=torch.float64, device=rows.device)
        seen.sums = None if target is None else torch.zeros_like(seen.counts)
    width = ((seen.high - seen.low) / bins).clamp_min(1e-30)
    place = (rows - seen.low[:, None]).div_(width[:, None]).clamp_(0, bins - 1).to(torch.int64)
    place += torch.arange(groups, device=rows.device)[:, None] * bins
    whole = bool((rows.amin(1) >= seen.low).all())
    visible = torch.empty(0) if whole else rows >= seen.low[:, None]
    place = place.flatten() if whole else place[visible]
    seen.counts += torch.bincount(place, minlength=groups * bins).view(groups, bins)
    if target is not None:
        values = by_channel(target, seen.axis)
        values = (values.flatten() if whole else values[visible]).double()
        seen.sums = seen.sum_of_targets + torch.bincount(place, values, minlength=groups * bins).view(groups, bins)


@final
class Watch(fx.Interpreter):
    """Runs a program as its ANN and shows every population's input to `look`."""

    def __init__(self, program: Program, look: Callable[[str, Tensor], None]) -> None:
        super().__init__(reference(program))
        self.names = {node.name for node in calls(program.graph) if node.target in OPERATIONS.values()}
        self.look = look

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self.names:
            self.look(n.name, driving([self.env[operand] for operand in driven_by(n)]))
        return super().run_node(n)


def scale_axis(node: fx.Node, program: Program) -> Axis | None:
    """The axis a population's scale groups lie on; None where one scale (or table) serves all."""
    single = 0 if "levels" in node.kwargs else 1
    return kwargs_of(node).get("axis", 1) if program.tensor(node.args[1]).dim() > single else None


def checked(batches: Iterable[Any], program: Program) -> Iterator[Inputs]:
    """The batches as tuples of tensors, each checked: shape and finite numbers; an empty stream is a DataError."""
    seen = False
    for batch in batches:
        inputs: Inputs = batch if isinstance(batch, tuple) else (batch,)
        if len(inputs) != len(program.inputs):
            allowed = ", ".join(spec.name for spec in program.inputs)
            raise DataError("calibration data has another number of inputs than the model", found=len(inputs), allowed=allowed)
        for value, spec in zip(inputs, program.inputs, strict=True):
            if not spec.fits((spec.shape[0], *value.shape[1:])):
                raise DataError(
                    "calibration data has another shape than the model takes", found=tuple(value.shape[1:]), allowed=spec.sample
                )
            if not bool(torch.isfinite(value).all()):
                raise DataError("calibration data holds NaN or infinite numbers", found=spec.name, todo="clean the data")
        seen = True
        yield inputs
    if not seen:
        raise DataError("there is no calibration data", found="an empty stream", todo="give at least one batch")


def observe(program: Program, batches: Batches, tick: Callable[[], None]) -> Mapping[str, Observation]:
    """What each population of a spiking program sees in the ANN, by node name; two passes over the batches.

    Raises NumericError where an activation is NaN or infinite, naming the first.
    """
    nodes = {node.name: node for node in calls(program.graph) if node.target in OPERATIONS.values()}
    axes = {name: scale_axis(node, program) for name, node in nodes.items()}
    seen: dict[str, Observation] = {}

    def ranges(name: str, z: Tensor) -> None:
        seen[name] = see_range(seen.get(name), watched(nodes[name], z), axes[name], floor_of(nodes[name]))
        if not bool(torch.isfinite(seen[name].high - seen[name].low).all()):
            raise NumericError(f"the ANN's activation before %{name} is NaN or infinite", todo="check the weights and the preprocessing")

    def histograms(name: str, z: Tensor) -> None:
        node, groups = nodes[name], len(seen[name].low)
        fair = ALL_CELLS // sum(len(observed.low) for observed in seen.values())
        bins = min(bins_for(node, program, groups), max(fair, 4 * levels_of(node, program)))
        see_histogram(seen[name], watched(node, z), bins)

    for look in (ranges, histograms):
        watch = Watch(program, look)
        for inputs in checked(batches(), program):
            with torch.no_grad():
                watch.run(*inputs)
            tick()
    return seen


def watched(node: fx.Node, z: Tensor) -> Tensor:
    """What a population's thresholds are chosen for: its input z, or, where a maximum alone reads it, those maxima in its place. What
    lies far below them needs no levels: a masked score, be it −∞ or −100."""
    if "covers" not in note(node):
        return z
    reader = next(iter(node.users))
    return target_of(reader)(z, args_of(reader)[1], True).expand_as(z)


def floor_of(node: fx.Node) -> float:
    """The input below which a population's thresholds are chosen for nothing."""
    return UNSEEN.get(str(node.kwargs.get("function")), MASKED)


def bins_for(node: fx.Node, program: Program, groups: int) -> int:
    """How many bins a population's histogram has: at least 8 a level, 2048 if memory allows."""
    levels = levels_of(node, program)
    return max(min(max(2048, 16 * levels), MAX_CELLS // groups), 4 * levels, 256)


def levels_of(node: fx.Node, program: Program) -> int:
    """The levels of a population, of a table its thresholds."""
    options = kwargs_of(node)
    return options["levels"] if "levels" in options else program.tensor(node.args[1]).shape[-1]
