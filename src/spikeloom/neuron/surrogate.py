"""
Surrogate gradients: the spike is a step, its derivative in training is a bump of a chosen shape and width.

    forward   s = 1[u ≥ 0],  u = h - θ                                                   (1)
    backward  ∂s/∂u := g(u; w)                                                           (2)

Every bump has unit area (it is the derivative of a smooth step from 0 to 1 of width w), except the straight-through one, which is 1.

Sources: straight-through: Bengio et al. 2013, arXiv 1308.3432. Triangle: Esser et al., PNAS 2016. Sigmoid and the general view:
Neftci et al., IEEE Signal Processing Magazine 2019. Fast sigmoid: Zenke & Ganguli, Neural Computation 2018 (SuperSpike).
Arctangent: Fang et al., ICCV 2021 (PLIF); their slope a is our w = 2/(π·a).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError


def straight_through(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """1 everywhere; the width plays no part."""
    return torch.ones_like(u)


def triangle(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """max(0, 1 - |u|/w) / w."""
    return (1 - u.abs() / width).clamp_min(0) / width


def rectangle(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """1[|u| < w/2] / w."""
    return (u.abs() < width / 2).to(u.dtype) / width


def sigmoid(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """S(u/w)·(1 - S(u/w)) / w, S the logistic function."""
    smooth = torch.sigmoid(u / width)
    return smooth * (1 - smooth) / width


def arctan(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """1 / (π·w·(1 + (u/w)²))."""
    return 1 / (math.pi * width * (1 + (u / width) ** 2))


def fast_sigmoid(u: Float[Tensor, " *any"], width: float) -> Float[Tensor, " *any"]:
    """1 / (2·w·(1 + |u|/w)²)."""
    return 1 / (2 * width * (1 + u.abs() / width) ** 2)


SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "straight_through": straight_through,
    "triangle": triangle,
    "rectangle": rectangle,
    "sigmoid": sigmoid,
    "arctan": arctan,
    "fast_sigmoid": fast_sigmoid,
}


class _Spike(torch.autograd.Function):
    """Equations (1) and (2)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: str, width: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate, ctx.width = surrogate, width
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grad_outputs[0] * SURROGATES[ctx.surrogate](u, ctx.width), None, None


def spike(h_minus_theta: Float[Tensor, " *any"], surrogate: str = "triangle", width: float = 1.0) -> Float[Tensor, " *any"]:
    """1 where the argument is ≥ 0, else 0; in the backward pass the named bump of that width, in units of the membrane."""
    if surrogate not in SURROGATES:
        raise ConfigError("unknown surrogate gradient", found=surrogate, allowed=", ".join(SURROGATES))
    if not width > 0:
        raise ConfigError("a surrogate's width must be positive", found=width)
    return _Spike.apply(h_minus_theta, surrogate, width)  # pyright: ignore[reportReturnType]
