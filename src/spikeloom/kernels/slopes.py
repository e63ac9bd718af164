"""
Identity staircases with their surrogate derivative, in one pass: what learning needs of a population at T = 1.

The spikes are those of `neuron.fire`, the derivative that of `neuron.passes`, bit for bit.
"""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def fire_with_slope(
    h: Float[Tensor, "b c"], step: Float[Tensor, " *c"], v0: Float[Tensor, " *c"], levels: int, negative: int
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """(o, ψ) of h + v[0] for float32 on a CPU; step and v[0] are one for all channels or one for each. No gradient flows."""
    rows, channels = h.shape
    h, step, v0 = h.contiguous(), _even(step, channels), _even(v0, channels)
    o, slope = torch.empty_like(h), torch.empty_like(h)
    places = (each.data_ptr() for each in (h, step, v0, o, slope))
    _loops().fire_with_slope(*places, float(-negative), float(levels), rows, channels)
    return o, slope


def _even(parameter: Tensor, channels: int) -> Tensor:
    return parameter if parameter.numel() == channels else parameter.expand(channels).contiguous()


@cache
def _loops() -> Any:
    """The compiled kernel; importing it takes seconds the first time, so nothing does before something is learnt."""
    from spikeloom.kernels import slope_loops

    return slope_loops
