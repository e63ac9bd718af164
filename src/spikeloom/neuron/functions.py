"""
The scalar functions that function staircases approximate, by the names of their ATen operations, with the arguments those take.

Every entry maps a tensor to one of its shape, element by element.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spikeloom.errors import UnsupportedError


def prelu(x: Tensor, weight: float) -> Tensor:
    """PReLU of one channel, whose slope below zero is `weight`."""
    return torch.where(x > 0, x, weight * x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh formula (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    return torch.nn.functional.gelu(x, approximate="tanh")


def identity(x: Tensor) -> Tensor:
    """The input itself: a receiver that only discretises."""
    return x


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "abs": torch.ops.aten.abs,
    "celu": torch.ops.aten.celu,
    "clamp": torch.ops.aten.clamp,
    "elu": torch.ops.aten.elu,
    "erf": torch.ops.aten.erf,
    "exp": torch.ops.aten.exp,
    "gelu": torch.ops.aten.gelu,
    "gelu_tanh": gelu_tanh,
    "hardsigmoid": torch.ops.aten.hardsigmoid,
    "hardswish": torch.ops.aten.hardswish,
    "hardtanh": torch.ops.aten.hardtanh,
    "identity": identity,
    "leaky_relu": torch.ops.aten.leaky_relu,
    "log": torch.ops.aten.log,
    "log_sigmoid": torch.ops.aten.log_sigmoid,
    "mish": torch.ops.aten.mish,
    "pow": torch.ops.aten.pow,
    "prelu": prelu,
    "reciprocal": torch.ops.aten.reciprocal,
    "relu": torch.ops.aten.relu,
    "relu6": torch.ops.aten.relu6,
    "rsqrt": torch.ops.aten.rsqrt,
    "selu": torch.ops.aten.selu,
    "sigmoid": torch.ops.aten.sigmoid,
    "sign": torch.ops.aten.sign,
    "silu": torch.ops.aten.silu,
    "softplus": torch.ops.aten.softplus,
    "sqrt": torch.ops.aten.sqrt,
    "square": torch.ops.aten.square,
    "tanh": torch.ops.aten.tanh,
}


KNOWN: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {"sign": ((0.0, torch.finfo(torch.float32).tiny), (-1.0, 0.0, 1.0))}
"""Functions that are staircases themselves, with their thresholds and values: nothing of them is left to calibrate."""


def scalar_function(name: str) -> Callable[..., Tensor]:
    """The function of that name; an unknown one is an error that lists the known."""
    if name not in FUNCTIONS:
        raise UnsupportedError("no function staircase is known for this operation", found=name, allowed=", ".join(FUNCTIONS))
    return FUNCTIONS[name]
