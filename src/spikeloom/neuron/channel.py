"""
Parameters along channels: one number for a whole population (0-dim), or one per channel ([C]). Channels lie on one axis, or on
several together: heads and their features, axis (1, 3) of [B, H, L, D], are H·D channels, the later axis running fastest.
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Scalar = float | Float[Tensor, ""]
Parameter = float | Float[Tensor, ""] | Float[Tensor, " c"]
"""A neuron parameter: a Python number, a 0-dim tensor, or a tensor of one entry per channel."""
Axis = int | tuple[int, ...]


def axes_of(axis: Axis, like: Tensor) -> tuple[int, ...]:
    """The axes of `like` that channels lie on, counted from the front."""
    return tuple(place % like.ndim for place in ((axis,) if isinstance(axis, int) else axis))


def channel_shape(axis: Axis, like: Tensor) -> list[int]:
    """The shape in which a parameter [C] broadcasts over `like`."""
    axes = axes_of(axis, like)
    return [size if place in axes else 1 for place, size in enumerate(like.shape)]


def along(parameter: Tensor, axis: Axis, like: Float[Tensor, " *any"]) -> Tensor:
    """`parameter` ([] or [C]) in the dtype of `like`, shaped so that it broadcasts over `like` with C on `axis`."""
    return spread(parameter.to(like.dtype), axis, like)


def spread(parameter: Shaped[Tensor, " *c"], axis: Axis, like: Shaped[Tensor, " *any"]) -> Tensor:
    """`parameter` ([] or [C]) shaped so that it broadcasts over `like` with C on `axis`."""
    last = axis in (-1, like.ndim - 1)
    return parameter if last or parameter.ndim == 0 else parameter.view(channel_shape(axis, like))


def by_channel(x: Shaped[Tensor, " *any"], axis: Axis | None) -> Shaped[Tensor, "c n"]:
    """A value as one row a channel, [C, n]; a single row where `axis` is None, or lies behind the value's, as that of a parameter which all
    share may."""
    if axis is None or (isinstance(axis, int) and axis >= x.ndim):
        return x.reshape(1, -1)
    axes = axes_of(axis, x)
    moved = x.movedim(axes, tuple(range(len(axes))))
    return moved.reshape(math.prod(moved.shape[: len(axes)]), -1)


def from_channels(rows: Shaped[Tensor, "c n"], axis: Axis | None, like: Tensor) -> Tensor:
    """What `by_channel` made of a value shaped like `like`, in that shape again."""
    if axis is None:
        return rows.view(like.shape)
    axes = axes_of(axis, like)
    sizes = [like.shape[a] for a in axes] + [size for place, size in enumerate(like.shape) if place not in axes]
    return rows.reshape(sizes).movedim(tuple(range(len(axes))), axes)


def tracked(*tensors: object) -> bool:
    """Whether autograd must see what is done to these tensors, so that nothing may happen in place."""
    return torch.is_grad_enabled() and any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in tensors)
