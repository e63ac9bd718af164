"""
Exponential traces: what a neuron remembers of its spikes, one number each.

    x[t] = a·x[t−1] + s[t]             a = exp(−Δt/τ)      all-to-all: every spike counts                   (1)
    x[t] = s[t] where s[t] ≠ 0, else a·x[t−1]              nearest neighbour: only the last spike counts    (2)

A spike may be of several levels: k counts as k spikes at one moment in (1), and leaves k behind in (2); one below 0 takes back. A trace
halves every τ·ln 2. The decay is exact for any step.

Source: Morrison, Diesmann, Gerstner 2008, Biological Cybernetics 98, 459 (traces and the spikes they pair).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.refusing import refuse_unless_positive


def decay_of(tau_ms: float, dt_ms: float) -> float:
    """exp(−dt/τ): what is left after one step; 1 for an infinite τ."""
    refuse_unless_positive("a decay", tau_ms=tau_ms, dt_ms=dt_ms)
    return math.exp(-dt_ms / tau_ms)


def half_life_ms(tau_ms: float) -> float:
    """The time after which half of a trace is left: τ·ln 2."""
    return tau_ms * math.log(2)


def marked(decayed: Float[Tensor, " *any"], spikes: Float[Tensor, " *any"], nearest: bool) -> Float[Tensor, " *any"]:
    """Traces, already decayed, with this step's spikes: (1) or (2)."""
    return torch.where(spikes != 0, spikes, decayed) if nearest else decayed + spikes


@final
@dataclass(frozen=True)
class Trace:
    """The parameters of (1), or of (2) where `nearest`."""

    tau_ms: float
    dt_ms: float = 1.0
    nearest: bool = False

    def __post_init__(self) -> None:
        refuse_unless_positive("a trace", tau_ms=self.tau_ms, dt_ms=self.dt_ms)

    @property
    def decay(self) -> float:
        """a, per step."""
        return decay_of(self.tau_ms, self.dt_ms)

    def init(self, batch: int, neurons: int, like: Tensor | None = None) -> Float[Tensor, "b n"]:
        """No spikes so far; of the kind and on the device of `like` where it is given."""
        return torch.zeros(batch, neurons) if like is None else like.new_zeros(batch, neurons)

    def step(self, trace: Float[Tensor, "b n"], spikes: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The trace after this step's spikes, which it holds."""
        return marked(self.decay * trace, spikes, self.nearest)
