"""
The critic: what return the agent expects, from spiking neurons with fixed random wires and a readout that learns by a local rule.

    x = 2·arsinh((o − μ)/σ')·A + c,  φ = SFN(max(x, 0)),  V(o) = w·φ                                     (1)
    δ = (1 − γ)·r + γ·V(o') − V(o)                                                                       (2)
    Δw = η·(G − V)·φ / Σ φ²                     G the target, V + Σ (γλ)^k δ                             (3)

arsinh keeps what lies far outside of the usual in sight: a critic that cannot see the edge of the track calls the way there safe. The
factor 1 − γ makes V a mean reward, of the size of one. (3) is divisive normalisation of the presynaptic rates (NLMS), whose step needs no
tuning. Targets of past windows are learnt again, as far as they are remembered (replay).

Sources: Sutton & Barto, 2nd ed., 12 (TD(λ)); Barto, Sutton & Anderson 1983 (a critic beside an actor); Widrow & Hoff 1960, Nagumo & Noda
1967 (normalised LMS); Rahimi & Recht 2008 (random features).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.neuron import fire_

LEVELS = 31
"""Levels of the critic's neurons."""


@final
class Wires(NamedTuple):
    """What of a critic does not learn: where and how wide each observation lies [d], A [d, n], c [n], the height of a level."""

    centre: Tensor
    width: Tensor
    weight: Tensor
    bias: Tensor
    step: Tensor


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
        flat = observations.flatten(1)
        size = flat.shape[1]
        weight = torch.randn(size, self.neurons, generator=generator) * (2 / size**0.5)
        bias = 4 * torch.rand(self.neurons, generator=generator) - 2
        width = flat.std(0).clamp_min(1e-6)
        rest = Wires(flat.mean(0), width, weight, bias, torch.ones(()))
        reach = (_encoded(flat, rest)).clamp_min(0).quantile(0.999) if flat.numel() < 1 << 16 else _encoded(flat[:256], rest).amax()
        return CriticState(rest._replace(step=(2 * reach / LEVELS).clamp_min(1e-3)), torch.zeros(self.neurons + 1))

    def features(self, state: CriticState, observations: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """φ of (1), and a 1."""
        spikes = fire_(_encoded(observations.flatten(1), state.wires), state.wires.step, LEVELS, 0, 1)
        return torch.cat([spikes, torch.ones(len(spikes), 1)], 1)

    def learnt(
        self, state: CriticState, features: Float[Tensor, "n f"], targets: Float[Tensor, " n"], generator: torch.Generator
    ) -> CriticState:
        """The critic after (3) on this window and those remembered."""
        kept = (*state.remembered, (features, targets))[-self.windows :]
        seen, wanted = torch.cat([pair[0] for pair in kept]), torch.cat([pair[1] for pair in kept])
        readout, energy = state.readout.clone(), seen.square().sum(1)
        order = torch.randperm(len(seen), generator=generator)  # one for all replays: shuffling costs more than learning
        parts = list(zip(*(each[order].split(self.batch) for each in (seen, wanted, energy)), strict=True))
        for phi, goal, size in parts * self.replays:
            readout.addmv_(phi.T, torch.addmv(goal, phi, readout, alpha=-1).mul_(self.rate / float(size.sum())))  # (3)
        return CriticState(state.wires, readout, kept)


def _encoded(flat: Float[Tensor, "n d"], wires: Wires) -> Float[Tensor, "n f"]:
    """x of (1)."""
    return torch.addmm(wires.bias, (2 * (flat - wires.centre) / wires.width).asinh(), wires.weight)
