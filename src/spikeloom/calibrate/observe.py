"""
Observers: what every population would see in the ANN, streamed.

Two passes over the calibration batches: ranges and moments first, then one histogram per scale group. Memory is fixed
by the number of groups and bins, whatever the number of samples.

An error of a square, or of a square root, is judged by the size of the row it belongs to (`importance`): what comes of them divides
that row, and rows of a norm may differ in size by orders of magnitude (a class token beside patches, the first token of a text).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import InternalError, NumericError
from spikeloom.ir import OPERATIONS, Batches, Program, args_of, calls, checked, driven_by, kwargs_of, name_of, note, target_of
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
SUMS = ("aten.mean.dim", "aten.sum.dim_IntList")
NARROWEST = 1e-12  # the least part of its range from which logarithmic bins start
FAINTEST = 1e-4  # the least part of the mean square that a row counts as
FINE_BINS = 1 << 16
Inputs = tuple[Tensor, ...]


@final
@dataclass
class Observation:
    """What one population saw of its input z in the ANN: [G] ranges and moments, then counts [G, bins] between edges.

    G is the number of scale groups (channels, or one); `axis` is where they lie. Bins are equal in z, or in log z where
    `logarithmic`; `masses` are the counts, each entry by its importance. It grows only through `see_range` and `see_histogram`.
    """

    axis: Axis | None
    low: Tensor
    high: Tensor
    total: Tensor
    squares: Tensor
    count: int | Tensor = 0
    counts: Tensor | None = None
    sums: Tensor | None = None
    masses: Tensor | None = None
    logarithmic: bool = False

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
    def importance(self) -> Tensor:
        """[G, bins]: the masses, which are the counts where all entries count alike; InternalError before the second pass."""
        return self.histogram if self.masses is None else self.masses

    @property
    def sum_of_targets(self) -> Tensor:
        """[G, bins]: the sums of what should come of the inputs in each bin, by importance; InternalError before the second pass."""
        if self.sums is None:
            raise InternalError("targets are read before anything was counted")
        return self.sums

    @property
    def targets(self) -> Tensor:
        """[G, bins]: the mean of what should come of the inputs in each bin, 0 where there were none."""
        return self.sum_of_targets / torch.where(self.importance > 0, self.importance, 1.0)

    @property
    def centres(self) -> Tensor:
        """[G, bins]: the middle of every bin."""
        bins = self.histogram.shape[1]
        if self.logarithmic:
            return (self.edges[:, 1:] * self.edges[:, :-1]).sqrt().float()
        return self.low[:, None] + (self.high - self.low)[:, None] * (torch.arange(bins, device=self.low.device) + 0.5) / bins

    @property
    def edges(self) -> Tensor:
        """[G, bins + 1]: where bins begin and end, ascending in float64 also where a group's input never changes (a pruned channel)."""
        bins, low = self.histogram.shape[1], self.floor.double()
        span = (self.ceiling.double() - low).clamp_min(1e-9)
        edges = low[:, None] + span[:, None] * torch.arange(bins + 1, device=low.device) / bins
        return edges.exp() if self.logarithmic else edges

    @property
    def floor(self) -> Tensor:
        """[G]: where the bins begin, on the scale that they are equal on."""
        return self.low.clamp_min((self.high * NARROWEST).clamp_min(1e-30)).log() if self.logarithmic else self.low

    @property
    def ceiling(self) -> Tensor:
        """[G]: where the bins end, on the scale that they are equal on."""
        return self.high.clamp_min(1e-30).log() if self.logarithmic else self.high


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


def see_histogram(seen: Observation, z: Tensor, bins: int, target: Tensor | None = None, weights: Tensor | None = None) -> None:
    """One more batch in the histogram; ranges are those of the first pass, and what lies below them is not counted. With `target`,
    of the shape of z, what a population should give there is summed up bin by bin; `weights` are the importances."""
    rows = by_channel(z, seen.axis)
    groups = rows.shape[0]
    if seen.counts is None:
        seen.counts = torch.zeros(groups, bins, dtype=torch.float64, device=rows.device)
        seen.sums = None if target is None else torch.zeros_like(seen.counts)
        seen.masses = None if weights is None else torch.zeros_like(seen.counts)
    width = ((seen.ceiling - seen.floor) / bins).clamp_min(1e-30)
    scaled = rows.clamp_min(1e-30).log() if seen.logarithmic else rows
    place = (scaled - seen.floor[:, None]).div_(width[:, None]).clamp_(0, bins - 1).to(torch.int64)
    place += torch.arange(groups, device=rows.device)[:, None] * bins
    whole = bool((rows.amin(1) >= seen.low).all())
    visible = torch.empty(0) if whole else rows >= seen.low[:, None]
    place = place.flatten() if whole else place[visible]

    def summed(value: Tensor | None) -> Tensor:
        values = None if value is None else by_channel(value, seen.axis)
        kept = None if values is None else (values.flatten() if whole else values[visible]).double()
        return torch.bincount(place, kept, minlength=groups * bins).view(groups, bins)

    seen.counts += summed(None)
    if seen.masses is not None and weights is not None:
        seen.masses += summed(weights)
    if target is not None:
        seen.sums = seen.sum_of_targets + summed(target if weights is None else target * weights)


def importance(node: fx.Node, z: Tensor, seen: Observation) -> Tensor | None:
    """How much an error of a population counts at each of its inputs; None where all count alike.

    A square that is summed up over a row counts by (M/m)², with m the row's mean square, M that of all: the sum's relative error is
    what matters. A square root of v counts by 1/v, for the same reason.
    """
    readers = list(node.users)
    if node.kwargs.get("function") == "sqrt":
        return (seen.high.max() / z.clamp_min(1e-30)).clamp_max(1 / NARROWEST)
    if not is_square(node) or len(readers) != 1 or name_of(readers[0].target) not in SUMS or seen.low.numel() != 1:
        return None
    own, everywhere = z.square().mean(args_of(readers[0])[1], keepdim=True), (seen.squares / seen.count).to(z.dtype)
    return (everywhere / own.clamp_min(everywhere.clamp_min(1e-30) * FAINTEST)).square().expand_as(z)


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
        fair = ALL_CELLS // sum(len(observed.low) for observed in seen.values())
        count(nodes[name], program, seen[name], z, most=fair)

    for look in (ranges, histograms):
        watch = Watch(program, look)
        for inputs in checked(batches(), program):
            with torch.no_grad():
                watch.run(*inputs)
            tick()
    return seen


def count(node: fx.Node, program: Program, seen: Observation, z: Tensor, target: Tensor | None = None, *, most: int | None = None) -> None:
    """One more batch [B, …] of a population's input in its histogram, with what it should make of it; of at most `most` bins a group,
    but four a level."""
    z = watched(node, z)
    seen.logarithmic = node.kwargs.get("function") == "sqrt"
    bins = bins_for(node, program, seen.low.numel())
    bins = bins if most is None else min(bins, max(most, 4 * levels_of(node, program)))
    see_histogram(seen, z, bins, None if target is None else watched(node, target), importance(node, z, seen))


def is_square(node: fx.Node) -> bool:
    """Whether a population squares its input, however the model spelled it."""
    function, about = node.kwargs.get("function"), note(node)
    twice = [["aten.mul.Tensor", [{"row": -1}, {"row": -1}], {}]]
    return function == "square" or (function == "pow" and about.get("args") == [2]) or (function == "scalar" and about.get("rows") == twice)


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
    """How many bins a population's histogram has: at least 8 a level, 2048 if memory allows; more for squares of rows of all sizes."""
    levels = levels_of(node, program)
    least = FINE_BINS if is_square(node) else 2048
    return max(min(max(least, 16 * levels), MAX_CELLS // groups), 4 * levels, 256)


def levels_of(node: fx.Node, program: Program) -> int:
    """The levels of a population, of a table its thresholds."""
    options = kwargs_of(node)
    return options["levels"] if "levels" in options else program.tensor(node.args[1]).shape[-1]
