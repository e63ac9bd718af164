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
from spikeloom.ir import OPERATIONS, Batches, Program, calls, kwargs_of, source_of
from spikeloom.simulate import reference

MAX_CELLS = 2**22
Inputs = tuple[Tensor, ...]


@final
@dataclass
class Observation:
    """What one population saw of its input z in the ANN: [G] ranges and moments, then counts [G, bins] between edges.

    G is the number of scale groups (channels, or one); `axis` is where they lie. It grows only through `see_range` and
    `see_histogram`.
    """

    axis: int | None
    low: Tensor
    high: Tensor
    total: Tensor
    squares: Tensor
    count: int = 0
    counts: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """E[z] per group."""
        return (self.total / max(self.count, 1)).float()

    @property
    def std(self) -> Tensor:
        """Standard deviation of z per group."""
        variance = self.squares / max(self.count, 1) - (self.total / max(self.count, 1)).square()
        return variance.clamp_min(0).sqrt().float()

    @property
    def histogram(self) -> Tensor:
        """[G, bins]: the counts; InternalError before the second pass."""
        if self.counts is None:
            raise InternalError("a histogram is read before anything was counted")
        return self.counts

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


def grouped(z: Tensor, axis: int | None) -> Tensor:
    """A value [B, …] as [G, n]: its groups first, everything else flat."""
    return z.reshape(1, -1) if axis is None else z.movedim(axis, 0).flatten(1)


def see_range(seen: Observation | None, z: Tensor, axis: int | None) -> Observation:
    """One more batch in ranges and moments."""
    rows = grouped(z, axis)
    low, high, total, squares = rows.amin(1), rows.amax(1), rows.double().sum(1), rows.double().square().sum(1)
    if seen is None:
        return Observation(axis, low, high, total, squares, rows.shape[1])
    low, high = torch.minimum(seen.low, low), torch.maximum(seen.high, high)
    return Observation(axis, low, high, seen.total + total, seen.squares + squares, seen.count + rows.shape[1])


def see_histogram(seen: Observation, z: Tensor, bins: int) -> None:
    """One more batch in the histogram; ranges are those of the first pass."""
    rows = grouped(z, seen.axis)
    groups = rows.shape[0]
    if seen.counts is None:
        seen.counts = torch.zeros(groups, bins, dtype=torch.float64, device=rows.device)
    width = ((seen.high - seen.low) / bins).clamp_min(1e-30)
    place = ((rows - seen.low[:, None]) / width[:, None]).floor_().clamp_(0, bins - 1).to(torch.int64)
    place += torch.arange(groups, device=rows.device)[:, None] * bins
    seen.counts += torch.bincount(place.flatten(), minlength=groups * bins).view(groups, bins)


@final
class Watch(fx.Interpreter):
    """Runs a program as its ANN and shows every population's input to `look`."""

    def __init__(self, program: Program, look: Callable[[str, Tensor], None]) -> None:
        super().__init__(reference(program))
        self.names = {node.name for node in calls(program.graph) if node.target in OPERATIONS.values()}
        self.look = look

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self.names:
            self.look(n.name, self.env[source_of(n)])
        return super().run_node(n)


def scale_axis(node: fx.Node, program: Program) -> int | None:
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
            if tuple(value.shape[1:]) != spec.shape[1:]:
                raise DataError(
                    "calibration data has another shape than the model takes", found=tuple(value.shape[1:]), allowed=spec.shape[1:]
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
        seen[name] = see_range(seen.get(name), z, axes[name])
        if not bool(torch.isfinite(seen[name].high - seen[name].low).all()):
            raise NumericError(f"the ANN's activation before %{name} is NaN or infinite", todo="check the weights and the preprocessing")

    def histograms(name: str, z: Tensor) -> None:
        see_histogram(seen[name], z, bins_for(nodes[name], program, seen[name].low.numel()))

    for look in (ranges, histograms):
        watch = Watch(program, look)
        for inputs in checked(batches(), program):
            with torch.no_grad():
                watch.run(*inputs)
            tick()
    return seen


def bins_for(node: fx.Node, program: Program, groups: int) -> int:
    """How many bins a population's histogram has: at least 8 a level, 2048 if memory allows."""
    options = kwargs_of(node)
    levels = options["levels"] if "levels" in options else program.tensor(node.args[1]).shape[-1]
    return max(min(max(2048, 16 * levels), MAX_CELLS // groups), 4 * levels, 256)
