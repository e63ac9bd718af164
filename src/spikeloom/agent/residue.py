"""
Membranes between decisions.

A decision is T steps of the network from the membranes it is given, and leaves those it ends with:

    o = 1/T Σ_t o[t],   v'[0] = clip(v[T], 0, θ)                                                  (1)

with θ the lowest step: what rounding left over is carried, not what a neuron was driven below rest, or beyond its highest level: that
would grow from decision to decision and answer for observations long past. Only populations remember (`neuron.uniform`); whatever acts
on running means starts anew at each decision, for its mean is of one observation. Rows of a batch are environments: those that begin an
episode begin at rest, v[0].

Source: Cross-Step Residual Potential Initialization (CRPI, arXiv 2601.21778).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.ir import Program, args_of, calls, kwargs_of, population
from spikeloom.neuron import Gated, init_uniform
from spikeloom.simulate import SpikingModel, State, primary

Memory = Mapping[str, Tensor]
"""Of each population its membranes [E, ...]."""


def decided(
    model: SpikingModel, x: Float[Tensor, "e ..."], memory: Memory | None, fresh: Bool[Tensor, " e"] | None, timesteps: int
) -> tuple[Float[Tensor, "e k"], Memory]:
    """(1) for observations x: the mean of the outputs over T steps, and the membranes afterwards. Rows that are `fresh` begin at rest."""
    begun = {} if memory is None else dict(memory)
    if memory is not None and fresh is not None and bool(fresh.any()):
        begun = rested(model.program, begun, fresh)
    state, total = State(0, begun), torch.zeros(())
    for _ in range(timesteps):
        output, state = model.step(x, state=state)
        total = total + primary(output)
    return total / timesteps, kept(model.program, state.memory)


def kept(program: Program, memory: Mapping[str, Any]) -> Memory:
    """What populations carry (1), without the running sums of everything else and the tally of what a gated neuron may take back."""
    carried = dict[str, Tensor]()
    for node in calls(program.graph):
        if node.target is population and node.name in memory:
            held = memory[node.name]
            v = held.v if isinstance(held, Gated) else held
            step = init_uniform(v, program.tensor(args_of(node)[1]), axis=kwargs_of(node).get("axis", 1))
            carried[node.name] = torch.minimum(v.clamp_min(0.0), step)
    return carried


def rested(program: Program, memory: Memory, fresh: Bool[Tensor, " e"]) -> Memory:
    """Memory whose `fresh` rows are at rest; the others stay as they are."""
    after = dict(memory)
    for node in calls(program.graph):
        if node.name in after:
            v0, axis = program.tensor(args_of(node)[2]), kwargs_of(node).get("axis", 1)
            held = after[node.name]
            after[node.name] = torch.where(fresh.view(-1, *[1] * (held.dim() - 1)), init_uniform(held, v0, axis=axis), held)
    return after
