"""
Function staircases: a piecewise constant function of the input, one table for a population or one per channel.

    f(h) = values[k],  k = number of thresholds ≤ h            (1)

With a gain g > 0, spikes of another neuron, the thresholds are g·θ_k: the neuron compares h with them, f(h/g), and nothing is
multiplied with h. That is divisive normalisation (Carandini & Heeger 2012): LayerNorm's and RMSNorm's division (`convert.norm`).

At T=1 the neuron's output is f(x). At T>1 it reads the running mean and emits differences (`difference.py`), so that the mean over
T is f of the mean input.

A search over K thresholds costs far more than an activation function; `grid` prepares tables so that reading them does not.

With gradients the table passes, in each cell between two thresholds, the mean slope of its two jumps, and nothing in the
outermost cells; the values receive theirs exactly.
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikeloom.neuron.channel import Axis, by_channel, channel_shape, from_channels, tracked
from spikeloom.neuron.difference import Running, advance_difference, continue_difference, difference_over_time, init_difference
from spikeloom.neuron.grid import Lookup, look_up, take


def read_table(
    h: Float[Tensor, " *any"], thresholds: Float[Tensor, " *c k"], values: Float[Tensor, " *c k1"], axis: Axis
) -> Float[Tensor, " *any"]:
    """Equation (1) by binary search; thresholds [K] or [C, K] ascending, values one more."""
    cells = _search(h, thresholds, axis)
    place = cells if values.ndim == 1 else _offset(cells, values.shape[0], values.shape[1], axis)
    o = take(values.to(h.dtype), place)
    if tracked(h):
        o = o + (h - h.detach()) * take(_slopes(thresholds, values).to(h.dtype), place)  # adds an exact zero, and a gradient
    return o


def run_table(
    x: Float[Tensor, " tb *rest"],
    thresholds: Float[Tensor, " *c k"],
    values: Float[Tensor, " *c k1"],
    gain: Tensor | None = None,
    *,
    axis: Axis,
    timesteps: int,
    lookup: Lookup | None = None,
) -> Float[Tensor, " tb *rest"]:
    """T steps of a function staircase on inputs [T·B, ...], time-major; `lookup` (of the same table) makes it fast; `gain` is
    [T·B, ...] and broadcasts over the inputs."""
    inputs = (x,) if gain is None else (x, gain)
    return difference_over_time(_reader(thresholds, values, axis, lookup), *inputs, timesteps=timesteps)


def init_table(x_t: Float[Tensor, " b *rest"], gain_t: Tensor | None = None) -> Running:
    """The memory of a function staircase before the first step, for inputs shaped like x_t [B, ...] and its gain."""
    return init_difference(torch.clone, x_t) if gain_t is None else init_difference(lambda x, _: torch.clone(x), x_t, gain_t)


def advance_table(
    x_t: Float[Tensor, " b *rest"],
    state: Running,
    thresholds: Float[Tensor, " *c k"],
    values: Float[Tensor, " *c k1"],
    gain_t: Tensor | None = None,
    *,
    axis: Axis,
    lookup: Lookup | None = None,
) -> tuple[Float[Tensor, " b *rest"], Running]:
    """One step: (input [B, ...], memory) → (output, memory)."""
    inputs = (x_t,) if gain_t is None else (x_t, gain_t)
    return advance_difference(_reader(thresholds, values, axis, lookup), state, *inputs)


def continue_table(
    x: Float[Tensor, " tb *rest"],
    state: Running | None,
    thresholds: Float[Tensor, " *c k"],
    values: Float[Tensor, " *c k1"],
    gain: Tensor | None = None,
    *,
    axis: Axis,
    timesteps: int,
) -> tuple[Float[Tensor, " tb *rest"], Running]:
    """T steps on from a memory (None: rest): (inputs [T·B, ...], time-major, memory) → (outputs, memory)."""
    inputs = (x,) if gain is None else (x, gain)
    return continue_difference(_reader(thresholds, values, axis, None), state, *inputs, timesteps=timesteps)


def _reader(thresholds: Tensor, values: Tensor, axis: Axis, lookup: Lookup | None) -> partial[Tensor]:
    return partial(_read, thresholds=thresholds, values=values, axis=axis, lookup=lookup)


def _read(h: Tensor, gain: Tensor | None = None, *, thresholds: Tensor, values: Tensor, axis: Axis, lookup: Lookup | None) -> Tensor:
    h = h if gain is None else h / gain  # h ≥ g·θ as h/g ≥ θ
    if lookup is None or tracked(h, thresholds, values):
        return read_table(h, thresholds, values, axis)
    return look_up(h, lookup, axis)


def _search(h: Tensor, thresholds: Tensor, axis: Axis) -> Int[Tensor, " *any"]:
    """How many thresholds each h has reached."""
    thresholds = thresholds.detach().to(h.dtype).contiguous()
    if thresholds.ndim == 1:
        return torch.bucketize(h.detach().contiguous(), thresholds, right=True)
    cells = torch.searchsorted(thresholds, by_channel(h.detach(), axis).contiguous(), right=True)
    return from_channels(cells, axis, h)


def _slopes(thresholds: Tensor, values: Tensor) -> Tensor:
    """Per cell, the mean of its two jumps over its width; 0 in the outermost cells, and where cells have no width or no end."""
    width = thresholds.diff(dim=-1)
    rise = (values[..., 2:] - values[..., :-2]) / 2
    inner = torch.where((width > 0) & width.isfinite(), rise / width, 0.0)
    return torch.nn.functional.pad(inner, (1, 1)).detach()


def _offset(place: Int[Tensor, " *any"], channels: int, cells: int, axis: Axis) -> Int[Tensor, " *any"]:
    """From places within a channel's row to places in the flattened table [channels, cells]."""
    if channels == 1:
        return place
    starts = torch.arange(0, channels * cells, cells, dtype=place.dtype, device=place.device)
    return place + starts.view(channel_shape(axis, place))
