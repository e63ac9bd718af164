"""
The scalar function that a population stands for, read from its note: the ANN's operation by name, and its further arguments.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from spikeloom.errors import ProgramError
from spikeloom.ir import evaluated, note, resolve


def float_function(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """The scalar function of the ANN that a population stands for, on tensors of the population's shape."""
    told = note(node)
    if "rows" in told:
        return evaluated(told["rows"])
    if "op" not in told:
        return _identity
    target = resolve(told["op"])
    if target is None:
        raise ProgramError(f"%{node.name} stands for an operation outside the allow-list", found=told["op"])
    if "slope" in told:
        return partial(_prelu, weight=torch.tensor(told["slope"]))
    return partial(_call, target=target, args=tuple(told.get("args", ())), kwargs=dict(told.get("kwargs", {})))


def _identity(x: Tensor) -> Tensor:
    return x


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.prelu(x, weight.to(x))


def _call(x: Tensor, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return target(x, *args, **kwargs)


def channel_function(node: fx.Node, channel: int) -> Callable[[Tensor], Tensor]:
    """The same for one channel alone, on tensors of any shape (a PReLU has a slope for each)."""
    slope = note(node).get("slope")
    if slope is None:
        return float_function(node)
    own = slope[channel if len(slope) > 1 else 0]
    return lambda x: torch.where(x > 0, x, x * own)
