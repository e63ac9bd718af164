"""
Fan-out: how many weights each element of a linear operation's input meets.

It is the gradient of Σ y with respect to x where all weights are 1, padding and strides included; pools count windows.       (1)
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from spikeloom.ir import argument, name_of, target_of

_ONE_EACH = ("aten.mean", "aten.sum", "aten.neg", "aten.batch_norm", "aten.cumsum")
_SCALES = ("aten.mul.", "aten.div.")


def fan_out(node: fx.Node, args: tuple[Any, ...], place: int) -> Tensor:
    """How many weights each element of operand `place` meets: [1, …] like the operand for one sample. (1)"""
    name = name_of(node.target)
    probe = torch.ones_like(args[place][:1], requires_grad=True)
    if name.startswith("aten.adaptive_avg"):
        return _windows(probe.shape, args[1]).to(probe)
    if name.startswith(_ONE_EACH):
        return probe.detach()
    if name.startswith(_SCALES):  # each value meets as many constants as it is broadcast to
        shapes = [value[:1].shape if place == at else value.shape for at, value in enumerate(args[:2]) if isinstance(value, Tensor)]
        return probe.detach() * (math.prod(torch.broadcast_shapes(*shapes)) // probe.numel())
    ones = [torch.ones_like(value) if isinstance(value, Tensor) and value.is_floating_point() else value for value in args]
    ones[place] = probe
    with torch.enable_grad():
        pools = name.startswith("aten.avg_pool")
        total = (_window_sums(node, probe) if pools else target_of(node)(*ones, **node.kwargs)).sum()
        (gradient,) = torch.autograd.grad(total, probe)
    return gradient.round()


def _window_sums(node: fx.Node, x: Tensor) -> Tensor:
    """The sum over every window of an average pool of 1 to 3 dimensions, whatever the average divides by."""
    dimensions = x.dim() - 2
    before = [1] * (3 - dimensions)
    kernel = [*before, *_of_each(argument(node, 1, "kernel_size"), dimensions)]
    stride = [*before, *_of_each(argument(node, 2, "stride") or kernel[-dimensions:], dimensions)]
    padding = [0 for _ in before] + _of_each(argument(node, 3, "padding", 0), dimensions)
    volume = x.reshape(*x.shape[:2], *before, *x.shape[2:])
    return torch.ops.aten.avg_pool3d(volume, kernel, stride, padding, argument(node, 4, "ceil_mode", False), True, 1)


def _of_each(value: int | list[int], dimensions: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values if len(values) == dimensions else values * dimensions


def _windows(shape: Sequence[int], sizes: int | list[int]) -> Tensor:
    """How many windows of an adaptive pool each value [1, C, …] lies in: output o covers ⌊o·n/m⌋ up to ⌈(o+1)·n/m⌉."""
    found = torch.ones(tuple(shape))
    for axis, m in enumerate(_of_each(sizes, len(shape) - 2), start=2):
        n, along = shape[axis], [1] * len(shape)
        along[axis] = n
        met = [sum(o * n // m <= i < -(-(o + 1) * n // m) for o in range(m)) for i in range(n)]
        found = found * torch.tensor(met, dtype=found.dtype).view(along)
    return found
