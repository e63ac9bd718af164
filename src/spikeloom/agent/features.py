"""
Features of observations: spiking neurons with fixed random wires, that a readout learns from.

    x = 2·arsinh((o − μ)/σ)·A + c,  φ = SFN(max(x, 0))                                                   (1)

arsinh keeps what lies far outside of the usual in sight: a critic that cannot see the edge of the track calls the way there safe. What
fires at most so many levels is bounded: whatever reads it cannot say something wild where nothing was ever seen.

Source: Rahimi & Recht 2008 (random features).
"""

from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.neuron import fire_

LEVELS = 31
"""Levels of these neurons."""


@final
class Wires(NamedTuple):
    """What of a critic or a forward model does not learn: where and how wide each observation lies [d], A [d, n], c [n], the height of a
    level."""

    centre: Tensor
    width: Tensor
    weight: Tensor
    bias: Tensor
    step: Tensor


def wires_for(observations: Float[Tensor, "n d"], neurons: int, generator: torch.Generator) -> Wires:
    """Random wires to so many neurons, whose levels reach over what observations as these make of them."""
    size = observations.shape[1]
    weight = torch.randn(size, neurons, generator=generator) * (2 / size**0.5)
    bias = 4 * torch.rand(neurons, generator=generator) - 2
    width = observations.std(0).clamp_min(1e-6)
    rest = Wires(observations.mean(0), width, weight, bias, torch.ones(()))
    few = observations.numel() < 1 << 16
    reach = encoded(observations, rest).clamp_min(0).quantile(0.999) if few else encoded(observations[:256], rest).amax()
    return rest._replace(step=(2 * reach / LEVELS).clamp_min(1e-3))


def encoded(observations: Float[Tensor, "n d"], wires: Wires) -> Float[Tensor, "n f"]:
    """x of (1)."""
    return torch.addmm(wires.bias, (2 * (observations - wires.centre) / wires.width).asinh(), wires.weight)


def spikes_of(observations: Float[Tensor, "n d"], wires: Wires) -> Float[Tensor, "n f"]:
    """φ of (1)."""
    return fire_(encoded(observations, wires), wires.step, LEVELS, 0, 1)
