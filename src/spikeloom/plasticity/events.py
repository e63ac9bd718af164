"""
Plasticity driven by events: lists of (time, neuron, level) instead of a step for every tick, the same weights to float64's accuracy.

`run_stdp` and `run_eligibility` take events at any time, on the grid of steps or between its points; `run_reward` only on the grid, since
(3) of `reward` sums over steps, and `three_factor_events` likewise. A run answers with its state, from which the next goes on as if nothing
had lain between. One stream at a time (B = 1). Traces decay when they are read (`event_loops`).

An event costs a pass over the neuron's synapses; a reward costs one over all synapses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.errors import DataError
from spikeloom.plasticity.bounds import Bounds
from spikeloom.plasticity.eligibility import Eligibility
from spikeloom.plasticity.reward import RewardSTDP
from spikeloom.plasticity.stdp import STDP
from spikeloom.plasticity.trace import decay_of

Numbers = NDArray[np.float64]
_NONE = (-np.inf, np.inf, 0.0, 0.0)


@final
@dataclass(frozen=True, eq=False)
class Events:
    """Spikes sorted by time, then neuron, none twice: times in ms, neurons, levels."""

    time_ms: Numbers
    neuron: NDArray[np.int64]
    level: Numbers

    def arrays(self, per_ms: float = 1.0) -> tuple[Numbers, NDArray[np.int64], Numbers]:
        """As the loops take them, times divided by `per_ms`."""
        return self.time_ms / per_ms, self.neuron, self.level


def events(
    time_ms: Sequence[float] | Numbers, neuron: Sequence[int] | NDArray[np.int64], level: Sequence[float] | Numbers | None = None
) -> Events:
    """Events in any order, as the loops want them: spikes of one neuron at one time are added up; without levels each is 1.

    Raises DataError for lists of different lengths, times that are no numbers, neurons below 0.
    """
    times, neurons = np.asarray(time_ms, np.float64), np.asarray(neuron, np.int64)
    levels = np.ones(len(times)) if level is None else np.asarray(level, np.float64)
    if not (times.ndim == 1 and times.shape == neurons.shape == levels.shape):
        raise DataError(
            "events need a time, a neuron and a level each", found=(times.shape, neurons.shape, levels.shape), allowed="[n] each"
        )
    if not (np.isfinite(times).all() and np.isfinite(levels).all()) or (neurons < 0).any():
        raise DataError("events with times or levels that are no numbers, or neurons below 0")
    places, which = np.unique(np.stack([times, neurons.astype(np.float64)], 1), axis=0, return_inverse=True)
    summed = np.zeros(len(places))
    np.add.at(summed, which.reshape(-1), levels)
    kept = summed != 0
    return Events(places[kept, 0].copy(), places[kept, 1].astype(np.int64), summed[kept])


def events_of(train: Float[Tensor, "t n"], dt_ms: float = 1.0) -> Events:
    """The events of a dense train, step n at n·dt_ms."""
    step, neuron = (each.numpy() for each in train.detach().cpu().nonzero(as_tuple=True))
    return Events(step * dt_ms, neuron, train.detach().cpu().double().numpy()[step, neuron])


@final
class STDPMemory(NamedTuple):
    """r₁, r₂, o₁, o₂, and the time they stand at [1], ms."""

    traces: tuple[Numbers, Numbers, Numbers, Numbers]
    seen_ms: Numbers


@final
class EligibilityMemory(NamedTuple):
    """e [out, in], x̄ [in], and the time they stand at, ms."""

    marks: Numbers
    held: Numbers
    seen_ms: tuple[Numbers, Numbers]


@final
class RewardMemory(NamedTuple):
    """e [out, in], the step each synapse stands at, dopamine (level, step), and STDP's memory with times in steps."""

    marks: Numbers
    last: Numbers
    dopamine: Numbers
    stdp: STDPMemory


def run_stdp(
    rule: STDP, weights: Float[Tensor, "o i"], pre: Events, post: Events, memory: STDPMemory | None = None
) -> tuple[Float[Tensor, "o i"], STDPMemory]:
    """The weights after these events, in the kind of those given, and what is remembered.

    Raises DataError for neurons that are not there, and for events that do not come after those remembered.
    """
    outputs, inputs = weights.shape
    check_neurons(weights, pre, post)
    w, memory = numbers_of(weights), _stdp_memory(memory, inputs, outputs)
    check_start(memory.seen_ms[0], pre.time_ms, post.time_ms)
    taus = (rule.tau_plus_ms, rule.tau_x_ms, rule.tau_minus_ms, rule.tau_y_ms)
    loops().stdp(w, *memory, pre.arrays(), post.arrays(), taus, _amounts(rule), _limits(rule.bounds), rule.nearest)
    return tensor_of(w, weights), memory


def run_eligibility(
    rule: Eligibility, inputs: int, outputs: int, pre: Events, post: Events, until_ms: float, memory: EligibilityMemory | None = None
) -> tuple[Float[Tensor, "o i"], EligibilityMemory]:
    """e at `until_ms`, float64, and what is remembered.

    Raises DataError for events later than that or not after those remembered, and for neurons that are not there.
    """
    check_neurons(torch.empty(outputs, inputs), pre, post)
    _check_end(until_ms, pre.time_ms, post.time_ms)
    if memory is None:
        memory = EligibilityMemory(np.zeros((outputs, inputs)), np.zeros(inputs), (np.full(inputs, -np.inf), np.full(outputs, -np.inf)))
    check_start(max(each.max(initial=-np.inf) for each in memory.seen_ms), pre.time_ms, post.time_ms)
    marks, held, seen = memory.marks.copy(), memory.held.copy(), tuple(each.copy() for each in memory.seen_ms)
    tau_pre = 0.0 if rule.tau_pre_ms is None else rule.tau_pre_ms
    loops().eligibility(marks, held, seen, pre.arrays(), post.arrays(), rule.tau_ms, tau_pre, rule.gain, until_ms)
    return torch.from_numpy(marks.copy()), EligibilityMemory(marks, held, (seen[0], seen[1]))


def run_reward(
    rule: RewardSTDP,
    weights: Float[Tensor, "o i"],
    pre: Events,
    post: Events,
    rewards: Events,
    until_ms: float,
    memory: RewardMemory | None = None,
) -> tuple[Float[Tensor, "o i"], RewardMemory]:
    """The weights at `until_ms`, in the kind of those given, and what is remembered; a reward is an event of neuron 0, its level the
    reward.

    Raises DataError for events off the grid of steps, later than `until_ms`, not after those remembered, or of neurons that are not there.
    """
    outputs, inputs = weights.shape
    dt_ms = rule.stdp.dt_ms
    check_neurons(weights, pre, post)
    _check_end(until_ms, pre.time_ms, post.time_ms, rewards.time_ms)
    given = [on_grid(each, dt_ms, "reward-modulated STDP") for each in (pre, post, rewards)]
    until = float(np.rint(until_ms / dt_ms))
    if memory is None:
        none, start = np.zeros((outputs, inputs)), np.full((outputs, inputs), -1.0)
        memory = RewardMemory(none, start, np.array([0.0, -1.0]), _stdp_memory(None, inputs, outputs))
    check_start(memory.last.max(initial=-1.0) * dt_ms, pre.time_ms, post.time_ms, rewards.time_ms)
    w, marks, last, dopamine = numbers_of(weights), memory.marks.copy(), memory.last.copy(), memory.dopamine.copy()
    held = _stdp_memory(memory.stdp, inputs, outputs)
    taus = tuple(tau / dt_ms for tau in (rule.stdp.tau_plus_ms, rule.stdp.tau_x_ms, rule.stdp.tau_minus_ms, rule.stdp.tau_y_ms))
    decays = (decay_of(rule.tau_eligibility_ms, dt_ms), rule.dopamine_decay)
    told = (_amounts(rule.stdp), rule.stdp.nearest, decays, rule.rate, _limits(rule.bounds), until)
    loops().reward(w, marks, last, dopamine, *held, given[0], given[1], (given[2][0], given[2][2]), taus, *told)
    return tensor_of(w, weights), RewardMemory(marks, last, dopamine, held)


def _amounts(rule: STDP) -> tuple[float, ...]:
    return (float(rule.a_plus), float(rule.a_minus), float(rule.triplet_plus), float(rule.triplet_minus))


def _limits(bounds: Bounds | None) -> tuple[float, ...]:
    return _NONE if bounds is None else (float(bounds.low), float(bounds.high), float(bounds.mu_plus), float(bounds.mu_minus))


def _stdp_memory(memory: STDPMemory | None, inputs: int, outputs: int) -> STDPMemory:
    """A copy, or one that knows nothing."""
    if memory is None:
        sizes = (inputs, inputs, outputs, outputs)
        r1, r2, o1, o2 = (np.zeros(size) for size in sizes)
        return STDPMemory((r1, r2, o1, o2), np.array([-np.inf]))
    r1, r2, o1, o2 = (trace.copy() for trace in memory.traces)
    return STDPMemory((r1, r2, o1, o2), memory.seen_ms.copy())


def on_grid(given: Events, dt_ms: float, rule: str) -> tuple[Numbers, NDArray[np.int64], Numbers]:
    """Times in whole steps, neurons, levels. DataError for events between the steps."""
    step, neuron, level = given.arrays(dt_ms)
    whole = np.rint(step)
    if len(step) and (np.abs(step - whole).max() > 1e-6 or whole[0] < 0):
        raise DataError(f"events between the steps of {rule}", allowed=f"multiples of dt_ms = {dt_ms:g}, from 0 on")
    return whole, neuron, level


def check_neurons(weights: Tensor, pre: Events, post: Events) -> None:
    """Raises DataError for events of a neuron that weights [out, in] do not have."""
    for name, given, size in (("presynaptic", pre, weights.shape[1]), ("postsynaptic", post, weights.shape[0])):
        if len(given.neuron) and int(given.neuron.max()) >= size:
            raise DataError(f"{name} events of a neuron that is not there", found=int(given.neuron.max()), allowed=f"0 to {size - 1}")


def _check_end(until_ms: float, *times_ms: Numbers) -> None:
    last = max((float(each[-1]) for each in times_ms if len(each)), default=-np.inf)
    if last > until_ms:
        raise DataError("events after the end", found=f"{last:g} ms", allowed=f"up to {until_ms:g} ms")


def check_start(known_ms: float, *times_ms: Numbers) -> None:
    """Raises DataError for events that do not come after those remembered."""
    first = min((float(each[0]) for each in times_ms if len(each)), default=np.inf)
    if first <= known_ms:
        raise DataError("events before the end of what is remembered", found=f"{first:g} ms", allowed=f"after {known_ms:g} ms")


def numbers_of(weights: Tensor) -> Numbers:
    """A copy in float64."""
    return weights.detach().cpu().double().numpy().copy()


def tensor_of(numbers: Numbers, like: Tensor) -> Tensor:
    """The numbers in the kind of `like`."""
    return torch.from_numpy(numbers).to(like)


@cache
def loops() -> Any:
    """The compiled loops; importing them takes seconds the first time, so nothing does before events come."""
    from spikeloom.plasticity import event_loops

    return event_loops
