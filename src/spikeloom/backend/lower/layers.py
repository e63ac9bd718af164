"""
Layers with weights, and pools, in whole numbers: the scales of what they read are folded into their weights.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, fx

from spikeloom.backend.lower.currents import Known, Pending, Synapses, by_channel
from spikeloom.backend.lower.routes import placed, shaped
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Quantised, argument, groups_of, name_of, read, weights_of
from spikeloom.ir.hardware import Affine, Convolution, Operation, Pool

Put = Callable[[Operation], None]
Pair = tuple[int, int]


def layer(node: fx.Node, known: Known, tensors: Mapping[str, Tensor], put: Put) -> Pending:
    """A linear layer or a convolution over one or two dimensions, of known values."""
    weight, bias = weights_of(node, tensors)
    b = np.zeros(weight.shape[0]) if bias is None else read(bias).detach().double().numpy()
    if name_of(node.target).startswith("aten.linear."):
        unit = by_channel(known.unit, known.unit.ndim - 1, node.name)
        shape, axis = (*known.shape[:-1], weight.shape[0]), known.unit.ndim - 1
        return Pending(node.name, (_synapses(weight, unit, _affine(known)),), b, axis, shape)
    groups = groups_of(node)
    flat = name_of(node.target).startswith("aten.conv1d.")
    image = shaped(f"{node.name}_image", known, (known.shape[0], 1, *known.shape[1:]), put) if flat else known
    stride, padding, dilation = (_pair(node, place, name, flat) for place, name in ((3, "stride"), (4, "padding"), (5, "dilation")))
    kernel: Pair = (1, weight.shape[-1]) if flat else (weight.shape[-2], weight.shape[-1])
    sizes = zip(image.shape[1:], kernel, stride, padding, dilation, strict=True)
    size = [(side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sizes]
    unit = np.broadcast_to(by_channel(image.unit, 0, node.name), image.shape[0])
    unit = unit.reshape(groups, -1)[np.arange(weight.shape[0]) // (weight.shape[0] // groups)]  # of each output's own inputs
    told = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Pending(node.name, (_synapses(weight, unit, _convolution(image, kernel, told)),), b, 0, (weight.shape[0], *size))


def _synapses(weight: Tensor, unit: Float[ndarray, "..."], emit: Callable[..., Operation]) -> Synapses:
    """`unit` [I] or [1], or [O, I] of a convolution: what each input is worth."""
    where = unit.reshape(*unit.shape, *[1] * (weight.dim() - 2))
    if isinstance(weight, Quantised) and weight.zero is None and weight.scale.shape[1] == 1 and np.nanmax(unit) == np.nanmin(unit):
        scale = np.broadcast_to(weight.scale[:, 0].double().numpy(), weight.shape[0])
        return Synapses(weight.codes().numpy().astype(np.int64), emit, scale * float(np.nanmax(unit)))
    return Synapses(read(weight).detach().double().numpy() * np.nan_to_num(where, nan=0.0), emit)


def _affine(known: Known) -> Callable[..., Operation]:
    return lambda name, weight, bias: Affine(name, (known.name,), weight, bias)


def _convolution(known: Known, kernel: Pair, told: dict[str, Any]) -> Callable[..., Operation]:
    def emit(name: str, weight: Int[ndarray, "o i *k"], bias: Int[ndarray, " o"] | None) -> Operation:
        return Convolution(name, (known.name,), weight.reshape(*weight.shape[:2], *kernel), bias, **told)

    return emit


def _pair(node: fx.Node, place: int, name: str, flat: bool) -> Pair:
    neutral = 0 if name == "padding" else 1
    value: Any = argument(node, place, name, neutral)
    if isinstance(value, str):
        return _same(node, value)
    given = [value] * (1 if flat else 2) if isinstance(value, int) else list(value)
    given = given * 2 if len(given) == 1 and not flat else given
    return (neutral, int(given[0])) if flat else (int(given[0]), int(given[1]))


def _same(node: fx.Node, value: str) -> Pair:
    """Padding by name; the same on both sides. Raises UnsupportedError where it is not."""
    if value == "valid":
        return (0, 0)
    shape = node.meta["weight_shape"]
    dilation: Any = argument(node, 5, "dilation", 1)
    each = [dilation] * 2 if isinstance(dilation, int) else list(dilation)
    room = [(side - 1) * d for side, d in zip(shape[-2:], each, strict=False)]
    if any(side % 2 for side in room) or len(shape) != 4:
        raise UnsupportedError("a convolution's padding is not the same on both sides", found=node.name, todo="pad it explicitly")
    return (room[0] // 2, room[1] // 2)


def pool(node: fx.Node, known: Known, put: Put) -> Known:
    """A mean or maximum over windows, or a mean over whole axes."""
    name = name_of(node.target)
    if name.startswith("aten.mean."):
        return _mean(node, known, put)
    image = known if len(known.shape) == 3 else shaped(f"{node.name}_image", known, (known.shape[0], 1, known.shape[1]), put)
    flat = image is not known
    if name.startswith("aten.adaptive_avg_pool"):
        kernel = _adaptive(node, image, flat)
        stride, padding = kernel, (0, 0)
    else:
        kernel = _pair(node, 1, "kernel_size", flat)
        given = argument(node, 2, "stride", [])
        stride = kernel if not given else _pair(node, 2, "stride", flat)
        padding = _pair(node, 3, "padding", flat)
    what = "max" if "max_pool" in name else "sum"
    size = [(side + 2 * p - k) // s + 1 for side, k, s, p in zip(image.shape[1:], kernel, stride, padding, strict=True)]
    unit = np.broadcast_to(by_channel(image.unit, 0, node.name), image.shape[0])
    if what == "max" and (unit < 0).any():
        raise UnsupportedError("a maximum of values that stand for negative ones is a minimum", found=node.name)
    put(Pool(node.name, (image.name,), what, kernel, stride, padding))
    area = kernel[0] * kernel[1] if what == "sum" else 1
    pooled = Known(node.name, np.broadcast_to((unit / area)[:, None, None], (image.shape[0], *size)))
    return shaped(f"{node.name}_row", pooled, (image.shape[0], size[1]), put) if flat else pooled


def _adaptive(node: fx.Node, image: Known, flat: bool) -> Pair:
    given: Any = argument(node, 1, "output_size")
    wanted = [given] * (1 if flat else 2) if isinstance(given, int) else list(given)
    wanted = [1, *wanted] if flat else wanted
    sizes = [side if want is None else int(want) for side, want in zip(image.shape[1:], wanted, strict=True)]
    if any(side % want for side, want in zip(image.shape[1:], sizes, strict=True)):
        todo = f"give a size that divides {image.shape[1:]}"
        raise UnsupportedError("an adaptive mean's windows have different sizes", found=f"{node.name}: {sizes}", todo=todo)
    return (image.shape[1] // sizes[0], image.shape[2] // sizes[1])


def _mean(node: fx.Node, known: Known, put: Put) -> Known:
    """A mean over axes: they are moved behind the others and summed."""
    rank = len(known.shape)
    given: Any = argument(node, 1, "dim")
    axes = sorted(axis % (rank + 1) - 1 for axis in ([given] if isinstance(given, int) else given))
    if not axes or axes[0] < 0:
        raise UnsupportedError("a mean over the samples of a batch has no place in a network", found=node.name)
    rest = [axis for axis in range(rank) if axis not in axes]
    sizes, count = [known.shape[axis] for axis in rest], math.prod(known.shape[axis] for axis in axes)
    index = np.arange(known.unit.size).reshape(known.shape).transpose(*rest, *axes).reshape(math.prod(sizes), 1, count)
    rows = placed(f"{node.name}_rows", [known], index, put)
    put(Pool(f"{node.name}_sum", (rows.name,), "sum", (1, count), (1, 1)))
    unit = by_channel(rows.unit, 0, node.name)
    total = Known(f"{node.name}_sum", np.broadcast_to((unit / count).reshape(-1, 1, 1), (math.prod(sizes), 1, 1)))
    kept = [1 if axis in axes else known.shape[axis] for axis in range(rank)] if argument(node, 2, "keepdim", False) else sizes
    return shaped(node.name, total, tuple(kept), put)


def constant_of(value: Any) -> Float[ndarray, "..."]:
    """A constant operand as an array of a sample's rank or less."""
    return torch.as_tensor(value).double().numpy()
