"""
Threshold balancing: every population gets its thresholds from the distribution of its input in the ANN.

Identity staircases get a step (`scale`), function staircases the thresholds and heights that serve the distribution
best (`neuron.fit_staircases`). The initial potential is half a step, so that the staircase rounds instead of truncating.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx
from torch.nn.functional import pad

from spikeloom.calibrate.observe import SILENT, Observation, observe
from spikeloom.calibrate.scale import METHODS, hmt_step, maximum_step, mse_step, percentile_step
from spikeloom.errors import ConfigError
from spikeloom.ir import OPERATIONS, Context, Dialect, Pass, Program, batches_of, calls, constant_name, kwargs_of, note, population
from spikeloom.neuron import FUNCTIONS, fit_curves, fit_shift_staircase, fit_staircases, fit_two_range, on_grid
from spikeloom.simulate import channel_function, float_function

UNSHIFTED = frozenset({"identity", "log", "sqrt"})
"""Functions whose heights may not be 0, or are read by what needs more of them than there are powers."""


def step_of(node: fx.Node, seen: Observation, method: str, percentile: float, timesteps: int) -> Tensor:
    """The step of an identity population by one of `scale.METHODS`: [G], capped where the ANN's activation is (ReLU6).

    With T time steps a population of N levels a step has N·T levels to carry its mean, and half a step's potential to
    spread over T; the step is chosen for that resolution.
    """
    options = kwargs_of(node)
    levels, negative = options["levels"] * timesteps, options.get("negative", 0) * timesteps
    z, weights = seen.centres, seen.histogram.float()
    target = float_function(node)(z) if "slope" not in note(node) else z
    if method == "maximum" or "covers" in note(node):
        step = maximum_step(target, weights, levels)
    elif method == "percentile":
        step = percentile_step(target, weights, levels, percentile)
    elif method == "hmt":
        step = hmt_step(seen.mean, seen.std, levels, negative)
    else:
        step = mse_step(z, target, weights, levels, negative)
    return settled(node, step * timesteps)


def settled(node: fx.Node, step: Tensor) -> Tensor:
    """Steps [G] of an identity population, N of them at most the cap of the ANN's activation (ReLU6).

    Groups that never were active get the smallest step of the others, so that they stay finite and silent.
    """
    cap = note(node).get("cap")
    step = step if cap is None else step.clamp(max=float(cap) / kwargs_of(node)["levels"])
    alive = step > 1e-9
    return torch.where(alive, step, step[alive].min() if bool(alive.any()) else torch.ones(()))


def balanced(
    program: Program, seen: Mapping[str, Observation], method: str, percentile: float, timesteps: int, shifts: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The program's tensors with thresholds in all populations."""
    tensors = dict(program.tensors)
    for node in calls(program.graph):
        if node.target is population:
            set_step(node, tensors, step_of(node, seen[node.name], method, percentile, timesteps))
        elif node.target in OPERATIONS.values() and "known" not in note(node):
            set_table(node, tensors, *table_of(node, program, seen[node.name], shifts))
    return tensors


def set_step(node: fx.Node, tensors: dict[str, Tensor], step: Tensor) -> None:
    """Give an identity population its step ([G], or one for all), and half of it as initial potential."""
    name, v0 = (constant_name(operand) for operand in node.args[1:3])
    tensors[name] = step.reshape(tensors[name].shape)
    tensors[v0] = tensors[name] / 2


def set_table(node: fx.Node, tensors: dict[str, Tensor], thresholds: Tensor, values: Tensor) -> None:
    """Give a function population its thresholds and heights."""
    for operand, table in zip(node.args[1:3], (thresholds, values), strict=True):
        tensors[constant_name(operand)] = table


def table_of(node: fx.Node, program: Program, seen: Observation, shifts: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """The best staircases for a population's function and input, one per scale group: thresholds and one value more, one of them 0;
    heights are powers of two where the function is among `shifts`."""
    return fitted(node, seen, program.tensor(node.args[1]).shape, shift=kwargs_of(node)["function"] in shifts)


def silence(function: Callable[[Tensor], Tensor], *, root: bool = False) -> float | None:
    """0, the value where a neuron is silent; None for a function that must not reach it: a square root scales thresholds, and
    where its own bound keeps a function above 0, max(x, ε) guards a division."""
    lowest = float(function(torch.tensor(-torch.inf, dtype=torch.float64)))
    return None if root or 0 < lowest < torch.inf else 0.0


def fitted(node: fx.Node, seen: Observation, shape: Sequence[int], *, shift: bool = False) -> tuple[Tensor, Tensor]:
    """Staircases of `shape` [K] or [C, K] for the population's function on what it saw, padded to K thresholds; 0 is among their
    values where the function may be 0. What is masked stays silent however narrow the range of the scores that were seen: a row of
    nearly equal ones has weights nowhere near 0, and gets a threshold for it. One more sample is taken to lie anywhere in the range seen
    (Laplace's rule): where samples are few, the gaps between them get levels too."""
    if "covers" in note(node):
        return covering(seen, shape)
    if note(node).get("placement") == "two_range":
        return fitted_two_range(node, seen, shape)
    if is_curve(node) and not shift:
        return fitted_curves(node, seen, shape)
    levels, function, masses = shape[-1], functions_of(node), seen.importance + 1 / seen.importance.shape[1]
    if shift:
        return fitted_shifts(node, seen.edges, masses, shape)
    thresholds, values = fit_staircases(
        function, seen.edges, masses, levels, pin=silence(channel_function(node, 0), root=node.kwargs.get("function") == "sqrt")
    )
    loud = torch.nonzero(values[:, 0] != 0).flatten()
    if (floor := SILENT.get(str(node.kwargs.get("function")))) is not None and len(loud):
        rest = fit_staircases(lambda h, which: function(h, loud[which]), seen.edges[loud], masses[loud], levels - 1)
        thresholds[loud] = pad(rest[0], (1, 0), value=floor)
        values[loud] = pad(rest[1], (1, 0))
    thresholds, values = on_grid(thresholds.float()), values.float()
    return (thresholds, values) if len(shape) > 1 else (thresholds[0], values[0])


def fitted_two_range(node: fx.Node, seen: Observation, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`fitted` for an identity, clipped or not, whose levels lie in two ranges."""
    signed = bool(note(node)["signed"])
    levels = shape[-1] // 2 if signed else shape[-1]
    thresholds, values = fit_two_range(float_function(node), seen.edges, seen.histogram, levels, signed=signed)
    thresholds, values = on_grid(thresholds.float()), values.float()
    return (thresholds, values) if len(shape) > 1 else (thresholds[0], values[0])


def is_curve(node: fx.Node) -> bool:
    """Whether a population's levels lie along a curve."""
    return note(node).get("placement") == "curve"


def fitted_curves(node: fx.Node, seen: Observation, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`fitted` for levels along a curve: heights are what the curve says, so that a run may compute them."""
    about = note(node)
    power, signed = about["curve"] == "power", bool(about["signed"])
    levels = shape[-1] if power or not signed else shape[-1] // 2
    masses = seen.importance + 1 / seen.importance.shape[1]
    even = kwargs_of(node)["function"] in ("square", "pow")
    found = fit_curves(float_function(node), seen.edges, masses, levels, kind=about["curve"], signed=signed, centred=even)
    thresholds, values = (part.float() for part in found)
    return (thresholds, values) if len(shape) > 1 else (thresholds[0], values[0])


def fitted_shifts(node: fx.Node, edges: Tensor, masses: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`fitted` with heights that are powers of two, or 0; fewer of them where a function that turns back would need more thresholds."""
    room, tables = shape[-1], list[tuple[Tensor, Tensor]]()
    for channel, (edge, mass) in enumerate(zip(edges, masses, strict=True)):
        function = channel_function(node, channel)
        thresholds, values = fit_shift_staircase(function, (edge, mass), levels := room)
        while len(thresholds) > room:
            thresholds, values = fit_shift_staircase(function, (edge, mass), levels := levels - 1)
        more = room - len(thresholds)
        tables.append((pad(thresholds, (0, more), value=torch.inf), torch.cat([values, values[-1:].expand(more)])))
    thresholds, values = (torch.stack(part).float() for part in zip(*tables, strict=True))
    thresholds = on_grid(thresholds)
    return (thresholds, values) if len(shape) > 1 else (thresholds[0], values[0])


def functions_of(node: fx.Node) -> Callable[[Tensor, slice | Tensor], Tensor]:
    """The population's function of inputs [c, n] of some of its channels (a PReLU has a slope for each)."""
    function, slope = float_function(node), note(node).get("slope")
    if slope is None:
        return lambda h, _: function(h)
    own = torch.tensor(slope, dtype=torch.float64)[:, None]
    return lambda h, which: torch.where(h > 0, h, h * (own[which] if len(own) > 1 else own))


def covering(seen: Observation, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Equally spaced levels from the least to the most that was seen, each the middle of its cell."""
    share = torch.arange(1, shape[-1] + 1) / (shape[-1] + 1)
    span = (seen.high - seen.low).clamp_min(1e-6)[:, None]
    thresholds = on_grid(seen.low[:, None] + span * share)
    values = seen.low[:, None] + span * (torch.arange(shape[-1] + 1) + 0.5) / (shape[-1] + 1)
    return (thresholds, values) if len(shape) > 1 else (thresholds[0], values[0])


@final
@dataclass(frozen=True)
class Balance(Pass):
    """Gives every population its thresholds. `method` is one of mse, maximum, percentile (with `percentile`), hmt;
    `timesteps` is the T they are chosen for; functions named in `shifts` ("exp" for the weights of attention) get heights that are
    powers of two: what their spikes are multiplied with is shifted."""

    method: str = "mse"
    percentile: float = 99.9
    timesteps: int = 1
    shifts: tuple[str, ...] = ()

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"neurons"})
    papers: ClassVar[tuple[str, ...]] = (
        "Diehl et al. 2015, doi:10.1109/IJCNN.2015.7280696",
        "Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682",
        "Li et al. 2021, arXiv:2106.06984",
        "H-MT, AAAI 2026",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            context.progress("observing activations", done, 0)

        self.check()
        return self.of(program, observe(program, batches_of(context), tick))

    def check(self) -> None:
        """Raises ConfigError for options that choose no thresholds."""
        if self.method not in METHODS:
            raise ConfigError("calibration.method is unknown", found=self.method, allowed=", ".join(METHODS))
        if not 0 < self.percentile <= 100:
            raise ConfigError("calibration.percentile is out of range", found=self.percentile, allowed="above 0, at most 100")
        if unknown := sorted(set(self.shifts) - (FUNCTIONS.keys() - UNSHIFTED)):
            allowed = ", ".join(sorted(FUNCTIONS.keys() - UNSHIFTED))
            raise ConfigError("calibration.shifts names no function that powers of two can stand for", found=unknown, allowed=allowed)

    def of(self, program: Program, seen: Mapping[str, Observation]) -> Program:
        """The program with the thresholds for what its populations have seen."""
        tensors = balanced(program, seen, self.method, self.percentile, self.timesteps, self.shifts)
        one_sided = {node.name for node in calls(program.graph) if node.target is population and not kwargs_of(node).get("negative", 0)}
        dead = [name for name, observed in seen.items() if name in one_sided and bool((observed.high <= 0).all())]
        return program.replaced(tensors=tensors).recorded(self.record(populations=len(seen), silent=dead, histograms=summaries(seen)))


def summaries(seen: Mapping[str, Observation], bins: int = 48) -> dict[str, Any]:
    """A small histogram of each population's input over all groups together, for the report."""
    out: dict[str, Any] = {}
    for name, observed in seen.items():
        low, high = float(observed.low.min()), float(observed.high.max())
        place = ((observed.centres - low) / max(high - low, 1e-30) * bins).floor().clamp(0, bins - 1).to(torch.int64)
        counts = torch.zeros(bins, dtype=torch.float64).index_add_(0, place.flatten(), observed.histogram.flatten())
        width = (high - low) / bins
        out[name] = {"edges": [low + width * k for k in range(bins + 1)], "counts": counts.tolist()}
    return out
