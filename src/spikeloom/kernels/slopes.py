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
    _kernel()(
        h.data_ptr(), step.data_ptr(), v0.data_ptr(), o.data_ptr(), slope.data_ptr(), float(-negative), float(levels), rows, channels
    )  # fmt: skip
    return o, slope


def _even(parameter: Tensor, channels: int) -> Tensor:
    return parameter if parameter.numel() == channels else parameter.expand(channels).contiguous()


@cache
def _kernel() -> Any:
    """The compiled kernel; importing it takes seconds the first time, so nothing does before something is learnt."""
    from spikeloom.kernels.loops import fire_with_slope

    return fire_with_slope
