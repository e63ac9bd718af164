"""
Layers with weights, and pools, in whole numbers: the scales of what they read are folded into their weights.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, fx

from spikeloom.backend.lower.currents import Known, Pending, Synapses, by_channel
from spikeloom.backend.lower.neurons import WHOLE, off_grid
from spikeloom.backend.lower.routes import placed, shaped
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Grid, Quantised, argument, groups_of, name_of, note, quantised, read, weights_of
from spikeloom.ir.hardware import Affine, Convolution, Operation, Pool, Route

Put = Callable[[Operation], None]
Pair = tuple[int, int]
WORTH = "worth"
"""A note of a grounded layer: what one whole weight of each output channel adds to its current."""


class Settling(NamedTuple):
    """A layer's weight as whole numbers stand for it, by how much rounding moved its bias, and what a whole weight of each row adds."""

    weight: Tensor
    moved: Tensor
    worth: Float[ndarray, " o"]


Settled = dict[str, Settling]
"""By a layer's name."""
CODES = 127
"""The largest whole weight that a grid holds on either side."""


def layer(node: fx.Node, known: Known, tensors: Mapping[str, Tensor], put: Put, settled: Settled) -> Pending:
    """A linear layer or a convolution over one or two dimensions, of known values. Once its weights are whole, `settled` holds what they
    stand for, by the layer's name."""
    weight, bias = weights_of(node, tensors)
    b = np.zeros(weight.shape[0]) if bias is None else read(bias).detach().double().numpy()
    if name_of(node.target).startswith("aten.linear."):
        unit = by_channel(known.unit, known.unit.ndim - 1, node.name)
        shape, axis = (*known.shape[:-1], weight.shape[0]), known.unit.ndim - 1
        return Pending(node.name, (_synapses(node, weight, unit, _affine(known), settled),), b, axis, shape)
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
    shape = (weight.shape[0], size[1]) if flat else (weight.shape[0], *size)
    synapses = _synapses(node, weight, unit, _convolution(image, kernel, told, shape), settled)
    return Pending(node.name, (synapses,), b, 0, shape)


def _synapses(
    node: fx.Node, weight: Tensor, unit: Float[ndarray, "..."], emit: Callable[..., tuple[Operation, ...]], settled: Settled
) -> Synapses:
    """`unit` [I] or [1], or [O, I] of a convolution: what each input is worth."""
    rows = np.broadcast_to(np.nan_to_num(unit, nan=1.0), weight.shape[:2])

    def written(codes: Int[ndarray, "o *i"], worth: Float[ndarray, " o"], moved: Float[ndarray, " o"]) -> None:
        settled[node.name] = Settling(_written(codes, worth[:, None] / rows, weight), torch.from_numpy(moved).to(weight.dtype), worth)

    folded = read(weight).detach().double().numpy() * rows.reshape(*rows.shape, *[1] * (weight.dim() - 2))
    worth = _worth(node, weight, rows)
    if worth is None:
        return Synapses(folded, emit, written)
    exact = folded / worth.reshape(-1, *[1] * (folded.ndim - 1))
    if (np.abs(off_grid(exact)) > WHOLE * np.maximum(np.abs(exact), 1)).any():
        return Synapses(folded, emit, written)  # the weights were changed since
    return Synapses(np.rint(exact).astype(np.int64), emit, written, worth)


def _worth(node: fx.Node, weight: Tensor, rows: Float[ndarray, "o i"]) -> Float[ndarray, " o"] | None:
    """What a whole weight of each row adds to the current, where the weights are whole already: as grounding noted it, or as the scales of
    a grid say where they fit the inputs' units."""
    if WORTH in note(node):
        return np.asarray(note(node)[WORTH], dtype=np.float64)
    if not isinstance(weight, Quantised) or weight.zero is not None:
        return None
    scale = weight.scale.double().numpy()
    each = np.repeat(np.broadcast_to(scale, (len(rows), scale.shape[1])), max(rows.shape[1] // scale.shape[1], 1), 1)
    worth = each * rows if each.shape == rows.shape else np.zeros((1, 0))
    return worth[:, 0] if worth.size and (np.ptp(worth, 1) <= 1e-5 * np.abs(worth[:, 0])).all() else None


def _written(codes: Int[ndarray, "o *i"], scale: Float[ndarray, "o i"], like: Tensor) -> Tensor:
    """The weight that these codes are at a scale for each output and input: on a grid, where they fit one."""
    top = int(np.abs(codes).max(initial=1))
    if top > CODES:
        return torch.from_numpy(codes * scale.reshape(*scale.shape, *[1] * (codes.ndim - 2))).to(like.dtype)
    alike = bool((np.ptp(scale, 1) <= 1e-9 * scale[:, 0]).all())
    kept = torch.from_numpy(np.ascontiguousarray(scale[:, :1] if alike else scale)).to(like.dtype)
    grid = Grid(*((-1, 1) if top == 1 else (-8, 7) if top < 8 else (-128, 127)), None if alike else codes[0, 0].size)
    error = like.error if isinstance(like, Quantised) else None
    return quantised(torch.from_numpy(codes).to(torch.int8), kept, grid, error=error)


def _affine(known: Known) -> Callable[..., tuple[Operation, ...]]:
    return lambda name, weight, bias: (Affine(name, (known.name,), weight, bias),)


def _convolution(known: Known, kernel: Pair, told: dict[str, Any], shape: tuple[int, ...]) -> Callable[..., tuple[Operation, ...]]:
    """A convolution of pictures; over one dimension, of pictures of one row, which become rows again."""

    def emit(name: str, weight: Int[ndarray, "o i *k"], bias: Int[ndarray, " o"] | None) -> tuple[Operation, ...]:
        whole = weight.reshape(*weight.shape[:2], *kernel)
        if len(shape) == 3:
            return (Convolution(name, (known.name,), whole, bias, **told),)
        row = f"{name}_picture"
        return Convolution(row, (known.name,), whole, bias, **told), Route(name, (row,), shape)

    return emit


def _pair(node: fx.Node, place: int, name: str, flat: bool) -> Pair:
    neutral = 0 if name == "padding" else 1
    value: Any = argument(node, place, name, neutral)
    if isinstance(value, str):
        return _named(node, value, flat)
    given = [value] * (1 if flat else 2) if isinstance(value, int) else list(value)
    given = given * 2 if len(given) == 1 and not flat else given
    return (neutral, int(given[0])) if flat else (int(given[0]), int(given[1]))


def room_of(node: fx.Node, shape: tuple[int, ...]) -> list[int]:
    """How much the padding "same" adds along each dimension of a convolution with a weight of this shape, both sides together."""
    dilation: Any = argument(node, 5, "dilation", 1)
    each = [dilation] if isinstance(dilation, int) else list(dilation)
    each = each * (len(shape) - 2) if len(each) == 1 else each
    return [(side - 1) * d for side, d in zip(shape[2:], each, strict=True)]


def _named(node: fx.Node, value: str, flat: bool) -> Pair:
    """Padding by name: none, or the same on both sides (`obstacles` refuses what is not)."""
    room = [0, 0] if value == "valid" else room_of(node, node.meta["weight_shape"])
    return (0, room[0] // 2) if flat else (room[0] // 2, room[1] // 2)


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
    return (image.shape[1] // sizes[0], image.shape[2] // sizes[1])


def _mean(node: fx.Node, known: Known, put: Put) -> Known:
    """A mean over axes: they are moved behind the others and summed."""
    rank = len(known.shape)
    given: Any = argument(node, 1, "dim")
    axes = sorted(axis % (rank + 1) - 1 for axis in ([given] if isinstance(given, int) else given))
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
