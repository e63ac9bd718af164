"""
The three-factor rule driven by events: what came in, gains and signals as lists of (time, neuron, level), all on the grid of steps.

    x̄ of an input and e of a neuron's synapses decay when they are read: α^k and κ^k after k steps          (1) and (2) of `three_factor`
    a gain g of neuron j      e_j ← e_j + g·x̄, one pass over its synapses
    a signal L of neuron j    w_j ← w_j + L·e_j, another; one that is shared: over all synapses

Of one step inputs count first, then gains, then signals, as in a dense step. One stream at a time (B = 1); an episode that begins is a run
without memory.
"""

from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.plasticity.events import Events, Numbers, check_neurons, check_start, loops, numbers_of, on_grid, tensor_of
from spikeloom.plasticity.three_factor import ThreeFactor


@final
class ThreeFactorMemory(NamedTuple):
    """e [out, in], x̄ [in], and the steps at which x̄ and the rows of e stand."""

    marks: Numbers
    held: Numbers
    seen: tuple[NDArray[np.float64], NDArray[np.float64]]


def run_three_factor(
    rule: ThreeFactor,
    weights: Float[Tensor, "o i"],
    pre: Events,
    gain: Events,
    signal: Events,
    *,
    dt_ms: float = 1.0,
    shared: bool = False,
    memory: ThreeFactorMemory | None = None,
) -> tuple[Float[Tensor, "o i"], ThreeFactorMemory]:
    """The weights after these events, in the kind of those given, and what is remembered; signals are of output neurons, or, where one is
    `shared` by all, of neuron 0.

    Raises DataError for events off the grid of steps, not after those remembered, or of neurons that are not there.
    """
    outputs, inputs = weights.shape
    check_neurons(weights, pre, gain)
    check_neurons(weights[:1] if shared else weights, pre, signal)
    given = [on_grid(each, dt_ms, "the three-factor rule") for each in (pre, gain, signal)]
    if memory is None:
        memory = ThreeFactorMemory(np.zeros((outputs, inputs)), np.zeros(inputs), (np.full(inputs, -1.0), np.full(outputs, -1.0)))
    check_start(max(each.max(initial=-1.0) for each in memory.seen) * dt_ms, pre.time_ms, gain.time_ms, signal.time_ms)
    w, marks, held = numbers_of(weights), memory.marks.copy(), memory.held.copy()
    seen = (memory.seen[0].copy(), memory.seen[1].copy())
    loops().three_factor(w, marks, held, seen, *given, (rule.decay, rule.pre_decay), shared)
    return tensor_of(w, weights), ThreeFactorMemory(marks, held, seen)
