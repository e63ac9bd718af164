"""
The critic: what return the agent expects, from spiking neurons with fixed random wires and a readout that learns by a local rule.

    V(o) = w·φ,  φ of `features`                                                                         (1)
    δ = (1 − γ)·r + γ·V(o') − V(o)                                                                       (2)
    Δw = η·(G − V)·φ / Σ φ²                     G the target, V + Σ (γλ)^k δ                             (3)

The factor 1 − γ makes V a mean reward, of the size of one. (3) is divisive normalisation of the presynaptic rates (NLMS), whose step needs
no tuning. Targets of past windows are learnt again, as far as they are remembered (replay).

Sources: Sutton & Barto, 2nd ed., 12 (TD(λ)); Barto, Sutton & Anderson 1983 (a critic beside an actor); Widrow & Hoff 1960, Nagumo & Noda
1967 (normalised LMS).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.agent.features import Wires, spikes_of, wires_for


@final
@dataclass(frozen=True)
class CriticState:
    """What a critic knows: its wires, w [n + 1], and the windows that it learns again: features and targets."""

    wires: Wires
    readout: Float[Tensor, " n1"]
    remembered: tuple[tuple[Tensor, Tensor], ...] = ()


@final
@dataclass(frozen=True)
class Critic:
    """How a critic learns; equations as above."""

    neurons: int = 256
    rate: float = 1.0  # η
    replays: int = 10
    windows: int = 8
    batch: int = 128

    def init(self, observations: Float[Tensor, "n d"], generator: torch.Generator) -> CriticState:
        """A critic that expects nothing, for observations as these."""
        return CriticState(wires_for(observations.flatten(1), self.neurons, generator), torch.zeros(self.neurons + 1))

    def features(self, state: CriticState, observations: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """φ of (1), and a 1."""
        spikes = spikes_of(observations.flatten(1), state.wires)
        return torch.cat([spikes, torch.ones(len(spikes), 1)], 1)

    def learnt(
        self, state: CriticState, features: Float[Tensor, "n f"], targets: Float[Tensor, " n"], generator: torch.Generator
    ) -> CriticState:
        """The critic after (3) on this window and those remembered."""
        kept = (*state.remembered, (features, targets))[-self.windows :]
        seen, wanted = torch.cat([pair[0] for pair in kept]), torch.cat([pair[1] for pair in kept])
        readout = state.readout.clone()
        order = torch.randperm(len(seen), generator=generator)  # one for all replays: shuffling costs more than learning
        numbers = (np.float32(state.wires.step), np.float32(self.rate), self.batch, self.replays)
        _learn()(*(each.numpy() for each in (readout, seen, wanted, order)), *numbers)
        return CriticState(state.wires, readout, kept)


@cache
def _learn() -> Any:
    """The compiled loop; importing it takes seconds the first time, so nothing does before something is learnt."""
    from spikeloom.agent.critic_loops import learn

    return learn
